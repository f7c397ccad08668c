"""What of OpenAI's requests is understood, and which parameter a refusal names."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lifecycle_as_code.serving.answer import Answer
from lifecycle_as_code.serving.language.request import Chat, Completion, Embedding, read
from lifecycle_as_code.serving.llm import Task

HELLO = [{"role": "user", "content": "hello"}]
LEAST: dict[Task, dict[str, Any]] = {
    "llm/v1/chat": {"messages": HELLO},
    "llm/v1/completions": {"prompt": "hello"},
    "llm/v1/embeddings": {"input": "hello"},
}


def request(task: Task, **more: Any) -> Chat | Completion | Embedding | Answer:
    return read(task, json.dumps({**LEAST[task], **more}).encode())


@pytest.mark.parametrize("task", LEAST)
def test_the_least_request_is_enough(task: Task) -> None:
    assert not isinstance(request(task, model="m", user="u"), Answer)


def test_a_text_stands_for_a_list_of_one() -> None:
    completion = request("llm/v1/completions", stop="end")
    assert isinstance(completion, Completion)
    assert (completion.prompt, completion.stop) == (["hello"], ["end"])


def test_a_content_in_parts_is_one_text() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    chat = request("llm/v1/chat", messages=[{"role": "user", "content": parts, "name": None}])
    assert isinstance(chat, Chat)
    assert chat.messages[0].content == "ab"


@pytest.mark.parametrize(
    "more",
    [
        {"n": 1, "logprobs": False, "frequency_penalty": 0, "presence_penalty": 0.0, "tools": []},
        {"response_format": {"type": "text"}, "tool_choice": "none", "logit_bias": {}, "store": False},
        {"temperature": None, "top_p": None, "max_tokens": None, "stop": None, "tools": None, "seed": None},
        {"temperature": 0, "top_p": 1, "seed": -1, "stream_options": {"include_usage": True}},
    ],
)
def test_a_value_without_effect_is_no_reason_to_refuse(more: dict[str, Any]) -> None:
    assert not isinstance(request("llm/v1/chat", **more), Answer)


REFUSALS: list[tuple[Task, dict[str, Any], str]] = [
    ("llm/v1/chat", {"n": 2}, "n"),
    ("llm/v1/chat", {"n": True}, "n"),
    ("llm/v1/chat", {"tools": [{"type": "function"}]}, "tools"),
    ("llm/v1/chat", {"logprobs": True}, "logprobs"),
    ("llm/v1/chat", {"response_format": {"type": "json_object"}}, "response_format"),
    ("llm/v1/chat", {"frequency_penalty": 0.5}, "frequency_penalty"),
    ("llm/v1/chat", {"top_k": 3}, "top_k"),
    ("llm/v1/chat", {"prompt": "hello"}, "prompt"),
    ("llm/v1/chat", {"temperature": 2.1}, "temperature"),
    ("llm/v1/chat", {"temperature": "1"}, "temperature"),
    ("llm/v1/chat", {"top_p": 0}, "top_p"),
    ("llm/v1/chat", {"max_tokens": 0}, "max_tokens"),
    ("llm/v1/chat", {"max_tokens": 1.5}, "max_tokens"),
    ("llm/v1/chat", {"max_tokens": 1, "max_completion_tokens": 1}, "max_tokens"),
    ("llm/v1/chat", {"seed": 2**63}, "seed"),
    ("llm/v1/chat", {"stop": ""}, "stop.0"),
    ("llm/v1/chat", {"stop": ["a"] * 5}, "stop"),
    ("llm/v1/chat", {"stream": 1}, "stream"),
    ("llm/v1/chat", {"stream_options": {"other": 1}}, "stream_options.other"),
    ("llm/v1/chat", {"messages": []}, "messages"),
    ("llm/v1/chat", {"messages": None}, "messages"),
    ("llm/v1/chat", {"messages": "hello"}, "messages"),
    ("llm/v1/chat", {"messages": [{"role": "tool", "content": "x"}]}, "messages.0.role"),
    ("llm/v1/chat", {"messages": [{"role": "user"}]}, "messages.0.content"),
    ("llm/v1/chat", {"messages": [{**HELLO[0], "tool_calls": []}]}, "messages.0.tool_calls"),
    (
        "llm/v1/chat",
        {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
        "messages.0.content",
    ),
    ("llm/v1/completions", {"prompt": []}, "prompt"),
    ("llm/v1/completions", {"prompt": [1, 2]}, "prompt.0"),
    ("llm/v1/completions", {"prompt": ["a"] * 2049}, "prompt"),
    ("llm/v1/completions", {"logprobs": 0}, "logprobs"),
    ("llm/v1/completions", {"echo": True}, "echo"),
    ("llm/v1/completions", {"best_of": 2}, "best_of"),
    ("llm/v1/embeddings", {"input": ""}, "input.0"),
    ("llm/v1/embeddings", {"input": [[1, 2]]}, "input.0"),
    ("llm/v1/embeddings", {"encoding_format": "hex"}, "encoding_format"),
    ("llm/v1/embeddings", {"dimensions": 3}, "dimensions"),
    ("llm/v1/embeddings", {"stream": True}, "stream"),
]


@pytest.mark.parametrize(("task", "more", "parameter"), REFUSALS)
def test_a_refusal_names_the_parameter(task: Task, more: dict[str, Any], parameter: str) -> None:
    answer = request(task, **more)
    assert isinstance(answer, Answer)
    error = json.loads(answer.body)["error"]
    assert (answer.status, error["param"], error["type"]) == (400, parameter, "invalid_request_error")
    assert error["message"].startswith(f"{parameter}: ")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"3", b'{"messages": NaN}', b'"\\ud800"', b"[" * 9999])
def test_what_is_no_json_object_is_refused(body: bytes) -> None:
    answer = read("llm/v1/chat", body)
    assert isinstance(answer, Answer)
    assert answer.status == 400
