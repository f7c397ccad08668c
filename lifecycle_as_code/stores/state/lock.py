"""One apply at a time for each stack and store: a lease in `lac_lock`, and a number that fences off
latecomers.

The lease counts by the database's clock, and its holder renews it. Every writing transaction checks it first,
so a holder that lost it can't write. On the holder's own machine its process shows whether it is alive.
SQLite has no clock but the machine's: there, a holder on another machine is dead if it hasn't renewed for as
long as a lease lasts by this process's stopwatch.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from sqlalchemy import ColumnElement, Connection, insert, select, update

from ...model.diagnostics import Diagnostic, LacError
from .. import processes, state
from ..sql.clock import clock_s
from ..sql.commit import confirm_commit
from ..sql.store import SqlStore, reading, writing
from . import history

LEASE_SECONDS = 30
POLL_SECONDS = 0.2

_Row = Mapping[str, Any]
"""A row of `lac_lock`, with `doubtful`: whether only waiting shows if its holder is alive."""

_SOMEBODY: _Row = {**dict.fromkeys(("holder", "who", "what", "token"), ""), "since": 0, "doubtful": False}
"""A transaction that has the lock's row in this moment."""


@dataclass(frozen=True)
class Lease:
    """A held lock. `mutex` keeps its renewals apart from its transactions."""

    stack: str
    lock_id: str
    fence: int
    mutex: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def check(self, db: Connection) -> None:
        """Renew the lease, first of all in a writing transaction. LacError `lock-lost` if the lock has
        another holder: then the transaction must write nothing. Until it ends, no other can take the lock."""
        lease = {"expires": clock_s(db) + LEASE_SECONDS}
        if db.execute(update(state.locks).where(self._mine).values(lease)).rowcount != 1:
            raise LacError(_lost_error(self.stack))

    def await_own(self, db: Connection) -> bool:
        """Wait for any running transaction under this lock; whether the lock is still ours."""
        name = state.locks.c.name
        row = db.execute(select(name, self._mine).where(name == self.stack).with_for_update()).first()
        return row is not None and bool(row[1])

    @property
    def _mine(self) -> ColumnElement[bool]:
        lock = state.locks.c
        return (lock.name == self.stack) & (lock.token == self.lock_id) & (lock.fence == self.fence)

    def fence_off(self, db: Connection) -> None:
        """The same in a database beside that of the lock: no holder that came before may write there now."""
        rows = state.locks
        this = rows.c.name == self.stack
        result = db.execute(update(rows).where(this, rows.c.fence <= self.fence).values(fence=self.fence))
        if result.rowcount:
            return
        if db.execute(select(rows.c.fence).where(this)).first() is not None:
            raise LacError(_lost_error(self.stack))
        free = {"holder": "", "token": "", "since": 0, "expires": 0}
        db.execute(insert(rows).values(name=self.stack, fence=self.fence, **free))


@contextmanager
def hold(
    store: SqlStore,
    stack: str,
    lock_id: str,
    *,
    who: str = "",
    what: str = "",
    beside: SqlStore | None = None,
    timeout: float = 0.0,
    tell: Callable[[str], None] = lambda _: None,
) -> Iterator[Lease]:
    """Hold the stack's lock for the block. LacError `locked` after `timeout` seconds of waiting.

    `who` and `what` appear in the messages of waiting processes. `beside`: another database that the holder
    will write, whose fence must not be ahead of ours: one of the two may have been restored from a backup.
    Creates the `lac_*` tables if they are missing.
    """
    labels = {"who": who[:256], "what": what[:256]}
    lease = _wait(_Watch(store, stack, beside), lock_id, labels, timeout, tell)
    end = threading.Event()
    renewal = threading.Thread(target=_renew, args=(store, lease, end), daemon=True)
    renewal.start()
    try:
        yield lease
    finally:
        end.set()
        renewal.join()
        # a store that is out of reach now frees the lock by itself when the lease runs out
        with suppress(LacError), writing(store) as db:
            _free(db, stack, lock_id)


def force_unlock(store: SqlStore, stack: str, lock_id: str) -> None:
    """Free the lock with this id. Its holder can't write any more, even if it is alive. LacError if the stack
    isn't locked, or its lock has another id."""
    with reading(store) as db:
        row = _row(db, stack) if state.schema_version(db) > 1 else None
    while row is not None and lock_id and row["token"] == lock_id:
        # on PostgreSQL we have waited for its transaction, and come after it
        with _ignoring("write-conflict"), writing(store) as db:
            if _free(db, stack, lock_id):
                history.end(db, lock_id, "unlocked")
                return
        with reading(store) as db:
            row = _row(db, stack)
    current = (
        f"the ID of its lock is {row['token']}" if row is not None and row["token"] else "it isn't locked"
    )
    raise LacError(
        Diagnostic(
            "no-such-lock",
            "there is no lock with this ID",
            f"Stack `{stack}`: {current}.",
            hint="the ID is in the error that reported the lock",
        )
    )


class _Watch:
    """Observes the lock repeatedly and knows when its holder last renewed it."""

    def __init__(self, store: SqlStore, stack: str, beside: SqlStore | None = None) -> None:
        self._store = store
        self._stack = stack
        self._floor = 0
        if beside is not None and beside.exists:
            with reading(beside) as db:
                row = _row(db, stack) if state.schema_version(db) > 1 else None
            self._floor = row["fence"] if row else 0
        # of the holder: its lock's id, when its lease ends, and when we first read that
        self._heard: tuple[str, int, float] = ("", 0, 0.0)
        self._renewed = False

    def take(self, lock_id: str, labels: Mapping[str, str]) -> Lease | _Row:
        """The lock, or its holder's row."""
        # read first: a holder that is writing keeps every other writer waiting
        with reading(self._store) as db:
            version = state.schema_version(db)
            if version > 1 and (row := self._holder(db, _row(db, self._stack))):
                return row
        if not version:
            # before a snapshot that could miss the tables of another process
            is_there = confirm_commit(self._store, lock_id, lambda db: bool(state.schema_version(db)))
            with _ignoring("write-conflict"), is_there as db:
                state.install(db)
        # PostgreSQL doesn't wait for the row; SQLite has waited for the whole file
        busy = () if self._store.dialect == "sqlite" else ("write-conflict", "store-locked")
        with _ignoring(*busy), confirm_commit(self._store, lock_id, partial(self._has, lock_id)) as db:
            state.install(db)
            return self._claim(db, lock_id, labels)
        return _SOMEBODY

    def _claim(self, db: Connection, lock_id: str, labels: Mapping[str, str]) -> Lease | _Row:
        row = _row(db, self._stack, lock=True)
        if holder := self._holder(db, row):
            return holder
        now = db.execute(select(clock_s(db))).scalar_one()
        fence = max(row["fence"] if row else 0, self._floor) + 1
        lease = {"token": lock_id, "since": now, "expires": now + LEASE_SECONDS}
        values = {"holder": processes.identity(), "fence": fence, **lease, **labels}
        if row is None:
            db.execute(insert(state.locks).values(name=self._stack, **values))
        else:
            db.execute(update(state.locks).where(state.locks.c.name == self._stack).values(values))
        return Lease(self._stack, lock_id, fence)

    def _has(self, lock_id: str, db: Connection) -> bool:
        row = _row(db, self._stack, lock=True) if state.schema_version(db) else None
        return row is not None and row["token"] == lock_id

    def _holder(self, db: Connection, row: _Row | None) -> _Row | None:
        """The row, if the lock has a holder that may be alive."""
        if row is None or not row["token"]:
            return None
        if (lives := processes.is_alive(row["holder"])) is not None:
            return {**row, "doubtful": False} if lives else None
        seconds_left = row["expires"] - db.execute(select(clock_s(db))).scalar_one()
        if db.dialect.name == "postgresql":
            return {**row, "doubtful": False} if seconds_left > 0 else None
        if self._silence(row["token"], row["expires"]) >= LEASE_SECONDS:
            return None
        # with clocks that agree, a lease that is kept up has some of its time left, and never more than all
        return {**row, "doubtful": not 0 < seconds_left <= LEASE_SECONDS and not self._renewed}

    def _silence(self, token: str, expires: int) -> float:
        """Seconds since this holder's last renewal, by our stopwatch."""
        before, then, since = self._heard
        if (before, then) != (token, expires):
            self._renewed = before == token
            since = time.monotonic()
            self._heard = (token, expires, since)
        return time.monotonic() - since


@contextmanager
def _ignoring(*codes: str) -> Iterator[None]:
    try:
        yield
    except LacError as error:
        if error.diagnostics[0].code not in codes:
            raise


def _row(db: Connection, stack: str, *, lock: bool = False) -> _Row | None:
    query = select(state.locks).where(state.locks.c.name == stack)
    row = db.execute(query.with_for_update(nowait=True) if lock else query).mappings().first()
    return None if row is None else dict(row)


def _free(db: Connection, stack: str, lock_id: str) -> bool:
    """Free the lock; whether it existed. The row stays: its fence must never restart at one."""
    mine = (state.locks.c.name == stack) & (state.locks.c.token == lock_id)
    statement = update(state.locks).where(mine).values(holder="", token="", expires=0, who=None, what=None)
    return db.execute(statement).rowcount == 1


def _renew(store: SqlStore, lease: Lease, end: threading.Event) -> None:
    while not end.wait(LEASE_SECONDS / 3):
        # a transaction of ours renews by itself
        if not lease.mutex.acquire(blocking=False):
            continue
        try:
            with writing(store) as db:
                lease.check(db)
        except LacError:
            # another writer is busy, or the lock is lost: our next transaction notices
            continue
        finally:
            lease.mutex.release()


def _wait(
    watch: _Watch, lock_id: str, labels: Mapping[str, str], timeout: float, tell: Callable[[str], None]
) -> Lease:
    """Retry until the lock is ours. `tell` gets one line about the wait, then an empty one for each try."""
    start = time.monotonic()
    is_waiting = False
    while isinstance(outcome := watch.take(lock_id, labels), Mapping):
        # a holder that renews in that time is alive, any other is dead
        patience = max(timeout, LEASE_SECONDS + 2 * POLL_SECONDS) if outcome["doubtful"] else timeout
        deadline = start + patience
        if time.monotonic() >= deadline:
            raise LacError(_locked_error(watch, outcome))
        # an empty line lets the listener call the wait off
        tell("" if is_waiting else f"waiting for the lock of {_describe_holder(outcome)}")
        is_waiting = True
        time.sleep(min(POLL_SECONDS, max(0.0, deadline - time.monotonic())))
    return outcome


def _describe_holder(row: _Row) -> str:
    """The holder in words."""
    pid = row["holder"].partition(" pid ")[2].partition(" ")[0]
    doing = ", ".join(part for part in (row["what"], pid and f"pid {pid}") if part)
    since = f", since {time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime(row['since']))} UTC"
    return f"{row['who'] or 'another process'}{f' ({doing})' if doing else ''}{since if row['since'] else ''}"


def _locked_error(watch: _Watch, row: _Row) -> Diagnostic:
    unlock = f"; if its process is dead, run `lac force-unlock {row['token']}`" if row["token"] else ""
    return Diagnostic(
        "locked",
        "another apply is in progress",
        f"Stack `{watch._stack}` is locked by {_describe_holder(row)}."
        + (f"\nLock id: {row['token']}" if row["token"] else ""),
        hint=f"wait for it to finish, or set --lock-timeout=2m{unlock}",
    )


def _lost_error(stack: str) -> Diagnostic:
    return Diagnostic(
        "lock-lost",
        "the lock was lost",
        f"Stack `{stack}`: `lac force-unlock` freed it, or its lease expired and another apply took it.",
        hint="this transaction wrote nothing; run `lac plan` to see the current state",
    )
