"""The process's streams, made so that no command fails halfway because one is closed, full or read no more.

Whoever closed a stream doesn't want it. Output that can't be written is dropped, and the work goes on: the
exit code says what became of it, and `lost` whether a reader has missed something.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import Any, TextIO


class Drain(io.RawIOBase):
    """A descriptor that takes all that is written to it. `error`: why it stopped to pass it on."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.error: OSError | None = None

    def writable(self) -> bool:
        """As a stream has to say."""
        return True

    def fileno(self) -> int:
        """The descriptor, which child processes share."""
        return self._descriptor

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return os.isatty(self._descriptor)

    def write(self, data: Any, /) -> int:
        """Pass `data` on, or drop it."""
        if self.error is None:
            try:
                return os.write(self._descriptor, data)
            except OSError as error:
                self.error = error
        return memoryview(data).nbytes


def install() -> None:
    """Put the null device where a standard descriptor is closed, before any other file gets its number, and a
    `Drain` behind stdout and stderr."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            # the lowest free number, for all below it are open by now
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    # these stay open for as long as the process lives
    sys.stdin = sys.stdin or os.fdopen(0, closefd=False)
    sys.stdout = _drained(sys.stdout or os.fdopen(1, "w", closefd=False))
    sys.stderr = _drained(sys.stderr or os.fdopen(2, "w", closefd=False))


def _drained(stream: TextIO) -> TextIO:
    raw = Drain(stream.fileno())
    buffered = stream is sys.stdout and not raw.isatty()
    return io.TextIOWrapper(
        io.BufferedWriter(raw), stream.encoding, stream.errors, line_buffering=not buffered
    )


def abandoned() -> bool:
    """Whether who read stdout has gone."""
    error = _error()
    return error is not None and error.errno == errno.EPIPE


def lost() -> OSError | None:
    """Why stdout is incomplete, though somebody wants it."""
    return None if abandoned() else _error()


def _error() -> OSError | None:
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    return raw.error if isinstance(raw, Drain) else None
