"""Between an endpoint's ingress and Ray's `LLMServer`: both sides' words. vLLM needs a GPU, and Ray's classes
need vLLM: stand-ins of the same shapes are in their places.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import BaseModel

from lifecycle_as_code.serving import vllm
from lifecycle_as_code.serving.scoring import JSON
from lifecycle_as_code.serving.vllm import VllmEntity


class Shape(BaseModel):
    """Of a request or an answer."""

    model: str
    messages: list[Any] = []


class Problem(BaseModel):
    message: str
    code: int


class ErrorResponse(BaseModel):
    error: Problem


class Server:
    """Ray's handle on an `LLMServer`."""

    def __init__(self, *parts: Any) -> None:
        self.parts = parts
        self.request: Any = None
        self.chat = self

    def options(self, *, stream: bool) -> Server:
        assert stream
        return self

    async def remote(self, request: Any, info: None) -> AsyncIterator[Any]:
        self.request = request
        for part in self.parts:
            yield part


@pytest.fixture(autouse=True)
def shapes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vllm, "_read_shape", lambda _, payload: Shape.model_validate(payload))


BODY = b'{"model": "any", "messages": [1]}'


def ask(server: Any, body: bytes = BODY) -> tuple[int, str, bytes]:
    return asyncio.run(VllmEntity(server, "llm/v1/chat", "llama").score(body, JSON))


def stream(server: Any) -> list[Any]:
    async def collect() -> list[Any]:
        entity = VllmEntity(server, "llm/v1/chat", "llama")
        return [part async for part in entity.stream(BODY, JSON)]

    return asyncio.run(collect())


def test_an_answer_is_json_and_vllm_is_asked_by_the_name_that_it_knows() -> None:
    server = Server(Shape(model="llama"))
    status, media_type, body = ask(server)
    assert (status, media_type, json.loads(body)) == (200, JSON, {"model": "llama", "messages": []})
    assert server.request == Shape(model="llama", messages=[1])


def test_an_error_keeps_its_status() -> None:
    error = ErrorResponse(error=Problem(message="too long", code=400))
    for status, _, body in (ask(Server(error)), stream(Server(error))[0]):
        assert (status, json.loads(body)["message"]) == (400, "too long")


def test_an_error_in_a_stream_is_an_event_and_no_end() -> None:
    error = ErrorResponse(error=Problem(message="the engine died", code=500))
    head, first, last = stream(Server("data: a\n\n", error))
    assert (head.status, first) == (200, b"data: a\n\n")
    assert json.loads(last.removeprefix(b"data: "))["error"]["message"] == "the engine died"


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"messages": 3}'])
def test_what_is_no_request_is_refused(body: bytes) -> None:
    assert ask(Server(), body)[0] == 400


@pytest.mark.parametrize("end", [["data: c\n\n", "data: [DONE]\n\n"], ["data: c\n\n"]])
def test_a_stream_passes_batches_on_and_ends_once(end: list[str]) -> None:
    head, *events = stream(Server(["data: a\n\n", "data: b\n\n"], end))
    assert head.media_type == "text/event-stream"
    assert b"".join(events) == b"data: a\n\ndata: b\n\ndata: c\n\ndata: [DONE]\n\n"


def test_no_answer_is_an_error() -> None:
    assert ask(Server())[0] == 500
