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
    return variable(pid, name) == value


def variable(pid: int, name: str) -> str | None:
    """`name` in the environment that `pid` started with; None if unset or the process isn't ours."""
    return _value(_environment(pid), name)


def carrying(name: str) -> dict[int, str]:
    """This user's processes whose environment had `name` set when they started, each with its value."""
    if _PROC.is_dir():
        own = [int(p.name) for p in _PROC.iterdir() if p.name.isdigit() and _owner(p) == os.getuid()]
        values = {pid: variable(pid, name) for pid in own}
    else:
        rows = (row.split(maxsplit=1) for row in _ps("-xwwE", "-o", "pid=,command=").splitlines())
        values = {int(row[0]): _value(row[1].split(), name) for row in rows if len(row) == 2}
    return {pid: value for pid, value in values.items() if value is not None}


def _environment(pid: int) -> list[str]:
    if _PROC.is_dir():
        try:
            return os.fsdecode((_PROC / str(pid) / "environ").read_bytes()).split("\0")
        except OSError:
            return []
    # macOS has no /proc; its `ps -E` shows the environment of one's own processes
    return _ps("-wwE", "-o", "command=", "-p", str(pid)).split()


def _value(entries: Iterable[str], name: str) -> str | None:
    return next((e.removeprefix(f"{name}=") for e in entries if e.startswith(f"{name}=")), None)


def _owner(process: Path) -> int | None:
    try:
        return process.stat().st_uid
    except OSError:
        return None


def _ps(*arguments: str) -> str:
    return subprocess.run(["ps", *arguments], capture_output=True, text=True, check=False).stdout


def send(pids: Iterable[int], number: signal.Signals) -> None:
    """Signal each process that still exists."""
    for pid in pids:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def reap(pid: int) -> None:
    """Collect `pid` if it ended and was a child of this very process."""
    with suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
