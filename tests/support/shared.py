"""What the processes of one test run have in common: each thing is made once, by the first that needs it."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

DIRECTORY = "PYTEST_SHARED_DIRECTORY"
"""The environment variable that names the run's own directory."""

MARK = "TEST_RUN_"
"""How the variables' names begin by which processes of a run are known; each run has a name of its own, so
that a run inside a run belongs to both."""
SPARED = "TEST_RUN_SPARED"
"""The variable of processes that end by themselves, and are better not interrupted: an installation."""


def marks() -> dict[str, str]:
    """The variables by which the processes of this run are known: what starts in an environment of its own
    needs them."""
    return {name: value for name, value in os.environ.items() if name.startswith(MARK)}


def _memory() -> str | None:
    """Where files are in memory, if there is plenty: databases come and go by the hundred, and a disk is what
    they would wait for. None for the system's own place of temporary files."""
    place = "/dev/shm"
    roomy = os.path.isdir(place) and os.access(place, os.W_OK) and shutil.disk_usage(place).free > 8 * 2**30
    return place if roomy else None


MEMORY = _memory()


def make_directory() -> Path:
    """A new directory in memory where there is room. The name is short: sockets may lie below it."""
    path = Path(tempfile.mkdtemp(prefix="lac-", dir=MEMORY))
    # run as root, PostgreSQL and others change to users of their own, who have to get in
    path.chmod(0o755)
    return path


@cache
def directory() -> Path:
    """The run's directory for what its processes share. Without a run, as in a benchmark, one that stays."""
    path = Path(os.environ.get(DIRECTORY) or make_directory()) / "shared"
    path.mkdir(exist_ok=True)
    return path


def once(name: str, make: Callable[[], str]) -> str:
    """What `make` returns, called in one process of the run; the others wait for it, and read it."""
    path = directory() / name
    with (directory() / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            text = make()
            path.write_text(text)
        return path.read_text()
