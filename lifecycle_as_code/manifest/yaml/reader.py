"""YAML text to nodes with their places, over PyYAML's event stream.

Only libyaml's parser is used, never PyYAML's composer or constructor: those recurse in C, call the
functions that tags name and have no limits. Each of these is an error at its place: tags, several documents,
duplicate and complex keys, cycles, and more values, nesting or alias expansion than the limits below. Pure.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import repeat
from typing import Any, NamedTuple

import yaml

from .nodes import Map, Mark, Plain, Seq, inside, scalar
from .report import Report, TooManyError, quote
from .text import LOADER, MAX_DEPTH, START, explain, readable, unstorable, without

NODES = 300_000
"""How many nodes any file may hold; larger files get one more for every eight bytes."""
ALIAS_NODES = 100_000
"""How many nodes aliases may stand for in any file; larger files get one more for every four bytes."""
CHARACTERS = 16
"""How many characters of an alias's text count as one node."""

_DISCARD: Any = object()
"""The key of a value that is discarded because its key was refused."""
_MERGE: Any = object()
"""The key `<<`."""


class _AbortedError(Exception):
    """The rest of the file can't be read; the report says why."""


def parse(data: bytes, report: Report, most: int | None = None) -> Any:
    """The file's only document as nodes; None if it is empty or can't be read.

    Every problem is in `report`. `most`: how many nodes the file may have, if not the limit for a manifest of
    its size.
    """
    try:
        if not readable(data, report):
            return None
        return _Builder(data, report, most).document()
    except (_AbortedError, TooManyError):
        return None
    except yaml.YAMLError as error:
        explain(error, data, report)
        return None


@dataclass(slots=True)
class _Open:
    """An unfinished collection, and the state needed at its end."""

    node: Map | Seq
    anchor: str | None
    key: Any = None
    key_mark: Mark = START
    merge: Any = None
    merge_mark: Mark | None = None


class _Size(NamedTuple):
    """A node with aliases expanded: the number of nodes and levels. Holding `node` keeps its id unique."""

    weight: int
    depth: int
    node: Any = None


class _Builder:
    """One pass over the events, with as little work per event as possible."""

    def __init__(self, data: bytes, report: Report, most: int | None) -> None:
        self._next: Callable[[], Any] = LOADER(data).get_event
        self._report = report
        self._anchors: dict[str, Any] = {}
        self._sizes: dict[int, _Size] = {}
        self._expanded = 0
        self._expandable = ALIAS_NODES + len(data) // 4
        self._most = NODES + len(data) // 8 if most is None else most

    def document(self) -> Any:
        """The only document of the stream; None if it is empty."""
        roots: list[Any] = []
        while not isinstance(event := self._next(), yaml.StreamEndEvent):
            if isinstance(event, yaml.DocumentStartEvent):
                if roots:
                    detail, hint = "`---` starts a second document.", "move it into its own file"
                    raise self._failure("several-documents", event, detail, hint)
                roots.append(self._node())
        return roots[0] if roots else None

    def _failure(self, code: str, event: Any, detail: str, hint: str = "") -> _AbortedError:
        self._report.add(code, event.start_mark, detail, hint)
        return _AbortedError()

    def _node(self) -> Any:
        """Read one node with everything below it. Iterative: depth costs memory, not stack."""
        read = self._next
        stack: list[_Open] = []
        top: _Open | None = None
        node: Any
        value: Any
        for _ in repeat(None, self._most):
            event = read()
            kind = event.__class__
            if kind is yaml.ScalarEvent:
                # implicit[0]: plain and without a tag
                value = scalar(event.value) if event.implicit[0] else self._text(event)
                if event.tag is not None:
                    self._refuse_tag(event)
                if event.anchor is not None:
                    self._anchors[event.anchor] = value
                mark = event.start_mark
            elif kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
                if event.tag is not None:
                    self._refuse_tag(event)
                mark = event.start_mark
                if len(stack) >= MAX_DEPTH:
                    raise self._failure("too-deep", event, f"More than {MAX_DEPTH} levels.")
                collection: Map | Seq = Map(mark) if kind is yaml.MappingStartEvent else Seq(mark)
                if event.anchor is not None:
                    self._anchors[event.anchor] = _DISCARD  # until its end: a use before that is a cycle
                top = _Open(collection, event.anchor)
                stack.append(top)
                continue
            elif kind is yaml.AliasEvent:
                value = self._alias(event, len(stack))
                mark = event.start_mark
            else:
                ended = stack.pop()
                value = ended.node
                if ended.merge_mark is not None:
                    self._merge(ended)
                if ended.anchor is not None:
                    self._anchors[ended.anchor] = value
                mark = value.at
                top = stack[-1] if stack else None

            if top is None:
                return value
            node = top.node
            if node.__class__ is Seq:
                node.append(value)
                node.marks.append(mark)
                continue
            key = top.key
            if key is None:
                if value.__class__ is str and value not in node:
                    top.key = value
                    top.key_mark = mark
                else:
                    self._key(top, value, mark)
                continue
            top.key = None
            if key is _MERGE:
                top.merge = value
            elif key is not _DISCARD:
                node[key] = value
                node.marks[key] = top.key_mark, mark
        raise self._failure("too-large", event, f"More than {self._most:,} values.", "split the file")

    def _text(self, event: Any) -> str:
        """A quoted scalar or a block: only there an escape may produce an invalid character."""
        value: str = event.value
        if odd := unstorable(value):
            self._report.add("bad-character", event.start_mark, f"The text contains {odd}.", "remove it")
            return without(value)
        return value

    def _key(self, top: _Open, value: Any, mark: Mark) -> None:
        node: Any = top.node
        top.key_mark = mark
        if value.__class__ is str:
            name = value
        elif value.__class__ is Plain:
            name = value.text
            if name == "<<":
                if top.merge_mark is not None:
                    self._report_duplicate(name, mark, top.merge_mark)
                    top.key = _DISCARD
                else:
                    top.key, top.merge_mark = _MERGE, mark
                return
            # as keys, every parser reads `y` and `n` as names
            if name not in ("y", "Y", "n", "N"):
                node.odd += (name,)
        else:
            detail, hint = "A mapping or list is used as a key.", 'quote a template: "{{ … }}"'
            self._report.add("key-not-text", mark, detail, hint)
            top.key = _DISCARD
            return
        if name in node:
            self._report_duplicate(name, mark, node.place_of_key(name))
            top.key = _DISCARD
            return
        top.key = name

    def _report_duplicate(self, name: str, mark: Mark, first: Mark) -> None:
        detail = f"{quote(name)} is already defined at {self._report.source(first)}."
        self._report.add("duplicate-key", mark, detail)

    def _alias(self, event: Any, levels: int) -> Any:
        """The alias's value, in a collection at level `levels`."""
        name = event.anchor
        if name not in self._anchors:
            detail = f"There is no {quote('&' + name)} before {quote('*' + name)}."
            raise self._failure("unknown-alias", event, detail)
        value = self._anchors[name]
        if value is _DISCARD:
            raise self._failure("alias-cycle", event, f"{quote('*' + name)} is inside {quote('&' + name)}.")
        size = self._size(value)
        if levels + size.depth > MAX_DEPTH:
            detail = f"With aliases expanded, there are more than {MAX_DEPTH} levels."
            raise self._failure("too-deep", event, detail)
        self._expanded += size.weight
        if self._expanded > self._expandable:
            detail = f"The aliases up to here expand to more than {self._expandable:,} values."
            raise self._failure("too-large", event, detail)
        return value

    def _size(self, node: Any) -> _Size:
        """The size of `node` with aliases expanded. Shared parts count each time but are walked once."""
        if not isinstance(node, Map | Seq):
            return _Size(1 + len(node) // CHARACTERS if isinstance(node, str) else 1, 0)
        if id(node) in self._sizes:
            return self._sizes[id(node)]
        depth = 0
        weight = 1 + (sum(map(len, node)) // CHARACTERS if isinstance(node, Map) else 0)
        for inner in inside(node):
            size = self._size(inner)
            weight += size.weight
            depth = max(depth, size.depth)
        self._sizes[id(node)] = _Size(weight, depth + 1, node)
        return self._sizes[id(node)]

    def _merge(self, collection: _Open) -> None:
        """Merge `<<`: own keys win over merged ones, and earlier sources over later ones."""
        merge: Any = collection.merge
        node: Any = collection.node
        for source in merge if isinstance(merge, Seq) else [merge]:
            if isinstance(source, Map):
                node.absorb(source)
            else:
                mark = collection.merge_mark or node.at
                self._report.add("bad-merge", mark, "`<<` takes a mapping or a list of mappings.")

    def _refuse_tag(self, event: Any) -> None:
        detail = f"The tag {quote(str(event.tag))} is not supported."
        self._report.add("tag-refused", event.start_mark, detail, "remove it; quote the value if it is text")
