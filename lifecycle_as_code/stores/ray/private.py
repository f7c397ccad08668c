"""A directory for one local Ray's files and sockets that only its owner can enter.

Ray makes its own directories 0777, and HAProxy's admin socket accepts everybody who reaches it: the parent is
what keeps other users of the machine out.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Final

from ...model.diagnostics import Diagnostic, LacError

LONGEST: Final = 38
"""The longest path: with a session or a node's ID of 56 characters and a name below it, a socket's path must
fit in 97 bytes (HAProxy) or 107 (Ray)."""


def private_directory() -> str:
    """A new directory (0700) in TMPDIR, or in `/tmp` or `$XDG_RUNTIME_DIR` where that path is too long.

    LacError `ray-start-failed` where none can be made.
    """
    places = dict.fromkeys([tempfile.gettempdir(), "/tmp", os.environ.get("XDG_RUNTIME_DIR", "")])
    problems = []
    for place in filter(os.path.isabs, places):
        if len(os.fsencode(place)) + len("/lac-ray-12345678") > LONGEST:
            problems.append(f"{place}: the path is too long for sockets")
            continue
        try:
            return tempfile.mkdtemp(prefix="lac-ray-", dir=place)
        except OSError as e:
            problems.append(f"{place}: {e.strerror}")
    raise LacError(
        Diagnostic(
            "ray-start-failed",
            "the local Ray didn't start",
            "\n".join(["There is no directory for Ray's temporary files.", *problems]),
            hint=f"set TMPDIR to a writable directory with a path of at most {LONGEST - 17} bytes",
        )
    )


def write_private(path: Path, text: str, *, mode: int = 0o600) -> None:
    """Replace `path` at once, for its owner alone."""
    partial = path.with_name(f"{path.name}.{os.getpid()}")
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w") as f:
        f.write(text)
    partial.replace(path)
