"""Where in a manifest's text each field of an object stands. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..model.diagnostics import Source
from ..model.diff import Path
from ..model.spec import ByKey, Spec, marked
from .lines import CannotEditError
from .outline import Node
from .page import Item, opened
from .shapes import shapes_of


def places_of(
    paths: Sequence[Path], at: Source, text: str, spec: type[Spec], specs: Mapping[str, type[Spec]]
) -> dict[Path, Source]:
    """The place of each field's value, or of the nearest that it stands in, of the object at `at`.

    `text`: the file's. Empty where it can't be told: a template's lines aren't the manifest's.
    """
    try:
        page = opened(at.file, {at.file: text}, shapes_of(specs))
    except CannotEditError:
        return {}
    item = page.items.get((at.line, at.column))
    if item is None:
        return {}
    return {path: Source(at.file, *_nearest(item, path, spec).at) for path in paths}


def _nearest(item: Item, path: Path, spec: type[Spec]) -> Node:
    node = item.node
    if node.sort != "mapping":
        # an entry of sugar such as `champion: 3` is all there is
        return node
    by: Mapping[str, ByKey] = dict(marked(spec, ByKey))
    for depth, step in enumerate(path):
        inner = _step(node, step, by.get(str(path[0])) if depth == 1 else None)
        if inner is None:
            return node
        node = inner
    return node


def _step(node: Node, step: str | int, by: ByKey | None) -> Node | None:
    if node.sort == "mapping":
        return node.get(str(step))
    if node.sort != "list" or by is None:
        return None
    named = ((entry, entry.get(by.field)) for entry in node.items)
    return next((entry for entry, name in named if name is not None and name.value == str(step)), None)
