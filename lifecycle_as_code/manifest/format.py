"""A manifest in the one layout that `lac fmt` gives it; what it says, and every comment, stays. Pure.

UTF-8 without a byte order mark. Lines end with a line feed, or as on Windows where all of them do; the last
one ends, too. No blanks at the end of a line, and no two blank lines in a row. Blocks as in `layout`, one
blank behind a dash and a colon. Quotes, brackets, anchors, the order of keys, long lines and the insides of
texts are left alone.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Any, Final

import yaml

from .layout import Inside, Layout, Level
from .outline import outline

_LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_ODD_ENDS: Final = re.compile("[\r\x85\u2028\u2029]")
_BLANKS: Final = " \t"
_MARKS: Final = ("---", "...", "%")
_COMMENT: Final = re.compile(r"(?:^|(?<=[ \t\n]))#[^\n]*")


class CannotFormatError(Exception):
    """Why a text is left as it is."""


def formatted(text: str) -> str:
    """The text in the one layout. CannotFormatError where that isn't safe.

    `text`: one in which `yaml.parse` finds no problem.
    """
    plain = text.removeprefix("\ufeff")
    newline = "\r\n" if plain.count("\r\n") == plain.count("\n") > 0 else "\n"
    plain = plain.replace("\r\n", "\n")
    if found := _ODD_ENDS.search(plain):
        line = plain.count("\n", 0, found.start()) + 1
        raise CannotFormatError(f"line {line} holds a line end that isn't seen")
    layout = Layout(plain, outline(plain))
    lines = _Formatter(layout).lines()
    said = _events(plain)
    # the end of a line that had none would be a part of a block's text
    for end in ("\n", "") if lines else ("",):
        result = "\n".join(lines) + end
        if _events(result) == said:
            break
    else:
        raise CannotFormatError("it would say something else then")
    if _comments(Layout(result, outline(result))) != _comments(layout):
        raise CannotFormatError("a comment would be lost")
    return result.replace("\n", newline)


class _Formatter:
    """Goes through the lines from the first to the last."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._lines = layout.text.removesuffix("\n").split("\n")
        self._firsts = [self._first(number) for number in range(len(self._lines))]
        self._below = self._levels_below()

    def lines(self) -> list[str]:
        """All lines, without their ends."""
        done: list[str] = []
        chain: tuple[Level, ...] = ()
        blank = True
        for number, line in enumerate(self._lines):
            body = self._body(number)
            inside = self._layout.inside.get(number)
            if not body and (inside is None or inside.sort == "brackets"):
                if not blank:
                    done.append("")
                blank = True
                continue
            blank = False
            chain = self._layout.chains.get(number, chain)
            if inside is not None:
                done.append(_moved(line, body, inside))
            elif (level := self._layout.begins.get(self._firsts[number])) is not None:
                done.append(" " * level.after + body)
            elif body.startswith("#"):
                done.append(" " * self._column_of_comment(number, chain) + body)
            elif line.startswith(_MARKS):
                chain = ()
                done.append(body)
            else:
                raise CannotFormatError(f"line {number + 1} is written in an unusual way")
        return done[:-1] if blank else done

    def _first(self, number: int) -> int:
        """The index of a line's first character that isn't blank."""
        line = self._lines[number]
        return self._layout.begin(number) + len(line) - len(line.lstrip(_BLANKS))

    def _body(self, number: int) -> str:
        """A line without the blanks around it, and with one behind dashes and colons."""
        parts: list[str] = []
        done = self._firsts[number]
        for gap in self._layout.gaps.get(number, ()):
            parts += [self._layout.text[done : gap.start], gap.text]
            done = gap.end
        end = self._layout.begin(number) + len(self._lines[number])
        body = "".join(parts) + self._layout.text[done:end]
        ended = body.rstrip(_BLANKS)
        # a backslash and a blank are a blank
        return body if number in self._layout.quoted and ended.endswith("\\") else ended

    def _column_of_comment(self, number: int, chain: tuple[Level, ...]) -> int:
        """A comment goes with what it is aligned with: the entry below, or a block that is open above; also
        with an entry below that is the first of its block."""
        column = self._firsts[number] - self._layout.begin(number)
        below = self._below[number]
        if below is not None and (below.before == column or below not in chain):
            return below.after
        above = [level for level in chain if level.before <= column]
        if above:
            # a list may stand in the column of the mapping that it is in
            return next(level.after for level in above if level.before == above[-1].before)
        return 0 if chain or below else column

    def _levels_below(self) -> list[Level | None]:
        """For each line, of the next one that is neither blank nor a comment."""
        levels: list[Level | None] = []
        below: Level | None = None
        for number in reversed(range(len(self._lines))):
            levels.append(below)
            body = self._lines[number].strip(_BLANKS)
            if body and (number in self._layout.inside or not body.startswith("#")):
                below = self._layout.begins.get(self._firsts[number])
        return levels[::-1]


def _moved(line: str, body: str, inside: Inside) -> str:
    """A line that begins inside of a value, moved along with it."""
    if inside.sort != "block":
        indent = len(line) - len(line.lstrip(_BLANKS))
        return " " * max(indent + inside.shift, inside.least) + body if body else ""
    # a tab is text here
    indent = len(line) - len(line.lstrip(" "))
    if indent == len(line) and (indent <= inside.least or not inside.least):
        return ""
    return " " * (indent + inside.shift) + line[indent:]


def _events(text: str) -> list[tuple[Any, ...]]:
    """What libyaml reads, but for the places."""
    names = ("anchor", "tag", "value", "style", "implicit", "flow_style", "explicit", "version")
    try:
        events = list(yaml.parse(text, Loader=_LOADER))
    except yaml.YAMLError as error:
        raise CannotFormatError("it could not be read then") from error
    return [(type(event), *(getattr(event, name, None) for name in names)) for event in events]


def _comments(layout: Layout) -> Counter[str]:
    """Every comment, without the blanks behind it."""
    parts: list[str] = []
    done = 0
    for start, end in sorted(layout.texts):
        parts += [layout.text[done:start], "x" * (end > start), "\n" * layout.text.count("\n", start, end)]
        done = max(done, end)
    parts.append(layout.text[done:])
    return Counter(found[0].rstrip() for found in _COMMENT.finditer("".join(parts)))
