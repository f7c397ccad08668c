"""Ctrl-C and SIGTERM during an apply: the first stops it cleanly, the second aborts it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

_NOTICE = b"\nStopping: finishing the current operation; press Ctrl-C again to abort.\n"


class Stop:
    """A request to stop."""

    requested = False
    """Whether to stop; the engine checks it between operations."""

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal: request the stop, or abort if it is requested already."""
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        # not through sys.stderr: the signal may interrupt one of its writes
        with suppress(OSError):
            os.write(2, _NOTICE)


@contextmanager
def handle_signals() -> Iterator[Stop]:
    """Handle both signals until the end of the block."""
    stop = Stop()
    before = {number: signal.signal(number, stop.handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
