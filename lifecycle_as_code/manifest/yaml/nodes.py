"""The nodes of a YAML file: plain Python values with their places.

A mapping is a `Map`, a list a `Seq`. A scalar is a `str` if it is quoted, or if every YAML parser reads it as
text; otherwise it is a `Plain`, because the meaning of `1.10` depends on its field. Templates add `int`,
`float`, `bool` and None. Pure.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, Protocol


class Mark(Protocol):
    """A place in a text, both counted from zero."""

    @property
    def line(self) -> int: ...
    @property
    def column(self) -> int: ...


MAX_NUMBER = 2**63
"""Whole numbers are smaller: no store accepts larger ones."""


class Map(dict[str, Any]):
    """A mapping. `marks`: the marks of each key and its value.

    `odd`: unquoted keys that some parsers don't read as text (`no`, `1.10`).
    """

    __slots__ = ("at", "marks", "odd")

    def __init__(self, at: Mark) -> None:
        self.at = at
        self.marks: dict[object, tuple[Mark, Mark]] = {}
        self.odd: tuple[str, ...] = ()

    def place(self, key: object) -> Mark:
        """The place of the value under `key`."""
        return self.marks[key][1] if key in self.marks else self.at

    def place_of_key(self, key: object) -> Mark:
        """The place of `key` itself."""
        return self.marks[key][0] if key in self.marks else self.at

    def absorb(self, other: Map) -> None:
        """Add the keys of `other` that are missing here, with their places, as for YAML's `<<`."""
        for key in [key for key in other if key not in self]:
            self[key], self.marks[key] = other[key], other.marks[key]
        self.odd += other.odd


class Seq(list[Any]):
    """A list. `marks` holds the mark of each item."""

    __slots__ = ("at", "marks")

    def __init__(self, at: Mark) -> None:
        self.at = at
        self.marks: list[Mark] = []

    def place(self, key: object) -> Mark:
        """The place of the item with index `key`."""
        return self.marks[key] if isinstance(key, int) and key < len(self.marks) else self.at


UNCLEAR: Final[Any] = object()
"""No value: YAML 1.1 and 1.2 differ, or 1.1's value has no use here (dates)."""


class Plain:
    """An unquoted scalar that may not be text. `value`: None, bool, int, finite float, or UNCLEAR."""

    __slots__ = ("text", "value")

    def __init__(self, text: str) -> None:
        self.text = text
        self.value = _value(text)

    def __repr__(self) -> str:
        return f"Plain({self.text!r})"


_CONSTANTS: Final[dict[str, bool | None]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INT = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,39})")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")

# All that YAML 1.1 (its bools, octals, base 60, `_`, dates, `=` and `<<` too) or 1.2's core schema reads as
# something else than a string. Being too wide costs a pair of quotes, being too narrow costs a git sha.
_BOOLS_OF_1_1 = "y Y yes Yes YES n N no No NO on On ON off Off OFF"
_WORDS = frozenset({"=", "<<", *_CONSTANTS, *_BOOLS_OF_1_1.split()})
_BEGINS_NUMBER = frozenset("+-.0123456789")
_is_number = re.compile(
    r"""
      [-+]?(?:0b[01_]+|0o[0-7_]+|0x[0-9a-fA-F_]+)
      |[-+]?(?:[0-9][0-9_]*(?:\.[0-9_]*)?|\.[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?
      |[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?
      |[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)
      |[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:(?:[Tt]|[\ \t]+).*)?
    """,
    re.VERBOSE,
).fullmatch


def scalar(text: str) -> str | Plain:
    """An unquoted scalar: a string where every reader agrees that it is one."""
    if text in _WORDS or (text[0] in _BEGINS_NUMBER and _is_number(text)):
        return Plain(text)
    return text


def decimal(text: str) -> int | None:
    """The integer within 64 bits that `text` is in plain decimal writing, if it is one."""
    whole = int(text) if _INT.fullmatch(text) else None
    return whole if whole is None or -MAX_NUMBER <= whole < MAX_NUMBER else None


def fraction(text: str) -> float | None:
    """The finite number that `text` is in plain decimal writing, if it is one."""
    if not _FLOAT.fullmatch(text):
        return None
    value = float(text)
    return value if math.isfinite(value) else None


def _value(text: str) -> Any:
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    whole = decimal(text)
    number = fraction(text) if whole is None else whole
    return UNCLEAR if number is None else number


def graft(value: Any, at: Mark) -> Any:
    """Plain data as nodes, all at the place `at`."""
    if isinstance(value, dict):
        node = Map(at)
        for key, inner in value.items():
            node[key], node.marks[key] = graft(inner, at), (at, at)
        return node
    if isinstance(value, list | tuple):
        items = Seq(at)
        items += [graft(inner, at) for inner in value]
        items.marks += [at] * len(items)
        return items
    return value


def plain_data(value: Any) -> Any:
    """Mappings and sequences of any type as dicts and lists."""
    if isinstance(value, Mapping):
        return {name: plain_data(item) for name, item in value.items()}
    return [plain_data(item) for item in value] if isinstance(value, list | tuple) else value


def inside(node: Any) -> Iterator[Any]:
    """The values right below a mapping or list; none below a scalar."""
    if isinstance(node, Map):
        yield from node.values()
    elif isinstance(node, Seq):
        yield from node
