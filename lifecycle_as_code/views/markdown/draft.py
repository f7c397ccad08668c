"""A comment in parts, and how it is cut to a limit: of the least important parts first the longest bodies,
then whole sections, then rows of the table; then the same of the more important ones. The head always stays.
Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum

from ..text import pluralize
from .gfm import length

_BETWEEN = 2
"""Two line ends stand between blocks."""


class Weight(IntEnum):
    """How important a part is; the least important is cut first."""

    LOW = 0
    MEDIUM = 1
    HIGH = 2


@dataclass(frozen=True, slots=True)
class Section:
    """A collapsed section: `summary` in HTML, `body` in Markdown. An empty body stands for one that was
    cut."""

    summary: str
    body: str
    weight: Weight = Weight.LOW

    def __str__(self) -> str:
        body = self.body or "_Truncated._"
        return f"<details><summary>{self.summary}</summary>\n\n{body}\n\n</details>"


@dataclass(frozen=True, slots=True)
class Draft:
    """A comment in its parts, in their order. `head` always stays; `table` is a table's lines, of which the
    first two are its head; `weights` has one for each other line, none greater than the one before it."""

    head: Sequence[str]
    table: Sequence[str]
    sections: Sequence[Section]
    remedy: str
    """How to see what was cut, in Markdown."""
    weights: Sequence[Weight] = ()


def fit(draft: Draft, limit: int) -> str:
    """The comment in at most `limit` of GitHub's characters, unless its head alone is longer."""
    whole = _text(draft.head, draft.table, draft.sections)
    if length(whole) <= limit:
        return whole
    # reserved for the note about what was cut
    spare = limit - length(_note(len(draft.sections), len(draft.sections), len(draft.table), draft.remedy))
    spare -= _BETWEEN + sum(length(part) + _BETWEEN for part in draft.head)
    sections = dict(enumerate(draft.sections))
    sizes = {number: length(str(section)) + _BETWEEN for number, section in sections.items()}
    rows = list(draft.table)
    over = sum(sizes.values()) + sum(length(line) + 1 for line in rows) + 1 - spare
    for weight in Weight:
        group = [number for number, section in sections.items() if section.weight is weight]
        for number in sorted(group, key=lambda n: -length(sections[n].body)):
            shorter = replace(sections[number], body="")
            gain = sizes[number] - length(str(shorter)) - _BETWEEN
            if over <= 0 or gain <= 0:
                break
            sections[number], sizes[number], over = shorter, sizes[number] - gain, over - gain
        while over > 0 and group:
            over -= sizes.pop(number := group.pop())
            del sections[number]
        while over > 0 and len(rows) > 2 and (not draft.weights or draft.weights[len(rows) - 3] <= weight):
            over -= length(rows.pop()) + 1
    rest = [*sections.values()]
    bodies = sum(not section.body for section in rest)
    note = _note(bodies, len(draft.sections) - len(rest), len(draft.table) - len(rows), draft.remedy)
    return _text([*draft.head, note], rows if len(rows) > 2 else (), rest)


def _text(head: Sequence[str], table: Sequence[str], sections: Sequence[Section]) -> str:
    return "\n\n".join([*head, *(["\n".join(table)] if table else []), *map(str, sections)])


def _note(bodies: int, sections: int, rows: int, remedy: str) -> str:
    parts = [
        words
        for number, words in (
            (bodies, f"the content of {pluralize(bodies, 'section')}"),
            (sections, pluralize(sections, "section")),
            (rows, f"{pluralize(rows, 'row')} of the table"),
        )
        if number
    ]
    return f"**Truncated:** {', '.join(parts)}. {remedy}"
