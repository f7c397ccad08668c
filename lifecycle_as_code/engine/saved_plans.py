"""Saved plans and the stack that they are for: sealed with its names, and held against its stores."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version

from ..model.diagnostics import Diagnostic, refuse
from ..model.plan import Mode, Plan
from ..planning import planfile
from ..planning.planfile import same_store
from ..planning.revalidation import replayed, wanted_again
from .actor import actor
from .apply.transaction import refuse_applied, refuse_stale
from .session import Core


def save(core: Core, plan: Plan) -> bytes:
    """The plan as a file's bytes: sealed, with the key in LAC_PLAN_KEY where there is one."""
    with core.connections.reading() as (ledger, _), ledger.reading() as db:
        stores = core.connections.names(ledger.ids(db))
    origin = planfile.Origin(
        core.settings.workspace,
        stores,
        core.manifest.digest(),
        datetime.now(UTC).isoformat(timespec="microseconds"),
        actor(core.settings.directory, core.environ),
        version("lifecycle-as-code"),
    )
    return planfile.dump(plan, origin, core.key)


def read(core: Core, data: bytes) -> planfile.SavedPlan:
    """A plan from a file's bytes. LacError where it was changed, or isn't this stack's."""
    saved = planfile.load(data, core.specs, core.key)
    refuse(_strange(core, saved))
    return saved


def _strange(core: Core, saved: planfile.SavedPlan) -> Iterator[Diagnostic]:
    """How the plan is another stack's, or about other stores."""
    plan, origin = saved.plan, saved.origin
    with core.connections.reading() as (ledger, _), ledger.reading() as db:
        here = core.connections.names(ledger.ids(db))
    for what, theirs, ours in (
        ("stack", plan.stack, core.name),
        ("environment", plan.environment or "none", core.environment or "none"),
        ("workspace", origin.workspace, core.settings.workspace),
    ):
        if theirs != ours:
            yield _another(f"The plan is for {what} `{theirs}`, and this is `{ours}`.")
    for role in sorted({*origin.stores, *here}):
        if not same_store(origin.stores.get(role), here.get(role)):
            yield _another(f"The plan was made for another {role} store than lac.yaml names now.")


def check(core: Core, saved: planfile.SavedPlan) -> Plan:
    """The plan to be applied: no apply has carried it out, what is live is still what it saw, and it still
    follows from there."""
    plan = saved.plan
    with core.connections.reading() as (ledger, _), ledger.reading() as db:
        refuse_applied(ledger, db, plan)
    desired = wanted_again(plan)
    seen = core.camera.take(desired, resolved=False)
    refuse_stale(plan.changes, seen.live, seen.recorded)
    # what records alone are about is resolved already
    again = seen if plan.mode is Mode.REFRESH_ONLY else core.camera.resolved(seen)
    return replayed(
        plan,
        again.desired,
        seen.recorded,
        seen.live,
        origins=seen.origins,
        checks=core.checks,
        limits=core.settings.limits,
        principal=core.principal,
    )


def manifests_changed(core: Core, saved: planfile.SavedPlan) -> bool:
    """Whether the manifests aren't those that the plan was made from; it is applied as it was
    reviewed."""
    return core.manifest.digest() != saved.origin.manifests


def _another(detail: str) -> Diagnostic:
    return Diagnostic(
        "another-stacks-plan",
        "the plan file can't be applied here",
        detail,
        hint="apply it with the lac.yaml and the environment that it was made for, or plan again",
    )
