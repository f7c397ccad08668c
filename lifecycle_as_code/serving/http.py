"""HTTP as an ASGI app sees it: a request whose body has a limit, and a reply in two messages.

An endpoint's requests are small and many. Starlette's objects would cost as much as a prediction.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

from lifecycle_as_code.serving.answer import JSON, Answer, error

MAX_BODY = 64 * 1024 * 1024
"""Bytes of a request's body; more are refused with 413."""

BODY_SECONDS = 10.0
"""How long a body may take to arrive; and a second more for each `BODY_RATE` bytes that have arrived."""
BODY_RATE = 32 * 1024
_DRAIN_SECONDS = 2.0

Send = Callable[[dict[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[dict[str, Any]]]


class Reply(NamedTuple):
    """An answer, and headers beside its type and length. `events`: its body, where that comes in parts."""

    answer: Answer
    headers: tuple[tuple[str, str], ...] = ()
    events: AsyncGenerator[bytes, None] | None = None


NOT_FOUND = Reply(Answer(404, JSON, b'{"detail":"Not Found"}'))
_TOO_LARGE = Reply(
    error(413, "RESOURCE_LIMIT_EXCEEDED", f"A request's body may have {MAX_BODY // 1024**2} MiB."),
    # the rest of the body isn't read
    (("Connection", "close"),),
)
_TOO_SLOW = Reply(
    error(408, "BAD_REQUEST", "The request's body arrives too slowly."), (("Connection", "close"),)
)
_CUT_SHORT = Reply(error(400, "BAD_REQUEST", "The client left before its request was complete."))


def wrong_method(allow: str) -> Reply:
    """405, with the methods that a path has."""
    return Reply(Answer(405, JSON, b'{"detail":"Method Not Allowed"}'), (("Allow", allow),))


@dataclass(slots=True)
class Request:
    """One HTTP request. `path` is relative to the app's route."""

    method: str
    path: str
    _headers: Iterable[tuple[bytes, bytes]]
    _receive: Receive

    def header(self, name: bytes) -> str | None:
        """The first header of that name, in lower case; None without one."""
        for key, value in self._headers:
            if key == name:
                return value.decode("latin-1")
        return None

    async def body(self) -> bytes | Reply:
        """The whole body, or the reply to give when it is too large, or takes a place for too long."""
        length = self.header(b"content-length")
        if length is not None and length.isdecimal() and int(length) > MAX_BODY:
            return _TOO_LARGE
        parts: list[bytes] = []
        size = 0
        end = asyncio.get_running_loop().time() + BODY_SECONDS
        try:
            while True:
                async with asyncio.timeout_at(end + size / BODY_RATE):
                    message = await self._receive()
                if message["type"] == "http.disconnect":
                    return _CUT_SHORT
                parts.append(message.get("body", b""))
                size += len(parts[-1])
                if size > MAX_BODY:
                    await self._drain()
                    return _TOO_LARGE
                if not message.get("more_body"):
                    return parts[0] if len(parts) == 1 else b"".join(parts)
        except TimeoutError:
            return _TOO_SLOW

    async def _drain(self) -> None:
        """Drop what still comes, for a while: a reply on a connection that is closed before may get lost."""
        size = 0
        with suppress(TimeoutError):
            async with asyncio.timeout(_DRAIN_SECONDS):
                while size <= MAX_BODY:
                    message = await self._receive()
                    size += len(message.get("body", b""))
                    if message["type"] == "http.disconnect" or not message.get("more_body"):
                        return


async def _nothing() -> None:
    pass


def app(
    answer: Callable[[Request], Awaitable[Reply]], close: Callable[[], Awaitable[None]] = _nothing
) -> Callable[..., Awaitable[None]]:
    """An ASGI app that answers each request by one call, and ends with `close`. It refuses websockets.

    The server cancels the call, or the events that it returned, when the client leaves.
    """

    async def respond(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            path = scope["path"].removeprefix(scope.get("root_path", ""))
            request = Request(scope["method"], path, scope["headers"], receive)
            await _send(await answer(request), send, with_body=request.method != "HEAD")
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close"})
        else:
            await _live(receive, send, close)

    return respond


async def _send(reply: Reply, send: Send, *, with_body: bool) -> None:
    status, media_type, body = reply.answer
    # as Starlette does it for MLflow's server
    charset = "; charset=utf-8" if media_type.startswith("text/") and "charset=" not in media_type else ""
    headers = [(b"content-type", (media_type + charset).encode())]
    if reply.events is None:
        headers.append((b"content-length", b"%d" % len(body)))
    headers += [(name.encode(), value.encode()) for name, value in reply.headers]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    if reply.events is not None:
        async with aclosing(reply.events) as events:
            async for event in events:
                await send({"type": "http.response.body", "body": event, "more_body": True})
    await send({"type": "http.response.body", "body": body if with_body else b""})


async def _live(receive: Receive, send: Send, close: Callable[[], Awaitable[None]]) -> None:
    """ASGI's lifespan: there is nothing to start."""
    while True:
        message = await receive()
        if message["type"] == "lifespan.shutdown":
            await close()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
