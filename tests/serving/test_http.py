"""A request's body, as a replica's server hands it on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from lifecycle_as_code.serving import http
from lifecycle_as_code.serving.http import Reply, Request

PART = 1024


async def _parts(count: int, seconds: float) -> AsyncIterator[dict[str, Any]]:
    """A body of `count` parts, one each `seconds`."""
    for n in range(count):
        await asyncio.sleep(seconds)
        yield {"type": "http.request", "body": bytes(PART), "more_body": n < count - 1}


def _read(count: int, seconds: float) -> bytes | Reply:
    async def story() -> bytes | Reply:
        return await Request("POST", "/invocations", (), _parts(count, seconds).__anext__).body()

    return asyncio.run(asyncio.wait_for(story(), 10.0))


def test_a_body_that_arrives_too_slowly_gives_its_place_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "BODY_SECONDS", 0.1)
    reply = _read(1000, 0.07)
    assert isinstance(reply, Reply)
    assert (reply.answer.status, reply.headers) == (408, (("Connection", "close"),))


def test_a_long_body_has_as_long_as_its_length_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "BODY_SECONDS", 0.1)
    monkeypatch.setattr(http, "BODY_RATE", PART * 4)
    assert _read(5, 0.07) == bytes(5 * PART)


def test_a_body_that_is_too_long_is_taken_in_before_its_reply(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reply on a connection that is closed with unread data gets lost."""
    monkeypatch.setattr(http, "MAX_BODY", 10)
    parts = [{"type": "http.request", "body": b"x" * 4, "more_body": n < 4} for n in range(5)]

    async def receive() -> dict[str, Any]:
        return parts.pop(0)

    reply = asyncio.run(Request("POST", "/", [], receive).body())
    assert isinstance(reply, Reply)
    assert reply.answer.status == 413
    assert parts == []
