"""Taking down the directory's Ray, on a session of processes that behaves worse than Ray's."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

import pytest

from lifecycle_as_code.stores import processes
from lifecycle_as_code.stores.ray import local
from lifecycle_as_code.stores.ray.local import LocalRay

# deaf to SIGTERM, as is what it keeps bringing up
FORKING = "trap '' TERM; while :; do sleep 60 & sleep 0.02; done"
# as deaf, with a brood that brings up more while its elders are killed
BREEDING = "trap '' TERM; for i in 1 2 3; do sh -c 'while :; do sleep 60 & sleep 0.02; done' & done; sleep 60"


def started(directory: Path, script: str) -> tuple[LocalRay, subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sh", "-c", script], start_new_session=True)
    ray = LocalRay(
        address="http://127.0.0.1:1",
        data_port=1,
        pid=process.pid,
        started=processes.start_time(process.pid) or "",
        temp_dir=str(directory / "ray"),
        mark="m",
    )
    (directory / local.RECORD).write_text(json.dumps(asdict(ray)))
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
    record = {**asdict(ray), "started": "Thu Jan 1 00:00:00 1970"}
    (tmp_path / local.RECORD).write_text(json.dumps(record))
    try:
        assert not local.down(tmp_path, timeout=0.5)
        assert process.pid in left(ray)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_a_long_tmpdir_leaves_room_for_a_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    # ends at once, in Ray's place
    monkeypatch.setattr(sys, "executable", "/bin/true")
    ray, process = local._start(tmp_path, None, {})
    process.wait()
    local.down(tmp_path)
    node_id = "0" * 56
    assert len(f"{ray.temp_dir}/haproxy/{node_id}/admin.sock") <= 97
