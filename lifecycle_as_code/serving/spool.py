"""Lines on this node's disk that wait to be written to a store, which outlive the process that added them.

A spool belongs to one process: its *mark*, a small file that the process holds a lock on, says so. Lines lie
in segments of a fixed size that are mapped into memory: adding one is a copy, no system call and no disk, and
what was copied is the kernel's, whatever happens to the process. A spool whose mark is unlocked is an orphan:
another process adopts it.

    <id>.<kind>          the mark: its lock, and the number of lines lost
    <id>.<kind>.<n>      segment n: lines, then zeros
"""

from __future__ import annotations

import fcntl
import mmap
import os
import re
import secrets
import stat
import struct
import threading
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import orjson

SEGMENT = 1024 * 1024
"""Bytes of a segment; one for a longer line is as long as that."""
LIMIT = 256 * 1024 * 1024
"""Bytes that a kind's spools may take in one directory, for each process that adds."""

_ID = re.compile("[0-9a-f]{16}")
_LOSSES = struct.Struct("<qqq")


class Losses(NamedTuple):
    """How many lines of a spool were lost, and when the first and the last, in ms since 1970."""

    number: int = 0
    first_ms: int = 0
    last_ms: int = 0

    def plus(self, count: int) -> Losses:
        """These and `count` more, lost now."""
        now = time.time_ns() // 1_000_000
        return Losses(self.number + count, self.first_ms or now, now)


def make_private(directory: Path) -> None:
    """Make `directory` for this user alone. OSError where it is somebody else's, lies in somebody else's
    directory below one like /tmp, or can't be made."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = directory.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
        raise PermissionError(f"{directory} belongs to another user")
    if status.st_mode & 0o077:
        directory.chmod(0o700)
    others = None
    for parent in directory.parents:
        status = parent.lstat()
        if status.st_mode & stat.S_ISVTX and others:
            raise PermissionError(f"{others} belongs to another user")
        if status.st_uid not in (0, os.geteuid()):
            others = parent


class _Segment:
    """`end`: the bytes that lines take; `done`: those that are written to the store."""

    __slots__ = ("_map", "done", "end", "path", "size")

    def __init__(self, path: Path, size: int) -> None:
        self.path, self.size, self.end, self.done = path, size, 0, 0
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            # all of it at once: a mapped page that the disk has no room for would end the process
            os.posix_fallocate(descriptor, 0, size)
            self._map = mmap.mmap(descriptor, size)
        except BaseException:
            path.unlink()
            raise
        finally:
            os.close(descriptor)

    def append(self, line: bytes) -> None:
        end = self.end + len(line)
        self._map[self.end : end] = line
        # only now does a reader in another thread see it
        self.end = end

    def read(self, size: int) -> bytes:
        """Whole lines that aren't written yet: at least one, and no more than `size` bytes otherwise."""
        start, end = self.done, self.end
        if end - start > size:
            cut = self._map.rfind(b"\n", start, start + size)
            end = (cut if cut >= 0 else self._map.find(b"\n", start, end)) + 1
        return self._map[start:end]

    def remove(self) -> None:
        self._map.close()
        self.path.unlink(missing_ok=True)


class Spool:
    """The lines of one kind that this process adds. Never raises: what can't be kept is counted as lost.

    `append` and `lose` may be called from any thread; the other methods from one thread.
    """

    def __init__(self, directory: Path, kind: str, limit: int = LIMIT) -> None:
        self.id = secrets.randbits(63)
        self.losses = Losses()
        self.problem: OSError | None = None
        """Why no line can be kept at the moment."""
        self.kind = kind
        self._directory, self._limit = directory, limit
        self._base = directory / f"{self.id:016x}.{kind}"
        self._lock = threading.Lock()
        self._segments: deque[_Segment] = deque()
        self._bytes = 0
        self._others = 0
        self._number = 0
        self._sequence = 0
        self._mark: mmap.mmap | None = None
        self._descriptor = -1
        self.open()

    def open(self) -> None:
        """Make the mark, where that failed before or somebody removed it."""
        if self._mark is not None and self._base.exists():
            return
        path = self._base.with_name(f".{self._base.name}")
        try:
            make_private(self._directory)
            # locked before it has its name: nobody must take it for an orphan
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            os.write(descriptor, _LOSSES.pack(*self.losses))
            mark = mmap.mmap(descriptor, _LOSSES.size)
            path.rename(self._base)
        except OSError as e:
            self.problem = e
            return
        with self._lock:
            mark[:] = _LOSSES.pack(*self.losses)
            if self._mark is not None:
                os.close(self._descriptor)
            self._descriptor, self._mark, self.problem = descriptor, mark, None
        self.count_others()

    def count_others(self) -> None:
        """Look how much room orphans take: they count for the limit."""
        own = self._base.name
        try:
            files = [f for f in self._directory.iterdir() if f".{self.kind}" in f.name]
            self._others = sum(f.stat().st_size for f in files if not f.name.startswith(own))
        except OSError:
            return

    def append(self, values: tuple[Any, ...]) -> None:
        """Add one line: a JSON array of the line's number and `values`."""
        with self._lock:
            self._sequence += 1
            try:
                line = orjson.dumps((self._sequence, *values), option=orjson.OPT_APPEND_NEWLINE)
                last = self._segments[-1] if self._segments else None
                if last is None or last.end + len(line) > last.size:
                    last = self._extend(len(line))
            except (OSError, TypeError) as e:
                self.problem = e if isinstance(e, OSError) else self.problem
                last = None
            if last is None:
                self._lose(1)
            else:
                last.append(line)

    def _extend(self, least: int) -> _Segment | None:
        size = max(SEGMENT, least)
        if self._mark is None or self._bytes + self._others + size > self._limit:
            return None
        self._number += 1
        segment = _Segment(self._base.with_name(f"{self._base.name}.{self._number:08d}"), size)
        self._segments.append(segment)
        self._bytes += size
        self.problem = None
        return segment

    def lose(self, count: int) -> None:
        """Count lines that can't be written."""
        with self._lock:
            self._lose(count)

    def _lose(self, count: int) -> None:
        self.losses = self.losses.plus(count)
        if self._mark is not None:
            self._mark[:] = _LOSSES.pack(*self.losses)

    def read(self, size: int) -> bytes:
        """Whole lines that aren't written yet, about `size` bytes of them; empty where there are none."""
        with self._lock:
            while self._segments:
                first = self._segments[0]
                if first.done < first.end:
                    return first.read(size)
                if first is self._segments[-1]:
                    break
                self._remove_first()
        return b""

    def advance(self, size: int) -> None:
        """The first `size` bytes that aren't written yet are."""
        self._segments[0].done += size

    def _remove_first(self) -> None:
        segment = self._segments.popleft()
        self._bytes -= segment.size
        segment.remove()

    def close(self, *, told: bool = True) -> None:
        """Give the spool up. Files stay for the next process where they hold unwritten lines, or losses that
        the store wasn't `told` of."""
        with self._lock:
            while self._segments and self._segments[0].done == self._segments[0].end:
                self._remove_first()
            if self._mark is None:
                return
            if told and not self._segments:
                self._base.unlink(missing_ok=True)
            self._segments.clear()
            self._mark.close()
            self._mark = None
            os.close(self._descriptor)


class Orphan:
    """A spool whose process has ended, adopted: same reading as a Spool's. Lines that were cut off while they
    were added count as lost."""

    def __init__(self, mark: Path, descriptor: int) -> None:
        self.id = int(mark.name.partition(".")[0], 16)
        self._mark, self._descriptor = mark, descriptor
        content = os.pread(descriptor, _LOSSES.size, 0)
        self.losses = Losses(*_LOSSES.unpack(content)) if len(content) == _LOSSES.size else Losses()
        self._files = deque(sorted(mark.parent.glob(f"{mark.name}.*")))
        torn = sum(_read_lines(file)[1] for file in self._files)
        if torn:
            self.losses = self.losses.plus(torn)
        self._rest = b""

    def read(self, size: int) -> bytes:
        """Whole lines that aren't written yet, about `size` bytes of them; empty where there are none."""
        while not self._rest and self._files:
            self._rest, _ = _read_lines(self._files[0])
            if not self._rest:
                self._files.popleft().unlink(missing_ok=True)
        if len(self._rest) <= size:
            return self._rest
        cut = self._rest.rfind(b"\n", 0, size)
        return self._rest[: (cut if cut >= 0 else self._rest.index(b"\n")) + 1]

    def advance(self, size: int) -> None:
        """The first `size` bytes that aren't written yet are."""
        self._rest = self._rest[size:]
        if not self._rest:
            self._files.popleft().unlink(missing_ok=True)

    def lose(self, count: int) -> None:
        """Count lines that can't be written."""
        self.losses = self.losses.plus(count)

    def remove(self) -> None:
        """Remove what is left of it: all is written."""
        self._mark.unlink(missing_ok=True)

    def close(self) -> None:
        """Give it back; another process may adopt what is left."""
        os.close(self._descriptor)


def adopt(directory: Path, kind: str) -> Iterator[Orphan]:
    """The spools of `kind` whose processes have ended, one after another, each closed after its turn."""
    for mark in sorted(directory.glob(f"*.{kind}")):
        if not _ID.fullmatch(mark.stem):
            continue
        try:
            descriptor = os.open(mark, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            continue
        # another process may have adopted and removed it in between
        if not os.fstat(descriptor).st_nlink:
            os.close(descriptor)
            continue
        orphan = Orphan(mark, descriptor)
        try:
            yield orphan
        finally:
            orphan.close()


def _read_lines(file: Path) -> tuple[bytes, int]:
    """The whole lines of a segment, and how many others it has."""
    lines = file.read_bytes().rstrip(b"\0").splitlines(keepends=True)
    good = [line for line in lines if _is_whole(line)]
    return b"".join(good), len(lines) - len(good)


def _is_whole(line: bytes) -> bool:
    try:
        return line.endswith(b"\n") and isinstance(orjson.loads(line), list)
    except ValueError:
        return False
