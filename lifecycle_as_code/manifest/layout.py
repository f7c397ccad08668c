"""Where the lines of a manifest belong: for each, what it begins with, and the column that it should have.

Mappings stand two columns to the right of what holds them, and so do the dashes of lists. What stands
between brackets, and texts over many lines, move along with the entry that they are the value of. Pure.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from .outline import BLOCK, Node, Outline

INDENT: Final = 2
_BLANKS: Final = " \t"
_GAP: Final = re.compile(r"[ \t]*")
_COLON: Final = re.compile(r"[ \t]*:[ \t]*")
_HEADER: Final = re.compile(r"[|>][-+]?([1-9]?)[-+]?")


class Level(NamedTuple):
    """The column of a block of entries, before and after."""

    before: int
    after: int


@dataclass(frozen=True, slots=True)
class Inside:
    """A line that begins inside of a value. It moves by `shift`.

    `sort`: between brackets, or in a text whose blanks mean nothing at a line's ends, and then `least` is
    the column that it moves to at the least; or in a block, where blanks mean something behind `least`.
    """

    sort: Literal["brackets", "text", "block"]
    shift: int
    least: int


class Gap(NamedTuple):
    """What stands between a dash or a key and its value on one line, and what should."""

    start: int
    end: int
    text: str


class Layout:
    """The lines of one text. It has an outline and ends its lines with line feeds only."""

    def __init__(self, text: str, outline: Outline) -> None:
        self.text = text
        self._starts = [0, *(found.end() for found in re.finditer("\n", text))]
        self.begins: dict[int, Level] = {}
        """What lines may begin with, by its index: an entry, or a value."""
        self.chains: dict[int, tuple[Level, ...]] = {}
        """The blocks that are open behind a line, the outermost first, by line; where it isn't here, as
        before it."""
        self.inside: dict[int, Inside] = {}
        """By line, counted from zero."""
        self.gaps: defaultdict[int, list[Gap]] = defaultdict(list)
        """By line, in order."""
        self.quoted: set[int] = set()
        """Lines whose end is inside of double quotes: a backslash may stand before a blank there."""
        self.texts: list[tuple[int, int]] = []
        """Where scalars begin and end: there, `#` begins no comment."""
        if (root := outline.root) is not None:
            if root.flow:
                self._value(root, Level(self._column(root.start), 0), ())
            elif root.sort in ("mapping", "list"):
                self._entries(root, 0, ())

    def line(self, at: int) -> int:
        """The line of an index, counted from zero."""
        return bisect_right(self._starts, at) - 1

    def begin(self, line: int) -> int:
        """The index at which a line begins."""
        return self._starts[line]

    def _column(self, at: int) -> int:
        return at - self._starts[self.line(at)]

    def _raw(self, node: Node) -> int:
        """Where a node begins, with its anchor."""
        return self._starts[node.at[0] - 1] + node.at[1] - 1

    def _entries(self, node: Node, after: int, chain: tuple[Level, ...]) -> None:
        level = Level(self._column(node.heads[0]), after)
        chain = (*chain, level)
        for index, (head, item) in enumerate(zip(node.heads, node.items, strict=True)):
            self.begins[head] = level
            self.chains[self.line(head)] = chain
            if node.sort == "mapping":
                key = node.keys[index]
                self._note_text(key)
                self._gap(key.end, item, _COLON, ": " if key.sort == "scalar" else " : ")
            else:
                self._gap(head + 1, item, _GAP, " ")
            self._value(item, level, chain)

    def _gap(self, at: int, item: Node, pattern: re.Pattern[str], wanted: str) -> None:
        found = pattern.match(self.text, at)
        if found is None or self._is_nothing(item) or found.end() != self._raw(item):
            return
        if found[0] != wanted:
            self.gaps[self.line(at)].append(Gap(at, found.end(), wanted))

    def _is_nothing(self, node: Node) -> bool:
        return node.sort == "scalar" and node.start == node.end

    def _value(self, node: Node, level: Level, chain: tuple[Level, ...]) -> None:
        if self._is_nothing(node):
            return
        raw = self._raw(node)
        after = level.after + INDENT if chain else 0
        for start in (raw, node.start):
            # an anchor may stand on a line of its own
            self.begins[start] = Level(self._column(start), after)
        shift = level.after - level.before
        if node.sort == "scalar":
            self._scalar(node, level, level.after + INDENT)
        elif node.flow:
            self._lines(node.start, node.end, Inside("brackets", shift, level.after))
            for inner in node.inside():
                for scalar in [*inner.keys, *([inner] if inner.sort == "scalar" else [])]:
                    self._scalar(scalar, level, level.after)
        elif node.sort in ("mapping", "list"):
            self._entries(node, after, chain)

    def _scalar(self, node: Node, level: Level, least: int) -> None:
        shift = level.after - level.before
        if node.style in BLOCK:
            self._block(node, level.before, shift)
            return
        self._note_text(node)
        self._lines(node.start, node.end, Inside("text", shift, least))
        if node.style == '"':
            self.quoted.update(range(self.line(node.start), self.line(node.end)))

    def _note_text(self, node: Node) -> None:
        if node.sort == "scalar":
            self.texts.append((node.start, node.end))

    def _lines(self, start: int, end: int, inside: Inside) -> None:
        for line in range(self.line(start) + 1, self.line(max(end - 1, start)) + 1):
            self.inside[line] = inside

    def _block(self, node: Node, column: int, shift: int) -> None:
        """The lines of a block of text. Blank ones at its end count where they mean something: with `+`, or
        where they are longer than the indentation."""
        header = _HEADER.match(self.text, node.start)
        assert header is not None
        first = self.line(node.start) + 1
        indent = column + int(header[1]) if header[1] else 0
        last = first
        for number in range(first, len(self._starts)):
            line = self._line(number)
            body = line.lstrip(" ")
            if body:
                indent = indent or len(line) - len(body)
                if len(line) - len(body) < indent:
                    break
                last = number + 1
            elif "+" in header[0] or (indent and len(line) > indent):
                last = number + 1
        if last > first:
            self.texts.append((self._starts[first], self._end_of_line(last - 1)))
        for number in range(first, last):
            self.inside[number] = Inside("block", shift, indent)

    def _line(self, number: int) -> str:
        return self.text[self._starts[number] : self._end_of_line(number)]

    def _end_of_line(self, number: int) -> int:
        return self._starts[number + 1] - 1 if number + 1 < len(self._starts) else len(self.text)
