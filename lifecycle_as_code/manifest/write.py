"""Specs as YAML that reads back as the same specs. Pure; the opposite of `load`."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from ..spec import Address, Nest, Spec

BARE = re.compile(r"[A-Za-z][A-Za-z0-9 _./@-]*[A-Za-z0-9_/]|[A-Za-z]")
"""Strings that no YAML reads as anything but a string, unless they are one of `WORDS`."""
WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null", "none", "nan", "inf"})
TEMPLATE = re.compile(r"\{\{|\{%|\{#")


class _Dumper(yaml.SafeDumper):
    """Quotes whatever some YAML might read otherwise, and indents lists as people do."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        return super().increase_indent(flow, False)

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _string(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    if BARE.fullmatch(value) and value.lower() not in WORDS:
        return dumper.represent_scalar("tag:yaml.org,2002:str", value)
    if _reads_as_block(value):
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|")
    return dumper.represent_scalar("tag:yaml.org,2002:str", _untemplated(value), style='"')


def _reads_as_block(value: str) -> bool:
    """Whether a literal block gives the text back to the letter."""
    lines = value.split("\n")
    return (
        len(lines) > 1
        and all(line.isprintable() and line == line.rstrip() for line in lines)
        and not value.startswith((" ", "\n"))
        # kept line ends (`|+`) would end the document, and other sections may follow
        and not value.endswith("\n\n")
        and not TEMPLATE.search(value)
    )


def _untemplated(value: str) -> str:
    """A string that only looks like a template, written so that rendering gives it back."""
    return TEMPLATE.sub(lambda match: "{{ '" + match.group() + "' }}", value)


_Dumper.add_representer(str, lambda dumper, value: _string(dumper, value))


def write(specs: Sequence[Spec], classes: Mapping[str, type[Spec]]) -> str:
    """A manifest that declares `specs`: parts under their parents where those are among them, sorted.

    Lists that would claim a whole scope (`permissions:` under a model) are never written: the same
    objects stand in a section of their own, which claims nothing.
    """
    sections: dict[str, list[dict[str, Any]]] = defaultdict(list)
    items: dict[Address, dict[str, Any]] = {}
    ranked = sorted(specs, key=lambda spec: (list(classes).index(spec.kind), _order(spec.address)))
    by_section = {cls.section: cls for cls in classes.values()}
    for spec in ranked:
        item = spec.written()
        items[spec.address] = item
        for nest in spec.nests:
            parent = items.get(Address(by_section[nest.section].kind, _parent_key(spec, nest)))
            if parent is not None and not nest.claims and _put(parent, nest, item):
                break
        else:
            sections[spec.section].append(item)
    order = [cls.section for cls in classes.values() if sections.get(cls.section)]
    parts = [
        yaml.dump(
            {section: sections[section]},
            Dumper=_Dumper,
            sort_keys=False,
            allow_unicode=True,
            width=110,
        )
        for section in order
    ]
    return "\n".join(parts)


def _parent_key(spec: Spec, nest: Nest) -> tuple[Any, ...]:
    return tuple(getattr(spec, field) for field in nest.fills)


def _put(parent: dict[str, Any], nest: Nest, item: dict[str, Any]) -> bool:
    """Write `item` inside its parent, where the sugar can say all of it."""
    rest = {name: value for name, value in item.items() if name not in nest.fills}
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
