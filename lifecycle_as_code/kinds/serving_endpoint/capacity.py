"""What endpoints take of a cluster, before, after and meanwhile, and whether that is there. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from ...change import Change
from ...review import Capacity
from ...snapshot import Live
from ...stores.ray_endpoint import roomy
from ...stores.ray_state import Resources
from .apps import MISSING, as_apps
from .spec import ServingEndpoint

RESOURCES = "ray_resources"
"""Among the live facts: what the cluster has, and has free."""


def capacities(changes: Iterable[Change], live: Live) -> tuple[Capacity, ...]:
    """One for each endpoint that is made, changed or deleted. All of a plan's changes together: its endpoints
    warm up at once, so what one adds isn't free for the next one."""
    found = [
        _capacity(change, live)
        for change in changes
        if isinstance(change.side, ServingEndpoint) and change.action.is_difference
    ]
    free = live.facts.get(RESOURCES)
    if not isinstance(free, Resources):
        return tuple(found)
    enough_cpus = sum(one.peak_cpus for one in found) <= free.free_cpus
    enough_gpus = sum(one.peak_gpus for one in found) <= free.free_gpus
    return tuple(
        replace(
            one,
            free_cpus=free.free_cpus,
            free_gpus=free.free_gpus,
            fits=(enough_cpus or not one.peak_cpus) and (enough_gpus or not one.peak_gpus),
        )
        for one in found
    )


def _capacity(change: Change, live: Live) -> Capacity:
    before = _there(change.before if isinstance(change.before, ServingEndpoint) else None)
    after = change.after if isinstance(change.after, ServingEndpoint) else None
    seen = live.present(change.address)
    owner = str(seen.facts.get("owner", "")) if seen else ""
    was, will_be = _Takes.of(before), _Takes.of(after)
    peak_cpus, peak_gpus = _added(owner, before, after)
    return Capacity(
        change.address,
        was.replicas,
        will_be.replicas,
        was.cpus,
        will_be.cpus,
        was.gpus,
        will_be.gpus,
        peak_cpus,
        peak_gpus,
    )


@dataclass(frozen=True, slots=True)
class _Takes:
    """What the replicas that always run take. The ingress takes nothing."""

    replicas: int = 0
    cpus: float = 0.0
    gpus: float = 0.0

    @classmethod
    def of(cls, spec: ServingEndpoint | None) -> _Takes:
        if spec is None:
            return cls()
        return cls(
            sum(e.min_replicas for e in spec.served_entities),
            sum(e.min_replicas * e.num_cpus for e in spec.served_entities),
            sum(e.min_replicas * e.num_gpus for e in spec.served_entities),
        )


def _there(spec: ServingEndpoint | None) -> ServingEndpoint | None:
    """The endpoint without the entities whose apps are gone."""
    if spec is None:
        return None
    entities = tuple(e for e in spec.served_entities if e.state != MISSING)
    return spec.model_copy(update={"served_entities": entities})


def _added(owner: str, before: ServingEndpoint | None, after: ServingEndpoint | None) -> tuple[float, float]:
    """CPUs and GPUs of replicas that aren't there yet, until what they come beside retires."""
    if after is None:
        return 0.0, 0.0
    there = as_apps(owner, before).apps if before else {}
    begun = before.leftovers if before else ()
    cpus = gpus = 0.0
    for app, entity in as_apps(owner, after).apps.items():
        serving = there.get(app)
        more = roomy(serving, entity).min_replicas - (serving.min_replicas if serving else 0)
        if app not in begun:
            cpus, gpus = cpus + more * entity.num_cpus, gpus + more * entity.num_gpus
    return cpus, gpus
