"""An open language model on a real Ray, asked by OpenAI's own client."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from support import tiny_models
from support.ray_fixture import RayForTests

from lifecycle_as_code.stores.ray.apps import (
    ServedEntity,
    Settings,
    entity_app,
    ingress_app,
    revision,
    target,
)

if TYPE_CHECKING:
    import openai

STACK = "tests"
ENDPOINT = "open-models"
WAIT = 120.0
TIMEOUT = 3.0
"""Seconds for an answer: for one token, and not for the thousands that fit into the context."""
HELLO: Any = [{"role": "user", "content": "good morning"}]


@pytest.fixture(scope="module")
def client(ray: RayForTests, tmp_path_factory: pytest.TempPathFactory) -> Iterator[openai.OpenAI]:
    """Of an endpoint with the same model twice: in the process that answers HTTP, and behind it."""
    folder = tiny_models.save_chat_folder(tmp_path_factory.mktemp("hub") / "tiny-chat", context=32768)
    near, far = (
        ServedEntity(
            name,
            str(folder),
            0,
            str(folder),
            task="llm/v1/chat",
            num_cpus=0.25,
            timeout=TIMEOUT,
            environment_vars={"HF_HUB_OFFLINE": "1"},
        )
        for name in ("near", "far")
    )
    targets = [target(STACK, ENDPOINT, near, 100), target(STACK, ENDPOINT, far, 0)]
    settings = Settings({"mode": "none"})
    front = ingress_app(STACK, ENDPOINT, targets=targets, settings=settings, spec={}, primary=near)
    apps = {app["name"]: app for app in (entity_app(STACK, ENDPOINT, far), front)}
    ray.cluster.merge(apps, [], owner=STACK)
    states = {
        name: app and (app.problem or app.status) for name, app in ray.cluster.wait([*apps], WAIT).items()
    }
    assert set(states.values()) == {"RUNNING"}, states
    assert ray.cluster.probe(ENDPOINT, revision=revision(front), timeout=WAIT) is None
    import openai

    yield openai.OpenAI(
        base_url=ray.url(ENDPOINT, "v1"),
        api_key="none",
        max_retries=0,
        http_client=httpx.Client(trust_env=False),
    )
    # a GB of memory
    ray.cluster.merge({}, [*apps], owner=STACK)


def test_a_chat_is_answered_whole_and_as_a_stream(client: openai.OpenAI) -> None:
    options: Any = {"model": "tiny", "messages": HELLO, "temperature": 0, "max_tokens": 8}
    whole = client.chat.completions.create(**options)
    parts = [*client.chat.completions.create(stream=True, **options)]
    assert whole.model == "tiny"
    assert "".join(part.choices[0].delta.content or "" for part in parts) == whole.choices[0].message.content
    assert whole.usage is not None
    assert whole.usage.completion_tokens == 8
    assert parts[-1].usage == whole.usage


@pytest.mark.usefixtures("client")
def test_a_caller_learns_the_name_of_a_folder_and_not_its_place(ray: RayForTests) -> None:
    body = {"messages": HELLO, "max_tokens": 1}
    for entity in ("near", "far"):
        url = ray.url(ENDPOINT, f"served-entities/{entity}/invocations")
        answer = httpx.post(url, json=body, timeout=WAIT, trust_env=False)
        assert answer.json()["model"] == "tiny-chat"


def ask(ray: RayForTests, entity: str, **more: Any) -> int:
    """The status of an answer by that entity."""
    url = ray.url(ENDPOINT, f"served-entities/{entity}/invocations")
    body = {"messages": HELLO, "temperature": 0, **more}
    return httpx.post(url, json=body, timeout=WAIT, trust_env=False).status_code


@pytest.mark.parametrize("entity", ["near", "far"])
def test_after_a_timeout_the_model_is_free_again(ray: RayForTests, entity: str) -> None:
    assert ask(ray, entity, max_tokens=1) == 200
    assert ask(ray, entity) == 504
    assert ask(ray, entity, max_tokens=1) == 200


@pytest.mark.usefixtures("client")
@pytest.mark.parametrize("entity", ["near", "far"])
def test_after_a_client_has_left_the_model_is_free_again(ray: RayForTests, entity: str) -> None:
    url = ray.url(ENDPOINT, f"served-entities/{entity}/invocations")
    body = {"messages": HELLO, "temperature": 0, "stream": True}
    with httpx.stream("POST", url, json=body, timeout=WAIT, trust_env=False) as stream:
        assert next(stream.iter_raw()).startswith(b"data: ")
    assert ask(ray, entity, max_tokens=1) == 200
