"""One request and its answer, from the access check to the record of its usage."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING

from lifecycle_as_code.serving import llm, routing, usage
from lifecycle_as_code.serving.access import CHALLENGES
from lifecycle_as_code.serving.answer import Answer
from lifecycle_as_code.serving.caller import Caller
from lifecycle_as_code.serving.http import Reply, Request
from lifecycle_as_code.serving.llm import Outcome, Tokens

if TYPE_CHECKING:
    from lifecycle_as_code.serving.front import Front
    from lifecycle_as_code.serving.metrics import Metrics

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

    __slots__ = (
        "_endpoint",
        "_metrics",
        "_request",
        "_start",
        "_time_ms",
        "caller",
        "outcomes",
        "request_body",
        "tokens",
    )

    def __init__(self, request: Request, endpoint: str, metrics: Metrics) -> None:
        self._request = request
        self._endpoint = endpoint
        self._metrics = metrics
        self._start = time.perf_counter()
        self._time_ms = int(time.time() * 1000)
        self.caller: Caller | None = None
        self.request_body: bytes | None = None
        self.tokens: Tokens | None = None
        self.outcomes: list[str] = []

    @property
    def trace(self) -> Mapping[str, str]:
        """The headers of the trace that the request belongs to."""
        return {name: value for name in _TRACE if (value := self._request.header(name.encode()))}

    def note(self, outcome: str) -> None:
        """Mark the record."""
        if outcome not in self.outcomes:
            self.outcomes.append(outcome)

    def end(
        self,
        front: Front,
        outcome: Outcome,
        target: routing.Target | None = None,
        events: AsyncGenerator[bytes, None] | None = None,
    ) -> Reply:
        """The reply; the exchange is recorded, once its last event is sent."""
        answer, retry_after = outcome
        reply = make_reply(answer, target, retry_after)
        if events is not None:
            return reply._replace(events=self._watch(front, answer.status, target, events))
        if self.tokens is None and target is not None and target.task and answer.status == 200:
            self.tokens = llm.read_tokens(answer.body)
        self._record(front, answer, target)
        return reply

    async def _watch(
        self,
        front: Front,
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
            self._record(front, Answer(status, "", bytes(body)), target)

    def _record(self, front: Front, answer: Answer, target: routing.Target | None) -> None:
        tokens = self.tokens
        if tokens is not None and front.limits is not None and self.caller is not None:
            charge = asyncio.ensure_future(front.limits.charge(self.caller, tokens.total))
            _CHARGES.add(charge)
            charge.add_done_callback(_CHARGES.discard)
        header = self._request.header
        log = front.log
        record = usage.Record(
            self._time_ms,
            "" if log is None else usage.make_request_id(header(b"x-request-id")),
            self.caller.name if self.caller else "",
            self._endpoint,
            target.name if target else "",
            target.entity_name if target else "",
            target.entity_version if target else 0,
            answer.status,
            (time.perf_counter() - self._start) * 1000,
            usage.count_rows(answer.body) if answer.status == 200 else None,
            tokens.prompt if tokens else None,
            tokens.completion if tokens else None,
            "" if log is None else usage.read_trace_id(header(b"traceparent")),
            " ".join(self.outcomes),
        )
        self._metrics.count(record)
        if front.guardrails is not None:
            self._metrics.set_guardrails(front.guardrails.counts)
        # who isn't known can't fill the table
        if log is not None and self.caller is not None:
            log.add(record, self.request_body, answer.body)


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
