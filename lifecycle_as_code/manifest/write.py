"""Specs as YAML that reads back as the same specs. Pure; the opposite of `load`."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from ..model.spec import Address, Nest, Spec
from ..serving.references import is_reference
from .convert import REFERENCE_FIELDS

BARE = re.compile(r"[A-Za-z][A-Za-z0-9 _./@-]*[A-Za-z0-9_/]|[A-Za-z]")
"""Strings that every YAML parser reads as strings, unless they are one of `WORDS`."""
WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null", "none", "nan", "inf"})
WIDTH = 110
"""The longest line."""
TEMPLATE = re.compile(r"\{\{|\{%|\{#")


class _Dumper(yaml.SafeDumper):
    """Quotes ambiguous strings, and indents lists."""

    has_blocks = True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        return super().increase_indent(flow, False)

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def check_simple_key(self) -> bool:
        # a parser takes a key of up to 1024 characters without `?`, which `lac fmt` refuses
        text = getattr(self.event, "value", "")
        return len(text) <= 100 or len(in_quotes(text, '"')) < 1024


class _LineDumper(_Dumper):
    """Everything on one line."""

    has_blocks = False


def _string(dumper: _Dumper, value: str) -> yaml.ScalarNode:
    if BARE.fullmatch(value) and value.lower() not in WORDS:
        style = None
    elif dumper.has_blocks and _reads_as_block(value):
        style = "|"
    else:
        value, style = _escape_templates(value), '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


class _Reference(str):
    """A reference that stays as it is where it stands."""

    __slots__ = ()


def _reference(dumper: _Dumper, value: _Reference) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", str(value), style='"')


def _mark_references(data: Any, allowed: bool = False) -> Any:
    """Plain data with the references marked that manifests keep."""
    if isinstance(data, Mapping):
        return {
            key: _mark_references(value, allowed or key in REFERENCE_FIELDS) for key, value in data.items()
        }
    if isinstance(data, list | tuple):
        return [_mark_references(item, allowed) for item in data]
    return _Reference(data) if allowed and isinstance(data, str) and is_reference(data) else data


_Dumper.add_representer(str, _string)
_Dumper.add_representer(_Reference, _reference)


def _reads_as_block(value: str) -> bool:
    """Whether a literal block preserves the text exactly."""
    lines = value.split("\n")
    return (
        len(lines) > 1
        and all(line.isprintable() and line == line.rstrip() for line in lines)
        and not value.startswith((" ", "\n"))
        # kept line ends (`|+`) would end the document, and other sections may follow
        and not value.endswith("\n\n")
        and not TEMPLATE.search(value)
    )


def _escape_templates(value: str) -> str:
    """A string that looks like a template, written so that rendering returns it."""
    return TEMPLATE.sub(lambda match: "{{ '" + match.group() + "' }}", value)


def in_blocks(data: Any, column: int = 0) -> str:
    """Plain data as YAML over several lines, for indentation by `column`."""
    width = max(WIDTH - column, 40)
    return yaml.dump(_mark_references(data), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=width)


def in_line(data: Any) -> str:
    """Plain data as YAML inside braces: on one line, however long."""
    options: Any = {"sort_keys": False, "allow_unicode": True, "default_flow_style": True, "width": math.inf}
    text: str = yaml.dump(_mark_references([data]), Dumper=_LineDumper, **options)
    return text[1:-2]


def in_quotes(text: str, quote: str) -> str:
    """A string in these quotes; in double quotes if single ones can't represent it."""
    if quote == "'" and text.isprintable():
        return "'" + _escape_templates(text).replace("'", "''") + "'"
    text = yaml.dump(_escape_templates(text), default_style='"', allow_unicode=True, width=math.inf)
    return text.rstrip("\n")


def write(specs: Sequence[Spec], classes: Mapping[str, type[Spec]]) -> str:
    """A manifest that declares `specs`, sorted, with parts under their parents if those are among them.

    It has no lists that claim a whole scope (`permissions:` under a model): those objects go into a section
    of their own, which claims nothing.
    """
    sections: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for spec, item in nest_items(specs, classes):
        sections[spec.section].append(item)
    order = [cls.section for cls in classes.values() if sections.get(cls.section)]
    return "\n".join(in_blocks({section: sections[section]}) for section in order)


def nest_items(specs: Sequence[Spec], classes: Mapping[str, type[Spec]]) -> list[tuple[Spec, dict[str, Any]]]:
    """The items to write for `specs`, sorted, with parts inside their parents if those are among them."""
    outer: list[tuple[Spec, dict[str, Any]]] = []
    items: dict[Address, dict[str, Any]] = {}
    in_order = sorted(specs, key=lambda spec: (list(classes).index(spec.kind), _order(spec.address)))
    by_section = {cls.section: cls for cls in classes.values()}
    for spec in in_order:
        item = items[spec.address] = spec.written()
        for nest in spec.nests:
            parent = items.get(parent_of(spec, nest, by_section[nest.section]))
            if parent is not None and not nest.claims and _put(parent, nest, item):
                break
        else:
            outer.append((spec, item))
    return outer


def parent_of(spec: Spec, nest: Nest, parent: type[Spec]) -> Address:
    """The object in whose item `nest` writes `spec`, if its constants match."""
    return Address(parent.kind, tuple(getattr(spec, field) for field in nest.fills))


def remaining_fields(item: Mapping[str, Any], nest: Nest) -> dict[str, Any]:
    """The remaining fields of an item inside its parent."""
    return {name: value for name, value in item.items() if name not in (*nest.fills, *nest.constants)}


def _put(parent: dict[str, Any], nest: Nest, item: dict[str, Any]) -> bool:
    """Write `item` inside its parent, if the sugar has all of its fields."""
    rest = remaining_fields(item, nest)
    if nest.map_to is None:
        parent.setdefault(nest.field, []).append(rest)
        return True
    key, value = nest.map_to
    if rest.keys() != {key, value}:
        return False
    parent.setdefault(nest.field, {})[rest[key]] = rest[value]
    return True


def _order(address: Address) -> tuple[tuple[bool, Any], ...]:
    return tuple((isinstance(part, str), part) for part in address.key)
