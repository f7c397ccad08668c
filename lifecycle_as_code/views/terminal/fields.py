"""The fields of a change, before → after, aligned and shortened. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ...model.diff import FieldChange
from ..summary import SIGNS, compare_lines, is_text
from ..text import PLAIN, Paint, cells, pad, pluralize, safe, safe_lines, shorten_middle, shorten_pair, value

_WIDEST_NAME = 40
_WIDEST_BEFORE = 32
_MOST_LINES = 12
_LEAST_ROOM = 24
_STYLES = dict(SIGNS.values())


def rows(
    changes: Sequence[FieldChange],
    paint: Paint = PLAIN,
    *,
    width: int = 100,
    indent: int = 6,
    bare: bool = False,
) -> list[str]:
    """One line a field where it fits; long pairs take two, texts of many lines a block.

    `bare`: without signs, for objects that are created or deleted as a whole."""
    if not changes:
        return []
    names = min(max(cells(safe(change.name)) for change in changes), _WIDEST_NAME)
    room = max(width - indent - names - (2 if bare else 4), _LEAST_ROOM)
    widths = [cells(value(c.before)) for c in changes if _is_pair(c) and _on_one_line(c, room)]
    befores = max((w for w in widths if w <= _WIDEST_BEFORE), default=0)
    return [
        " " * indent + line
        for change in changes
        for line in _row(change, paint, names, befores, room, bare=bare)
    ]


def _row(
    change: FieldChange, paint: Paint, names: int, befores: int, room: int, *, bare: bool
) -> Iterator[str]:
    name = pad(safe(change.name), names)
    sign = ""
    if not bare:
        mark = "~" if _is_pair(change) else "+" if change.before is None else "-"
        sign = f"{paint(mark, _STYLES[mark])} "
    if block := list(_block(change, paint, room + names)):
        yield f"{sign}{name.rstrip()}"
        yield from (f"{'' if bare else '  '}  {line}" for line in block)
    elif not _is_pair(change):
        item = change.after if change.before is None else change.before
        yield f"{sign}{name}  {shorten_middle(value(item), room)}"
    elif _on_one_line(change, room):
        before = paint(value(change.before), "red") + " " * (befores - cells(value(change.before)))
        yield f"{sign}{name}  {before} → {paint(value(change.after), 'green')}"
    else:
        before, after = shorten_pair(value(change.before), value(change.after), room - 2)
        yield f"{sign}{name}  {paint(before, 'red')}"
        yield f"{'' if bare else '  '}{' ' * names}→ {paint(after, 'green')}"


def _is_pair(change: FieldChange) -> bool:
    return change.before is not None and change.after is not None


def _on_one_line(change: FieldChange, room: int) -> bool:
    return cells(value(change.before)) + 3 + cells(value(change.after)) <= room


def _block(change: FieldChange, paint: Paint, room: int) -> Iterator[str]:
    """A text of many lines: what differs, with a line of context; or the beginning of the only side."""
    if not is_text(change):
        return
    if _is_pair(change):
        lines = [_line(line, paint, room) for line in compare_lines(change)]
    else:
        only = change.after if change.before is None else change.before
        lines = [paint("| ", "faint") + shorten_middle(line, room) for line in safe_lines(only)]
    yield from lines[:_MOST_LINES]
    if (left := len(lines) - _MOST_LINES) > 0:
        yield paint(f"… {pluralize(left, 'more line')}", "faint")


def _line(line: str, paint: Paint, room: int) -> str:
    """A line of a diff."""
    text = shorten_middle(safe(line[1:]), room)
    if line[0] == "@":
        return paint("…", "faint")
    return paint(f"{line[0] if line[0] in _STYLES else '|'} {text}", _STYLES.get(line[0], "faint"))
