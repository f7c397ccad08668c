"""Text and blocks of GitHub's flavour of Markdown, in which nobody's name can be anything but text. Pure.

What comes from users and stores goes through `code` or `prose`, or `html_code` where a block of HTML is open.
Neither can end a cell, open a tag, mention a person or refer to an issue.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from ...model.diagnostics import Source
from ...model.text import take_first
from ..text import counted, safe, safe_lines, shortened, value

NAME = 120
"""How long a name may be, in columns; its middle is left out then."""
VALUE = 160
_TEXT = 1_000
MOST_ROWS = 60
"""How many rows a table has at most, and items a list."""

# in running text each of these may begin something
_MARKUP = re.compile(r"[\\`*_{}\[\]<>&~!$^]")
# what GitHub turns into links and notifications after Markdown is done: a character without width (Dependabot
# and Renovate do the same) comes between
_REFERS = re.compile(r"@(?=\w)|#(?=\d)|\b(?:GH|gh|Gh|gH)-(?=\d)|:(?=//)|\bwww(?=\.)", re.ASCII)
_BEGINS = re.compile(r"(?P<mark>[-+=#:|]|\d+(?=[.)]))")
_PLAIN_CODE = re.compile(r"[^`|\\\s](?:[^`|\\]*[^`|\\\s])?")
# within code, all that Markdown or HTML could take for a sign of theirs
_SIGNS = re.compile(r"[!#$&*:<>@\[\\\]^_`{|}~+=]|(?<=[wW])\.")


def code(text: object) -> str:
    """As code, on one line: nothing inside it means anything."""
    plain = safe(text)
    return f"`{plain}`" if _PLAIN_CODE.fullmatch(plain) else html_code(plain)


def html_code(text: object) -> str:
    """As code, where Markdown is read and where it isn't."""
    inside = _SIGNS.sub(lambda found: f"&#{ord(found[0])};", safe(text))
    return f"<code>{inside or '&nbsp;'}</code>"


def prose(text: str) -> str:
    """As running text on one line; what stands between backticks, in pairs, as code."""
    pieces = safe(text).split("`")
    if len(pieces) % 2 == 0:
        return _words(safe(text))
    return "".join(
        (code(piece) if piece else "") if number % 2 else _words(piece) for number, piece in enumerate(pieces)
    )


def lines(text: str) -> str:
    """The same with its line ends."""
    return "<br>".join(prose(line) for line in text.splitlines() if line.strip())


def _words(text: str) -> str:
    plain = _REFERS.sub(lambda found: f"{found[0]}\0", text)
    begins = _BEGINS.match(plain.lstrip(" "))
    marked = _MARKUP.sub(lambda found: f"\\{found[0]}", plain).replace("|", "&#124;")
    if begins:
        # only at the very start of a line could it open a list, a heading or a rule
        bare, mark = marked.lstrip(" "), begins["mark"]
        if mark.isdigit():
            marked = f"{mark}\\{bare[len(mark) :]}"
        elif not bare.startswith("&#124;"):
            marked = f"\\{bare}"
    return marked.replace("\0", "&#8203;")


def table(head: Sequence[str], rows: Iterable[Sequence[str]], right: Sequence[int] = ()) -> str:
    """A table of cells that are Markdown already. `right`: columns of numbers."""
    rules = ["---:" if number in right else "---" for number in range(len(head))]
    return "\n".join(row(cells) for cells in (head, rules, *rows))


def row(cells: Iterable[str]) -> str:
    """One line of a table."""
    return f"| {' | '.join(cells)} |"


def details(summary: str, body: str, *, opened: bool = False) -> str:
    """A part that opens. `summary` is HTML, `body` Markdown."""
    return f"<details{' open' if opened else ''}><summary>{summary}</summary>\n\n{body}\n\n</details>"


def fenced(text: Sequence[str], language: str = "") -> str:
    """Lines as they are, in a block that none of them ends."""
    kept = [line for part in text for line in (safe_lines(part) or [""])]
    longest = max((len(run) for line in kept for run in re.findall("`+", line)), default=0)
    fence = "`" * max(3, longest + 1)
    return "\n".join([f"{fence}{language}", *kept, fence])


def quoted(text: str, alert: str = "") -> str:
    """A quotation, or one of GitHub's alerts: NOTE, WARNING, CAUTION."""
    head = [f"[!{alert}]"] if alert else []
    return "\n".join(f"> {line}".rstrip() for line in [*head, *text.splitlines()])


def length(text: str) -> int:
    """As GitHub counts characters, at the worst: in UTF-16. Each takes at most three bytes in UTF-8."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2


def named(text: object, room: int = NAME) -> str:
    """A name as code."""
    return code(shortened(safe(text), room))


def held(side: object) -> str:
    """A field's value as code; a dash for none."""
    return "–" if side is None else code(shortened(value(side), VALUE))


def said(text: str) -> str:
    """Running text of many lines, at most so long."""
    return lines(text if len(text) <= _TEXT else f"{text[:_TEXT]}…")


def place(at: Source | None) -> str:
    """File and line; nothing for none."""
    return named(f"{at.file}:{at.line}") if at else ""


def some(head: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> str:
    """A table of the first rows, and how many there were more."""
    told = table(head, rows[:MOST_ROWS], right)
    left = len(rows) - MOST_ROWS
    return f"{told}\n\nand {counted(left, 'more row')}" if left > 0 else told


def items(told: Sequence[str], most: int = MOST_ROWS, indent: str = "") -> list[str]:
    """A list of the first items, and how many there were more."""
    return [f"{indent}- {item}" for item in take_first(told, most)]
