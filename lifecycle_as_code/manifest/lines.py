"""A text as lines, and pieces of it exchanged for others. Pure.

Every line of the text is ended; whoever holds one that isn't ends it before, and takes the end off after.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable
from typing import Final, NamedTuple

_REST: Final = re.compile(r"[ \t]*(?:\r?$|[ \t]#[^\n]*$)", re.MULTILINE)
"""What may follow a value on its line: nothing, or a comment."""


class CannotEditError(Exception):
    """Why a text can't be edited safely."""


class Splice(NamedTuple):
    """`text` instead of what stands from `start` to `end`. At one place, the deepest is written first."""

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
        """Where the line after it begins."""
        return self.text.find("\n", at) + 1 or len(self.text)

    def next_after_value(self, at: int) -> int:
        """The same for the end of a value, behind which only a comment may stand."""
        if not self.ends(at):
            raise CannotEditError("it shares its line with something else")
        return self.next(at)

    def ends(self, at: int) -> bool:
        """Whether nothing but a comment follows on the line."""
        return _REST.match(self.text, at) is not None

    def begins(self, at: int) -> bool:
        """Whether nothing but blanks stands before it on the line."""
        return not self.text[self.begin(at) : at].strip()

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
    """The text with all exchanges. What lies inside of a removed range isn't looked at."""
    splices = list(splices)
    ranges = _joined((splice.start, splice.end) for splice in splices if not splice.text)
    starts = [start for start, _ in ranges]
    kept = [splice for splice in splices if splice.text and not _removed(splice, starts, ranges)]
    kept += [Splice(start, end, "") for start, end in ranges]
    parts: list[str] = []
    done = 0
    for splice in sorted(kept, key=lambda splice: (splice.start, splice.end, -splice.column)):
        if splice.start < done:
            raise CannotEditError("two changes touch the same place")
        parts += [text[done : splice.start], splice.text]
        done = splice.end
    return "".join([*parts, text[done:]])


def _joined(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Ranges that overlap as one; empty ones left out. Where two only touch, something may come between."""
    joined: list[tuple[int, int]] = []
    for start, end in sorted(ranges):
        if joined and start < joined[-1][1]:
            joined[-1] = joined[-1][0], max(end, joined[-1][1])
        elif start < end:
            joined.append((start, end))
    return joined


def _removed(splice: Splice, starts: list[int], ranges: list[tuple[int, int]]) -> bool:
    """Whether it lies in a removed range. What is only inserted at one's edge doesn't."""
    index = bisect_right(starts, splice.start) - 1
    if index < 0:
        return False
    start, end = ranges[index]
    if splice.start == splice.end:
        return start < splice.start < end
    return splice.end <= end
