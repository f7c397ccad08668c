"""Providers that speak OpenAI's own dialect: bytes pass through, but for the model's name and the usage.

Cohere is one by its Compatibility API (https://docs.cohere.com/docs/compatibility-api).
"""

from __future__ import annotations

import asyncio
import re
import time
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

from lifecycle_as_code.serving.llm import DONE, ROUTES, event
from lifecycle_as_code.serving.providers.dialect import (
    BrokenAnswerError,
    Call,
    CredentialsError,
    Dialect,
    Parser,
    Payload,
    Splitter,
    data_in,
    empty_choice,
    load,
    wants_usage,
)
from lifecycle_as_code.serving.providers.transport import read

PATHS = {task: path for path, task in ROUTES.items()}
"""OpenAI's route of a task, below `/v1/`."""

_PARSED = 1024 * 1024
"""Bytes of an answer up to which it is parsed to see that it is JSON."""

_EARLY = 120.0
"""Seconds before its end at which a token is replaced."""


class PassThrough(Dialect):
    """A provider that answers in OpenAI's shape."""

    _usage_option = True
    """Whether `stream_options` may be added; a provider that doesn't know them gets none from then on."""

    @property
    def name(self) -> str:
        """The model's name in a request."""
        return self.model

    @abstractmethod
    async def address(self) -> str:
        """The URL of this model's task."""

    @abstractmethod
    async def headers(self) -> dict[str, str]:
        """What says who calls."""

    async def check(self) -> None:
        """LookupError where a credential is missing."""
        await self.address()
        await self.headers()

    async def prepare(self, payload: Payload, stream: bool) -> Call:
        """The request as it is, to this model, and with the usage at the end of a stream."""
        import orjson

        changes: Payload = {"model": self.name}
        if stream and self._usage_option:
            changes["stream_options"] = {**(payload.get("stream_options") or {}), "include_usage": True}
        body = orjson.dumps({**payload, **changes})
        headers = {"Content-Type": "application/json", **await self.headers()}
        return Call(await self.address(), headers, body)

    def read(self, bodies: Sequence[tuple[bytes, Mapping[str, str]]], payload: Payload) -> bytes:
        """The same bytes, where they are JSON."""
        body, _ = bodies[0]
        if len(body) <= _PARSED:
            load(body)
        elif not (body.startswith(b"{") and body.rstrip().endswith(b"}")):
            raise ValueError("not a JSON object")
        return body

    def parser(self, payload: Payload) -> Parser:
        """A parser that hardly looks at the events."""
        return Events(self, payload)

    def simplify(self, refusal: bytes, payload: Payload) -> bool:
        """A provider that refuses `stream_options`, which the caller didn't send, does without."""
        if b"stream_options" not in refusal or "stream_options" in payload:
            return False
        self._usage_option = False
        return True


class OpenAI(PassThrough):
    """OpenAI, or whatever answers at `openai_api_base`."""

    block = "openai_config"

    async def address(self) -> str:
        """The task's route below the base."""
        base = await self.keys.text("openai_api_base", "https://api.openai.com/v1")
        return f"{base.rstrip('/')}/{PATHS[self.task]}"

    async def headers(self) -> dict[str, str]:
        """The key, and the organization that pays."""
        headers = {"Authorization": f"Bearer {await self.keys.secret('openai_api_key')}"}
        if organization := await self.keys.text("openai_organization"):
            headers["OpenAI-Organization"] = organization
        return headers


class AzureOpenAI(OpenAI):
    """OpenAI's models at Azure, by a key (`azure`) or a token of Microsoft Entra (`azuread`)."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._token = ""
        self._expires = 0.0
        self._renewal = asyncio.Lock()

    async def address(self) -> str:
        """The task's route below the deployment."""
        base = await self.keys.text("openai_api_base")
        deployment = await self.keys.text("openai_deployment_name")
        version = await self.keys.text("openai_api_version")
        if not (base and deployment and version):
            raise LookupError(
                "Azure needs openai_config.openai_api_base, openai_deployment_name and openai_api_version"
            )
        path = f"openai/deployments/{quote(deployment, safe='')}/{PATHS[self.task]}"
        return f"{base.rstrip('/')}/{path}?{urlencode({'api-version': version})}"

    async def headers(self) -> dict[str, str]:
        """The key, or a token."""
        if self.keys.word("openai_api_type") != "azuread":
            return {"api-key": await self.keys.secret("openai_api_key")}
        async with self._renewal:
            if time.monotonic() > self._expires:
                await self._renew()
        return {"Authorization": f"Bearer {self._token}"}

    async def check(self) -> None:
        """LookupError where a credential is missing; no token is fetched."""
        await self.address()
        if self.keys.word("openai_api_type") == "azuread":
            await self._form()
            await self._tenant()
        else:
            await self.keys.secret("openai_api_key")

    def forget(self) -> None:
        """Fetch a token for the next call."""
        self._expires = 0.0

    async def _form(self) -> dict[str, str]:
        return {
            "grant_type": "client_credentials",
            "client_id": await self.keys.text("microsoft_entra_client_id"),
            "client_secret": await self.keys.secret("microsoft_entra_client_secret"),
            "scope": "https://cognitiveservices.azure.com/.default",
        }

    async def _tenant(self) -> str:
        if tenant := await self.keys.text("microsoft_entra_tenant_id"):
            return tenant
        raise LookupError("openai_config.microsoft_entra_tenant_id is missing")

    async def _renew(self) -> None:
        """https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow"""
        login = await self.keys.text("microsoft_entra_login_base", "https://login.microsoftonline.com")
        response = await self.transport.post(
            f"{login.rstrip('/')}/{quote(await self._tenant(), safe='')}/oauth2/v2.0/token",
            {"Content-Type": "application/x-www-form-urlencoded"},
            urlencode(await self._form()).encode(),
        )
        body = await read(response, _PARSED)
        if 400 <= response.status < 500:
            raise CredentialsError
        try:
            token = load(body)
            self._token = str(token["access_token"])
            self._expires = time.monotonic() + float(token["expires_in"]) - _EARLY
        except (ValueError, KeyError, TypeError):
            raise BrokenAnswerError("Microsoft Entra returned no token", 503) from None
        self.keys.conceal(self._token)


class Databricks(PassThrough):
    """An endpoint of a Databricks workspace, or of another lac."""

    block = "databricks_model_serving_config"

    async def address(self) -> str:
        """The endpoint's `invocations`."""
        workspace = await self.keys.text("databricks_workspace_url")
        if not workspace:
            raise LookupError(f"{self.block}.databricks_workspace_url is missing")
        return f"{workspace.rstrip('/')}/serving-endpoints/{quote(self.model, safe='')}/invocations"

    async def headers(self) -> dict[str, str]:
        """The token."""
        return {"Authorization": f"Bearer {await self.keys.secret('databricks_api_token')}"}


class Custom(PassThrough):
    """Any server that speaks OpenAI's dialect. Its URL is either the task's own or ends in `/v1`."""

    block = "custom_provider_config"

    async def address(self) -> str:
        """The URL as it is, or the task's route below `/v1`."""
        url = await self.keys.text("custom_provider_url")
        if not url:
            raise LookupError(f"{self.block}.custom_provider_url is missing")
        return f"{url.rstrip('/')}/{PATHS[self.task]}" if re.fullmatch(r".*/v\d+/?", url) else url

    async def headers(self) -> dict[str, str]:
        """A header of the manifest's choice, or a bearer token; a server inside may need neither."""
        if self.keys.has("api_key_auth"):
            name = await self.keys.text("api_key_auth.key")
            return {name: await self.keys.secret("api_key_auth.value")}
        if self.keys.has("bearer_token_auth"):
            return {"Authorization": f"Bearer {await self.keys.secret('bearer_token_auth.token')}"}
        return {}


class Cohere(PassThrough):
    """Cohere."""

    block = "cohere_config"

    async def address(self) -> str:
        """The task's route of the Compatibility API; Databricks' users have `/v1` of the host as base."""
        base = await self.keys.text("cohere_api_base", "https://api.cohere.com")
        base = re.sub(r"/(v[12]|compatibility/v1)?/*$", "", base.rstrip("/") + "/")
        return f"{base}/compatibility/v1/{PATHS[self.task]}"

    async def headers(self) -> dict[str, str]:
        """The key."""
        return {"Authorization": f"Bearer {await self.keys.secret('cohere_api_key')}"}


class Events(Parser):
    """Events that are OpenAI's already. Only the first and those without choices are parsed."""

    def __init__(self, dialect: PassThrough, payload: Payload) -> None:
        self._task = dialect.task
        self._wants_usage = wants_usage(payload)
        self._splitter = Splitter()
        self._started = False
        self._last_choice = b""

    def feed(self, data: bytes) -> Sequence[bytes]:
        """The events, each as it came."""
        events: list[bytes] = []
        for text in self._splitter.feed(data):
            if not text.startswith(b"data:") or b"\n" in text:
                # a comment that keeps the connection alive, or an event with a name
                if not (content := data_in(text)):
                    continue
                text = b"data: " + content
            if len(text) < 16 and b"[DONE]" in text:
                self.done = True
                events.append(DONE)
                break
            if not self._started:
                self._started = True
                self._check_first(text)
            if b'"choices":[]' in text or b'"choices": []' in text:
                text = self._usage(text)
            elif text.startswith((b'data: {"error"', b'data:{"error"')):
                raise _reported(text)
            else:
                self._last_choice = text
            events.append(text + b"\n\n")
        return events

    def end(self) -> Sequence[bytes]:
        """Some servers leave the last event out: the answer is complete once a choice has its reason."""
        if self.done:
            return ()
        choices = _object(self._last_choice).get("choices")
        if isinstance(choices, list) and any(isinstance(c, dict) and c.get("finish_reason") for c in choices):
            self.done = True
            return [DONE]
        return super().end()

    def _usage(self, text: bytes) -> bytes:
        """The event with the usage alone, as it is where the caller asked for it."""
        chunk = _object(text)
        if self._wants_usage or chunk.get("choices") != [] or not chunk.get("usage"):
            return text
        return event({**chunk, "choices": [empty_choice(self._task)]}).rstrip(b"\n")

    def _check_first(self, text: bytes) -> None:
        chunk = _object(text)
        if not chunk:
            raise BrokenAnswerError("an event of the stream isn't JSON")
        if chunk.get("error"):
            raise _reported(text)


def _object(text: bytes) -> dict[str, Any]:
    """The JSON object of an event; empty where it is none."""
    try:
        return load(data_in(text))
    except ValueError:
        return {}


def _reported(text: bytes) -> BrokenAnswerError:
    error = _object(text).get("error")
    message = error.get("message") if isinstance(error, Mapping) else error
    return BrokenAnswerError(str(message or ""))
