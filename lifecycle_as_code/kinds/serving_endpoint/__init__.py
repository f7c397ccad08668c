"""Serving endpoints. The one kind outside SQL, and so large that it is a package: what people write (`spec`),
as Ray applications (`apps`), its own rules (`checks`), its effects (`kind`)."""

from .kind import ServingEndpoints
from .spec import Route, ServedEntity, ServingEndpoint, TrafficConfig

__all__ = ["Route", "ServedEntity", "ServingEndpoint", "ServingEndpoints", "TrafficConfig"]
