"""Cut a comment to the room that there is: of what matters least the longest bodies go first, then whole
details, then rows of the table; then the same of what matters more. What has to be read stays. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum

from ..text import counted
from .gfm import details, length

_BETWEEN = 2
"""Two line ends stand between blocks."""


class Stays(IntEnum):
    """How long something stays where there is no room for all, the shortest first."""

    SHORT = 0
    LONG = 1
    LONGEST = 2


@dataclass(frozen=True, slots=True)
class Detail:
    """A part that opens: `summary` in HTML, `body` in Markdown. Without a body, only that there was one."""

    summary: str
    body: str
    stays: Stays = Stays.SHORT

    def __str__(self) -> str:
        return details(self.summary, self.body or "_Left out: there is no room for it here._")


@dataclass(frozen=True, slots=True)
class Draft:
    """A comment in its parts, in their order. `head` stays whatever happens; `table` is a table's lines, of
    which the first two are its head; `rows` says of each other one how long it stays, never longer than the
    one before."""

    head: Sequence[str]
    table: Sequence[str]
    details: Sequence[Detail]
    how: str
    """How to see what is left out, in Markdown."""
    rows: Sequence[Stays] = ()


def fitted(draft: Draft, limit: int) -> str:
    """The comment in at most `limit` of GitHub's characters, as long as its head fits."""
    whole = _text(draft.head, draft.table, draft.details)
    if length(whole) <= limit:
        return whole
    # reserved for saying what is left out
    spare = limit - length(_left_out(len(draft.details), len(draft.details), len(draft.table), draft.how))
    spare -= _BETWEEN + sum(length(part) + _BETWEEN for part in draft.head)
    parts = dict(enumerate(draft.details))
    sizes = {number: length(str(part)) + _BETWEEN for number, part in parts.items()}
    rows = list(draft.table)
    over = sum(sizes.values()) + sum(length(line) + 1 for line in rows) + 1 - spare
    for stays in Stays:
        mine = [number for number, part in parts.items() if part.stays is stays]
        for number in sorted(mine, key=lambda n: -length(parts[n].body)):
            shorter = replace(parts[number], body="")
            gain = sizes[number] - length(str(shorter)) - _BETWEEN
            if over <= 0 or gain <= 0:
                break
            parts[number], sizes[number], over = shorter, sizes[number] - gain, over - gain
        while over > 0 and mine:
            over -= sizes.pop(number := mine.pop())
            del parts[number]
        while over > 0 and len(rows) > 2 and (not draft.rows or draft.rows[len(rows) - 3] <= stays):
            over -= length(rows.pop()) + 1
    kept = [*parts.values()]
    emptied = sum(not part.body for part in kept)
    left = _left_out(emptied, len(draft.details) - len(kept), len(draft.table) - len(rows), draft.how)
    return _text([*draft.head, left], rows if len(rows) > 2 else (), kept)


def _text(head: Sequence[str], table: Sequence[str], parts: Sequence[Detail]) -> str:
    return "\n\n".join([*head, *(["\n".join(table)] if table else []), *map(str, parts)])


def _left_out(bodies: int, parts: int, rows: int, how: str) -> str:
    what: Iterator[str] = iter(
        words
        for number, words in (
            (bodies, f"the inside of {counted(bodies, 'part')}"),
            (parts, counted(parts, "part")),
            (rows, f"{counted(rows, 'row')} of the table"),
        )
        if number
    )
    return f"**Left out**, for there is no more room: {', '.join(what)}. {how}"
