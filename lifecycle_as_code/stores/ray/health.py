"""How the endpoints of a cluster fare: by Ray's word, and by their own."""

from __future__ import annotations

from dataclasses import dataclass

from .apps import describe_owner
from .client import Cluster
from .endpoint import live_endpoints


@dataclass(frozen=True, slots=True)
class EndpointHealth:
    """One endpoint. `status`: Ray's, of its ingress, or MISSING. `problem`: Ray's words for a failure, or
    what is wrong although Ray says that all is well; None where it is well. `is_open`: it asks for no
    user."""

    name: str
    owner: str
    status: str
    problem: str | None
    is_open: bool


def find_health(cluster: Cluster) -> tuple[EndpointHealth, ...]:
    """Every endpoint that lac made on the cluster, by name. Asks Ray, and each endpoint itself."""
    endpoints = live_endpoints(cluster.applications())
    silent = cluster.find_silent(name for name, here in endpoints.items() if here.serves)
    return tuple(
        EndpointHealth(
            name,
            describe_owner(here.owner),
            here.ingress.status if here.ingress else "MISSING",
            (here.ingress.problem if here.ingress else None) or here.illness(silent.get(name)),
            (here.config.get("auth") or {}).get("mode") == "none",
        )
        for name, here in endpoints.items()
    )
