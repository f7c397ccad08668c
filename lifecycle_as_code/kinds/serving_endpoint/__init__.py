"""Serving endpoints. The one kind outside SQL, and so large that it is a package: what people write (`spec`),
as Ray applications (`apps`), what they take of a cluster (`capacity`), its own rules (`checks`),
its effects (`kind`)."""

from .capacity import capacities
from .kind import ServingEndpoints
from .spec import Route, ServedEntity, ServingEndpoint, TrafficConfig, followed

__all__ = [
    "Route",
    "ServedEntity",
    "ServingEndpoint",
    "ServingEndpoints",
    "TrafficConfig",
    "capacities",
    "followed",
]
