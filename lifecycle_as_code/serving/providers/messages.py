"""A chat as turns of blocks: what Anthropic's Messages and Bedrock's Converse have in common."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from lifecycle_as_code.serving.providers.dialect import BadRequestError, Payload

_DATA_URL = re.compile(r"data:(?P<type>[^;,]+);base64,(?P<data>.*)", re.DOTALL)


class Text(NamedTuple):
    """Words."""

    text: str


class Image(NamedTuple):
    """A picture: base64 data of a media type, or an address."""

    media_type: str
    data: str
    url: str


class ToolUse(NamedTuple):
    """The model's call of a function."""

    identity: str
    name: str
    arguments: Payload


class ToolResult(NamedTuple):
    """What the function returned."""

    identity: str
    text: str


Block = Text | Image | ToolUse | ToolResult


class Turn(NamedTuple):
    """What one side said: `user`, who also hands in results, or `assistant`."""

    side: str
    blocks: list[Block]


class Chat(NamedTuple):
    """The instructions, and turns of alternate sides."""

    system: list[str]
    turns: list[Turn]


class Tool(NamedTuple):
    """A function that the model may call; `schema` is a JSON schema of its arguments."""

    name: str
    description: str
    schema: Payload


def read_chat(payload: Payload) -> Chat:
    """The messages of a request. BadRequestError for what no provider of this sort takes."""
    system: list[str] = []
    turns: list[Turn] = []
    for message in payload["messages"]:
        if not isinstance(message, dict):
            raise BadRequestError("each of `messages` must be an object")
        match message.get("role"):
            case "system" | "developer":
                system.append(_plain(message.get("content")))
                continue
            case "user":
                turn = Turn("user", list(_blocks(message.get("content"))))
            case "assistant":
                calls = [_call(call) for call in message.get("tool_calls") or ()]
                turn = Turn("assistant", [*_blocks(message.get("content")), *calls])
            case "tool":
                result = ToolResult(str(message.get("tool_call_id", "")), _plain(message.get("content")))
                turn = Turn("user", [result])
            case other:
                raise BadRequestError(f"messages of role {other!r} aren't supported by this provider")
        if not turn.blocks:
            continue
        if turns and turns[-1].side == turn.side:
            turns[-1].blocks.extend(turn.blocks)
        else:
            turns.append(turn)
    if not turns:
        raise BadRequestError("`messages` has no message of a user")
    return Chat([text for text in system if text], turns)


def read_tools(payload: Payload) -> list[Tool]:
    """The functions of a request."""
    tools = []
    for tool in payload.get("tools") or ():
        match tool:
            case {"type": "function", "function": {"name": str(name), **function}}:
                schema: Any = function.get("parameters") or {"type": "object", "properties": {}}
                tools.append(Tool(name, str(function.get("description") or ""), schema))
            case _:
                raise BadRequestError("each of `tools` must be of type `function`")
    return tools


def chosen_tool(payload: Payload) -> str | None:
    """The name of the one function that the model must call."""
    match payload.get("tool_choice"):
        case {"function": {"name": str(name)}}:
            return name
    return None


def stop_texts(payload: Payload) -> list[str]:
    """The texts at which the model stops."""
    stop = payload.get("stop")
    return [stop] if isinstance(stop, str) else list(stop or ())


def max_tokens(payload: Payload) -> int | None:
    """The most tokens of an answer, by its new name or the old."""
    limit = payload.get("max_completion_tokens") or payload.get("max_tokens")
    return limit if isinstance(limit, int) else None


def refuse_several(payload: Payload) -> None:
    """BadRequestError where more than one answer is asked for."""
    if payload.get("n") not in (None, 1):
        raise BadRequestError("`n` must be 1 for this provider")


def _blocks(content: Any) -> Iterator[Block]:
    if isinstance(content, str):
        # providers refuse an empty text
        if content:
            yield Text(content)
        return
    for part in content or ():
        match part:
            case {"type": "text" | "refusal" as kind}:
                if text := str(part.get("text") or part.get("refusal") or ""):
                    yield Text(text)
            case {"type": "image_url", "image_url": {"url": str(url)} | str(url)}:
                yield _image(url)
            case {"type": kind}:
                raise BadRequestError(f"content of type {kind!r} isn't supported by this provider")
            case _:
                raise BadRequestError("each part of a message's content needs a `type`")


def _plain(content: Any) -> str:
    """The text of a message whose content may be a list of texts."""
    parts = []
    for block in _blocks(content):
        if not isinstance(block, Text):
            raise BadRequestError("only text is supported in instructions and in results of tools")
        parts.append(block.text)
    return "\n".join(parts)


def _image(url: str) -> Image:
    match = _DATA_URL.fullmatch(url)
    if match is None:
        if not url.startswith(("http://", "https://")):
            raise BadRequestError("an image's `url` must be an address or base64 data")
        return Image("", "", url)
    try:
        base64.b64decode(match["data"], validate=True)
    except binascii.Error:
        raise BadRequestError("an image's data isn't valid base64") from None
    return Image(match["type"], match["data"], "")


def _call(call: Any) -> ToolUse:
    match call:
        case {"function": {"name": str(name), **function}}:
            try:
                arguments: Any = json.loads(str(function.get("arguments") or "{}"))
            except (TypeError, ValueError):
                arguments = None
            if not isinstance(arguments, dict):
                raise BadRequestError(f"the arguments of the tool call {name!r} aren't a JSON object")
            return ToolUse(str(call.get("id", "")), name, arguments)
    raise BadRequestError("each of `tool_calls` needs a `function` with a `name`")
