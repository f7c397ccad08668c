"""The one way to run git: in a directory, without its watchers, and never left behind."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

LOOK_SECONDS: Final = 30.0
"""How long a mere question may take."""
_MOST_KEPT: Final = 2_000


def run(
    directory: Path,
    environ: Mapping[str, str],
    *args: str,
    stdin: str | None = None,
    seconds: float | None = LOOK_SECONDS,
) -> subprocess.CompletedProcess[str]:
    """What git prints in `directory`, and its exit code; of what it says on stderr the end. `seconds` None
    waits for as long as its hooks take. OSError where there is no git, subprocess.TimeoutExpired where it
    takes too long; it is asked to end then, for killed it would leave its locks behind."""
    command = ["git", "-C", str(directory), "-c", "core.fsmonitor=false", *args]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=dict(environ), stdin=pipe, stdout=pipe, stderr=pipe) as process:
        try:
            out, err = process.communicate((stdin or "").encode(), seconds)
        except BaseException:
            process.terminate()
            raise
    said = err.decode(errors="replace").strip()[-_MOST_KEPT:]
    return subprocess.CompletedProcess(command, process.returncode, out.decode(errors="replace"), said)
