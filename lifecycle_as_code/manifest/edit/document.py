"""A YAML text in which values are replaced and entries added or removed; the rest stays byte for byte.

An entry is removed with its own lines, the comments on them, and the comment lines right above it in its
column. Blank lines and other comments stay. A collection that replaces a value is written in braces, unless
a comment would be lost. Pure.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import defaultdict
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

from ..templates import has_template
from ..write import in_blocks, in_line, in_quotes
from ..yaml.outline import BLOCK, Node, Outline
from .splices import CannotEditError, Lines, Splice, apply_splices

_LITERAL: Final = re.compile(r"\{\{\s*'[^'\\]*'\s*\}\}")
"""A template that only produces a text with braces."""
_HEADER: Final = re.compile(r"[|>][-+0-9]*([ \t]+#[^\n\r]*)?")
_COLON: Final = re.compile(r"[ \t]*:")


@dataclass(slots=True)
class _Edit:
    """A collection's removed entries, and new ones, each as a list or a mapping. `keep`: even if empty."""

    removals: set[int] = field(default_factory=set)
    additions: list[Any] = field(default_factory=list)
    keep: bool = False


class Document:
    """An edited text: make all changes, then take its `text`. Each change raises CannotEditError for a value
    that is shared through an anchor, comes from an alias or from a template."""

    def __init__(self, text: str) -> None:
        """`text`: one in which `reader.parse` finds no problem."""
        self._mark = "\ufeff" if text.startswith("\ufeff") else ""
        text = text.removeprefix(self._mark)
        self._has_final_newline = not text or text.endswith("\n")
        self._lines = Lines(text)
        self._outline = Outline(self._lines.text)
        self._edits: defaultdict[Node, _Edit] = defaultdict(_Edit)
        self._splices: list[Splice] = []
        self._fields: defaultdict[tuple[Node | None, str], list[Any]] = defaultdict(list)

    @property
    def root(self) -> Node | None:
        """The document; None if there are only comments."""
        return self._outline.root

    def put(self, node: Node, value: Any) -> None:
        """Replace the value at `node`."""
        self._check(node)
        for inner in node.inside():
            self._check_own(inner)
        if node.sort == "scalar" and not isinstance(value, dict | list):
            self._put_scalar(node, value)
            return
        if node.sort == "scalar" or node.flow or node.parent is None:
            self._check_bare(node.start, node.end)
            self._replace(node.start, node.end, in_line(value), apart=node.start == node.end)
        else:
            # a comment behind the key stays
            start = self._behind_key(node.parent, node.parent.items.index(node))
            self._replace(start, start, in_line(value), apart=True)
            self._drop_bare(self._lines.next(start), self._lines.next(node.end))

    def drop(self, holder: Node, index: int, *, keep: bool = False) -> None:
        """Remove an entry. An empty collection is removed too; with `keep` it becomes `[]`."""
        self._check(holder)
        for inner in holder.items[index].inside():
            if inner.sort != "alias" and inner.anchor in self._outline.shared:
                raise CannotEditError(f"it contains `&{inner.anchor}`, which is used elsewhere")
        edit = self._edits[holder]
        edit.removals.add(index)
        edit.keep = keep or edit.keep

    def add(self, holder: Node, entry: Any) -> None:
        """Append an entry to a mapping or a list: a mapping or a list of one. `holder` may be empty."""
        self._check(holder)
        self._check_own(holder)
        self._edits[holder].additions.append(entry)

    def add_field(self, holder: Node | None, name: str, entry: Any) -> None:
        """Add an entry to a new field of a mapping, or of the document (None)."""
        if holder is not None:
            self._check(holder)
        self._fields[holder, name].append(entry)

    def text(self) -> str:
        """The whole text with all changes."""
        sections: dict[str, Any] = {}
        for (holder, name), entries in self._fields.items():
            if holder is None and (self.root is None or not self.root.flow):
                sections[name] = _merge_entries(entries)
            elif (node := holder or self.root) is not None:
                self._edits[node].additions.append({name: _merge_entries(entries)})
        for node in sorted(self._edits, key=lambda node: -len(list(node.upward()))):
            self._drop_empty(node)
        for node, edit in self._edits.items():
            if node.flow:
                self._edit_flow(node, edit)
            else:
                self._edit_block(node, edit)
        text = apply_splices(self._lines.text, self._splices)
        for name, value in sections.items():
            between = self._lines.newline if text else ""
            text += between + self._lines.insert(0, 0, in_blocks({name: value})).text
        return self._mark + (text if self._has_final_newline else text.removesuffix("\n").removesuffix("\r"))

    def _check(self, node: Node) -> None:
        for above in node.upward():
            if above.anchor in self._outline.shared:
                raise CannotEditError(f"it is inside `&{above.anchor}`, which is used elsewhere")

    def _check_own(self, node: Node) -> None:
        if node.sort == "alias":
            raise CannotEditError("its value comes from an anchor")
        if node.sort == "scalar" and has_template(_LITERAL.sub("", node.value)):
            raise CannotEditError("its value is a template")

    def _check_bare(self, start: int, end: int) -> None:
        if bisect_left(self._comments, start) < bisect_left(self._comments, end):
            raise CannotEditError("its value contains a comment, which would be lost")

    def _put_scalar(self, node: Node, value: Any) -> None:
        head, body = in_line(value), ""
        if isinstance(value, str) and node.style in ("'", '"'):
            head = in_quotes(value, node.style)
        elif isinstance(value, str) and not any(above.flow for above in node.upward()):
            block = in_blocks({"k": value})[3:]
            if block.startswith("|"):
                head, _, body = block.partition("\n")
        header = _HEADER.match(self._lines.text, node.start) if node.style in BLOCK else None
        head += header[1] or "" if header else ""
        self._replace(node.start, node.end, head, apart=node.start == node.end)
        if body:
            self._add_lines(node.end, self._column_of_entry(node), body)

    def _drop_empty(self, node: Node) -> None:
        """Remove a collection that loses all entries and gets none, unless it is kept."""
        edit, holder = self._edits[node], node.parent
        empty = len(edit.removals) == len(node.items) > 0 and not edit.additions and not edit.keep
        if empty and holder is not None and holder.sort == "mapping":
            self.drop(holder, holder.items.index(node))
            self._drop_empty(holder)

    def _edit_block(self, node: Node, edit: _Edit) -> None:
        if node.sort == "scalar":
            column = self._column_of_entry(node)
            self._replace(node.start, node.end, "")
            self._add_lines(node.end, column + 2, in_blocks(_merge_entries(edit.additions)))
            return
        if len(edit.removals) == len(node.items) and not edit.additions and node.parent is not None:
            at = self._behind_key(node.parent, node.parent.items.index(node))
            self._replace(at, at, "[]" if node.sort == "list" else "{}", apart=True)
        for index in edit.removals:
            start = self._with_comments(node, index)
            self._replace(start, self._lines.next(node.items[index].end), "")
        column, last = self._lines.column(node.heads[0]), node.items[-1]
        for entry in edit.additions:
            braces = last.flow and isinstance(entry, list) and isinstance(entry[0], dict)
            lines = f"- {in_line(entry[0])}\n" if braces else in_blocks(entry, column)
            self._add_lines(last.end, column, lines)

    def _with_comments(self, node: Node, index: int) -> int:
        """The beginning of an entry's lines, including the comments right above it in its column."""
        text, head = self._lines.text, node.heads[index]
        start = self._lines.begin(head)
        if text[start:head].strip():
            raise CannotEditError("its line has other content")
        above = " " * (head - start) + "#"
        # a line of the entry before may look like a comment
        floor = self._lines.next(node.items[index - 1].end) if index else 0
        while start > floor and text.startswith(above, line := self._lines.begin(start - 1)):
            start = line
        return start

    def _edit_flow(self, node: Node, edit: _Edit) -> None:
        rest = [index for index in range(len(node.items)) if index not in edit.removals]
        additions = ", ".join(in_line(entry)[1:-1] for entry in edit.additions)
        if not rest:
            self._drop_bare(node.start + 1, node.end - 1)
            self._replace(node.end - 1, node.end - 1, additions)
            return
        for index in edit.removals:
            if index < rest[-1]:
                self._drop_bare(node.heads[index], node.heads[index + 1])
            else:
                self._drop_bare(node.items[index - 1].end, node.items[index].end)
        if additions:
            end = node.items[rest[-1]].end
            self._replace(end, end, f", {additions}")

    def _drop_bare(self, start: int, end: int) -> None:
        self._check_bare(start, end)
        self._replace(start, end, "")

    @cached_property
    def _comments(self) -> list[int]:
        return [comment.start() for comment in self._outline.comments()]

    def _replace(self, start: int, end: int, text: str, *, apart: bool = False) -> None:
        """`apart`: with a blank before it if it follows a colon or a dash."""
        blank = " " * (apart and self._lines.text[start - 1 : start] in (":", "-"))
        self._splices.append(Splice(start, end, blank + text))

    def _add_lines(self, end: int, column: int, lines: str) -> None:
        """Insert whole lines below the line of a value that ends at `end`."""
        self._splices.append(self._lines.insert(self._lines.next(end), column, lines))

    def _column_of_entry(self, node: Node) -> int:
        assert node.parent is not None
        return self._lines.column(node.parent.heads[node.parent.items.index(node)])

    def _behind_key(self, holder: Node, index: int) -> int:
        colon = _COLON.match(self._lines.text, holder.keys[index].end) if holder.sort == "mapping" else None
        if colon is None:
            raise CannotEditError("its key has an unusual form")
        return colon.end()


def _merge_entries(entries: list[Any]) -> Any:
    """Lists or mappings of one as one list or mapping."""
    if isinstance(entries[0], list):
        return [item for entry in entries for item in entry]
    return {key: item for entry in entries for key, item in entry.items()}
