"""A text as lines, and replacements in it. Pure.

The text always ends with a line end; the caller adds a missing one before and removes it afterwards.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from textwrap import indent
from typing import Final, NamedTuple

_REST: Final = re.compile(r"[ \t]*(?:\r?$|[ \t]#[^\n]*$)", re.MULTILINE)
"""The rest of a line after a value: nothing, or a comment."""


class CannotEditError(Exception):
    """The text can't be edited safely; the message is the reason."""


class Splice(NamedTuple):
    """Replace the range from `start` to `end` by `text`. At one place, the deepest comes first."""

    start: int
    end: int
    text: str
    column: int = 0


class Lines:
    """The beginnings and ends of lines, as indexes into `text`."""

    def __init__(self, text: str) -> None:
        self.newline = "\r\n" if text.count("\r\n") * 2 > text.count("\n") else "\n"
        self.text = text if not text or text.endswith("\n") else text + self.newline

    def begin(self, at: int) -> int:
        """The beginning of the line with `at`."""
        return self.text.rfind("\n", 0, at) + 1

    def next(self, at: int) -> int:
        """The beginning of the line after a value's end. Only a comment may follow the value."""
        if _REST.match(self.text, at) is None:
            raise CannotEditError("its line has other content")
        return self.text.find("\n", at) + 1 or len(self.text)

    def column(self, at: int) -> int:
        """The distance from the beginning of the line."""
        return at - self.begin(at)

    def insert(self, at: int, column: int, lines: str) -> Splice:
        """A splice of whole lines, indented, before the line that begins at `at`."""
        text = indent(lines, " " * column).replace("\n", self.newline)
        return Splice(at, at, text, column)


def apply_splices(text: str, splices: Iterable[Splice]) -> str:
    """The text with all splices, except those inside a removed range."""
    parts: list[str] = []
    done, is_removal = 0, False
    for splice in sorted(splices, key=_order):
        if splice.start < done:
            if is_removal and splice.end <= done:
                continue
            raise CannotEditError("two changes touch the same place")
        parts += [text[done : splice.start], splice.text]
        done, is_removal = splice.end, splice.start < splice.end and not splice.text
    return "".join([*parts, text[done:]])


def _order(splice: Splice) -> tuple[int, bool, int, int]:
    """An insertion sorts before a removal at the same place, and a range before those inside it."""
    return splice.start, splice.start < splice.end, -splice.end, -splice.column
