"""The lock: who holds it, when it is lost, and that whoever lost it writes nothing more, in SQL or on Ray."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from sqlalchemy import Connection, Table, func, insert, literal_column, select, update
from support.bench import Bench, converge
from support.command import Directory
from support.fake_cluster import Paper, on_paper
from support.mlflow_fixture import fresh_postgres, fresh_sqlite

from lifecycle_as_code.engine.apply import run
from lifecycle_as_code.kinds.model_alias import ModelAlias
from lifecycle_as_code.kinds.model_version import ModelVersion
from lifecycle_as_code.kinds.registered_model import RegisteredModel
from lifecycle_as_code.kinds.role import Role
from lifecycle_as_code.kinds.serving_endpoint import ServedEntity, ServingEndpoint
from lifecycle_as_code.manifest.settings import Serve
from lifecycle_as_code.model.diagnostics import LacError
from lifecycle_as_code.model.events import Event, Finished, Locked
from lifecycle_as_code.model.spec import Spec
from lifecycle_as_code.stores import processes, state
from lifecycle_as_code.stores.mlflow import tables as mlflow_tables
from lifecycle_as_code.stores.sql.store import SqlStore, open_store, reading, writing
from lifecycle_as_code.stores.state import lock, tables

DAY = 86_400
LEASE = 2
"""Seconds; where a test waits for one to run out."""
DEAD = "pid 999999999 started 1"


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> SqlStore:
    url = fresh_sqlite(tmp_path) if request.param == "sqlite" else fresh_postgres()
    return open_store(url, role="tracking", base=tmp_path)


@pytest.fixture
def sqlite(tmp_path: Path) -> SqlStore:
    return open_store(fresh_sqlite(tmp_path), role="tracking", base=tmp_path)


@pytest.fixture
def short_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "LEASE_SECONDS", LEASE)


@contextmanager
def elsewhere() -> Iterator[None]:
    """On a machine of which we can't tell whether its processes live."""
    with mock.patch.object(processes, "_machine", return_value="another/machine"):
        yield


def claim(store: SqlStore, lock_id: str, holder: str | None = None) -> lock.Lease:
    """Take the lock, and die: nobody renews it."""
    with mock.patch.object(processes, "identity", return_value=holder or f"{processes._machine()} {DEAD}"):
        found = lock._Watch(store, "test").take(lock_id, {"who": "ann", "what": "apply"})
    assert isinstance(found, lock.Lease), found
    return found


def claim_elsewhere(store: SqlStore, lock_id: str) -> lock.Lease:
    return claim(store, lock_id, f"another/machine {DEAD}")


def row(store: SqlStore) -> Mapping[str, Any]:
    with reading(store) as db:
        return dict(db.execute(select(state.locks)).mappings().one())


def code(refused: pytest.ExceptionInfo[LacError]) -> str:
    return refused.value.diagnostics[0].code


# --- held


def test_a_lock_says_who_holds_it_for_what_and_since_when(store: SqlStore) -> None:
    began = int(time.time())
    with lock.hold(store, "test", "one", who="ann on a laptop", what="apply"):
        found = row(store)
        assert (found["who"], found["what"], found["token"]) == ("ann on a laptop", "apply", "one")
        assert began - 1 <= found["since"] <= time.time() + 1
        assert f"pid {os.getpid()}" in found["holder"]
        with pytest.raises(LacError) as refused, lock.hold(store, "test", "two"):
            pass
    assert code(refused) == "locked"
    (told,) = refused.value.diagnostics
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(found["since"]))
    assert f"locked by ann on a laptop (apply, pid {os.getpid()}), since {since} UTC" in told.detail
    assert "Lock id: one" in told.detail
    assert "lac force-unlock one" in told.hint
    found = row(store)
    assert (found["holder"], found["token"], found["who"], found["what"]) == ("", "", None, None)


def test_stacks_do_not_wait_for_each_other(store: SqlStore) -> None:
    with lock.hold(store, "test", "one"), lock.hold(store, "other", "two") as lease:
        assert lease.fence == 1


def test_whoever_waits_is_told_for_whom_and_gets_the_lock_next(store: SqlStore) -> None:
    ended, taken = threading.Event(), threading.Event()

    def work() -> None:
        with lock.hold(store, "test", "one", who="ann"):
            taken.set()
            ended.wait(60)

    def tell(line: str) -> None:
        lines.append(line)
        ended.set()

    lines: list[str] = []
    first = threading.Thread(target=work)
    first.start()
    taken.wait(60)
    with lock.hold(store, "test", "two", timeout=60, tell=tell) as lease:
        assert lease.fence == 2
    first.join()
    assert lines[0].startswith("waiting for the lock of ann")
    assert {*lines[1:]} <= {""}


def test_the_fence_rises_by_one_with_each_holder_and_never_falls(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    fences = []
    for number in range(2):
        with lock.hold(store, "test", f"held-{number}") as lease:
            fences.append(lease.fence)
    fences.append(claim(store, "killed").fence)
    fences.append(claim_elsewhere(store, "killed far away").fence)
    lock.force_unlock(store, "test", "killed far away")
    monkeypatch.setattr(lock, "LEASE_SECONDS", 0)
    fences.append(claim_elsewhere(store, "run out at once").fence)
    with lock.hold(store, "test", "last", timeout=60) as lease:
        fences.append(lease.fence)
    assert fences == [1, 2, 3, 4, 5, 6]


# --- lost


def fraud() -> list[Spec]:
    return [RegisteredModel(name="fraud"), Role(name="analysts", description="Read.")]


@pytest.fixture(params=["sqlite", "postgresql", "two on postgresql"])
def apart(request: pytest.FixtureRequest, tmp_path: Path) -> Bench:
    """A registry, and grants that are in the same database or in another."""
    if request.param == "sqlite":
        return Bench(tmp_path, fresh_sqlite(tmp_path), fresh_sqlite(tmp_path, "auth"))
    url = fresh_postgres()
    return Bench(tmp_path, url, url if request.param == "postgresql" else fresh_postgres())


def rows_of(bench: Bench) -> dict[str, int]:
    """How many rows our tables and MLflow's have in both databases, apart from the lock's and history's
    headers."""
    found = {}
    asked: list[Table] = [tables.records, tables.changes, *mlflow_tables.metadata.tables.values()]
    ledger = bench.stack()._connections.ledger()
    for which in (ledger.registry, ledger.auth):
        assert which is not None
        with reading(which) as db:
            for table in asked:
                if db.dialect.has_table(db, table.name):
                    found[f"{which.role} {table}"] = db.execute(
                        select(func.count()).select_from(table)
                    ).scalar_one()
    return found


def unlocked(bench: Bench, lock_id: str) -> None:
    bench.stack().force_unlock(lock_id)


def expired(bench: Bench, lock_id: str) -> None:
    """As for another machine after a pause of ours, in which the lease ran out and somebody else came."""
    store = bench.stack()._connections.ledger().registry
    with writing(store) as db:
        mine = state.locks.c.token == lock_id
        db.execute(update(state.locks).where(mine).values(holder=f"another/machine {DEAD}", expires=0))
    with mock.patch.object(lock, "LEASE_SECONDS", 0):
        lock_held = lock._Watch(store, "test").take("somebody", {"who": "bob", "what": "apply"})
        assert isinstance(lock_held, lock.Lease)


LOST = pytest.mark.parametrize("lose", [unlocked, expired])


@LOST
def test_who_lost_the_lock_writes_nothing(apart: Bench, lose: Callable[[Bench, str], None]) -> None:
    converge(apart.stack([RegisteredModel(name="first"), Role(name="first")]))
    before = rows_of(apart)
    stack = apart.stack([RegisteredModel(name="first"), Role(name="first"), *fraud()])
    events = stack.apply(stack.plan())
    locked = next(event for event in events if isinstance(event, Locked))
    lose(apart, locked.apply_id)
    with pytest.raises(LacError) as refused:
        list(events)
    assert code(refused) == "lock-lost"
    assert rows_of(apart) == before
    # whose lock it is now, keeps it
    assert row(stack._connections.ledger().registry)["token"] == ("" if lose is unlocked else "somebody")


def test_a_late_holder_is_fenced_off_from_the_other_database_too(apart: Bench) -> None:
    converge(apart.stack(fraud()))
    ledger = apart.stack()._connections.ledger()
    assert ledger.auth is not None
    with lock.hold(ledger.registry, "test", "one") as lease:
        with writing(ledger.auth) as db:
            state.install(db)
            lease.fence_off(db)
        with writing(ledger.auth) as db, pytest.raises(LacError) as refused:
            replace(lease, fence=lease.fence - 1).fence_off(db)
    assert code(refused) == "lock-lost"


def test_a_registry_that_was_restored_from_a_backup_can_be_written_again(apart: Bench) -> None:
    for number in range(3):
        converge(apart.stack([*fraud(), Role(name=f"role-{number}")]))
    registry = apart.stack()._connections.ledger().registry
    with writing(registry) as db:
        db.execute(update(state.locks).values(fence=1))
    _, events = converge(apart.stack([*fraud(), Role(name="another")]))
    assert [e.complete for e in events if isinstance(e, Finished)] == [True]


@pytest.fixture
def paper(monkeypatch: pytest.MonkeyPatch) -> Paper:
    return on_paper(monkeypatch)


def served(version: int) -> list[Spec]:
    entity = ServedEntity(name="champion", entity_name="fraud", entity_version="@champion")
    return [
        RegisteredModel(name="fraud"),
        *(ModelVersion(model="fraud", version=n, source=f"/good/{n}") for n in (1, 2)),
        ModelAlias(model="fraud", alias="champion", version=version),
        ServingEndpoint(name="fraud", served_entities=(entity,), auth="none"),
    ]


@pytest.mark.any_store
@LOST
@pytest.mark.parametrize("puts", [1, 2, 3])
def test_who_loses_the_lock_during_a_rollout_touches_no_app_any_more(
    bench: Bench, paper: Paper, puts: int, lose: Callable[[Bench, str], None]
) -> None:
    """After a write to Ray: none comes after it, and nothing is undone, for somebody else is at work."""
    bench = replace(bench, serve=Serve(local=False, address="http://paper"))
    converge(bench.stack(served(1)))
    stack = bench.stack(served(2))
    events = stack.apply(stack.plan())
    locked = next(event for event in events if isinstance(event, Locked))
    written: list[set[str]] = []
    put = paper._put

    def counted(body: Mapping[str, Any]) -> None:
        put(body)
        written.append(set(paper.apps))
        if len(written) == puts:
            lose(bench, locked.apply_id)

    with mock.patch.object(paper, "_put", counted), pytest.raises(LacError) as refused:
        list(events)
    assert code(refused) == "lock-lost"
    assert len(written) == puts
    assert set(paper.apps) == written[-1]
    if lose is expired:
        unlocked(bench, "somebody")
    converge(bench.stack(served(2)))
    assert bench.stack(served(2)).plan().changes == ()
    assert len(paper.apps) == 1


# --- dead or alive


@pytest.mark.usefixtures("short_lease")
def test_a_dead_holder_on_another_machine_blocks_for_its_lease_and_no_longer(store: SqlStore) -> None:
    claim_elsewhere(store, "one")
    with pytest.raises(LacError, match="Lock id: one"), lock.hold(store, "test", "two"):
        pass
    began = time.monotonic()
    with lock.hold(store, "test", "two", timeout=60) as lease:
        assert lease.fence == 2
    assert time.monotonic() - began < LEASE + 2


@pytest.mark.usefixtures("short_lease")
def test_a_holder_on_another_machine_that_renews_keeps_its_lock(store: SqlStore) -> None:
    with elsewhere():
        holding = lock.hold(store, "test", "one")
        lease = holding.__enter__()
    try:
        with pytest.raises(LacError) as refused, lock.hold(store, "test", "two", timeout=2.0 * LEASE):
            pass
        assert code(refused) == "locked"
        with writing(store) as db:
            lease.check(db)
    finally:
        holding.__exit__(None, None, None)


@contextmanager
def wrong_by(seconds: int) -> Iterator[None]:
    """This thread's clock; threads that renew are on another machine, whose clock is right."""
    right, here = lock.clock_s, threading.get_ident()

    def clock(db: Connection) -> Any:
        if threading.get_ident() != here or db.dialect.name == "postgresql":
            return right(db)
        return literal_column(f"(CAST(strftime('%s', 'now') AS INTEGER) + ({seconds}))")

    with mock.patch.object(lock, "clock_s", clock):
        yield


@pytest.mark.usefixtures("short_lease")
@pytest.mark.parametrize("days", [-1, 1], ids=["behind", "ahead"])
class TestAClockThatIsWrongByADay:
    """SQLite has no clock but the machine's own."""

    def test_takes_no_lock_from_a_living_holder(self, sqlite: SqlStore, days: int) -> None:
        with elsewhere():
            holding = lock.hold(sqlite, "test", "one")
            lease = holding.__enter__()
        try:
            with wrong_by(days * DAY):
                began = time.monotonic()
                with pytest.raises(LacError) as refused, lock.hold(sqlite, "test", "two"):
                    pass
            assert code(refused) == "locked"
            # it was heard to renew, which is enough
            assert time.monotonic() - began < LEASE + 1
            with writing(sqlite) as db:
                lease.check(db)
        finally:
            holding.__exit__(None, None, None)

    def test_waits_for_a_dead_holder_as_long_as_its_lease(self, sqlite: SqlStore, days: int) -> None:
        claim_elsewhere(sqlite, "one")
        began = time.monotonic()
        with wrong_by(days * DAY), lock.hold(sqlite, "test", "two"):
            pass
        assert time.monotonic() - began < LEASE + 2

    def test_of_a_dead_holder_blocks_nobody_for_longer(self, sqlite: SqlStore, days: int) -> None:
        with wrong_by(days * DAY):
            claim_elsewhere(sqlite, "one")
        began = time.monotonic()
        with lock.hold(sqlite, "test", "two"):
            pass
        assert time.monotonic() - began < LEASE + 2


CHILD = """
import sys
from pathlib import Path
from lifecycle_as_code.stores.state import lock
from lifecycle_as_code.stores.sql.store import open_store
with lock.hold(open_store(sys.argv[1], role="tracking", base=Path(".")), "test", "one", who="child"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_process_on_this_machine_holds_the_lock_until_it_is_killed(store: SqlStore) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, store.uri], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        with pytest.raises(LacError, match=f"child \\(pid {child.pid}\\)"), lock.hold(store, "test", "two"):
            pass
        child.kill()
        child.wait()
        # its lease has most of its time left
        with lock.hold(store, "test", "two") as lease:
            assert lease.fence == 2


@pytest.mark.usefixtures("short_lease")
def test_a_transaction_that_outlasts_the_lease_is_waited_for(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lifecycle_as_code.stores.sql.store.BUSY_SECONDS", 1.0)
    lease = claim_elsewhere(store, "one")
    with writing(store) as db:
        lease.check(db)
        with pytest.raises(LacError) as refused, lock.hold(store, "test", "two", timeout=LEASE + 1.0):
            pass
        # SQLite can't say which lock it is that somebody holds
        assert code(refused) == ("locked" if store.dialect == "postgresql" else "store-locked")
    with writing(store) as db:
        lease.check(db)
    assert row(store)["token"] == "one"


def test_a_crash_right_after_the_claim_blocks_nobody(bench: Bench) -> None:
    registry = bench.stack()._connections.ledger().registry
    claim(registry, "killed")
    _, events = converge(bench.stack(fraud()))
    assert [e.complete for e in events if isinstance(e, Finished)] == [True]
    assert [apply.outcome for apply in bench.stack().history()] == ["complete"]
    claim_elsewhere(registry, "killed far away")
    bench.stack().force_unlock("killed far away")
    assert bench.stack(fraud()).plan().changes == ()


def test_renewing_and_writing_take_turns(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each lets the other one go on, and none loses the lock."""
    check, renewed = lock.Lease.check, threading.Event()

    def told(lease: lock.Lease, db: Connection) -> None:
        check(lease, db)
        if threading.current_thread() is not threading.main_thread():
            renewed.set()

    monkeypatch.setattr(lock, "LEASE_SECONDS", 0.3)
    monkeypatch.setattr(lock.Lease, "check", told)
    with run.writing(bench.stack()._session, "apply") as journal:
        for number in range(5):
            with journal.writing() as db:
                db.registry.execute(insert(tables.meta).values(key=f"n{number}", value=""))
            renewed.clear()
            assert renewed.wait(60)


# --- unlocked by hand


def test_only_the_lock_with_that_id_is_freed(store: SqlStore) -> None:
    with pytest.raises(LacError, match="it isn't locked") as refused:
        lock.force_unlock(store, "test", "one")
    assert code(refused) == "no-such-lock"
    with lock.hold(store, "test", "one"):
        for wrong in ("two", ""):
            with pytest.raises(LacError, match="the ID of its lock is one") as refused:
                lock.force_unlock(store, "test", wrong)
            assert code(refused) == "no-such-lock"
        lock.force_unlock(store, "test", "one")
        with lock.hold(store, "test", "two") as lease:
            assert lease.fence == 2
    for over in ("one", ""):
        with pytest.raises(LacError, match="it isn't locked"):
            lock.force_unlock(store, "test", over)


def test_unlocking_says_nothing_of_an_apply_that_has_just_ended(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between our look at the lock and our writing."""
    stack = bench.stack(fraud())
    events = stack.apply(stack.plan())
    locked = next(event for event in events if isinstance(event, Locked))

    def later(store: SqlStore) -> Any:
        monkeypatch.setattr(lock, "writing", writing)
        list(events)
        return writing(store)

    monkeypatch.setattr(lock, "writing", later)
    with pytest.raises(LacError, match="no-such-lock"):
        bench.stack().force_unlock(locked.apply_id)
    assert [apply.outcome for apply in bench.stack().history()] == ["complete"]


def test_unlocking_waits_for_the_holders_transaction_and_is_certain(store: SqlStore) -> None:
    lease = claim_elsewhere(store, "one")
    done: list[str] = []

    def unlock() -> None:
        lock.force_unlock(store, "test", "one")
        done.append("unlocked")

    with writing(store) as db:
        lease.check(db)
        thread = threading.Thread(target=unlock)
        thread.start()
        thread.join(0.5)
        assert not done
    thread.join(60)
    assert done
    with writing(store) as db, pytest.raises(LacError) as refused:
        lease.check(db)
    assert code(refused) == "lock-lost"


def test_an_apply_that_was_unlocked_is_told_in_history(bench: Bench) -> None:
    stack = bench.stack(fraud())
    events: Iterator[Event] = stack.apply(stack.plan())
    locked = next(event for event in events if isinstance(event, Locked))
    bench.stack().force_unlock(locked.apply_id)
    with pytest.raises(LacError, match="lock-lost"):
        list(events)
    assert [apply.outcome for apply in bench.stack().history()] == ["unlocked"]


def test_the_command_wants_to_be_sure(tmp_path: Path) -> None:
    url = fresh_sqlite(tmp_path)
    store = open_store(url, role="tracking", base=tmp_path)
    directory = Directory(tmp_path / "stack").settings(url)
    nothing = directory.lac("force-unlock", "--force", "one", expect=1)
    assert "error[no-such-lock]" in nothing.stderr
    with reading(store) as db:
        assert not state.schema_version(db)
    claim_elsewhere(store, "one")
    refused = directory.lac("force-unlock", "one", expect=1)
    assert "error[approval-needed]" in refused.stderr
    assert row(store)["token"] == "one"
    # manifests that can't be read don't matter
    directory.declare("nonsense: [")
    assert "Released the lock." in directory.lac("force-unlock", "--force", "one").stdout
    assert row(store)["token"] == ""
