"""Completions from providers that have chats alone: the prompt is a user's message."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lifecycle_as_code.serving.llm import DONE, event
from lifecycle_as_code.serving.providers.dialect import (
    BadRequestError,
    Call,
    Dialect,
    Parser,
    Payload,
    data_in,
    load,
)

_NOT_OF_CHATS = ("echo", "suffix", "best_of", "logprobs")


class Completions(Dialect):
    """The completions of a dialect that speaks chats."""

    def __init__(self, chats: Dialect) -> None:
        super().__init__(chats.model, "llm/v1/completions", chats.keys, chats.transport)
        self._chats = chats
        self.renewal = chats.renewal

    async def check(self) -> None:
        """As for a chat."""
        await self._chats.check()

    async def prepare(self, payload: Payload, stream: bool) -> Call:
        """A chat of one message."""
        return await self._chats.prepare(_as_chat(payload), stream)

    def read(self, bodies: Sequence[tuple[bytes, Mapping[str, str]]], payload: Payload) -> bytes:
        """The chat's answer as a completion."""
        import orjson

        answer = load(self._chats.read(bodies, payload))
        return orjson.dumps(_as_completion(answer, "message"))

    def parser(self, payload: Payload) -> Parser:
        """The chat's events as a completion's."""
        return Events(self._chats.parser(payload))

    def simplify(self, refusal: bytes, payload: Payload) -> bool:
        """As for a chat."""
        return self._chats.simplify(refusal, payload)

    def forget(self) -> None:
        """As for a chat."""
        self._chats.forget()


def _as_chat(payload: Payload) -> Payload:
    prompt = payload["prompt"]
    if isinstance(prompt, list) and len(prompt) == 1:
        prompt = prompt[0]
    if not isinstance(prompt, str):
        raise BadRequestError("`prompt` must be one text for this provider")
    for name in _NOT_OF_CHATS:
        if payload.get(name):
            raise BadRequestError(f"`{name}` isn't supported by this provider")
    rest = {k: v for k, v in payload.items() if k != "prompt" and k not in _NOT_OF_CHATS}
    return {**rest, "messages": [{"role": "user", "content": prompt}]}


def _as_completion(answer: Payload, part: str) -> Payload:
    """A chat's answer, or an event of one, whose choices have a `message` or a `delta`."""

    def choice(of: Mapping[str, Any]) -> Payload:
        text = (of.get(part) or {}).get("content") or ""
        reason = of.get("finish_reason")
        return {"index": of.get("index", 0), "text": text, "logprobs": None, "finish_reason": reason}

    return {**answer, "object": "text_completion", "choices": [choice(of) for of in answer["choices"]]}


class Events(Parser):
    """A chat's events as a completion's."""

    def __init__(self, chats: Parser) -> None:
        self._chats = chats

    def feed(self, data: bytes) -> Sequence[bytes]:
        """Each event of the chat as one of the completion."""
        return self._turn(self._chats.feed(data))

    def end(self) -> Sequence[bytes]:
        """The events left."""
        return self._turn(self._chats.end())

    def _turn(self, events: Sequence[bytes]) -> Sequence[bytes]:
        self.done = self._chats.done
        return [e if e is DONE else event(_as_completion(load(data_in(e.strip())), "delta")) for e in events]
