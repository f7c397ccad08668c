"""How many calls and tokens an endpoint, a user, or a role's members may use in a window of time.

The rules are those of Databricks' AI Gateway (docs.databricks.com, "Configure rate limits"):

- `key: endpoint` (the default): one count for all callers, on top of every other limit.
- `key: user` without a principal: each user has as many, unless one of the two below limits the same
  measure (calls, or tokens) for that user.
- `key: user` or `service_principal` with a principal: that user's own. It counts instead of the default and
  of the user's groups. MLflow has users alone, so both name one of them.
- `key: user_group` with a principal, the name of an MLflow role: one count that its members share. A user
  in several groups may exceed none of their limits.

Where an endpoint checks no access all callers are one user without a name.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, NamedTuple, Protocol

from lifecycle_as_code.serving.caller import Caller
from lifecycle_as_code.serving.counters import Charge, Counter, Grant, Memory, Shared
from lifecycle_as_code.serving.references import Secrets

_logger = logging.getLogger(__name__)

SECONDS = {"minute": 60, "hour": 3600, "day": 86400}
"""The windows, by `renewal_period`."""

Measure = Literal["calls", "tokens"]

# callers whose limits are remembered
_CACHE_SIZE = 4096
# seconds between two warnings that the store is away
_WARNING_PAUSE = 60.0


class Refusal(NamedTuple):
    """Why a request can't go on: 429 where a limit is reached, 503 where the limits can't be checked.
    `retry_after`: whole seconds until the window that is used up is over."""

    status: Literal[429, 503]
    message: str
    retry_after: int


class _Limit(NamedTuple):
    counter: Counter
    key: Literal["endpoint", "user", "group"]
    principal: str
    measure: Measure
    period: str

    def describe(self) -> str:
        """For the refused caller, who may know about it: it is one of their own."""
        amount = f"{self.counter.limit} {self.measure if self.counter.limit != 1 else self.measure[:-1]}"
        match self.key:
            case "endpoint":
                who = ""
            case "user":
                who = " for each user" if not self.principal else f" for user {self.principal}"
            case _:
                who = f" for the members of {self.principal}"
        return f"Rate limit exceeded: {amount} per {self.period}{who}."


class _Rules(NamedTuple):
    """The limits of one caller. `blocked`: one that allows nothing at all."""

    limits: tuple[_Limit, ...]
    counters: tuple[Counter, ...]
    tokens: tuple[Counter, ...]
    blocked: _Limit | None


class _Counters(Protocol):
    async def take(self, counters: tuple[Counter, ...]) -> Grant | None: ...
    def charge(self, charges: Iterable[Charge]) -> bool: ...
    async def open(self) -> None: ...
    async def close(self) -> None: ...


class Limits:
    """The rate limits of one endpoint, for use on its event loop.

    `settings`: `{"rate_limits": [{"calls" | "tokens", "key", "principal", "renewal_period"}], "store",
    "failure_mode"}`. `store` is empty for the memory of this process (enough behind one front), or the URL of
    a store that several fronts share, which may hold references: Redis, Valkey, PostgreSQL or SQLite (see
    `counters`). `failure_mode` says what happens while it is away: `open`, requests go on and `uncounted` has
    their number; `closed`, they get 503.

    Counts are exact: in one window never more calls are allowed than the limit says, and a call that is
    refused by one limit uses up none. Tokens are known after the answer: requests that are already under way
    when a budget is used up may exceed it. What was counted in memory by the `former` limits still counts.
    """

    def __init__(
        self,
        settings: Mapping[str, Any],
        endpoint: str,
        secrets: Secrets | None = None,
        clock: Callable[[], float] = time.monotonic,
        former: Limits | None = None,
    ) -> None:
        self._endpoint = endpoint
        self._limits = _read(settings.get("rate_limits") or (), endpoint)
        self._is_open = settings.get("failure_mode", "open") == "open"
        self._clock = clock
        self._rules: dict[Caller, _Rules] = {}
        self._counters: _Counters
        self._shared: Shared | None = None
        url = str(settings.get("store") or "")
        if url and self._limits:
            secrets = secrets or Secrets()
            self._counters = self._shared = Shared(lambda: secrets.resolve(url), clock)
        elif former is not None and isinstance(former._counters, Memory):
            self._counters = former._counters
        else:
            self._counters = Memory(clock)
        self.uncounted = 0
        """Requests that went on, and answers whose tokens weren't charged, while the store was away."""
        self.refused = 0
        """Requests that a limit refused."""
        self._warned = -math.inf
        self._uncounted_before = 0

    async def take(self, caller: Caller) -> Refusal | None:
        """Count one request. None where it may go on."""
        rules = self._rules.get(caller) or self._find(caller)
        if rules.blocked:
            return self._refuse(rules.blocked, rules.blocked.counter.seconds)
        if not rules.counters:
            return None
        grant = await self._counters.take(rules.counters)
        if grant is None:
            return self._miss()
        if grant.calls:
            return None
        return self._refuse(rules.limits[grant.full], grant.wait)

    def charge(self, caller: Caller, tokens: int) -> None:
        """Count the tokens of an answer. It doesn't wait for a shared store."""
        rules = self._rules.get(caller) or self._find(caller)
        if tokens > 0 and rules.tokens:
            counted = self._counters.charge([Charge(counter, tokens) for counter in rules.tokens])
            if not counted:
                self._miss()

    async def open(self) -> None:
        """Connect to the store before the first request does. Takes as long as that does."""
        await self._counters.open()

    async def close(self) -> None:
        """End the connections to the store, once what waits has been counted."""
        await self._counters.close()

    def _refuse(self, limit: _Limit, wait: float) -> Refusal:
        self.refused += 1
        return Refusal(429, limit.describe(), max(1, math.ceil(wait)))

    def _miss(self) -> Refusal | None:
        """The store is away."""
        self.uncounted += self._is_open
        if self._clock() >= self._warned + _WARNING_PAUSE:
            self._warned = self._clock()
            error = self._shared.error if self._shared else None
            # other messages may hold the store's address, with its password
            known = type(error) is LookupError or isinstance(error, ImportError)
            _logger.warning(
                "Endpoint %s can't reach the store of its rate limits (%s): %s",
                self._endpoint,
                error if known else type(error).__name__,
                f"requests go on; {self.uncounted} were not counted so far"
                if self._is_open
                else "requests are refused",
            )
        if self._is_open:
            return None
        return Refusal(503, "Rate limits can't be checked at the moment.", 1)

    def _find(self, caller: Caller) -> _Rules:
        limits = [limit for limit in self._limits if limit.key == "endpoint"]
        for measure in ("calls", "tokens"):
            own, shared, default = [], [], []
            for limit in self._limits:
                if limit.measure != measure:
                    continue
                if limit.key == "group" and limit.principal in caller.groups:
                    shared.append(limit)
                elif limit.key == "user" and not limit.principal:
                    key = f"{limit.counter.key}:{caller.name}"
                    default.append(limit._replace(counter=limit.counter._replace(key=key)))
                elif limit.key == "user" and limit.principal == caller.name:
                    own.append(limit)
            limits += own or shared or default
        rules = _Rules(
            tuple(limits),
            tuple(limit.counter for limit in limits),
            tuple(limit.counter for limit in limits if limit.measure == "tokens"),
            next((limit for limit in limits if limit.counter.limit < 1), None),
        )
        if len(self._rules) >= _CACHE_SIZE:
            self._rules.clear()
        self._rules[caller] = rules
        return rules


def _read(rows: Iterable[Mapping[str, Any]], endpoint: str) -> list[_Limit]:
    """The limits; where two count the same, the lower."""
    limits: dict[str, _Limit] = {}
    for row in rows:
        period = str(row["renewal_period"])
        principal = str(row.get("principal") or "")
        key: Literal["endpoint", "user", "group"]
        match row.get("key") or "endpoint":
            case "endpoint":
                key, principal = "endpoint", ""
            case "user":
                key = "user"
            case "service_principal":
                key = "user"
            case "user_group":
                key = "group"
            case other:
                raise ValueError(f"there is no rate limit by {other}")
        measures: tuple[Measure, ...] = ("calls", "tokens")
        for measure in measures:
            if (amount := row.get(measure)) is None:
                continue
            # in braces: a Redis cluster keeps an endpoint's keys together. Names come last: they may hold
            # anything
            sort = "each" if key == "user" and not principal else key
            name = f"lac:{{{endpoint}}}:{measure}:{period}:{sort}" + (f":{principal}" if principal else "")
            counter = Counter(name, int(amount), SECONDS[period], 1 if measure == "calls" else 0)
            limit = _Limit(counter, key, principal, measure, period)
            if name not in limits or limits[name].counter.limit > counter.limit:
                limits[name] = limit
    return list(limits.values())
