"""One request and its answer, from the access check to the record of its usage."""

from __future__ import annotations

import math
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
_FAILURE = b'data: {"error"'
"""How the event of a model that failed in the middle of its answer begins."""
_MAX_STREAM = 1024 * 1024
"""Bytes of a stream that are kept for the inference table."""
_BYTES_PER_TOKEN = 4
"""Of a request, where nobody says how many tokens it has."""


class Exchange:
    """A request on its way, which uses a front until it is recorded. `caller`, `request_body`, `target` and
    `tokens` are filled in as they become known; `outcomes` are marks for its record: `fallback`, `guardrail`,
    `limit`."""

    __slots__ = (
        "_endpoint",
        "_events",
        "_metrics",
        "_request",
        "_start",
        "_time_ms",
        "caller",
        "front",
        "outcomes",
        "request_body",
        "target",
        "tokens",
    )

    def __init__(self, request: Request, endpoint: str, metrics: Metrics, front: Front) -> None:
        self._request = request
        self._endpoint = endpoint
        self._metrics = metrics
        self._start = time.perf_counter()
        self._time_ms = int(time.time() * 1000)
        self._events = 0
        self.front = front
        self.caller: Caller | None = None
        self.request_body: bytes | None = None
        self.target: routing.Target | None = None
        self.tokens: Tokens | None = None
        self.outcomes: list[str] = []
        front.users.enter()

    @property
    def trace(self) -> Mapping[str, str]:
        """The headers of the trace that the request belongs to."""
        return {name: value for name in _TRACE if (value := self._request.header(name.encode()))}

    def use(self, front: Front) -> None:
        """Go on with this front."""
        front.users.enter()
        self.front.users.leave()
        self.front = front

    def note(self, outcome: str) -> None:
        """Mark the record."""
        if outcome not in self.outcomes:
            self.outcomes.append(outcome)

    def end(self, outcome: Outcome, events: AsyncGenerator[bytes, None] | None = None) -> Reply:
        """The reply; the exchange is recorded, once its last event is sent."""
        answer, retry_after = outcome
        reply = make_reply(answer, self.target, retry_after)
        if events is not None:
            return reply._replace(events=self._watch(answer.status, events))
        if self.tokens is None and self.target is not None and self.target.task and answer.status == 200:
            self.tokens = llm.read_tokens(answer.body)
        return self.end_with(reply)

    def end_with(self, reply: Reply) -> Reply:
        """This very reply; the exchange is recorded."""
        self._record(reply.answer)
        return reply

    def abort(self, error: BaseException) -> None:
        """Record an exchange that nobody gets an answer of ours to: its client left, or we failed."""
        self._record(Answer(_status_of(error), "", b""))

    async def _watch(self, status: int, events: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
        """The events as they come, and then the record of them all."""
        body = bytearray()
        try:
            async with aclosing(events):
                async for event in events:
                    self._events += 1
                    if event.startswith(_FAILURE):
                        status = 502
                    if b'"usage"' in event:
                        self.tokens = llm.read_tokens(event) or self.tokens
                    if self.front.keeps_bodies and len(body) < _MAX_STREAM:
                        body += event
                    yield event
        except BaseException as e:
            status = _status_of(e)
            raise
        finally:
            self._record(Answer(status, "", bytes(body)))

    def _record(self, answer: Answer) -> None:
        front, target, tokens = self.front, self.target, self.tokens
        if front.limits is not None and self.caller is not None:
            front.limits.charge(self.caller, tokens.total if tokens else self._estimate(answer.status))
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
        front.users.leave()

    def _estimate(self, status: int) -> int:
        """The tokens of an answer that was cut off before its usage came: otherwise leaving early would cost
        nothing."""
        was_cut = status == _CUT or (self._events and "guardrail" in self.outcomes)
        if not was_cut or self.target is None or not self.target.task:
            return 0
        return len(self.request_body or b"") // _BYTES_PER_TOKEN + self._events


def _status_of(error: BaseException) -> int:
    """Of an exchange that it ended; a client that leaves cancels what is done for it."""
    return 500 if isinstance(error, Exception) else _CUT


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
        headers.append(("Retry-After", str(max(1, math.ceil(retry_after)))))
    return Reply(answer, tuple(headers))
