"""A file is read as far as it is allowed, and what is no file is told at once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lifecycle_as_code.manifest.regular_file import NotRegularError, read_regular_file


def test_a_file_is_read_one_byte_beyond_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"abcdef")
    assert [read_regular_file(path, limit) for limit in (3, 5, 6, 100)] == [b"abcd"] + [b"abcdef"] * 3


def test_a_link_to_a_file_is_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    (tmp_path / "link").symlink_to("file")
    assert read_regular_file(tmp_path / "link", 10) == b"abc"


def test_what_is_no_regular_file_is_refused_without_a_wait(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, Path("/dev/zero")):
        before = len(os.listdir("/dev/fd"))
        with pytest.raises(NotRegularError, match="not a regular file"):
            read_regular_file(path, 10)
        assert len(os.listdir("/dev/fd")) == before


def test_a_missing_file_is_the_systems_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_regular_file(tmp_path / "none", 10)
