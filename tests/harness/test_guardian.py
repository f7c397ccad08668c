"""However a test run ends, no process that it started is left, and no directory."""

from __future__ import annotations

import os
import pty
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.guardian import Members
from support.shared import MARK

TESTS = Path(__file__).resolve().parents[1]
PATIENCE = 300
"""Seconds; what takes longer hangs."""

BEGIN = """
import os, signal, subprocess, sys, time
from pathlib import Path

HERE = Path(__file__).parent
# in a session of its own, with nobody for a parent, and as deaf as can be
DAEMON = '''
import os, signal
if os.fork(): os._exit(0)
os.setsid()
if os.fork(): os._exit(0)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.signal(signal.SIGHUP, signal.SIG_IGN)
os.execv("/bin/sleep", ["sleep", "1000"])
'''


def note(what):
    names = [name for name in os.environ if name.startswith("TEST_RUN_")]
    text = f"{os.environ['PYTEST_SHARED_DIRECTORY']}\\n{' '.join(names)}\\n{os.getpid()}"
    (HERE / f"{what}.part").write_text(text)
    (HERE / f"{what}.part").rename(HERE / what)


def test_parts(tmp_path):
    if (HERE / "ready").exists():
        return  # another worker has taken over
    subprocess.run([sys.executable, "-c", DAEMON], check=True)
    # one that lost its environment, as Ray's workers do
    subprocess.Popen(["sh", "-c", "env -i sleep 1001 & exec sleep 1002"], start_new_session=True)
"""
END = """
    note("ready")
    time.sleep(1000)
"""
PARTS = {
    "processes": "",
    "postgresql": """
    from support.mlflow_fixture import postgres_server
    assert postgres_server()
""",
    "ray": """
    from lifecycle_as_code.stores.ray import local
    from support.shared import marks
    local.up(tmp_path / ".lac", environment=marks())
""",
}


@dataclass(frozen=True, slots=True)
class Inner:
    """A test run inside this one: its process and terminal, its directory and mark, its test's process."""

    process: subprocess.Popen[bytes]
    terminal: int
    directory: Path
    mark: str
    worker: int

    def members(self) -> Members:
        return Members(self.mark, os.getsid(0))


@contextmanager
def running(home: Path, part: str) -> Iterator[Callable[[], Inner]]:
    """A run whose one test starts its part, and waits. What is called returns once the test is there."""
    home.mkdir()
    file = home / "test_inner.py"
    file.write_text(BEGIN + PARTS[part] + END)
    own = {name for name in os.environ if name.startswith(MARK)}
    # what else is installed isn't needed, and takes most of the time to load
    plugins = [f"-p{name}" for name in ("xdist", "support.guardian", "no:cacheprovider")]
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "pytest", *plugins, "-n", "1"),
            *("-c", os.devnull, "--rootdir", str(home), str(file)),
        ],
        preexec_fn=lambda: lead(slave),
        env={
            **os.environ,
            "PYTHONPATH": f"{TESTS}{os.pathsep}{TESTS.parent}",
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        },
        cwd=home,
    )
    os.close(slave)

    def wait() -> Inner:
        until = time.monotonic() + PATIENCE
        while not (home / "ready").exists():
            assert process.poll() is None, os.read(master, 9999).decode()
            assert time.monotonic() < until
            time.sleep(0.1)
        directory, marks, worker = (home / "ready").read_text().splitlines()
        (mark,) = {*marks.split()} - own
        return Inner(process, master, Path(directory), mark, int(worker))

    try:
        yield wait
    finally:
        process.kill()
        process.wait()


def lead(terminal: int) -> None:
    """Become the terminal's leader, as a shell's job is. Ctrl-C and the end of the terminal count,
    whatever started this run."""
    os.login_tty(terminal)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def close_terminal(inner: Inner) -> None:
    os.close(inner.terminal)


def press_control_c(inner: Inner) -> None:
    os.write(inner.terminal, b"\x03")


WAYS: dict[str, Callable[[Inner], None]] = {
    "Ctrl-C": press_control_c,
    "SIGTERM": lambda inner: inner.process.terminate(),
    "SIGKILL": lambda inner: inner.process.kill(),
    "its terminal closed": close_terminal,
    "a worker's SIGKILL": lambda inner: os.kill(inner.worker, signal.SIGKILL),
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """All ways with cheap processes, the hardest with PostgreSQL; `--everywhere`: each with each. Runs that
    are ended at once wait at once; of Rays there is no room for two."""
    cases: list[tuple[str, list[str]]] = [("processes", [*WAYS]), ("postgresql", ["SIGKILL"])]
    if metafunc.config.getoption("--everywhere"):
        cases = [("processes", [*WAYS]), ("postgresql", [*WAYS]), *(("ray", [way]) for way in WAYS)]
    own_ray = pytest.mark.own_ray
    metafunc.parametrize(
        ("part", "ways"),
        [
            pytest.param(part, ways, marks=own_ray if part == "ray" else (), id=f"{part} {', '.join(ways)}")
            for part, ways in cases
        ],
    )


def test_nothing_is_left_of_a_run_that_was_ended(part: str, ways: list[str], tmp_path: Path) -> None:
    with ExitStack() as until_done:
        begun = {
            way: until_done.enter_context(running(tmp_path / str(n), part)) for n, way in enumerate(ways)
        }
        runs = {way: wait() for way, wait in begun.items()}
        there = {way: inner.members() for way, inner in runs.items()}
        for members in there.values():
            assert len(members.list()) >= 3
            assert len(members.directories) == (part == "ray")
        left = {
            way: [runs[way].directory, *map(os.fsdecode, members.directories)]
            for way, members in there.items()
        }
        assert all(os.path.exists(path) for paths in left.values() for path in paths)
        for way, inner in runs.items():
            WAYS[way](inner)
        for way, inner in runs.items():
            inner.process.wait(PATIENCE)
            # a test that lost its process has failed: what it wrote is kept
            kept = inner.process.returncode == pytest.ExitCode.TESTS_FAILED
            assert kept == (way == "a worker's SIGKILL"), way
            until = time.monotonic() + PATIENCE
            while time.monotonic() < until and (
                there[way].list() or any(map(os.path.exists, left[way][kept:]))
            ):
                time.sleep(0.3)
            assert not there[way].list(), way
            assert [*map(os.path.exists, left[way])] == [kept, *(False for _ in left[way][1:])], way
            shutil.rmtree(inner.directory, ignore_errors=True)
