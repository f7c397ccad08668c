"""The process's streams. No command fails halfway because a stream is closed, full or has no reader.

Output that can't be written is dropped, and the command goes on; the exit code reports its outcome, and
`write_error` whether a reader missed output.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import Any, TextIO


class Drain(io.FileIO):
    """A descriptor that accepts everything written to it. `error`: the first failure; it drops output since
    then."""

    error: OSError | None = None

    def write(self, data: Any, /) -> int:
        """Write `data`, or drop it."""
        if self.error is None:
            try:
                return os.write(self.fileno(), data)
            except OSError as error:
                self.error = error
        return memoryview(data).nbytes


def install() -> None:
    """Open the null device for each standard descriptor that is closed, before another file gets its number,
    and put a `Drain` behind stdout and stderr."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            # gets the lowest free number, which is this one: those below it are open
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    # closefd=False: they stay open until the process ends
    sys.stdin = sys.stdin or os.fdopen(0, closefd=False)
    sys.stdout = _wrap(sys.stdout or os.fdopen(1, "w", closefd=False))
    sys.stderr = _wrap(sys.stderr or os.fdopen(2, "w", closefd=False))


def _wrap(stream: TextIO) -> TextIO:
    raw = Drain(stream.fileno(), "wb", closefd=False)
    by_line = stream is not sys.stdout or raw.isatty()
    return io.TextIOWrapper(io.BufferedWriter(raw), stream.encoding, stream.errors, line_buffering=by_line)


def is_abandoned() -> bool:
    """Whether the reader of stdout closed it."""
    error = _error()
    return error is not None and error.errno == errno.EPIPE


def write_error() -> OSError | None:
    """Why stdout is incomplete for its reader; None if it is complete or has no reader."""
    return None if is_abandoned() else _error()


def _error() -> OSError | None:
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    return raw.error if isinstance(raw, Drain) else None
