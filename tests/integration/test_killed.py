"""An apply that is killed, stopped or kept waiting, as a process of its own."""

from __future__ import annotations

import random
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from support.command import PATIENCE, Directory, models
from support.mlflow_fixture import drop_postgres, fresh_postgres, fresh_sqlite

from lifecycle_as_code.stack import Stack
from lifecycle_as_code.stores.sql.store import open_store
from lifecycle_as_code.stores.state import lock

COUNT = 300
DIALECTS = pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])


@contextmanager
def stacks(path: Path, dialect: str, count: int = 1) -> Iterator[tuple[Directory, str]]:
    """A stack of `count` models, applied, and the address of its store."""
    store = fresh_sqlite(path) if dialect == "sqlite" else fresh_postgres()
    try:
        directory = Directory(path / "stack").settings(store).declare(models(count))
        stack = Stack.open(directory.path)
        list(stack.apply(stack.plan()))
        yield directory, store
    finally:
        if dialect == "postgresql":
            drop_postgres(store)


def wait_for(condition: str, store: str) -> None:
    """Until the query gives a row."""
    engine = create_engine(store)
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        with engine.connect() as db:
            if db.execute(text(condition)).first():
                engine.dispose()
                return
        time.sleep(0.02)
    raise AssertionError(f"never true: {condition}")


def made(store: str) -> tuple[set[str], set[str]]:
    """Names of the models that are there, and of those that have a record."""
    engine = create_engine(store)
    with engine.connect() as db:
        names = {*db.scalars(text("SELECT name FROM registered_models"))}
        known = {*db.scalars(text("SELECT name FROM lac_records WHERE kind = 'registered_model'"))}
    engine.dispose()
    return names, known


def hinder(store: str) -> None:
    """Make each new model take a third of a second, inside the transaction that makes it."""
    engine = create_engine(store)
    with engine.begin() as db:
        if engine.dialect.name == "sqlite":
            db.execute(text("CREATE TABLE slow (n INTEGER)"))
            db.execute(text("INSERT INTO slow (n) VALUES (:n)"), [{"n": n} for n in range(2500)])
            body = "BEGIN SELECT count(*) FROM slow a, slow b WHERE a.n + b.n = -1; END"
            db.execute(text(f"CREATE TRIGGER slow_models BEFORE INSERT ON registered_models {body}"))
        else:
            body = "'BEGIN PERFORM pg_sleep(0.3); RETURN NEW; END'"
            db.execute(text(f"CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS {body}"))
            each = "BEFORE INSERT ON registered_models FOR EACH ROW EXECUTE FUNCTION slow()"
            db.execute(text(f"CREATE TRIGGER slow_models {each}"))
    engine.dispose()


@contextmanager
def at_work(stack: Directory, store: str) -> Iterator[subprocess.Popen[str]]:
    """An apply that holds its lock and is in the middle of a transaction that lasts some seconds."""
    hinder(store)
    process = stack.start("apply", "--auto-approve")
    try:
        wait_for(HELD, store)
        time.sleep(0.5)
        assert process.poll() is None
        yield process
    finally:
        process.kill()
        process.communicate()


HELD = "SELECT 1 FROM lac_lock WHERE token <> ''"
"""A row where somebody holds a lock."""
SLOW = 8
"""Models that take `hinder`'s time: some seconds."""


def leases(store: str) -> int:
    """How many locks the store says are held."""
    engine = create_engine(store)
    with engine.connect() as db:
        held = db.execute(text("SELECT count(*) FROM lac_lock WHERE token <> ''")).scalar_one()
    engine.dispose()
    return int(held)


@DIALECTS
def test_killed_time_and_again_it_still_arrives(
    tmp_path: Path, dialect: str, pytestconfig: pytest.Config
) -> None:
    """Twice; `--everywhere`: twelve times."""
    luck = random.Random(7)
    with stacks(tmp_path, dialect, COUNT) as (stack, store):
        stack.declare(models(COUNT, text="Anew."))
        started = time.monotonic()
        stack.lac("apply", "--auto-approve")
        lasts = time.monotonic() - started
        for attempt in range(12 if pytestconfig.getoption("--everywhere") else 2):
            # each manifest differs from the one before, so that there is always something to do
            stack.declare(models(COUNT + attempt, text=f"Attempt {attempt}."))
            process = stack.start("apply", "--auto-approve")
            try:
                process.wait(luck.uniform(lasts / 3, lasts))
            except subprocess.TimeoutExpired:
                process.kill()
            process.communicate()
            names, known = made(store)
            assert names == known, "made, and nobody remembers"
        stack.declare(models(COUNT + 20, text="At last."))
        done = stack.lac("apply", "--auto-approve")
        assert "Apply complete" in done.stdout
        assert "No changes" in stack.lac("plan", "--detailed-exitcode").stdout
        assert len(made(store)[0]) == COUNT + 20


@DIALECTS
def test_a_killed_holder_does_not_block(tmp_path: Path, dialect: str) -> None:
    with stacks(tmp_path, dialect) as (stack, store):
        stack.declare(models(SLOW))
        with at_work(stack, store) as process:
            process.send_signal(signal.SIGKILL)
            process.wait()
        wait_for(HELD, store)
        assert made(store) == ({"model-00000"}, {"model-00000"})
        stack.declare(models(3))
        stack.lac("apply", "--auto-approve", "--lock-timeout", "5s")
        assert len(made(store)[0]) == 3


@contextmanager
def standing_still(process: subprocess.Popen[str]) -> Iterator[None]:
    """It holds what it holds, for as long as others take."""
    process.send_signal(signal.SIGSTOP)
    try:
        yield
        assert process.poll() is None
    finally:
        process.send_signal(signal.SIGCONT)


@pytest.mark.any_store
@DIALECTS
def test_a_second_apply_is_told_who_holds_the_lock(tmp_path: Path, dialect: str) -> None:
    with stacks(tmp_path, dialect) as (stack, store):
        stack.declare(models(SLOW))
        with at_work(stack, store) as process, standing_still(process):
            refused = stack.lac("apply", "--auto-approve", expect=1)
            assert "error[locked]" in refused.stderr
            assert f"(apply, pid {process.pid})" in refused.stderr


@pytest.mark.any_store
@DIALECTS
def test_a_second_apply_may_wait(tmp_path: Path, dialect: str) -> None:
    with stacks(tmp_path, dialect) as (stack, store):
        stack.declare(models(SLOW))
        with at_work(stack, store) as process:
            with standing_still(process):
                late = stack.start("apply", "--auto-approve", "--lock-timeout", "2m")
                assert late.stdout is not None
                assert any("waiting for the lock" in line for line in late.stdout)
            out, told = late.communicate(timeout=PATIENCE)
            assert late.returncode == 1, out + told
            # it had planned the same, which is done by now
            assert "error[stale-plan]" in told
            assert process.wait() == 0


@pytest.mark.parametrize(
    ("dialect", "number"),
    [("sqlite", signal.SIGTERM), ("postgresql", signal.SIGINT)],
    ids=["sqlite", "postgresql"],
)
def test_the_first_signal_ends_a_wait(tmp_path: Path, dialect: str, number: signal.Signals) -> None:
    with stacks(tmp_path, dialect) as (stack, store):
        stack.declare(models(2))
        with lock.hold(open_store(store, role="tracking", base=tmp_path), "test", "a lock"):
            late = stack.start("apply", "--auto-approve", "--lock-timeout", "10m")
            assert late.stdout is not None
            assert any("waiting for the lock" in line for line in late.stdout)
            late.send_signal(number)
            out, told = late.communicate(timeout=20)
            assert late.returncode == 1, out + told
            assert "Stopping" in told
        assert len(made(store)[0]) == 1


@pytest.mark.parametrize(
    ("dialect", "number"),
    [("sqlite", signal.SIGTERM), ("postgresql", signal.SIGINT)],
    ids=["sqlite", "postgresql"],
)
def test_a_signal_lets_the_transaction_end(tmp_path: Path, dialect: str, number: signal.Signals) -> None:
    with stacks(tmp_path, dialect) as (stack, store):
        stack.declare(models(SLOW))
        with at_work(stack, store) as process:
            process.send_signal(number)
            out, told = process.communicate(timeout=60)
            assert "Stopping" in told
        names, known = made(store)
        assert names == known
        # a plan of one transaction is whole by then
        assert len(names) == SLOW
        assert process.returncode == 0, out + told
        assert leases(store) == 0
        assert "No changes" in stack.lac("apply", "--auto-approve").stdout


@pytest.mark.any_store
@DIALECTS
def test_the_second_signal_aborts(tmp_path: Path, dialect: str) -> None:
    with stacks(tmp_path, dialect) as (stack, store):
        stack.declare(models(SLOW))
        with at_work(stack, store) as process:
            process.send_signal(signal.SIGINT)
            time.sleep(0.3)
            # two of one sort are one to a process that is inside a call of the database's
            process.send_signal(signal.SIGTERM)
            out, told = process.communicate(timeout=60)
            assert process.returncode == 1, out + told
            assert "error[aborted]" in told
        assert made(store) == ({"model-00000"}, {"model-00000"})
        stack.declare(models(2))
        stack.lac("apply", "--auto-approve")
