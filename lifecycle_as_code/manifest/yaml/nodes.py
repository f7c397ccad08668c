"""The nodes of a YAML file: plain Python values with their places.

A mapping is a `Map`, a list a `Seq`. A scalar is a `str` if it is quoted, or if every YAML parser reads it as
text; otherwise it is a `Plain`, because the meaning of `1.10` depends on its field. Templates add `int`,
`float`, `bool` and None. Pure.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from itertools import count, islice
from typing import Any, Protocol


class Mark(Protocol):
    """A place in a text, both counted from zero."""

    @property
    def line(self) -> int: ...
    @property
    def column(self) -> int: ...


MAX_NUMBER = 2**63
"""Whole numbers are smaller: no store accepts larger ones."""


class Map(dict[str, Any]):
    """A mapping. `marks` holds the key's and the value's mark in turn, in the order of the keys.

    `odd`: unquoted keys that some parsers don't read as text (`no`, `1.10`).
    """

    __slots__ = ("_indexes", "at", "marks", "odd")

    def __init__(self, at: Mark) -> None:
        self.at = at
        self._indexes: dict[str, int] | None = None
        self.marks: list[Mark] = []
        self.odd: list[str] | None = None

    def place(self, key: object) -> Mark:
        """The place of the value under `key`."""
        return self._mark(key, 1)

    def place_of_key(self, key: object) -> Mark:
        """The place of `key` itself."""
        return self._mark(key, 0)

    def _mark(self, key: object, offset: int) -> Mark:
        if key not in self:
            return self.at
        # built for the first place: most mappings have no problem
        known = self._indexes = self._indexes or {}
        if key not in known:
            known.update(zip(islice(self, len(known), None), count(len(known)), strict=False))
        return self.marks[2 * known[str(key)] + offset]

    def entries(self) -> Iterator[tuple[str, Any, tuple[Mark, Mark]]]:
        """Each key and value with both their marks."""
        for index, (key, value) in enumerate(self.items()):
            yield key, value, (self.marks[2 * index], self.marks[2 * index + 1])

    def absorb(self, other: Map) -> None:
        """Add the keys of `other` that are missing here, with their places, as for YAML's `<<`."""
        for index, (key, value) in enumerate(other.items()):
            if key not in self:
                self[key] = value
                self.marks += other.marks[2 * index : 2 * index + 2]
        if other.odd:
            self.odd = [*(self.odd or ()), *other.odd]


class Seq(list[Any]):
    """A list. `marks` holds the mark of each item."""

    __slots__ = ("at", "marks")

    def __init__(self, at: Mark) -> None:
        self.at = at
        self.marks: list[Mark] = []

    def place(self, key: object) -> Mark:
        """The place of the item with index `key`."""
        return self.marks[key] if isinstance(key, int) and key < len(self.marks) else self.at


class _Unclear:
    """No value: YAML 1.1 and 1.2 differ, or 1.1's value has no use here (dates)."""

    def __repr__(self) -> str:
        return "UNCLEAR"


UNCLEAR = _Unclear()


class Plain:
    """An unquoted scalar that may not be text. `value`: None, bool, int, finite float, or UNCLEAR."""

    __slots__ = ("text", "value")

    def __init__(self, text: str) -> None:
        self.text = text
        self.value = _value(text)

    def __repr__(self) -> str:
        return f"Plain({self.text!r})"


_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,39})")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")

# All that YAML 1.1 (its bools, octals, base 60, `_`, dates, `=` and `<<` too) or 1.2's core schema reads as
# something else than a string. Being too wide costs a pair of quotes, being too narrow costs a git sha.
_BOOLS_OF_1_1 = "y Y yes Yes YES n N no No NO on On ON off Off OFF"
_WORDS = frozenset({"=", "<<", *_NULLS, *_BOOLS, *_BOOLS_OF_1_1.split()})
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
    if text in _NULLS:
        return None
    if text in _BOOLS:
        return _BOOLS[text]
    whole = decimal(text)
    if whole is not None:
        return whole
    part = fraction(text)
    return UNCLEAR if part is None else part


def graft(value: Any, at: Mark) -> Any:
    """Plain data as nodes, all at the place `at`."""
    if isinstance(value, dict):
        node = Map(at)
        for key, inner in value.items():
            node[key] = graft(inner, at)
            node.marks += (at, at)
        return node
    if isinstance(value, list | tuple):
        items = Seq(at)
        for inner in value:
            items.append(graft(inner, at))
            items.marks.append(at)
        return items
    return value


def inside(node: Any) -> Iterator[Any]:
    """The values right below a mapping or list; none below a scalar."""
    if isinstance(node, Map):
        yield from node.values()
    elif isinstance(node, Seq):
        yield from node
