"""HTTP to a provider: one pool of connections a model, nothing followed, nothing kept, everything bounded."""

from __future__ import annotations

import asyncio
import functools
import importlib
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.request import getproxies, proxy_bypass

if TYPE_CHECKING:
    from aiohttp import ClientResponse, ClientSession

MAX_ANSWER = 64 * 1024 * 1024
"""Bytes of a provider's whole answer."""
_MAX_ERROR = 64 * 1024
_CONNECT_SECONDS = 10.0
_KEPT_SECONDS = 60.0
"""How long an idle connection is kept: a new one costs a TLS handshake."""
_DRAIN_SECONDS = 1.0


class TooLongError(Exception):
    """An answer over `MAX_ANSWER`."""


class Transport:
    """Connections to one provider. Use on one event loop."""

    def __init__(self) -> None:
        self._session: ClientSession | None = None
        self._drains: set[asyncio.Task[None]] = set()

    async def load(self) -> None:
        """Import aiohttp, which takes long enough to be noticed on a busy loop."""
        if "aiohttp" not in sys.modules:
            await asyncio.to_thread(importlib.import_module, "aiohttp")

    async def post(
        self, url: str, headers: Mapping[str, str], body: bytes, *, silence: float | None = None
    ) -> ClientResponse:
        """The response's head; read its body with `read`, or `content`, then `finish` or `close` it.

        `silence`: seconds without a byte after which reading raises TimeoutError. aiohttp.ClientError or
        OSError where the provider can't be reached.
        """
        await self.load()
        import aiohttp
        from yarl import URL

        if self._session is None:
            self._session = _session()
        # as it is: a signature covers these very bytes
        target = URL(url, encoded=True)
        if target.scheme not in ("http", "https") or not target.host:
            raise aiohttp.InvalidURL(url)
        return await self._session.post(
            target,
            headers=headers,
            data=body,
            allow_redirects=False,
            proxy=_proxy(target.scheme, target.host),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS, sock_read=silence),
        )

    def finish(self, response: ClientResponse) -> None:
        """Give a response's connection back, after its last byte that matters."""
        if response.content.is_eof():
            response.release()
            return
        # the end of the transfer is a packet behind the end of the answer; nobody waits for it
        drain = asyncio.ensure_future(_drain(response))
        self._drains.add(drain)
        drain.add_done_callback(self._drains.discard)

    async def close(self) -> None:
        """Close every connection."""
        if self._session is not None:
            session, self._session = self._session, None
            await session.close()
        if self._drains:
            await asyncio.wait(self._drains)


async def read(response: ClientResponse, limit: int = MAX_ANSWER) -> bytes:
    """The whole body. TooLongError over `limit`, and the connection is closed."""
    parts: list[bytes] = []
    size = 0
    try:
        if (response.content_length or 0) > limit:
            raise TooLongError
        while part := await response.content.readany():
            parts.append(part)
            size += len(part)
            if size > limit:
                raise TooLongError
    except BaseException:
        response.close()
        raise
    response.release()
    return parts[0] if len(parts) == 1 else b"".join(parts)


async def read_error(response: ClientResponse) -> bytes:
    """The body of an error, or nothing where it can't be read or is long."""
    import aiohttp

    try:
        return await read(response, _MAX_ERROR)
    except (TooLongError, aiohttp.ClientError, OSError):
        return b""


async def _drain(response: ClientResponse) -> None:
    try:
        async with asyncio.timeout(_DRAIN_SECONDS):
            while await response.content.readany():
                pass
    except Exception:
        response.close()
    else:
        response.release()


def _session() -> ClientSession:
    import aiohttp

    return aiohttp.ClientSession(
        # a stream holds a connection for as long as it runs: the limits of an endpoint are not here
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEPT_SECONDS, ttl_dns_cache=60),
        # one caller's cookies are none of another's
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={
            "User-Agent": "lifecycle-as-code",
            # a stream that is compressed comes in blocks
            "Accept-Encoding": "identity",
        },
        # no .netrc: it would add a password to a call that has a header of its own
        trust_env=False,
    )


@functools.lru_cache(maxsize=64)
def _proxy(scheme: str, host: str) -> str | None:
    """The proxy that the environment names for a host."""
    return None if proxy_bypass(host) else getproxies().get(scheme)
