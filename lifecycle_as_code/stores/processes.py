"""Processes by number: which are alive, since when, in which session. POSIX."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

_PROC = Path("/proc")


def identity() -> str:
    """This process's name among all machines' processes, for `is_alive`."""
    return f"{_machine()} pid {os.getpid()} started {start_time(os.getpid())}"


def is_alive(identity: str) -> bool | None:
    """Whether the process of that name still runs; None where it can't be known from here."""
    machine, _, rest = identity.partition(" pid ")
    pid, _, started = rest.partition(" started ")
    if machine != _machine() or not pid.isdigit() or not _PROC.is_dir():
        return None
    return start_time(int(pid)) == started


def _machine() -> str:
    """This machine since its last boot, and this container on it: two containers may share a name."""
    parts = [socket.gethostname()]
    with suppress(OSError):
        parts.append((_PROC / "sys/kernel/random/boot_id").read_text().strip())
        parts.append(os.readlink(_PROC / "self/ns/pid"))
    return "/".join(parts)


def start_time(pid: int) -> str | None:
    """When process `pid` started: in the kernel's ticks since boot, or as `ps` says where there is no /proc.
    With the number it identifies a process for good. None if there is no such process; a zombie is none."""
    if _PROC.is_dir():
        try:
            fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            return None
        return None if fields[0] == "Z" else fields[19]
    reply = subprocess.run(
        ["ps", "-o", "stat=,lstart=", "-p", str(pid)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "LC_ALL": "C"},
    )
    state, _, started = reply.stdout.strip().partition(" ")
    return None if not started or state.startswith("Z") else " ".join(started.split())


def living() -> list[int]:
    """All processes but zombies."""
    reply = subprocess.run(["ps", "-axo", "pid=,stat="], capture_output=True, text=True, check=True)
    rows = [line.split() for line in reply.stdout.splitlines()]
    return [int(pid) for pid, state in rows if not state.startswith("Z")]


def session_of(pid: int) -> int | None:
    """The session that `pid` belongs to; None when there is no such process."""
    try:
        return os.getsid(pid)
    except (ProcessLookupError, PermissionError):
        return None


def carries(pid: int, name: str, value: str) -> bool:
    """Whether the environment that `pid` started with has `name` set to `value`."""
    variable = f"{name}={value}"
    try:
        return variable.encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        # macOS has no /proc; its `ps -E` shows the environment of one's own processes
        reply = subprocess.run(
            ["ps", "-wwE", "-o", "command=", "-p", str(pid)],
            capture_output=True,
            text=True,
            check=False,
        )
        return variable in reply.stdout


def send(pids: Iterable[int], number: signal.Signals) -> None:
    """Signal each process that still exists."""
    for pid in pids:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def reap(pid: int) -> None:
    """Collect `pid` if it ended and was a child of this very process."""
    with suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
