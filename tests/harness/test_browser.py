"""Where the browser for the tests comes from, with programs that stand in for Chromium."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import browser


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with nothing on its path and nothing in its home, that reaches nothing."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PLAYWRIGHT_DOWNLOAD_HOST", "http://127.0.0.1:1")
    monkeypatch.delenv("PLAYWRIGHT_BROWSERS_PATH", raising=False)
    monkeypatch.setattr(browser, "APPLICATIONS", ())
    return tmp_path


def program(path: Path, script: str = "exit 0") -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    "place",
    [
        "bin/chromium",
        "bin/chromium-browser",
        "bin/google-chrome",
        "home/.cache/ms-playwright/chromium-1255/chrome-linux64/chrome",
        "home/.cache/ms-playwright/chromium_headless_shell-1255/chrome-linux/headless_shell",
        "home/Library/Caches/ms-playwright/chromium-1255/chrome-mac/Chromium.app/Contents/MacOS/Chromium",
    ],
)
def test_an_installed_browser_is_taken(place: str, bare: Path) -> None:
    path = program(bare / place)
    assert browser.provide_browser() == (path, f"Browser: {path}")


def test_one_that_does_not_start_is_passed_over(bare: Path) -> None:
    program(bare / "bin/chromium", "echo 'libnss3.so: no such file' >&2; exit 127")
    path = program(bare / "bin/google-chrome")
    assert browser.find_browser() == path


def test_where_there_is_none_a_package_is_installed(bare: Path) -> None:
    program(bare / "bin/env", 'shift; exec "$@"')
    installed = bare / "bin/chromium"
    made = f"case $* in *download-only*|*update*) ;; *) printf '#!/bin/sh\\n' > {installed}"
    program(bare / "bin/apt-get", f"{made}; /bin/chmod +x {installed};; esac")
    # where the tests don't run as root
    program(bare / "bin/sudo", 'shift; exec "$@"')
    program(bare / "bin/true")
    path, line = browser.provide_browser()
    assert path == str(installed)
    assert line.startswith(f"Browser: {path}, Debian's package, installed in ")


@pytest.mark.usefixtures("bare")
def test_where_there_is_none_and_none_can_be_had_the_line_says_what_to_do() -> None:
    path, line = browser.provide_browser()
    assert not path
    assert line.startswith("No browser. Install Chromium or Google Chrome, on Debian by `apt-get install")
    assert "http://127.0.0.1:1 can't be reached" in line
    assert "Debian's package: there is no apt-get" in line
    assert "\n" not in line
