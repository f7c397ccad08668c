"""Serving endpoints. The one kind outside SQL, and so large that it is a package: what people write (`spec`),
as Ray applications (`apps`), what they take of a cluster (`capacity`), its own rules (`checks`),
what changes reach it (`impact`),
its effects (`kind`)."""

from .kind import ServingEndpoints
from .spec import Route, ServedEntity, ServingEndpoint, TrafficConfig

__all__ = [
    "Route",
    "ServedEntity",
    "ServingEndpoint",
    "ServingEndpoints",
    "TrafficConfig",
]
