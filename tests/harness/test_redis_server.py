"""The Redis for the tests ends with the run, whatever ends the run."""

from __future__ import annotations

from pathlib import Path

from support.redis_server import running_redis
from support.shared import marks

from lifecycle_as_code.stores import processes


def test_a_redis_server_carries_the_marks_of_the_run(tmp_path: Path) -> None:
    with running_redis(tmp_path) as server:
        assert marks()
        assert all(processes.carries(server.pid, mark, "1") for mark in marks())
