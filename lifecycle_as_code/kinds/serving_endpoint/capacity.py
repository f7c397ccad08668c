"""The resources that endpoints need of a cluster, before, after and meanwhile, and whether they are free.
Pure."""

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
"""The live fact with the cluster's total and free resources."""


_ONE: Final = 10_000
"""Ray counts in ten-thousandths. So do we: sums of floats are inexact."""


def enough(need: float, free: float) -> bool:
    """Whether this much is free."""
    return round(need * _ONE) <= round(free * _ONE)


def capacities(changes: Iterable[Change], live: Live) -> tuple[Capacity, ...]:
    """One for each endpoint that the plan creates, updates or deletes. All of a plan's changes together: its
    endpoints warm up at once, so the resources of one aren't free for the next."""
    needs: list[Capacity] = []
    coming: list[_NewReplicas] = []
    for change in changes:
        if isinstance(change.side, ServingEndpoint) and change.action.is_difference:
            before = _running(change.before if isinstance(change.before, ServingEndpoint) else None)
            after = change.after if isinstance(change.after, ServingEndpoint) else None
            observed = live.present(change.address)
            owner = str(observed.facts.get("owner", "")) if observed else ""
            added = list(_new_replicas(owner, before, after))
            needs.append(_capacity(change.address, before, after, added))
            coming += added
    free = live.facts.get(RESOURCES)
    if not isinstance(free, Resources):
        return tuple(needs)
    enough_cpus = enough(sum(one.peak_cpus for one in needs), free.free_cpus)
    enough_gpus = enough(sum(one.peak_gpus for one in needs), free.free_gpus)
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
        for one in needs
    )


class _NewReplicas(NamedTuple):
    """A number of new replicas, and the resources that each needs of one node."""

    gpus: float
    cpus: float
    replicas: int
    endpoint: Address


def _without_a_node(coming: Iterable[_NewReplicas], free: Resources) -> frozenset[Address]:
    """Endpoints with a replica that fits on no node, when the largest replicas are placed first, each on the
    fullest node that it fits on."""
    nodes = [{"GPU": round(gpus * _ONE), "CPU": round(cpus * _ONE)} for cpus, gpus in free.nodes]
    unplaced = set()
    for one in sorted(coming, reverse=True):
        need = {"GPU": round(one.gpus * _ONE), "CPU": round(one.cpus * _ONE)}
        left = one.replicas
        for node in sorted(nodes, key=lambda node: (node["GPU"], node["CPU"])):
            here = min([left, *(node[unit] // each for unit, each in need.items() if each)])
            left -= here
            for unit, each in need.items():
                node[unit] -= each * here
        if left and nodes:
            unplaced.add(one.endpoint)
    return frozenset(unplaced)


def _capacity(
    address: Address,
    before: ServingEndpoint | None,
    after: ServingEndpoint | None,
    added: Collection[_NewReplicas],
) -> Capacity:
    was, will_be = _Needs.of(before), _Needs.of(after)
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
class _Needs:
    """The resources of the replicas that always run. The ingress' are its primary entity's; a model at a
    provider needs none."""

    replicas: int = 0
    cpus: float = 0.0
    gpus: float = 0.0

    @classmethod
    def of(cls, spec: ServingEndpoint | None) -> _Needs:
        if spec is None:
            return cls()
        hosted = [entity for entity in spec.served_entities if entity.external_model is None]
        return cls(
            sum(e.min_replicas for e in hosted),
            sum(e.min_replicas * e.num_cpus for e in hosted),
            sum(e.min_replicas * e.num_gpus for e in hosted),
        )


def _running(spec: ServingEndpoint | None) -> ServingEndpoint | None:
    """The endpoint without the entities whose apps are missing."""
    if spec is None:
        return None
    entities = tuple(e for e in spec.served_entities if e.state != MISSING)
    return spec.model_copy(update={"served_entities": entities})


def _new_replicas(
    owner: str, before: ServingEndpoint | None, after: ServingEndpoint | None
) -> Iterator[_NewReplicas]:
    """The replicas that run beside the old ones until those retire."""
    if after is None:
        return
    coming = as_apps(owner, after)
    former = as_apps(owner, before) if before and before.served_entities else None
    apps = former.apps if former else {}
    held = former.primary_app if former else None
    begun = before.leftovers if before else ()
    for app, entity in coming.apps.items():
        serving = apps.get(app)
        if app == coming.primary_app and app != held:
            # the ingress starts all of its replicas anew; one on trial goes before
            more = entity.min_replicas - (app in begun)
        elif app in begun:
            more = 0
        elif app == held and app != coming.primary_app:
            # no longer held by the ingress, it needs an app of its own
            more = entity.min_replicas
        else:
            more = roomy(serving, entity).min_replicas - (serving.min_replicas if serving else 0)
        yield _NewReplicas(entity.num_gpus, entity.num_cpus, more, after.address)
