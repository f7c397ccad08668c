"""What a plan says about endpoints beforehand: who gets in, and whether there is room. Pure: warnings."""

from __future__ import annotations

from collections.abc import Iterator

from ...change import Action, Change
from ...diagnostics import Diagnostic
from ...guard import World
from ...spec import Spec
from ...stores.ray_state import Resources
from .capacity import RESOURCES, capacities
from .spec import ServingEndpoint

_MAY_USE = frozenset({"USE", "EDIT", "MANAGE"})


def open_doors(world: World) -> Iterator[Diagnostic]:
    """Endpoints in the plan that let everybody in."""
    for change, after in _coming(world):
        if after.auth == "none":
            yield Diagnostic(
                "open-endpoint",
                "an endpoint answers everybody",
                f"{change.address} has `auth: none`: whoever reaches the cluster may use it.",
                hint="leave `auth` out to have MLflow's users asked for, and grant `USE` to a role",
                at=change.at,
                severity="warning",
            )


def shut_doors(world: World) -> Iterator[Diagnostic]:
    """Endpoints in the plan that nobody but an administrator may use."""
    for change, after in _coming(world):
        if after.auth != "none" and not any(_opens(grant, after.name) for grant in _grants(world)):
            yield Diagnostic(
                "nobody-may-use",
                "no role may use an endpoint",
                f"{change.address} asks for MLflow's users, and only administrators would get in.",
                hint="add `permissions: [{role: …, level: USE}]` to it",
                at=change.at,
                severity="warning",
            )


def room(world: World) -> Iterator[Diagnostic]:
    """Whether the cluster can hold what comes beside what runs, until that retires."""
    free = world.live.facts.get(RESOURCES)
    if not isinstance(free, Resources):
        return
    adding = [c for c in capacities(world.changes.values(), world.live) if c.peak_cpus or c.peak_gpus]
    needing = [c.endpoint for c in adding]
    cpus, gpus = sum(c.peak_cpus for c in adding), sum(c.peak_gpus for c in adding)
    lacks = [
        f"{need:g} {unit} while versions stand side by side, and {left:g} of the cluster's {total:g} are free"
        for unit, need, left, total in (
            ("CPUs", cpus, free.free_cpus, free.cpus),
            ("GPUs", gpus, free.free_gpus, free.gpus),
        )
        if need > left
    ]
    if lacks:
        yield Diagnostic(
            "ray-capacity",
            "the cluster may lack room for the rollout",
            f"{', '.join(map(str, needing))} need{'s' if len(needing) == 1 else ''} {'; and '.join(lacks)}.",
            hint="lower `num_cpus` or `min_replicas`, or add nodes; without room the apply waits, then fails",
            at=world.places.get(needing[0]),
            severity="warning",
        )


def _coming(world: World) -> Iterator[tuple[Change, ServingEndpoint]]:
    for change in world.changes.values():
        if change.action in (Action.CREATE, Action.UPDATE) and isinstance(change.after, ServingEndpoint):
            yield change, change.after


def _grants(world: World) -> Iterator[Spec]:
    """Grants as they will be."""
    yield from (spec for a, spec in world.desired.items() if a.kind == "permission")
    for address, found in world.live.objects.items():
        change = world.changes.get(address)
        if address.kind == "permission" and (change is None or change.action is not Action.DELETE):
            yield found.spec


def _opens(grant: Spec, endpoint: str) -> bool:
    about, resource = getattr(grant, "resource_type", ""), getattr(grant, "resource", "")
    level = getattr(grant, "level", "")
    if about == "workspace":
        return level == "MANAGE"
    return about == ServingEndpoint.kind and resource in (endpoint, "*") and level in _MAY_USE
