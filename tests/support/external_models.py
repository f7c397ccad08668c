"""A model at a provider on loopback, and what it answers."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from lifecycle_as_code.serving.llm import DONE, STREAM_HEAD, Outcome
from lifecycle_as_code.serving.providers import ExternalModel
from lifecycle_as_code.serving.references import Secrets
from support import providers
from support.providers import CHAT, COMPLETIONS, Provider

LIMITS: dict[str, Any] = {"timeout": 5.0, "first_token_timeout": None, "max_retries": 2}


@asynccontextmanager
async def external(kind: str, task: str = CHAT, **more: Any) -> AsyncIterator[tuple[Provider, ExternalModel]]:
    """A provider and a model at it. `more`: the model's limits, and the provider's switches."""
    limits = {name: more.pop(name, value) for name, value in LIMITS.items()}
    async with providers.serve(kind, **more) as provider:
        environment = providers.environment(provider)
        model = ExternalModel(provider.settings(task), Secrets(environment=environment), **limits)
        try:
            yield provider, model
        finally:
            await model.close()


def ask(task: str = CHAT, **more: Any) -> bytes:
    """A request of a task."""
    match task:
        case "llm/v1/chat":
            data: dict[str, Any] = {"messages": [{"role": "user", "content": "Hi"}]}
        case "llm/v1/completions":
            data = {"prompt": "Hi"}
        case _:
            data = {"input": ["one", "three"]}
    return json.dumps({"model": "of the caller", **data, **more}).encode()


class Reply(NamedTuple):
    """A whole answer, or a stream with its events."""

    status: int
    body: Any
    events: list[dict[str, Any]]
    done: bool = False
    retry_after: float | None = None

    @property
    def text(self) -> str:
        """The text of all choices."""
        choices = (
            self.body["choices"] if self.body else [c for e in self.events for c in e.get("choices", ())]
        )
        return "".join(_text(choice) for choice in choices)

    @property
    def error(self) -> str:
        """The message of an error, whole or at the end of a stream."""
        return str((self.body or self.events[-1])["error"]["message"])


def _text(choice: dict[str, Any]) -> str:
    part = choice.get("message") or choice.get("delta") or choice
    return part.get("content") or part.get("text") or ""


async def answer(model: ExternalModel, body: bytes) -> Reply:
    """The whole answer to a request."""
    return _reply(await model.answer(body, {}))


async def stream(model: ExternalModel, task: str = CHAT, **more: Any) -> Reply:
    """The streamed answer."""
    parts = [part async for part in model.stream(ask(task, stream=True, **more), {})]
    head, events = parts[0], parts[1:]
    assert isinstance(head, Outcome)
    if head.answer is not STREAM_HEAD:
        assert not events
        return _reply(head)
    assert all(isinstance(e, bytes) and e.startswith(b"data: ") and e.endswith(b"\n\n") for e in events)
    done = events[-1] == DONE
    data = [json.loads(e[6:]) for e in events if isinstance(e, bytes) and e != DONE]
    return Reply(200, None, data, done)


def _reply(outcome: Outcome) -> Reply:
    body = json.loads(outcome.answer.body)
    return Reply(outcome.answer.status, body, [], retry_after=outcome.retry_after)


TEXT_TASKS = [CHAT, COMPLETIONS]
