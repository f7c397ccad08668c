"""One SQL step: look again under the lock, make the changes, record them, all in one transaction a store."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, text

from ...kinds.base import Databases, Kind, SqlKind
from ...model.diagnostics import Diagnostic, LacError
from ...model.diff import diff, owned
from ...model.history import Apply, Line
from ...model.plan import Action, Change, Plan
from ...model.snapshot import Live, Record, Recorded
from ...model.spec import Address, Spec, Store
from ...planning.decision import IMPORTED
from ...planning.renames import Pair, carry
from ...stores import state
from ...stores.mlflow.sql import SqlStore, reading, writing
from ...stores.state import history
from ..observation import naming, observe

ANALYZE_FROM = 200
"""Changes in one transaction from which PostgreSQL's planner statistics are renewed. Without that, MLflow's
own search took 22 s after a bulk load (observed), and 0.6 s with it."""


@dataclass(frozen=True, slots=True)
class Ledger:
    """Where a stack's rows and records are. `auth` is `registry` where both are one database."""

    stack: str
    registry: SqlStore
    auth: SqlStore | None = None
    workspace: str = "default"
    artifact_root: str = "./mlruns"

    @property
    def together(self) -> bool:
        """Whether the registry and the grants are one database, and so one transaction."""
        return self.auth is not None and self.auth.url == self.registry.url

    @contextmanager
    def reading(self) -> Iterator[Databases]:
        """One snapshot of each store."""
        with ExitStack() as opened:
            registry: Connection = opened.enter_context(reading(self.registry))
            auth: Connection | None = None
            if self.auth is not None:
                auth = registry if self.together else opened.enter_context(reading(self.auth))
            yield Databases(registry, auth, self.workspace, 0, self.artifact_root)

    def ids(self, db: Databases) -> dict[str, str]:
        """The databases' own ids by role, as they are kept in them; empty where our tables aren't there."""
        found = {"registry": state.store_id(db.registry)}
        return found if db.auth is None else {**found, "auth": state.store_id(db.auth)}


def perform(kinds: Sequence[Kind[Any]], db: Databases, changes: Sequence[Change]) -> None:
    """The effects of `changes`, kind by kind: renames, then makers, then removers in the opposite order."""
    rows = [kind for kind in kinds if isinstance(kind, SqlKind)]
    for kind in rows:
        mine = [c for c in changes if c.address.kind == kind.spec.kind and kind.spec.movable]
        pairs = [
            (c.before.renamed(c.address, c.moved_from), c.before) for c in mine if c.before and c.moved_from
        ]
        if pairs:
            kind.move(db, pairs)
    for kind in rows:
        mine = [c for c in changes if c.address.kind == kind.spec.kind]
        if made := [c.after for c in mine if c.action is Action.CREATE]:
            kind.create(db, made)
        if moved := [(c.before, c.after) for c in mine if c.action is Action.UPDATE]:
            kind.update(db, moved)
    for kind in reversed(rows):
        mine = [c for c in changes if c.address.kind == kind.spec.kind]
        if gone := [c.before for c in mine if c.action is Action.DELETE]:
            kind.delete(db, gone)


def load(ledger: Ledger, db: Databases, specs: Mapping[str, type[Spec]]) -> Recorded:
    """What this stack recorded, and what others own, in every database that is open."""
    ours: dict[Address, Record] = {}
    others: dict[Address, str] = {}
    kept: frozenset[Address] = frozenset()
    elsewhere: dict[Address, Spec] = {}
    for connection, stores in ((db.registry, (Store.REGISTRY, Store.SERVE)), (db.auth, (Store.AUTH,))):
        if connection is not None:
            part = state.load(connection, ledger.stack, specs, ledger.workspace, stores)
            ours.update(part.ours)
            others.update(part.others)
            kept |= part.kept
            elsewhere.update(part.elsewhere)
    return Recorded(ours, others, kept, elsewhere)


def read_history(
    ledger: Ledger, db: Databases, specs: Mapping[str, type[Spec]], address: Address | None = None
) -> list[Apply]:
    """The stack's applies, the first one first. How they ended stands in the registry; what they did in both
    databases is told together."""
    mine = (ledger.stack, ledger.workspace, specs)
    if db.auth is None or db.auth is db.registry:
        return history.read(db.registry, *mine, address)
    held = history.read(db.auth, *mine, address)
    beside = {apply.apply_id: apply.lines for apply in held}
    applies = history.read(db.registry, *mine, None if beside else address)
    found = [replace(a, lines=(*_about(a.lines, address), *beside.get(a.apply_id, ()))) for a in applies]
    # what only the other database did ends there, too: its upgrade
    found += [a for a in held if a.ended_ms is not None]
    found.sort(key=lambda apply: (apply.started_ms, apply.apply_id))
    return [apply for apply in found if address is None or apply.lines]


def refuse_applied(ledger: Ledger, db: Databases, plan: Plan) -> None:
    """LacError `plan-already-applied` where an apply has committed any change of this saved plan: whatever
    was undone since then must not come back with the file. An apply that committed nothing leaves it good."""
    if not plan.file_id:
        return
    stores = [db.registry] if db.auth in (None, db.registry) else [db.registry, db.auth]
    found = [
        apply
        for connection in stores
        if connection is not None
        for apply in history.of_plan(connection, ledger.stack, ledger.workspace, plan.file_id)
    ]
    if not found:
        return
    last = max(found, key=lambda apply: apply.started_ms)
    part = "it" if last.outcome == "complete" else "a part of it"
    when = datetime.fromtimestamp(last.started_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    raise LacError(
        Diagnostic(
            "plan-already-applied",
            "the saved plan was already applied",
            f"Apply {last.apply_id} by {last.actor} carried {part} out on {when}.",
            hint="nothing was written; run `lac plan -o FILE` again and review the new plan",
        )
    )


def _about(lines: Sequence[Line], address: Address | None) -> Iterator[Line]:
    return (line for line in lines if address in (None, line.address))


def look_again(
    kinds: Sequence[Kind[Any]],
    db: Databases,
    changes: Sequence[Change],
    recorded: Recorded,
    moves: Sequence[Pair] = (),
) -> None:
    """LacError `stale-plan`, naming every object of `changes` that isn't any more what the plan saw.

    `moves`: the plan's renames, for it saw everything under the new names. What the changes refer to can't be
    changed or removed by anybody until the transaction ends.
    """
    sql = [c for c in changes if c.store is not Store.SERVE]
    _hold(kinds, db, sql)
    asked = naming({*(c.address for c in sql), *(c.moved_from for c in sql if c.moved_from)})
    seen = carry(moves, recorded, observe(kinds, db, asked))
    rows = {c.address for c in sql}
    _refuse(_lost(c, seen.recorded) or (_moved(c, seen.live) if c.address in rows else "") for c in changes)


def _hold(kinds: Sequence[Kind[Any]], db: Databases, changes: Sequence[Change]) -> None:
    """Keep what the changes refer to as it is. On SQLite nobody else can write anyway; on PostgreSQL nothing
    else ties an alias to its version."""
    if all(c is None or c.dialect.name == "sqlite" for c in (db.registry, db.auth)):
        return
    refs = {ref for c in changes if c.after is not None for ref in c.after.refs()}
    for kind in kinds:
        mine = [ref for ref in refs if ref.kind == kind.spec.kind]
        if isinstance(kind, SqlKind) and kind.keys is not None and mine:
            kind.keys.share(
                db.registry if kind.spec.store is Store.REGISTRY else db.grants, db.workspace, mine
            )


def refuse_stale(changes: Sequence[Change], live: Live, recorded: Recorded | None = None) -> None:
    """LacError `stale-plan` with one line for each object that moved since the plan was made, or has another
    owner. Without `recorded`, owners aren't looked at."""
    _refuse((_lost(c, recorded) if recorded else "") or _moved(c, live) for c in changes)


def _refuse(told: Iterable[str]) -> None:
    if moved := [line for line in told if line]:
        raise LacError(
            Diagnostic(
                "stale-plan",
                "the plan is out of date",
                "Since it was made, these changed:\n" + "\n".join(moved),
                hint="nothing was written for it; run `lac plan` again and review the new plan",
            )
        )


def read_back(kinds: Sequence[Kind[Any]], db: Databases, changes: Sequence[Change]) -> None:
    """LacError `not-as-written` where the store doesn't hold what the changes say. Undoes nothing itself."""
    live = observe(kinds, db, naming({c.address for c in changes}))
    wrong: list[str] = []
    for change in changes:
        found = live.present(change.address)
        if change.after is None:
            wrong += [f"{change.address} is still there"] if found is not None else []
        elif found is None:
            wrong.append(f"{change.address} is not there")
        elif found.spec == change.after:
            continue
        elif differing := diff(owned(found.spec, change.before, change.after), change.after):
            told = ", ".join(f"{f.name} is {f.before!r} instead of {f.after!r}" for f in differing)
            wrong.append(f"{change.address}: {told}")
    if wrong:
        raise LacError(
            Diagnostic(
                "not-as-written",
                "the store doesn't hold what was written",
                "\n".join(wrong),
                hint="nothing was kept; something else (a trigger, a limit) changes these values",
            )
        )


def _lost(change: Change, recorded: Recorded) -> str:
    """How the object isn't this stack's any more, or nothing."""
    if owner := recorded.others.get(change.address):
        return f"{change.address}: stack `{owner}` owns it now"
    # what is made, or taken over, has no record yet; a grant in a claimed scope is deleted without one
    ours = change.action not in (Action.CREATE, Action.DELETE) and change.reason != IMPORTED
    if ours and change.address not in recorded.ours:
        return f"{change.address}: this stack has no record of it any more"
    return ""


def _moved(change: Change, live: Live) -> str:
    """How the object differs from what the plan saw, or nothing."""
    found = live.present(change.address)
    match change.before, found:
        case None, None:
            return ""
        case None, _:
            return f"{change.address}: it exists now"
        case _, None:
            return f"{change.address}: it is gone"
        case Spec() as before, seen:
            assert seen is not None
            differing = diff(before, owned(seen.spec, before, change.after))
            told = ", ".join(f"{f.name}: {f.before!r} → {f.after!r}" for f in differing)
            return f"{change.address}: {told}" if told else ""
    return ""


def analyze(store: SqlStore, tables: Sequence[str]) -> Diagnostic | None:
    """Renew PostgreSQL's statistics of `tables`; a warning where we may not."""
    if store.dialect != "postgresql":
        return None
    refused: list[str] = []
    try:
        with writing(store) as db:
            # what it may not look at, PostgreSQL passes over with no more than a notice
            session: Any = db.connection.driver_connection
            session.add_notice_handler(lambda notice: refused.append(notice.message_primary or ""))
            db.execute(text(f"ANALYZE {', '.join(tables)}"))
    except LacError as error:
        refused.append(error.diagnostics[0].detail.rstrip("."))
    if not refused:
        return None
    return Diagnostic(
        "not-analyzed",
        "PostgreSQL's statistics could not be renewed",
        f"ANALYZE: {'; '.join(refused)}.",
        hint="grant MAINTAIN on these tables, or run ANALYZE as their owner; until then MLflow's searches"
        " may be slow",
        severity="warning",
    )
