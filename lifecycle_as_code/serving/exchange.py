"""One request and its answer, from the access check to the record of its usage."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING

from lifecycle_as_code.serving import llm, routing
from lifecycle_as_code.serving.access import CHALLENGES
from lifecycle_as_code.serving.caller import ANONYMOUS, Caller
from lifecycle_as_code.serving.http import Reply, Request
from lifecycle_as_code.serving.llm import Outcome, Tokens
from lifecycle_as_code.serving.scoring import Answer, count_rows

if TYPE_CHECKING:
    from lifecycle_as_code.serving.front import Front

ENTITY_HEADER = "X-Served-Entity"
VERSION_HEADER = "X-Served-Entity-Version"

_TRACE = ("traceparent", "tracestate")
"""W3C's trace context, which goes on to the provider."""
_CUT = 499
"""The status of a request whose client left, as nginx and Ray have it."""
_MAX_STREAM = 1024 * 1024
"""Bytes of a stream that are kept for the inference table."""


# the loop itself keeps no task alive
_CHARGES: set[asyncio.Future[None]] = set()


class Exchange:
    """A request on its way. `caller`, `request_body` and `tokens` are filled in as they become known;
    `outcomes` are marks for its record: `fallback`, `guardrail`, `limit`."""

    __slots__ = ("_endpoint", "_request", "_start", "_time", "caller", "outcomes", "request_body", "tokens")

    def __init__(self, request: Request, endpoint: str) -> None:
        self._request = request
        self._endpoint = endpoint
        self._start = time.perf_counter()
        self._time = time.time()
        self.caller: Caller = ANONYMOUS
        self.request_body: bytes | None = None
        self.tokens: Tokens | None = None
        self.outcomes: list[str] = []

    @property
    def trace(self) -> Mapping[str, str]:
        """The headers of the trace that the request belongs to."""
        return {name: value for name in _TRACE if (value := self._request.header(name.encode()))}

    def note_fallback(self) -> None:
        """The entity that was asked failed, and another one may be asked."""
        if "fallback" not in self.outcomes:
            self.outcomes.append("fallback")

    def end(
        self,
        front: Front,
        outcome: Outcome,
        target: routing.Target | None = None,
        events: AsyncGenerator[bytes, None] | None = None,
    ) -> Reply:
        """The reply, and the record of the exchange once its last event is sent."""
        answer, retry_after = outcome
        reply = make_reply(answer, target, retry_after)
        is_counted = bool(target and target.task) and front.limits is not None
        if front.log is None and not is_counted:
            return reply._replace(events=events)
        request_id = _read_id(self._request) or uuid.uuid4().hex
        if events is not None:
            return reply._replace(events=self._watch(front, request_id, answer.status, target, events))
        if self.tokens is None and target is not None and target.task and answer.status == 200:
            self.tokens = llm.read_tokens(answer.body)
        self._record(front, request_id, answer, target)
        return reply

    async def _watch(
        self,
        front: Front,
        request_id: str,
        status: int,
        target: routing.Target | None,
        events: AsyncGenerator[bytes, None],
    ) -> AsyncGenerator[bytes, None]:
        """The events as they come, and then the record of them all."""
        body = bytearray()
        try:
            async with aclosing(events):
                async for event in events:
                    if b'"usage"' in event:
                        self.tokens = llm.read_tokens(event) or self.tokens
                    if front.keeps_bodies and len(body) < _MAX_STREAM:
                        body += event
                    yield event
        except BaseException:
            status = _CUT
            raise
        finally:
            self._record(front, request_id, Answer(status, "", bytes(body)), target)

    def _record(self, front: Front, request_id: str, answer: Answer, target: routing.Target | None) -> None:
        tokens = self.tokens
        if tokens is not None and front.limits is not None:
            charge = asyncio.ensure_future(front.limits.charge(self.caller, tokens.total))
            _CHARGES.add(charge)
            charge.add_done_callback(_CHARGES.discard)
        if front.log is None:
            return
        from lifecycle_as_code.serving.usage import Record

        record = Record(
            int(self._time * 1000),
            request_id,
            self.caller.name,
            self._endpoint,
            target.name if target else "",
            target.entity_name if target else "",
            target.entity_version if target else 0,
            answer.status,
            (time.perf_counter() - self._start) * 1000,
            None if tokens else count_rows(answer),
            tokens.prompt if tokens else None,
            tokens.completion if tokens else None,
            _read_trace_id(self._request),
            " ".join(self.outcomes),
        )
        front.log.add(record, self.request_body, answer.body)


def make_reply(
    answer: Answer, target: routing.Target | None = None, retry_after: float | None = None
) -> Reply:
    """The answer with the headers that go with it. `retry_after` in seconds."""
    headers: list[tuple[str, str]] = []
    if target is not None:
        headers.append((ENTITY_HEADER, target.name))
        if target.entity_version:
            headers.append((VERSION_HEADER, str(target.entity_version)))
    if answer.status == 401:
        headers.extend(CHALLENGES)
    if answer.status == 503 and retry_after is None:
        retry_after = 1
    if retry_after is not None:
        headers.append(("Retry-After", str(max(1, round(retry_after)))))
    return Reply(answer, tuple(headers))


def _read_id(request: Request) -> str:
    from lifecycle_as_code.serving.usage import clean_id

    return clean_id(request.header(b"x-request-id"))


def _read_trace_id(request: Request) -> str:
    """The trace's id in `traceparent` (W3C Trace Context, section 3.2); empty without one."""
    parts = (request.header(b"traceparent") or "").split("-")
    return parts[1] if len(parts) >= 4 and len(parts[1]) == 32 and parts[1].isalnum() else ""
