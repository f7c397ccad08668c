"""A YAML text on which values are replaced, entries added and removed; all else in it stays, byte for byte.

What a removed entry takes along: its own lines with the comments on them, and the comment lines right above
it that begin in its column. Blank lines and other comments stay. Where a whole collection is replaced, the
comments inside of it stay on lines of their own; between brackets there are none, so that is refused. Pure.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

from .lines import CannotEditError, Lines, Splice, spliced
from .outline import BLOCK, Node, Outline, outline
from .templates import has_template
from .write import in_blocks, in_line, in_quotes

INDENT: Final = 2
_LITERAL: Final = re.compile(r"\{\{\s*'[^'\\]*'\s*\}\}")
"""A template that only stands for a text with braces."""
_HEADER: Final = re.compile(r"[|>][-+0-9]*([ \t]+#[^\n\r]*)?")
_BLANK: Final = re.compile(r"\s*")
_COLON: Final = re.compile(r"[ \t]*:")
_COMMENT: Final = re.compile(r"(?:^|(?<=\s))#[^\r\n]*")


@dataclass(slots=True)
class _Edit:
    """What happens to one collection: entries that go, and those that come, each after an entry.

    `keep`: it stays when it is empty. `left`: it goes with its last entry.
    """

    gone: set[int] = field(default_factory=set)
    added: list[tuple[int, Any]] = field(default_factory=list)
    keep: bool = False
    left: bool = False


class Sheet:
    """One text, being edited: say all that is to change, then ask for `text`.

    Each of the verbs raises CannotEditError for a value that is shared through an anchor, comes from an alias
    or is filled in by a template.
    """

    def __init__(self, text: str) -> None:
        """`text`: one in which `yaml.parse` finds no problem."""
        self._mark = "\ufeff" if text.startswith("\ufeff") else ""
        text = text.removeprefix(self._mark)
        self._ended = not text or text.endswith("\n")
        self._lines = Lines(text)
        self._outline: Outline = outline(self._lines.text)
        self._edits: defaultdict[Node, _Edit] = defaultdict(_Edit)
        self._splices: list[Splice] = []
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
            self._check_bare(node, node.start)
            self._replace(node.start, node.end, in_line(value))
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
            if node.flow and not edit.left:
                self._edit_brackets(node, edit)
            elif not edit.left:
                self._edit_lines(node, edit)
        text = self._with_sections(spliced(self._lines.text, self._splices))
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
            comment = _HEADER.match(self._lines.text, node.start)
            head += comment[1] or "" if comment else ""
        if node.start == node.end:
            head = f" {head}"
        self._replace(node.start, node.end, head)
        if body:
            column = self._column_of_entry(node)
            self._add_lines(self._lines.next_after_value(node.end), column, body)

    def _put_lines(self, node: Node, value: Any) -> None:
        """A value whose old or new form has lines of its own."""
        holder = node.parent
        if holder is None or holder.sort != "mapping":
            raise CannotEditError("a value of another sort is wanted there")
        start = self._behind_key(holder, holder.items.index(node))
        end = self._lines.next_after_value(node.end)
        column = self._column_of_entry(node)
        written = in_blocks({"k": value}, column)[2:].rstrip("\n")
        # a comment behind the key stays, and so does one behind braces
        below = self._lines.next(start)
        if "\n" not in written and node.start >= below and not node.anchor:
            self._replace(start, start, written)
            self._replace(below, end, self._comment_lines(node, below, end))
            return
        if not written.startswith("\n"):
            self._check_bare(node, start)
            self._replace(start, node.end, self._lines.indented(written, column))
            return
        if node.start >= below:
            self._replace(below, end, self._comment_lines(node, below, end))
        else:
            self._check_bare(node, start)
            self._replace(start, node.end, "")
        self._add_lines(end, column, written[1:] + "\n")

    def _check_bare(self, node: Node, start: int) -> None:
        if any(True for _ in self._comments(node, start, node.end)):
            raise CannotEditError("a comment stands in what it is now, and would be lost")

    def _comment_lines(self, node: Node, start: int, end: int) -> str:
        """The comments of these lines, which hold a value, each on a line of its own."""
        text, kept = self._lines.text, ""
        for found in self._comments(node, start, end):
            begin = self._lines.begin(found.start())
            indent = text[begin : _blank_until(text, begin)]
            kept += f"{indent}{found[0]}{self._lines.newline}"
        return kept

    def _comments(self, node: Node, start: int, end: int) -> Iterator[re.Match[str]]:
        """The comments between two places, between which a value stands."""
        scalars = [n for inner in node.inside() for n in (*inner.keys, inner) if n.sort == "scalar"]
        for scalar in sorted(scalars, key=lambda scalar: scalar.start):
            # a block's first line may have one
            begins = self._lines.next(scalar.start) if scalar.style in BLOCK else scalar.start
            yield from _COMMENT.finditer(self._lines.text, start, begins)
            start = scalar.end
        yield from _COMMENT.finditer(self._lines.text, start, end)

    def _column_of_entry(self, node: Node) -> int:
        holder = node.parent
        assert holder is not None
        return self._lines.column(holder.heads[holder.items.index(node)])

    # collections

    def _leave_empty(self, node: Node) -> None:
        """Where all of its entries go and none comes, the collection goes with them, unless it is kept."""
        edit = self._edits[node]
        if len(edit.gone) < len(node.items) or edit.added or not edit.gone or edit.keep:
            return
        if node.parent is not None and node.parent.sort == "mapping":
            self.drop(node.parent, node.parent.items.index(node))
            edit.left = True

    def _edit_lines(self, node: Node, edit: _Edit) -> None:
        if node.sort == "scalar":
            self._fill(node, edit)
            return
        if len(edit.gone) == len(node.items) and not edit.added and node.parent is not None:
            at = self._behind_key(node.parent, node.parent.items.index(node))
            self._replace(at, at, " []" if node.sort == "list" else " {}")
        self._drop_lines(node, edit.gone)
        column = self._lines.column(node.heads[0])
        for after, value in edit.added:
            braces = node.sort == "list" and node.items[-1].flow and isinstance(value, dict)
            if braces:
                written = f"- {in_line(value)}\n"
            else:
                step = INDENT if node.sort == "list" else self._step
                written = in_blocks([value] if node.sort == "list" else value, column, step)
            self._add_lines(self._lines.next_after_value(node.items[after].end), column, written)

    @cached_property
    def _step(self) -> int:
        """How far mappings stand to the right of those that they are in: as most do in this text."""
        steps = Counter(
            self._lines.column(node.heads[0]) - self._column_of_entry(node)
            for node in (self.root.inside() if self.root else ())
            if node.sort == "mapping" and not node.flow and node.parent and node.parent.sort == "mapping"
        )
        return max(steps, key=lambda step: steps[step], default=INDENT)

    def _fill(self, node: Node, edit: _Edit) -> None:
        """Items for a section that says nothing."""
        column = self._column_of_entry(node)
        self._replace(node.start, node.end, "")
        written = in_blocks([value for _, value in edit.added], column + INDENT)
        self._add_lines(self._lines.next_after_value(node.end), column + INDENT, written)

    def _drop_lines(self, node: Node, gone: set[int]) -> None:
        kept = next((index for index in range(len(node.items)) if index not in gone), len(node.items))
        for index in sorted(gone):
            head, end = node.heads[index], self._lines.next_after_value(node.items[index].end)
            if self._lines.begins(head):
                self._replace(self._with_comments(node, index), end, "")
            elif index == 0 and kept < len(node.items):
                # the first entry of an item stands behind its dash, where the next one comes
                end = self._lines.next_after_value(node.items[kept - 1].end)
                self._replace(head, _blank_until(self._lines.text, end), "")
            else:
                raise CannotEditError("it shares its line with something else")

    def _with_comments(self, node: Node, index: int) -> int:
        """Where an entry's lines begin, with the comments right above it and in its column."""
        start = self._lines.begin(node.heads[index])
        above = " " * self._lines.column(node.heads[index]) + "#"
        # a line of the entry before may look like a comment
        floor = self._lines.next(node.items[index - 1].end) if index else 0
        while start > floor and self._lines.text.startswith(above, line := self._lines.begin(start - 1)):
            start = line
        return start

    def _edit_brackets(self, node: Node, edit: _Edit) -> None:
        kept = [index for index in range(len(node.items)) if index not in edit.gone]
        if not kept:
            self._edit_all_in_brackets(node, [value for _, value in edit.added])
            return
        for index in edit.gone:
            self._drop_in_brackets(node, index, kept[-1])
        groups: defaultdict[int, list[str]] = defaultdict(list)
        for after, value in edit.added:
            groups[bisect_right(kept, after) - 1].append(_bare(node, value))
        for place, texts in groups.items():
            if place < 0:
                first = node.heads[kept[0]]
                self._replace(first, first, "".join(f"{text}, " for text in texts))
            elif self._has_own_line(node, kept[place]):
                self._add_lines_in_brackets(node, kept[place], texts, last=place == len(kept) - 1)
            else:
                end = node.items[kept[place]].end
                self._replace(end, end, "".join(f", {text}" for text in texts))
        if len(kept) - 1 not in groups:
            self._drop_comma(node, kept[-1])

    def _edit_all_in_brackets(self, node: Node, values: list[Any]) -> None:
        """Other entries in the place of all, perhaps of none; in lines where brackets were only empty."""
        if values and not node.items and node.parent is not None and not _in_brackets(node):
            merged = {key: item for value in values for key, item in value.items()}
            self._put_lines(node, values if node.sort == "list" else merged)
        else:
            text = ", ".join(_bare(node, value) for value in values)
            self._replace(node.start + 1, node.end - 1, "")
            self._replace(node.end - 1, node.end - 1, text)

    def _drop_in_brackets(self, node: Node, index: int, last: int) -> None:
        """`last`: the last entry that stays."""
        start, end = node.heads[index], node.items[index].end
        if self._has_own_line(node, index):
            self._replace(self._lines.begin(start), self._lines.next(end), "")
        elif index < last:
            self._replace(start, node.heads[index + 1], "")
        else:
            self._replace(node.items[index - 1].end, end, "")

    def _drop_comma(self, node: Node, last: int) -> None:
        """The comma behind what is the last entry now, if the one that was it had none."""
        end = node.items[last].end
        if last < len(node.items) - 1 and self._has_comma(end) and not self._has_comma(node.items[-1].end):
            self._replace(end, end + 1, "")

    def _add_lines_in_brackets(self, node: Node, index: int, texts: list[str], *, last: bool) -> None:
        end = node.items[index].end
        if not self._has_comma(end):
            self._replace(end, end, ",")
        comma = "" if last and not self._has_comma(node.items[-1].end) else ","
        column = self._lines.column(node.heads[index])
        self._add_lines(self._lines.next(end), column, ",\n".join(texts) + f"{comma}\n")

    def _has_comma(self, at: int) -> bool:
        return self._lines.text.startswith(",", at)

    def _has_own_line(self, node: Node, index: int) -> bool:
        """Whether an entry between brackets stands alone on its line, but for a comma and a comment."""
        head, end = node.heads[index], node.items[index].end
        return self._lines.begins(head) and self._lines.ends(end + self._has_comma(end))

    # lines

    def _replace(self, start: int, end: int, text: str) -> None:
        self._splices.append(Splice(start, end, text))

    def _add_lines(self, at: int, column: int, lines: str) -> None:
        self._splices.append(self._lines.inserted(at, column, lines))

    def _behind_key(self, holder: Node, index: int) -> int:
        colon = _COLON.match(self._lines.text, holder.keys[index].end)
        if colon is None or holder.sort != "mapping":
            raise CannotEditError("its key is written in an unusual way")
        return colon.end()

    def _with_sections(self, text: str) -> str:
        for name, items in self._sections.items():
            between = self._lines.newline if text else ""
            text += between + self._lines.indented(in_blocks({name: items}), 0)
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
