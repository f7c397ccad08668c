"""Text that can't repaint a terminal, values and times as people write them, colours and widths. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final, Literal

from ..model.text import is_visible

Style = Literal["strong", "faint", "red", "green", "yellow", "cyan"]

_SGR: Mapping[Style, str] = {
    "strong": "1",
    "faint": "2",
    "red": "31",
    "green": "32",
    "yellow": "33",
    "cyan": "36",
}

# what YAML 1.1 or 1.2 reads as something else than a string
_NOT_A_STRING = re.compile(
    r"[-+]?\.?\d[\d_,.:xobeE+-]*|~|null|true|false|yes|no|on|off|[-+]?\.inf|\.nan", re.IGNORECASE
)

_CODES = re.compile(r"\x1b\[[\d;]*m")

# what a wrapped line is indented by: a tree's guides, and a name with the spaces after it
_BEGINNING = re.compile(r"(?P<guides>[ │├└─]*)(?:[\w-]+(?: [\w-]+)? {2,})?")

_LEAST_ROOM = 16


class Paint:
    """Puts text in colours, or leaves it alone."""

    def __init__(self, colour: bool = False) -> None:
        self.colour = colour

    def __call__(self, text: str, *styles: Style) -> str:
        if not self.colour or not text or not styles:
            return text
        return f"\x1b[{';'.join(_SGR[style] for style in styles)}m{text}\x1b[0m"


PLAIN = Paint()


def safe(text: object) -> str:
    """`text` on one line; every character that moves the cursor, changes direction or is invisible is
    escaped."""
    plain = str(text)
    if plain.isascii() and plain.isprintable():
        return plain
    return "".join(
        char if is_visible(char) else char.encode("unicode_escape").decode("ascii") for char in plain
    )


def safe_lines(text: str) -> list[str]:
    """The lines of a text, each made safe."""
    return [safe(line) for line in text.splitlines()]


def split_code(line: str) -> list[tuple[bool, str]]:
    """The pieces of a line, and whether each is code: between a pair of backticks."""
    pieces = line.split("`")
    if len(pieces) % 2 == 0:
        return [(False, line)]
    return [(number % 2 == 1, piece) for number, piece in enumerate(pieces) if piece]


def value(item: Any) -> str:
    """A field's value on one line; a string that could be read as something else is quoted."""
    if isinstance(item, str):
        bare = item and item == item.strip() and safe(item) == item and "→" not in item
        if bare and not _NOT_A_STRING.fullmatch(item):
            return item
    return safe(json.dumps(item, ensure_ascii=False, default=_plain))


def _plain(item: Any) -> Any:
    return dict(item) if isinstance(item, Mapping) else str(item)


def cells(text: str) -> int:
    """How many columns of a terminal `text` takes."""
    if text.isascii():
        return len(text)
    # imported here: most texts don't need it
    from rich.cells import cell_len

    return cell_len(text)


def pad(text: str, width: int) -> str:
    """`text` with spaces up to `width` columns."""
    return text + " " * (width - cells(text))


def three_columns(rows: Iterable[tuple[str, str, str]], paint: Paint) -> str:
    """A name, a word about it, and a sentence, on a line each."""
    table = [*rows]
    widths = [max((len(row[n]) for row in table), default=0) for n in (0, 1)]
    return "\n".join(
        f"{paint(name.ljust(widths[0]), 'strong')}  {paint(word.ljust(widths[1]), 'cyan')}  {what}"
        for name, word, what in table
    )


def shorten_middle(text: str, room: int) -> str:
    """`text` in at most `room` columns. The middle is cut out, since both ends of a path matter."""
    if cells(text) <= room:
        return text
    tail = max(room // 3, 1)
    return f"{_cut(text, room - 1 - tail)}…{_cut(text[::-1], tail)[::-1]}"


def shorten_pair(before: str, after: str, room: int) -> tuple[str, str]:
    """Both in at most `room` columns each, including the place where they begin to differ."""
    differences = (n for n, (b, a) in enumerate(zip(before, after, strict=False)) if b != a)
    common = next(differences, min(len(before), len(after)))
    start = max(common - room // 3, 0)
    if start == 0 or max(cells(before), cells(after)) <= room:
        return _cut_end(before, room), _cut_end(after, room)
    return _cut_end("…" + before[start:], room), _cut_end("…" + after[start:], room)


def _cut_end(text: str, room: int) -> str:
    return text if cells(text) <= room else _cut(text, room - 1) + "…"


def _cut(text: str, room: int) -> str:
    cut = text[: max(room, 0)]
    while cells(cut) > room:
        cut = cut[:-1]
    return cut


def wrap(text: str, width: int) -> str:
    """Break longer lines at spaces, and indent what follows; a tree's guides go on. `text` may have
    colours."""
    return "\n".join(piece for line in text.split("\n") for piece in _pieces(line, width))


def _pieces(line: str, width: int) -> Iterator[str]:
    plain = _CODES.sub("", line)
    if cells(plain) <= width:
        yield line
        return
    beginning = _BEGINNING.match(plain)
    assert beginning, "it matches the empty text, too"
    indent = _indent(beginning, width)
    piece, columns = "", 0
    for word in re.findall(r" *[^ ]+", line):
        wide = cells(_CODES.sub("", word))
        # a sign stays with the word after it
        if columns + wide > width and columns > len(indent) + 2:
            yield piece
            piece, columns = indent, cells(indent)
            word = word.lstrip(" ")
            wide = cells(_CODES.sub("", word))
        piece, columns = piece + word, columns + wide
    yield piece


def _indent(beginning: re.Match[str], width: int) -> str:
    """The indentation of a wrapped line's rest: guides go on, and a name's place is empty."""
    guides, whole = beginning["guides"], beginning[0]
    if whole != guides and width - len(whole) >= _LEAST_ROOM:
        return " " * len(whole)
    if guides.strip():
        return "".join("│" if char in "│├" else " " for char in guides)
    return f"{guides}  "


PARTICIPLES: Final[Mapping[str, str]] = {
    "create": "created",
    "update": "updated",
    "delete": "deleted",
    "move": "moved",
    "record": "recorded",
    "forget": "forgotten",
}
"""The words for an action that is done."""


def pluralize(number: int, noun: str, plural: str = "") -> str:
    """`1 change`, `2 changes`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def format_time(at_ms: int) -> str:
    """A time in ms since 1970 as `2026-11-24 10:00:00 UTC`."""
    try:
        return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OverflowError, OSError, ValueError):
        # a store may hold any number
        return f"{at_ms} ms"
