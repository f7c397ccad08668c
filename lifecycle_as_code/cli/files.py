"""Files that commands read and write: whole or not at all, with a diagnostic on failure."""

from __future__ import annotations

import errno
import os
import tempfile
from contextlib import suppress
from pathlib import Path

from ..manifest.regular_file import read_regular_file
from .output import failure


def write(path: Path, data: bytes) -> None:
    """Replace a file's content with `data`; its mode, its owner and links to it stay. LacError where that
    fails; then nothing changed."""
    draft = ""
    try:
        path = path.resolve()
        before = path.stat() if path.exists() else None
        descriptor, draft = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        if before is not None:
            # only root may change a file's owner
            with suppress(PermissionError):
                os.chown(draft, before.st_uid, before.st_gid)
        os.chmod(draft, before.st_mode & 0o777 if before else 0o666 & ~_umask())
        os.replace(draft, path)
    except OSError as error:
        if draft:
            Path(draft).unlink(missing_ok=True)
        raise _failure("cannot-write", "cannot write the file", path, error) from None


def replace(path: Path, before: bytes, after: bytes) -> None:
    """Replace a file's content `before` with `after`. LacError where it has other content by now."""
    if read(path, len(before)) != before:
        raise failure("file-changed", "another process changed the file", f"{path}: run the command again.")
    write(path, after)


def read(path: Path, most: int) -> bytes:
    """The bytes of a regular file, at most one more than `most`. LacError where it can't be read."""
    try:
        return read_regular_file(path, most)
    except OSError as error:
        raise _failure("unreadable-file", "cannot read the file", path, error) from None


def find_way_out(error: OSError) -> str:
    """The hint for an error of a file or directory; empty for any other."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "free some disk space, then run the command again"
    if error.errno in (errno.EEXIST, errno.ENOTDIR):
        return "choose another path: a directory is needed here"
    return "check the path and its permissions, or choose another one" if error.filename else ""


def _umask() -> int:
    now = os.umask(0)
    os.umask(now)
    return now


def _failure(code: str, summary: str, path: Path, error: OSError) -> Exception:
    return failure(code, summary, f"{path}: {error.strerror or error}.", find_way_out(error))
