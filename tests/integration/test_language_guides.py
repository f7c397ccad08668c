"""The guides of external and open models from nothing, on a real Ray."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from mlflow import MlflowClient
from support.ray_fixture import RayForTests

pytestmark = pytest.mark.xdist_group("ray")

EXAMPLES = Path(__file__).parents[2] / "examples"
LAC = [sys.executable, "-m", "lifecycle_as_code"]


def copy(name: str, directory: Path, ray: RayForTests, **more: str) -> Path:
    """A guide's files, on the session's Ray in place of one of its own. `more`: what else differs there."""
    here = directory / name
    shutil.copytree(EXAMPLES / name, here, ignore=shutil.ignore_patterns("*.db", "mlruns", ".lac"))
    serve = {"address": ray.ray.address, "data_address": ray.ray.endpoint_url, "token": "{{ env.RAY_TOKEN }}"}
    project = here / "lac.yaml"
    text = project.read_text().replace("serve: local", f"serve: {json.dumps(serve)}")
    for before, after in more.items():
        text = text.replace(before, after)
    project.write_text(text + "usage_store: sqlite:///usage.db\n")
    return here


def run(ray: RayForTests, *command: str | Path, directory: Path | None = None) -> str:
    """What it prints; it has to succeed."""
    environment = {**os.environ, "ENDPOINTS": ray.ray.endpoint_url, "RAY_TOKEN": ray.token}
    words = [sys.executable, *map(str, command)] if command[0] != "lac" else [*LAC, *map(str, command[1:])]
    process = subprocess.run(
        words, cwd=directory, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert process.returncode == 0, process.stdout[-4000:] + process.stderr[-4000:]
    return process.stdout


@pytest.fixture
def gone(ray: RayForTests) -> Iterator[None]:
    """The endpoints leave the session's Ray after the test."""
    yield
    here = [app for app in ray.cluster.applications().values() if app.mark]
    marks = {app.name: app.mark for app in here if app.mark and app.mark.endpoint in ("assistant", "chat")}
    for owner in {mark.owner for mark in marks.values()}:
        ray.cluster.merge({}, [name for name, mark in marks.items() if mark.owner == owner], owner=owner)


@pytest.mark.usefixtures("gone")
def test_external_models_from_nothing(ray: RayForTests, tmp_path: Path) -> None:
    # a variable that the nodes of this Ray have
    here = copy("external-models", tmp_path, ray, GPU_CLUSTER_KEY="NODE_SECRET")
    output = run(ray, here / "run.py", tmp_path / "work")
    answers = [
        line for line in output.splitlines() if line.startswith(("openai: ", "own-cluster: ", "HTTP "))
    ]
    wait = int(answers[-1].split()[-2])
    assert answers == [
        "openai: You said: Good morning.",
        "openai: You said: My address is <EMAIL>.",
        "HTTP 400: The request was blocked by the endpoint's guardrail invalid_keywords.",
        "own-cluster: You said: Are you there?",
        "own-cluster: You said: Are you there?",
        f"HTTP 429: Rate limit exceeded: 5 calls per minute for each user. (wait {wait} s)",
    ]
    assert wait <= 60
    usage = [line.split() for line in output.splitlines() if line.startswith(("(none)", "assistant/"))]
    assert {row[0]: row[1] for row in usage} == {
        "(none)": "2",
        "assistant/openai": "2",
        "assistant/own-cluster": "2",
    }
    assert "No changes." in output


@pytest.mark.usefixtures("gone")
def test_open_models_from_nothing_and_a_promotion_under_load(ray: RayForTests, tmp_path: Path) -> None:
    here = copy("open-models", tmp_path, ray)
    run(ray, "make.py", directory=here)
    run(ray, "lac", "import", "registered_model.tiny-chat", directory=here)
    endpoints = here / "endpoints.yaml"
    endpoints.write_text(endpoints.read_text().replace("timeout: 120", "timeout: 120, num_cpus: 0.25"))
    run(ray, "lac", "apply", "--auto-approve", directory=here)
    first, *events = run(ray, "ask.py", directory=here).splitlines()
    answer = json.loads(first.removeprefix("HTTP 200: "))
    chunks = [json.loads(event.removeprefix("data: ")) for event in events[:-1]]
    assert events[-1] == "data: [DONE]"
    text = "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks)
    assert text == answer["choices"][0]["message"]["content"]
    assert answer["usage"]["completion_tokens"] == 12
    # the next version, of the same files, takes over while streams run
    store = f"sqlite:///{here}/mlflow.db"
    source = MlflowClient(store, store).get_model_version("tiny-chat", "1").source
    models = here / "models.yaml"
    versions = json.dumps([{"version": 2, "source": source}])
    models.write_text(
        models.read_text().replace("champion: 1", "champion: 2") + f"    versions: {versions}\n"
    )
    with Streams(ray) as load:
        run(ray, "lac", "apply", "--auto-approve", directory=here)
    assert load.problems == []
    assert set(load.versions) == {"1", "2"}
    assert "No changes." in run(ray, "lac", "plan", directory=here)


class Streams:
    """A client that asks for one stream after the other while the block runs, and once after it."""

    def __init__(self, ray: RayForTests) -> None:
        self.problems: list[Any] = []
        self.versions: list[str] = []
        self._url = ray.url("chat", "v1/chat/completions")
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Streams:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()
        self._ask()

    def _run(self) -> None:
        while not self._end.is_set():
            self._ask()

    def _ask(self) -> None:
        message = {"role": "user", "content": "good morning"}
        body = {"messages": [message], "temperature": 0, "max_tokens": 20, "stream": True}
        try:
            with httpx.stream("POST", self._url, json=body, timeout=60, trust_env=False) as reply:
                text = reply.read().decode()
        except httpx.HTTPError as e:
            self.problems.append(e)
            return
        if reply.status_code != 200 or not text.endswith("data: [DONE]\n\n") or '"error"' in text:
            self.problems.append((reply.status_code, text))
        self.versions.append(reply.headers.get("X-Served-Entity-Version", ""))
