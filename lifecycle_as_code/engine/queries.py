"""Questions about one stack: its records, history and drift, one object, one side of a comparison."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

from ..manifest.edit import places_of
from ..model.diagnostics import Diagnostic, LacError, Source
from ..model.diff import Path as FieldPath
from ..model.diff import restrict_to_owned
from ..model.history import Apply
from ..model.history import find_state as recorded_at
from ..model.snapshot import Desired, Observed, Record
from ..model.spec import Address, Spec
from ..model.usage import By, Usage
from ..planning.comparison import Side, States
from ..planning.drift import Drift, make_drift, pending_only
from ..planning.explanation import Explanation, explain_change, paths
from ..planning.rollback import find_apply
from .plan import make_plan
from .refresh import naming, observe, resolve_snapshots, take_snapshots
from .session import Session


@dataclass(frozen=True, slots=True)
class ObjectState:
    """One object from every side: as declared, as recorded, as live."""

    address: Address
    desired: Spec | None
    recorded: Record | None
    live: Observed | None


def read_records(session: Session) -> tuple[Record, ...]:
    """The stack's records."""
    with session.connections.reading() as (ledger, _), ledger.reading() as db:
        recorded = ledger.read_records(db, session.specs)
    return tuple(sorted(recorded.ours.values(), key=lambda r: str(r.address)))


def read_history(session: Session, address: Address | None = None) -> list[Apply]:
    """The stack's applies, or those that changed one object."""
    with session.connections.reading() as (ledger, _), ledger.reading() as db:
        return ledger.read_history(db, session.specs, address)


def read_usage(session: Session, endpoint: str, *, by: By, since_ms: int, until_ms: int) -> Usage:
    """How much the endpoints, or one of them, were used. LacError where the stack has no usage store."""
    # imported here: no other command needs it
    from ..stores.usage import read_usage as count_usage

    store = session.settings.usage_store
    if store is None:
        raise LacError(
            Diagnostic(
                "no-usage-store",
                "the stack has no usage store",
                "lac.yaml doesn't set `usage_store:`, so no endpoint can record its usage.",
                hint="add `usage_store: postgresql://…` to lac.yaml",
            )
        )
    base = session.settings.directory
    return count_usage(store.value, base, by=by, since_ms=since_ms, until_ms=until_ms, endpoint=endpoint)


def read_object(session: Session, address: Address) -> ObjectState:
    """One object from every side."""
    spec = session.desired.objects.get(address)
    desired = Desired({} if spec is None else {address: spec})
    session.connections.refuse_unreachable(desired)
    snapshots = take_snapshots(session, desired, names=naming({address}))
    live = snapshots.live.objects.get(address)
    return ObjectState(address, spec, snapshots.recorded.ours.get(address), live)


def read_drift(session: Session, ignore: Collection[str]) -> Drift:
    """The differences between records and live state, and how much is pending beside them."""
    desired = session.desired
    session.connections.refuse_unreachable(desired)
    snapshots = take_snapshots(session, desired)
    outside = make_drift(
        snapshots.recorded,
        replace(snapshots.live, diagnostics=()),
        desired.scopes,
        desired.lifecycles,
        ignore=(*session.settings.drift_ignore, *ignore),
        stack=session.name,
        environment=session.environment,
    )
    # MLflow keeps no time for some kinds
    times = {
        c.address: at
        for c in outside.changes
        if (observed := snapshots.live.objects.get(c.address))
        and isinstance(at := observed.facts.get("updated"), int)
    }
    try:
        plan = make_plan(session, resolve_snapshots(session, snapshots))
    except LacError as error:
        return Drift(outside, None, error.diagnostics, times)
    return Drift(outside, pending_only(plan, snapshots.recorded, desired.lifecycles), (), times)


def explain(session: Session, address: Address) -> Explanation:
    """Why the plan changes one object, or doesn't."""
    session.connections.refuse_unreachable(session.desired)
    snapshots = resolve_snapshots(session, take_snapshots(session, session.desired))
    plan = make_plan(session, snapshots)
    change = next((c for c in plan.changes if c.address == address), None)
    desired = snapshots.desired.objects.get(address)
    at = snapshots.desired.places.get(address)
    live, lifecycle = snapshots.live.objects.get(address), snapshots.desired.lifecycles.get(address)
    return explain_change(
        address,
        desired,
        snapshots.recorded.ours.get(address),
        live if live or desired else _observe_stranger(session, address),
        change,
        read_history(session, address),
        at=at,
        places=_read_places(session, at, paths(change, desired), session.specs[address.kind]),
        owner=snapshots.recorded.others.get(address, ""),
        ignored=lifecycle.ignore_changes if lifecycle else (),
        choices=snapshots.desired.choices,
    )


def _observe_stranger(session: Session, address: Address) -> Observed | None:
    """A SQL store's object that neither manifests nor records name."""
    with session.connections.reading() as (ledger, _), ledger.reading() as db:
        return observe(list(session.kinds.values()), db, naming([address])).objects.get(address)


def _read_places(
    session: Session, at: Source | None, fields: tuple[FieldPath, ...], spec: type[Spec]
) -> dict[FieldPath, Source]:
    if at is None:
        return {}
    try:
        text = Path(at.file).read_bytes().decode()
    except (OSError, UnicodeDecodeError):
        return {}
    return places_of(fields, at, text, spec, session.specs)


def read_state(session: Session, side: Side, *, written: bool = False) -> States:
    """The objects of one side, but for a saved plan's."""
    match side.what:
        case "manifests" if written:
            return session.desired.objects
        case "manifests":
            snapshots = take_snapshots(session, session.desired)
            return resolve_snapshots(session, snapshots).desired.objects
        case "live":
            return _read_live(session)
        case "recorded":
            return {r.address: r.spec for r in read_records(session) if r.spec is not None}
        case "apply":
            applies = read_history(session)
            until = applies.index(find_apply(side.name, applies)) + 1
            return recorded_at([line for apply in applies[:until] for line in apply.lines], _END)
        case _:
            return read_records_at(session, side.at_ms)


def read_records_at(session: Session, moment_ms: int) -> dict[Address, Spec]:
    """The stack's records at a time."""
    return recorded_at([line for apply in read_history(session) for line in apply.lines], moment_ms)


_END = 2**63


def _read_live(session: Session) -> dict[Address, Spec]:
    """Live state of every object that is declared or recorded, without the keys that nobody declared."""
    snapshots = take_snapshots(session, session.desired)
    recorded = {a: record.spec for a, record in snapshots.recorded.ours.items()}
    desired = snapshots.desired.objects
    return {
        address: restrict_to_owned(observed.spec, desired.get(address), recorded.get(address))
        for address in {*desired, *recorded}
        if (observed := snapshots.live.present(address)) is not None
    }
