"""One replica of an endpoint: what becomes of its requests when its settings change, and of their records."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.ingress import USAGE, Endpoint, read_all, read_rows, serving_chat, target
from support.providers import ANSWER, Provider

from lifecycle_as_code.serving.answer import JSON, Answer
from lifecycle_as_code.serving.exchange import make_reply
from lifecycle_as_code.serving.http import MAX_BODY

Play = Callable[[Endpoint, Provider], Awaitable[Any]]


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Undo what the endpoint's environment needs."""
    with monkeypatch.context() as patch:
        for name in ("LAC_SPOOL_DIR", "PROVIDER_KEY", "SERVICE_ACCOUNT"):
            patch.setenv(name, "")
        yield


def play(scene: Play, directory: Path) -> Any:
    async def run() -> Any:
        async with serving_chat(directory) as (endpoint, provider):
            return await scene(endpoint, provider)

    return asyncio.run(asyncio.wait_for(run(), 30))


# --- new settings


CHANGES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "the provider": ({"timeout": 50}, {}),
    "usage": ({}, {"inference_table_config": {"enabled": True}}),
    "no usage": ({}, {"usage_tracking_config": {"enabled": False}}),
    "a guardrail": ({}, {"guardrails": {"output": {"invalid_keywords": ("nothing",)}}}),
    "a limit": ({}, {"rate_limits": ({"calls": 100, "renewal_period": "hour"},)}),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("stream", [False, True])
def test_a_request_under_way_ends_well_whatever_changes(change: str, stream: bool, tmp_path: Path) -> None:
    async def scene(endpoint: Endpoint, provider: Provider) -> None:
        gateway: dict[str, Any] = {**USAGE, "rate_limits": ({"calls": 99, "renewal_period": "hour"},)}
        await endpoint.configure(target("first", provider, max_retries=0), **gateway)
        provider.fault = "slow"
        if stream:
            # its head and first event have come
            reply = await endpoint.ask(stream=True)
            assert reply.events is not None
            parts = [await anext(reply.events)]
        else:
            asking = asyncio.ensure_future(endpoint.ask())
            while not provider.requests and not asking.done():
                await asyncio.sleep(0.001)
        options, more = CHANGES[change]
        await endpoint.configure(
            target("first", provider, **{"max_retries": 0, **options}), **{**gateway, **more}
        )
        await asyncio.sleep(0.01)
        if stream:
            parts += [event async for event in reply.events]
            text = b"".join(parts).decode()
            assert text.endswith("data: [DONE]\n\n")
            assert "error" not in text
        else:
            reply = await asking
            assert (reply.answer.status, ANSWER in await read_all(reply)) == (200, True)

    play(scene, tmp_path)
    (row,) = read_rows(tmp_path)
    assert (row["status"], row["prompt_tokens"], row["completion_tokens"]) == (200, 7, 3)


def test_what_only_former_settings_used_is_closed_once_their_requests_are_done(tmp_path: Path) -> None:
    async def scene(endpoint: Endpoint, provider: Provider) -> None:
        await endpoint.configure(target("first", provider), **USAGE)
        reply = await endpoint.ask(stream=True)
        assert reply.events is not None
        await anext(reply.events)
        former = endpoint.ingress._front
        for timeout in (50, 51):
            await endpoint.configure(target("first", provider, timeout=timeout), **USAGE)
        fronts = endpoint.ingress._fronts
        assert fronts[0] is former
        await reply.events.aclose()
        await endpoint.ingress._retirement
        assert fronts == [endpoint.ingress._front]
        assert [proxy._transport._session for proxy in former.proxies.values()] == [None]

    play(scene, tmp_path)


def test_a_limit_that_changes_keeps_what_was_counted(tmp_path: Path) -> None:
    async def scene(endpoint: Endpoint, provider: Provider) -> list[int]:
        statuses = []
        for calls in (3, 4):
            limit = {"calls": calls, "renewal_period": "hour"}
            await endpoint.configure(target("first", provider), rate_limits=(limit,))
            statuses += [(await endpoint.ask()).answer.status for _ in range(4)]
        return statuses

    assert play(scene, tmp_path) == [200, 200, 200, 429, 200, 429, 429, 429]


# --- records


def test_every_request_has_its_row_whatever_became_of_it(tmp_path: Path) -> None:
    async def scene(endpoint: Endpoint, provider: Provider) -> None:
        entity = target("first", provider, max_retries=0)
        blocking = {"input": {"invalid_keywords": ("forbidden",)}}
        await endpoint.configure(entity, **USAGE, guardrails=blocking)
        await endpoint.ask()
        await endpoint.ask(b"{")
        await endpoint.ask(b" " * (MAX_BODY + 1))
        await endpoint.ask(path="/v1/embeddings")
        await endpoint.ask(path="/served-entities/none/invocations")
        await endpoint.ask(messages=[{"role": "user", "content": "forbidden"}])
        provider.fault = "500"
        await endpoint.ask()
        provider.fault = "hang"
        for stream in (False, True):
            asking = asyncio.ensure_future(endpoint.ask(stream=stream))
            await asyncio.sleep(0.1)
            # as Ray does it when a client leaves
            asking.cancel()
            await asyncio.wait([asking])

    play(scene, tmp_path)
    assert [(row["status"], row["entity"], row["outcome"]) for row in read_rows(tmp_path)] == [
        (200, "first", ""),
        (400, "", ""),
        (413, "", ""),
        (400, "", ""),
        (404, "", ""),
        (400, "", "guardrail"),
        (502, "first", ""),
        (499, "first", ""),
        (499, "first", ""),
    ]


def test_a_stream_that_a_guardrail_ends_says_so_in_its_row(tmp_path: Path) -> None:
    async def scene(endpoint: Endpoint, provider: Provider) -> None:
        guardrails = {"output": {"invalid_keywords": ("hello",)}}
        await endpoint.configure(target("first", provider), **USAGE, guardrails=guardrails)
        assert "content_filter" in await read_all(await endpoint.ask(stream=True))

    play(scene, tmp_path)
    (row,) = read_rows(tmp_path)
    assert (row["status"], row["outcome"]) == (200, "guardrail")


def test_a_stream_that_breaks_off_is_recorded_as_failed(tmp_path: Path) -> None:
    async def scene(endpoint: Endpoint, provider: Provider) -> None:
        await endpoint.configure(target("first", provider), **USAGE)
        provider.fault = "cut"
        assert "closed the connection" in await read_all(await endpoint.ask(stream=True))
        provider.fault, provider.dripping = "", True
        reply = await endpoint.ask(stream=True)
        assert reply.events is not None
        await anext(reply.events)
        # as it is where the replica with the model is killed
        with pytest.raises(ConnectionError):
            await reply.events.athrow(ConnectionError())

    play(scene, tmp_path)
    assert [row["status"] for row in read_rows(tmp_path)] == [502, 500]


def test_a_request_has_fallen_back_only_where_another_entity_was_asked(tmp_path: Path) -> None:
    async def scene(endpoint: Endpoint, provider: Provider) -> None:
        entities = [target(name, provider, max_retries=0) for name in ("first", "second")]
        entities[1]["weight"] = 0
        provider.fault = "500"
        for number in (1, 2):
            await endpoint.configure(*entities[:number], **USAGE, fallback_config={"enabled": True})
            await endpoint.ask()

    play(scene, tmp_path)
    assert [(r["entity"], r["outcome"]) for r in read_rows(tmp_path)] == [
        ("first", ""),
        ("second", "fallback"),
    ]


@pytest.mark.parametrize("end", ["the client leaves", "a guardrail blocks", "no answer yet"])
def test_an_answer_that_is_cut_off_counts_for_a_limit_of_tokens(end: str, tmp_path: Path) -> None:
    async def scene(endpoint: Endpoint, provider: Provider) -> list[int]:
        guardrails = {
            "output": {"invalid_keywords": ("hello",) if end == "a guardrail blocks" else ("none",)}
        }
        limit = {"tokens": 100, "renewal_period": "hour"}
        await endpoint.configure(target("first", provider), rate_limits=(limit,), guardrails=guardrails)
        long = [{"role": "user", "content": "word " * 100}]
        statuses = []
        for _ in range(2):
            if end == "no answer yet":
                provider.fault = "hang"
            asking = asyncio.ensure_future(endpoint.ask(stream=True, messages=long))
            await asyncio.wait([asking], timeout=0.5)
            asking.cancel()
            await asyncio.wait([asking])
            if asking.cancelled():
                continue
            reply = asking.result()
            statuses.append(reply.answer.status)
            if reply.events is not None:
                await anext(reply.events)
                if end == "a guardrail blocks":
                    await read_all(reply)
                await reply.events.aclose()
        provider.fault = ""
        return [*statuses, (await endpoint.ask()).answer.status]

    assert play(scene, tmp_path)[-1] == 429


def test_a_caller_is_never_told_to_come_back_too_early() -> None:
    """`Retry-After` has whole seconds."""
    for seconds, header in ((0.2, "1"), (52.4, "53"), (60.0, "60")):
        assert ("Retry-After", header) in make_reply(Answer(429, JSON, b""), retry_after=seconds).headers
