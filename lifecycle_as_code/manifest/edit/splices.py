"""A text as lines, and pieces of it exchanged for others. Pure.

Every line of the text is ended; whoever holds one that isn't ends it before, and takes the end off after.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

_REST: Final = re.compile(r"[ \t]*(?:\r?$|[ \t]#[^\n]*$)", re.MULTILINE)
"""What may follow a value on its line: nothing, or a comment."""


class CannotEditError(Exception):
    """Why a text can't be edited safely."""


class Splice(NamedTuple):
    """`text` in the place of what stands from `start` to `end`. At one place, the deepest comes first."""

    start: int
    end: int
    text: str
    column: int = 0


class Lines:
    """Where lines begin and end. Places are indexes into `text`."""

    def __init__(self, text: str) -> None:
        self.newline = "\r\n" if text.count("\r\n") * 2 > text.count("\n") else "\n"
        self.text = text if not text or text.endswith("\n") else text + self.newline

    def begin(self, at: int) -> int:
        """Where the line begins that holds `at`."""
        return self.text.rfind("\n", 0, at) + 1

    def next(self, at: int) -> int:
        """Where the line begins that follows a value's end, behind which only a comment may stand."""
        if _REST.match(self.text, at) is None:
            raise CannotEditError("it shares its line with something else")
        return self.text.find("\n", at) + 1 or len(self.text)

    def column(self, at: int) -> int:
        """How far it is from where its line begins."""
        return at - self.begin(at)

    def indented(self, text: str, column: int) -> str:
        """A text with these line ends, all lines but the first moved to the right."""
        first, *others = text.split("\n")
        moved = [" " * column + line if line else line for line in others]
        return self.newline.join([first, *moved])

    def inserted(self, at: int, column: int, lines: str) -> Splice:
        """Whole lines, each ended, moved to the right, before the line that begins at `at`."""
        return Splice(at, at, " " * column + self.indented(lines, column), column)


def spliced(text: str, splices: Iterable[Splice]) -> str:
    """The text with all exchanges, but those inside of a removed range."""
    parts: list[str] = []
    done, removed = 0, False
    for splice in sorted(splices, key=_order):
        if splice.start < done:
            if removed and splice.end <= done:
                continue
            raise CannotEditError("two changes touch the same place")
        parts += [text[done : splice.start], splice.text]
        done, removed = splice.end, splice.start < splice.end and not splice.text
    return "".join([*parts, text[done:]])


def _order(splice: Splice) -> tuple[int, bool, int, int]:
    """What comes at a place stands before what goes there; a range comes before those inside of it."""
    return splice.start, splice.start < splice.end, -splice.end, -splice.column
