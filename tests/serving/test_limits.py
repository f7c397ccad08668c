"""Rate limits: who counts where, and that no window ever allows more than its limit, on any store."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from support.mlflow_fixture import fresh_postgres
from support.redis_server import PASSWORD, RedisServer, free_port, running_redis

from lifecycle_as_code.serving.caller import ANONYMOUS, Caller
from lifecycle_as_code.serving.counters import PATIENCE, PAUSE, Charge, Counter, Database, Group, open_store
from lifecycle_as_code.serving.limits import Limits
from lifecycle_as_code.serving.references import Secrets

ANN, BEN = Caller("ann", frozenset({"analysts"})), Caller("ben", frozenset({"analysts", "guests"}))
CAT = Caller("cat")


class Clock:
    """A time that passes when it is told to."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with running_redis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(params=["memory", "redis", "postgresql", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return address(request, tmp_path)


def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    match request.param:
        case "redis":
            server: RedisServer = request.getfixturevalue("redis")
            server.send("FLUSHALL")
            return server.url
        case "postgresql":
            return fresh_postgres()
        case "sqlite":
            return f"sqlite:///{tmp_path / 'limits.db'}"
    return ""


def row(amount: int, period: str = "minute", measure: str = "calls", **more: str) -> dict[str, Any]:
    return {measure: amount, "renewal_period": period, **more}


def make(*rows: dict[str, Any], store: str = "", clock: Callable[[], float] = time.monotonic, **more: Any):  # type: ignore[no-untyped-def]  # the class's own
    return Limits({"rate_limits": rows, "store": store, **more}, "chat", clock=clock)


async def count(limits: Limits, caller: Caller, times: int) -> int:
    """How many of the calls are allowed, one after the other."""
    return sum([await limits.take(caller) is None for _ in range(times)])


# --- who counts where


def test_an_endpoints_limit_counts_all_callers_together(store: str) -> None:
    async def play() -> list[int]:
        limits = make(row(5), store=store)
        return [await count(limits, ANN, 3), await count(limits, BEN, 3), await count(limits, CAT, 3)]

    assert asyncio.run(play()) == [3, 2, 0]


def test_a_users_default_counts_each_user_alone(store: str) -> None:
    async def play() -> list[int]:
        limits = make(row(2, key="user"), store=store)
        return [await count(limits, caller, 4) for caller in (ANN, BEN, ANONYMOUS, ANONYMOUS)]

    assert asyncio.run(play()) == [2, 2, 2, 0]


@pytest.mark.parametrize("key", ["user", "service_principal"])
def test_a_users_own_limit_counts_instead_of_the_default_and_of_groups(key: str) -> None:
    async def play() -> list[int]:
        limits = make(
            row(2, key="user"),
            row(4, key=key, principal="ann"),
            row(1, key="user_group", principal="analysts"),
        )
        return [await count(limits, ANN, 6), await count(limits, CAT, 6), await count(limits, BEN, 6)]

    assert asyncio.run(play()) == [4, 2, 1]


def test_a_groups_members_share_its_limit_which_counts_instead_of_the_default(store: str) -> None:
    async def play() -> list[int]:
        limits = make(row(2, key="user"), row(5, key="user_group", principal="analysts"), store=store)
        return [await count(limits, ANN, 3), await count(limits, BEN, 3), await count(limits, CAT, 3)]

    assert asyncio.run(play()) == [3, 2, 2]


def test_who_is_in_two_groups_may_exceed_neither() -> None:
    async def play() -> list[int]:
        limits = make(
            row(5, key="user_group", principal="analysts"), row(2, key="user_group", principal="guests")
        )
        return [await count(limits, BEN, 4), await count(limits, ANN, 4)]

    assert asyncio.run(play()) == [2, 3]


def test_a_limit_of_ones_own_on_tokens_leaves_the_default_on_calls() -> None:
    async def play() -> int:
        limits = make(row(2, key="user"), row(100, measure="tokens", key="user", principal="ann"))
        return await count(limits, ANN, 4)

    assert asyncio.run(play()) == 2


def test_no_calls_means_nobody_and_leaves_the_others_alone() -> None:
    async def play() -> list[int]:
        limits = make(row(3), row(0, key="user", principal="ann"))
        return [await count(limits, ANN, 3), await count(limits, CAT, 3)]

    assert asyncio.run(play()) == [0, 3]


def test_a_refused_call_uses_up_no_other_limit(store: str) -> None:
    async def play() -> list[int]:
        limits = make(row(4), row(1, key="user"), store=store)
        return [await count(limits, caller, 4) for caller in (ANN, BEN, CAT, ANONYMOUS, Caller("dan"))]

    assert asyncio.run(play()) == [1, 1, 1, 1, 0]


def test_a_name_that_looks_like_another_key_counts_apart() -> None:
    async def play() -> list[int]:
        limits = make(row(1, key="user"), row(1, key="user_group", principal="a:b"))
        callers = [Caller("a:b"), Caller("b", frozenset({"a:b"})), Caller("a"), Caller("")]
        return [await count(limits, caller, 2) for caller in callers]

    assert asyncio.run(play()) == [1, 1, 1, 1]


# --- windows


@pytest.mark.parametrize(("period", "seconds"), [("minute", 60), ("hour", 3600), ("day", 86400)])
def test_a_window_starts_anew_when_its_time_is_over(period: str, seconds: int) -> None:
    async def play() -> None:
        clock = Clock()
        limits = make(row(2, period), clock=clock)
        assert await count(limits, ANN, 3) == 2
        clock.now += seconds - 10
        refusal = await limits.take(ANN)
        assert refusal
        assert (refusal.status, refusal.retry_after) == (429, 10)
        assert refusal.message == f"Rate limit exceeded: 2 calls per {period}."
        clock.now += 10
        assert await count(limits, ANN, 3) == 2

    asyncio.run(play())


def test_a_stores_window_ends_by_itself(redis: RedisServer, tmp_path: Path) -> None:
    group = Group((Counter("short", 2, 1, 1),), 3)
    urls = [redis.url, fresh_postgres(), f"sqlite:///{tmp_path / 'limits.db'}"]
    stores = [open_store(url) for url in urls]
    assert [store.count([group, group], [])[1].calls for store in stores] == [0, 0, 0]
    end = time.monotonic() + 10
    again = [0, 0, 0]
    while not all(again) and time.monotonic() < end:
        time.sleep(0.05)
        again = [
            calls or store.count([group], [])[0].calls for calls, store in zip(again, stores, strict=True)
        ]
    assert again == [2, 2, 2]


def test_the_time_to_wait_is_that_of_the_limit_which_takes_longest(store: str) -> None:
    async def play() -> None:
        limits = make(row(1, "hour"), row(1, "minute"), store=store)
        assert await limits.take(ANN) is None
        refusal = await limits.take(ANN)
        assert refusal
        assert 3590 < refusal.retry_after <= 3600
        assert refusal.message == "Rate limit exceeded: 1 call per hour."

    asyncio.run(play())


def test_memory_forgets_the_windows_that_are_over() -> None:
    async def play() -> int:
        clock = Clock()
        limits = make(row(2, key="user"), clock=clock)
        for number in range(100):
            await limits.take(Caller(f"user {number}"))
        clock.now += 120
        await limits.take(ANN)
        return len(limits._counters._counts)

    assert asyncio.run(play()) == 1


# --- tokens


def test_tokens_are_refused_once_they_are_used_up(store: str) -> None:
    async def play() -> None:
        limits = make(row(100, measure="tokens", key="user"), store=store)
        assert await limits.take(ANN) is None
        limits.charge(ANN, 99)
        assert await limits.take(ANN) is None
        limits.charge(ANN, 30)
        refusal = await limits.take(ANN)
        assert refusal
        assert (refusal.status, refusal.message) == (
            429,
            "Rate limit exceeded: 100 tokens per minute for each user.",
        )
        assert 50 < refusal.retry_after <= 60
        assert await limits.take(CAT) is None

    asyncio.run(play())


def test_calls_that_come_together_all_start_on_what_is_left_of_a_budget(store: str) -> None:
    async def play() -> list[bool]:
        limits = make(row(5, measure="tokens"), store=store)
        return [answer is None for answer in await asyncio.gather(*(limits.take(ANN) for _ in range(8)))]

    assert asyncio.run(play()) == [True] * 8


def test_a_budget_of_tokens_that_is_used_up_costs_no_calls(store: str) -> None:
    async def play() -> int:
        limits = make(row(3), row(10, measure="tokens", key="user"), store=store)
        assert await count(limits, ANN, 1) == 1
        limits.charge(ANN, 10)
        assert await count(limits, ANN, 5) == 0
        return await count(limits, CAT, 5)

    assert asyncio.run(play()) == 2


@pytest.mark.parametrize("key", ["user", "endpoint"])
def test_a_refusal_names_the_limit_that_is_used_up_beside_one_of_tokens(store: str, key: str) -> None:
    async def play() -> None:
        rows = [row(1, key="user"), row(100, measure="tokens", period="day", key=key)]
        limits = make(*rows, store=store)
        assert await limits.take(ANN) is None
        refusal = await limits.take(ANN)
        assert refusal
        assert refusal.message == "Rate limit exceeded: 1 call per minute for each user."
        assert refusal.retry_after <= 60

    asyncio.run(play())


# --- exactness


def test_thirty_two_connections_get_exactly_the_limit(store: str) -> None:
    async def play() -> list[int]:
        limits = make(row(100), row(150, key="user"), store=store)
        parts = await asyncio.gather(*(count(limits, ANN if n % 2 else CAT, 10) for n in range(32)))
        return [sum(parts), limits.refused]

    assert asyncio.run(play()) == [100, 220]


_FRONT = """
import asyncio, json, sys
from lifecycle_as_code.serving.caller import Caller
from lifecycle_as_code.serving.limits import Limits

async def call(limits, caller):
    while (refusal := await limits.take(caller)) and refusal.status == 503:
        await asyncio.sleep(0.1)
    return refusal is None

async def connection(limits, number):
    return sum([await call(limits, Caller(f"user {number % 4}")) for _ in range(20)])

async def main():
    limits = Limits(json.loads(sys.argv[1]), "chat")
    print("ready", flush=True)
    sys.stdin.readline()
    print(sum(await asyncio.gather(*(connection(limits, number) for number in range(32)))))
    await limits.close()

asyncio.run(main())
"""


@pytest.mark.parametrize("store", ["redis", "postgresql"], indirect=True)
def test_three_fronts_together_allow_exactly_the_limit(store: str) -> None:
    rows = [row(200), row(120, key="user"), row(9, measure="tokens")]
    settings = json.dumps({"rate_limits": rows, "store": store, "failure_mode": "closed"})
    fronts = [
        subprocess.Popen(
            [sys.executable, "-c", _FRONT, settings],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    for front in fronts:
        assert front.stdout
        assert front.stdout.readline() == "ready\n"
    for front in fronts:
        assert front.stdin
        front.stdin.write("\n")
        front.stdin.flush()
    assert sum(int(front.communicate()[0]) for front in fronts) == 200


def test_a_client_that_leaves_while_it_waits_takes_no_other_clients_answer(redis: RedisServer) -> None:
    redis.send("FLUSHALL")

    async def play() -> list[bool]:
        limits = make(row(10), store=redis.url)
        calls = [asyncio.ensure_future(limits.take(ANN)) for _ in range(8)]
        await asyncio.sleep(0)
        calls[0].cancel()
        answers = await asyncio.gather(*calls, return_exceptions=True)
        return [answer is None for answer in answers]

    assert asyncio.run(play()) == [False, *[True] * 7]


def test_the_keys_of_an_endpoint_lie_in_one_slot_of_a_cluster(tmp_path: Path) -> None:
    async def play(url: str) -> int:
        limits = make(row(3), row(2, key="user"), row(5, measure="tokens"), store=url, failure_mode="closed")
        return await count(limits, ANN, 3)

    with running_redis(tmp_path, "--cluster-enabled", "yes", "--cluster-port", str(free_port())) as server:
        server.send("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
        end = time.monotonic() + 30
        while b"cluster_state:ok" not in server.send("CLUSTER", "INFO") and time.monotonic() < end:
            time.sleep(0.05)
        assert asyncio.run(play(server.url.replace("redis://", "redis+cluster://"))) == 2


@pytest.mark.parametrize("store", ["redis", "sqlite"], indirect=True)
def test_limits_that_close_count_what_waits(store: str) -> None:
    async def play() -> tuple[list[bool], int]:
        settings: dict[str, Any] = {"store": store, "failure_mode": "closed"}
        limits = make(row(9), row(100, measure="tokens"), **settings)
        await limits.take(ANN)
        calls = [asyncio.ensure_future(limits.take(ANN)) for _ in range(4)]
        await asyncio.sleep(0)
        # these wait for the ones on their way
        calls += [asyncio.ensure_future(limits.take(ANN)) for _ in range(2)]
        await asyncio.sleep(0)
        limits.charge(ANN, 99)
        await limits.close()
        allowed = [await call is None for call in calls]
        successor = make(row(9), row(100, measure="tokens"), **settings)
        return allowed, await count(successor, ANN, 9)

    assert asyncio.run(play()) == ([True] * 6, 2)


@pytest.mark.parametrize("opens", [True, False])
def test_a_command_for_a_password_may_take_longer_than_a_request_waits(opens: bool, tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    script = f"echo x >> {begun}; sleep {PATIENCE * 1.5}; echo {tmp_path}/limits.db"
    secrets = Secrets({"limits/path": {"command": ["sh", "-c", script]}})
    settings = {
        "rate_limits": [row(2)],
        "store": "sqlite:///{{secrets/limits/path}}",
        "failure_mode": "closed",
    }

    async def play() -> int:
        limits = Limits(settings, "chat", secrets)
        if opens:
            # as a replica does it before its first request
            await limits.open()
        else:
            assert await count(limits, ANN, 1) == 0
            await asyncio.sleep(PAUSE)
            # a request is what asks for the next try
            await limits.take(ANN)
            assert limits._shared
            while limits._shared._away:
                await asyncio.sleep(0.01)
        return await count(limits, ANN, 3)

    assert asyncio.run(asyncio.wait_for(play(), 30)) == 2
    assert begun.read_text() == "x\n"


# --- a store that is away


@pytest.fixture
def lone(tmp_path: Path) -> Iterator[RedisServer]:
    """A server that a test stops."""
    with running_redis(tmp_path) as server:
        yield server


@pytest.mark.parametrize("mode", ["open", "closed"])
def test_a_store_that_goes_away_and_comes_back(
    mode: str, lone: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    async def play() -> None:
        clock = Clock()
        limits = make(row(2), store=lone.url, failure_mode=mode, clock=clock)
        assert await count(limits, ANN, 3) == 2
        lone.stop()
        for _ in range(5):
            refusal = await limits.take(ANN)
            if mode == "open":
                assert refusal is None
            else:
                assert refusal == (503, "Rate limits can't be checked at the moment.", 1)
        limits.charge(ANN, 5)
        assert limits.uncounted == (5 if mode == "open" else 0)
        lone.start()
        end = time.monotonic() + 10
        while limits._shared and limits._shared._away and time.monotonic() < end:
            clock.now += 2
            await limits.take(ANN)
            await asyncio.sleep(0.02)
        # a server that kept nothing has a new window
        assert await count(limits, ANN, 3) == 2
        await limits.close()

    asyncio.run(play())
    warnings = [r.getMessage() for r in caplog.records if r.name.startswith("lifecycle")]
    assert len(warnings) == 1
    assert warnings[0].startswith(
        "Endpoint chat can't reach the store of its rate limits (ConnectionError): re"
    )
    assert PASSWORD not in caplog.text


def test_while_a_store_is_away_one_warning_a_minute_says_how_many_went_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def play() -> None:
        clock = Clock()
        limits = make(row(2), store=f"redis://:{PASSWORD}@127.0.0.1:1", clock=clock)
        for _ in range(120):
            await limits.take(ANN)
            clock.now += 1

    asyncio.run(play())
    texts = [record.getMessage() for record in caplog.records]
    assert [line.rpartition(": ")[2] for line in texts] == [
        "requests go on; 1 were not counted so far",
        "requests go on; 61 were not counted so far",
    ]
    assert PASSWORD not in caplog.text


def test_a_connection_that_was_closed_while_it_was_idle_is_made_anew(lone: RedisServer) -> None:
    async def play() -> list[int]:
        limits = make(row(2), store=lone.url, failure_mode="closed")
        allowed = await count(limits, ANN, 1)
        lone.send("CLIENT", "KILL", "TYPE", "normal")
        return [allowed, await count(limits, ANN, 2)]

    assert asyncio.run(play()) == [1, 1]


def test_calls_that_come_while_the_store_hangs_are_answered_with_those_that_wait(lone: RedisServer) -> None:
    async def play() -> list[Any]:
        limits = make(row(2), store=lone.url, failure_mode="open")
        await limits.take(ANN)
        lone.send("CLIENT", "PAUSE", "20000")
        first = asyncio.ensure_future(limits.take(ANN))
        await asyncio.sleep(0.1)
        second = asyncio.ensure_future(limits.take(BEN))
        done, _ = await asyncio.wait([first, second], return_when=asyncio.FIRST_COMPLETED)
        await asyncio.sleep(0)
        return [len(done), second.done(), limits.uncounted]

    assert asyncio.run(play()) == [2, True, 2]


def test_a_store_that_hangs_costs_the_first_request_half_a_second_and_the_others_nothing(
    lone: RedisServer,
) -> None:
    async def play() -> list[int]:
        limits = make(row(2), store=lone.url, failure_mode="open")
        await limits.take(ANN)
        # it takes connections and answers nobody
        lone.send("CLIENT", "PAUSE", "20000")
        await asyncio.gather(*(limits.take(ANN) for _ in range(40)))
        turns = 0

        async def spin() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        spinner = asyncio.ensure_future(spin())
        assert await count(limits, ANN, 100) == 100
        spinner.cancel()
        return [limits.uncounted, turns]

    assert asyncio.run(play()) == [140, 0]


SECRET_URLS = [
    f"redis://:{PASSWORD}@[::1",
    f"nothing://:{PASSWORD}@localhost",
    f"mysql://root:{PASSWORD}@localhost/x",
    f"postgresql+psycopg://u:{PASSWORD}@127.0.0.1:1/x",
    f"redis+sentinel://:{PASSWORD}@127.0.0.1:1/main",
    f"redis+cluster://:{PASSWORD}@127.0.0.1:1",
    "redis://:{{ env.ABSENT }}@localhost",
    "sqlite:////nowhere/limits.db",
]


@pytest.mark.parametrize("url", SECRET_URLS)
def test_a_store_that_can_not_be_used_is_away_and_no_log_has_its_password(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    limits = make(row(2), store=url, failure_mode="closed")
    refusal = asyncio.run(limits.take(ANN))
    assert refusal
    assert refusal.status == 503
    assert PASSWORD not in caplog.text + repr(refusal)
    assert "Endpoint chat can't reach the store of its rate limits" in caplog.text


def test_the_stores_address_may_hold_references(redis: RedisServer) -> None:
    redis.send("FLUSHALL")
    secrets = Secrets({"limits/redis": {"env": "REDIS"}}, {"REDIS": PASSWORD})
    url = redis.url.replace(PASSWORD, "{{secrets/limits/redis}}")
    limits = Limits({"rate_limits": [row(2)], "store": url}, "chat", secrets)
    assert asyncio.run(count(limits, ANN, 4)) == 2


def test_a_reference_that_can_not_be_resolved_is_named(caplog: pytest.LogCaptureFixture) -> None:
    limits = Limits(
        {"rate_limits": [row(2)], "store": "redis://:{{ env.ABSENT }}@localhost"}, "chat", Secrets({}, {})
    )
    assert asyncio.run(limits.take(ANN)) is None
    assert "(environment variable ABSENT is not set on this node)" in caplog.text


# --- the table


def test_the_tables_rows_go_with_their_windows(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'limits.db'}"
    store = Database(url)
    store.count(
        [Group((Counter("a", 5, 1, 1), Counter("b", 5, 1000, 1)), 1)], [Charge(Counter("c", 5, 1, 0), 3)]
    )
    with create_engine(url).begin() as db:
        db.execute(text("UPDATE lac_rate_limits SET ends = 5 WHERE counter IN ('a', 'c')"))
    store._sweep = 0.0
    store.count([Group((Counter("b", 5, 1000, 1),), 2)], [])
    with create_engine(url).begin() as db:
        assert db.execute(text("SELECT counter, used FROM lac_rate_limits")).all() == [("b", 3)]
