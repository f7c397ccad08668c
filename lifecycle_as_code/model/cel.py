"""Expressions in CEL, the Common Expression Language: compiled, typed, bounded. The only file that knows the
engine, cel-expr-python, which is imported when the first expression is.

The caller lists the names that an expression may use, with their types. An expression that fails while it is
evaluated (a missing key, an exhausted budget) isn't true, and the answer says why. Pure.
"""

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
    """An error in an expression. Line and column count from one; zero means the whole expression.
    `name`: the unknown name, where that is the error."""

    line: int
    column: int
    detail: str
    hint: str = ""
    name: str = ""


class FaultyError(Exception):
    """The expression can't be compiled; `faults` has every reason."""

    def __init__(self, *faults: Fault) -> None:
        super().__init__("\n".join(fault.detail for fault in faults))
        self.faults = faults


@dataclass(frozen=True, slots=True)
class Answer:
    """Whether an expression is true of some facts. `why`: a clause that says why it has no value; empty where
    it has one."""

    met: bool
    why: str = ""


class Program:
    """A compiled expression."""

    def __init__(self, text: str, compiled: Any) -> None:
        self.text = text
        self._compiled = compiled

    def ask(self, facts: Any) -> Answer:
        """Whether the expression is true of `facts`, which `Engine.facts` made."""
        try:
            value = self._compiled.eval(facts)
            result = value.value()
        except (RuntimeError, ValueError, TypeError) as error:
            return Answer(False, _reason(str(error)))
        if isinstance(result, bool):
            return Answer(result)
        if repr(value.type()) == "ERROR":
            return Answer(False, _reason(str(result)))
        return Answer(False, "it is neither true nor false")


class Engine:
    """Compiles expressions over a table of names. EngineMissingError if the engine isn't installed."""

    def __init__(self, names: Mapping[str, str]) -> None:
        """`names`: the type of each name, as in CEL's documentation: `map(string, double)`."""
        try:
            from cel_expr_python import cel
        except ImportError:
            raise EngineMissingError from None
        self._names = names
        self._env: Any = cel.NewEnv(
            variables={name: _type(cel, type_name) for name, type_name in names.items()}
        )

    def compile(self, text: str) -> Program:
        """Compile an expression that gives true or false. FaultyError with every error in it."""
        if len(text) > MAX_LENGTH:
            raise FaultyError(
                Fault(0, 0, f"It has {len(text):,} characters; at most {MAX_LENGTH:,} are allowed.")
            )
        if not text.strip():
            raise FaultyError(Fault(0, 0, "It is empty.", "write an expression, or remove it"))
        try:
            # half a surrogate pair is invalid, and the engine stops at NUL
            text.encode()
            if "\0" in text:
                raise ValueError
            compiled = self._env.compile(text)
        except (ValueError, TypeError):
            raise FaultyError(Fault(0, 0, "It contains an invalid character.", "remove it")) from None
        except RuntimeError as error:
            raise FaultyError(*_faults(str(error), text, self._names)) from None
        gives = repr(compiled.return_type())
        if gives not in ("BOOL", "DYN"):
            what = _ARTICLED.get(gives.partition("<")[0], "something else")
            detail = f"It evaluates to {what}, not to true or false."
            raise FaultyError(Fault(0, 0, detail, "compare it with a value"))
        return Program(text, compiled)

    def facts(self, data: Mapping[str, Any]) -> Any:
        """The values of the names, for `Program.ask`. An expression that reads a name without a value isn't
        true."""
        return self._env.Activation(dict(data))


_ARTICLED: Final = {
    "STRING": "a string",
    "INT": "a whole number",
    "DOUBLE": "a number",
    "NULL": "null",
    "LIST": "a list",
    "MAP": "a map",
}


def _type(cel: Any, type_name: str) -> Any:
    name, _, inner = type_name.partition("(")
    if not inner:
        return getattr(cel.Type, name.upper())
    inner = inner.removesuffix(")")
    if name == "list":
        return cel.Type.List(_type(cel, inner))
    key, _, value = inner.partition(", ")
    return cel.Type.Map(_type(cel, key), _type(cel, value))


# --- the engine's messages

_FAULT: Final = re.compile(r"^(?:INVALID_ARGUMENT: )?ERROR: <input>:(-?\d+):(-?\d+): (.*?)(?: \[\w+\])?$")
_UNDECLARED: Final = re.compile(r"undeclared reference to '([^']*)'")
_OVERLOAD: Final = re.compile(r"found no matching overload for '_?([^']*?)_?' applied to '\(?(.*?)\)?'")


def _faults(message: str, text: str, names: Mapping[str, str]) -> Iterator[Fault]:
    details: set[str] = set()
    for line in message.splitlines():
        if (match := _FAULT.match(line)) and match[3] not in details:
            details.add(match[3])
            yield _fault(int(match[1]), int(match[2]), match[3], text, names)
    if not details:
        deep = "recursion" in message
        yield Fault(0, 0, "It is nested too deeply." if deep else "It can't be compiled.")


def _fault(line: int, column: int, message: str, text: str, names: Mapping[str, str]) -> Fault:
    if "recursion" in message:
        return Fault(0, 0, "It is nested too deeply.")
    if match := _UNDECLARED.search(message):
        name = match[1]
        start, called = _start(text, line, column, name)
        if called:
            return Fault(line, start, f"There is no function `{name}`.")
        return Fault(line, start, f"`{name}` is not known.", _part(name, names), name)
    if match := _OVERLOAD.search(message):
        operator, types = match[1], match[2].split(", ")
        hint = ""
        if {*types} == {"double", "int"}:
            hint = "metrics and shares are doubles: write `1.0` instead of `1`"
        return Fault(line, column, f"`{operator}` can't be applied to {' and '.join(types)}.", hint)
    if "'<EOF>'" in message:
        return Fault(line, column, "It ends too early.")
    # the list of all tokens that could follow helps nobody
    sentence = message.partition(" expecting ")[0]
    return Fault(line, column, f"{sentence.rstrip('.')}.")


def _start(text: str, line: int, column: int, name: str) -> tuple[int, bool]:
    """The column where a name begins, and whether it is a call. The engine points at the name's last dot, or
    at the parenthesis after it."""
    lines = text.splitlines()
    source = lines[line - 1] if 0 < line <= len(lines) else ""
    at = column - 1
    for start in (at - name.rfind("."), at - len(name), at):
        if start >= 0 and source.startswith(name, start):
            return start + 1, source[start + len(name) :].lstrip().startswith("(")
    return column, source[at:].startswith("(")


def _part(name: str, names: Mapping[str, str]) -> str:
    """A hint for a name that is only the beginning of known names."""
    below = sorted(
        {known[len(name) + 1 :].partition(".")[0] for known in names if known.startswith(f"{name}.")}
    )
    return f"name a part of it: {', '.join(f'`{name}.{part}`' for part in below)}" if below else ""


_KEY: Final = re.compile(r'Key not found in map : "?(.*?)"?$')
_MAX_KEY: Final = 120
_NO_VALUE: Final = re.compile(r'No value with name "([^"]*)"')


def _reason(message: str) -> str:
    """Why the expression has no value. The engine's message may contain values, which aren't repeated."""
    if match := _KEY.search(message):
        # a key may be a value itself: `after.tags[after.tags.x]`
        printable = not secret_shape(match[1]) and len(match[1]) <= _MAX_KEY
        return f"there is no `{match[1]}`" if printable else "a key doesn't exist"
    if match := _NO_VALUE.search(message):
        return f"`{match[1]}` is unknown"
    if "Index error" in message:
        return "the index is beyond the end of a list"
    if "Iteration budget" in message:
        return "it exceeds the limit of loop iterations"
    if "divide by zero" in message.lower() or "modulus by zero" in message.lower():
        return "it divides by zero"
    return "it has no value"


# --- the names that an expression uses

_STEP: Final = r"\s*\.\s*[A-Za-z_]\w*|\[\s*(?:\"[^\"\\\n]*\"|'[^'\\\n]*')\s*\]"
_TOKEN: Final = re.compile(
    rf"""\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'|//[^\n]*"""
    rf"""|(?P<name>(?<![\w.])[A-Za-z_]\w*(?:{_STEP})*)(?P<call>\s*\()?"""
)
_STEPS: Final = re.compile(r"[A-Za-z_]\w*|\"[^\"]*\"|'[^']*'")


def names_in(text: str) -> tuple[tuple[str, ...], ...]:
    """The dotted names in an expression, as steps, each once and in order; keys in brackets are steps too
    (`after.metrics["f1 score"]`). A function isn't a name, but the object that it is called on is."""
    names: dict[tuple[str, ...], None] = {}
    for token in _TOKEN.finditer(text):
        if token["name"]:
            steps = tuple(step.strip("\"'") for step in _STEPS.findall(token["name"]))
            if steps := steps[:-1] if token["call"] else steps:
                names[steps] = None
    return tuple(names)
