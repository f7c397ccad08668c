"""Cut a comment to the room that there is: the longest bodies go first, then whole details, then rows of the
table. What has to be read stays. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .gfm import details, length
from .text import counted

_BETWEEN = 2
"""Two line ends stand between blocks."""


@dataclass(frozen=True, slots=True)
class Detail:
    """A part that opens: `summary` in HTML, `body` in Markdown. Without a body, only that there was one."""

    summary: str
    body: str

    def __str__(self) -> str:
        return details(self.summary, self.body or "_Left out: there is no room for it here._")


@dataclass(frozen=True, slots=True)
class Draft:
    """A comment in its parts, in their order. `head` stays whatever happens; `table` is a table's lines, of
    which the first two are its head."""

    head: Sequence[str]
    table: Sequence[str]
    details: Sequence[Detail]
    how: str
    """How to see what is left out, in Markdown."""


def fitted(draft: Draft, limit: int) -> str:
    """The comment in at most `limit` of GitHub's characters, as long as its head fits."""
    whole = _text(draft.head, draft.table, draft.details)
    if length(whole) <= limit:
        return whole
    # reserved for saying what is left out
    spare = limit - length(_left_out(len(draft.details), len(draft.details), len(draft.table), draft.how))
    spare -= _BETWEEN + sum(length(part) + _BETWEEN for part in draft.head)
    kept = list(draft.details)
    sizes = [length(str(part)) + _BETWEEN for part in kept]
    over = sum(sizes) + sum(length(line) + 1 for line in draft.table) + 1 - spare
    emptied = 0
    for number in sorted(range(len(kept)), key=lambda n: -length(kept[n].body)):
        shorter = Detail(kept[number].summary, "")
        gain = sizes[number] - length(str(shorter)) - _BETWEEN
        if over <= 0 or gain <= 0:
            break
        kept[number], sizes[number] = shorter, sizes[number] - gain
        over, emptied = over - gain, emptied + 1
    while over > 0 and kept:
        emptied -= not kept.pop().body
        over -= sizes.pop()
    rows = list(draft.table)
    while over > 0 and len(rows) > 2:
        over -= length(rows.pop()) + 1
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
