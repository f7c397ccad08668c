"""The directory of a local Ray's sockets, as another user of the machine finds it."""

from __future__ import annotations

import os
import socket
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lifecycle_as_code.stores.ray import private

NOBODY = 65534


@pytest.fixture
def directory() -> Iterator[Path]:
    path = Path(private.private_directory())
    yield path
    for entry in path.iterdir():
        entry.unlink()
    path.rmdir()


def as_nobody(*attempts: str) -> list[str]:
    """What connecting to, or listing, each path gives another user."""
    reader, writer = os.pipe()
    if not (child := os.fork()):
        try:
            if os.getuid() == 0:
                os.setgroups([])
                os.setgid(NOBODY)
                os.setuid(NOBODY)
            for path in attempts:
                os.write(writer, f"{_try(path)}\n".encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        answers = pipe.read().splitlines()
    os.waitpid(child, 0)
    return answers


def _try(path: str) -> str:
    try:
        if path.endswith(".sock"):
            with socket.socket(socket.AF_UNIX) as s:
                s.connect(path)
        else:
            os.listdir(path)
    except OSError as e:
        return type(e).__name__
    return "open"


def test_only_the_owner_can_enter(directory: Path) -> None:
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    admin = directory / "admin.sock"
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(str(admin))
        s.listen()
        admin.chmod(0o666)
        expected = ["PermissionError"] * 2 if os.getuid() == 0 else ["open"] * 2
        assert as_nobody(str(admin), str(directory)) == expected


def test_there_is_room_for_the_longest_socket(directory: Path) -> None:
    node = "0" * 56
    session = "session_2026-11-30_17-48-03_381970_4194304"
    assert len(f"{directory}/{node}/s") <= 97
    assert len(f"{directory}/r/{session}/sockets/plasma_store") <= 107


def test_a_place_that_is_too_deep_or_read_only_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("deep" * 20)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    path = Path(private.private_directory())
    path.rmdir()
    assert path.parent == Path("/tmp")
