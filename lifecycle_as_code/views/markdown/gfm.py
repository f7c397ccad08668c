"""Text and blocks of GitHub's flavour of Markdown. Pure.

Every text from users and stores goes through `code` or `prose`, or `html_code` inside a block of HTML. There
it can't end a cell, open a tag, mention a person or refer to an issue.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from ...model.diagnostics import Source
from ...model.text import shorten, take_first
from ..text import pluralize, safe, shorten_middle, split_code, value

NAME = 120
"""The most columns of a name; the middle of a longer one is cut out."""
VALUE = 160
_TEXT = 1_000
MOST_ROWS = 60
"""The most rows of a table and items of a list."""

# characters of Markdown's markup in running text
_MARKUP = re.compile(r"[\\`*_{}\[\]<>&~!$^]")
# GitHub turns these into links and notifications after Markdown is rendered; a zero-width space prevents it,
# as Dependabot and Renovate do
_REFERS = re.compile(r"@(?=\w)|#(?=\d)|\b(?:GH|gh|Gh|gH)-(?=\d)|:(?=//)|\bwww(?=\.)", re.ASCII)
_BEGINS = re.compile(r"(?P<mark>[-+=#:|]|\d+(?=[.)]))")
_PLAIN_CODE = re.compile(r"[^`|\\\s](?:[^`|\\]*[^`|\\\s])?")
# characters with a meaning in Markdown or HTML, escaped inside code
_SIGNS = re.compile(r"[!#$&*:<>@\[\\\]^_`{|}~+=]|(?<=[wW])\.")


def code(text: object) -> str:
    """Code on one line; nothing inside it is markup."""
    plain = safe(text)
    return f"`{plain}`" if _PLAIN_CODE.fullmatch(plain) else html_code(plain)


def html_code(text: object) -> str:
    """Code in Markdown and in blocks of HTML."""
    inside = _SIGNS.sub(lambda match: f"&#{ord(match[0])};", safe(text))
    return f"<code>{inside or '&nbsp;'}</code>"


def prose(text: str) -> str:
    """Running text on one line, with code between pairs of backticks."""
    return "".join(code(piece) if is_code else _words(piece) for is_code, piece in split_code(safe(text)))


def _words(text: str) -> str:
    plain = _REFERS.sub(lambda match: f"{match[0]}\0", text)
    start = _BEGINS.match(plain.lstrip(" "))
    words = _MARKUP.sub(lambda match: f"\\{match[0]}", plain).replace("|", "&#124;")
    if start:
        # at the start of a line it would open a list, a heading or a rule
        bare, mark = words.lstrip(" "), start["mark"]
        if mark.isdigit():
            words = f"{mark}\\{bare[len(mark) :]}"
        elif not bare.startswith("&#124;"):
            words = f"\\{bare}"
    return words.replace("\0", "&#8203;")


def table(head: Sequence[str], rows: Iterable[Sequence[str]], right: Sequence[int] = ()) -> str:
    """A table of cells in Markdown. `right`: columns of numbers."""
    rules = ["---:" if number in right else "---" for number in range(len(head))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rules, *rows))


def diff_block(lines: Sequence[str]) -> str:
    """A diff in a code block that none of its lines can end."""
    longest = max((len(run) for line in lines for run in re.findall("`+", line)), default=0)
    ticks = "`" * max(3, longest + 1)
    return "\n".join([f"{ticks}diff", *lines, ticks])


def caution(text: str) -> str:
    """One of GitHub's alerts."""
    return "\n".join(f"> {line}".rstrip() for line in ["[!CAUTION]", *text.splitlines()])


def length(text: str) -> int:
    """The length in UTF-16 code units, the strictest of GitHub's counts; each is at most three bytes of
    UTF-8."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2


def name_code(text: object, room: int = NAME) -> str:
    """A name as code, shortened."""
    return code(shorten_middle(safe(text), room))


def value_code(side: object) -> str:
    """A field's value as code, shortened; a dash for None."""
    return "–" if side is None else code(shorten_middle(value(side), VALUE))


def prose_lines(text: str) -> str:
    """Running text of several lines, shortened."""
    return "<br>".join(prose(line) for line in shorten(text, _TEXT).splitlines() if line.strip())


def place(at: Source | None) -> str:
    """File and line; empty for None."""
    return name_code(f"{at.file}:{at.line}") if at else ""


def first_rows(head: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> list[str]:
    """A block with a table of the first rows and the number of rows left; none without rows."""
    return [table(head, rows[:MOST_ROWS], right) + count_rows(rows)] if rows else []


def count_rows(rows: Sequence[object]) -> str:
    """The number of rows left after the first ones; empty for none."""
    left = len(rows) - MOST_ROWS
    return f"\n\nand {pluralize(left, 'more row')}" if left > 0 else ""


def bullets(items: Sequence[str], most: int = MOST_ROWS, indent: str = "") -> list[str]:
    """A list of the first items, and the number of items left."""
    return [f"{indent}- {item}" for item in take_first(items, most)]
