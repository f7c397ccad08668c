"""Ends what a test run started, whatever ended the run: Ctrl-C, a signal, `kill -9`, a closed terminal.

As a plugin of pytest, this file starts a guardian with each run, and lets it go at the end. Run as a
program, it is the guardian itself: a process in a session of its own that waits until the controlling
process lets go or dies, then ends all processes of the run, by number, and removes the run's directory. No
fixture has to come to its end for it.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from lifecycle_as_code.serving.references import LOCAL_RAY
from lifecycle_as_code.stores import processes
from lifecycle_as_code.stores.ray.local import RECORD
from support.shared import DIRECTORY, MARK, SPARED, make_directory

if TYPE_CHECKING:
    import pytest

POLITE_SECONDS = 5.0
"""How long what was sent SIGTERM may take, before SIGKILL."""
KILL_SECONDS = 10.0
"""How long the kernel may take to be done with what was killed."""

KEEP = b"keep"

_TESTS = Path(__file__).resolve().parents[1]

TEMPORARY = "PYTEST_DEBUG_TEMPROOT"
"""pytest's own variable: where `tmp_path` is."""


# --- pytest's hooks


_guardian: Guardian | None = None
_failed = False


def pytest_configure(config: pytest.Config) -> None:
    """The process that controls the run has a guardian; the workers' processes are the run's, too."""
    global _guardian
    if not hasattr(config, "workerinput"):
        _guardian = Guardian()
        os.environ.setdefault(TEMPORARY, str(_guardian.directory))


def pytest_sessionfinish(exitstatus: int) -> None:
    """What failing tests wrote is looked at; the rest is only in the way."""
    global _failed
    _failed = exitstatus == 1


def pytest_unconfigure() -> None:
    """Return when nothing is left of the run."""
    if _guardian:
        _guardian.finish(keep=_failed)
        if _failed:
            print(f"What the tests wrote is in {_guardian.directory}; remove it.")


class Guardian:
    """A run's directory and mark, and a handle on the process that outlives the run."""

    def __init__(self) -> None:
        self.directory = make_directory()
        self.mark = MARK + secrets.token_hex(8)
        # before the mark is set: it doesn't end itself
        self._process = subprocess.Popen(
            [sys.executable, "-m", "support.guardian", self.mark, str(self.directory), str(os.getpid())],
            stdin=subprocess.PIPE,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (_TESTS, _TESTS.parent)))},
        )
        os.environ |= {self.mark: "1", DIRECTORY: str(self.directory)}

    def finish(self, *, keep: bool) -> None:
        """End what the run left, and return when nothing of it is there; `keep`: but for the directory."""
        for name in (self.mark, DIRECTORY, TEMPORARY):
            os.environ.pop(name, None)
        self._process.communicate(KEEP if keep else b"")


# --- the process itself


def watch(mark: str, directory: Path, controller: int) -> None:
    """Wait for the end of the controlling process, and clear up after it."""
    said = b""
    outside = os.getsid(controller)
    # a child that was forked may hold the other end of the pipe: hence the look at the parent
    while os.getppid() == controller:
        if select.select([0], [], [], 0.5)[0]:
            said, before = said + os.read(0, 100), said
            if said == before:
                break
    members = Members(mark, outside, directory)
    members.end()
    for path in members.directories:
        shutil.rmtree(path, ignore_errors=True)
    if said != KEEP:
        shutil.rmtree(directory, ignore_errors=True)


class Members:
    """The run's live processes. They carry its mark; Ray's and PostgreSQL's overwrite their environment, and
    are known by a session that one with the mark belongs to, or by their parents."""

    def __init__(self, mark: str, outside: int, home: Path | None = None) -> None:
        """`outside`: the session that the run began in, with a terminal's shell and all else. `home`: the
        run's directory; the local Ray of a stack below it is the run's, with or without the mark."""
        self._mark = mark
        self._home = home
        self._outside = outside
        # a session keeps its number as long as it has members, whoever of them ended
        self._sessions: set[int] = set()
        self.directories: set[bytes] = set()
        """Those of the local Rays among them: their sockets' paths have no room for the run's directory."""

    def list(self) -> dict[int, int]:
        """By number, each with its parent's."""
        parents = list_parents()
        sessions = {pid: processes.session_of(pid) or 0 for pid in parents}
        spared = {os.getpid(), *(pid for pid in parents if processes.carries(pid, SPARED, "1"))}
        members = {pid for pid in parents if processes.carries(pid, self._mark, "1")} - spared
        members |= {pid for pid, ray in processes.carrying(LOCAL_RAY).items() if self._owns(ray)} & {*parents}
        while True:
            self._sessions |= {sessions[pid] for pid in members} - {self._outside, 0}
            more = {pid for pid in parents if parents[pid] in members or sessions[pid] in self._sessions}
            if more - spared <= members:
                self.directories |= {path for pid in members for path in find_ray_directories(pid)}
                return {pid: parents[pid] for pid in members}
            members |= more - spared

    def _owns(self, ray: str) -> bool:
        try:
            record = json.loads((Path(ray) / RECORD).read_text())
        except (OSError, ValueError):
            return False
        return self._home is not None and Path(record["directory"]).is_relative_to(self._home)

    def end(self) -> None:
        """Ask those first whom no other member would end, then don't ask."""
        began = time.monotonic()
        asked: set[int] = set()
        while members := self.list():
            waited = time.monotonic() - began
            if waited > POLITE_SECONDS + KILL_SECONDS:
                print(f"The tests couldn't end their processes {sorted(members)}.", file=sys.stderr)
                return
            if waited > POLITE_SECONDS:
                processes.send(members, signal.SIGKILL)
            else:
                first = {pid for pid, parent in members.items() if parent not in members} - asked
                processes.send(first, signal.SIGTERM)
                asked |= first
            # looking at all processes costs more than they do
            time.sleep(min(0.1 + waited / 5, 0.5))


def list_parents() -> dict[int, int]:
    """All processes but zombies, each with its parent."""
    reply = subprocess.run(["ps", "-axo", "pid=,ppid=,stat="], capture_output=True, text=True, check=True)
    rows = [line.split() for line in reply.stdout.splitlines()]
    return {int(pid): int(parent) for pid, parent, state in rows if not state.startswith("Z")}


def find_ray_directories(pid: int) -> list[bytes]:
    """The directories of local Rays that the process's command line names."""
    try:
        line = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return []
    return re.findall(rb"[=\0](/[^\0=]*?/lac-ray-\w{8})[/\0]", line)


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    watch(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
