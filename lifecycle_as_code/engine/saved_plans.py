"""Saved plans and the stack that they are for: sealed with its names, and compared with its stores."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version

from ..model.diagnostics import Diagnostic, refuse
from ..model.plan import Mode, Plan
from ..planning import planfile
from ..planning.planfile import SavedPlan, same_store
from ..planning.revalidation import reconstruct_desired, revalidate
from .actor import actor
from .apply.transaction import refuse_stale
from .refresh import resolve_snapshots, take_snapshots
from .session import Session


def save_plan(session: Session, plan: Plan) -> bytes:
    """The bytes of a plan file."""
    origin = planfile.Origin(
        session.settings.workspace,
        _read_stores(session),
        session.manifest.digest(),
        datetime.now(UTC).isoformat(timespec="microseconds"),
        actor(session.settings.directory, session.environ),
        version("lifecycle-as-code"),
    )
    return planfile.dump(plan, origin, session.key)


def read_plan(session: Session, data: bytes) -> SavedPlan:
    """A plan file's content, if it is for this stack and its stores."""
    plan = planfile.load(data, session.specs, session.key)
    refuse(
        Diagnostic(
            "another-stacks-plan",
            "the plan file can't be applied here",
            detail,
            hint="apply it with the lac.yaml and the environment that it was made for, or plan again",
        )
        for detail in _list_differences(session, plan)
    )
    return plan


def check_plan(session: Session, saved: SavedPlan) -> Plan:
    """The plan to apply, if no apply has committed any of it and live state is as it was."""
    plan = saved.plan
    with session.connections.reading() as (ledger, _), ledger.reading() as db:
        ledger.refuse_second_apply(db, plan)
    snapshots = take_snapshots(session, reconstruct_desired(plan))
    refuse_stale(plan.changes, snapshots.live, snapshots.recorded)
    # a plan about records alone has nothing to resolve
    if plan.mode is not Mode.REFRESH_ONLY:
        snapshots = resolve_snapshots(session, snapshots)
    return revalidate(
        plan,
        snapshots.desired,
        snapshots.recorded,
        snapshots.live,
        origins=snapshots.origins,
        checks=session.checks,
        limits=session.settings.limits,
        principal=session.principal,
    )


def _read_stores(session: Session) -> dict[str, dict[str, str]]:
    with session.connections.reading() as (ledger, _), ledger.reading() as db:
        return session.connections.names(ledger.read_ids(db))


def _list_differences(session: Session, saved: SavedPlan) -> Iterator[str]:
    """Why the plan is another stack's, or for other stores."""
    plan, origin, stores = saved.plan, saved.origin, _read_stores(session)
    for name, theirs, ours in (
        ("stack", plan.stack, session.name),
        ("environment", plan.environment or "none", session.environment or "none"),
        ("workspace", origin.workspace, session.settings.workspace),
    ):
        if theirs != ours:
            yield f"The plan is for {name} `{theirs}`, and this is `{ours}`."
    for role in sorted({*origin.stores, *stores}):
        if not same_store(origin.stores.get(role), stores.get(role)):
            yield f"The plan was made for another {role} store than lac.yaml names now."
