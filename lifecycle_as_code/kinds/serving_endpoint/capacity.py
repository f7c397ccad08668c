"""What endpoints take of a cluster, before, after and meanwhile, and whether that is there. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from ...model.plan import Change
from ...model.review import Capacity
from ...model.snapshot import Live
from ...model.spec import Address
from ...stores.ray.endpoint import roomy
from ...stores.ray.state import Resources
from .apps import MISSING, as_apps
from .spec import ServingEndpoint

RESOURCES: Final = "ray_resources"
"""Among the live facts: what the cluster has, and has free."""


_ONE: Final = 10_000
"""Ray counts in ten-thousandths. So do we: a sum of floats is a little off."""


def enough(need: float, free: float) -> bool:
    """Whether this much is free."""
    return round(need * _ONE) <= round(free * _ONE)


def capacities(changes: Iterable[Change], live: Live) -> tuple[Capacity, ...]:
    """One for each endpoint that is made, changed or deleted. All of a plan's changes together: its endpoints
    warm up at once, so what one adds isn't free for the next one."""
    found: list[Capacity] = []
    coming: list[_Coming] = []
    for change in changes:
        if isinstance(change.side, ServingEndpoint) and change.action.is_difference:
            before = _there(change.before if isinstance(change.before, ServingEndpoint) else None)
            after = change.after if isinstance(change.after, ServingEndpoint) else None
            seen = live.present(change.address)
            added = list(_added(str(seen.facts.get("owner", "")) if seen else "", before, after))
            found.append(_capacity(change.address, before, after, added))
            coming += added
    free = live.facts.get(RESOURCES)
    if not isinstance(free, Resources):
        return tuple(found)
    enough_cpus = enough(sum(one.peak_cpus for one in found), free.free_cpus)
    enough_gpus = enough(sum(one.peak_gpus for one in found), free.free_gpus)
    left_over = _without_a_node(coming, free)
    return tuple(
        replace(
            one,
            free_cpus=free.free_cpus,
            free_gpus=free.free_gpus,
            fits=(enough_cpus or not one.peak_cpus)
            and (enough_gpus or not one.peak_gpus)
            and one.endpoint not in left_over,
        )
        for one in found
    )


class _Coming(NamedTuple):
    """So many replicas, each of which takes this much of one node."""

    gpus: float
    cpus: float
    replicas: int
    endpoint: Address


def _without_a_node(coming: Iterable[_Coming], free: Resources) -> frozenset[Address]:
    """Endpoints with a replica that finds no node, when the largest choose first, and of the nodes the
    fullest that they fit on."""
    nodes = [{"GPU": round(gpus * _ONE), "CPU": round(cpus * _ONE)} for cpus, gpus in free.nodes]
    lost = set()
    for one in sorted(coming, reverse=True):
        need = {"GPU": round(one.gpus * _ONE), "CPU": round(one.cpus * _ONE)}
        left = one.replicas
        for node in sorted(nodes, key=lambda node: (node["GPU"], node["CPU"])):
            here = min([left, *(node[unit] // each for unit, each in need.items() if each)])
            left -= here
            for unit, each in need.items():
                node[unit] -= each * here
        if left and nodes:
            lost.add(one.endpoint)
    return frozenset(lost)


def _capacity(
    address: Address,
    before: ServingEndpoint | None,
    after: ServingEndpoint | None,
    added: Collection[_Coming],
) -> Capacity:
    was, will_be = _Takes.of(before), _Takes.of(after)
    return Capacity(
        address,
        was.replicas,
        will_be.replicas,
        was.cpus,
        will_be.cpus,
        was.gpus,
        will_be.gpus,
        sum(one.replicas * one.cpus for one in added),
        sum(one.replicas * one.gpus for one in added),
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


def _added(owner: str, before: ServingEndpoint | None, after: ServingEndpoint | None) -> Iterator[_Coming]:
    """The replicas that aren't there yet, until what they come beside retires."""
    if after is None:
        return
    there = as_apps(owner, before).apps if before else {}
    begun = before.leftovers if before else ()
    for app, entity in as_apps(owner, after).apps.items():
        serving = there.get(app)
        more = roomy(serving, entity).min_replicas - (serving.min_replicas if serving else 0)
        if app not in begun:
            yield _Coming(entity.num_gpus, entity.num_cpus, more, after.address)
