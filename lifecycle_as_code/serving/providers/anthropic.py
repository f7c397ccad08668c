"""Anthropic's Messages: https://docs.claude.com/en/api/messages

The translation is what MLflow's gateway does, and differs where that would hurt: a temperature stays as it
is (MLflow halves it), `stop` may be one text, instructions may be lists or come from a `developer`, text
beside a tool call stays, tools need no description, an image may be an address, and parameters that Anthropic
refuses are left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from lifecycle_as_code.serving.llm import DONE
from lifecycle_as_code.serving.providers.dialect import (
    BrokenAnswerError,
    Call,
    Chunks,
    Dialect,
    Parser,
    Payload,
    Splitter,
    chat_answer,
    data_in,
    load,
    tool_call,
    usage_of,
)
from lifecycle_as_code.serving.providers.messages import (
    Block,
    Image,
    Text,
    ToolResult,
    ToolUse,
    chosen_tool,
    max_tokens,
    read_chat,
    read_tools,
    refuse_several,
    stop_texts,
)

MAX_TOKENS = 8192
"""Tokens of an answer where the caller names no limit: Anthropic requires one. MLflow's default."""

_ITS_OWN = ("temperature", "top_p", "top_k", "thinking", "metadata", "output_config")
"""Parameters that mean the same here, or are Anthropic's own."""

_JSON_ONLY = "Respond with one valid JSON object and nothing else: no explanation and no code fence."

_FINISH_REASONS = {
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}

_STATUSES = {"overloaded_error": 503, "rate_limit_error": 429, "timeout_error": 504}
"""Of errors that a stream reports."""


class Anthropic(Dialect):
    """Claude at Anthropic."""

    block = "anthropic_config"
    version: ClassVar[str] = "2023-06-01"

    async def check(self) -> None:
        """LookupError where the key is missing."""
        await self.keys.secret("anthropic_api_key")

    async def prepare(self, payload: Payload, stream: bool) -> Call:
        """One call of `/messages`."""
        import orjson

        base = await self.keys.text("anthropic_api_base", "https://api.anthropic.com/v1")
        headers = {
            "Content-Type": "application/json",
            "anthropic-version": self.version,
            "x-api-key": await self.keys.secret("anthropic_api_key"),
        }
        body = {"model": self.model, **request(payload), **({"stream": True} if stream else {})}
        return Call(f"{base.rstrip('/')}/messages", headers, orjson.dumps(body))

    def read(self, bodies: Sequence[tuple[bytes, Mapping[str, str]]], payload: Payload) -> bytes:
        """A message as a chat answer."""
        return answer(load(bodies[0][0]), self.model)

    def parser(self, payload: Payload) -> Parser:
        """A parser of Anthropic's events."""
        return Events(self.model, payload)


def request(payload: Payload) -> Payload:
    """A chat request as the body of a message, without model and `stream`."""
    refuse_several(payload)
    chat = read_chat(payload)
    body: Payload = {
        "max_tokens": max_tokens(payload) or MAX_TOKENS,
        "messages": [{"role": t.side, "content": [_block(b) for b in t.blocks]} for t in chat.turns],
    }
    body |= {key: payload[key] for key in _ITS_OWN if payload.get(key) is not None}
    system = list(chat.system)
    match payload.get("response_format"):
        case {"type": "json_schema", "json_schema": {"schema": dict(schema)}}:
            body["output_config"] = {"format": {"type": "json_schema", "schema": schema}}
        case {"type": "json_object"}:
            system.append(_JSON_ONLY)
    if system:
        body["system"] = "\n".join(system)
    if stop := stop_texts(payload):
        body["stop_sequences"] = stop
    if user := payload.get("user"):
        body.setdefault("metadata", {"user_id": str(user)})
    if tools := read_tools(payload):
        body["tools"] = [
            {
                "name": tool.name,
                **({"description": tool.description} if tool.description else {}),
                "input_schema": tool.schema,
            }
            for tool in tools
        ]
        if choice := _choice(payload):
            body["tool_choice"] = choice
    return body


def _choice(payload: Payload) -> Payload | None:
    serial = {"disable_parallel_tool_use": True} if payload.get("parallel_tool_calls") is False else {}
    if name := chosen_tool(payload):
        return {"type": "tool", "name": name, **serial}
    match payload.get("tool_choice"):
        case "none":
            return {"type": "none"}
        case "required":
            return {"type": "any", **serial}
        case "auto":
            return {"type": "auto", **serial}
    return {"type": "auto", **serial} if serial else None


def _block(block: Block) -> Payload:
    match block:
        case Text(text):
            return {"type": "text", "text": text}
        case Image(_, "", url):
            return {"type": "image", "source": {"type": "url", "url": url}}
        case Image(media_type, data, _):
            return {"type": "image", "source": {"type": "base64", "media_type": media_type, "data": data}}
        case ToolUse(identity, name, arguments):
            return {"type": "tool_use", "id": identity, "name": name, "input": arguments}
        case ToolResult(identity, text):
            return {"type": "tool_result", "tool_use_id": identity, "content": text}


def answer(message: Payload, model: str) -> bytes:
    """A message as a chat answer."""
    texts = [block["text"] for block in message["content"] if block["type"] == "text"]
    calls = [
        tool_call(block["id"], block["name"], block["input"])
        for block in message["content"]
        if block["type"] == "tool_use"
    ]
    return chat_answer(
        message.get("id", ""),
        message.get("model") or model,
        "".join(texts) if texts else None,
        calls,
        _finish_reason(message.get("stop_reason")),
        _usage(message.get("usage") or {}),
    )


def _finish_reason(stop_reason: str | None) -> str:
    return _FINISH_REASONS.get(stop_reason or "", "stop")


def _usage(usage: Mapping[str, Any]) -> Payload:
    """Anthropic counts tokens of a cached prompt apart."""
    cached = usage.get("cache_read_input_tokens")
    prompt = (
        (usage.get("input_tokens") or 0) + (cached or 0) + (usage.get("cache_creation_input_tokens") or 0)
    )
    return usage_of(prompt, usage.get("output_tokens"), cached)


class Events(Parser):
    """Anthropic's events: https://docs.claude.com/en/docs/build-with-claude/streaming"""

    def __init__(self, model: str, payload: Payload) -> None:
        self._splitter = Splitter()
        self._chunks = Chunks(model, payload)
        self._usage: dict[str, Any] = {}
        self._calls: dict[int, int] = {}
        """The number of a tool call by the number of its block."""

    def feed(self, data: bytes) -> Sequence[bytes]:
        """OpenAI's events."""
        events: list[bytes] = []
        for text in self._splitter.feed(data):
            if self.done:
                break
            if text := data_in(text):
                events += self.take(load_event(text))
        return events

    def take(self, event: Payload) -> Sequence[bytes]:
        """What one of Anthropic's events becomes."""
        match event:
            case {"type": "content_block_delta", "delta": {"type": "text_delta", "text": text}}:
                return [self._chunks.delta({"content": text})]
            case {"type": "content_block_delta", "index": i, "delta": {"partial_json": text}}:
                call = {"index": self._calls[i], "function": {"arguments": text}}
                return [self._chunks.delta({"tool_calls": [call]})]
            case {"type": "content_block_start", "index": i, "content_block": {"type": "tool_use", **use}}:
                self._calls[i] = number = len(self._calls)
                function = {"name": use["name"], "arguments": ""}
                call = {"index": number, "id": use["id"], "type": "function", "function": function}
                return [self._chunks.delta({"tool_calls": [call]})]
            case {"type": "message_start", "message": message}:
                self._chunks.identity = message.get("id") or self._chunks.identity
                self._chunks.model = message.get("model") or self._chunks.model
                self._usage |= message.get("usage") or {}
            case {"type": "message_delta", "delta": delta}:
                self._usage |= {k: v for k, v in (event.get("usage") or {}).items() if v is not None}
                if reason := delta.get("stop_reason"):
                    return [self._chunks.delta({}, _finish_reason(reason))]
            case {"type": "message_stop"}:
                self.done = True
                return [self._chunks.usage(_usage(self._usage)), DONE]
            case {"type": "error", "error": error}:
                status = _STATUSES.get(error.get("type", ""), 502)
                raise BrokenAnswerError(str(error.get("message", "")), status)
        return ()


def load_event(text: bytes) -> Payload:
    """The JSON object of an event. BrokenAnswerError where it is none."""
    try:
        return load(text)
    except ValueError:
        raise BrokenAnswerError("an event of the stream isn't JSON") from None
