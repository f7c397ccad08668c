"""Chats in OpenAI's shape as other providers have them, and their streams as OpenAI's events."""

from __future__ import annotations

import asyncio
import copy
import json
import sys
from typing import Any

import pytest
from support import providers
from support.external_models import answer, ask, external, stream
from support.providers import ANSWER, CHAT, COMPLETIONS, USAGE

from lifecycle_as_code.serving.llm import DONE
from lifecycle_as_code.serving.providers import anthropic, bedrock, openai
from lifecycle_as_code.serving.providers.dialect import (
    MAX_EVENT,
    BadRequestError,
    BrokenAnswerError,
    Splitter,
)
from lifecycle_as_code.serving.providers.keys import Keys
from lifecycle_as_code.serving.providers.transport import Transport
from lifecycle_as_code.serving.references import Secrets

PIXEL = "iVBORw0KGgo="
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
CALL = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Bonn"}'}}
BAD_CALL = {"function": {"name": "f", "arguments": "["}}
USER = {"role": "user", "content": "Hi"}

CHAT_OF_ALL_SORTS: dict[str, Any] = {
    "messages": [
        {"role": "system", "content": [{"type": "text", "text": "Be brief."}]},
        {"role": "developer", "content": "Be kind."},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is this?"},
                {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}},
            ],
        },
        {"role": "assistant", "content": "Let me see.", "tool_calls": [CALL, {**CALL, "id": "c2"}]},
        {"role": "tool", "tool_call_id": "c1", "content": "rain"},
        {"role": "tool", "tool_call_id": "c2", "content": [{"type": "text", "text": "sun"}]},
        {"role": "user", "content": "And now?"},
    ],
    "tools": [TOOL],
    "tool_choice": {"type": "function", "function": {"name": "weather"}},
    "stop": "END",
    "temperature": 0.5,
    "max_completion_tokens": 50,
    "frequency_penalty": 0.1,
    "seed": 1,
    "logprobs": True,
}


def test_a_chat_of_all_sorts_as_anthropic_has_it() -> None:
    use = {"type": "tool_use", "name": "weather", "input": {"city": "Bonn"}}
    before = copy.deepcopy(CHAT_OF_ALL_SORTS)
    assert anthropic.request(CHAT_OF_ALL_SORTS) == {
        "system": "Be brief.\nBe kind.",
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "What is this?"},
                    {
                        "type": "image",
                        "source": {"type": "base64", "media_type": "image/png", "data": PIXEL},
                    },
                ],
            },
            {
                "role": "assistant",
                "content": [
                    {"type": "text", "text": "Let me see."},
                    {**use, "id": "c1"},
                    {**use, "id": "c2"},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "c1", "content": "rain"},
                    {"type": "tool_result", "tool_use_id": "c2", "content": "sun"},
                    {"type": "text", "text": "And now?"},
                ],
            },
        ],
        "tools": [{"name": "weather", "input_schema": {"type": "object"}}],
        "tool_choice": {"type": "tool", "name": "weather"},
        "stop_sequences": ["END"],
        "temperature": 0.5,
        "max_tokens": 50,
    }
    assert before == CHAT_OF_ALL_SORTS


def test_a_chat_of_all_sorts_as_bedrock_has_it() -> None:
    use = {"name": "weather", "input": {"city": "Bonn"}}
    assert bedrock.request(CHAT_OF_ALL_SORTS) == {
        "system": [{"text": "Be brief."}, {"text": "Be kind."}],
        "messages": [
            {
                "role": "user",
                "content": [
                    {"text": "What is this?"},
                    {"image": {"format": "png", "source": {"bytes": PIXEL}}},
                ],
            },
            {
                "role": "assistant",
                "content": [
                    {"text": "Let me see."},
                    {"toolUse": {**use, "toolUseId": "c1"}},
                    {"toolUse": {**use, "toolUseId": "c2"}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"toolResult": {"toolUseId": "c1", "content": [{"text": "rain"}]}},
                    {"toolResult": {"toolUseId": "c2", "content": [{"text": "sun"}]}},
                    {"text": "And now?"},
                ],
            },
        ],
        "toolConfig": {
            "tools": [{"toolSpec": {"name": "weather", "inputSchema": {"json": {"type": "object"}}}}],
            "toolChoice": {"tool": {"name": "weather"}},
        },
        "inferenceConfig": {"maxTokens": 50, "temperature": 0.5, "stopSequences": ["END"]},
    }


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, {"max_tokens": anthropic.MAX_TOKENS}),
        ({"max_tokens": 5}, {"max_tokens": 5}),
        ({"stop": ["a", "b"]}, {"stop_sequences": ["a", "b"]}),
        ({"top_k": 3, "thinking": {"type": "disabled"}}, {"top_k": 3, "thinking": {"type": "disabled"}}),
        ({"user": "u1"}, {"metadata": {"user_id": "u1"}}),
        ({"tools": [TOOL], "tool_choice": "none"}, {"tool_choice": {"type": "none"}}),
        ({"tools": [TOOL], "tool_choice": "required"}, {"tool_choice": {"type": "any"}}),
        (
            {"tools": [TOOL], "parallel_tool_calls": False},
            {"tool_choice": {"type": "auto", "disable_parallel_tool_use": True}},
        ),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "object"}}}},
            {"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}},
        ),
    ],
)
def test_a_parameter_as_anthropic_has_it(more: dict[str, Any], expected: dict[str, Any]) -> None:
    assert expected.items() <= anthropic.request({"messages": [USER], **more}).items()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"n": 2}, "`n` must be 1"),
        ({"messages": [{"role": "system", "content": "x"}]}, "no message of a user"),
        ({"messages": [{"role": "function", "content": "x"}]}, "role 'function'"),
        ({"messages": ["x"]}, "must be an object"),
        ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "'input_audio'"),
        ({"messages": [{"role": "user", "content": ["x"]}]}, "needs a `type`"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
            "an address or base64",
        ),
        ({"tools": [{"type": "retrieval"}]}, "of type `function`"),
        ({"messages": [USER, {"role": "assistant", "tool_calls": [BAD_CALL]}]}, "aren't a JSON object"),
        ({"messages": [USER, {"role": "assistant", "tool_calls": [{}]}]}, "needs a `function`"),
    ],
)  # fmt: skip
def test_what_can_t_be_translated_is_refused(more: dict[str, Any], message: str) -> None:
    for translate in (anthropic.request, bedrock.request):
        with pytest.raises(BadRequestError, match=message):
            translate({"messages": [USER], **more})


@pytest.mark.parametrize("kind", ["openai", "anthropic", "bedrock"])
@pytest.mark.parametrize(
    "more",
    [
        {"messages": [{"role": "user", "content": 5}]},
        {"messages": [USER, {"role": "assistant", "tool_calls": 5}]},
        {"tools": 5},
        {"stop": 5},
        {"stream_options": 5},
    ],
    ids=lambda more: next(iter(more)),
)
def test_a_value_of_another_type_is_the_caller_s_mistake(kind: str, more: dict[str, Any]) -> None:
    """A provider that speaks OpenAI's dialect says so itself."""

    async def story() -> None:
        async with external(kind) as (provider, ours):
            replies = await answer(ours, ask(**more)), await stream(ours, **more)
            assert {reply.status for reply in replies} <= {200, 400}
            assert kind == "openai" or "stream_options" in more or not provider.requests
            assert all("OpenAI's API" in reply.error for reply in replies if reply.status == 400)

    asyncio.run(story())


@pytest.mark.parametrize(
    ("kind", "more", "message"),
    [
        ("cohere", {"echo": True}, "`echo` isn't supported"),
        ("anthropic", {"prompt": ["a", "b"]}, "must be one text"),
        ("bedrock", {"prompt": [1, 2]}, "must be one text"),
    ],
)
def test_a_completion_that_no_chat_gives_is_refused(kind: str, more: dict[str, Any], message: str) -> None:
    async def story() -> None:
        async with external(kind, COMPLETIONS) as (provider, ours):
            reply = await answer(ours, ask(COMPLETIONS, **more))
            assert reply.status == 400
            assert message in reply.error
            assert not provider.requests

    asyncio.run(story())


@pytest.mark.parametrize("kind", ["anthropic", "bedrock", "vertex-claude"])
def test_a_tool_call_comes_whole_and_in_parts(kind: str) -> None:
    async def story() -> None:
        async with external(kind) as (_, ours):
            (choice,) = (await answer(ours, ask(tools=[TOOL]))).body["choices"]
            (call,) = choice["message"]["tool_calls"]
            assert (choice["finish_reason"], choice["message"]["content"]) == ("tool_calls", ANSWER)
            assert call == {**CALL, "id": "toolu_1"}
            reply = await stream(ours, tools=[TOOL])
            deltas = [d for e in reply.events for c in e["choices"] for d in c["delta"].get("tool_calls", ())]
            assert all(delta["index"] == 0 for delta in deltas)
            assert deltas[0]["id"] == "toolu_1"
            assert deltas[0]["function"]["name"] == "weather"
            assert "".join(d["function"]["arguments"] for d in deltas) == '{"city":"Bonn"}'
            reasons = [c["finish_reason"] for e in reply.events for c in e["choices"]]
            assert [reason for reason in reasons if reason] == ["tool_calls"]

    asyncio.run(story())


@pytest.mark.filterwarnings("ignore")
def test_mlflow_s_gateway_translates_plain_chats_the_same_way() -> None:
    """But for the temperature, which it halves, and texts, which it doesn't put into blocks."""
    from mlflow.gateway.config import EndpointConfig
    from mlflow.gateway.providers.anthropic import AnthropicAdapter

    config = EndpointConfig(
        name="x",
        endpoint_type=CHAT,
        model={"provider": "anthropic", "name": "claude", "config": {"anthropic_api_key": "x"}},
    )
    tool = {"type": "function", "function": {**TOOL["function"], "description": "of a city"}}  # type: ignore[dict-item]  # the value is a mapping
    payload = {
        "messages": [
            {"role": "system", "content": "Be brief."},
            USER,
            {"role": "assistant", "content": None, "tool_calls": [CALL]},
            {"role": "tool", "tool_call_id": "c1", "content": "rain"},
        ],
        "tools": [tool],
        "tool_choice": "required",
        "stop": ["END"],
        "top_p": 0.5,
    }
    theirs = AnthropicAdapter.chat_to_model(copy.deepcopy(payload), config)
    assert theirs.pop("model") == "claude"
    for message in theirs["messages"]:
        if isinstance(message["content"], str):
            message["content"] = [{"type": "text", "text": message["content"]}]
    assert anthropic.request(payload) == theirs

    use = {"type": "tool_use", "id": "c1", "name": "f", "input": {"a": 1}}
    message = {
        "id": "msg_1",
        "model": "claude",
        "role": "assistant",
        "content": [{"type": "text", "text": "Hm."}, use],
        "stop_reason": "tool_use",
        "usage": {"input_tokens": 4, "output_tokens": 3, "cache_read_input_tokens": 3},
    }  # fmt: skip
    theirs = AnthropicAdapter.model_to_chat(copy.deepcopy(message), config).model_dump(exclude_none=True)
    ours = json.loads(anthropic.answer(message, "claude"))
    theirs_call, ours_call = (a["choices"][0]["message"].pop("tool_calls")[0] for a in (theirs, ours))
    assert json.loads(ours_call["function"].pop("arguments")) == json.loads(
        theirs_call["function"].pop("arguments")
    )
    assert ours_call == theirs_call
    theirs["created"] = ours["created"]
    assert {k: v for k, v in theirs.items() if k != "provider"} == ours


def _dialect() -> openai.OpenAI:
    return openai.OpenAI("m", CHAT, Keys("openai_config", {}, Secrets()), Transport())


def _sse(*data: Any) -> bytes:
    return b"".join(b"data: " + json.dumps(d).encode() + b"\n\n" for d in data)


WORD = {"choices": [{"index": 0, "delta": {"content": 'say "choices":[] ä'}, "finish_reason": None}]}
END = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
ALONE = {"choices": [], "usage": USAGE}


@pytest.mark.parametrize("ends", [b"\n", b"\r\n"], ids=["lf", "crlf"])
def test_events_are_the_same_in_whatever_portions_they_come(ends: bytes) -> None:
    data = (b": ping\n\nevent: x\n" + _sse(WORD, END, ALONE) + DONE).replace(b"\n", ends)
    parts = []
    for size in (1, 2, 3, 7, 50, len(data)):
        parser = openai.Events(_dialect(), {})
        portions = [data[i : i + size] for i in range(0, len(data), size)]
        parts.append([event for portion in portions for event in parser.feed(portion)])
        assert parser.done
        assert not parser.end()
    assert all(part == parts[0] for part in parts)
    assert parts[0][:2] == [_sse(WORD), _sse(END)]
    assert json.loads(parts[0][2][6:]) == {
        **ALONE,
        "choices": [{"index": 0, "delta": {}, "finish_reason": None}],
    }


def test_a_stream_without_its_last_event_is_complete_once_it_has_a_reason() -> None:
    parser = openai.Events(_dialect(), {"stream_options": {"include_usage": True}})
    parser.feed(_sse(WORD, END, ALONE))
    assert parser.end() == [DONE]
    parser = openai.Events(_dialect(), {})
    parser.feed(_sse(WORD))
    with pytest.raises(BrokenAnswerError, match="ended before"):
        parser.end()


def test_an_error_in_a_stream_ends_it() -> None:
    parser = openai.Events(_dialect(), {})
    parser.feed(_sse(WORD))
    with pytest.raises(BrokenAnswerError, match="too much"):
        parser.feed(_sse({"error": {"message": "too much"}}))
    events = anthropic.Events("m", {})
    with pytest.raises(BrokenAnswerError, match="Overloaded") as e:
        events.feed(_sse({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}))
    assert e.value.status == 503
    frames = bedrock.Events("m", {})
    frame = providers.frame(
        {"message": "slow down"}, exception_type="throttlingException", message_type="exception"
    )
    assert not frames.feed(frame[:9])
    with pytest.raises(BrokenAnswerError, match="slow down") as e:
        frames.feed(frame[9:])
    assert e.value.status == 429


def test_an_event_without_an_end_is_not_gathered_for_ever() -> None:
    splitter = Splitter()
    splitter.feed(b"x" * MAX_EVENT)
    with pytest.raises(BrokenAnswerError, match="too long"):
        splitter.feed(b"x")


@pytest.mark.parametrize(
    ("base", "address"),
    [
        ("", "https://api.cohere.com/compatibility/v1/chat/completions"),
        ("https://api.cohere.ai/v1", "https://api.cohere.ai/compatibility/v1/chat/completions"),
        ("https://api.cohere.ai/v1/", "https://api.cohere.ai/compatibility/v1/chat/completions"),
        ("https://gate/cohere", "https://gate/cohere/compatibility/v1/chat/completions"),
        ("https://gate/compatibility/v1", "https://gate/compatibility/v1/chat/completions"),
    ],
)
def test_cohere_s_base_may_be_any_of_its_own(base: str, address: str) -> None:
    dialect = openai.Cohere(
        "m", CHAT, Keys("cohere_config", {"cohere_api_base": base}, Secrets()), Transport()
    )
    assert asyncio.run(dialect.address()) == address


@pytest.mark.parametrize(
    ("kind", "module", "message"),
    [
        ("bedrock", "botocore.eventstream", r"botocore .* pip install 'lifecycle-as-code\[bedrock\]'"),
        ("vertex", "google.auth.transport.requests", r"google-auth .*'lifecycle-as-code\[vertex\]'"),
    ],
)
def test_a_missing_package_is_named(
    kind: str, module: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        async with external(kind) as (_, ours):
            # `None` stands for a module that can't be imported
            monkeypatch.setattr("lifecycle_as_code.serving.providers.dialect._loaded", set())
            monkeypatch.setitem(sys.modules, module, None)  # type: ignore[arg-type]  # None: it can't be imported
            with pytest.raises(LookupError, match=message):
                await ours.check()
            assert (await answer(ours, ask())).status == 500

    asyncio.run(story())
