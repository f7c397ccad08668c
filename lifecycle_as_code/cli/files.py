"""Files that commands write and read: whole or not at all, and with a diagnostic where they can't."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path

from ..manifest.regular_file import read_regular_file


def write(path: Path, data: bytes) -> None:
    """Put `data` in the place of whatever is there, with its mode and owner; a link stays one. LacError where
    that can't be done; then nothing changed."""
    draft = ""
    try:
        path = path.resolve()
        before = path.stat() if path.exists() else None
        descriptor, draft = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        if before is not None:
            # nobody but root may give a file away
            with suppress(PermissionError):
                os.chown(draft, before.st_uid, before.st_gid)
        os.chmod(draft, before.st_mode & 0o777 if before else 0o666 & ~_umask())
        os.replace(draft, path)
    except OSError as error:
        if draft:
            Path(draft).unlink(missing_ok=True)
        raise _refused("cannot-write", "the file can't be written", path, error) from None


def replace(path: Path, before: bytes, after: bytes) -> None:
    """Put `after` in the place of a file that holds `before`. LacError where it holds something else by
    now."""
    if read(path, len(before)) != before:
        raise _refused("file-changed", "the file was changed meanwhile", path, OSError(0, "run this again"))
    write(path, after)


def read(path: Path, most: int) -> bytes:
    """The bytes of a regular file, at most one more than `most`. LacError where there are none."""
    try:
        return read_regular_file(path, most)
    except OSError as error:
        raise _refused("unreadable-file", "file can't be read", path, error) from None


def _umask() -> int:
    now = os.umask(0)
    os.umask(now)
    return now


def _refused(code: str, summary: str, path: Path, error: OSError) -> Exception:
    from ..model.diagnostics import Diagnostic, LacError

    return LacError(Diagnostic(code, summary, f"{path}: {error.strerror or error}."))
