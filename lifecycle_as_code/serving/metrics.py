"""Prometheus metrics of an endpoint, by entity and version, through Ray's own exporter.

Ray exports them as `ray_<name>` on each node's metrics port. Recording one there costs more than a request
may, so that requests only count in this process, and a thread tells Ray every second.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lifecycle_as_code.serving.usage import Record

_logger = logging.getLogger(__name__)

COUNTERS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "lac_requests_total": ("Requests.", ("endpoint", "entity", "version", "status")),
    "lac_tokens_total": (
        "Tokens of language models; kind: prompt or completion.",
        ("endpoint", "entity", "version", "kind"),
    ),
    "lac_rows_total": ("Rows that were scored.", ("endpoint", "entity", "version")),
    "lac_limited_total": ("Requests that a rate limit refused.", ("endpoint",)),
    "lac_guardrail_total": (
        "How often each rule of a guardrail acted.",
        ("endpoint", "rule"),
    ),
    "lac_usage_lost_total": ("Usage records and payloads that were lost.", ("endpoint",)),
}
"""Every counter with its description and labels."""

LATENCY = "lac_request_seconds"
LATENCY_LABELS = ("endpoint", "entity", "version")
BOUNDARIES = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""The upper ends of the histogram's buckets, in seconds."""

PERIOD = 1.0
# a flush tells Ray of no more latencies than this, at about 3 µs each, so many at a time
_MOST_LATENCIES = 20_000
_BURST = 100
_PAUSE = 0.002


class Metrics:
    """The metrics of one endpoint in one of its fronts. `count` and the others are for any thread, and raise
    nothing. `lost`: says how many usage records and payloads the front's log has lost (`UsageLog.lost`)."""

    def __init__(self, endpoint: str, lost: Callable[[], int] = lambda: 0) -> None:
        self._endpoint = endpoint
        self._find_lost = lost
        self._lock = threading.Lock()
        self._requests: Counter[tuple[str, int, int]] = Counter()
        self._counts: Counter[tuple[str, tuple[str, ...]]] = Counter()
        self._latencies: list[tuple[str, int, float]] = []
        self._lost = 0
        self._guardrails: Counter[tuple[str, str, str]] | None = None
        self._acted: Counter[tuple[str, str, str]] = Counter()
        self._metrics: dict[str, Any] = {}
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lac-metrics", daemon=True)
        self._thread.start()

    def count(self, record: Record) -> None:
        """Count one request with its latency, rows and tokens."""
        entity, version = record.entity, record.entity_version
        with self._lock:
            self._requests[entity, version, record.status] += 1
            if len(self._latencies) < _MOST_LATENCIES:
                self._latencies.append((entity, version, record.latency_ms))
            if record.rows:
                self._counts["lac_rows_total", (entity, str(version))] += record.rows
            if record.prompt_tokens:
                labels = (entity, str(version), "prompt")
                self._counts["lac_tokens_total", labels] += record.prompt_tokens
            if record.completion_tokens:
                labels = (entity, str(version), "completion")
                self._counts["lac_tokens_total", labels] += record.completion_tokens

    def count_limited(self) -> None:
        """Count a request that a rate limit refused."""
        with self._lock:
            self._counts["lac_limited_total", ()] += 1

    def set_guardrails(self, counts: Counter[tuple[str, str, str]]) -> None:
        """How often each rule acted in this front so far (`Guardrails.counts`)."""
        with self._lock:
            if counts is not self._guardrails:
                # rules that were changed count from the beginning
                self._guardrails, self._acted = counts, Counter()
            for key, number in counts.items():
                if more := number - self._acted[key]:
                    self._counts["lac_guardrail_total", (key[1],)] += more
                    self._acted[key] = number

    def close(self, timeout: float = 1.0) -> None:
        """Tell Ray of the last counts. Blocks for at most `timeout` seconds."""
        self._end.set()
        self._thread.join(timeout)

    def _run(self) -> None:
        ends = False
        while not ends:
            ends = self._end.wait(PERIOD)
            try:
                self._flush()
            except Exception:
                _logger.exception("The metrics of endpoint %s can't be exported", self._endpoint)
                return

    def _flush(self) -> None:
        with self._lock:
            requests, self._requests = self._requests, Counter()
            counts, self._counts = self._counts, Counter()
            latencies, self._latencies = self._latencies, []
        lost = self._find_lost()
        # a new log begins at 0
        if increase := lost - self._lost if lost >= self._lost else lost:
            self._add("lac_usage_lost_total", (), increase)
        self._lost = lost
        for (entity, version, status), number in requests.items():
            self._add("lac_requests_total", (entity, str(version), str(status)), number)
        for (name, labels), number in counts.items():
            self._add(name, labels, number)
        tags: dict[tuple[str, int], dict[str, str]] = {}
        for number, (entity, version, ms) in enumerate(latencies):
            if number % _BURST == 0 and not self._end.is_set():
                # requests get the interpreter in between
                time.sleep(_PAUSE)
            if (entity, version) not in tags:
                values = (self._endpoint, entity, str(version))
                tags[entity, version] = dict(zip(LATENCY_LABELS, values, strict=True))
            self._get(LATENCY).observe(ms / 1000, tags[entity, version])

    def _add(self, name: str, labels: tuple[str, ...], number: int) -> None:
        names = COUNTERS[name][1]
        self._get(name).inc(number, dict(zip(names, (self._endpoint, *labels), strict=True)))

    def _get(self, name: str) -> Any:
        if (metric := self._metrics.get(name)) is None:
            from ray.util import metrics

            if name == LATENCY:
                metric = metrics.Histogram(
                    name, "Seconds from a request to its answer.", [*BOUNDARIES], LATENCY_LABELS
                )
            else:
                metric = metrics.Counter(name, *COUNTERS[name])
            self._metrics[name] = metric
        return metric
