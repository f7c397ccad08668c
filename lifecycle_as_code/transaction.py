"""One SQL step: look again under the lock, make the changes, record them, all in one transaction a store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, text

from . import state
from .change import Action, Change
from .diagnostics import Diagnostic, LacError
from .diff import diff, owned
from .kinds.base import Databases, Kind, SqlKind
from .refresh import naming, observe
from .snapshot import Live, Record, Recorded
from .spec import Address, Spec, Store
from .stores.sql import SqlStore, reading, writing

ANALYZE_FROM = 200
"""Changes in one transaction from which PostgreSQL's planner statistics are renewed. Without that, MLflow's
own search took 22 s after a bulk load (observed), and 0.6 s with it."""

REGISTRY_TABLES = (
    "registered_models",
    "registered_model_tags",
    "registered_model_aliases",
    "model_versions",
    "model_version_tags",
)


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
            yield self._databases(opened, reading)

    @contextmanager
    def writing(self, now_ms: int) -> Iterator[Databases]:
        """One transaction a store; the registry's commits first."""
        with ExitStack() as opened:
            # contexts end in the opposite order: what is entered last commits first
            if self.auth is None or self.together:
                yield self._databases(opened, writing, now_ms)
            else:
                auth = opened.enter_context(writing(self.auth))
                registry = opened.enter_context(writing(self.registry))
                yield Databases(registry, auth, self.workspace, now_ms, self.artifact_root)

    def _databases(self, opened: ExitStack, enter: Any, now_ms: int = 0) -> Databases:
        registry: Connection = opened.enter_context(enter(self.registry))
        auth: Connection | None = None
        if self.auth is not None:
            auth = registry if self.together else opened.enter_context(enter(self.auth))
        return Databases(registry, auth, self.workspace, now_ms, self.artifact_root)


@dataclass(frozen=True, slots=True)
class Entry:
    """What one apply writes beside each change."""

    apply_id: str
    now_ms: int


def perform(kinds: Sequence[Kind[Any]], db: Databases, changes: Sequence[Change]) -> None:
    """The effects of `changes`, kind by kind: makers first, removers in the opposite order."""
    rows = [kind for kind in kinds if isinstance(kind, SqlKind)]
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


def record(
    ledger: Ledger, db: Databases, entry: Entry, kept: Sequence[Record], gone: Sequence[Change] = ()
) -> None:
    """Write records into the database of what they describe; SERVE's are the registry's."""
    for connection, in_auth in ((db.registry, False), (db.auth, True)):
        keep = [r for r in kept if (r.store is Store.AUTH) is in_auth]
        drop = [c.address for c in gone if (c.store is Store.AUTH) is in_auth]
        if connection is not None and (keep or drop):
            state.install(connection)
            state.save(connection, ledger.stack, ledger.workspace, entry.apply_id, entry.now_ms, keep, drop)


def load(ledger: Ledger, db: Databases, specs: Mapping[str, type[Spec]]) -> Recorded:
    """What this stack recorded, and what others own, in every database that is open."""
    ours: dict[Address, Record] = {}
    others: dict[Address, str] = {}
    for connection, stores in ((db.registry, (Store.REGISTRY, Store.SERVE)), (db.auth, (Store.AUTH,))):
        if connection is not None:
            part = state.load(connection, ledger.stack, specs, ledger.workspace, stores)
            ours.update(part.ours)
            others.update(part.others)
    return Recorded(ours, others)


def look_again(
    kinds: Sequence[Kind[Any]], db: Databases, changes: Sequence[Change], recorded: Recorded
) -> None:
    """LacError `stale-plan`, naming every object of `changes` that isn't any more what the plan saw."""
    sql = [c for c in changes if c.store is not Store.SERVE]
    refuse_stale(sql, observe(kinds, db, naming({c.address for c in sql})), recorded)


def refuse_stale(changes: Sequence[Change], live: Live, recorded: Recorded) -> None:
    """LacError `stale-plan` with one line for each object that moved since the plan was made."""
    if moved := [told for c in changes if (told := _moved(c, live, recorded))]:
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


def _moved(change: Change, live: Live, recorded: Recorded) -> str:
    """How the object differs from what the plan saw, or nothing."""
    found = live.present(change.address)
    if owner := recorded.others.get(change.address):
        return f"{change.address}: stack `{owner}` owns it now"
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
    except Exception as error:
        refused.append(str(error).splitlines()[0])
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
