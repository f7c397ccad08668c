"""Expressions in CEL, the Common Expression Language: compiled, typed, bounded. Pure. No other module knows
the engine, cel-expr-python. An error during evaluation (a missing key, a spent budget) counts as `false` and
comes with its reason."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from .redaction import secret_shape

MAX_LENGTH: Final = 2_000
"""The longest expression, in characters. The engine itself bounds nesting (32) and loops (10,000 rounds)."""


class EngineMissingError(Exception):
    """The engine isn't installed."""


@dataclass(frozen=True, slots=True)
class Fault:
    """An error in an expression. Line and column count from one; 0: all of it. `name`: the unknown one."""

    line: int
    column: int
    detail: str
    hint: str = ""
    name: str = ""


class FaultyError(Exception):
    """The expression doesn't compile; carries every fault."""

    def __init__(self, *faults: Fault) -> None:
        super().__init__("\n".join(fault.detail for fault in faults))
        self.faults = faults


@dataclass(frozen=True, slots=True)
class Answer:
    """Whether an expression is true of some facts. `why`: the reason why it has no value, if it has none."""

    met: bool
    why: str = ""


class Program:
    """A compiled expression."""

    def __init__(self, program: Any) -> None:
        self._program = program

    def ask(self, facts: Any) -> Answer:
        """Whether it is true of `facts`, which come from `Engine.facts`."""
        try:
            result = self._program.eval(facts)
            value = result.value()
        except (RuntimeError, ValueError, TypeError) as error:
            return Answer(False, _reason(str(error)))
        if isinstance(value, bool):
            return Answer(value)
        if repr(result.type()) == "ERROR":
            return Answer(False, _reason(str(value)))
        return Answer(False, "the result is neither true nor false")


class Engine:
    """Compiles expressions over a table of names. EngineMissingError if none is installed."""

    def __init__(self, names: Mapping[str, str]) -> None:
        """`names`: each name's type in CEL's own notation: `map(string, double)`."""
        try:
            from cel_expr_python import cel
        except ImportError:
            raise EngineMissingError from None
        self._names = names
        self._env: Any = cel.NewEnv(variables={name: _type(cel, text) for name, text in names.items()})

    def compile(self, text: str) -> Program:
        """The program of a boolean expression. FaultyError with every fault."""
        if len(text) > MAX_LENGTH:
            raise FaultyError(
                Fault(0, 0, f"The expression has {len(text):,} characters; the limit is {MAX_LENGTH:,}.")
            )
        if not text.strip():
            raise FaultyError(Fault(0, 0, "The expression is empty.", "write an expression, or remove it"))
        try:
            # a lone surrogate can't be encoded, and the engine stops at a NUL
            text.encode()
            if "\0" in text:
                raise ValueError
            program = self._env.compile(text)
        except (ValueError, TypeError):
            raise FaultyError(
                Fault(0, 0, "The expression contains an invalid character.", "remove it")
            ) from None
        except RuntimeError as error:
            raise FaultyError(*_faults(str(error), text, self._names)) from None
        result = repr(program.return_type())
        if result not in ("BOOL", "DYN"):
            what = _TYPE_NAMES.get(result.partition("<")[0], "something else")
            detail = f"The result is {what}, not true or false."
            raise FaultyError(Fault(0, 0, detail, "compare it with a value"))
        return Program(program)

    def facts(self, data: Mapping[str, Any]) -> Any:
        """Values for the names. An expression that reads a name without a value isn't true."""
        return self._env.Activation(dict(data))


_TYPE_NAMES: Final = {
    "STRING": "a string",
    "INT": "a whole number",
    "DOUBLE": "a number",
    "NULL": "null",
    "LIST": "a list",
    "MAP": "a map",
}


def _type(cel: Any, text: str) -> Any:
    name, _, inner = text.partition("(")
    if not inner:
        return getattr(cel.Type, name.upper())
    inner = inner.removesuffix(")")
    if name == "list":
        return cel.Type.List(_type(cel, inner))
    key, _, value = inner.partition(", ")
    return cel.Type.Map(_type(cel, key), _type(cel, value))


# --- the engine's messages

_FAULT: Final = re.compile(r"^(?:INVALID_ARGUMENT: )?ERROR: <input>:(-?\d+):(-?\d+): (.*?)(?: \[\w+\])?$")


def _faults(message: str, text: str, names: Mapping[str, str]) -> Iterator[Fault]:
    """The message has one line per fault, and pictures of the text between them."""
    sentences: set[str] = set()
    for line in message.splitlines():
        if (match := _FAULT.match(line)) and match[3] not in sentences:
            sentences.add(match[3])
            yield _fault(int(match[1]), int(match[2]), match[3], text, names)
    if not sentences:
        yield Fault(0, 0, _as_sentence(_without_status(message)))


def _fault(line: int, column: int, message: str, text: str, names: Mapping[str, str]) -> Fault:
    # the list of all tokens that could follow is long and of no use
    sentence = message.partition(" expecting {")[0].removesuffix(" (in container '')")
    if line < 1:
        return Fault(0, 0, _as_sentence(sentence))
    hint = name = ""
    if sentence.startswith("undeclared reference to '"):
        unknown = sentence.split("'")[1]
        column, is_call = _start(text, line, column, unknown)
        if not is_call:
            name, hint = unknown, _parts_hint(unknown, names)
    elif "'(double, int)'" in sentence or "'(int, double)'" in sentence:
        hint = "metrics and shares are doubles: write `1.0` instead of `1`"
    elif "'<EOF>'" in sentence:
        hint = "complete the expression"
    return Fault(line, column, _as_sentence(sentence), hint, name)


def _as_sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."


def _start(text: str, line: int, column: int, name: str) -> tuple[int, bool]:
    """The column where a name begins, and whether it is called. The engine points at its last dot or end."""
    lines = text.splitlines()
    line_text = lines[line - 1] if 0 < line <= len(lines) else ""
    at = column - 1
    for start in (at - name.rfind("."), at - len(name), at):
        if start >= 0 and line_text.startswith(name, start):
            return start + 1, line_text[start + len(name) :].lstrip().startswith("(")
    return column, line_text[at:].startswith("(")


def _parts_hint(name: str, names: Mapping[str, str]) -> str:
    """The known names that begin with `name`, as a hint."""
    parts = {known[len(name) + 1 :].partition(".")[0] for known in names if known.startswith(f"{name}.")}
    return f"use one of its parts: {', '.join(f'`{name}.{part}`' for part in sorted(parts))}" if parts else ""


_SAFE: Final = (
    "Key not found",
    "No value with name",
    "Index error",
    "Iteration budget",
    "No matching overloads",
    "divide by zero",
    "modulus by zero",
    "integer overflow",
    "cannot convert",
    "String to",
)
"""How the engine's messages begin that repeat no value of the facts, or only a key."""
_MAX_KEY: Final = 120


def _reason(message: str) -> str:
    """Why there is no value: the engine's message, unless it may repeat a value, which could be a secret."""
    sentence = _without_status(message).removesuffix(" found in Activation")
    # a key may be a value itself: `after.tags[after.tags.x]`
    key = sentence.partition(" : ")[2].strip('"')
    if not sentence.startswith(_SAFE) or secret_shape(key) or len(key) > _MAX_KEY:
        return "it has no value"
    return sentence


def _without_status(message: str) -> str:
    """`NOT_FOUND: Key not found [NOT_FOUND]` as `Key not found`."""
    status, colon, sentence = message.partition(": ")
    return sentence.removesuffix(f" [{status}]") if colon and status.isupper() else message


# --- the names that an expression uses

_STEP: Final = r"\s*\.\s*[A-Za-z_]\w*|\[\s*(?:\"[^\"\\\n]*\"|'[^'\\\n]*')\s*\]"
_TOKEN: Final = re.compile(
    rf"""\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'|//[^\n]*"""
    rf"""|(?P<name>(?<![\w.])[A-Za-z_]\w*(?:{_STEP})*)(?P<call>\s*\()?"""
)
_STEPS: Final = re.compile(r"[A-Za-z_]\w*|\"[^\"]*\"|'[^']*'")


def names_in(text: str) -> tuple[tuple[str, ...], ...]:
    """The dotted names in an expression, as steps, each once and in order; keys in brackets are steps too
    (`after.metrics["f1 score"]`). A function isn't a name; the value that a method is called on is."""
    names: dict[tuple[str, ...], None] = {}
    for token in _TOKEN.finditer(text):
        if token["name"]:
            steps = tuple(step.strip("\"'") for step in _STEPS.findall(token["name"]))
            if steps := steps[:-1] if token["call"] else steps:
                names[steps] = None
    return tuple(names)
