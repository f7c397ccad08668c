"""Read a file that may turn out to be anything: a FIFO would block, a device may never end."""

from __future__ import annotations

import os
import stat
from pathlib import Path


class NotRegularError(OSError):
    """There is something at the path, and it is no regular file."""


def read_regular_file(path: Path, limit: int) -> bytes:
    """The file's bytes, at most one more than `limit`. OSError where there are none."""
    # without O_NONBLOCK, opening a FIFO waits for a writer
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise NotRegularError(0, "not a regular file")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read(limit + 1)
    finally:
        os.close(descriptor)
