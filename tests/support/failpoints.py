"""Kill an apply at its k-th effect, really; lose the answer of its k-th commit; and tell what stands then.

An effect is every statement that writes, every commit of such statements, and every PUT to Ray, in the order
in which they come: they are counted from outside while the apply runs, whatever it is. Nothing in the product
knows of it. What is called from `forks` runs in a child that doesn't outlive the call.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import psycopg
from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool, Pool

from lifecycle_as_code.engine.apply import run
from lifecycle_as_code.kinds import KINDS
from lifecycle_as_code.manifest.settings import Serve
from lifecycle_as_code.model.diagnostics import LacError
from lifecycle_as_code.model.events import Finished
from lifecycle_as_code.model.history import Actor
from lifecycle_as_code.model.spec import Spec, construct, plain
from lifecycle_as_code.planning import planfile
from lifecycle_as_code.stack import Stack
from lifecycle_as_code.stores.ray.client import Cluster
from support.bench import Bench
from support.compiled import share_statements

Side = Literal["before", "after"]
SPECS = {name: kind.spec for name, kind in KINDS.items()}

Place = tuple[str, str, str | None, Serve | None]
"""A bench as a child is told of it."""
Written = list[tuple[str, dict[str, Any]]]
"""Specs as a child is told of them."""


def place(bench: Bench) -> Place:
    """Where the bench is."""
    return str(bench.directory), bench.store, bench.auth_store, bench.serve


def bench_at(place: Place) -> Bench:
    """The bench that is there."""
    directory, store, auth_store, serve = place
    return Bench(Path(directory), store, auth_store, serve=serve)


def written(specs: Iterable[Spec]) -> Written:
    """Specs as plain data."""
    return [(spec.kind, plain(spec)) for spec in specs]


def read(specs: Written) -> list[Spec]:
    """The specs of plain data."""
    return [construct(SPECS[kind], data) for kind, data in specs]


def hurried(connection: Any, *_: Any) -> None:
    """For `connect` of SQLAlchemy's Pool. No test's file has to outlive a power cut, and waiting for the disk
    is most of what SQLite does: a process that is killed is another matter."""
    if isinstance(connection, sqlite3.Connection):
        connection.execute("PRAGMA synchronous = OFF")


# --- in a child


def applied(place: Place, plan: bytes, lock_timeout: float = 0.0) -> str:
    """Apply the saved plan: how it ended, or the code of what refused it."""
    return _outcome(bench_at(place).stack(), plan, lock_timeout)


def killed(place: Place, plan: bytes, number: int, side: Side) -> str:
    """Apply the saved plan, and be killed before or after that effect, where there are as many."""

    def at(this: Side) -> Callable[[int], None]:
        def strike(effect: int) -> None:
            if this == side and effect == number:
                os.kill(os.getpid(), signal.SIGKILL)

        return strike

    _watch(at("before"), at("after"))
    return applied(place, plan)


def traced(place: Place, plan: bytes) -> tuple[str, list[tuple[str, ...]]]:
    """Apply the saved plan, and tell what stood after each commit and each PUT."""
    seen: list[tuple[str, ...]] = []
    _watch(lambda _: None, lambda _: seen.append(standing(place)), statements=False)
    return applied(place, plan), seen


def unanswered(place: Place, plan: bytes, number: int, done: bool, settle: float | None = None) -> str:
    """Apply the saved plan over a connection that drops at its commit of that number: before or after the
    store has `done` it. With `settle`, the store stays out of reach, and is asked for so many seconds.

    `none` where there are not as many commits.
    """
    numbers = itertools.count(1)
    commit = DefaultDialect.do_commit
    lost = False

    def drop(dialect: Any, connection: Any) -> None:
        nonlocal lost
        if not connection.info.pop("wrote", False) or next(numbers) != number:
            commit(dialect, connection)
            return
        lost = True
        if done:
            commit(dialect, connection)
        if settle is not None:
            _go_away()
        if dialect.name == "sqlite":
            if not done:
                connection.rollback()
            raise sqlite3.OperationalError("disk I/O error")
        connection.driver_connection.close()
        raise psycopg.OperationalError("server closed the connection unexpectedly")

    if settle is not None:
        from lifecycle_as_code.stores.sql import commit as commits

        commits.CONFIRM_SECONDS = settle
    _mark_writers()
    # methods are replaced, in a process that ends here
    DefaultDialect.do_commit = drop  # type: ignore[method-assign]  # a failpoint
    outcome = applied(place, plan)
    return outcome if lost else "none"


def _go_away() -> None:
    """Nobody gets to any store from now on."""

    def refuse(*_: Any, **__: Any) -> Any:
        raise OperationalError("connect", None, sqlite3.OperationalError("unable to open database file"))

    Engine.connect = refuse  # type: ignore[method-assign]  # a failpoint


def warm(place: Place, plan: bytes) -> None:
    """Load and cache what every child needs."""
    import deepdiff  # noqa: F401 - what the engine loads late
    import httpx  # noqa: F401

    event.listen(Pool, "connect", hurried)
    share_statements()
    applied(place, plan)
    standing(place)


def _outcome(stack: Stack, plan: bytes, lock_timeout: float = 0.0) -> str:
    # four processes of git, for a line that nobody reads here
    run.actor = lambda *_: Actor(user="child")
    try:
        read = planfile.load(plan, SPECS).plan
        events = list(stack.apply(read, lock_timeout=lock_timeout))
    except LacError as error:
        return error.diagnostics[0].code
    return next(e.outcome for e in reversed(events) if isinstance(e, Finished))


def _writes(statement: str) -> bool:
    return not statement.lstrip().upper().startswith(("SELECT", "PRAGMA", "BEGIN", "ROLLBACK", "SHOW"))


def _mark_writers() -> None:
    def before(db: Connection, _: Any, statement: str, *__: Any) -> None:
        if _writes(statement):
            db.info["wrote"] = True

    event.listen(Engine, "before_cursor_execute", before)


def _watch(before: Callable[[int], None], after: Callable[[int], None], *, statements: bool = True) -> None:
    """Number the effects of this process, for good, and tell of each as it comes and once it is done."""
    numbers = itertools.count(1)

    def executing(db: Connection, _: Any, statement: str, *__: Any) -> None:
        if _writes(statement):
            db.info["effect"] = next(numbers)
            before(db.info["effect"])

    def executed(db: Connection, _: Any, statement: str, *__: Any) -> None:
        if _writes(statement):
            after(db.info["effect"])

    commit = DefaultDialect.do_commit
    put = Cluster._put

    def do_commit(dialect: Any, connection: Any) -> None:
        if not connection.info.pop("wrote", False):
            commit(dialect, connection)
            return
        number = next(numbers)
        before(number)
        commit(dialect, connection)
        after(number)

    def do_put(cluster: Cluster, body: Mapping[str, Any]) -> None:
        number = next(numbers)
        before(number)
        put(cluster, body)
        after(number)

    _mark_writers()
    if statements:
        event.listen(Engine, "before_cursor_execute", executing)
        event.listen(Engine, "after_cursor_execute", executed)
    DefaultDialect.do_commit = do_commit  # type: ignore[method-assign]  # a failpoint
    Cluster._put = do_put  # type: ignore[method-assign]  # a failpoint


# --- what stands


_TIMES = ("creation_time", "last_updated_time", "at_ms", "updated_ms", "started_ms", "ended_ms", "since")
_LEFT_OUT = frozenset(
    (*_TIMES, "expires", "apply_id", "id", "holder", "token", "who", "actor", "plan_digest")
)
"""Columns that differ from run to run."""
_TABLES = (
    "registered_models",
    "registered_model_tags",
    "registered_model_aliases",
    "model_versions",
    "model_version_tags",
    "lac_records",
    "lac_changes",
    "lac_applies",
    "lac_lock",
    "roles",
    "role_permissions",
)


def standing(place: Place) -> tuple[str, ...]:
    """Every row of ours and of MLflow's, and every app on Ray, less what differs from run to run."""
    _, store, auth_store, serve = place
    found: list[str] = []
    for url in sorted({store, auth_store or store}):
        engine = create_engine(url, poolclass=NullPool)
        with engine.connect() as db:
            there = set(inspect(db).get_table_names())
            found += [f"has {name}" for name in there if name.startswith("lac_")]
            roles = _roles(db) if "roles" in there else {}
            for name in there.intersection(_TABLES):
                rows = db.execute(text(f"SELECT * FROM {name}")).mappings()
                shown = name if url == store else f"auth {name}"
                found += [_told(shown, row, roles) for row in rows]
        engine.dispose()
    if serve is not None:
        with Cluster(serve.address) as cluster:
            found += [json.dumps(a.config, sort_keys=True) for a in cluster.applications().values()]
    return tuple(sorted(found))


def _told(table: str, row: Mapping[str, Any], roles: Mapping[int, str]) -> str:
    told: dict[str, Any] = {k: v for k, v in row.items() if v is not None and k not in _LEFT_OUT}
    if "token" in row:
        told["held"] = bool(row["token"])
    if "role_id" in told:
        told["role_id"] = roles[told["role_id"]]
    if pending := told.get("pending"):
        told["pending"] = json.loads(pending)["names"]
    return f"{table} {told}"


def work(standing: tuple[str, ...]) -> tuple[str, ...]:
    """The part of it that an apply is about: neither who holds the lock, nor how an apply ended."""
    return tuple(line for line in standing if not line.startswith(("lac_applies", "lac_lock")))


def _roles(db: Connection) -> dict[int, str]:
    return {row.id: row.name for row in db.execute(text("SELECT id, name FROM roles"))}
