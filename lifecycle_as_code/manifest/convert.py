"""Nodes to plain values by a field's annotation; pydantic then checks them strictly.

Each annotation becomes one function of (value, holder, key, report), where `holder[key]` is the value and
gives the place of a problem. A value that doesn't fit is reported and becomes `REFUSED`. No problem repeats
a secret. Pure.
"""

from __future__ import annotations

import collections.abc
import re
import types
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import date
from enum import Enum
from functools import cache
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

from ..model.spec import Derived, Part, Sensitive, find_fields
from .value_errors import (
    REFUSED,
    bad_value,
    meaning,
    missing_field,
    name_of,
    not_text,
    suggest_quotes,
    unknown_field,
    words_of,
)
from .yaml.nodes import UNCLEAR, Map, Plain, Seq
from .yaml.report import Report, guess, quote

SECRET_FIELDS: Final = frozenset({"environment_vars", "env_vars"})
"""Mappings whose values may be secrets."""

REFERENCE_FIELDS: Final = SECRET_FIELDS | {"external_model"}
"""Mappings whose values may be references, which the nodes look up."""

Convert = Callable[[Any, Any, Any, Report], Any]

_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")

SCALARS: Final[Mapping[Any, str]] = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "`true` or `false`",
}


@cache
def fields_of(part: type[Part]) -> Mapping[str, Convert]:
    """The function that reads each field of a manifest."""
    derived = find_fields(part, Derived)
    return {
        # manifests have `from`, which is no name in Python
        field.alias or name: converter(
            field.annotation, name in SECRET_FIELDS or _is_sensitive(field.metadata)
        )
        for name, field in part.model_fields.items()
        if name not in derived
    }


@cache
def required_of(part: type[Part]) -> frozenset[str]:
    """The required fields in manifests."""
    needed = {field.alias or name for name, field in part.model_fields.items() if field.is_required()}
    return frozenset(needed & fields_of(part).keys())


def read_part(
    node: Any, part: type[Part], what: str, holder: Any, key: Any, report: Report, secret: bool = False
) -> Any:
    """A mapping as the values of `part`'s fields. `what` names it in problems."""
    if node.__class__ is not Map:
        return bad_value(node, holder, key, report, "a mapping", secret)
    values = read_fields(node, part, what, report)
    for name in sorted(required_of(part) - node.keys()):
        missing_field(node, name, what, report)
    return values


def read_fields(node: Map, part: type[Part], what: str, report: Report) -> dict[str, Any]:
    """The values of `part`'s fields in a mapping, which need not have all that are required."""
    fields = fields_of(part)
    values: dict[str, Any] = {}
    for name, value in node.items():
        convert = fields.get(name)
        if convert is None:
            unknown_field(node, name, what, fields, report, part.way_outs)
        else:
            values[name] = convert(value, node, name, report)
            if values[name] is REFUSED and (hint := part.way_outs.get(f"{name}: {value}")):
                report.problems[-1] = replace(report.problems[-1], hint=hint)
    return values


def converter(annotation: Any, secret: bool = False) -> Convert:
    """The function that reads a value of this type. `secret`: never repeat the value."""
    secret = secret or _is_sensitive(getattr(annotation, "__metadata__", ()))
    annotation = _bare(annotation)
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Union or origin is types.UnionType:
        return _union(list(args), secret)
    if origin is Literal:
        return _one_of({value: value for value in args}, secret)
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return _one_of({member.value: member for member in annotation}, secret)
    if annotation is date:
        return _date
    if annotation in SCALARS:
        return _scalar(annotation, secret)
    if _is_part(annotation):
        return _best_of([annotation], secret)
    if origin is collections.abc.Mapping:
        return _mapping(converter(args[1], secret), secret)
    if origin is tuple and args[1:] == (Ellipsis,):
        return _list(converter(args[0], secret), secret)
    return read_untyped


def _is_sensitive(metadata: Iterable[Any]) -> bool:
    return any(isinstance(item, Sensitive) for item in metadata)


def _bare(annotation: Any) -> Any:
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


def _is_part(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Part)


def _scalar(expected: type[Any], secret: bool) -> Convert:
    def read(value: Any, holder: Any, key: Any, report: Report) -> Any:
        if value.__class__ is not str and expected is str:
            return not_text(value, holder, key, report, secret)
        natural = value.value if value.__class__ is Plain else value
        if natural.__class__ is expected:
            return natural
        if expected is float and natural.__class__ is int:
            return float(natural)
        return bad_value(value, holder, key, report, SCALARS[expected], secret)

    return read


def _date(value: Any, holder: Any, key: Any, report: Report) -> Any:
    """A day, quoted or not."""
    text = value.text if value.__class__ is Plain else value
    if value.__class__ in (Plain, str) and _DAY.fullmatch(text):
        try:
            return date.fromisoformat(text)
        except ValueError:
            pass
    return bad_value(value, holder, key, report, "a date such as `2026-12-01`", secret=False)


def _one_of(members: Mapping[str, Any], secret: bool) -> Convert:
    choices = ", ".join(f"`{value}`" for value in members)

    def read(value: Any, holder: Any, key: Any, report: Report) -> Any:
        if value.__class__ is str and value in members:
            return members[value]
        if value.__class__ is Plain and value.text in members:
            return not_text(value, holder, key, report, secret)
        text = value.text if value.__class__ is Plain else value
        if not text or text.__class__ is not str or secret:
            return bad_value(value, holder, key, report, f"one of {choices}", secret)
        detail = f"`{name_of(key)}` is {quote(text)}; expected one of {choices}."
        report.add("bad-value", holder.place(key), detail, guess(text, members))
        return REFUSED

    return read


def _best_of(parts: list[type[Part]], secret: bool) -> Convert:
    """The part with the most of a mapping's keys."""

    def read(value: Any, holder: Any, key: Any, report: Report) -> Any:
        names = value.keys() if value.__class__ is Map else set()
        best = max(parts, key=lambda part: len(fields_of(part).keys() & names))
        return read_part(value, best, words_of(best.__name__), holder, key, report, secret)

    return read


def _mapping(inner: Convert, secret: bool) -> Convert:
    def read(value: Any, holder: Any, key: Any, report: Report) -> Any:
        if value.__class__ is not Map:
            return bad_value(value, holder, key, report, "a mapping", secret)
        for name in value.odd:
            detail = f"Not every YAML parser reads the key {quote(name)} as text."
            report.add("quote-it", value.place_of_key(name), detail, suggest_quotes(name))
        return {name: inner(item, value, name, report) for name, item in value.items()}

    return read


def _list(inner: Convert, secret: bool) -> Convert:
    def read(value: Any, holder: Any, key: Any, report: Report) -> Any:
        if value.__class__ is not Seq:
            return bad_value(value, holder, key, report, "a list", secret)
        items = tuple(inner(item, value, index, report) for index, item in enumerate(value))
        return REFUSED if REFUSED in items else items

    return read


def _union(members: list[Any], secret: bool) -> Convert:
    others = [member for member in members if member is not type(None)]
    convert = (
        converter(others[0], secret) if len(others) == 1 else _one_that_fits(list(map(_bare, others)), secret)
    )
    if len(others) == len(members):
        return convert

    def read(value: Any, holder: Any, key: Any, report: Report) -> Any:
        natural = value.value if value.__class__ is Plain else value
        return None if natural is None else convert(value, holder, key, report)

    return read


def _one_that_fits(members: list[Any], secret: bool) -> Convert:
    """The member that fits the value's own type: `3` is an int where int and str are allowed."""
    scalars = [member for member in SCALARS if member in members]
    choices = [choice for member in members if get_origin(member) is Literal for choice in get_args(member)]
    parts = [member for member in members if _is_part(member)]
    choose = _one_of({choice: choice for choice in choices}, secret)
    read_best = _best_of(parts, secret)
    read_list = next((converter(member, secret) for member in members if get_origin(member) is tuple), None)
    expected = " or ".join(
        [SCALARS[member] for member in scalars]
        + [f"one of {', '.join(f'`{choice}`' for choice in choices)}"] * bool(choices)
        + ["a mapping"] * bool(parts)
        + ["a list"] * bool(read_list)
    )

    def read(value: Any, holder: Any, key: Any, report: Report) -> Any:
        natural = value.value if value.__class__ is Plain else value
        if natural.__class__ in scalars:
            return natural
        if value.__class__ is Map and parts:
            return read_best(value, holder, key, report)
        if value.__class__ is Seq and read_list:
            return read_list(value, holder, key, report)
        if value.__class__ is Plain and str in scalars:
            return not_text(value, holder, key, report, secret)
        if value.__class__ not in (Map, Seq) and choices:
            return choose(value, holder, key, report)
        return bad_value(value, holder, key, report, expected, secret)

    return read


def _read_untyped_item(value: Any, holder: Any, key: Any, report: Report) -> Any:
    return (_secrets if key in SECRET_FIELDS else read_untyped)(value, holder, key, report)


def read_untyped(value: Any, holder: Any, key: Any, report: Report) -> Any:
    """A value of a field without a type, as plain data: only what YAML 1.1 and 1.2 read the same.

    A number that isn't in its canonical form (`1.10`, `1e3`) is refused: it may be meant as text.
    """
    if value.__class__ is Map:
        return _read_untyped_mapping(value, holder, key, report)
    if value.__class__ is Seq:
        return [read_untyped(item, value, index, report) for index, item in enumerate(value)]
    if value.__class__ is not Plain:
        return value
    natural = value.value
    if natural is None or isinstance(natural, bool) or str(natural) == value.text:
        return natural
    detail = f"`{name_of(key)}`: {quote(value.text)} is {meaning(value)}."
    hint = suggest_quotes(value.text)
    if natural is not UNCLEAR:
        detail = f"`{name_of(key)}`: {quote(value.text)} could be a number or text."
        hint = f"{hint}, or write `{natural}` for the number"
    report.add("quote-it", holder.place(key), detail, hint)
    return REFUSED


_read_untyped_mapping: Final = _mapping(_read_untyped_item, False)
_secrets: Final = converter(Mapping[str, str], secret=True)
