"""An endpoint before models at providers, on a real Ray: the `openai` client, access, limits, usage, faults.

The providers are loopback servers that speak each one's protocol.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from support.endpoint_users import ENDPOINT, PASSWORD, add_token, make_auth_database
from support.oidc import LoopbackIssuer, serving_issuer
from support.providers import ANSWER, CANARY, Provider, serve
from support.ray_fixture import RayForTests
from support.redis_server import running_redis

from lifecycle_as_code.kinds.base import Site
from lifecycle_as_code.kinds.serving_endpoint import ServingEndpoint, ServingEndpoints
from lifecycle_as_code.model.diagnostics import Diagnostic
from lifecycle_as_code.model.diff import diff
from lifecycle_as_code.model.plan import Action, Change
from lifecycle_as_code.model.spec import Address

pytestmark = pytest.mark.xdist_group("ray")

KIND = ServingEndpoints()
KEY = "{{secrets/provider/key}}"
MESSAGES: Any = [{"role": "user", "content": "Say hello."}]


@contextmanager
def running(kind: str, **more: Any) -> Iterator[Provider]:
    """One provider in a thread of its own, while the block runs."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    server = serve(kind, **more)
    try:
        yield asyncio.run_coroutine_threadsafe(server.__aenter__(), loop).result(10)
        asyncio.run_coroutine_threadsafe(server.__aexit__(None, None, None), loop).result(10)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@dataclass(frozen=True)
class House:
    """The session's Ray with two providers, an issuer, MLflow's users, and what a stack's settings say."""

    ray: RayForTests
    first: Provider
    second: Provider
    issuer: LoopbackIssuer
    directory: Path
    limits: str = ""
    """Where several replicas count, if not in a file."""

    @property
    def key_file(self) -> Path:
        return self.directory / "key"

    @property
    def auth_url(self) -> str:
        return f"sqlite:///{self.directory / 'auth.db'}"

    @property
    def usage(self) -> Path:
        return self.directory / "usage.db"

    @property
    def site(self) -> Site:
        return Site(
            "gateway",
            self.auth_url,
            secrets={"provider/key": {"file": str(self.key_file)}, "provider/none": {"env": "LAC_NOWHERE"}},
            usage_store=f"sqlite:///{self.usage}",
            rate_limit_store=self.limits or f"sqlite:///{self.directory / 'limits.db'}",
        )

    def proxy(self, name: str, provider: Provider, key: str = KEY, **options: Any) -> dict[str, Any]:
        model = provider.settings()
        block = next(value for field, value in model.items() if field.endswith("_config"))
        auth = block.get("bearer_token_auth", block)
        auth.update({field: key for field, value in auth.items() if value == "{{ env.PROVIDER_KEY }}"})
        return {"name": name, "external_model": model, **options}

    def apply(self, name: str, *entities: Mapping[str, Any], **options: Any) -> str | None:
        """As an apply does it; what went wrong."""
        shares = [100, *[0] * (len(entities) - 1)]
        routes = [
            {"served_entity_name": e["name"], "traffic_percentage": s}
            for e, s in zip(entities, shares, strict=True)
        ]
        written = ServingEndpoint.model_validate(
            {
                "name": name,
                "served_entities": tuple(entities),
                "traffic_config": {"routes": tuple(routes)},
                "auth": "none",
                **options,
            }
        )
        address = Address("serving_endpoint", (name,))
        live = KIND.observe(self.ray.cluster).objects.get(address)
        ((_, spec),) = KIND.settle(self.site, {address: written}, {address: live} if live else {})
        assert isinstance(spec, ServingEndpoint), spec
        change = Change(address, KIND.spec.store, Action.CREATE, "", live and live.spec, spec)
        if problem := self._roll_out(change):
            return problem
        found = KIND.observe(self.ray.cluster).objects[address]
        assert diff(found.spec, spec) == ()
        return None

    def remove(self, name: str) -> None:
        address = Address("serving_endpoint", (name,))
        live = KIND.observe(self.ray.cluster).objects[address]
        assert self._roll_out(Change(address, KIND.spec.store, Action.DELETE, "", live.spec, None)) is None

    def _roll_out(self, change: Change) -> str | None:
        phases = (KIND.warm_up, KIND.cut_over, KIND.retire) if change.after else (KIND.retire,)
        for phase in phases:
            (done,) = phase(self.ray.cluster, self.site, [change], lambda _: None)
            if isinstance(done.problem, Diagnostic):
                return done.problem.detail
        return None

    def client(self, name: str, key: str = "none") -> openai.OpenAI:
        return openai.OpenAI(base_url=self.ray.url(name, "v1"), api_key=key, max_retries=0, timeout=30)

    def pids(self, name: str) -> list[int]:
        deployments = self.ray.cluster.applications()[f"lac.{name}"].deployments.values()
        return [r.pid for d in deployments for r in d.replicas if r.state == "RUNNING" and r.pid]

    def rows(self, endpoint: str, table: str = "lac_usage") -> list[dict[str, Any]]:
        with sqlite3.connect(self.usage) as db:
            db.row_factory = sqlite3.Row
            query = f"SELECT * FROM {table} WHERE endpoint = ?"
            return [dict(row) for row in db.execute(query, (endpoint,))]


@pytest.fixture(scope="module")
def house(ray: RayForTests, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    directory = tmp_path_factory.mktemp("gateway")
    make_auth_database(directory / "auth.db")
    with running("openai") as first, running("custom") as second, serving_issuer() as issuer:
        (directory / "key").write_text(CANARY)
        yield House(ray, first, second, issuer, directory)


@pytest.fixture(autouse=True)
def healthy(house: House) -> None:
    for provider in (house.first, house.second):
        provider.fault, provider.dripping = "", False
        provider.faults.clear()
        provider.left.clear()


@pytest.fixture(scope="module")
def chat(house: House) -> str:
    """An open endpoint with a fallback and every row kept."""
    gateway = {
        "fallback_config": {"enabled": True},
        "usage_tracking_config": {"enabled": True},
        "inference_table_config": {"enabled": True},
        "guardrails": {
            "input": {"invalid_keywords": ("forbidden",), "pii": {"behavior": "MASK"}},
            "output": {"patterns": ({"name": "greeting", "regex": "there", "behavior": "MASK"},)},
        },
    }
    entities = [
        house.proxy("first", house.first, max_retries=0),
        house.proxy("second", house.second, max_retries=0, timeout=10.0),
    ]
    assert house.apply("chat", *entities, ai_gateway=gateway) is None
    return "chat"


MASKED = ANSWER.replace("there", "<greeting>")


def test_the_openai_client_gets_answers_streams_and_usage(house: House, chat: str) -> None:
    client = house.client(chat)
    answer = client.chat.completions.with_raw_response.create(model="any", messages=MESSAGES)
    assert answer.headers["x-served-entity"] == "first"
    whole = answer.parse()
    assert whole.choices[0].message.content == MASKED
    assert (whole.usage.prompt_tokens, whole.usage.completion_tokens) == (7, 3)  # type: ignore[union-attr]  # None fails the test as well
    events = list(client.chat.completions.create(model="any", messages=MESSAGES, stream=True))
    assert "".join(e.choices[0].delta.content or "" for e in events if e.choices) == MASKED
    assert [e.usage.total_tokens for e in events if e.usage][-1] == 10
    assert [model.id for model in client.models.list()] == [chat]
    # the name that the caller gives isn't the provider's
    assert {r["json"]["model"] for r in house.first.requests} == {"gpt-test"}
    invocations = httpx.post(house.ray.url(chat), json={"messages": MESSAGES}, trust_env=False)
    assert invocations.json()["choices"][0]["message"]["content"] == MASKED


def test_a_failing_provider_is_answered_for_by_the_next(house: House, chat: str) -> None:
    for fault in ("500", "429", "reset", "malformed"):
        house.first.fault = fault
        answer = house.client(chat).chat.completions.with_raw_response.create(model="x", messages=MESSAGES)
        assert answer.headers["x-served-entity"] == "second", fault
        events = house.client(chat).chat.completions.create(model="x", messages=MESSAGES, stream=True)
        assert [e.choices[0].delta.content for e in events if e.choices], fault
    # a caller who names an entity gets that one's error; so does a request that is at fault itself
    named = httpx.post(
        house.ray.url(chat, "served-entities/first/invocations"), json={"messages": MESSAGES}, trust_env=False
    )
    assert named.status_code == 502
    house.first.fault = "400"
    with pytest.raises(openai.BadRequestError):
        house.client(chat).chat.completions.create(model="x", messages=MESSAGES)


def test_a_rotated_key_is_read_without_a_new_start(house: House, chat: str) -> None:
    before = house.pids(chat)
    house.first.key = house.second.key = "rotated-key-17"
    house.key_file.write_text("rotated-key-17\n")
    try:
        answer = house.client(chat).chat.completions.with_raw_response.create(model="x", messages=MESSAGES)
        assert answer.headers["x-served-entity"] == "first"
        assert house.pids(chat) == before
    finally:
        house.first.key = house.second.key = CANARY
        house.key_file.write_text(CANARY)
        house.client(chat).chat.completions.create(model="x", messages=MESSAGES)


def test_guardrails_block_and_mask_and_what_is_blocked_reaches_no_provider(house: House, chat: str) -> None:
    client = house.client(chat)
    asked = len(house.first.requests)
    blocked: Any = [{"role": "user", "content": "A FORBIDDEN word."}]
    with pytest.raises(openai.BadRequestError, match="guardrail") as raised:
        client.chat.completions.create(model="x", messages=blocked)
    assert "A FORBIDDEN word" not in str(raised.value)
    assert len(house.first.requests) == asked
    personal: Any = [{"role": "user", "content": "Write to ann@example.com."}]
    client.chat.completions.create(model="x", messages=personal)
    assert house.first.requests[-1]["json"]["messages"] == [{"role": "user", "content": "Write to <EMAIL>."}]


def test_a_client_that_leaves_in_a_stream_ends_the_providers_request(house: House, chat: str) -> None:
    house.first.dripping = house.second.dripping = True
    with httpx.stream(
        "POST", house.ray.url(chat), json={"messages": MESSAGES, "stream": True}, trust_env=False
    ) as reply:
        next(reply.iter_raw())
    # soon after the keys were rotated the first one still refuses the former
    provider = {"first": house.first, "second": house.second}[reply.headers["x-served-entity"]]
    end = time.monotonic() + 10
    while not provider.left.is_set() and time.monotonic() < end:
        time.sleep(0.02)
    house.first.dripping = house.second.dripping = False
    assert provider.left.is_set()


def test_a_request_of_another_task_says_which_one_the_endpoint_has(house: House, chat: str) -> None:
    with pytest.raises(openai.BadRequestError, match="task is llm/v1/chat"):
        house.client(chat).embeddings.create(model="x", input="a")
    reply = httpx.post(house.ray.url(chat, "v1/chat/completions"), content=b"{", trust_env=False)
    assert (reply.status_code, reply.json()["error"]["type"]) == (400, "invalid_request_error")


def test_a_secret_that_a_node_lacks_ends_the_rollout_and_nothing_else(house: House, chat: str) -> None:
    secretless = house.proxy("third", house.first, key="{{secrets/provider/none}}")
    problem = house.apply(chat, secretless)
    assert problem
    assert "secret provider/none: environment variable LAC_NOWHERE is not set on this node" in problem
    assert "(node " in problem
    house.client(chat).chat.completions.create(model="x", messages=MESSAGES)


def test_every_request_is_a_row_after_a_normal_end_and_no_key_is_anywhere(house: House, chat: str) -> None:
    """The last test of this endpoint: it takes it down."""
    before = len(house.rows(chat))
    answered: Counter[int] = Counter()

    def ask(_: int) -> None:
        with house.client(chat) as client:
            reply = client.chat.completions.with_raw_response.create(
                model="x", messages=MESSAGES, extra_headers={"traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01"}
            )
            answered[reply.status_code] += 1

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(ask, range(120)))
    configs = str({name: app.config for name, app in house.ray.cluster.applications().items()})
    assert CANARY not in configs
    house.remove(chat)
    rows = house.rows(chat)
    assert answered == {200: 120}
    assert sum(row["trace_id"] == "ab" * 16 for row in rows) == 120
    assert before <= len(rows) - 120
    last = rows[-1]
    assert (last["entity"], last["entity_name"], last["status"]) == ("first", "gpt-test", 200)
    assert (last["prompt_tokens"], last["completion_tokens"]) == (7, 3)
    payloads = house.rows(chat, "lac_payloads")
    assert len(payloads) >= 120
    assert "Say hello" in payloads[-1]["request"]
    assert CANARY.encode() not in house.usage.read_bytes()
    logs = Path(house.ray.ray.temp_dir).rglob("*.*")
    assert [p for p in logs if p.is_file() and CANARY.encode() in p.read_bytes()] == []


ROUTES = ("invocations", "v1/chat/completions", "served-entities/first/invocations")


def test_every_route_lets_in_exactly_who_may_use_it(house: House) -> None:
    auth = {"oidc": {"issuer": house.issuer.url, "audience": house.issuer.settings["audience"]}}
    assert house.apply(ENDPOINT, house.proxy("first", house.first), auth=auth) is None

    def bearer(value: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {value}"}

    def token(user: str, **options: Any) -> dict[str, str]:
        return bearer(add_token(house.auth_url, user, **options))

    good = add_token(house.auth_url, "user")
    cases: dict[str, tuple[dict[str, str], int]] = {
        "no token": ({}, 401),
        "good": (bearer(good), 200),
        "wrong": (bearer("lac_" + "x" * 36), 401),
        "mistyped": (bearer(good[:-1] + ("a" if good[-1] != "a" else "b")), 401),
        "expired": (token("user", seconds=-1.0), 401),
        "revoked": (token("user", sql="revoked_ms = 1"), 401),
        "no grant": (token("nobody"), 403),
        "DENY": (token("denied"), 403),
        "READ alone": (token("reader"), 403),
        "this endpoint's": (token("user", endpoints=[ENDPOINT]), 200),
        "another endpoint's": (token("user", endpoints=["other"]), 403),
        "OIDC good": (bearer(house.issuer.sign("user")), 200),
        "OIDC of another audience": (bearer(house.issuer.sign("user", aud="x")), 401),
        "OIDC expired": (bearer(house.issuer.sign("user", exp=1)), 401),
        "OIDC of nobody known": (bearer(house.issuer.sign("stranger")), 403),
        "OIDC without a grant": (bearer(house.issuer.sign("nobody")), 403),
    }
    with httpx.Client(trust_env=False, timeout=30) as http:
        table = {
            (name, route): http.post(
                house.ray.url(ENDPOINT, route), json={"messages": MESSAGES}, headers=headers
            ).status_code
            for name, (headers, _) in cases.items()
            for route in ROUTES
        }
        assert table == {(name, route): status for name, (_, status) in cases.items() for route in ROUTES}
        basic = http.post(
            house.ray.url(ENDPOINT), json={"messages": MESSAGES}, auth=httpx.BasicAuth("user", PASSWORD)
        )
        assert basic.status_code == 200
    answer = house.client(ENDPOINT, good).chat.completions.create(model="x", messages=MESSAGES)
    assert answer.choices[0].message.content == ANSWER
    with pytest.raises(openai.AuthenticationError):
        house.client(ENDPOINT, "wrong").chat.completions.create(model="x", messages=MESSAGES)


@pytest.mark.parametrize(("fronts", "store"), [(1, "memory"), (3, "sqlite"), (3, "redis")])
def test_thirty_two_connections_get_exactly_the_limit(
    house: House, fronts: int, store: str, tmp_path: Path
) -> None:
    with running_redis(tmp_path) if store == "redis" else nullcontext() as redis:
        count_answers(replace(house, limits=redis.url if redis else ""), f"limited-{store}", fronts)


def count_answers(house: House, name: str, fronts: int) -> None:
    gateway = {
        "rate_limits": ({"calls": 50, "renewal_period": "hour"},),
        "usage_tracking_config": {"enabled": True},
    }
    entity = house.proxy("first", house.first, min_replicas=fronts)
    assert house.apply(name, entity, ai_gateway=gateway) is None
    assert len(house.pids(name)) == fronts
    statuses: Counter[int] = Counter()

    def ask(_: int) -> None:
        with httpx.Client(trust_env=False, timeout=60) as http:
            for _ in range(4):
                reply = http.post(house.ray.url(name), json={"messages": MESSAGES})
                statuses[reply.status_code] += 1
                if reply.status_code == 429:
                    assert 0 < int(reply.headers["retry-after"]) <= 3600

    with ThreadPoolExecutor(32) as threads:
        list(threads.map(ask, range(32)))
    assert statuses == {200: 50, 429: 78}
    if fronts == 3:
        # a killed front's rows are written by the others
        with suppress(ProcessLookupError):
            os.kill(house.pids(name)[0], signal.SIGKILL)
        time.sleep(1)
    house.remove(name)
    assert Counter(row["status"] for row in house.rows(name)) == statuses
