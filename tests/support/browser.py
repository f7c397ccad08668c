"""A Chromium or Chrome for the tests that look at a page: installed before or now.

`ensure_browser` is called once by all processes of a run, early and beside other tests, for an installation
takes most of a minute.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

from support.debian import INSTALL_SECONDS, START_SECONDS, explain_failure, install_package
from support.shared import directory, once

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
    for what, install in (("Playwright's Chromium", _download), ("Debian's package", _install)):
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
    return os.access(path, os.X_OK) and not explain_failure([path, "--version"], START_SECONDS)


def _download() -> str:
    """Why Playwright's own download isn't there now, or nothing."""
    source = os.environ.get("PLAYWRIGHT_DOWNLOAD_HOST", DOWNLOADS)
    try:
        httpx.head(source, timeout=REACH_SECONDS)
    except httpx.HTTPError as error:
        return f"{source} can't be reached ({error})"
    return explain_failure(
        [sys.executable, "-m", "playwright", "install", "--only-shell", "chromium"], INSTALL_SECONDS
    )


def _install() -> str:
    return install_package("chromium")
