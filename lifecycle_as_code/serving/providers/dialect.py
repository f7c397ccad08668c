"""What one provider's way of asking and answering is made of. Pure: bytes and objects in, the same out."""

from __future__ import annotations

import asyncio
import importlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

from lifecycle_as_code.serving.llm import Task, event
from lifecycle_as_code.serving.providers.keys import Keys
from lifecycle_as_code.serving.providers.transport import Transport

Payload = dict[str, Any]
"""An object of JSON: a request or an answer in OpenAI's shape, or in the provider's."""

MAX_EVENT = 4 * 1024 * 1024
"""Bytes of one event in a stream; a longer one ends the stream."""


class BadRequestError(Exception):
    """The caller's request can't be put to this provider. The message is for the caller."""


class BrokenAnswerError(Exception):
    """The provider's answer is none, or reports an error. `status`: what the caller gets before the head of a
    stream has been sent. The message may repeat the provider's words."""

    def __init__(self, message: str, status: int = 502) -> None:
        super().__init__(message)
        self.status = status


class CredentialsError(Exception):
    """The provider, or its token service, refused the endpoint's credentials."""


class Call(NamedTuple):
    """One POST to a provider."""

    url: str
    headers: Mapping[str, str]
    body: bytes


class Parser(ABC):
    """One stream: the provider's bytes in, OpenAI's events out. `done` is true after the last event."""

    done: bool = False

    @abstractmethod
    def feed(self, data: bytes) -> Sequence[bytes]:
        """The events that are complete with these bytes. BrokenAnswerError where the provider reports an
        error or the bytes are no events."""

    def end(self) -> Sequence[bytes]:
        """The events left at the end of the provider's bytes. BrokenAnswerError where the end is missing."""
        if not self.done:
            raise BrokenAnswerError("the stream ended before the answer was complete")
        return ()


class Dialect(ABC):
    """How one model at one provider is asked.

    Between calls it holds credentials that were made of secrets, and nothing else.
    """

    block: ClassVar[str]
    """The provider's block in `external_model`."""
    renewal: frozenset[int] = frozenset({401})
    """Statuses that may mean outdated credentials."""

    def __init__(self, model: str, task: Task, keys: Keys, transport: Transport) -> None:
        self.model = model
        self.task = task
        self.keys = keys
        self.transport = transport

    @abstractmethod
    async def check(self) -> None:
        """LookupError where a credential or a package is missing on this node."""

    @abstractmethod
    async def prepare(self, payload: Payload, stream: bool) -> Call:
        """The call for a request in OpenAI's shape, which stays as it is. BadRequestError, CredentialsError,
        LookupError, or what the transport raises while it gets a token."""

    def split(self, payload: Payload) -> list[Payload]:
        """The requests that one request takes: a provider may take fewer inputs at once."""
        return [payload]

    @abstractmethod
    def read(self, bodies: Sequence[tuple[bytes, Mapping[str, str]]], payload: Payload) -> bytes:
        """The answer in OpenAI's shape of the provider's answers, each with its headers.

        Any exception means that the provider's answer isn't what its protocol says.
        """

    @abstractmethod
    def parser(self, payload: Payload) -> Parser:
        """A parser for the stream that answers this request."""

    def simplify(self, refusal: bytes, payload: Payload) -> bool:
        """Whether a refused request may be put more simply; from then on `prepare` does."""
        return False

    def forget(self) -> None:  # noqa: B027 - most have nothing to forget
        """Make new credentials for the next call."""


class Splitter:
    """Server-sent events in bytes that come in any portions."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """The complete events, each without its empty line."""
        if self._rest:
            data = self._rest + data
        if b"\r" in data:
            data = data.replace(b"\r\n", b"\n")
        *events, self._rest = data.split(b"\n\n")
        if len(self._rest) > MAX_EVENT:
            raise BrokenAnswerError("an event of the stream is too long")
        return events


def data_in(text: bytes) -> bytes:
    """The data of one event; empty for a comment."""
    if b"\n" not in text and text.startswith(b"data:"):
        return text[5:].strip()
    lines = (line[5:].strip() for line in text.split(b"\n") if line.startswith(b"data:"))
    return b"\n".join(lines)


def load(text: bytes) -> Payload:
    """A JSON object. ValueError where it is none."""
    import orjson

    value = orjson.loads(text)
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return value


_loaded: set[str] = set()
"""Packages whose modules are imported."""


async def load_package(package: str, modules: Sequence[str], extra: str) -> None:
    """Import modules, which takes long enough to be noticed on a busy loop. LookupError where the package is
    missing on this node."""
    if package in _loaded:
        return
    try:
        for module in modules:
            await asyncio.to_thread(importlib.import_module, module)
    except ImportError:
        way_out = f"pip install 'lifecycle-as-code[{extra}]'"
        raise LookupError(f"the package {package} is missing on this node: {way_out}") from None
    _loaded.add(package)


def wants_usage(payload: Payload) -> bool:
    """Whether the caller asked for an event with the usage alone."""
    options = payload.get("stream_options")
    return isinstance(options, Mapping) and options.get("include_usage") is True


class Chunks:
    """OpenAI's events of one streamed chat, for a parser that makes them."""

    def __init__(self, model: str, payload: Payload) -> None:
        import time
        from uuid import uuid4

        self.identity = f"chatcmpl-{uuid4().hex}"
        self.model = model
        self._created = int(time.time())
        self._wants_usage = wants_usage(payload)
        self._first = True

    def delta(self, delta: Payload, finish_reason: str | None = None) -> bytes:
        """An event with a part of the message; the first one says whose message it is."""
        if self._first:
            self._first = False
            delta = {"role": "assistant", "content": "", **delta}
        return self._chunk([{"index": 0, "delta": delta, "finish_reason": finish_reason}])

    def usage(self, usage: Payload) -> bytes:
        """The last event before the end."""
        return self._chunk([] if self._wants_usage else [empty_choice("llm/v1/chat")], usage=usage)

    def _chunk(self, choices: list[Payload], **more: Any) -> bytes:
        return event(
            {
                "id": self.identity,
                "object": "chat.completion.chunk",
                "created": self._created,
                "model": self.model,
                "choices": choices,
                **more,
            }
        )


def empty_choice(task: Task) -> Payload:
    """A choice that adds nothing.

    An event without choices surprises clients that didn't ask for one: they read `choices[0]`.
    """
    empty: Payload = {"text": ""} if task == "llm/v1/completions" else {"delta": {}}
    return {"index": 0, **empty, "finish_reason": None}


def chat_answer(
    identity: str, model: str, text: str | None, tool_calls: list[Payload], finish_reason: str, usage: Payload
) -> bytes:
    """A whole chat answer in OpenAI's shape."""
    import time

    import orjson

    message: Payload = {"role": "assistant", "content": text}
    if tool_calls:
        message["tool_calls"] = tool_calls
    return orjson.dumps(
        {
            "id": identity,
            "object": "chat.completion",
            "created": int(time.time()),
            "model": model,
            "choices": [{"index": 0, "message": message, "finish_reason": finish_reason}],
            "usage": usage,
        }
    )


def usage_of(prompt: Any, completion: Any, cached: Any = None) -> Payload:
    """OpenAI's `usage`. `cached`: tokens of the prompt that the provider had in its cache, if it says so."""
    prompt, completion = int(prompt or 0), int(completion or 0)
    usage: Payload = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }
    if cached is not None:
        usage["prompt_tokens_details"] = {"cached_tokens": int(cached)}
    return usage


def tool_call(identity: str, name: str, arguments: Any) -> Payload:
    """A call of a function in a whole answer; `arguments` become JSON."""
    import orjson

    text = orjson.dumps(arguments or {}).decode()
    return {"id": identity, "type": "function", "function": {"name": name, "arguments": text}}


def embedding_answer(model: str, vectors: Sequence[Sequence[float]], tokens: int, payload: Payload) -> bytes:
    """Embeddings in OpenAI's shape: numbers, or base64 of 32-bit floats where a caller asks for that, as
    the `openai` client does."""
    import base64
    import sys
    from array import array

    import orjson

    def encode(vector: Sequence[float]) -> Any:
        if payload.get("encoding_format") != "base64":
            return vector
        floats = array("f", vector)
        if sys.byteorder == "big":
            floats.byteswap()
        return base64.b64encode(floats.tobytes()).decode()

    data = [{"object": "embedding", "index": i, "embedding": encode(v)} for i, v in enumerate(vectors)]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return orjson.dumps({"object": "list", "data": data, "model": model, "usage": usage})


def texts_in(payload: Payload) -> list[str]:
    """The inputs of a request for embeddings. BadRequestError for tokens, which are one model's own."""
    inputs = payload["input"]
    if isinstance(inputs, str):
        return [inputs]
    if isinstance(inputs, list) and inputs and all(isinstance(i, str) for i in inputs):
        return inputs
    raise BadRequestError("`input` must be a text or a list of texts for this provider")
