"""YAML text to nodes with their beginnings and ends in the text, for editors. Pure.

The events are the reader's, so places agree. Nothing is resolved: an alias stays an alias, a merge key is a
key like others, and a scalar has its text only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import yaml

from .text import LOADER

BLOCK: Final = ("|", ">")
_ANCHOR: Final = re.compile(r"&[^\s,\[\]{}]+(?:\s+(?:#[^\n]*)?)*")
_COMMENT: Final = re.compile(r"(?:^|(?<=\s))#[^\r\n]*")
_COLON: Final = re.compile(r"[ \t]*:")


@dataclass(eq=False, slots=True)
class Node:
    """A scalar, mapping, list or alias. `start` and `end` are indexes; an anchor is before `start`.

    `at`: line and column as `Source` has them. `style` of a scalar: its quote, `|`, `>`, or empty. The
    values of a mapping and of a list are its `items`; `heads` are the indexes where its entries begin: at a
    key or a dash, or at the item itself between brackets.
    """

    sort: Literal["scalar", "mapping", "list", "alias"]
    at: tuple[int, int]
    start: int
    end: int
    parent: Node | None
    value: str = ""
    style: str = ""
    flow: bool = False
    anchor: str = ""
    keys: list[Node] = field(default_factory=list)
    items: list[Node] = field(default_factory=list)
    heads: list[int] = field(default_factory=list)

    def index(self, key: str) -> int | None:
        """The index of a mapping's entry with this key."""
        return next((index for index, node in enumerate(self.keys) if node.value == key), None)

    def get(self, key: str) -> Node | None:
        """The value of a mapping's key."""
        index = self.index(key) if self.sort == "mapping" else None
        return None if index is None else self.items[index]

    def upward(self) -> Iterator[Node]:
        """The node and all nodes around it."""
        node: Node | None = self
        while node is not None:
            yield node
            node = node.parent

    def inside(self) -> Iterator[Node]:
        """The node and all nodes below it, without keys."""
        yield self
        for item in self.items:
            yield from item.inside()


class Outline:
    """A text's document. `shared`: the anchors that aliases refer to."""

    def __init__(self, text: str) -> None:
        """`text`: one without byte order mark in which `reader.parse` finds no problem."""
        self._text = text
        self._next: Callable[[], Any] = LOADER(text).get_event
        self.shared: set[str] = set()
        self.root: Node | None = None
        while self.root is None and not isinstance(event := self._next(), yaml.StreamEndEvent):
            if isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent):
                self.root = self._node(event, None)

    def comments(self) -> list[re.Match[str]]:
        """Every comment in order, with trailing blanks. Scalars contain no comments, except the first line of
        a block."""
        nodes = self.root.inside() if self.root else ()
        scalars = [scalar for node in nodes for scalar in (*node.keys, node) if scalar.sort == "scalar"]
        matches: list[re.Match[str]] = []
        done = 0
        for scalar in sorted(scalars, key=lambda scalar: scalar.start):
            # a block at the end of the text may have no line below its first
            below = self._text.find("\n", scalar.start) % (len(self._text) + 1)
            start = below if scalar.style in BLOCK else scalar.start
            matches += _COMMENT.finditer(self._text, done, max(done, start))
            done = scalar.end
        return [*matches, *_COMMENT.finditer(self._text, done)]

    def _node(self, event: Any, parent: Node | None) -> Node:
        mark = event.start_mark
        at = mark.line + 1, mark.column + 1
        start, end, anchor = mark.index, event.end_mark.index, event.anchor or ""
        if isinstance(event, yaml.AliasEvent):
            self.shared.add(anchor)
            return Node("alias", at, start, end, parent)
        if anchor and (match := _ANCHOR.match(self._text, start)):
            start = match.end()
        if isinstance(event, yaml.ScalarEvent):
            node = Node("scalar", at, min(start, end), end, parent, event.value, event.style or "")
            node.end = max(node.start, self._end_of_scalar(node))
        else:
            sort: Literal["mapping", "list"]
            sort = "mapping" if isinstance(event, yaml.MappingStartEvent) else "list"
            node = Node(sort, at, start, end, parent, flow=bool(event.flow_style))
            last = self._mapping(node) if sort == "mapping" else self._list(node)
            # its bracket, or the end of its last value
            node.end = last.end_mark.index if node.flow else node.items[-1].end
        node.anchor = anchor
        return node

    def _end_of_scalar(self, node: Node) -> int:
        """libyaml ends a block where the next token begins; blank lines belong to it with `+` only."""
        written = self._text[node.start : node.end]
        if node.style in BLOCK and "+" in written.partition("\n")[0].partition("#")[0]:
            return node.start + len(written.removesuffix("\n").removesuffix("\r"))
        return node.start + len(written.rstrip()) if node.style in BLOCK else node.end

    def _mapping(self, node: Node) -> Any:
        """Add the entries; the event of its end."""
        while not isinstance(event := self._next(), yaml.MappingEndEvent):
            node.heads.append(event.start_mark.index)
            key = self._node(event, node)
            value = self._node(self._next(), node)
            colon = _COLON.match(self._text, key.end)
            if value.start == value.end and value.sort == "scalar":
                # between brackets libyaml puts a value that isn't written where the next token is
                value.start = value.end = colon.end() if colon else key.end
            node.keys.append(key)
            node.items.append(value)
        return event

    def _list(self, node: Node) -> Any:
        before = node.start
        column = node.start - self._text.rfind("\n", 0, node.start) - 1
        while not isinstance(event := self._next(), yaml.SequenceEndEvent):
            head = event.start_mark.index
            if not node.flow:
                head = self._dash(before, column) if node.items else node.start
            node.heads.append(head)
            node.items.append(self._node(event, node))
            before = node.items[-1].end
        return event

    def _dash(self, after: int, column: int) -> int:
        """The dash in this column of the first line after an item that has one; comments have none."""
        line = after
        while line := self._text.find("\n", line) + 1:
            dash = line + column
            if self._text[dash : dash + 1] == "-" and not self._text[line:dash].strip(" "):
                return dash
        return after
