"""Counters of calls and tokens, each with a window of time: in memory, in Redis, or in a SQL database.

A window begins with the first call that counts, and ends after its seconds; then the counter starts at zero.
`take` is all or nothing: a call that one counter has no room for leaves the others as they are. In a shared
store every step is one atomic script or transaction by the store's own clock, so any number of processes
together never allow more than one would.

The package `limits` finds and speaks to Redis (Sentinel, Cluster and Valkey too). Its in-memory storage isn't
used: it looks through all keys every 10 ms, which costs a request 90 µs with 1,000 users and 800 µs with
10,000; and none of its strategies takes from several counters at once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

PATIENCE = 0.5
"""The longest time in seconds that a request waits for a shared store."""
PAUSE = 1.0
"""Seconds from a store's failure to the next attempt; requests don't wait for it."""

# seconds between two looks for counters that are over
_SWEEP = 60.0


class Counter(NamedTuple):
    """A limit on one count. `cost`: what a call adds when it is allowed, 1, or 0 where tokens are added
    later; then a call is allowed as long as the count is below the limit. `limit` is 1 or more."""

    key: str
    limit: int
    seconds: int
    cost: int


class Grant(NamedTuple):
    """How many calls of those that asked are allowed. Where it isn't all: which counter has no room for the
    next (its index), and the seconds until it starts anew; of several the one that takes longest."""

    calls: int
    full: int = -1
    wait: float = 0.0


class Group(NamedTuple):
    """Calls at one time that the same counters count."""

    counters: tuple[Counter, ...]
    calls: int


class Charge(NamedTuple):
    """An amount to add to a count, whatever its limit."""

    counter: Counter
    amount: int


def share(group: Group, counts: Sequence[tuple[int, float]]) -> Grant:
    """What a group gets. `counts`: for each counter what was used, and the seconds left of its window."""
    calls = group.calls
    rooms = []
    for counter, (used, _) in zip(group.counters, counts, strict=True):
        room = counter.limit - used
        if not counter.cost and room > 0:
            room = group.calls
        rooms.append(room)
        calls = min(calls, max(room, 0))
    if calls == group.calls:
        return Grant(calls)
    wait, full = max((counts[i][1], i) for i, room in enumerate(rooms) if room <= calls)
    return Grant(calls, full, wait)


class Memory:
    """The counters of one process, for use on its event loop."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        # what was used, and the end of the window
        self._counts: dict[str, tuple[int, float]] = {}
        self._sweep = clock() + _SWEEP

    async def take(self, counters: tuple[Counter, ...]) -> Grant:
        """Allow one call, or none."""
        now = self._clock()
        counts = self._counts
        for counter in counters:
            used, until = counts.get(counter.key) or (0, 0.0)
            if used >= counter.limit and until > now:
                left = [self._read(c, now) for c in counters]
                return share(Group(counters, 1), left)
        for key, _, seconds, cost in counters:
            if cost:
                used, until = counts.get(key) or (0, 0.0)
                counts[key] = (used + 1, until) if until > now else (1, now + seconds)
        if now > self._sweep:
            self._forget(now)
        return Grant(1)

    def charge(self, charges: Iterable[Charge]) -> bool:
        """Add amounts, whatever the limits."""
        now = self._clock()
        for (key, _, seconds, _), amount in charges:
            used, until = self._counts.get(key) or (0, 0.0)
            self._counts[key] = (used + amount, until) if until > now else (amount, now + seconds)
        return True

    async def open(self) -> None:
        """Nothing to open."""

    async def close(self) -> None:
        """Nothing to close."""

    def _read(self, counter: Counter, now: float) -> tuple[int, float]:
        used, until = self._counts.get(counter.key) or (0, 0.0)
        return (used, until - now) if until > now else (0, counter.seconds)

    def _forget(self, now: float) -> None:
        self._sweep = now + _SWEEP
        self._counts = {key: count for key, count in self._counts.items() if count[1] > now}


class Store(Protocol):
    """A place that several processes share. Its calls block, and raise where it can't be reached."""

    def count(self, groups: Sequence[Group], charges: Sequence[Charge]) -> list[Grant]:
        """Add the charges, then give each group what it gets; in one step."""
        ...

    def close(self) -> None:
        """Close its connections."""
        ...


class Shared:
    """Counters in a store, for use on an event loop. `find_url` says where it is, whenever it is opened; what
    it raises counts as a store that is away.

    Calls that arrive while the store is busy wait, and go to it together: under load a request costs a
    part of a round trip. A request waits at most `PATIENCE`, and not at all while the store is known to be
    away: it is tried again beside the requests.
    """

    def __init__(
        self, find_url: Callable[[], Awaitable[str]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._find_url = find_url
        self._clock = clock
        self._store: Store | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="lac-limits")
        self._work: Future[list[Grant]] | None = None
        self._finding: asyncio.Future[str] | None = None
        self._calls: dict[tuple[Counter, ...], list[asyncio.Future[Grant | None]]] = {}
        self._charges: dict[Counter, int] = {}
        self._sender: asyncio.Task[None] | None = None
        self._has_packages = False
        self._away = False
        self._retry = 0.0
        self.error: Exception | None = None
        """What was wrong with the store the last time it was away."""

    async def take(self, counters: tuple[Counter, ...]) -> Grant | None:
        """Allow one call, or none; None while the store is away."""
        if self._away:
            self._probe()
            return None
        future: asyncio.Future[Grant | None] = asyncio.get_running_loop().create_future()
        self._calls.setdefault(counters, []).append(future)
        self._send()
        return await future

    def charge(self, charges: Iterable[Charge]) -> bool:
        """Add amounts, whatever the limits; before any call that comes later. It doesn't wait for the store,
        and says False while that is away."""
        if self._away:
            self._probe()
            return False
        for counter, amount in charges:
            self._charges[counter] = self._charges.get(counter, 0) + amount
        self._send()
        return True

    async def open(self) -> None:
        """Connect, however long it takes: otherwise the first requests, which are less patient, would find
        the store away. Where it is, it is tried again beside the requests."""
        while True:
            self._send()
            assert self._sender is not None
            await asyncio.wait([self._sender])
            slow: list[asyncio.Future[Any]] = [self._finding] if self._finding else []
            if self._work is not None and not self._work.done():
                slow.append(asyncio.wrap_future(self._work))
            if not self._away or not slow:
                return
            await asyncio.gather(*(asyncio.shield(future) for future in slow), return_exceptions=True)

    async def close(self) -> None:
        """End the connections, once what waits has been counted. For the end: nothing is counted after it."""
        if self._sender is not None:
            await asyncio.wait([self._sender])
        self._thread.submit(self._close)
        self._thread.shutdown(wait=False)

    def _send(self) -> None:
        if self._sender is None or self._sender.done():
            self._sender = asyncio.ensure_future(self._send_all())

    def _probe(self) -> None:
        """Look whether the store is back, beside the requests."""
        if self._clock() < self._retry or (self._work and not self._work.done()):
            return
        self._retry = self._clock() + PAUSE
        self._send()

    async def _send_all(self) -> None:
        """Send what waits until nothing does; at least once, for a probe."""
        while True:
            calls, self._calls = self._calls, {}
            charges, self._charges = self._charges, {}
            groups = [Group(counters, len(futures)) for counters, futures in calls.items()]
            grants: list[Grant] = []
            try:
                url = "" if self._store else await self._find()
                if url and not self._has_packages:
                    # not the store's time: they take most of a second on a busy machine
                    await asyncio.wrap_future(self._thread.submit(_import_packages, url))
                    self._has_packages = True
                async with asyncio.timeout(PATIENCE):
                    self._work = self._thread.submit(
                        self._count, url, groups, [Charge(*charge) for charge in charges.items()]
                    )
                    grants = await asyncio.wrap_future(self._work)
                self._away = False
            except Exception as e:
                self._away, self._retry, self.error = True, self._clock() + PAUSE, e
                for futures in [*calls.values(), *self._calls.values()]:
                    _answer(futures, None)
                self._calls, self._charges = {}, {}
            for futures, grant in zip(calls.values(), grants, strict=False):
                _answer(futures, grant)
            if not self._calls and not self._charges:
                return

    async def _find(self) -> str:
        """Where the store is. A command that says it may take longer than a request waits: it isn't begun
        anew each time."""
        finding = self._finding = self._finding or asyncio.ensure_future(self._find_url())
        try:
            async with asyncio.timeout(PATIENCE):
                return await asyncio.shield(finding)
        finally:
            if finding.done():
                self._finding = None

    def _count(self, url: str, groups: Sequence[Group], charges: Sequence[Charge]) -> list[Grant]:
        try:
            self._store = self._store or open_store(url)
            return self._store.count(groups, charges)
        except Exception:
            # opened anew: a password may have been rotated, an address moved
            self._close()
            raise

    def _close(self) -> None:
        store, self._store = self._store, None
        if store:
            store.close()


# KEYS: the counters'. ARGV[1]: charges, each {key, seconds, amount}. ARGV[2]: groups, each {calls, counters},
# a counter {key, limit, seconds, cost}; keys by their number. Returns {calls, full, milliseconds} for each.
_SCRIPT = """
local function add(key, seconds, amount)
    if redis.call('INCRBY', key, amount) == amount then
        redis.call('EXPIRE', key, seconds)
    end
end
for _, charge in ipairs(cjson.decode(ARGV[1])) do
    add(KEYS[charge[1]], charge[2], charge[3])
end
local grants = {}
for _, group in ipairs(cjson.decode(ARGV[2])) do
    local calls, rooms, full, wait = group[1], {}, -1, -1
    for i, counter in ipairs(group[2]) do
        rooms[i] = counter[2] - tonumber(redis.call('GET', KEYS[counter[1]]) or 0)
        if counter[4] == 0 and rooms[i] > 0 then rooms[i] = group[1] end
        calls = math.min(calls, math.max(rooms[i], 0))
    end
    for i, counter in ipairs(group[2]) do
        if calls > 0 and counter[4] > 0 then add(KEYS[counter[1]], counter[3], calls) end
    end
    if calls < group[1] then
        for i, counter in ipairs(group[2]) do
            local left = redis.call('PTTL', KEYS[counter[1]])
            if rooms[i] <= calls and left > wait then full, wait = i - 1, left end
        end
    end
    table.insert(grants, {calls, full, wait})
end
return grants
"""


def _answer(futures: Iterable[asyncio.Future[Grant | None]], grant: Grant | None) -> None:
    """Each its own part of what a group gets; None for all while the store is away."""
    for place, future in enumerate(futures):
        if not future.done():
            future.set_result(grant and grant._replace(calls=1 if place < grant.calls else 0))


class Redis:
    """Counters in Redis or Valkey: a key each, which expires with its window.

    `url`: `redis://`, `rediss://`, `redis+unix://`, `redis+sentinel://`, `redis+cluster://`, and the same of
    `valkey`. The keys of one endpoint lie in one slot of a cluster.
    """

    def __init__(self, url: str) -> None:
        from limits.storage import storage_from_string

        package = _client_package(url)
        retry = import_module(f"{package}.retry").Retry
        back_off = import_module(f"{package}.backoff").NoBackoff
        storage: Any = storage_from_string(
            url,
            socket_connect_timeout=PATIENCE,
            socket_timeout=PATIENCE,
            # once: what is away is tried again beside the requests, and nothing is counted twice
            retry=retry(back_off(), 0),
        )
        self._client = storage.get_connection()
        self._script = self._client.register_script(_SCRIPT)

    def count(self, groups: Sequence[Group], charges: Sequence[Charge]) -> list[Grant]:
        """One script, which Redis runs alone."""
        import orjson

        numbers: dict[str, int] = {}

        def number(counter: Counter) -> int:
            return numbers.setdefault(counter.key, len(numbers) + 1)

        added = [[number(counter), counter.seconds, amount] for counter, amount in charges]
        wanted = [[g.calls, [[number(c), *c[1:]] for c in g.counters]] for g in groups]
        if not numbers:
            self._client.ping()
            return []
        replies = self._script(keys=[*numbers], args=[orjson.dumps(added), orjson.dumps(wanted)])
        return [Grant(calls, full, max(wait, 0) / 1000) for calls, full, wait in replies]

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


_TABLE = """
CREATE TABLE IF NOT EXISTS lac_rate_limits (
    counter VARCHAR(1000) NOT NULL PRIMARY KEY,
    used BIGINT NOT NULL,
    ends DOUBLE PRECISION NOT NULL
)
"""


class Database:
    """Counters in a table `lac_rate_limits` of PostgreSQL or SQLite: a row each, which is locked while its
    calls are counted. The table is made where it is missing. `url`: SQLAlchemy's."""

    def __init__(self, url: str) -> None:
        from sqlalchemy import create_engine, make_url

        address = make_url(url)
        self._dialect = address.get_backend_name()
        if self._dialect not in {"postgresql", "sqlite"}:
            raise ValueError("Rate limits are counted in Redis, Valkey, PostgreSQL or SQLite.")
        options: dict[str, Any] = {"timeout": PATIENCE}
        if self._dialect == "postgresql":
            options = {"connect_timeout": 2}
            if address.get_driver_name() == "psycopg":
                # a pooler such as PgBouncer hands each transaction to another session
                options["prepare_threshold"] = None
        self._engine: Engine = create_engine(address, pool_size=1, connect_args=options)
        self._sweep = time.monotonic()
        self._has_table = False

    def count(self, groups: Sequence[Group], charges: Sequence[Charge]) -> list[Grant]:
        """One transaction."""
        from sqlalchemy import text

        if not self._has_table:
            self._make_table()
        counters = {c.key: c for g in groups for c in g.counters} | {c.key: c for c, _ in charges}
        with self._engine.begin() as db:
            now = self._begin(db)
            counts = _lock(db, counters, now) if counters else {}
            added: dict[str, int] = {}

            def add(key: str, amount: int) -> None:
                added[key] = added.get(key, 0) + amount
                counts[key] = (counts[key][0] + amount, counts[key][1])

            for counter, amount in charges:
                add(counter.key, amount)
            grants = []
            for group in groups:
                grants.append(grant := share(group, [counts[c.key] for c in group.counters]))
                for counter in group.counters:
                    add(counter.key, grant.calls * counter.cost)
            if changes := [{"counter": key, "amount": amount} for key, amount in added.items() if amount]:
                db.execute(
                    text("UPDATE lac_rate_limits SET used = used + :amount WHERE counter = :counter"), changes
                )
            if time.monotonic() > self._sweep:
                self._forget(db, now)
        return grants

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()

    def _make_table(self) -> None:
        from sqlalchemy import text
        from sqlalchemy.exc import SQLAlchemyError

        try:
            with self._engine.begin() as db:
                db.execute(text(_TABLE))
        except SQLAlchemyError:
            # another process made it at the same time, or this user may not and it is there
            with self._engine.begin() as db:
                db.execute(text("SELECT counter, used, ends FROM lac_rate_limits LIMIT 1"))
        self._has_table = True

    def _begin(self, db: Connection) -> float:
        """The time in seconds, by one clock for all. Settings are those of the transaction alone."""
        from sqlalchemy import text

        if self._dialect == "sqlite":
            return time.time()
        # a crash of the server may lose the last counts, and no commit waits for its disk
        settings = {"patience": f"{int(PATIENCE * 1000)}ms"}
        statement = (
            "SELECT CAST(extract(epoch FROM clock_timestamp()) AS DOUBLE PRECISION),"
            " set_config('synchronous_commit', 'off', true),"
            " set_config('statement_timeout', :patience, true)"
        )
        return float(db.execute(text(statement), settings).scalar_one())

    def _forget(self, db: Connection, now: float) -> None:
        """Remove the rows of windows that are over, but for those that others are counting on."""
        from sqlalchemy import text

        self._sweep = time.monotonic() + _SWEEP
        free = " FOR UPDATE SKIP LOCKED" if self._dialect == "postgresql" else ""
        over = f"SELECT counter FROM lac_rate_limits WHERE ends < :now{free}"
        db.execute(text(f"DELETE FROM lac_rate_limits WHERE counter IN ({over})"), {"now": now})


def _lock(db: Connection, counters: Mapping[str, Counter], now: float) -> dict[str, tuple[int, float]]:
    """What was used of each counter, and the seconds left; nobody else counts them until the commit."""
    from sqlalchemy import text

    values: list[str] = []
    parameters: dict[str, Any] = {"now": now}
    # in one order everywhere: two processes never wait for each other
    for index, key in enumerate(sorted(counters)):
        values.append(f"(:counter{index}, 0, :ends{index})")
        parameters |= {f"counter{index}": key, f"ends{index}": now + counters[key].seconds}
    rows = db.execute(
        text(
            f"INSERT INTO lac_rate_limits AS known (counter, used, ends) VALUES {', '.join(values)}"
            " ON CONFLICT (counter) DO UPDATE SET"
            " used = CASE WHEN known.ends <= :now THEN 0 ELSE known.used END,"
            " ends = CASE WHEN known.ends <= :now THEN excluded.ends ELSE known.ends END"
            " RETURNING counter, used, ends"
        ),
        parameters,
    )
    return {key: (used, ends - now) for key, used, ends in rows}


def open_store(url: str) -> Store:
    """The store at a URL. ValueError for an unsupported scheme, ImportError if its package is missing."""
    return Redis(url) if _is_redis(url) else Database(url)


def _is_redis(url: str) -> bool:
    return url.startswith(("redis", "valkey"))


def _client_package(url: str) -> str:
    return "valkey" if url.startswith("valkey") else "redis"


def _import_packages(url: str) -> None:
    if _is_redis(url):
        for name in ("limits.storage", "orjson", _client_package(url)):
            import_module(name)
    else:
        from sqlalchemy import make_url

        make_url(url).get_dialect().import_dbapi()
