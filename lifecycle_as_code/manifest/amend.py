"""Changes one item from what it says to what it is to say, touching only what differs. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..model.spec import ByKey, Part, Unordered, fields_marked, marked, shapes
from .lines import CannotEditError
from .outline import Node
from .sheet import Sheet
from .yaml.report import shown


def amend(
    sheet: Sheet, node: Node, before: Mapping[str, Any], after: Mapping[str, Any], part: type[Part] | None
) -> None:
    """Make a mapping that says `before` say `after`. `part`: the class that it is read as, if one."""
    for name in [*before, *(name for name in after if name not in before)]:
        if name in before and name in after and before[name] == after[name]:
            continue
        index = node.index(name)
        if index is None and name in before:
            raise CannotEditError(f"{shown(name)} isn't written there: it comes from an anchor or a template")
        if name not in after:
            assert index is not None
            sheet.drop(node, index)
        elif index is None:
            sheet.add(node, after[name], name, _place_among(node, name, part))
        else:
            _change_value(sheet, node.items[index], before.get(name), after[name], part, name)


def _change_value(
    sheet: Sheet, node: Node, before: Any, after: Any, part: type[Part] | None, name: str
) -> None:
    inner = shapes(part).get(name, (None, False))[0] if part else None
    if isinstance(before, Mapping) and isinstance(after, Mapping) and node.sort == "mapping":
        amend(sheet, node, before, after, inner)
        return
    if isinstance(before, list | tuple) and isinstance(after, list | tuple) and node.sort == "list":
        tell = _telling(part, name)
        if tell is not None:
            _change_items(sheet, node, before, after, inner, tell)
            return
        if len(before) == len(after) == len(node.items) and all(map(_alike, before, after, node.items)):
            for item, old, new in zip(node.items, before, after, strict=True):
                if isinstance(old, Mapping):
                    amend(sheet, item, old, new, inner)
                elif old != new:
                    sheet.put(item, new)
            return
    sheet.put(node, _plain(after))


def _alike(before: Any, after: Any, node: Node) -> bool:
    """Whether an item can become the other by changes inside of it."""
    if isinstance(before, Mapping):
        return isinstance(after, Mapping) and node.sort == "mapping"
    return not isinstance(before, list | tuple) and not isinstance(after, Mapping | list | tuple)


@dataclass(frozen=True, slots=True)
class _Telling:
    """How the items of a list whose order means nothing are told apart: by a field, or as they are."""

    field: str | None

    def value(self, item: Any) -> str:
        return str(item[self.field] if self.field else item)

    def node(self, node: Node) -> str:
        held = node.get(self.field) if self.field else node
        if held is None or held.sort != "scalar":
            raise CannotEditError("an item of its lists comes from an anchor or a merge")
        return held.value


def _telling(part: type[Part] | None, name: str) -> _Telling | None:
    if part is None:
        return None
    by_key: dict[str, ByKey] = dict(marked(part, ByKey))
    if name in by_key:
        return _Telling(by_key[name].field)
    return _Telling(None) if name in fields_marked(part, Unordered) else None


def _change_items(
    sheet: Sheet, node: Node, before: Any, after: Any, inner: type[Part] | None, tell: _Telling
) -> None:
    olds = {tell.value(item): item for item in before}
    news = {tell.value(item): item for item in after}
    written = {tell.node(item): index for index, item in enumerate(node.items)}
    if written.keys() != olds.keys():
        raise CannotEditError("an item of its lists comes from a template")
    for name, index in written.items():
        if name not in news:
            sheet.drop(node, index)
        elif tell.field and olds[name] != news[name]:
            amend(sheet, node.items[index], olds[name], news[name], inner)
    for name, item in news.items():
        if name not in olds:
            sheet.add(node, _plain(item))


def _place_among(node: Node, name: str, part: type[Part] | None) -> int | None:
    """The entry behind which a field comes: the last of those that its class names before it."""
    if part is None:
        return None
    earlier = list(part.model_fields)[: list(part.model_fields).index(name)]
    there = [index for index, key in enumerate(node.keys) if key.value in earlier]
    return max(there, default=None)


def _plain(value: Any) -> Any:
    """As lists and dicts, which is what the dumper and the sheet know."""
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
