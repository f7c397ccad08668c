"""A YAML text on which values are replaced, entries added and removed; all else in it stays, byte for byte.

What a removed entry takes along: its own lines with the comments on them, and the comment lines right above
it that begin in its column. Blank lines and other comments stay. What replaces a whole collection loses the
comments inside of it. Pure.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from .outline import BLOCK, Node, Outline, outline
from .templates import has_template
from .write import in_blocks, in_line, in_quotes

INDENT: Final = 2
_REST: Final = re.compile(r"[ \t]*(?:\r?$|[ \t]#[^\n]*$)", re.MULTILINE)
"""What may follow a value on its line: nothing, or a comment."""
_LITERAL: Final = re.compile(r"\{\{\s*'[^'\\]*'\s*\}\}")
"""A template that only stands for a text with braces."""
_HEADER: Final = re.compile(r"[|>][-+0-9]*([ \t]+#[^\n\r]*)?")
_BLANK: Final = re.compile(r"\s*")
_COLON: Final = re.compile(r"[ \t]*:")


class CannotEditError(Exception):
    """Why a text can't be edited safely."""


class _Splice(NamedTuple):
    """`text` instead of what stands from `start` to `end`. At one place, the deepest is written first."""

    start: int
    end: int
    text: str
    column: int = 0


@dataclass(slots=True)
class _Edit:
    """What happens to one collection: entries that go, and those that come, each after an entry."""

    gone: set[int] = field(default_factory=set)
    added: list[tuple[int, Any]] = field(default_factory=list)
    keep: bool = False


class Sheet:
    """One text, being edited: say all that is to change, then ask for `text`.

    Each of the verbs raises CannotEditError for a value that is shared through an anchor, comes from an alias
    or is filled in by a template.
    """

    def __init__(self, text: str) -> None:
        """`text`: one in which `yaml.parse` finds no problem."""
        self._mark = "\ufeff" if text.startswith("\ufeff") else ""
        text = text.removeprefix(self._mark)
        self._newline = "\r\n" if text.count("\r\n") * 2 > text.count("\n") else "\n"
        self._ended = not text or text.endswith("\n")
        # a last line like others: it loses its end again in the result
        self._text = text if self._ended else text + self._newline
        self._outline: Outline = outline(self._text)
        self._edits: defaultdict[Node, _Edit] = defaultdict(_Edit)
        self._splices: list[_Splice] = []
        self._sections: dict[str, list[Any]] = defaultdict(list)

    @property
    def root(self) -> Node | None:
        """The document; None where there is nothing but comments."""
        return self._outline.root

    def put(self, node: Node, value: Any) -> None:
        """Replace the value that `node` is."""
        self._check(node)
        for inner in node.inside():
            self._check_own(inner)
        if node.sort == "scalar" and not isinstance(value, dict | list):
            self._put_scalar(node, value)
        elif _in_brackets(node) or (node.flow and isinstance(value, dict | list)):
            self._splices.append(_Splice(node.start, node.end, in_line(value)))
        else:
            self._put_lines(node, value)

    def drop(self, holder: Node, index: int, *, keep: bool = False) -> None:
        """Remove an entry. A collection that loses its last one goes too; with `keep` it becomes `[]`."""
        self._check(holder)
        for inner in holder.items[index].inside():
            if inner.sort != "alias" and inner.anchor in self._outline.shared:
                raise CannotEditError(f"it holds `&{inner.anchor}`, which is used elsewhere")
        edit = self._edits[holder]
        edit.gone.add(index)
        edit.keep = keep or edit.keep

    def add(self, holder: Node, value: Any, key: str | None = None, after: int | None = None) -> None:
        """Add an entry to a mapping (with its key) or a list, behind the one at `after` or the last."""
        self._check(holder)
        self._check_own(holder)
        added = value if key is None else {key: value}
        self._edits[holder].added.append((len(holder.items) - 1 if after is None else after, added))

    def add_to_section(self, name: str, item: Any) -> None:
        """Add an item to a section that the text hasn't, at its end."""
        self._sections[name].append(item)

    def text(self) -> str:
        """The whole text with all changes."""
        if self.root is not None and self.root.flow:
            for name, items in self._sections.items():
                self.add(self.root, items, name)
            self._sections.clear()
        for node in sorted(self._edits, key=lambda node: -len(list(node.upward()))):
            self._leave_empty(node)
        for node, edit in self._edits.items():
            if node.flow:
                self._edit_brackets(node, edit)
            else:
                self._edit_lines(node, edit)
        text = self._with_sections(self._spliced())
        return self._mark + (text if self._ended else text.removesuffix("\n").removesuffix("\r"))

    def _check(self, node: Node) -> None:
        for above in node.upward():
            if above.anchor in self._outline.shared:
                raise CannotEditError(f"it stands in `&{above.anchor}`, which is used elsewhere")

    def _check_own(self, node: Node) -> None:
        if node.sort == "alias":
            raise CannotEditError("its value comes from an anchor")
        if node.sort == "scalar" and has_template(_LITERAL.sub("", node.value)):
            raise CannotEditError("its value is a template")

    # scalars and whole values

    def _put_scalar(self, node: Node, value: Any) -> None:
        head, body = in_line(value), ""
        brackets = _in_brackets(node)
        if isinstance(value, str) and node.style in ("'", '"'):
            head = in_quotes(value, node.style)
        elif isinstance(value, str) and not brackets:
            written = in_blocks({"k": value})[3:]
            if written.startswith("|"):
                head, _, body = written.partition("\n")
        if node.style in BLOCK:
            comment = _HEADER.match(self._text, node.start)
            head += comment[1] or "" if comment else ""
        if node.start == node.end:
            head = f" {head}"
        self._splices.append(_Splice(node.start, node.end, head))
        if body:
            column = self._column_of_entry(node)
            self._insert(self._end_of_line(node.end), column, body)

    def _put_lines(self, node: Node, value: Any) -> None:
        """A value whose old or new form has lines of its own."""
        holder = node.parent
        if holder is None or holder.sort != "mapping":
            raise CannotEditError("a value of another sort is wanted there")
        start = self._behind_key(holder, holder.items.index(node))
        end = self._end_of_line(node.end)
        column = self._column_of_entry(node)
        written = in_blocks({"k": value}, column)[2:].rstrip("\n")
        if not written.startswith("\n"):
            self._splices.append(_Splice(start, node.end, self._indented(written, column)))
            return
        # a comment behind the key stays, and so does one behind braces
        below = self._next_line(start)
        gone = (below, end) if node.start >= below else (start, node.end)
        self._splices.append(_Splice(*gone, ""))
        self._insert(end, column, written[1:] + "\n")

    def _column_of_entry(self, node: Node) -> int:
        holder = node.parent
        assert holder is not None
        return self._column(holder.heads[holder.items.index(node)])

    # collections

    def _leave_empty(self, node: Node) -> None:
        """Where all of its entries go and none comes, the collection goes with them, unless it is kept."""
        edit = self._edits[node]
        if len(edit.gone) < len(node.items) or edit.added or not edit.gone or edit.keep:
            return
        if node.parent is not None and node.parent.sort == "mapping":
            self.drop(node.parent, node.parent.items.index(node))

    def _edit_lines(self, node: Node, edit: _Edit) -> None:
        if node.sort == "scalar":
            self._fill(node, edit)
            return
        if len(edit.gone) == len(node.items) and not edit.added and node.parent is not None:
            at = self._behind_key(node.parent, node.parent.items.index(node))
            self._splices.append(_Splice(at, at, " []" if node.sort == "list" else " {}"))
        self._drop_lines(node, edit.gone)
        column = self._column(node.heads[0])
        for after, value in edit.added:
            braces = node.sort == "list" and node.items[-1].flow and isinstance(value, dict)
            if braces:
                written = f"- {in_line(value)}\n"
            else:
                written = in_blocks([value] if node.sort == "list" else value, column)
            self._insert(self._end_of_line(node.items[after].end), column, written)

    def _fill(self, node: Node, edit: _Edit) -> None:
        """Items for a section that says nothing."""
        column = self._column_of_entry(node)
        self._splices.append(_Splice(node.start, node.end, ""))
        written = in_blocks([value for _, value in edit.added], column + INDENT)
        self._insert(self._end_of_line(node.end), column + INDENT, written)

    def _drop_lines(self, node: Node, gone: set[int]) -> None:
        kept = next((index for index in range(len(node.items)) if index not in gone), len(node.items))
        for index in sorted(gone):
            head, end = node.heads[index], self._end_of_line(node.items[index].end)
            line = self._line(head)
            if not self._text[line:head].strip():
                self._splices.append(_Splice(self._with_comments(node, index), end, ""))
            elif index == 0 and kept < len(node.items):
                # the first entry of an item stands behind its dash, where the next one comes
                end = self._end_of_line(node.items[kept - 1].end)
                self._splices.append(_Splice(head, _blank_until(self._text, end), ""))
            else:
                raise CannotEditError("it shares its line with something else")

    def _with_comments(self, node: Node, index: int) -> int:
        """Where an entry's lines begin, with the comments right above it and in its column."""
        start = self._line(node.heads[index])
        above = " " * self._column(node.heads[index]) + "#"
        # a line of the entry before may look like a comment
        floor = self._next_line(node.items[index - 1].end) if index else 0
        while start > floor and self._text.startswith(above, line := self._line(start - 1)):
            start = line
        return start

    def _edit_brackets(self, node: Node, edit: _Edit) -> None:
        kept = [index for index in range(len(node.items)) if index not in edit.gone]
        if not kept:
            if not _in_brackets(node) and node.parent is not None and not node.items and edit.added:
                values = [value for _, value in edit.added]
                whole = values if node.sort == "list" else dict(e for v in values for e in v.items())
                self._put_lines(node, whole)
                return
            text = ", ".join(_bare(node, value) for _, value in edit.added)
            self._splices.append(_Splice(node.start + 1, node.end - 1, text))
            return
        for index in edit.gone:
            start, end = node.heads[index], node.items[index].end
            if self._has_own_line(node, index):
                start, end = self._line(start), self._next_line(end)
            elif index < kept[-1]:
                end = node.heads[index + 1]
            else:
                start = node.items[index - 1].end
            self._splices.append(_Splice(start, end, ""))
        for after, value in edit.added:
            before = [index for index in kept if index <= after]
            text = _bare(node, value)
            if not before:
                self._splices.append(_Splice(node.heads[kept[0]], node.heads[kept[0]], f"{text}, "))
            elif self._has_own_line(node, before[-1]):
                self._add_line_in_brackets(node, before[-1], text)
            else:
                end = node.items[before[-1]].end
                self._splices.append(_Splice(end, end, f", {text}"))

    def _has_own_line(self, node: Node, index: int) -> bool:
        """Whether an entry between brackets stands alone on its line, but for a comma and a comment."""
        head, end = node.heads[index], node.items[index].end
        end += self._text.startswith(",", end)
        return not self._text[self._line(head) : head].strip() and _REST.match(self._text, end) is not None

    def _add_line_in_brackets(self, node: Node, index: int, text: str) -> None:
        end = node.items[index].end
        if not self._text.startswith(",", end):
            self._splices.append(_Splice(end, end, ","))
            comma = ""
        else:
            comma = ","
        self._insert(self._next_line(end), self._column(node.heads[index]), f"{text}{comma}\n")

    # lines

    def _line(self, at: int) -> int:
        return self._text.rfind("\n", 0, at) + 1

    def _next_line(self, at: int) -> int:
        return self._text.find("\n", at) + 1 or len(self._text)

    def _column(self, at: int) -> int:
        return at - self._line(at)

    def _end_of_line(self, at: int) -> int:
        """Where the line after `at` begins; nothing but a comment may stand between."""
        if _REST.match(self._text, at) is None:
            raise CannotEditError("it shares its line with something else")
        return self._next_line(at)

    def _behind_key(self, holder: Node, index: int) -> int:
        colon = _COLON.match(self._text, holder.keys[index].end)
        if colon is None or holder.sort != "mapping":
            raise CannotEditError("its key is written in an unusual way")
        return colon.end()

    def _indented(self, text: str, column: int) -> str:
        """Lines with the text's own line ends, all but the first moved to the right."""
        first, *others = text.split("\n")
        moved = [" " * column + line if line else line for line in others]
        return self._newline.join([first, *moved])

    def _insert(self, at: int, column: int, lines: str) -> None:
        """Whole lines, each ended, before the line that begins at `at`."""
        text = " " * column + self._indented(lines, column)
        self._splices.append(_Splice(at, at, text, column))

    # putting it together

    def _spliced(self) -> str:
        """Removed ranges are joined, and what was to change inside of them isn't looked at."""
        ranges: list[tuple[int, int]] = []
        for start, end in sorted((s.start, s.end) for s in self._splices if s.end > s.start and not s.text):
            if ranges and start <= ranges[-1][1]:
                ranges[-1] = ranges[-1][0], max(end, ranges[-1][1])
            else:
                ranges.append((start, end))
        others = [s for s in self._splices if s.text and not _covered(s, ranges)]
        splices = sorted(
            [*others, *(_Splice(start, end, "") for start, end in ranges)],
            key=lambda s: (s.start, s.end, -s.column),
        )
        parts: list[str] = []
        done = 0
        for splice in splices:
            if splice.start < done:
                raise CannotEditError("two changes touch the same place")
            parts += [self._text[done : splice.start], splice.text]
            done = splice.end
        return "".join([*parts, self._text[done:]])

    def _with_sections(self, text: str) -> str:
        for name, items in self._sections.items():
            between = self._newline if text else ""
            text += between + self._indented(in_blocks({name: items}), 0)
        return text


def _in_brackets(node: Node) -> bool:
    """Whether the node stands inside of a flow collection."""
    return node.parent is not None and any(above.flow for above in node.parent.upward())


def _bare(holder: Node, value: Any) -> str:
    """An entry as it stands between brackets."""
    return in_line(value)[1:-1] if holder.sort == "mapping" else in_line(value)


def _blank_until(text: str, at: int) -> int:
    """Where the next text begins."""
    found = _BLANK.match(text, at)
    return found.end() if found else at


def _covered(splice: _Splice, ranges: Iterable[tuple[int, int]]) -> bool:
    """Whether it lies in a removed range. What is only inserted at one's edge doesn't."""
    if splice.start == splice.end:
        return any(start < splice.start < end for start, end in ranges)
    return any(start <= splice.start and splice.end <= end for start, end in ranges)
