"""A real redis-server for the tests that count in one: installed before or now, ended with the block."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from support.debian import install_package
from support.shared import once

PROGRAM = "redis-server"
PASSWORD = "canary-5b1c"
"""In the URL of every server: no log may have it."""
START_SECONDS = 10.0


@dataclass
class RedisServer:
    """A server in memory alone, which can be stopped and started again at the same address."""

    directory: Path
    options: tuple[str, ...] = ()
    port: int = field(default_factory=lambda: free_port())
    _process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://:{PASSWORD}@127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        """The process's number, 0 before the start."""
        return self._process.pid if self._process else 0

    def start(self) -> None:
        """Return when it answers."""
        words = [find_redis(), "--bind", "127.0.0.1", "--port", str(self.port), "--requirepass", PASSWORD]
        words += ["--save", "", "--dir", str(self.directory), "--logfile", str(self.directory / "redis.log")]
        # a title would take the place of the environment, by which the guardian knows it
        words += ["--set-proc-title", "no", *self.options]
        self._process = subprocess.Popen(words, stdin=subprocess.DEVNULL)
        end = time.monotonic() + START_SECONDS
        while self._process.poll() is None and time.monotonic() < end:
            try:
                self.send("PING")
                return
            except OSError:
                time.sleep(0.01)
        raise RuntimeError(f"{PROGRAM} doesn't start; see {self.directory / 'redis.log'}")

    def stop(self) -> None:
        """End it, and all that it counted."""
        if self._process:
            self._process.kill()
            self._process.wait()

    def send(self, *words: str) -> bytes:
        """The beginning of the answer to one command."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=START_SECONDS) as connection:
            for command in (("AUTH", PASSWORD), words):
                parts = [b"$%d\r\n%s\r\n" % (len(word.encode()), word.encode()) for word in command]
                connection.sendall(b"*%d\r\n%s" % (len(parts), b"".join(parts)))
                answer = connection.recv(65536)
            return answer


@contextmanager
def running_redis(directory: Path, *options: str) -> Iterator[RedisServer]:
    """A server that answers."""
    server = RedisServer(directory, options)
    try:
        server.start()
        yield server
    finally:
        server.stop()


def find_redis() -> str:
    """The program's path. RuntimeError says how to install it."""
    if path := shutil.which(PROGRAM):
        return path
    reason = once(PROGRAM, lambda: install_package(PROGRAM))
    if path := shutil.which(PROGRAM):
        return path
    raise RuntimeError(
        f"Install Redis, on Debian by `apt-get install {PROGRAM}` as root. (Debian's package: {reason})"
    )


def free_port() -> int:
    """One that nothing listened at a moment ago."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
