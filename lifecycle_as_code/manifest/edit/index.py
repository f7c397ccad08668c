"""The places of objects and their fields in a manifest's text. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...model.diagnostics import Source
from ...model.diff import Path
from ...model.spec import ByKey, Spec, find_markers
from ..shapes import Shape, shapes_of
from ..yaml.outline import Node
from ..yaml.reader import parse
from ..yaml.report import Report, quote
from .document import Document
from .splices import CannotEditError


@dataclass(frozen=True, slots=True)
class Item:
    """One object's entry in a collection, and its shape."""

    holder: Node
    index: int
    shape: Shape

    @property
    def node(self) -> Node:
        """The entry's value: a mapping, or in sugar that is a mapping, only a value."""
        return self.holder.items[self.index]


class Page:
    """One file: its document, its sections, and the items in it by line and column."""

    def __init__(self, text: str, sections: Mapping[str, Shape]) -> None:
        self.text = text
        self.document = Document(text)
        self.items: dict[tuple[int, int], Item] = {}
        root = self.document.root
        if root is not None:
            for key, node in zip(root.keys, root.items, strict=True):
                if shape := sections.get(key.value):
                    self._find(shape, node)

    def section(self, name: str) -> Node | None:
        """The list of a section, or a scalar if it is empty; None without the section."""
        node = self.document.root.get(name) if self.document.root else None
        return node if node is not None and node.sort != "alias" else None

    def _find(self, shape: Shape, holder: Node) -> None:
        pairs = shape.nest is not None and shape.nest.map_to is not None
        for index, node in enumerate(holder.items):
            self.items[holder.keys[index].at if pairs else node.at] = Item(holder, index, shape)
            if node.sort == "mapping":
                for name, inner in shape.nests.items():
                    if (below := node.get(name)) is not None:
                        self._find(inner, below)


def open_page(file: str, texts: Mapping[str, str], sections: Mapping[str, Shape]) -> Page:
    """The page of a file. CannotEditError if its text isn't a manifest that can be edited."""
    if file.endswith(".j2"):
        raise CannotEditError(f"{quote(file)} is a template")
    if file not in texts:
        raise CannotEditError(f"the text of {quote(file)} is unknown")
    report = Report(file)
    parse(texts[file].encode(), report)
    if report.problems:
        raise CannotEditError(f"{quote(file)} can't be read: {report.problems[0].detail.rstrip('.')}")
    return Page(texts[file], sections)


def places_of(
    paths: Sequence[Path], at: Source, text: str, spec: type[Spec], specs: Mapping[str, type[Spec]]
) -> dict[Path, Source]:
    """The place of each field's value, or of the nearest value around it, in the object at `at`. Empty if the
    places are unknown: a template's lines aren't the manifest's."""
    try:
        page = open_page(at.file, {at.file: text}, shapes_of(specs))
    except CannotEditError:
        return {}
    item = page.items.get((at.line, at.column))
    if item is None:
        return {}
    return {path: Source(at.file, *_nearest(item.node, path, spec).at) for path in paths}


def _nearest(node: Node, path: Path, spec: type[Spec]) -> Node:
    """The innermost existing node along the path; for sugar such as `champion: 3`, the entry."""
    keys: Mapping[str, ByKey] = dict(find_markers(spec, ByKey))
    for depth, step in enumerate(path):
        inner = node.get(str(step))
        if depth == 1 and node.sort == "list" and (key := keys.get(str(path[0]))):
            names = (entry.get(key.field) for entry in node.items)
            inner = next((name.parent for name in names if name and name.value == str(step)), None)
        if inner is None:
            return node
        node = inner
    return node
