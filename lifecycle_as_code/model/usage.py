"""How much endpoints were used: counts of requests, by what they have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

By = Literal["endpoint", "entity", "version", "principal", "status", "day", "hour"]
BY: Final[tuple[By, ...]] = ("endpoint", "entity", "version", "principal", "status", "day", "hour")


@dataclass(frozen=True, slots=True)
class UsageRow:
    """The requests of one group. `key`: what they have in common, such as `fraud/3`, or the beginning of an
    hour in UTC; empty for requests that had none. `client_errors`: statuses from 400 to 499; `server_errors`:
    those from 500. Latencies: in ms, by nearest rank. `rows`: of tables that were sent."""

    key: str
    requests: int
    client_errors: int
    server_errors: int
    p50_ms: float
    p95_ms: float
    rows: int
    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True, slots=True)
class UsageLoss:
    """Rows of `table` that were lost while the store was away or its spool full. Times: ms since 1970."""

    endpoint: str
    table: str
    lost: int
    first_ms: int
    last_ms: int


@dataclass(frozen=True, slots=True)
class Usage:
    """The groups: in order of time for hours and days, otherwise the one with most requests first."""

    by: By
    since_ms: int
    until_ms: int
    endpoint: str = ""
    rows: tuple[UsageRow, ...] = ()
    losses: tuple[UsageLoss, ...] = ()
