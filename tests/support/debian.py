"""Programs from Debian's packages, installed where the tests need them and they are missing."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence

from support.shared import MARK, SPARED

INSTALL_SECONDS = 300.0
START_SECONDS = 60.0


def install_package(name: str) -> str:
    """Why the package isn't there now, or nothing."""
    if not shutil.which("apt-get"):
        return "there is no apt-get"
    root: list[str] = []
    if os.geteuid() != 0:
        root = ["sudo", "-n"]
        if not shutil.which("sudo") or explain_failure([*root, "true"], START_SECONDS):
            return "only root may install it"
    apt = [*root, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq"]
    install = [*apt, "install", "-y", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=120"]
    return (
        explain_failure([*apt, "update"], INSTALL_SECONDS)
        or explain_failure([*install, "--download-only", name], INSTALL_SECONDS)
        # dpkg that is interrupted has to be repaired by hand
        or explain_failure([*install, name], INSTALL_SECONDS, spared=True)
    )


def explain_failure(command: Sequence[str], seconds: float, *, spared: bool = False) -> str:
    """Why the command fails, in one line, or nothing. `spared`: the end of the tests doesn't end it."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(MARK)}
    try:
        subprocess.run(
            command,
            env=environment | {SPARED: "1"} if spared else None,
            start_new_session=spared,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=True,
        )
    except subprocess.CalledProcessError as error:
        lines = (error.stderr or error.stdout).strip().splitlines()
        return lines[-1] if lines else f"exit code {error.returncode}"
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return ""
