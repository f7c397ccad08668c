"""Which process is meant by a name, and whether it lives."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lifecycle_as_code.stores import processes

HERE = processes._machine()
HOLDERS: dict[str, tuple[str, bool | None]] = {
    "this process": (processes.identity(), True),
    "another process with its number": (f"{HERE} pid {os.getpid()} started 1", False),
    "a process that is gone": (f"{HERE} pid 999999999 started 1", False),
    "this machine before it was started anew": (
        f"{HERE.split('/')[0]}/another-boot/{HERE.split('/')[-1]} pid {os.getpid()} started 1",
        None,
    ),
    "another container with the same name": (
        f"{HERE.rpartition('pid:')[0]}pid:[1] pid {os.getpid()} started 1",
        None,
    ),
    "another machine": (f"another/machine pid {os.getpid()} started 1", None),
    "what an earlier lac wrote": ("somebody", None),
}


@pytest.mark.parametrize(("holder", "lives"), HOLDERS.values(), ids=HOLDERS)
def test_a_process_is_known_by_its_machine_its_number_and_its_start(holder: str, lives: bool | None) -> None:
    assert processes.is_alive(holder) is lives


@pytest.mark.parametrize("proc", [Path("/proc"), Path("/nonexistent")], ids=["of the kernel", "of ps"])
def test_a_process_has_one_start_until_it_ends(proc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_PROC", proc)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        started = processes.start_time(child.pid)
        assert started
        assert processes.start_time(child.pid) == started
        child.kill()
        # until it is waited for, it is a zombie
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert processes.start_time(child.pid) is None
    assert processes.start_time(child.pid) is None


def test_without_proc_nobody_is_known_to_be_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_PROC", Path("/nonexistent"))
    assert processes.is_alive(processes.identity()) is None
