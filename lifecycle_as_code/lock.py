"""One apply at a time for each stack and store.

PostgreSQL: a session's advisory lock on a connection of its own, which the server frees when the
holder dies. SQLite: a lease in `lac_lock`, counted by the database's clock and renewed while held.
Whether a holder on this machine lives is known by its pid and start time, and no clock is asked: a long
transaction of its own keeps it from renewing.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from uuid import uuid4

from sqlalchemy import ColumnElement, Connection, delete, func, insert, literal_column, select, text, update
from sqlalchemy.exc import OperationalError

from . import state
from .diagnostics import Diagnostic, LacError
from .stores.sql import SqlStore, reading, writing

LEASE_SECONDS = 30
POLL_SECONDS = 0.2

_DATABASE_CLOCK: ColumnElement[int] = literal_column("CAST(strftime('%s', 'now') AS INTEGER)")


@contextmanager
def held(store: SqlStore, stack: str, timeout: float, tell: Callable[[str], None]) -> Iterator[None]:
    """Hold the stack's lock for the block. LacError `locked` after `timeout` seconds of waiting."""
    taken = _advisory if store.dialect == "postgresql" else _lease
    with taken(store, stack, timeout, tell):
        yield


@contextmanager
def _advisory(store: SqlStore, stack: str, timeout: float, tell: Callable[[str], None]) -> Iterator[None]:
    number = int.from_bytes(blake2b(f"lac:{stack}".encode(), digest_size=8).digest(), "big", signed=True)
    # a connection outside of any pool: one that goes back to a pool would keep the lock
    with store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as db:

        def take() -> str | None:
            if db.execute(select(func.pg_try_advisory_lock(number))).scalar_one():
                return None
            holder = db.execute(
                text(
                    "SELECT a.pid, a.backend_start FROM pg_locks l"
                    " JOIN pg_stat_activity a USING (pid)"
                    " WHERE l.locktype = 'advisory' AND l.granted"
                    " AND ((l.classid::bigint << 32) | l.objid::bigint) = :number"
                ),
                {"number": number},
            ).first()
            if holder is None:
                return "?"
            # another role's session hides when it began
            since = f", since {holder[1]:%Y-%m-%d %H:%M:%S %Z}" if holder[1] else ""
            return f"server process {holder[0]}{since}"

        _wait(take, stack, timeout, tell)
        try:
            yield
        finally:
            db.execute(select(func.pg_advisory_unlock(number)))


@contextmanager
def _lease(store: SqlStore, stack: str, timeout: float, tell: Callable[[str], None]) -> Iterator[None]:
    token = str(uuid4())

    def take() -> str | None:
        # looked at first: a holder that is writing would let nobody else begin to
        with reading(store) as db:
            if state.installed(db) and (holder := _holder(db, stack)):
                return holder
        with writing(store) as db:
            state.install(db)
            return _claim(db, stack, token)

    _wait(take, stack, timeout, tell)
    ended = threading.Event()
    renewal = threading.Thread(target=_renew, args=(store, stack, token, ended), daemon=True)
    renewal.start()
    try:
        yield
    finally:
        ended.set()
        renewal.join()
        with writing(store) as db:
            db.execute(delete(state.locks).where(state.locks.c.name == stack, state.locks.c.token == token))


def _holder(db: Connection, stack: str) -> str | None:
    """Who holds the lease and since when, for people; None where it is free."""
    clock = db.execute(select(_DATABASE_CLOCK)).scalar_one()
    row = db.execute(select(state.locks).where(state.locks.c.name == stack)).mappings().first()
    if row is None or not (row["expires"] > clock if (lives := _lives(row["holder"])) is None else lives):
        return None
    return f"{row['holder']}, since {time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime(row['since']))} UTC"


def _claim(db: Connection, stack: str, token: str) -> str | None:
    """Take the lease, or say who holds it."""
    if holder := _holder(db, stack):
        return holder
    locks = state.locks
    clock = db.execute(select(_DATABASE_CLOCK)).scalar_one()
    fence = db.execute(select(locks.c.fence).where(locks.c.name == stack)).scalar()
    values = {"holder": myself(), "token": token, "since": clock, "expires": clock + LEASE_SECONDS}
    if fence is None:
        db.execute(insert(locks).values(name=stack, fence=1, **values))
    else:
        db.execute(update(locks).where(locks.c.name == stack).values(fence=fence + 1, **values))
    return None


def _renew(store: SqlStore, stack: str, token: str, ended: threading.Event) -> None:
    locks = state.locks
    while not ended.wait(LEASE_SECONDS / 3):
        try:
            with writing(store) as db:
                db.execute(
                    update(locks)
                    .where(locks.c.name == stack, locks.c.token == token)
                    .values(expires=_DATABASE_CLOCK + LEASE_SECONDS)
                )
        except (LacError, OperationalError):
            # a writer holds the database, most likely ourselves: the next round renews
            continue


def _wait(take: Callable[[], str | None], stack: str, timeout: float, tell: Callable[[str], None]) -> None:
    """Try until it is taken. `tell` hears of the wait once, and an empty line at each further try."""
    deadline = time.monotonic() + timeout
    line = f"waiting for the lock of stack {stack}, held by "
    while (holder := take()) is not None:
        if time.monotonic() >= deadline:
            raise LacError(
                Diagnostic(
                    "locked",
                    "another apply is at work",
                    f"Stack `{stack}` is held by {holder}.",
                    hint="wait for it to end, or say how long to wait: --lock-timeout=2m",
                )
            )
        # an empty line lets whoever listens call the wait off
        tell(line and line + holder)
        line = ""
        time.sleep(min(POLL_SECONDS, max(0.0, deadline - time.monotonic())))


def myself() -> str:
    """This process, as another one can tell whether it still lives."""
    return f"{socket.gethostname()} pid {os.getpid()} started {_started(os.getpid())}"


def _lives(holder: str) -> bool | None:
    """Whether the holder is a process that still runs; None where we can't know."""
    host, _, rest = holder.partition(" pid ")
    pid, _, started = rest.partition(" started ")
    if host != socket.gethostname() or not pid.isdigit() or not Path("/proc").is_dir():
        return None
    return _started(int(pid)) == started


def _started(pid: int) -> str:
    """When the process began, in the kernel's ticks since boot; with the pid it names a process for good."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return "?" if not Path("/proc").is_dir() else "gone"
    return "gone" if fields[0] == "Z" else fields[19]
