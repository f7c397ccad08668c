"""What a plan says about endpoints beforehand: who gets in, and whether there is room. Pure: warnings."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ...change import Action, Change
from ...diagnostics import Diagnostic
from ...guard import World
from ...spec import Address, Spec
from ...stores.ray_endpoint import Endpoint, roomy
from ...stores.ray_state import Resources
from .spec import ServingEndpoint

RESOURCES = "ray_resources"
"""Among the live facts: what the cluster has, and has free."""

_MAY_USE = frozenset({"USE", "EDIT", "MANAGE"})

AsApps = Callable[[str, ServingEndpoint], Endpoint]
"""An owner's endpoint as Ray apps."""


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


def room(world: World, as_apps: AsApps) -> Iterator[Diagnostic]:
    """Whether the cluster can hold what comes beside what runs, until that retires."""
    free = world.live.facts.get(RESOURCES)
    if not isinstance(free, Resources):
        return
    cpus = gpus = 0.0
    needing: list[Address] = []
    for change, after in _coming(world):
        more_cpus, more_gpus = _needed(world, change, after, as_apps)
        if more_cpus or more_gpus:
            needing.append(change.address)
            cpus, gpus = cpus + more_cpus, gpus + more_gpus
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


def _needed(world: World, change: Change, after: ServingEndpoint, as_apps: AsApps) -> tuple[float, float]:
    """CPUs and GPUs of replicas that aren't there yet."""
    found = world.live.present(change.address)
    owner = str(found.facts.get("owner", "")) if found else ""
    before = change.before if isinstance(change.before, ServingEndpoint) else None
    there = as_apps(owner, before).apps if before else {}
    begun = before.leftovers if before else ()
    cpus = gpus = 0.0
    for app, entity in as_apps(owner, after).apps.items():
        serving = there.get(app)
        more = roomy(serving, entity).min_replicas - (serving.min_replicas if serving else 0)
        if app not in begun:
            cpus, gpus = cpus + more * entity.num_cpus, gpus + more * entity.num_gpus
    return cpus, gpus
