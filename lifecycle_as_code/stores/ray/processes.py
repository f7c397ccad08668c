"""Processes by number: who lives, since when, in which session. POSIX; nothing here decides whom to end."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path


def start_time(pid: int) -> str | None:
    """When process `pid` started, as `ps` tells it; None when there is no such process (a zombie is none)."""
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
    wanted = f"{name}={value}"
    try:
        return wanted.encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        # macOS has no /proc; its `ps -E` shows the environment of one's own processes
        reply = subprocess.run(
            ["ps", "-wwE", "-o", "command=", "-p", str(pid)],
            capture_output=True,
            text=True,
            check=False,
        )
        return wanted in reply.stdout


def send(pids: Iterable[int], number: signal.Signals) -> None:
    """Signal each that is still there."""
    for pid in pids:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def reap(pid: int) -> None:
    """Collect `pid` if it ended and was a child of this very process."""
    with suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
