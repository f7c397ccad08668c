"""The ingress of an endpoint in the test's own process, without Ray: what it answers, and what it keeps."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from lifecycle_as_code.serving.answer import EVENT_STREAM
from lifecycle_as_code.serving.app import Ingress
from lifecycle_as_code.serving.http import Reply, Request
from lifecycle_as_code.serving.usage import SPOOL_DIRECTORY
from support import providers
from support.providers import CHAT, Provider

USAGE: dict[str, Any] = {"usage_tracking_config": {"enabled": True}}
# Ray's decorator wraps it in a class whose constructor is Ray's to call
_PLAIN: Any = Ingress.__mro__[1]


def target(name: str, provider: Provider, **options: Any) -> dict[str, Any]:
    """A row of a `user_config` for a model at a provider."""
    model = provider.settings(CHAT)
    return {
        "name": name,
        "app": f"{name} at {provider.url} {json.dumps(options)}",
        "entity_name": model["name"],
        "entity_version": 0,
        "weight": 100,
        "task": CHAT,
        "external_model": model,
        **options,
    }


class Endpoint:
    """One replica of an endpoint called `chat`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.ingress = _PLAIN({"endpoint": "chat"})

    async def configure(self, *targets: Mapping[str, Any], **gateway: Any) -> None:
        """Take these targets, and this `ai_gateway`."""
        config = {
            "targets": [*targets],
            "auth": {"mode": "none"},
            "gateway": gateway,
            "usage_store": f"sqlite:///{self._directory / 'usage.db'}",
        }
        await self.ingress.reconfigure(config)
        assert not self.ingress._refusal

    async def ask(self, body: bytes | None = None, path: str = "/invocations", **fields: Any) -> Reply:
        """Post a chat, or this body."""
        data = body or json.dumps({"messages": [{"role": "user", "content": "Hi"}], **fields}).encode()

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": data}

        length = (b"content-length", b"%d" % len(data))
        return await self.ingress._answer(Request("POST", path, [length], receive))

    async def end(self) -> None:
        """As Ray ends a replica."""
        await self.ingress._close()


def read_rows(directory: Path) -> list[dict[str, Any]]:
    """The usage that is in the store, in order."""
    with sqlite3.connect(directory / "usage.db") as db:
        db.row_factory = sqlite3.Row
        return [dict(row) for row in db.execute("SELECT * FROM lac_usage ORDER BY time_ms, seq")]


async def read_all(reply: Reply) -> str:
    """The text of an answer, whole or in events."""
    if reply.events is None:
        return reply.answer.body.decode()
    assert reply.answer.media_type == EVENT_STREAM
    return b"".join([event async for event in reply.events]).decode()


@asynccontextmanager
async def serving_chat(directory: Path) -> AsyncIterator[tuple[Endpoint, Provider]]:
    """An endpoint, and a provider that its targets may name."""
    os.environ[SPOOL_DIRECTORY] = str(directory / "spool")
    async with providers.serve("openai") as provider:
        os.environ.update(providers.environment(provider))
        endpoint = Endpoint(directory)
        try:
            yield endpoint, provider
        finally:
            await endpoint.end()
