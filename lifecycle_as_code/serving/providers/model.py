"""A model at a provider: one request in OpenAI's shape, and what comes of it, whatever the provider does.

| the provider | the caller gets |
|---|---|
| answers | its answer in OpenAI's shape |
| refuses the request: 400, 404, 413, 422 and other 4xx | the same status, the provider's words |
| refuses the endpoint's credentials: 401, 403 | after one try with keys read anew: 502 |
| can't at the moment: 429, 503, 529, 504, 408 | after `max_retries`: 429, 503, 503, 504, 504 |
| fails: other 5xx, no connection, a redirect, nonsense | after `max_retries` where that may help: 502 |
| hangs | 504 after `timeout`; a stream's first token after `first_token_timeout` |
| breaks off in a stream | an event with an error, and no `[DONE]` |
"""

from __future__ import annotations

import asyncio
import email.utils
import logging
import math
import os
import random
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from lifecycle_as_code.serving import llm
from lifecycle_as_code.serving.answer import JSON, Answer
from lifecycle_as_code.serving.llm import Outcome, Task
from lifecycle_as_code.serving.providers import anthropic, bedrock, openai, vertex
from lifecycle_as_code.serving.providers.completions import Completions
from lifecycle_as_code.serving.providers.dialect import (
    BadRequestError,
    BrokenAnswerError,
    CredentialsError,
    Dialect,
    Parser,
    Payload,
)
from lifecycle_as_code.serving.providers.keys import Keys, Secrets
from lifecycle_as_code.serving.providers.transport import (
    MAX_ANSWER,
    TooLongError,
    Transport,
    read,
    read_error,
)

if TYPE_CHECKING:
    from aiohttp import ClientResponse

_logger = logging.getLogger(__name__)

_REFUSED = frozenset({401, 402, 403})
_RETRIED = frozenset({408, 429, 500, 502, 503, 504, 529})
_OUTWARD = {408: 504, 429: 429, 503: 503, 504: 504, 529: 503}
"""Statuses that a caller may act on; every other one of a provider's 5xx becomes 502."""

_CODES = {
    400: "BAD_REQUEST",
    404: "RESOURCE_DOES_NOT_EXIST",
    429: "REQUEST_LIMIT_EXCEEDED",
    500: "INTERNAL_ERROR",
    502: "BAD_GATEWAY",
    503: "TEMPORARILY_UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}

_FIRST_WAIT = 0.25
_LONGEST_WAIT = 10.0
"""Seconds: a provider that wants more gets no second try; the caller learns when to come again."""
_RENEWAL_WAIT = 10.0
"""Seconds between two times that keys are read anew: a key that stays wrong mustn't cost a command each."""
_AT_ONCE = 8
"""Calls that one request for embeddings makes at the same time."""
_WORDS = 500
"""Characters of a provider's message that the caller gets."""

_FIELDS: Mapping[Task, str] = {
    "llm/v1/chat": "messages",
    "llm/v1/completions": "prompt",
    "llm/v1/embeddings": "input",
}


class ExternalModel:
    """A model at a provider. `settings`: Databricks' `external_model`, secrets in it as references.

    For use on one event loop. ValueError for a provider or a task that there isn't.
    """

    def __init__(
        self,
        settings: Mapping[str, Any],
        secrets: Secrets,
        *,
        timeout: float,
        first_token_timeout: float | None,
        max_retries: int,
    ) -> None:
        self._provider = str(settings["provider"])
        self._transport = Transport()
        self._dialect = _dialect(settings, secrets, self._transport)
        self._timeout = timeout
        self._first_token_timeout = first_token_timeout
        self._max_retries = max_retries
        self._renewals = 0
        self._renewed = -math.inf

    def __repr__(self) -> str:
        """The provider and the model."""
        return f"ExternalModel({self._provider}, {self._dialect.model})"

    async def check(self) -> None:
        """LookupError, with a message to show, where this node lacks a key or a package. It loads what the
        first request would wait for."""
        await self._transport.load()
        await self._dialect.check()

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.close()

    async def answer(self, body: bytes, trace: Mapping[str, str]) -> Outcome:
        """Answer one request at once, whatever it says about streams."""
        payload = read_request(body, self._dialect.task)
        if isinstance(payload, Answer):
            return Outcome(payload)
        return await self._answer(payload, trace)

    async def stream(self, body: bytes, trace: Mapping[str, str]) -> AsyncGenerator[Outcome | bytes, None]:
        """The parts of an answer: its head, which is the whole answer unless it is `llm.STREAM_HEAD`; then
        events. Closing the iterator ends the provider's work."""
        payload = read_request(body, self._dialect.task)
        if isinstance(payload, Answer):
            yield Outcome(payload)
            return
        if payload.get("stream") is not True or self._dialect.task == "llm/v1/embeddings":
            yield await self._answer(payload, trace)
            return
        await self._transport.load()
        begun = await self._begin(payload, trace)
        if isinstance(begun, Outcome):
            yield begun
            return
        response, parser, events = begun
        complete = False
        try:
            yield Outcome(llm.STREAM_HEAD)
            try:
                for event in events:
                    yield event
                while not parser.done:
                    data = await response.content.readany()
                    for event in parser.feed(data) if data else parser.end():
                        yield event
                complete = True
            except Exception as e:
                _, message = self._damage(e)
                _logger.warning("A stream of %s broke off: %s", self, message)
                yield b"data: " + llm.error(502, _CODES[502], message).body + b"\n\n"
        finally:
            if complete:
                self._transport.finish(response)
            else:
                response.close()

    async def _begin(
        self, payload: Payload, trace: Mapping[str, str]
    ) -> Outcome | tuple[ClientResponse, Parser, list[bytes]]:
        """A stream with its first events, or what the caller gets instead of a stream."""
        limit = min(self._timeout, self._first_token_timeout or math.inf)
        response: ClientResponse | None = None
        try:
            async with asyncio.timeout(limit):
                opened = await self._open(payload, True, trace, time.monotonic() + limit)
                if isinstance(opened, Outcome):
                    return opened
                response = opened
                if response.content_type == JSON:
                    # it doesn't know streams
                    return self._whole([(await read(response), response.headers)], payload)
                parser = self._dialect.parser(payload)
                events = await _first(response, parser)
            begun, response = response, None
            return begun, parser, events
        except TimeoutError:
            return self._late(limit)
        except Exception as e:
            return self._error(*self._damage(e))
        finally:
            if response is not None:
                response.close()

    async def _answer(self, payload: Payload, trace: Mapping[str, str]) -> Outcome:
        if "stream" in payload or "stream_options" in payload:
            payload = {k: v for k, v in payload.items() if k not in ("stream", "stream_options")}
        await self._transport.load()
        end = time.monotonic() + self._timeout
        try:
            async with asyncio.timeout(self._timeout):
                parts = self._dialect.split(payload)
                if len(parts) > 1:
                    return await self._gather(parts, payload, trace, end)
                opened = await self._open(payload, False, trace, end)
                if isinstance(opened, Outcome):
                    return opened
                return self._whole([(await read(opened), opened.headers)], payload)
        except TimeoutError:
            return self._late(self._timeout)
        except Exception as e:
            return self._error(*self._damage(e))

    async def _gather(
        self, parts: list[Payload], payload: Payload, trace: Mapping[str, str], end: float
    ) -> Outcome:
        """One answer from several calls; the first error ends them all."""
        turns = asyncio.Semaphore(_AT_ONCE)

        async def one(part: Payload) -> tuple[bytes, Mapping[str, str]]:
            async with turns:
                opened = await self._open(part, False, trace, end)
                if isinstance(opened, Outcome):
                    raise _EarlyEnd(opened)
                return await read(opened), opened.headers

        try:
            async with asyncio.TaskGroup() as group:
                calls = [group.create_task(one(part)) for part in parts]
        except BaseExceptionGroup as group_error:
            first = group_error.exceptions[0]
            if isinstance(first, _EarlyEnd):
                return first.outcome
            raise first from None
        return self._whole([call.result() for call in calls], payload)

    async def _open(
        self, payload: Payload, stream: bool, trace: Mapping[str, str], end: float
    ) -> ClientResponse | Outcome:
        """The provider's answer once it is a good one, or what the caller gets instead."""
        import aiohttp

        tries, renewed, simplified = 0, False, False
        while True:
            before = self._renewals
            retry_after = None
            refused = outdated = False
            try:
                try:
                    call = await self._dialect.prepare(payload, stream)
                except (TypeError, ValueError, AttributeError, KeyError) as e:
                    raise BadRequestError("the request isn't in the shape of OpenAI's API") from e
                response = await self._transport.post(
                    call.url,
                    {**_context(trace), **call.headers},
                    call.body,
                    silence=self._timeout if stream else None,
                )
            except CredentialsError:
                refused = outdated = True
            except (aiohttp.ClientError, ConnectionError, BrokenAnswerError) as e:
                status, message = self._damage(e)
                if isinstance(e, aiohttp.InvalidURL | aiohttp.ClientConnectorCertificateError):
                    return self._error(status, message)
            else:
                if 200 <= response.status < 300:
                    return response
                status = response.status
                detail = await read_error(response)
                if status in (400, 422) and not simplified and self._dialect.simplify(detail, payload):
                    simplified = True
                    continue
                refused = status in _REFUSED
                if not refused and status not in _RETRIED:
                    return self._refusal(status, detail)
                retry_after = _seconds(response.headers)
                outdated = status in self._dialect.renewal
                message = f"{self._provider} returned {status}{self._words(detail)}"
            if refused:
                if outdated and not renewed and self._renew(before):
                    renewed = True
                    continue
                return self._error(502, f"{self._provider} refused the endpoint's credentials")
            wait = min(_LONGEST_WAIT, _FIRST_WAIT * 2**tries) * random.uniform(0.5, 1)
            if retry_after is not None:
                wait = retry_after + random.uniform(0, _FIRST_WAIT / 10)
            tries += 1
            if tries > self._max_retries or wait > _LONGEST_WAIT or time.monotonic() + wait >= end:
                return self._error(_OUTWARD.get(status, 502), message, retry_after)
            await asyncio.sleep(wait)

    def _renew(self, before: int) -> bool:
        """Whether another try may have other credentials than the one refused. `before`: the number of
        renewals that it knew of."""
        if self._renewals > before:
            return True
        now = time.monotonic()
        if now - self._renewed < _RENEWAL_WAIT:
            return False
        self._renewed = now
        self._renewals += 1
        self._dialect.keys.forget()
        self._dialect.forget()
        return True

    def _whole(self, bodies: list[tuple[bytes, Mapping[str, str]]], payload: Payload) -> Outcome:
        try:
            return Outcome(Answer(200, JSON, self._dialect.read(bodies, payload)))
        except Exception:
            return self._error(502, f"{self._provider} returned an unreadable answer")

    def _refusal(self, status: int, detail: bytes) -> Outcome:
        """A refusal that another try wouldn't change."""
        if 300 <= status < 400:
            return self._error(502, f"{self._provider} returned a redirect, which is not followed")
        message = f"{self._provider} returned {status}{self._words(detail)}"
        return self._error(status if 400 <= status < 500 else 502, message)

    def _late(self, limit: float) -> Outcome:
        return self._error(504, f"{self._provider} did not answer within {limit:g} s")

    def _damage(self, e: Exception) -> tuple[int, str]:
        """The status and the words for what went wrong with an answer."""
        import aiohttp

        match e:
            case BadRequestError():
                return 400, str(e)
            case LookupError() if type(e) is LookupError:
                return 500, f"{self._provider} can't be called: {e.args[0] if e.args else ''}"
            case CredentialsError():
                return 502, f"{self._provider} refused the endpoint's credentials"
            case BrokenAnswerError():
                return e.status, f"{self._provider}: {self._clean(str(e)) or 'it reported an error'}"
            case TooLongError():
                return 502, f"{self._provider} returned an answer over {MAX_ANSWER // 1024**2} MiB"
            case aiohttp.ConnectionTimeoutError():
                return 502, f"{self._provider} can't be reached: connecting timed out"
            case aiohttp.ClientConnectorDNSError():
                return 502, f"{self._provider} can't be reached: its host name can't be resolved"
            case TimeoutError():
                return 504, f"{self._provider} stopped sending data"
            case aiohttp.InvalidURL():
                return 500, f"{self._provider} can't be called: its URL is invalid"
            case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientSSLError():
                return 502, f"{self._provider} can't be reached: its certificate isn't trusted"
            case aiohttp.ClientConnectorError():
                # not its own words: they have the address
                reason = os.strerror(e.errno) if e.errno and e.errno > 0 else "no connection"
                return 502, f"{self._provider} can't be reached: {reason}"
            case aiohttp.ClientError() | OSError():
                return 502, f"{self._provider} closed the connection"
        # the type alone: the text may hold what was sent
        _logger.error("%s: %s", self, type(e).__name__)
        return 502, f"{self._provider} returned an unreadable answer"

    def _error(self, status: int, message: str, retry_after: float | None = None) -> Outcome:
        code = _CODES.get(status, _CODES[400] if status < 500 else _CODES[500])
        return Outcome(llm.error(status, code, message), retry_after)

    def _words(self, detail: bytes) -> str:
        """A provider's message, ready to follow a status; nothing where it has none."""
        words = self._clean(_message(detail))
        return f": {words}" if words else ""

    def _clean(self, text: str) -> str:
        # hidden before it is cut: half a key is a key, too
        text = " ".join(self._dialect.keys.hide(text).split())
        return text if len(text) <= _WORDS else text[:_WORDS] + "…"


class _EarlyEnd(Exception):  # noqa: N818 - an answer, not an error
    def __init__(self, outcome: Outcome) -> None:
        super().__init__()
        self.outcome = outcome


async def _first(response: ClientResponse, parser: Parser) -> list[bytes]:
    """The events up to the first one that there is."""
    while data := await response.content.readany():
        if events := parser.feed(data):
            return list(events)
    return list(parser.end())


def read_request(body: bytes, task: Task) -> Payload | Answer:
    """The request of a task, or the answer to one that is none."""
    payload = llm.read_request(body)
    if isinstance(payload, Answer):
        return payload
    field = _FIELDS[task]
    value = payload.get(field)
    if value and isinstance(value, list if field == "messages" else str | list):
        return payload
    return _bad_request(f"This endpoint's task is {task}: the body must have `{field}`.")


def _context(trace: Mapping[str, str]) -> dict[str, str]:
    """W3C's trace context, and none of the caller's other headers."""
    return {name: trace[name] for name in ("traceparent", "tracestate") if name in trace}


def _bad_request(message: str) -> Answer:
    return llm.error(400, _CODES[400], message)


def _message(detail: bytes) -> str:
    """The message in a provider's error, in whichever of the usual shapes; empty without one."""
    import orjson

    try:
        error = orjson.loads(detail)
    except ValueError:
        return ""
    for _ in range(3):
        match error:
            case [first, *_]:
                error = first
            case {"error": (dict() | str()) as inner}:
                error = inner
            case {"message": str(text)} | {"Message": str(text)} | {"detail": str(text)} | str(text):
                return text
    return error if isinstance(error, str) else ""


def _seconds(headers: Mapping[str, str]) -> float | None:
    """`Retry-After`: seconds or a date; or OpenAI's own header in milliseconds."""
    if milliseconds := headers.get("retry-after-ms"):
        with suppress(ValueError):
            return _finite(float(milliseconds) / 1000)
    if (text := headers.get("Retry-After")) is None:
        return None
    with suppress(ValueError):
        return _finite(float(text))
    with suppress(ValueError):
        return _finite(email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    return None


def _finite(seconds: float) -> float | None:
    return max(0.0, seconds) if math.isfinite(seconds) else None


TASKS: Mapping[str, frozenset[Task]] = {
    "openai": frozenset(_FIELDS),
    "anthropic": frozenset({"llm/v1/chat", "llm/v1/completions"}),
    "amazon-bedrock": frozenset(_FIELDS),
    "cohere": frozenset(_FIELDS),
    "google-cloud-vertex-ai": frozenset(_FIELDS),
    "databricks-model-serving": frozenset(_FIELDS),
    "custom": frozenset(_FIELDS),
}
"""The providers, and what each one's models can do."""


def _dialect(settings: Mapping[str, Any], secrets: Secrets, transport: Transport) -> Dialect:
    provider, task, model = str(settings["provider"]), settings["task"], str(settings["name"])
    if task not in TASKS.get(provider, ()):
        raise ValueError(f"provider {provider!r} has no models for task {task!r}")
    # a provider without completions of its own answers them by a chat
    inner: Task = "llm/v1/chat" if task == "llm/v1/completions" else task
    kind: type[Dialect]
    match provider:
        case "anthropic":
            kind = anthropic.Anthropic
        case "amazon-bedrock":
            kind = bedrock.Bedrock
        case "cohere":
            kind = openai.Cohere
        case "google-cloud-vertex-ai" if task == "llm/v1/embeddings":
            kind = vertex.VertexEmbeddings
        case "google-cloud-vertex-ai":
            kind = vertex.VertexClaude if model.startswith("claude") else vertex.VertexChat
        case "databricks-model-serving":
            kind, inner = openai.Databricks, task
        case "custom":
            kind, inner = openai.Custom, task
        case _:
            block = settings.get(openai.OpenAI.block) or {}
            is_azure = str(block.get("openai_api_type", "")).lower() in ("azure", "azuread")
            kind, inner = openai.AzureOpenAI if is_azure else openai.OpenAI, task
    keys = Keys(kind.block, settings.get(kind.block) or {}, secrets)
    dialect = kind(model, inner, keys, transport)
    return Completions(dialect) if task != inner else dialect
