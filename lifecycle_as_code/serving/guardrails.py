"""Guardrails: keywords, regular expressions and personal data in requests and answers, blocked or masked.

The settings are Databricks' block, with `patterns` and `keyword_behavior` of our own:

    input: &side
      pii: {behavior: NONE | BLOCK | MASK}
      invalid_keywords: [...]
      keyword_behavior: BLOCK | MASK
      patterns: [{name, regex, behavior: BLOCK | MASK, max_length: 128}]
    output: *side

`Guardrails` knows the shapes of OpenAI's payloads, `detection` what to look for in a text. An answer that
comes in parts gives the same text as one that comes whole, however it is cut: what may be the beginning of a
match waits for the next part.
"""

from __future__ import annotations

import copy
import logging
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import aclosing
from typing import Any, NamedTuple

from lifecycle_as_code.serving import llm
from lifecycle_as_code.serving.answer import Answer
from lifecycle_as_code.serving.detection import (
    MAX_LENGTH,
    Keywords,
    Pattern,
    Rule,
    Scanner,
    find_personal_data,
)

_logger = logging.getLogger(__name__)

CODE = "GUARDRAIL_BLOCKED"
"""The error code of a blocked request or answer."""

# the parts of a message that a person or a model wrote
_FIELDS = ("content", "refusal", "reasoning", "reasoning_content")
# a longer text is looked through in parts, so that its masks don't copy all of it each time
_PART = 4096


class Finding(NamedTuple):
    """What a check came to. `blocked`: the name of the rule that forbids the text, else None. `payload`: the
    same object, or a copy where `masked` places were replaced."""

    blocked: str | None
    payload: Any
    masked: int


class Guardrails:
    """The guards of one endpoint. The constructor compiles the rules: ValueError where a pattern can't be
    used, ImportError without the packages of the extra `guardrails`.

    Checks take 20 to 150 µs per kB of common text, some ms per kB of text that is all masks, and never more
    than linear time; call them in a thread for long texts. `counts` has how often each rule acted, by (side,
    rule, behaviour).
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.counts: Counter[tuple[str, str, str]] = Counter()
        self._input = _read_rules(settings.get("input") or {})
        self._output = _read_rules(settings.get("output") or {})

    @property
    def checks_requests(self) -> bool:
        """Whether there are rules for requests."""
        return bool(self._input)

    @property
    def checks_answers(self) -> bool:
        """Whether there are rules for answers."""
        return bool(self._output)

    def check_request(self, payload: Any) -> Finding:
        """Check the messages, the prompt or the input of a request."""
        return self._check("input", self._input, payload, _request_paths)

    def check_answer(self, payload: Any) -> Finding:
        """Check the choices of an answer. Log probabilities repeat its text: a masked answer has none."""
        finding = self._check("output", self._output, payload, _answer_paths)
        if finding.masked:
            for choice in finding.payload["choices"]:
                choice.pop("logprobs", None)
        return finding

    async def watch(
        self, events: AsyncGenerator[bytes, None], tell_block: Callable[[], None] = lambda: None
    ) -> AsyncGenerator[bytes, None]:
        """Check the events of an answer that comes in parts. A blocked one ends with `finish_reason:
        content_filter`, and so does the provider's request; `tell_block` is called."""
        if not self._output:
            async with aclosing(events):
                async for event in events:
                    yield event
            return
        stream = _Stream(self._output)
        try:
            async with aclosing(events):
                async for part in events:
                    for event in stream.split(part):
                        for checked in stream.feed(event):
                            yield checked
                        if stream.blocked:
                            return
            for checked in stream.finish():
                yield checked
        finally:
            self._add("output", stream.scanners())
            if stream.blocked:
                tell_block()

    def _check(
        self, side: str, rules: list[Rule], payload: Any, find_paths: Callable[[Any], list[_Path]]
    ) -> Finding:
        masked = 0
        changes: list[tuple[_Path, str]] = []
        for path in find_paths(payload) if rules else ():
            text = _get(payload, path)
            scanner = Scanner(rules)
            checked = _scan(scanner, text)
            self._add(side, [scanner])
            if scanner.blocked:
                return Finding(scanner.blocked, payload, 0)
            if scanner.masked:
                changes.append((path, checked))
                masked += scanner.masked.total()
        if changes:
            payload = copy.deepcopy(payload)
            for path, text in changes:
                _set(payload, path, text)
        return Finding(None, payload, masked)

    def _add(self, side: str, scanners: list[Scanner]) -> None:
        for scanner in scanners:
            for name, number in scanner.masked.items():
                self.counts[side, name, "MASK"] += number
            if scanner.blocked:
                self.counts[side, scanner.blocked, "BLOCK"] += 1


def refuse_request(finding: Finding) -> Answer:
    """The answer to a request that is blocked. It names the rule, and repeats nothing of the text."""
    return llm.error(400, CODE, f"The request was blocked by the endpoint's guardrail {finding.blocked}.")


def refuse_answer(finding: Finding) -> Answer:
    """What the caller gets in place of an answer that is blocked."""
    return llm.error(400, CODE, f"The answer was blocked by the endpoint's guardrail {finding.blocked}.")


def _read_rules(side: Mapping[str, Any]) -> list[Rule]:
    rules: list[Rule] = []
    if keywords := side.get("invalid_keywords"):
        rules.append(Keywords(keywords, block=side.get("keyword_behavior", "BLOCK") == "BLOCK"))
    for row in side.get("patterns") or ():
        length = int(row.get("max_length") or MAX_LENGTH)
        block = row.get("behavior") != "MASK"
        rules.append(Pattern(row["name"], row["regex"], block=block, max_length=length))
    if (behavior := (side.get("pii") or {}).get("behavior", "NONE")) != "NONE":
        rules += find_personal_data(block=behavior == "BLOCK")
    return rules


def _scan(scanner: Scanner, text: str) -> str:
    parts = []
    for start in range(0, len(text), _PART):
        parts.append(scanner.feed(text[start : start + _PART]))
        if scanner.blocked:
            return ""
    return "".join(parts) + scanner.finish()


# --- where the texts are

_Path = tuple[str | int, ...]
"""The keys and indices that lead to a text."""


def _request_paths(payload: Any) -> list[_Path]:
    if not isinstance(payload, Mapping):
        return []
    paths = [
        ("messages", index, *path)
        for index, message in _items(payload.get("messages"))
        for path in _message_paths(message)
    ]
    for key in ("prompt", "suffix", "input"):
        paths += [(key, *path) for path in _text_paths(payload.get(key))]
    return paths


def _answer_paths(payload: Any) -> list[_Path]:
    if not isinstance(payload, Mapping):
        return []
    paths: list[_Path] = []
    for index, choice in _items(payload.get("choices")):
        if not isinstance(choice, Mapping):
            continue
        paths += [("choices", index, "message", *path) for path in _message_paths(choice.get("message"))]
        paths += [("choices", index, "text", *path) for path in _text_paths(choice.get("text"))]
    return paths


def _message_paths(message: Any) -> list[_Path]:
    """The texts of a message, or of the part of one that an event brings."""
    if not isinstance(message, Mapping):
        return []
    paths = [(key, *path) for key in _FIELDS if key in message for path in _text_paths(message[key])]
    for index, call in _items(message.get("tool_calls")):
        if isinstance(call, Mapping) and isinstance(function := call.get("function"), Mapping):
            paths += [("tool_calls", index, "function", *path) for path in _argument_paths(function)]
    if isinstance(function := message.get("function_call"), Mapping):
        paths += [("function_call", *path) for path in _argument_paths(function)]
    return paths


def _argument_paths(function: Mapping[str, Any]) -> list[_Path]:
    return [("arguments",)] if isinstance(function.get("arguments"), str) else []


def _text_paths(value: Any) -> list[_Path]:
    """A text, a list of texts, or a list of parts with a text each."""
    if isinstance(value, str):
        return [()]
    paths: list[_Path] = []
    for index, part in _items(value):
        if isinstance(part, str):
            paths.append((index,))
        elif isinstance(part, Mapping):
            paths += [(index, key) for key in ("text", "refusal") if isinstance(part.get(key), str)]
    return paths


def _items(value: Any) -> Iterator[tuple[int, Any]]:
    return enumerate(value) if isinstance(value, list) else iter(())


def _get(payload: Any, path: _Path) -> Any:
    for key in path:
        payload = payload[key]
    return payload


def _set(payload: Any, path: _Path, text: str) -> None:
    for key in path[:-1]:
        payload = payload[key]
    payload[path[-1]] = text


# --- answers in events


class _Stream:
    """The texts of a stream's choices, each with a scanner that sees it whole."""

    def __init__(self, rules: list[Rule]) -> None:
        self._rules = rules
        # by the choice's number and the text's place in it
        self._scanners: dict[tuple[Any, _Path], Scanner] = {}
        # the last event with choices: what an event of our own looks like
        self._head: dict[str, Any] = {}
        self._rest = b""
        self.blocked = ""
        """The name of the rule that ended the answer."""

    def scanners(self) -> list[Scanner]:
        return list(self._scanners.values())

    def split(self, part: bytes) -> list[bytes]:
        """The events that are complete by now; most parts are exactly one."""
        self._rest += part.replace(b"\r\n", b"\n")
        *events, self._rest = self._rest.split(b"\n\n")
        return [event + b"\n\n" for event in events if event]

    def feed(self, event: bytes) -> Iterator[bytes]:
        """What may go on of an event."""
        import orjson

        _, mark, data = event.partition(b"data:")
        data = data.strip()
        if not mark or not data.startswith(b"{"):
            if data == b"[DONE]":
                yield from self.finish()
            if not self.blocked:
                yield event
            return
        try:
            payload = orjson.loads(data)
        except ValueError:
            _logger.warning("An event that isn't JSON was left out of a guarded answer.")
            return
        choices = payload.get("choices")
        if not isinstance(choices, list) or not choices:
            yield event
            return
        self._head = {key: value for key, value in payload.items() if key not in {"choices", "usage"}}
        changed = False
        for choice in choices:
            if not isinstance(choice, dict):
                continue
            # log probabilities repeat the text, and don't wait
            changed |= choice.pop("logprobs", None) is not None
            for path in _choice_paths(choice):
                text = _get(choice, path)
                scanner = self._scanner(choice, path)
                checked = scanner.feed(text)
                if choice.get("finish_reason"):
                    checked += scanner.finish()
                if checked != text:
                    _set(choice, path, checked)
                    changed = True
                if scanner.blocked:
                    yield from self._block(choice, scanner.blocked)
                    return
            if choice.get("finish_reason"):
                yield from self._flush(choice.get("index"))
                if self.blocked:
                    return
        if not changed:
            yield event
        elif any(_says_something(choice) for choice in choices) or payload.get("usage"):
            yield llm.event(payload)

    def finish(self) -> Iterator[bytes]:
        """What waited for a next part that doesn't come."""
        for index in dict.fromkeys(index for index, _ in self._scanners):
            yield from self._flush(index)
            if self.blocked:
                return

    def _scanner(self, choice: dict[str, Any], path: _Path) -> Scanner:
        if path[:2] == ("delta", "tool_calls"):
            # a call keeps its own number from event to event; its place in the list doesn't
            call = choice["delta"]["tool_calls"][path[2]]
            path = (*path[:2], call.get("index", path[2]), *path[3:])
        key = choice.get("index"), path
        if key not in self._scanners:
            self._scanners[key] = Scanner(self._rules)
        return self._scanners[key]

    def _flush(self, index: Any) -> Iterator[bytes]:
        for (number, path), scanner in self._scanners.items():
            if number != index:
                continue
            rest = scanner.finish()
            choice: dict[str, Any] = {"index": index, "finish_reason": None}
            _build(choice, path, rest)
            if scanner.blocked:
                yield from self._block(choice, scanner.blocked)
                return
            if rest:
                yield llm.event({**self._head, "choices": [choice]})

    def _block(self, choice: dict[str, Any], rule: str) -> Iterator[bytes]:
        """The text before what is blocked, and the end."""
        self.blocked = rule
        if _says_something(choice):
            yield llm.event({**self._head, "choices": [{**choice, "finish_reason": None}]})
        empty: dict[str, Any] = {"text": ""} if "text" in choice else {"delta": {}}
        indices = dict.fromkeys([choice.get("index"), *(index for index, _ in self._scanners)])
        ends = [{"index": index, **empty, "finish_reason": "content_filter"} for index in indices]
        yield llm.event({**self._head, "choices": ends, "guardrail": rule})
        yield llm.DONE


def _choice_paths(choice: dict[str, Any]) -> list[_Path]:
    paths: list[_Path] = [("delta", *path) for path in _message_paths(choice.get("delta"))]
    return [*paths, *(("text", *path) for path in _text_paths(choice.get("text")))]


def _build(choice: dict[str, Any], path: _Path, text: str) -> None:
    """The place of a text in an event of our own."""
    match path:
        case ("delta", "tool_calls", number, "function", key):
            call = {"index": number, "function": {key: text}}
            choice["delta"] = {"tool_calls": [call]}
        case ("delta", key, inner):
            choice["delta"] = {key: {inner: text}} if isinstance(inner, str) else {key: text}
        case ("delta", key, *_):
            choice["delta"] = {key: text}
        case _:
            choice["text"] = text


def _says_something(choice: Any) -> bool:
    """Whether an event of this choice has anything left to say."""
    if not isinstance(choice, dict) or choice.get("finish_reason") or choice.get("text"):
        return True
    delta = choice.get("delta")
    return isinstance(delta, dict) and any(delta.values())
