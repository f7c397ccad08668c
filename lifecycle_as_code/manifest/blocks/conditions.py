"""`when:` of a policy: whether a change can have its names and values. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

from ...model.pattern import matches
from ...model.plan import Action, Mode
from ...model.policy import ABOUT_CHANGE
from ...model.spec import Derived, Spec, find_fields, shapes
from ..yaml.nodes import Map, Mark, Seq
from ..yaml.report import Report, guess, quote
from .objects import is_mapping

_ACTIONS: Final = [str(action) for action in Action if action.is_difference]
# a refresh is never judged
_MODES: Final = [str(mode) for mode in Mode if mode is not Mode.REFRESH_ONLY]


def check_conditions(
    node: Map, when: Mapping[str, Any], specs: Mapping[str, type[Spec]], report: Report
) -> None:
    """Report conditions that no change can match: unknown kinds, actions, modes and fields."""
    kinds = list(specs)
    for name, known in (("kind", kinds), ("action", _ACTIONS), ("mode", _MODES)):
        for text, mark in each(node, name, when):
            if not any(matches(one, text) for one in known):
                report.add("bad-value", mark, f"There is no {name} {quote(text)}.", guess(text, known))
    patterns = [text for text, _ in each(node, "kind", when)] or ["*"]
    classes = [specs[kind] for kind in kinds if matches(kind, patterns)]
    for text, mark in each(node, "address", when):
        # a name may have dots, too: an address that begins with a pattern may be of any kind
        plain = re.split(r"[*?[]", text)[0]
        kind, dot, _ = plain.partition(".")
        known = [spec.kind for spec in classes]
        if known and kind not in known and (dot or plain == text):
            detail = f"{quote(text)} is not an address of {_join_kinds(classes)}."
            report.add("bad-value", mark, detail, guess(kind, known))
    for name in when:
        if classes and name not in ABOUT_CHANGE and (wrong := _unknown_condition(classes, name)):
            report.add("unknown-field", node.place_of_key(name), *wrong)
    for name, value in when.items():
        if any(isinstance(one, list | Mapping) for one in (value if isinstance(value, list) else [value])):
            detail = f"`{name}` must be a value, a pattern, or a list of them."
            report.add("bad-value", node.place(name), detail)
        elif value == []:
            report.add("bad-value", node.place(name), f"`{name}` matches nothing: the list is empty.")


def _join_kinds(specs: Collection[type[Spec]]) -> str:
    return " or ".join(sorted(spec.kind for spec in specs)) if len(specs) < 4 else "any kind"


def each(node: Map, name: str, when: Mapping[str, Any]) -> Iterator[tuple[str, Mark]]:
    """The values of a condition as text, each with its place."""
    value = when.get(name)
    if isinstance(value, list):
        items = node[name]
        yield from (
            (str(one), items.place(i) if isinstance(items, Seq) else node.place(name))
            for i, one in enumerate(value)
        )
    elif value is not None:
        yield str(value), node.place(name)


def _unknown_condition(specs: Collection[type[Spec]], name: str) -> tuple[str, str] | None:
    """The error in a condition's name, and a hint: at least one of the kinds must have the field."""
    field, dot, key = name.partition(".")
    having = [spec for spec in specs if field in spec.model_fields]
    known = {n for spec in specs for n in spec.model_fields if n not in find_fields(spec, Derived)}
    if field not in known:
        return f"{quote(name)} is not a field of {_join_kinds(specs)}.", guess(field, [*known, *ABOUT_CHANGE])
    if all(shapes(spec).get(field, (None, False))[0] is not None for spec in having):
        return f"{quote(name)} has more than one value.", f"use `after.fields.{field}` under `require`"
    mapping = any(is_mapping(spec.model_fields[field].annotation) for spec in having)
    if dot and not (key and mapping):
        return f"{quote(name)}: `{field}` has no keys.", f"use `{field}`"
    if mapping and not dot:
        return f"{quote(name)} has more than one value.", f"use one of its keys: `{field}.<key>`"
    return None
