"""One process that has everything imported, and a fork of it for each command: milliseconds a command.

`Zygote` is what tests hold. Run as a program, this file is the process itself: it reads one request a line,
forks, lets the child run `lac …` with its streams in files, and answers with what the child printed and
what the system says it took. The child can't take the machine with it: the system ends it beyond the
limits below.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).resolve().parents[2]
HARD_SECONDS = 10
"""After so long, on the clock or on the processor, a child is killed."""
HARD_BYTES = 2 << 30
"""What a child may address, all that it shares with its parent included."""
HARD_PRINTED = 64 << 20


@dataclass(frozen=True, slots=True)
class Ran:
    """One command: its exit code (minus the signal, where one killed it), what it printed, what it took."""

    code: int
    out: bytes
    err: bytes
    seconds: float
    cpu: float
    peak: int
    """Resident bytes at most."""


class Zygote:
    """A handle on the process."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def lac(self, *args: str, environ: Mapping[str, str] | None = None, forked: bool = True) -> Ran:
        """Run `lac` in a child; in the process itself where it isn't `forked`, to warm it up."""
        return self._ask({"args": args, "environ": environ or {}, "forked": forked})

    def command(self, *args: str, environ: Mapping[str, str], directory: Path, seconds: int) -> Ran:
        """Run `lac` in a child as if it were a process of its own: with that environment and working
        directory, and no limit but the time, after which it is ended."""
        own = {"directory": str(directory), "seconds": seconds}
        return self._ask({"args": args, "environ": dict(environ), "forked": True, "own": own})

    def load(self, *modules: str) -> None:
        """Import the modules in the process itself."""
        self._ask({"modules": modules})

    def _ask(self, request: Mapping[str, Any]) -> Ran:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        for stream in ("out", "err"):
            answer[stream] = answer[stream].encode("latin-1")
        return Ran(**answer)


@contextmanager
def zygote() -> Iterator[Zygote]:
    """Start the process, and end it."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("LAC_", "MLFLOW_"))}
    # what somebody imports must not bring threads
    environ |= {"PYTHONPATH": str(ROOT), "PYTHONUTF8": "1", "OPENBLAS_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environ
    )
    with process:
        yield Zygote(process)
        assert process.stdin
        process.stdin.close()


# --- the process itself


def serve(requests: IO[str], answers: IO[str]) -> None:
    """Answer each request until there are no more."""
    for line in requests:
        request = json.loads(line)
        answers.write(json.dumps(_answer(request)) + "\n")
        answers.flush()


def _answer(request: Mapping[str, Any]) -> dict[str, Any]:
    if modules := request.get("modules"):
        for name in modules:
            importlib.import_module(name)
        return _kept(0)
    if request["forked"]:
        return _forked(request["args"], request["environ"], request.get("own"))
    return _here(request["args"], request["environ"])


def _here(args: Sequence[str], environ: Mapping[str, str]) -> dict[str, Any]:
    from lifecycle_as_code.cli import run

    os.environ.update(environ)
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        return _kept(run(args))


def _kept(code: int) -> dict[str, Any]:
    """What is here stays: children needn't look through it."""
    gc.collect()
    gc.freeze()
    return {"code": code, "out": "", "err": "", "seconds": 0.0, "cpu": 0.0, "peak": 0}


def _forked(args: Sequence[str], environ: Mapping[str, str], own: Mapping[str, Any] | None) -> dict[str, Any]:
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        began = time.monotonic()
        child = os.fork()
        if child == 0:
            _child(args, environ, own, out.fileno(), err.fileno())
        _, status, used = os.wait4(child, 0)
        seconds = time.monotonic() - began
        printed = {}
        for name, file in (("out", out), ("err", err)):
            file.seek(0)
            printed[name] = file.read().decode("latin-1")
    return {
        **printed,
        "code": os.waitstatus_to_exitcode(status),
        "seconds": seconds,
        "cpu": used.ru_utime + used.ru_stime,
        # Linux counts kibibytes, macOS bytes
        "peak": used.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
    }


def _child(
    args: Sequence[str], environ: Mapping[str, str], own: Mapping[str, Any] | None, out: int, err: int
) -> None:
    code = 1
    try:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        if own:
            signal.alarm(own["seconds"])
            os.chdir(own["directory"])
            os.environ.clear()
        else:
            signal.alarm(HARD_SECONDS)
            resource.setrlimit(resource.RLIMIT_CPU, (HARD_SECONDS, HARD_SECONDS))
            resource.setrlimit(resource.RLIMIT_AS, (HARD_BYTES, HARD_BYTES))
            resource.setrlimit(resource.RLIMIT_FSIZE, (HARD_PRINTED, HARD_PRINTED))
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(out, 1)
        os.dup2(err, 2)
        os.environ.update(environ)
        from lifecycle_as_code.cli import run

        code = run(args)
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        # nothing of the parent's is to be cleaned up here
        os._exit(code)


if __name__ == "__main__":
    answers = os.fdopen(os.dup(1), "w")
    # what a child prints goes to its own files, whatever its parent's streams are
    os.dup2(2, 1)
    serve(sys.stdin, answers)
