"""Every provider, and what becomes of each answer and each fault."""

from __future__ import annotations

import asyncio
import email.utils
import json
import logging
import time
from pathlib import Path
from typing import Any

import pytest
from support import providers
from support.external_models import LIMITS, answer, ask, external, stream
from support.providers import ANSWER, CANARY, CHAT, COMPLETIONS, EMBEDDINGS, KINDS, USAGE, WORDS

from lifecycle_as_code.serving.llm import STREAM_HEAD, Outcome, read_tokens
from lifecycle_as_code.serving.providers import TASKS, ExternalModel, model
from lifecycle_as_code.serving.references import Secrets

TEXTS = [(kind, task) for kind, tasks in KINDS.items() for task in tasks if task != EMBEDDINGS]
EMBEDDERS = [kind for kind, tasks in KINDS.items() if EMBEDDINGS in tasks]


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model, "_FIRST_WAIT", 0.001)


@pytest.mark.parametrize(("kind", "task"), TEXTS)
def test_an_answer_has_openais_shape_and_usage(kind: str, task: str) -> None:
    async def story() -> None:
        async with external(kind, task) as (provider, ours):
            await ours.check()
            reply = await answer(ours, ask(task, max_tokens=9))
            assert (reply.status, reply.text) == (200, ANSWER)
            assert reply.body["object"] == ("chat.completion" if task == CHAT else "text_completion")
            assert reply.body["choices"][0]["finish_reason"] == "stop"
            assert {k: reply.body["usage"][k] for k in USAGE} == USAGE
            assert provider.requests[0]["json"].get("model") != "of the caller"

    asyncio.run(story())


@pytest.mark.parametrize(("kind", "task"), TEXTS)
@pytest.mark.parametrize("wanted", [False, True], ids=["", "include_usage"])
def test_a_stream_is_openais_events_with_the_usage_at_the_end(kind: str, task: str, wanted: bool) -> None:
    """A client that didn't ask for the usage gets no event without a choice: it would read `choices[0]`."""

    async def story() -> None:
        async with external(kind, task) as (_, ours):
            reply = await stream(
                ours, task, **({"stream_options": {"include_usage": True}} if wanted else {})
            )
            assert (reply.status, reply.text, reply.done) == (200, ANSWER, True)
            reasons = [c["finish_reason"] for e in reply.events for c in e["choices"]]
            assert [reason for reason in reasons if reason] == ["stop"]
            last = reply.events[-1]
            assert {k: last["usage"][k] for k in USAGE} == USAGE
            assert bool(last["choices"]) is not wanted
            assert all(event["choices"] for event in reply.events[:-1])
            assert sum(bool(event.get("usage")) for event in reply.events) == 1

    asyncio.run(story())


@pytest.mark.parametrize("kind", EMBEDDERS)
def test_embeddings_come_in_the_order_of_the_texts(kind: str) -> None:
    async def story() -> None:
        async with external(kind, EMBEDDINGS) as (provider, ours):
            reply = await answer(ours, ask(EMBEDDINGS))
            vectors = [row["embedding"] for row in reply.body["data"]]
            assert vectors == [providers.vector("one"), providers.vector("three")]
            assert reply.body["usage"]["prompt_tokens"] == 7 * len(provider.requests)

    asyncio.run(story())


@pytest.mark.parametrize("kind", ["bedrock", "bedrock-cohere", "vertex"])
def test_embeddings_are_base64_where_the_caller_asks_for_it(kind: str) -> None:
    async def story() -> None:
        async with external(kind, EMBEDDINGS) as (provider, ours):
            texts = [str(n) * (n % 7 + 1) for n in range(100)]
            reply = await answer(ours, ask(EMBEDDINGS, input=texts, encoding_format="base64"))
            assert [providers.floats(row["embedding"]) for row in reply.body["data"]] == [
                providers.vector(text) for text in texts
            ]
            assert len(provider.requests) == (2 if kind == "bedrock-cohere" else 100)

    asyncio.run(story())


OUTCOMES = {
    # fault: (status of an answer, of a stream, how often the provider is asked)
    "400": (400, 400, 1),
    "404": (404, 404, 1),
    "401": (502, 502, 2),
    "403": (502, 502, 1),
    "429": (429, 429, 3),
    "429-long": (429, 429, 1),
    "500": (502, 502, 3),
    "529": (503, 503, 3),
    "reset": (502, 502, 3),
    "redirect": (502, 502, 1),
    "malformed": (502, 502, 1),
    "slow": (200, 200, 1),
    "hang": (504, 504, 1),
    "cut": (502, 200, 1),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fault", OUTCOMES)
def test_a_fault_has_one_outcome(kind: str, fault: str, caplog: pytest.LogCaptureFixture) -> None:
    whole, streamed, times = OUTCOMES[fault]
    if fault in ("401", "403") and kind.startswith("bedrock"):
        # AWS answers 403 to outdated keys
        times = 2
    caplog.set_level(logging.DEBUG)

    async def story() -> None:
        # long enough to wait, were it wise
        timeout = 30 if fault == "429-long" else 5
        async with external(kind, fault=fault, timeout=timeout) as (provider, ours):
            if fault == "hang":
                ours._timeout = 0.2
                # libraries are loaded, tokens fetched
                await ours._dialect.prepare(json.loads(ask()), False)
            reply = await answer(ours, ask())
            assert (reply.status, len(provider.requests)) == (whole, times), reply
            provider.requests.clear()
            # keys are read anew every few seconds, not with each request
            ours._renewed = -1e9
            events = await stream(ours)
            assert (events.status, len(provider.requests)) == (streamed, times), events
            assert (reply.retry_after or 0) == 12 or fault != "429-long"
            if fault == "slow":
                assert events.done
                assert reply.text == events.text == ANSWER
                return
            assert not events.done
            if fault == "cut":
                assert events.text in ("".join(WORDS[:2]), ANSWER, WORDS[0])
            texts = [json.dumps([reply, events]), caplog.text, repr(ours), repr(ours._dialect.keys)]
            assert not any(CANARY in text for text in texts)
            assert reply.error
            assert events.error
            if fault in ("400", "404"):
                assert "no, not with [hidden]" in reply.error

    asyncio.run(story())


@pytest.mark.parametrize("kind", KINDS)
def test_a_rotated_key_is_read_anew(kind: str, tmp_path: Path) -> None:
    """One refused request, one more with the key that the file has by now."""

    async def story() -> None:
        async with external(kind) as (provider, _):
            environment = providers.environment(provider)
            file = tmp_path / "key"
            file.write_text(provider.key)
            text = json.dumps(provider.settings()).replace("env.PROVIDER_KEY", "secrets/some/key")
            secrets = Secrets({"some/key": {"file": str(file)}}, environment)
            ours = ExternalModel(json.loads(text), secrets, **LIMITS)
            assert (await answer(ours, ask())).status == 200
            provider.key = "sk-another-one"
            file.write_text(provider.key)
            replies = await asyncio.gather(*(answer(ours, ask()) for _ in range(5)))
            assert [reply.status for reply in replies] == [200] * 5
            provider.key = "sk-yet-another"
            # a key that stays wrong isn't read with each request
            provider.requests.clear()
            assert [(await answer(ours, ask())).status for _ in range(3)] == [502] * 3
            assert len(provider.requests) == 3
            await ours.close()

    asyncio.run(story())


def test_a_busy_provider_is_asked_again() -> None:
    async def story() -> None:
        async with external("openai", faults=["429", "500", ""]) as (provider, ours):
            assert (await answer(ours, ask())).text == ANSWER
            assert len(provider.requests) == 3

    asyncio.run(story())


def test_tokens_are_fetched_once() -> None:
    async def story() -> None:
        for kind in ("azuread", "vertex"):
            async with external(kind) as (provider, ours):
                replies = await asyncio.gather(*(answer(ours, ask()) for _ in range(5)))
                assert [reply.status for reply in [*replies, await answer(ours, ask())]] == [200] * 6
                assert provider.tokens == 1

    asyncio.run(story())


@pytest.mark.parametrize(
    ("kind", "status", "expected", "message"),
    [
        ("azuread", 401, 502, "openai refused the endpoint's credentials"),
        ("azuread", 503, 503, "openai: Microsoft Entra returned no token"),
        ("vertex", 400, 502, "google-cloud-vertex-ai refused the endpoint's credentials"),
    ],
)
def test_a_token_service_may_fail(kind: str, status: int, expected: int, message: str) -> None:
    async def story() -> None:
        async with external(kind, token_status=status, max_retries=0) as (provider, ours):
            replies = await asyncio.gather(answer(ours, ask()), stream(ours))
            assert [(reply.status, reply.error) for reply in replies] == [(expected, message)] * 2
            provider.token_status = 200
            ours._renewed = -1e9
            assert (await answer(ours, ask())).text == ANSWER

    asyncio.run(story())


def test_a_service_account_that_is_none_is_named_and_not_repeated() -> None:
    async def story() -> None:
        async with external("vertex") as (provider, _):
            for text in (CANARY, json.dumps({"private_key": CANARY})):
                secrets = Secrets(environment={"SERVICE_ACCOUNT": text})
                ours = ExternalModel(provider.settings(), secrets, **LIMITS)
                with pytest.raises(LookupError, match="private_key isn't the JSON of a service") as e:
                    await ours.check()
                assert CANARY not in repr(e.value)
                assert (await answer(ours, ask())).status == 500
                await ours.close()

    asyncio.run(story())


def test_the_first_token_has_a_time_of_its_own() -> None:
    async def story() -> None:
        async with external("openai", fault="slow", first_token_timeout=0.02) as (_, ours):
            assert (await answer(ours, ask())).status == 200
            reply = await stream(ours)
            assert (reply.status, reply.error) == (504, "openai did not answer within 0.02 s")

    asyncio.run(story())


def test_a_stream_that_goes_silent_ends_with_an_error() -> None:
    async def story() -> None:
        async with external("openai", fault="stall", timeout=0.2) as (provider, ours):
            reply = await stream(ours)
            assert (reply.status, reply.done, reply.error) == (200, False, "openai stopped sending data")
            await asyncio.wait_for(provider.left.wait(), 5)

    asyncio.run(story())


def test_a_provider_that_knows_no_streams_answers_at_once() -> None:
    async def story() -> None:
        async with external("custom", knows_streams=False) as (_, ours):
            reply = await stream(ours)
            assert (reply.status, reply.events, reply.text) == (200, [], ANSWER)

    asyncio.run(story())


def test_a_provider_s_time_to_come_again_is_understood() -> None:
    in_a_minute = email.utils.formatdate(time.time() + 60, usegmt=True)
    for headers, low, high in (
        ({"Retry-After": "2.5"}, 2.5, 2.5),
        ({"Retry-After": "-1"}, 0, 0),
        ({"Retry-After": in_a_minute}, 57, 61),
        ({"retry-after-ms": "1500", "Retry-After": "2"}, 1.5, 1.5),
    ):
        seconds = model._seconds(headers)
        assert seconds is not None
        assert low <= seconds <= high
    assert all(model._seconds({"Retry-After": text}) is None for text in ("soon", "inf", "nan"))


def test_a_key_in_an_address_is_hidden_too() -> None:
    async def story() -> None:
        async with external("custom", fault="400") as (provider, _):
            settings = provider.settings()
            url = "{{ env.URL }}"
            settings["custom_provider_config"] = {"custom_provider_url": url}
            secrets = Secrets(environment={"URL": f"{provider.url}/v1?key={CANARY}"})
            ours = ExternalModel(settings, secrets, **LIMITS)
            await ours._dialect.check()
            assert CANARY not in ours._clean(f"what is {provider.url}/v1?key={CANARY}?")
            await ours.close()

    asyncio.run(story())


def test_a_provider_that_knows_no_stream_options_gets_none() -> None:
    async def story() -> None:
        async with external("custom", refuses_stream_options=True) as (provider, ours):
            replies = await asyncio.gather(stream(ours), stream(ours))
            assert [reply.text for reply in replies] == [ANSWER] * 2
            assert (await stream(ours)).done
            assert len(provider.requests) == 5

    asyncio.run(story())


def test_a_client_that_leaves_ends_the_providers_work() -> None:
    async def story() -> None:
        async with external("openai", dripping=True) as (provider, ours):
            parts = ours.stream(ask(stream=True), {})
            head = await anext(parts)
            assert isinstance(head, Outcome)
            assert head.answer is STREAM_HEAD
            assert isinstance(await anext(parts), bytes)
            await parts.aclose()
            await asyncio.wait_for(provider.left.wait(), 5)
        async with external("openai", fault="hang") as (provider, ours):
            call = asyncio.ensure_future(ours.answer(ask(), {}))
            while not provider.requests:
                await asyncio.sleep(0.005)
            call.cancel()
            await asyncio.wait_for(provider.left.wait(), 5)

    asyncio.run(story())


def test_a_connection_serves_one_stream_after_another() -> None:
    async def story() -> None:
        async with external("openai", lingers=True) as (_, ours):
            for _ in range(3):
                assert (await stream(ours)).done
                await asyncio.wait(ours._transport._drains)
            connector: Any = ours._transport._session.connector  # type: ignore[union-attr]  # it is open by now
            assert sum(len(c) for c in connector._conns.values()) == 1

    asyncio.run(story())


def test_200_streams_run_at_once() -> None:
    async def story() -> None:
        async with external("openai", timeout=30) as (_, ours):
            replies = await asyncio.gather(*(stream(ours) for _ in range(200)))
            assert all(reply.done and reply.text == ANSWER for reply in replies)

    asyncio.run(story())


def test_the_trace_goes_with_a_call_and_no_header_of_the_caller_replaces_a_credential() -> None:
    async def story() -> None:
        async with external("openai") as (provider, ours):
            trace = {"traceparent": "00-1-2-01", "authorization": "Bearer other", "X-Other": "x"}
            assert (await ours.answer(ask(), trace)).answer.status == 200
            headers = provider.requests[0]["headers"]
            assert headers["traceparent"] == "00-1-2-01"
            assert "X-Other" not in headers

    asyncio.run(story())


@pytest.mark.parametrize(
    ("task", "body", "message"),
    [
        (CHAT, b"[1", "JSON"),
        (CHAT, b"[1]", "JSON"),
        (CHAT, b'{"input": "x"}', "task is llm/v1/chat: the body must have `messages`"),
        (CHAT, b'{"messages": "x"}', "must have `messages`"),
        (CHAT, b'{"messages": []}', "must have `messages`"),
        (COMPLETIONS, b'{"messages": [{"role": "user", "content": "x"}]}', "must have `prompt`"),
        (EMBEDDINGS, b'{"prompt": "x"}', "must have `input`"),
    ],
)
def test_a_body_of_another_task_is_refused(task: str, body: bytes, message: str) -> None:
    async def story() -> None:
        async with external("openai", task) as (provider, ours):
            reply = await answer(ours, body)
            assert (reply.status, reply.body["error"]["type"]) == (400, "invalid_request_error")
            assert message in reply.error
            assert not provider.requests

    asyncio.run(story())


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_that_is_missing_on_this_node_is_named(kind: str) -> None:
    async def story() -> None:
        async with external(kind) as (provider, _):
            ours = ExternalModel(provider.settings(), Secrets(environment={}), **LIMITS)
            name = "SERVICE_ACCOUNT" if kind.startswith("vertex") else "PROVIDER_KEY"
            with pytest.raises(LookupError, match=f"environment variable {name} is not set on this node"):
                await ours.check()
            reply = await answer(ours, ask())
            assert (reply.status, len(provider.requests)) == (500, 0)
            assert name in reply.error
            assert (await stream(ours)).error == reply.error
            await ours.close()

    asyncio.run(story())


def test_nothing_at_the_address_is_a_bad_gateway() -> None:
    async def story() -> None:
        config = {"custom_provider_url": "http://127.0.0.1:9/v1"}
        settings = {"name": "x", "task": CHAT, "provider": "custom", "custom_provider_config": config}
        ours = ExternalModel(settings, Secrets(), **LIMITS)
        reply = await answer(ours, ask())
        assert (reply.status, reply.error) == (502, "custom can't be reached: Connection refused")
        config["custom_provider_url"] = "file:///etc/passwd"
        reply = await answer(ours, ask())
        assert (reply.status, reply.error) == (500, "custom can't be called: its URL is invalid")
        await ours.close()

    asyncio.run(story())


def test_a_provider_does_what_the_table_says() -> None:
    for provider in [*TASKS, "palm"]:
        for task in ("llm/v1/chat", "llm/v1/completions", "llm/v1/embeddings", "llm/v1/other"):
            settings = {"name": "x", "task": task, "provider": provider}
            if task in TASKS.get(provider, ()):
                ExternalModel(settings, Secrets(), **LIMITS)
            else:
                with pytest.raises(ValueError, match="has no models for task"):
                    ExternalModel(settings, Secrets(), **LIMITS)


def test_an_answer_that_is_too_long_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    from lifecycle_as_code.serving.providers import transport

    async def story() -> None:
        async with external("openai") as (_, ours):
            monkeypatch.setattr(transport.read, "__defaults__", (20,))
            assert (await answer(ours, ask())).error == "openai returned an answer over 64 MiB"

    asyncio.run(story())


def test_the_usage_is_read_from_the_last_event() -> None:
    """As the endpoint's usage log does it."""

    async def story() -> None:
        async with external("openai") as (_, ours):
            parts = [part async for part in ours.stream(ask(stream=True), {})]
            last = parts[-2]
            assert isinstance(last, bytes)
            assert read_tokens(last) == (7, 3)

    asyncio.run(story())
