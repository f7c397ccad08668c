"""Warnings of a plan about endpoints: who may use them, and whether the cluster has room. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from ...model.access import DEFAULT_WORKSPACE
from ...model.diagnostics import Diagnostic, did_you_mean
from ...model.plan import Action, Change
from ...model.snapshot import HEALTH
from ...planning.guards import PlanContext
from ...review.access.projection import derive_state, project_state
from ...serving.levels import may_use, resolve
from ...stores.ray.state import Resources
from .capacity import RESOURCES, capacities, enough
from .spec import Auth, Oidc, ServingEndpoint


def warn_of_ill_endpoints(world: PlanContext) -> Iterator[Diagnostic]:
    """Endpoints of this stack that lost replicas or don't answer. Ray replaces replicas by itself: a plan
    changes nothing about that."""
    for address in sorted(world.recorded.ours, key=str):
        observed = world.live.present(address)
        if observed is not None and (illness := observed.facts.get(HEALTH)):
            yield Diagnostic(
                "endpoint-degraded",
                "an endpoint is not well",
                f"{address}: {illness}",
                hint="Ray heals what it can by itself; its dashboard has the logs",
                severity="warning",
            )


def warn_of_public_endpoints(world: PlanContext) -> Iterator[Diagnostic]:
    """Endpoints in the plan that anyone may use."""
    for change, after in _endpoints_after(world):
        if after.auth == "none":
            yield Diagnostic(
                "open-endpoint",
                "anyone may use an endpoint",
                f"{change.address} has `auth: none`: everyone who can reach the cluster may use it.",
                hint="omit `auth` to require MLflow's users, and grant `USE` to a role",
                at=change.at,
                severity="warning",
            )


def warn_of_unusable_endpoints(world: PlanContext) -> Iterator[Diagnostic]:
    """Endpoints in the plan that no role may use once it is applied, and limits of users or roles that don't
    exist then."""
    shut = [(change, after) for change, after in _endpoints_after(world) if after.auth != "none"]
    if not shut:
        return
    changes = (change for change in world.changes.values() if change.action.is_difference)
    state = project_state(derive_state(world.live), changes, DEFAULT_WORKSPACE)
    roles = {role.name for role in state.roles if not role.own}
    users = {str(address.key[0]) for address in world.live.referents if address.kind == "user"}
    for change, after in shut:
        for limit in after.gateway.rate_limits:
            known = roles if limit.key == "user_group" else users
            if limit.principal is not None and limit.principal not in known:
                sort = "role" if limit.key == "user_group" else "user"
                yield Diagnostic(
                    "limits-nobody",
                    "a rate limit names nobody",
                    f"{change.address} limits {limit.subject}, and MLflow has no {sort} `{limit.principal}`.",
                    hint=did_you_mean(limit.principal, known),
                    at=change.at,
                    severity="warning",
                )
        if not any(may_use(resolve(role.grants, after.name)) for role in state.roles):
            yield Diagnostic(
                "nobody-may-use",
                "no role may use an endpoint",
                f"{change.address} requires MLflow's users, and only administrators may use it.",
                hint="add `permissions: [{role: …, level: USE}]` to it",
                at=change.at,
                severity="warning",
            )


def warn_of_changed_access(world: PlanContext) -> Iterator[Diagnostic]:
    """Endpoints in the plan that let other callers in than before, whatever their grants."""
    for change, after in _endpoints_after(world):
        before = change.before
        if not isinstance(before, ServingEndpoint) or before.auth == after.auth or not after.requires_users:
            continue
        former, issuer = _issuer(before), _issuer(after)
        effects = [] if before.requires_users else ["everyone without a grant loses access"]
        if former != issuer:
            effects += [f"{_describe_tokens(former)} no longer count"] if former else []
            effects += [f"{_describe_tokens(issuer)} count from now on"] if issuer else []
        if effects:
            yield Diagnostic(
                "access-changes",
                "an endpoint lets other callers in than before",
                f"{change.address}: {'; '.join(effects)}.",
                hint="callers who lose access get 401 or 403",
                at=change.at,
                severity="warning",
            )


def _issuer(spec: ServingEndpoint) -> Oidc | None:
    return spec.auth.oidc if isinstance(spec.auth, Auth) else None


def _describe_tokens(issuer: Oidc) -> str:
    return f"tokens of {issuer.issuer} for {issuer.audience}, with users by `{issuer.username_claim}`,"


def warn_of_tighter_limits(world: PlanContext) -> Iterator[Diagnostic]:
    """Endpoints in the plan whose callers may ask less than before."""
    for change, after in _endpoints_after(world):
        if not isinstance(change.before, ServingEndpoint):
            continue
        former = {limit.subject: limit for limit in change.before.gateway.rate_limits}
        tighter = []
        for limit in after.gateway.rate_limits:
            before = former.get(limit.subject)
            if before is None or limit.amount < before.amount:
                was = "no limit" if before is None else f"{before.amount:,}"
                tighter.append(f"{limit.subject}: {was} → {limit.amount:,}")
        if tighter:
            yield Diagnostic(
                "tighter-limits",
                "callers may ask less of an endpoint than before",
                f"{change.address}: {'; '.join(tighter)}.",
                hint="callers beyond a limit get 429; `lac usage` shows how much they ask",
                at=change.at,
                severity="warning",
            )


def warn_of_capacity(world: PlanContext) -> Iterator[Diagnostic]:
    """Whether the cluster has room for the new replicas beside the old ones, until those retire."""
    free = world.live.facts.get(RESOURCES)
    needs = capacities(world.changes.values(), world.live)
    lacking = [one for one in needs if one.fits is False]
    if not lacking or not isinstance(free, Resources):
        return
    lacks = [
        f"{need:g} {unit} while versions stand side by side, and {left:g} of the cluster's {total:g} are free"
        for unit, need, left, total in (
            ("CPUs", sum(one.peak_cpus for one in needs), free.free_cpus, free.cpus),
            ("GPUs", sum(one.peak_gpus for one in needs), free.free_gpus, free.gpus),
        )
        if not enough(need, left)
    ]
    whole = "a node with room for each replica, and what is free is spread over too many"
    needing = [one.endpoint for one in lacking]
    yield Diagnostic(
        "ray-capacity",
        "the cluster may lack room for the rollout",
        f"{', '.join(map(str, needing))} need{'s' if len(needing) == 1 else ''} "
        f"{'; and '.join(lacks) or whole}.",
        hint="lower `num_cpus` or `min_replicas`, or add nodes; without room the apply waits, then fails",
        at=world.places.get(needing[0]),
        severity="warning",
    )


def _endpoints_after(world: PlanContext) -> Iterator[tuple[Change, ServingEndpoint]]:
    for change in world.changes.values():
        if change.action in (Action.CREATE, Action.UPDATE) and isinstance(change.after, ServingEndpoint):
            yield change, change.after
