"""OpenAI's requests for chats, completions and embeddings: what of them is understood, and what is refused.

A parameter that would have no effect here is refused, never ignored, unless its value is the one that has no
effect anywhere. `null` is as good as absent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from lifecycle_as_code.serving import llm
from lifecycle_as_code.serving.answer import Answer

MAX_INPUTS = 2048
"""Prompts, or texts to embed, in one request: OpenAI's limit for embeddings."""
_MAX_STOPS = 4
_SEEDS = 2**63

_WITHOUT_EFFECT: Mapping[str, tuple[Any, ...]] = {
    "n": (1,),
    "best_of": (1,),
    "logprobs": (False,),
    "top_logprobs": (),
    "logit_bias": ({},),
    "frequency_penalty": (0, 0.0),
    "presence_penalty": (0, 0.0),
    "response_format": ({"type": "text"},),
    "tools": ([],),
    "tool_choice": ("none",),
    "parallel_tool_calls": (True, False),
    "functions": ([],),
    "function_call": ("none",),
    "echo": (False,),
    "suffix": ("",),
    "modalities": (["text"],),
    "audio": (),
    "prediction": (),
    "reasoning_effort": (),
    "verbosity": (),
    "web_search_options": (),
    "service_tier": ("auto", "default"),
    "store": (False,),
    "metadata": ({},),
    "dimensions": (),
}
"""OpenAI's parameters that models of ours don't have, and the values that mean the same as none."""


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _as_text(value: Any) -> Any:
    """A message's content, where it comes as a list of parts."""
    if not isinstance(value, list):
        return value
    parts = [
        part.get("text") if isinstance(part, dict) and part.get("type") == "text" else None for part in value
    ]
    if not all(isinstance(part, str) for part in parts):
        raise ValueError("parts other than text aren't supported")
    return "".join(str(part) for part in parts)


def _without_nulls(value: Any) -> Any:
    return {k: v for k, v in value.items() if v is not None} if isinstance(value, dict) else value


_Texts = BeforeValidator(_as_list)


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Message(_Part):
    """One message of a chat."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[str, BeforeValidator(_as_text)]
    name: str | None = None


class StreamOptions(_Part):
    """How a stream ends."""

    include_usage: bool = False


class _Request(_Part):
    model: str | None = None
    user: str | None = None
    """For the caller's own records."""


class Generation(_Request):
    """What chats and completions have in common. None: the model's own default."""

    max_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    seed: Annotated[int, Field(ge=-_SEEDS, lt=_SEEDS)] | None = None
    stop: Annotated[list[Annotated[str, Field(min_length=1)]], Field(max_length=_MAX_STOPS), _Texts] = []
    stream: bool = False
    stream_options: StreamOptions = StreamOptions()


class Chat(Generation):
    """`POST …/chat/completions`."""

    messages: Annotated[list[Annotated[Message, BeforeValidator(_without_nulls)]], Field(min_length=1)]
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None


class Completion(Generation):
    """`POST …/completions`."""

    prompt: Annotated[list[str], Field(min_length=1, max_length=MAX_INPUTS), _Texts]


class Embedding(_Request):
    """`POST …/embeddings`."""

    input: Annotated[
        list[Annotated[str, Field(min_length=1)]], Field(min_length=1, max_length=MAX_INPUTS), _Texts
    ]
    encoding_format: Literal["float", "base64"] = "float"


_SHAPES: Mapping[llm.Task, type[Chat | Completion | Embedding]] = {
    "llm/v1/chat": Chat,
    "llm/v1/completions": Completion,
    "llm/v1/embeddings": Embedding,
}


def read(task: llm.Task, body: bytes) -> Chat | Completion | Embedding | Answer:
    """The request in `body`, or the 400 that says what is wrong with it."""
    value = llm.read_request(body)
    if isinstance(value, Answer):
        return value
    value = _without_nulls(value)
    for name in [*value]:
        if name in _WITHOUT_EFFECT:
            given = value.pop(name)
            if not any(type(given) is type(other) and given == other for other in _WITHOUT_EFFECT[name]):
                return refusal(
                    name, "this model supports only 1." if name == "n" else "this model doesn't support it."
                )
    try:
        request = _SHAPES[task].model_validate(value)
    except ValidationError as e:
        problem = e.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            return refusal(place, f"{task} has no such parameter.")
        return refusal(place, problem["msg"].removeprefix("Value error, "))
    if isinstance(request, Chat) and None not in (request.max_tokens, request.max_completion_tokens):
        return refusal("max_tokens", "max_completion_tokens is given too. Leave one of them out.")
    return request


def refusal(parameter: str, message: str, code: str = "") -> Answer:
    """A 400 about one parameter. `code`: OpenAI's, where it has one of its own."""
    return llm.error(
        400, "INVALID_PARAMETER_VALUE", f"{parameter}: {message}", param=parameter, openai_code=code
    )
