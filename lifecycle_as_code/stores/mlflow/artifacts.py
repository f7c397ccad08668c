"""Read the small file that describes a model, from wherever its files are, within a time limit.

Local files are read here, by threads; all others by `remote_artifacts`. What can't be read is an answer,
never an error.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Collection, Generator, Mapping
from contextlib import ExitStack
from pathlib import Path

from ...manifest.regular_file import NotRegularError, read_regular_file
from .remote_artifacts import FILE, LARGEST, THREADS, File, Unread, apart, out_of_reach, reader_of
from .uris import local_path


def read_files(
    locations: Collection[str], *, seconds: float, root: str = "", environ: Mapping[str, str] | None = None
) -> Generator[tuple[str, File]]:
    """The MLmodel below each of `locations`, paths or URIs as MLflow stores them, as they arrive; each of
    them once, and the last one after `seconds` at the latest. Close it (`contextlib.closing`).

    `root`: MLflow's artifact root. Like MLflow's server, this connects to no other host that an address
    names, or whoever registers a version could have our credentials sent to a host of theirs. `environ`
    stands for the process's environment; stores' credentials are looked up there.
    """
    until = time.monotonic() + seconds
    environ = os.environ if environ is None else environ
    here: dict[str, Path] = {}
    away: dict[str, str] = {}
    for place in sorted({*locations}):
        if (path := local_path(place)) is not None:
            here[place] = Path(path)
        elif problem := out_of_reach(place, root, environ):
            yield place, Unread(problem)
        else:
            away[place] = reader_of(place)
    waiting = {*here, *away}
    answers: queue.SimpleQueue[tuple[str, File]] = queue.SimpleQueue()
    with ExitStack() as running:
        if away:
            running.enter_context(apart(away, until, environ, answers))
        _read_here(here, answers)
        while waiting and (left := until - time.monotonic()) > 0:
            try:
                place, file = answers.get(timeout=left)
            except queue.Empty:
                break
            if place in waiting:
                waiting.discard(place)
                yield place, file
    for place in sorted(waiting):
        yield place, Unread(f"there was no answer within {seconds:g} s")


# --- on this machine


def _read_here(paths: Mapping[str, Path], answers: queue.SimpleQueue[tuple[str, File]]) -> None:
    """By a few threads that nobody waits for: a network drive may never answer."""
    rest = list(paths.items())

    def work(share: list[tuple[str, Path]]) -> None:
        for place, path in share:
            answers.put((place, _local(path / FILE)))

    for number in range(min(THREADS, len(rest))):
        threading.Thread(target=work, args=(rest[number::THREADS],), daemon=True).start()


def _local(path: Path) -> File:
    try:
        data = read_regular_file(path, LARGEST)
        return Unread("it is too large") if len(data) > LARGEST else data
    except NotRegularError:
        return Unread("not a file", absent=True)
    except (FileNotFoundError, NotADirectoryError):
        return Unread("no such file", absent=True)
    except OSError as error:
        # the system's words, which hold no path
        return Unread(error.strerror or type(error).__name__)
    except ValueError as error:
        return Unread(type(error).__name__)
