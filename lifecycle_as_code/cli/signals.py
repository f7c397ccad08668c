"""Ctrl-C and SIGTERM during an apply: the first asks it to end, the second doesn't ask."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

_NOTICE = b"\nStopping: the effect at hand is finished or undone first. Once more aborts at once.\n"


class Stop:
    """Whether somebody asked to stop."""

    def __init__(self) -> None:
        self._asked = False

    def asked(self) -> bool:
        """What the engine looks at between effects."""
        return self._asked

    def now(self) -> None:
        """Ask."""
        self._asked = True

    def handle(self, number: int, frame: FrameType | None) -> None:
        """A signal came."""
        if self._asked:
            raise KeyboardInterrupt
        self.now()
        # not through sys.stderr, which the signal may have interrupted in the middle of a line
        with suppress(OSError):
            os.write(2, _NOTICE)


@contextmanager
def stopping() -> Iterator[Stop]:
    """Listen to both signals until the end of the block."""
    stop = Stop()
    listened = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, stop.handle) for number in listened}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
