"""One process that has everything imported, and a fork of it for each piece of work: milliseconds a child.

`Forks` is what tests hold. Run as a program, this file is the process itself: it has no threads and no open
connections, so that a fork of it is as good as a process of its own. A child can be killed like any other,
and several can be let go at once.
"""

from __future__ import annotations

import gc
import os
import pickle
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

PATIENCE = 120
"""Seconds; a child that takes longer hangs, and is ended."""

Work = tuple[Callable[..., Any], tuple[Any, ...]]
"""A function of a module, and plain arguments. One that takes `gate` calls it once it is ready to begin."""


@dataclass(frozen=True, slots=True)
class Ended:
    """One child: its exit code, minus the signal where one ended it, and what its function returned."""

    code: int
    result: Any

    @property
    def killed(self) -> bool:
        """Whether it was ended as by `kill -9`."""
        return self.code == -signal.SIGKILL


class Forks:
    """A handle on the process."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def run(self, function: Callable[..., Any], *args: Any) -> Ended:
        """Call the function in a child, and wait for its end."""
        (ended,) = self.together([(function, args)])
        return ended

    def together(self, works: Sequence[Work]) -> list[Ended]:
        """Call each in a child of its own. All come through their gates at once, when the last has come."""
        return self._ask("fork", works)

    def here(self, function: Callable[..., Any], *args: Any) -> None:
        """Call the function in the process itself: what it loads and caches, all children have."""
        self._ask("here", [(function, args)])

    def _ask(self, how: str, works: Sequence[Work]) -> list[Ended]:
        assert self._process.stdin
        assert self._process.stdout
        # the functions are looked up on the path, which therefore comes first
        pickle.dump(sys.path, self._process.stdin)
        pickle.dump((how, works), self._process.stdin)
        self._process.stdin.flush()
        answer: list[Ended] = [Ended(*each) for each in pickle.load(self._process.stdout)]
        for ended in answer:
            assert ended.code == 0 or ended.killed, f"exit code {ended.code}\n{ended.result}"
        return answer


@contextmanager
def forks() -> Iterator[Forks]:
    """Start the process, and end it."""
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("LAC_", "MLFLOW_"))}
    # what somebody imports must not bring threads
    environ["OPENBLAS_NUM_THREADS"] = "1"
    process = subprocess.Popen(
        [sys.executable, __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environ,
    )
    with process:
        yield Forks(process)
        assert process.stdin
        process.stdin.close()


# --- the process itself


def serve(requests: Any, answers: Any) -> None:
    """Answer each request until there are no more."""
    while True:
        try:
            sys.path[:] = pickle.load(requests)
        except EOFError:
            return
        how, works = pickle.load(requests)
        if how == "here":
            for function, args in works:
                function(*args)
            # what is here stays: children needn't look through it
            gc.collect()
            gc.freeze()
            found: list[tuple[int, Any]] = []
        else:
            found = _forked(works)
        pickle.dump(found, answers)
        answers.flush()


def _forked(works: Sequence[Work]) -> list[tuple[int, Any]]:
    with ExitStack() as opened:
        return _fork([(*work, opened.enter_context(tempfile.TemporaryFile())) for work in works])


def _fork(works: Sequence[tuple[Callable[..., Any], tuple[Any, ...], Any]]) -> list[tuple[int, Any]]:
    ready, gate = os.pipe(), os.pipe()
    pids = []
    for function, args, file in works:
        pid = os.fork()
        if pid == 0:
            os.close(ready[0])
            os.close(gate[1])
            _child(function, args, file, ready[1], gate[0])
        pids.append(pid)
    os.close(ready[1])
    os.close(gate[0])
    # ends when every child has come to its gate, or has ended
    os.read(ready[0], 1)
    os.close(gate[1])
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
    os.close(ready[0])
    results = []
    for _, _, file in works:
        file.seek(0)
        said = file.read()
        results.append(pickle.loads(said) if said else None)
    return list(zip(codes, results, strict=True))


def _child(function: Callable[..., Any], args: Sequence[Any], told: Any, ready: int, gate: int) -> None:
    code = 1

    def pass_gate() -> None:
        os.close(ready)
        os.read(gate, 1)

    try:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(PATIENCE)
        gated = {"gate": pass_gate} if "gate" in function.__code__.co_varnames else {}
        told.write(pickle.dumps(function(*args, **gated)))
        told.flush()
        code = 0
    except BaseException:
        import traceback

        told.seek(0)
        told.write(pickle.dumps(traceback.format_exc()))
        told.flush()
    finally:
        # nothing of the parent's is to be cleaned up here
        os._exit(code)


if __name__ == "__main__":
    told = os.fdopen(os.dup(1), "wb")
    # what a child prints is not an answer
    os.dup2(2, 1)
    serve(sys.stdin.buffer, told)
