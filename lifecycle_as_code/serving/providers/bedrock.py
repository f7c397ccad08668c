"""Amazon Bedrock: Converse for chats of every maker, InvokeModel for embeddings.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html. Signatures, the node's own
credentials and the frames of a stream are botocore's work.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from lifecycle_as_code.serving.llm import DONE
from lifecycle_as_code.serving.providers.anthropic import load_event
from lifecycle_as_code.serving.providers.dialect import (
    BadRequestError,
    BrokenAnswerError,
    Call,
    Chunks,
    Dialect,
    Parser,
    Payload,
    chat_answer,
    embedding_answer,
    load,
    load_package,
    texts_in,
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

EMBEDDERS = ("amazon", "cohere")
"""Makers of models for embeddings."""

_MODULES = ("botocore.auth", "botocore.awsrequest", "botocore.session", "botocore.eventstream")
_COHERE_BATCH = 96
_TOKENS = "x-amzn-bedrock-input-token-count"

_FINISH_REASONS = {
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "content_filtered": "content_filter",
    "guardrail_intervened": "content_filter",
}

_STATUSES = {
    "throttlingException": 429,
    "serviceUnavailableException": 503,
    "modelTimeoutException": 504,
    "validationException": 400,
}
"""Of exceptions that a stream reports."""


class Bedrock(Dialect):
    """A model at Amazon Bedrock. `bedrock_provider` names its maker."""

    block = "amazon_bedrock_config"
    # AWS answers 403 to a key or a token that it doesn't know any more
    renewal = frozenset({401, 403})

    _node: Any = None
    """The node's own credentials, which renew themselves."""

    async def check(self) -> None:
        """LookupError where botocore, the region or a key is missing."""
        await self._region()
        await self._credentials()

    async def prepare(self, payload: Payload, stream: bool) -> Call:
        """One signed call."""
        import orjson

        action, body = self._ask(payload, stream)
        region = await self._region()
        base = await self.keys.text("aws_endpoint_url", f"https://bedrock-runtime.{region}.amazonaws.com")
        # an inference profile's name has `:` and `/`
        url = f"{base.rstrip('/')}/model/{quote(self.model, safe='')}/{action}"
        data = orjson.dumps(body)
        return Call(url, self._sign(url, data, await self._credentials(), region), data)

    def split(self, payload: Payload) -> list[Payload]:
        """Titan embeds one text a call, Cohere 96."""
        if self.task != "llm/v1/embeddings":
            return [payload]
        texts = texts_in(payload)
        size = _COHERE_BATCH if self._is_cohere() else 1
        return [{**payload, "input": texts[i : i + size]} for i in range(0, len(texts), size)]

    def read(self, bodies: Sequence[tuple[bytes, Mapping[str, str]]], payload: Payload) -> bytes:
        """The answer in OpenAI's shape."""
        if self.task != "llm/v1/embeddings":
            return answer(load(bodies[0][0]), bodies[0][1].get("x-amzn-RequestId", ""), self.model)
        vectors: list[list[float]] = []
        tokens = 0
        for body, headers in bodies:
            result = load(body)
            if self._is_cohere():
                batch = result["embeddings"]
                vectors += batch["float"] if isinstance(batch, dict) else batch
            else:
                vectors.append(result["embedding"])
            tokens += int(result.get("inputTextTokenCount") or headers.get(_TOKENS) or 0)
        return embedding_answer(self.model, vectors, tokens, payload)

    def parser(self, payload: Payload) -> Parser:
        """A parser of AWS' frames."""
        return Events(self.model, payload)

    def forget(self) -> None:
        """Look the node's credentials up anew."""
        self._node = None

    def _is_cohere(self) -> bool:
        return self.keys.word("bedrock_provider") == "cohere"

    def _ask(self, payload: Payload, stream: bool) -> tuple[str, Payload]:
        if self.task != "llm/v1/embeddings":
            return "converse-stream" if stream else "converse", request(payload)
        maker = self.keys.word("bedrock_provider")
        if maker not in EMBEDDERS:
            raise BadRequestError(f"models of {maker} at Amazon Bedrock have no embeddings")
        texts = texts_in(payload)
        dimensions = payload.get("dimensions")
        if self._is_cohere():
            kind = payload.get("input_type") or "search_document"
            size = {"output_dimension": dimensions} if dimensions else {}
            return "invoke", {"texts": texts, "input_type": kind, **size}
        return "invoke", {"inputText": texts[0], **({"dimensions": dimensions} if dimensions else {})}

    async def _region(self) -> str:
        if region := await self.keys.text("aws_region"):
            return region
        raise LookupError(f"{self.block}.aws_region is missing")

    async def _credentials(self) -> Any:
        """The manifest's keys, or else the node's own: botocore looks for them as every AWS client does."""
        await load_package("botocore", _MODULES, "bedrock")
        from botocore.credentials import Credentials
        from botocore.session import Session

        if self.keys.has("aws_access_key_id"):
            identity = await self.keys.secret("aws_access_key_id")
            return Credentials(identity, await self.keys.secret("aws_secret_access_key"))

        def look_up() -> Any:
            self._node = self._node or Session().get_credentials()
            return self._node and self._node.get_frozen_credentials()

        # it may ask the machine's metadata service
        found = await asyncio.to_thread(look_up)
        if found is None:
            raise LookupError("this node has no AWS credentials, and the manifest names none")
        self.keys.conceal(found.access_key, found.secret_key, found.token or "")
        return found

    @staticmethod
    def _sign(url: str, data: bytes, credentials: Any, region: str) -> dict[str, str]:
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest

        headers = {"Content-Type": "application/json", "Accept": "*/*"}
        signed = AWSRequest("POST", url, headers, data)
        SigV4Auth(credentials, "bedrock", region).add_auth(signed)
        return dict(signed.headers.items())


def request(payload: Payload) -> Payload:
    """A chat request as the body of Converse."""
    refuse_several(payload)
    chat = read_chat(payload)
    body: Payload = {
        "messages": [{"role": t.side, "content": [_block(b) for b in t.blocks]} for t in chat.turns]
    }
    if chat.system:
        body["system"] = [{"text": text} for text in chat.system]
    inference = {
        "maxTokens": max_tokens(payload),
        "temperature": payload.get("temperature"),
        "topP": payload.get("top_p"),
        "stopSequences": stop_texts(payload) or None,
    }
    if inference := {key: value for key, value in inference.items() if value is not None}:
        body["inferenceConfig"] = inference
    if more := {key: payload[key] for key in ("top_k", "thinking") if payload.get(key) is not None}:
        body["additionalModelRequestFields"] = more
    uses_tools = any(isinstance(b, ToolUse | ToolResult) for t in chat.turns for b in t.blocks)
    # Converse can't forbid tools; a chat that has used some must name them
    if (tools := read_tools(payload)) and (uses_tools or payload.get("tool_choice") != "none"):
        config: Payload = {
            "tools": [
                {
                    "toolSpec": {
                        "name": tool.name,
                        **({"description": tool.description} if tool.description else {}),
                        "inputSchema": {"json": tool.schema},
                    }
                }
                for tool in tools
            ]
        }
        if name := chosen_tool(payload):
            config["toolChoice"] = {"tool": {"name": name}}
        elif payload.get("tool_choice") == "required":
            config["toolChoice"] = {"any": {}}
        body["toolConfig"] = config
    return body


def _block(block: Block) -> Payload:
    match block:
        case Text(text):
            return {"text": text}
        case Image(_, "", _):
            raise BadRequestError("Amazon Bedrock takes images as base64 data, not as addresses")
        case Image(media_type, data, _):
            return {"image": {"format": media_type.rpartition("/")[2], "source": {"bytes": data}}}
        case ToolUse(identity, name, arguments):
            return {"toolUse": {"toolUseId": identity, "name": name, "input": arguments}}
        case ToolResult(identity, text):
            return {"toolResult": {"toolUseId": identity, "content": [{"text": text or " "}]}}


def answer(result: Payload, identity: str, model: str) -> bytes:
    """Converse's answer as a chat answer."""
    blocks = result["output"]["message"]["content"]
    texts = [block["text"] for block in blocks if "text" in block]
    calls = [
        tool_call(use["toolUseId"], use["name"], use.get("input"))
        for use in (block["toolUse"] for block in blocks if "toolUse" in block)
    ]
    text = "".join(texts) if texts else None
    reason = _finish_reason(result.get("stopReason"))
    return chat_answer(f"chatcmpl-{identity}", model, text, calls, reason, _usage(result.get("usage") or {}))


def _finish_reason(reason: str | None) -> str:
    return _FINISH_REASONS.get(reason or "", "stop")


def _usage(usage: Mapping[str, Any]) -> Payload:
    """Converse counts tokens of a cached prompt apart."""
    cached = usage.get("cacheReadInputTokens")
    prompt = (usage.get("inputTokens") or 0) + (cached or 0) + (usage.get("cacheWriteInputTokens") or 0)
    return usage_of(prompt, usage.get("outputTokens"), cached)


class Events(Parser):
    """The frames of ConverseStream, each with a JSON object."""

    def __init__(self, model: str, payload: Payload) -> None:
        from botocore.eventstream import EventStreamBuffer

        self._frames = EventStreamBuffer()
        self._chunks = Chunks(model, payload)
        self._calls: dict[int, int] = {}
        self._stopped = False

    def feed(self, data: bytes) -> Sequence[bytes]:
        """OpenAI's events."""
        from botocore.eventstream import ParserError

        events: list[bytes] = []
        self._frames.add_data(data)
        try:
            for frame in self._frames:
                if frame.headers.get(":message-type") != "event":
                    raise _reported(frame)
                if not self.done:
                    events += self._take(frame.headers.get(":event-type"), load_event(frame.payload))
        except ParserError:
            raise BrokenAnswerError("a frame of the stream is damaged") from None
        return events

    def end(self) -> Sequence[bytes]:
        """The last frame has the usage; an answer without it is complete all the same."""
        if self._stopped and not self.done:
            self.done = True
            return [DONE]
        return super().end()

    def _take(self, kind: str, event: Payload) -> Sequence[bytes]:
        number = event.get("contentBlockIndex", 0)
        match kind, event:
            case "contentBlockDelta", {"delta": {"text": text}}:
                return [self._chunks.delta({"content": text})]
            case "contentBlockDelta", {"delta": {"toolUse": {"input": text}}}:
                call = {"index": self._calls[number], "function": {"arguments": text}}
                return [self._chunks.delta({"tool_calls": [call]})]
            case "contentBlockStart", {"start": {"toolUse": use}}:
                self._calls[number] = place = len(self._calls)
                function = {"name": use["name"], "arguments": ""}
                call = {"index": place, "id": use["toolUseId"], "type": "function", "function": function}
                return [self._chunks.delta({"tool_calls": [call]})]
            case "messageStop", _:
                self._stopped = True
                return [self._chunks.delta({}, _finish_reason(event.get("stopReason")))]
            case "metadata", _:
                self.done = True
                return [self._chunks.usage(_usage(event.get("usage") or {})), DONE]
        return ()


def _reported(frame: Any) -> BrokenAnswerError:
    kind = frame.headers.get(":exception-type") or frame.headers.get(":error-code") or ""
    try:
        message = str(load(frame.payload).get("message", ""))
    except ValueError:
        message = str(frame.headers.get(":error-message", ""))
    return BrokenAnswerError(message or kind, _STATUSES.get(kind, 502))
