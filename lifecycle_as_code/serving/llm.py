"""The requests and answers of language models, in OpenAI's shapes: tasks, routes, errors, usage, events.

Both models at a provider and models of ours answer in them. Pure; the shapes are those of OpenAI's API
reference, which the `openai` client reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from lifecycle_as_code.serving.answer import EVENT_STREAM, JSON, Answer

Task = Literal["llm/v1/chat", "llm/v1/completions", "llm/v1/embeddings"]
"""Databricks' and MLflow's names of what a language model does."""

ROUTES: Mapping[str, Task] = {
    "chat/completions": "llm/v1/chat",
    "completions": "llm/v1/completions",
    "embeddings": "llm/v1/embeddings",
}
"""OpenAI's routes below `/v1/`."""

ENGINE = "engine"
"""The deployment of an entity's app that has vLLM's workers."""

DONE = b"data: [DONE]\n\n"
"""The last event of a stream."""

_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    422: "invalid_request_error",
    429: "rate_limit_error",
}


class Tokens(NamedTuple):
    """The tokens of one request: of its prompt, and of the answer."""

    prompt: int = 0
    completion: int = 0

    @property
    def total(self) -> int:
        """Both."""
        return self.prompt + self.completion


class Outcome(NamedTuple):
    """An answer, and the seconds after which a refused caller may try again, where those are known."""

    answer: Answer
    retry_after: float | None = None


def error(status: int, code: str, message: str, *, param: str | None = None, openai_code: str = "") -> Answer:
    """An error that both the `openai` client and MLflow's clients read.

    `code` is one of MLflow's, and `openai_code` OpenAI's where that has one of its own. `param` names the
    request's parameter that is to blame.
    """
    import orjson

    body = {
        "error": {
            "message": message,
            "type": _TYPES.get(status, "api_error"),
            "param": param,
            "code": openai_code or code.lower(),
        },
        "error_code": code,
        "message": message,
    }
    return Answer(status, JSON, orjson.dumps(body))


def event(data: Any) -> bytes:
    """One server-sent event."""
    import orjson

    return b"data: " + orjson.dumps(data) + b"\n\n"


def read_request(body: bytes) -> dict[str, Any] | Answer:
    """A request's JSON object, or the error to answer."""
    import orjson

    try:
        payload = orjson.loads(body)
    except ValueError:
        return error(400, "BAD_REQUEST", "The request's body is not valid JSON.")
    if not isinstance(payload, dict):
        return error(400, "BAD_REQUEST", "The request's body must be a JSON object.")
    return payload


def read(body: bytes) -> dict[str, Any]:
    """An answer's JSON object; empty where it isn't one."""
    import orjson

    try:
        payload = orjson.loads(body)
    except ValueError:
        return {}
    return payload if isinstance(payload, dict) else {}


def write(payload: Mapping[str, Any]) -> bytes:
    """The JSON of a request or an answer."""
    import orjson

    return orjson.dumps(payload)


STREAM_HEAD = Answer(200, EVENT_STREAM, b"")
"""The head of an answer that comes in events."""


def read_tokens(body: bytes) -> Tokens | None:
    """The usage in a JSON answer, or in one event's bytes; None without one."""
    import orjson

    if b'"usage"' not in body:
        return None
    text = body.removeprefix(b"data:").strip()
    try:
        usage = orjson.loads(text).get("usage")
    except (ValueError, AttributeError):
        return None
    return None if not isinstance(usage, Mapping) else count_tokens(usage)


def count_tokens(usage: Mapping[str, Any]) -> Tokens:
    """OpenAI's `usage` as numbers; embeddings have no completion."""

    def number(key: str) -> int:
        value = usage.get(key)
        return value if isinstance(value, int) else 0

    return Tokens(number("prompt_tokens"), number("completion_tokens"))
