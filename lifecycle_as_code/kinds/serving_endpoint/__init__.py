"""Serving endpoints, the one kind outside SQL: its Spec (`spec`), its effects (`kind`), its translation to
Ray applications and back (`apps`), the resources that it needs of a cluster (`capacity`), its warnings
(`checks`), and the changes that reach its traffic (`impact`)."""

from .kind import ServingEndpoints
from .spec import Route, ServedEntity, ServingEndpoint, TrafficConfig

__all__ = [
    "Route",
    "ServedEntity",
    "ServingEndpoint",
    "ServingEndpoints",
    "TrafficConfig",
]
