"""Files that commands write and read: whole or not at all, and with a diagnostic where they can't."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def write(path: Path, data: bytes) -> None:
    """Put `data` in the place of whatever is there. LacError where that can't be done; then nothing
    changed."""
    draft = ""
    try:
        mode = path.stat().st_mode & 0o777 if path.exists() else 0o666 & ~_umask()
        descriptor, draft = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        os.chmod(draft, mode)
        os.replace(draft, path)
    except OSError as error:
        if draft:
            Path(draft).unlink(missing_ok=True)
        raise _refused("cannot-write", "the file can't be written", path, error) from None


def read(path: Path, most: int) -> bytes:
    """The bytes of a regular file, at most one more than `most`. LacError where there are none."""
    try:
        # without O_NONBLOCK, opening a FIFO waits for a writer
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            if not path.is_file():
                raise OSError(0, "not a regular file")
            return file.read(most + 1)
    except OSError as error:
        raise _refused("unreadable-file", "file can't be read", path, error) from None


def _umask() -> int:
    now = os.umask(0)
    os.umask(now)
    return now


def _refused(code: str, summary: str, path: Path, error: OSError) -> Exception:
    from ..diagnostics import Diagnostic, LacError

    return LacError(Diagnostic(code, summary, f"{path}: {error.strerror or error}."))
