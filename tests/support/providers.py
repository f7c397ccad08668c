"""Providers of models on loopback, each in its own protocol, with faults that can be switched on.

They check what the real ones check: credentials and signatures, required and unknown fields.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from urllib.parse import parse_qs

from aiohttp import web
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

WORDS = ["Hel", "lo ", "there"]
ANSWER = "".join(WORDS)
USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
CANARY = "sk-canary-7f3a9c51e0"
"""The key of every provider; it may appear in no answer, log or repr."""
SLOW = 0.05
"""Seconds that a slow provider takes to begin."""
CHAT, COMPLETIONS, EMBEDDINGS = "llm/v1/chat", "llm/v1/completions", "llm/v1/embeddings"

ERRORS = {"400": 400, "401": 401, "403": 403, "404": 404, "429": 429, "429-long": 429, "500": 500, "529": 529}
FAULTS = [*ERRORS, "malformed", "redirect", "cut", "slow", "hang", "reset", "stall"]


@dataclass
class Provider:
    """One running provider. `faults`: of the next requests, in turn; `fault`: of all after them."""

    kind: str
    url: str = ""
    key: str = CANARY
    faults: list[str] = field(default_factory=list)
    fault: str = ""
    requests: list[dict[str, Any]] = field(default_factory=list)
    """Path, headers and JSON of each request for an answer."""
    token_status: int = 200
    tokens: int = 0
    """How many tokens its token service has made."""
    left: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a client leaves before its answer is complete."""
    dripping: bool = False
    """A stream goes on until the client leaves."""
    refuses_stream_options: bool = False
    knows_streams: bool = True
    lingers: bool = False
    """The transfer ends a while after the last event."""

    @property
    def settings(self) -> Callable[..., dict[str, Any]]:
        """`external_model` for this provider: `settings(task)`."""
        return lambda task=CHAT: _settings(self, task)


KINDS = {
    "openai": (CHAT, COMPLETIONS, EMBEDDINGS),
    "azure": (CHAT, COMPLETIONS, EMBEDDINGS),
    "azuread": (CHAT, COMPLETIONS, EMBEDDINGS),
    "anthropic": (CHAT, COMPLETIONS),
    "bedrock": (CHAT, COMPLETIONS, EMBEDDINGS),
    "bedrock-cohere": (CHAT, COMPLETIONS, EMBEDDINGS),
    "cohere": (CHAT, COMPLETIONS, EMBEDDINGS),
    "vertex": (CHAT, COMPLETIONS, EMBEDDINGS),
    "vertex-claude": (CHAT, COMPLETIONS),
    "databricks": (CHAT, COMPLETIONS, EMBEDDINGS),
    "custom": (CHAT, COMPLETIONS, EMBEDDINGS),
    "custom-key": (CHAT, COMPLETIONS, EMBEDDINGS),
}
"""The providers, and what each one's models do."""

KEY = "{{ env.PROVIDER_KEY }}"


def _settings(provider: Provider, task: str) -> dict[str, Any]:
    url = provider.url
    match provider.kind:
        case "openai":
            config = {"openai_api_key": KEY, "openai_api_base": f"{url}/v1"}
            return _model("gpt-test", task, "openai", "openai_config", config)
        case "azure" | "azuread":
            config = {
                "openai_api_type": provider.kind,
                "openai_api_base": url,
                "openai_deployment_name": "deployed",
                "openai_api_version": "2024-10-21",
            }
            if provider.kind == "azure":
                config["openai_api_key"] = KEY
            else:
                config |= {
                    "microsoft_entra_client_id": "client",
                    "microsoft_entra_client_secret": KEY,
                    "microsoft_entra_tenant_id": "tenant",
                    "microsoft_entra_login_base": url,
                }
            return _model("gpt-test", task, "openai", "openai_config", config)
        case "anthropic":
            config = {"anthropic_api_key": KEY, "anthropic_api_base": f"{url}/v1"}
            return _model("claude-test", task, "anthropic", "anthropic_config", config)
        case "bedrock" | "bedrock-cohere":
            maker = "amazon" if provider.kind == "bedrock" else "cohere"
            config = {
                "aws_region": "eu-west-1",
                "aws_access_key_id": "AKIDTEST",
                "aws_secret_access_key": KEY,
                "bedrock_provider": maker,
                "aws_endpoint_url": url,
            }
            return _model(f"{maker}.test-v1:0", task, "amazon-bedrock", "amazon_bedrock_config", config)
        case "cohere":
            config = {"cohere_api_key": KEY, "cohere_api_base": f"{url}/v1"}
            return _model("command-test", task, "cohere", "cohere_config", config)
        case "vertex" | "vertex-claude":
            config = {
                "project_id": "project",
                "region": "europe-west1",
                "private_key": "{{ env.SERVICE_ACCOUNT }}",
                "vertex_ai_api_base": url,
            }
            name = "gemini-test" if provider.kind == "vertex" else "claude-test@20250101"
            return _model(name, task, "google-cloud-vertex-ai", "google_cloud_vertex_ai_config", config)
        case "databricks":
            config = {"databricks_workspace_url": url, "databricks_api_token": KEY}
            block = "databricks_model_serving_config"
            return _model("llama", task, "databricks-model-serving", block, config)
        case "custom":
            config = {"custom_provider_url": f"{url}/v1", "bearer_token_auth": {"token": KEY}}
            return _model("own", task, "custom", "custom_provider_config", config)
        case _:
            route = {CHAT: "chat/completions", COMPLETIONS: "completions", EMBEDDINGS: "embeddings"}[task]
            auth = {"key": "x-own-key", "value": KEY}
            config = {"custom_provider_url": f"{url}/odd/{route}", "api_key_auth": auth}
            return _model("own", task, "custom", "custom_provider_config", config)


def _model(name: str, task: str, provider: str, block: str, config: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "task": task, "provider": provider, block: config}


def environment(provider: Provider) -> dict[str, str]:
    """The variables that `settings` refers to, with the provider's present key."""
    return {"PROVIDER_KEY": provider.key, "SERVICE_ACCOUNT": json.dumps(_service_account(provider.url))}


@cache
def _rsa_key() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return key.private_bytes(*form).decode()


def _service_account(url: str) -> dict[str, str]:
    return {
        "type": "service_account",
        "project_id": "project",
        "private_key_id": "1",
        "private_key": _rsa_key(),
        "client_email": "lac@project.iam.gserviceaccount.com",
        "token_uri": f"{url}/token",
    }


@asynccontextmanager
async def serve(kind: str, **more: Any) -> AsyncIterator[Provider]:
    """Run one provider while the block runs."""
    provider = Provider(kind, **more)
    app = web.Application(client_max_size=2**26)
    app.router.add_route("*", "/{path:.*}", lambda request: _handle(provider, request))
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server: Any = site._server
    provider.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield provider
    finally:
        await runner.cleanup()


async def _handle(provider: Provider, request: web.Request) -> web.StreamResponse:
    try:
        return await _answer(provider, request)
    except (asyncio.CancelledError, ConnectionResetError):
        provider.left.set()
        raise


async def _answer(provider: Provider, request: web.Request) -> web.StreamResponse:
    path = request.path
    if path in ("/token", "/tenant/oauth2/v2.0/token"):
        return await _token(provider, request)
    body = await request.read()
    data = json.loads(body)
    provider.requests.append({"path": request.path_qs, "headers": dict(request.headers), "json": data})
    if path == "/elsewhere":
        return web.json_response({"followed": True})
    if not _is_authentic(provider, request, body):
        return _error(provider, 403 if "bedrock" in provider.kind else 401, "bad key")
    fault = provider.faults.pop(0) if provider.faults else provider.fault
    if fault in ERRORS:
        headers = {"429": {"Retry-After": "0"}, "429-long": {"Retry-After": "12"}}.get(fault, {})
        return _error(provider, ERRORS[fault], f"no, not with {_credential(provider)}", headers)
    if fault == "redirect":
        raise web.HTTPTemporaryRedirect("/elsewhere")
    if fault == "hang":
        await asyncio.sleep(60)
    if fault == "slow":
        await asyncio.sleep(SLOW)
    if fault == "reset":
        _abort(request)
    protocol = _PROTOCOLS[_protocol(path)]
    answer = protocol(provider, request, data)
    if isinstance(answer, web.Response):
        if fault == "malformed":
            return web.Response(body=b'{"choices": [', content_type="application/json")
        if fault == "cut":
            whole = answer.body
            assert isinstance(whole, bytes)
            cut = web.StreamResponse(headers={"Content-Length": str(len(whole))})
            cut.content_type = "application/json"
            await cut.prepare(request)
            await cut.write(whole[:-5])
            _abort(request)
            return cut
        return answer
    media_type, parts = answer
    response = web.StreamResponse()
    response.content_type = media_type
    await response.prepare(request)
    for number, part in enumerate(parts):
        if fault == "malformed":
            await response.write(b"data: {no\n\n" * 2)
            return response
        await response.write(part)
        if fault == "cut" and number == len(parts) // 2:
            # so that what was written arrives before the reset
            await asyncio.sleep(0.02)
            _abort(request)
        if fault == "stall" and number == len(parts) // 2:
            await asyncio.sleep(60)
        if provider.dripping and number == len(parts) // 2:
            while True:
                await asyncio.sleep(0.005)
                await response.write(part)
    if provider.lingers:
        await asyncio.sleep(0.02)
    return response


def _abort(request: web.Request) -> None:
    assert request.transport is not None
    request.transport.abort()


async def _token(provider: Provider, request: web.Request) -> web.Response:
    form = parse_qs((await request.read()).decode())
    if provider.token_status != 200:
        return web.json_response({"error": "unavailable"}, status=provider.token_status)
    if form["grant_type"] == ["client_credentials"]:
        if form["client_secret"] != [provider.key] or form["client_id"] != ["client"]:
            return web.json_response({"error": "invalid_client"}, status=401)
    else:
        assert form["assertion"][0].count(".") == 2
    provider.tokens += 1
    return web.json_response(
        {"access_token": f"{provider.key}-token", "expires_in": 3600, "token_type": "Bearer"}
    )


def _is_authentic(provider: Provider, request: web.Request, body: bytes) -> bool:
    headers = request.headers
    match provider.kind:
        case "azure":
            return headers.get("api-key") == provider.key
        case "azuread" | "vertex" | "vertex-claude":
            return headers.get("Authorization") == f"Bearer {provider.key}-token"
        case "anthropic":
            return headers.get("x-api-key") == provider.key
        case "custom-key":
            return headers.get("x-own-key") == provider.key
        case "bedrock" | "bedrock-cohere":
            return _signature(provider, request, body) == headers["Authorization"]
    return headers.get("Authorization") == f"Bearer {provider.key}"


def _credential(provider: Provider) -> str:
    """The secret that a client of this provider has."""
    return f"{provider.key}-token" if provider.kind.startswith("vertex") else provider.key


def _signature(provider: Provider, request: web.Request, body: bytes) -> str:
    """What AWS computes of the request that came in, at the time that it names."""
    signer = SigV4Auth(Credentials("AKIDTEST", provider.key), "bedrock", "eu-west-1")
    signed = request.headers["Authorization"].partition("SignedHeaders=")[2].partition(",")[0].split(";")
    names = {name: value for name, value in request.headers.items() if name.lower() in signed}
    mine = AWSRequest("POST", provider.url + request.raw_path, names, body)
    mine.context["timestamp"] = request.headers["X-Amz-Date"]
    text = signer.string_to_sign(mine, signer.canonical_request(mine))
    scope = signer.scope(mine)
    return (
        f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders={';'.join(signed)}, "
        f"Signature={signer.signature(text, mine)}"
    )


def _error(provider: Provider, status: int, text: str, headers: dict[str, str] | None = None) -> web.Response:
    body: Any = {"error": {"message": text, "type": "some_error", "code": None}}
    match provider.kind:
        case "anthropic" | "vertex-claude":
            body = {"type": "error", "error": {"type": "some_error", "message": text}}
        case "bedrock" | "bedrock-cohere" | "cohere":
            body = {"message": text}
        case "vertex":
            body = [{"error": {"code": status, "message": text, "status": "SOME"}}]
        case "databricks":
            body = {"error_code": "SOME", "message": text}
    return web.json_response(body, status=status, headers=headers)


Stream = tuple[str, list[bytes]]
Protocol = Callable[[Provider, web.Request, dict[str, Any]], web.Response | Stream]


def _protocol(path: str) -> str:
    if path.startswith("/model/"):
        return "bedrock"
    if path.endswith((":rawPredict", ":streamRawPredict", "/messages")):
        return "anthropic"
    return "predict" if path.endswith(":predict") else "openai"


def _sse(data: Any, name: str = "") -> bytes:
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(data, separators=(',', ':'))}\n\n".encode()


def vector(text: str) -> list[float]:
    """The embedding of a text."""
    return [float(len(text)), 0.5, -1.25]


_OPENAI_PATHS = {
    "openai": "/v1/",
    "azure": "/openai/deployments/deployed/",
    "azuread": "/openai/deployments/deployed/",
    "cohere": "/compatibility/v1/",
    "vertex": "/v1/projects/project/locations/europe-west1/endpoints/openapi/",
    "custom": "/v1/",
    "custom-key": "/odd/",
}


def _openai(provider: Provider, request: web.Request, data: dict[str, Any]) -> web.Response | Stream:
    if provider.kind == "databricks":
        assert request.path == "/serving-endpoints/llama/invocations"
    else:
        prefix = _OPENAI_PATHS[provider.kind]
        assert request.path.startswith(prefix), request.path
        route = request.path.removeprefix(prefix)
        field_ = {"chat/completions": "messages", "completions": "prompt", "embeddings": "input"}[route]
        assert field_ in data
    if provider.kind.startswith("azure"):
        assert request.query["api-version"] == "2024-10-21"
    if provider.refuses_stream_options and "stream_options" in data:
        return _error(provider, 422, "stream_options: Extra inputs are not permitted")
    if "input" in data:
        texts = [data["input"]] if isinstance(data["input"], str) else data["input"]
        rows = [{"object": "embedding", "index": i, "embedding": vector(t)} for i, t in enumerate(texts)]
        usage = {"prompt_tokens": 7, "total_tokens": 7}
        return web.json_response({"object": "list", "data": rows, "model": data["model"], "usage": usage})
    is_chat = "messages" in data
    head = {"id": "chatcmpl-1", "created": 1, "model": data["model"]}

    def choice(text: str | None, reason: str | None, key: str) -> dict[str, Any]:
        words = {key: {"content": text} if text else {}} if is_chat else {"text": text or ""}
        return {"index": 0, **words, "finish_reason": reason}

    if not (data.get("stream") and provider.knows_streams):
        kind = "chat.completion" if is_chat else "text_completion"
        choices = [choice(ANSWER, "stop", "message")]
        return web.json_response({**head, "object": kind, "choices": choices, "usage": USAGE})
    head["object"] = "chat.completion.chunk" if is_chat else "text_completion"
    parts = [b": keep-alive\n\n"]
    parts += [_sse({**head, "choices": [choice(word, None, "delta")]}) for word in WORDS]
    parts.append(_sse({**head, "choices": [choice(None, "stop", "delta")]}))
    if (data.get("stream_options") or {}).get("include_usage"):
        parts.append(_sse({**head, "choices": [], "usage": USAGE}))
    return "text/event-stream", [*parts, b"data: [DONE]\n\n"]


_ANTHROPIC_FIELDS = {
    "model", "messages", "max_tokens", "system", "stop_sequences", "temperature", "top_p", "top_k", "tools",
    "tool_choice", "metadata", "stream", "thinking", "output_config", "anthropic_version",
}  # fmt: skip


def _anthropic(provider: Provider, request: web.Request, data: dict[str, Any]) -> web.Response | Stream:
    if provider.kind == "vertex-claude":
        root = "/v1/projects/project/locations/europe-west1/publishers/anthropic/models/claude-test@20250101"
        assert request.path == root + (":streamRawPredict" if data.get("stream") else ":rawPredict")
        assert data["anthropic_version"] == "vertex-2023-10-16"
        assert "model" not in data
    else:
        assert request.path == "/v1/messages"
        assert request.headers["anthropic-version"] == "2023-06-01"
        assert data["model"] == "claude-test"
    for name in data:
        if name not in _ANTHROPIC_FIELDS:
            return _error(provider, 400, f"{name}: Extra inputs are not permitted")
    if not isinstance(data.get("max_tokens"), int):
        return _error(provider, 400, "max_tokens: Field required")
    if not 0 <= data.get("temperature", 0) <= 1:
        return _error(provider, 400, "temperature: range: 0..1")
    for message in data["messages"]:
        assert message["role"] in ("user", "assistant")
        assert all(b["type"] != "text" or b["text"] for b in message["content"])
    call = {"type": "tool_use", "id": "toolu_1", "name": "weather"}
    start = {"input_tokens": 4, "cache_read_input_tokens": 3, "cache_creation_input_tokens": 0}
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-test"}
    reason = "tool_use" if data.get("tools") else "end_turn"
    if not data.get("stream"):
        content: list[dict[str, Any]] = [{"type": "text", "text": ANSWER}]
        if data.get("tools"):
            content.append({**call, "input": {"city": "Bonn"}})
        usage = {**start, "output_tokens": 3}
        return web.json_response({**message, "content": content, "stop_reason": reason, "usage": usage})
    begun = {**message, "content": [], "usage": {**start, "output_tokens": 1}}
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": begun},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "ping"},
    ]
    for word in WORDS:
        delta = {"type": "text_delta", "text": word}
        events.append({"type": "content_block_delta", "index": 0, "delta": delta})
    events.append({"type": "content_block_stop", "index": 0})
    if data.get("tools"):
        events.append({"type": "content_block_start", "index": 1, "content_block": {**call, "input": {}}})
        for text in ("", '{"city":', '"Bonn"}'):
            delta = {"type": "input_json_delta", "partial_json": text}
            events.append({"type": "content_block_delta", "index": 1, "delta": delta})
        events.append({"type": "content_block_stop", "index": 1})
    stop = {"stop_reason": reason, "stop_sequence": None}
    events.append({"type": "message_delta", "delta": stop, "usage": {"output_tokens": 3}})
    events.append({"type": "message_stop"})
    return "text/event-stream", [_sse(event, event["type"]) for event in events]


def frame(payload: Any, **headers: str) -> bytes:
    """One message of AWS' event stream."""
    head = b""
    for name, value in headers.items():
        name = ":" + name.replace("_", "-")
        head += bytes([len(name)]) + name.encode() + b"\x07" + struct.pack("!H", len(value)) + value.encode()
    body = json.dumps(payload).encode()
    prelude = struct.pack("!II", 16 + len(head) + len(body), len(head))
    message = prelude + struct.pack("!I", binascii.crc32(prelude)) + head + body
    return message + struct.pack("!I", binascii.crc32(message))


_CONVERSE_FIELDS = {"messages", "system", "inferenceConfig", "toolConfig", "additionalModelRequestFields"}


def _bedrock(provider: Provider, request: web.Request, data: dict[str, Any]) -> web.Response | Stream:
    model, _, action = request.raw_path.removeprefix("/model/").partition("/")
    assert model == provider.settings()["name"].replace(":", "%3A")
    if action == "invoke":
        if provider.kind == "bedrock":
            return web.json_response({"embedding": vector(data["inputText"]), "inputTextTokenCount": 7})
        assert data["input_type"] == "search_document"
        assert len(data["texts"]) <= 96
        return web.json_response(
            {"embeddings": [vector(text) for text in data["texts"]]},
            headers={"X-Amzn-Bedrock-Input-Token-Count": "7"},
        )
    assert set(data) <= _CONVERSE_FIELDS
    sides = [message["role"] for message in data["messages"]]
    assert sides == ["user", "assistant"] * (len(sides) // 2) + ["user"], "roles must alternate"
    assert all(message["content"] for message in data["messages"])
    usage = {"inputTokens": 4, "outputTokens": 3, "totalTokens": 10, "cacheReadInputTokens": 3}
    tools = "toolConfig" in data
    reason = "tool_use" if tools else "end_turn"
    if action == "converse":
        content: list[dict[str, Any]] = [{"text": ANSWER}]
        if tools:
            use = {"toolUseId": "toolu_1", "name": "weather", "input": {"city": "Bonn"}}
            content.append({"toolUse": use})
        message = {"role": "assistant", "content": content}
        return web.json_response({"output": {"message": message}, "stopReason": reason, "usage": usage})
    assert action == "converse-stream"

    def event(kind: str, payload: Any) -> bytes:
        content_type = "application/json"
        return frame(payload, event_type=kind, content_type=content_type, message_type="event")

    parts = [event("messageStart", {"role": "assistant"})]
    words = [{"contentBlockIndex": 0, "delta": {"text": word}} for word in WORDS]
    parts += [event("contentBlockDelta", word) for word in words]
    parts.append(event("contentBlockStop", {"contentBlockIndex": 0}))
    if tools:
        start = {"toolUse": {"toolUseId": "toolu_1", "name": "weather"}}
        parts.append(event("contentBlockStart", {"contentBlockIndex": 1, "start": start}))
        for text in ('{"city":', '"Bonn"}'):
            delta = {"toolUse": {"input": text}}
            parts.append(event("contentBlockDelta", {"contentBlockIndex": 1, "delta": delta}))
        parts.append(event("contentBlockStop", {"contentBlockIndex": 1}))
    parts.append(event("messageStop", {"stopReason": reason}))
    parts.append(event("metadata", {"usage": usage, "metrics": {"latencyMs": 1}}))
    return "application/vnd.amazon.eventstream", parts


def _predict(_: Provider, request: web.Request, data: dict[str, Any]) -> web.Response:
    root = "/v1/projects/project/locations/europe-west1/publishers/google/models/gemini-test"
    assert request.path == f"{root}:predict"
    (instance,) = data["instances"]
    result = {"values": vector(instance["content"]), "statistics": {"token_count": 7, "truncated": False}}
    return web.json_response({"predictions": [{"embeddings": result}]})


_PROTOCOLS: dict[str, Protocol] = {
    "openai": _openai,
    "anthropic": _anthropic,
    "bedrock": _bedrock,
    "predict": _predict,
}


def floats(text: str) -> list[float]:
    """The vector in an embedding's base64."""
    data = base64.b64decode(text)
    return list(struct.unpack(f"<{len(data) // 4}f", data))
