"""Google Cloud's Vertex AI: Gemini and partners' models in OpenAI's dialect, Claude in Anthropic's.

Vertex has an OpenAI-compatible route of its own:
https://cloud.google.com/vertex-ai/generative-ai/docs/migrate/openai/overview. Tokens are google-auth's work.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from lifecycle_as_code.serving.providers import anthropic
from lifecycle_as_code.serving.providers.dialect import (
    BadRequestError,
    BrokenAnswerError,
    Call,
    CredentialsError,
    Dialect,
    Payload,
    embedding_answer,
    load,
    load_package,
    texts_in,
)
from lifecycle_as_code.serving.providers.keys import Keys
from lifecycle_as_code.serving.providers.openai import PATHS, PassThrough

_SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)
_MODULES = ("google.oauth2.service_account", "google.auth.transport.requests")
_ANTHROPIC_VERSION = "vertex-2023-10-16"
_TOKEN_SECONDS = 10
_BATCH = 100
"""Texts a call; Gemini's models for embeddings take one."""


class Google:
    """A project's models, and tokens for them."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._account = ""
        self._credentials: Any = None
        self._fetch: tuple[Any, asyncio.Future[Any]] | None = None

    async def check(self) -> None:
        """LookupError where google-auth, a field or the key is missing; no token is fetched."""
        await self.root()
        await self._load()

    async def root(self) -> str:
        """The URL of the project's region."""
        project, region = await self._keys.text("project_id"), await self._keys.text("region")
        if not (project and region):
            raise LookupError("google_cloud_vertex_ai_config needs project_id and region")
        base = await self._keys.text("vertex_ai_api_base", _host(region))
        path = f"projects/{quote(project, safe='')}/locations/{quote(region, safe='')}"
        return f"{base.rstrip('/')}/v1/{path}"

    async def headers(self) -> dict[str, str]:
        """A token, new if need be."""
        credentials = await self._load()
        if not credentials.valid:
            await self._refresh(credentials)
        self._keys.conceal(credentials.token)
        return {"Content-Type": "application/json", "Authorization": f"Bearer {credentials.token}"}

    def forget(self) -> None:
        """Fetch a token for the next call."""
        self._credentials = None

    async def _refresh(self, credentials: Any) -> None:
        """One fetch for all requests that need the token, in a thread that none of them can end."""
        from google.auth.exceptions import GoogleAuthError, TransportError
        from google.auth.transport.requests import Request

        if self._fetch is None or self._fetch[0] is not credentials:
            request = functools.partial(Request(), timeout=_TOKEN_SECONDS)
            begun = asyncio.ensure_future(asyncio.to_thread(credentials.refresh, request))
            # where every request has left by then
            begun.add_done_callback(lambda done: done.cancelled() or done.exception())
            self._fetch = credentials, begun
        fetch = self._fetch[1]
        try:
            await asyncio.shield(fetch)
        except GoogleAuthError as e:
            if isinstance(e, TransportError) or e.retryable:
                raise BrokenAnswerError("Google's token service is not available", 503) from None
            raise CredentialsError from None
        finally:
            if fetch.done():
                self._fetch = None

    async def _load(self) -> Any:
        """The service account; with another key, another account."""
        await load_package("google-auth", _MODULES, "vertex")
        from google.oauth2.service_account import Credentials

        account = await self._keys.secret("private_key")
        if self._credentials is None or account != self._account:
            try:
                info = load(account.encode())
                self._keys.conceal(str(info.get("private_key", "")))
                self._credentials = Credentials.from_service_account_info(info, scopes=_SCOPES)
            except ValueError:
                # its message may repeat parts of the key
                raise LookupError(
                    "google_cloud_vertex_ai_config.private_key isn't the JSON of a service account's key"
                ) from None
            self._account = account
        return self._credentials


def _host(region: str) -> str:
    """https://cloud.google.com/vertex-ai/docs/general/googleapi-access-methods"""
    match region:
        case "global":
            return "https://aiplatform.googleapis.com"
        case "eu" | "us":
            return f"https://aiplatform.{region}.rep.googleapis.com"
    return f"https://{region}-aiplatform.googleapis.com"


class _Vertex(Dialect):
    block = "google_cloud_vertex_ai_config"

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.google = Google(self.keys)

    async def check(self) -> None:
        """LookupError where google-auth, a field or the key is missing."""
        await self.google.check()

    def forget(self) -> None:
        """Fetch a token for the next call."""
        self.google.forget()


class VertexChat(_Vertex, PassThrough):
    """Gemini (`gemini-…`) and partners' models (`meta/llama-…`) in OpenAI's dialect."""

    @property
    def name(self) -> str:
        """With its publisher before it."""
        return self.model if "/" in self.model else f"google/{self.model}"

    async def address(self) -> str:
        """The route that all models share."""
        return f"{await self.google.root()}/endpoints/openapi/{PATHS[self.task]}"

    async def headers(self) -> dict[str, str]:
        """A token."""
        return await self.google.headers()


class VertexClaude(_Vertex, anthropic.Anthropic):
    """Claude (`claude-…`)."""

    async def prepare(self, payload: Payload, stream: bool) -> Call:
        """One call of the model's own route."""
        import orjson

        action = "streamRawPredict" if stream else "rawPredict"
        root = await self.google.root()
        url = f"{root}/publishers/anthropic/models/{quote(self.model, safe='@')}:{action}"
        body = {
            "anthropic_version": _ANTHROPIC_VERSION,
            **anthropic.request(payload),
            **({"stream": True} if stream else {}),
        }
        return Call(url, await self.google.headers(), orjson.dumps(body))


class VertexEmbeddings(_Vertex):
    """Google's models for embeddings:
    https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/text-embeddings-api"""

    async def prepare(self, payload: Payload, stream: bool) -> Call:
        """One call of `predict`."""
        import orjson

        url = f"{await self.google.root()}/publishers/google/models/{quote(self.model, safe='@')}:predict"
        body: Payload = {"instances": [{"content": text} for text in texts_in(payload)]}
        if dimensions := payload.get("dimensions"):
            body["parameters"] = {"outputDimensionality": dimensions}
        return Call(url, await self.google.headers(), orjson.dumps(body))

    def split(self, payload: Payload) -> list[Payload]:
        """As many texts a call as the model takes."""
        texts = texts_in(payload)
        size = 1 if self.model.startswith("gemini") else _BATCH
        return [{**payload, "input": texts[i : i + size]} for i in range(0, len(texts), size)]

    def read(self, bodies: Sequence[tuple[bytes, Mapping[str, str]]], payload: Payload) -> bytes:
        """The predictions as embeddings."""
        results = [p["embeddings"] for body, _ in bodies for p in load(body)["predictions"]]
        tokens = sum(int((r.get("statistics") or {}).get("token_count") or 0) for r in results)
        return embedding_answer(self.model, [r["values"] for r in results], tokens, payload)

    def parser(self, payload: Payload) -> Any:
        """Embeddings have no streams: BadRequestError."""
        raise BadRequestError("Embeddings are not streamed.")
