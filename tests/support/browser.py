"""A Chromium or Chrome for the tests that look at a page: installed before or now.

`ensure_browser` is called once by all processes of a run, early and beside other tests, for an installation
takes most of a minute.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx

from support.shared import MARK, SPARED, directory, once

COMMANDS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
APPLICATIONS = ("Google Chrome", "Chromium")
CACHES = ("~/.cache/ms-playwright", "~/Library/Caches/ms-playwright")
CACHED = (
    "chromium-*/chrome-linux*/chrome",
    "chromium-*/chrome-mac*/*.app/Contents/MacOS/*",
    "chromium_headless_shell-*/chrome-*/*headless*shell",
)

DOWNLOADS = "https://cdn.playwright.dev"
REACH_SECONDS = 5.0
INSTALL_SECONDS = 300.0
START_SECONDS = 60.0

NAME = "browser"
WAY_OUT = (
    "Install Chromium or Google Chrome, on Debian by `apt-get install chromium` as root, elsewhere by "
    "`python -m playwright install --with-deps chromium`."
)


def ensure_browser() -> tuple[str, str]:
    """The browser's path, and a line that says what was done; the path is empty where there is none."""
    path, _, line = once(NAME, lambda: "\n".join(provide_browser())).partition("\n")
    return path, line


def provide_browser() -> tuple[str, str]:
    """As `ensure_browser`, for this process alone."""
    if path := find_browser():
        return path, f"Browser: {path}"
    reasons = []
    for what, install in (("Playwright's Chromium", _download), ("Debian's package", _install_package)):
        began = time.monotonic()
        reason = install()
        if not reason:
            if path := find_browser():
                return path, f"Browser: {path}, {what}, installed in {time.monotonic() - began:.0f} s"
            reason = "it doesn't start"
        reasons.append(f"{what}: {reason}")
    return "", f"No browser. {WAY_OUT} ({'; '.join(reasons)})"


def describe_browser() -> str:
    """The line that says what was done, empty where no test needed a browser."""
    path = directory() / NAME
    return path.read_text().partition("\n")[2] if path.exists() else ""


def find_browser() -> str:
    """The path of an installed one that starts, or nothing."""
    return next((path for path in _places() if _starts(path)), "")


def _places() -> Iterator[str]:
    yield from filter(None, map(shutil.which, COMMANDS))
    for name in APPLICATIONS:
        yield f"/Applications/{name}.app/Contents/MacOS/{name}"
    for cache in filter(None, [os.environ.get("PLAYWRIGHT_BROWSERS_PATH"), *CACHES]):
        for pattern in CACHED:
            yield from map(str, sorted(Path(cache).expanduser().glob(pattern), reverse=True))


def _starts(path: str) -> bool:
    """Not where a library is missing, as after a download onto a bare machine, or a snap's stub stands in."""
    return os.access(path, os.X_OK) and not _fails([path, "--version"], START_SECONDS)


def _download() -> str:
    """Why Playwright's own download isn't there now, or nothing."""
    source = os.environ.get("PLAYWRIGHT_DOWNLOAD_HOST", DOWNLOADS)
    try:
        httpx.head(source, timeout=REACH_SECONDS)
    except httpx.HTTPError as error:
        return f"{source} can't be reached ({error})"
    return _fails(
        [sys.executable, "-m", "playwright", "install", "--only-shell", "chromium"], INSTALL_SECONDS
    )


def _install_package() -> str:
    """Why Debian's package isn't there now, or nothing."""
    if not shutil.which("apt-get"):
        return "there is no apt-get"
    root: list[str] = []
    if os.geteuid() != 0:
        root = ["sudo", "-n"]
        if not shutil.which("sudo") or _fails([*root, "true"], START_SECONDS):
            return "only root may install it"
    apt = [*root, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq"]
    install = [*apt, "install", "-y", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=120"]
    return (
        _fails([*apt, "update"], INSTALL_SECONDS)
        or _fails([*install, "--download-only", "chromium"], INSTALL_SECONDS)
        # dpkg that is interrupted has to be repaired by hand
        or _fails([*install, "chromium"], INSTALL_SECONDS, spared=True)
    )


def _fails(command: Sequence[str], seconds: float, *, spared: bool = False) -> str:
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
