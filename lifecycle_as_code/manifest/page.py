"""A file that is being edited, and where in it objects are written out. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from .lines import CannotEditError
from .outline import Node
from .shapes import Shape
from .sheet import Sheet
from .yaml.reader import parse
from .yaml.report import Report, shown

TEMPLATES: Final = ".j2"


@dataclass(frozen=True, slots=True)
class Item:
    """One object's entry in a collection, and the shape that it is read by."""

    holder: Node
    index: int
    shape: Shape

    @property
    def node(self) -> Node:
        """What is written there: a mapping, or in sugar that is a mapping only a value."""
        return self.holder.items[self.index]

    @property
    def claims(self) -> bool:
        return self.shape.nest is not None and self.shape.nest.claims


class Page:
    """One file: its sheet, its sections, and the items on it by line and column."""

    def __init__(self, text: str, sections: Mapping[str, Shape]) -> None:
        self.text = text
        self.sheet = Sheet(text)
        self.items: dict[tuple[int, int], Item] = {}
        root = self.sheet.root
        if root is not None:
            for key, node in zip(root.keys, root.items, strict=True):
                if shape := sections.get(key.value):
                    self._find(shape, node)

    def section(self, name: str) -> Node | None:
        """The list of a section, or a scalar where it says nothing; None where there is no section."""
        node = self.sheet.root.get(name) if self.sheet.root else None
        return node if node is not None and node.sort != "alias" else None

    def _find(self, shape: Shape, holder: Node) -> None:
        pairs = shape.nest is not None and shape.nest.map_to is not None
        for index, node in enumerate(holder.items):
            item = Item(holder, index, shape)
            self.items[holder.keys[index].at if pairs else node.at] = item
            if node.sort == "mapping":
                for name, inner in shape.nests.items():
                    if (below := node.get(name)) is not None:
                        self._find(inner, below)


def opened(file: str, texts: Mapping[str, str], sections: Mapping[str, Shape]) -> Page:
    """The page of a file. CannotEditError where its text isn't a manifest that can be edited."""
    if file.endswith(TEMPLATES):
        raise CannotEditError(f"{shown(file)} is a template, so its text isn't the manifest's")
    if file not in texts:
        raise CannotEditError(f"the text of {shown(file)} isn't known")
    report = Report(file)
    parse(texts[file].encode(), report)
    if report.problems:
        raise CannotEditError(f"{shown(file)} can't be read: {report.problems[0].detail.rstrip('.')}")
    return Page(texts[file], sections)
