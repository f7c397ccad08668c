"""Taking down the directory's Ray, on a session of processes that behaves worse than Ray's."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from lifecycle_as_code.serving.references import LOCAL_RAY
from lifecycle_as_code.stores import processes
from lifecycle_as_code.stores.ray import local
from lifecycle_as_code.stores.ray.local import LocalRay
from lifecycle_as_code.stores.ray.ports import free_ports

# deaf to SIGTERM, as is what it keeps bringing up
FORKING = "trap '' TERM; while :; do sleep 60 & sleep 0.02; done"
# as deaf, with a brood that brings up more while its elders are killed
BREEDING = "trap '' TERM; for i in 1 2 3; do sh -c 'while :; do sleep 60 & sleep 0.02; done' & done; sleep 60"


def started(directory: Path, script: str) -> tuple[LocalRay, subprocess.Popen[bytes]]:
    temp_dir = directory / "ray"
    temp_dir.mkdir()
    process = subprocess.Popen(
        ["sh", "-c", script], start_new_session=True, env={**os.environ, LOCAL_RAY: str(temp_dir)}
    )
    ray = LocalRay(
        address="http://127.0.0.1:1",
        data_port=1,
        pid=process.pid,
        started=processes.start_time(process.pid) or "",
        temp_dir=str(temp_dir),
        mark=str(temp_dir),
        directory=str(directory),
        ports=(1, 2),
    )
    for place in (directory, temp_dir):
        (place / local.RECORD).write_text(json.dumps(asdict(ray)))
    return ray, process


def left(ray: LocalRay) -> list[int]:
    return [pid for pid in processes.living() if processes.session_of(pid) == ray.pid]


@pytest.mark.parametrize("script", [FORKING, BREEDING], ids=["forking", "breeding"])
def test_nothing_of_the_session_is_left_when_down_returns(tmp_path: Path, script: str) -> None:
    ray, _ = started(tmp_path, script)
    assert left(ray)
    assert local.down(tmp_path, timeout=0.5)
    assert left(ray) == []
    assert local.status(tmp_path) is None


def test_a_session_that_nobody_vouches_for_is_left_alone(tmp_path: Path) -> None:
    ray, process = started(tmp_path, "sleep 60")
    record = {**asdict(ray), "started": "Thu Jan 1 00:00:00 1970", "mark": "another"}
    (tmp_path / local.RECORD).write_text(json.dumps(record))
    try:
        assert not local.down(tmp_path, timeout=0.5)
        assert process.pid in left(ray)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def of(directory: Path) -> list[LocalRay]:
    """Those of `running` that belong here: the tests' own Ray, and the developer's, may run as well."""
    return [ray for ray in local.running() if ray.temp_dir == str(directory / "ray")]


def test_every_ray_of_the_user_is_known_also_when_its_stack_is_deleted(tmp_path: Path) -> None:
    stack = tmp_path / "stack"
    stack.mkdir()
    ray, process = started(stack, "sleep 60")
    assert of(stack) == [ray]
    moved = stack.rename(tmp_path / "deleted")
    assert of(stack) == [replace(ray, address="", data_port=0, started="", directory="", ports=())]
    moved.rename(stack)
    (stack / local.RECORD).unlink()
    assert [local.state(found) for found in of(stack)] == ["running"]
    local.end(ray)
    process.wait()
    assert of(stack) == []


def test_a_ray_whose_supervisor_was_killed_is_known_and_ended(tmp_path: Path) -> None:
    ray, process = started(tmp_path, "sleep 60 & sleep 60")
    while len(left(ray)) < 3:
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert local.status(tmp_path) is None
    assert [local.state(found) for found in of(tmp_path)] == ["broken"]
    local.end(ray)
    assert of(tmp_path) == []
    assert not (tmp_path / local.RECORD).exists()


def test_a_ray_that_starts_is_known_and_is_not_up(tmp_path: Path) -> None:
    ray, _ = started(tmp_path, "sleep 60")
    for place in (tmp_path, tmp_path / "ray"):
        (place / local.RECORD).write_text(json.dumps(asdict(replace(ray, ready=False))))
    assert local.status(tmp_path) is None
    assert [local.state(found) for found in of(tmp_path)] == ["starting"]
    local.down(tmp_path)
    assert of(tmp_path) == []


def test_the_ports_of_a_ray_that_runs_are_not_given_to_another() -> None:
    (data,) = free_ports(0)
    assert free_ports(data) == [data]
    assert free_ports(data, taken=[data]) != [data]


def test_a_port_is_free_again_as_soon_as_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            # closed first by the server: the kernel remembers the connection for a minute
            server.accept()[0].close()
            assert free_ports(port) != [port]
    assert free_ports(port) == [port]
