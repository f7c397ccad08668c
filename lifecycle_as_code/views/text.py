"""Text that can't repaint a terminal, values as people write them, and colour for who wants it. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal

from ..model.text import shows

Style = Literal["strong", "faint", "red", "green", "yellow", "cyan"]

_SGR: Mapping[Style, str] = {
    "strong": "1",
    "faint": "2",
    "red": "31",
    "green": "32",
    "yellow": "33",
    "cyan": "36",
}

# what YAML would read as something else than a string, in either version
_NOT_A_STRING = re.compile(
    r"[-+]?\.?\d[\d_,.:xobeE+-]*|~|null|true|false|yes|no|on|off|[-+]?\.inf|\.nan", re.IGNORECASE
)

_CODES = re.compile(r"\x1b\[[\d;]*m")

# where a line goes on below: under its value, where a name and some space stand in front of it
_BEGINNING = re.compile(r"(?P<guides>[ │├└─]*)(?:[\w-]+(?: [\w-]+)? {2,})?")

_LEAST_ROOM = 16


class Paint:
    """Wraps text in colours, or leaves it alone."""

    def __init__(self, colour: bool = False) -> None:
        self.colour = colour

    def __call__(self, text: str, *styles: Style) -> str:
        if not self.colour or not text or not styles:
            return text
        return f"\x1b[{';'.join(_SGR[style] for style in styles)}m{text}\x1b[0m"


PLAIN = Paint()


def safe(text: object) -> str:
    """`text` on one line, with everything escaped that moves a cursor, turns direction or hides."""
    plain = str(text)
    if plain.isascii() and plain.isprintable():
        return plain
    return "".join(char if shows(char) else _escaped(char) for char in plain)


def safe_lines(text: str) -> list[str]:
    """The same for a text whose line ends are meant."""
    return [safe(line) for line in text.splitlines()]


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")


def value(item: Any) -> str:
    """A field's value on one line; a string that could be mistaken for something else is quoted."""
    if isinstance(item, str):
        bare = item and item == item.strip() and safe(item) == item and "→" not in item
        return item if bare and not _NOT_A_STRING.fullmatch(item) else safe(_json(item))
    return safe(_json(item))


def _json(item: Any) -> str:
    return json.dumps(item, ensure_ascii=False, default=_plain)


def _plain(item: Any) -> Any:
    return dict(item) if isinstance(item, Mapping) else str(item)


def cells(text: str) -> int:
    """How many columns of a terminal `text` takes."""
    if text.isascii():
        return len(text)
    # imported here: most texts don't need it
    from rich.cells import cell_len

    return cell_len(text)


def padded(text: str, width: int) -> str:
    """`text` filled up with spaces to `width` columns."""
    return text + " " * (width - cells(text))


def shortened(text: str, room: int) -> str:
    """`text` in at most `room` columns: its middle is left out, for both ends of a path tell something."""
    if cells(text) <= room:
        return text
    tail = max(room // 3, 1)
    return f"{_cut(text, room - 1 - tail)}…{_cut(text[::-1], tail)[::-1]}"


def shortened_pair(before: str, after: str, room: int) -> tuple[str, str]:
    """Both in at most `room` columns each, such that the place where they part is seen."""
    unequal = (n for n, (b, a) in enumerate(zip(before, after, strict=False)) if b != a)
    common = next(unequal, min(len(before), len(after)))
    start = max(common - room // 3, 0)
    if start == 0 or max(cells(before), cells(after)) <= room:
        return _headed(before, room), _headed(after, room)
    return _headed("…" + before[start:], room), _headed("…" + after[start:], room)


def _headed(text: str, room: int) -> str:
    return text if cells(text) <= room else _cut(text, room - 1) + "…"


def _cut(text: str, room: int) -> str:
    cut = text[: max(room, 0)]
    while cells(cut) > room:
        cut = cut[:-1]
    return cut


def wrapped(text: str, width: int) -> str:
    """Lines that are wider go on below, indented, and with a tree's guides; nothing that has no spaces is
    broken. `text` may be painted."""
    return "\n".join(piece for line in text.split("\n") for piece in _pieces(line, width))


def _pieces(line: str, width: int) -> Iterator[str]:
    plain = _CODES.sub("", line)
    if cells(plain) <= width:
        yield line
        return
    begins = _BEGINNING.match(plain)
    assert begins, "it matches nothing, too"
    indent = _beneath(begins, width)
    kept, taken = "", 0
    for word in re.findall(r" *[^ ]+", line):
        wide = cells(_CODES.sub("", word))
        # a sign stays with what it is the sign of
        if taken + wide > width and taken > len(indent) + 2:
            yield kept
            kept, taken = indent, cells(indent)
            word = word.lstrip(" ")
            wide = cells(_CODES.sub("", word))
        kept, taken = kept + word, taken + wide
    yield kept


def _beneath(begins: re.Match[str], width: int) -> str:
    """What stands in front of a line's rest: guides go on, and a name's place is empty."""
    guides, whole = begins["guides"], begins[0]
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
"""What is said of an object once an action is done."""


def counted(number: int, noun: str, plural: str = "") -> str:
    """`1 change`, `2 changes`."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"
