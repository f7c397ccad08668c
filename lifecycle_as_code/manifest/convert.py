"""Nodes to plain values by a field's annotation; pydantic then checks them strictly.

Each annotation becomes one function of (value, holder, key, report), where `holder[key]` is the value and
gives the place of a problem. A value that doesn't fit is reported and becomes `REFUSED`. No problem repeats
a secret. Pure.
"""

from __future__ import annotations

import collections.abc
import math
import re
import types
from collections.abc import Callable, Mapping
from datetime import date
from enum import Enum
from functools import cache
from typing import Annotated, Any, Final, Literal, NewType, Union, get_args, get_origin

from ..model.spec import Derived, Part, find_fields
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
from .yaml.nodes import UNCLEAR, Map, Plain, Seq, decimal
from .yaml.report import Report, guess, quote

SECRET_FIELDS: Final = frozenset({"environment_vars", "env_vars"})
"""Mappings whose values may be secrets."""

Convert = Callable[[Any, Any, Any, Report], Any]

_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")

SCALARS: Final[Mapping[Any, str]] = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "`true` or `false`",
    type(None): "no value",
}


@cache
def fields_of(part: type[Part]) -> Mapping[str, Convert]:
    """The function that reads each field of a manifest."""
    derived = find_fields(part, Derived)
    return {
        # manifests have `from`, which is no name in Python
        field.alias or name: converter(field.annotation, name in SECRET_FIELDS)
        for name, field in part.model_fields.items()
        if name not in derived
    }


@cache
def required_of(part: type[Part]) -> frozenset[str]:
    """The required fields in manifests."""
    needed = {field.alias or name for name, field in part.model_fields.items() if field.is_required()}
    return frozenset(needed & fields_of(part).keys())


def read_part(node: Any, part: type[Part], what: str, holder: Any, key: Any, report: Report) -> Any:
    """A mapping as the values of `part`'s fields. `what` names it in problems."""
    if node.__class__ is not Map:
        return bad_value(node, holder, key, report, "a mapping", secret=False)
    fields = fields_of(part)
    values: dict[str, Any] = {}
    for name, value in node.items():
        convert = fields.get(name)
        if convert is None:
            unknown_field(node, name, what, fields, report)
        else:
            values[name] = convert(value, node, name, report)
    for name in sorted(required_of(part) - node.keys()):
        missing_field(node, name, what, report)
    return values


def converter(annotation: Any, secret: bool = False) -> Convert:
    """The function that reads a value of this type. `secret`: never repeat the value."""
    annotation = _bare(annotation)
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Union or origin is types.UnionType:
        return _union(tuple(_bare(arg) for arg in args), secret)
    if origin is Literal:
        return _one_of({value: value for value in args}, secret)
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return _one_of({member.value: member for member in annotation}, secret)
    if annotation is date:
        return _date
    if annotation in SCALARS:
        return _scalar(annotation, secret)
    if isinstance(annotation, type) and issubclass(annotation, Part):
        return _part(annotation)
    if origin in _MAPPINGS:
        return _mapping(converter(args[1], secret), args[0], secret)
    if origin in _LISTS and (origin is not tuple or args[1:] == (Ellipsis,)):
        return _list(converter(args[0], secret), _LISTS[origin])
    return read_untyped


def _bare(annotation: Any) -> Any:
    while True:
        if get_origin(annotation) is Annotated:
            annotation = get_args(annotation)[0]
        elif isinstance(annotation, NewType):
            annotation = annotation.__supertype__
        else:
            return annotation


_MAPPINGS: Final = frozenset({dict, collections.abc.Mapping, collections.abc.MutableMapping})
_LISTS: Final[Mapping[Any, Callable[[list[Any]], Any]]] = {
    tuple: tuple,
    list: list,
    collections.abc.Sequence: tuple,
    set: set,
    frozenset: frozenset,
    collections.abc.Set: frozenset,
}


def _scalar(expected: type[Any], secret: bool) -> Convert:
    if expected is str:

        def text(value: Any, holder: Any, key: Any, report: Report) -> Any:
            if value.__class__ is str:
                return value
            return not_text(value, holder, key, report, secret)

        return text

    def read_typed(value: Any, holder: Any, key: Any, report: Report) -> Any:
        natural = value.value if value.__class__ is Plain else value
        if natural.__class__ is expected:
            return natural
        if expected is float and natural.__class__ is int:
            return float(natural)
        return bad_value(value, holder, key, report, SCALARS[expected], secret)

    return read_typed


def _is_nothing(value: Any) -> bool:
    return value.__class__ is Plain and value.value is None


def _date(value: Any, holder: Any, key: Any, report: Report) -> Any:
    """A day, quoted or not."""
    text = value.text if value.__class__ is Plain else value
    if value.__class__ in (Plain, str) and _DAY.fullmatch(text):
        try:
            return date.fromisoformat(text)
        except ValueError:
            pass
    return bad_value(value, holder, key, report, "a date such as `2026-12-01`", secret=False)


def _one_of(members: Mapping[Any, Any], secret: bool) -> Convert:
    choices = ", ".join(f"`{value}`" for value in members)

    def one_of(value: Any, holder: Any, key: Any, report: Report) -> Any:
        natural = value.value if value.__class__ is Plain else value
        # `True == 1`: the class counts too
        for member, result in members.items():
            if member.__class__ is natural.__class__ and member == natural:
                return result
        if value.__class__ is Plain and value.text in members:
            return not_text(value, holder, key, report, secret)
        text = value.text if value.__class__ is Plain else value
        if text.__class__ is not str or secret:
            return bad_value(value, holder, key, report, f"one of {choices}", secret)
        report.add(
            "bad-value",
            holder.place(key),
            f"`{name_of(key)}` is {quote(text)}; expected one of {choices}.",
            guess(text, [str(member) for member in members]),
        )
        return REFUSED

    return one_of


def _part(part: type[Part]) -> Convert:
    what = words_of(part.__name__)

    def read(value: Any, holder: Any, key: Any, report: Report) -> Any:
        return read_part(value, part, what, holder, key, report)

    return read


def _mapping(inner: Convert, keys: Any, secret: bool) -> Convert:
    numbered = _bare(keys) is int

    def read(value: Any, holder: Any, key: Any, report: Report) -> Any:
        if value.__class__ is not Map:
            return bad_value(value, holder, key, report, "a mapping", secret)
        if numbered:
            return {
                _number(name, value, report): inner(item, value, name, report) for name, item in value.items()
            }
        for name in value.odd:
            detail = f"Not every YAML parser reads the key {quote(name)} as text."
            report.add("quote-it", value.place_of_key(name), detail, suggest_quotes(name))
        return {name: inner(item, value, name, report) for name, item in value.items()}

    return read


def _number(name: str, holder: Map, report: Report) -> Any:
    number = decimal(name)
    if number is None:
        report.add("bad-value", holder.place_of_key(name), f"The key {quote(name)} is not a whole number.")
        return name
    return number


def _list(inner: Convert, make: Callable[[list[Any]], Any]) -> Convert:
    def read(value: Any, holder: Any, key: Any, report: Report) -> Any:
        if value.__class__ is not Seq:
            return bad_value(value, holder, key, report, "a list", secret=False)
        items = [inner(item, value, index, report) for index, item in enumerate(value)]
        return REFUSED if REFUSED in items else make(items)

    return read


def _union(members: tuple[Any, ...], secret: bool) -> Convert:
    """The member that fits the value's own type: `3` is an int where int and str are allowed."""
    scalars = {member: converter(member, secret) for member in members if member in SCALARS}
    choices = {
        value: value for member in members if get_origin(member) is Literal for value in get_args(member)
    }
    choose = _one_of(choices, secret) if choices else None
    parts = [m for m in members if isinstance(m, type) and issubclass(m, Part)]
    mapping = next((converter(m, secret) for m in members if get_origin(m) in _MAPPINGS), None)
    listing = next((converter(m, secret) for m in members if get_origin(m) in _LISTS), None)
    expected = " or ".join(
        [*(text for sort, text in SCALARS.items() if sort in scalars and sort is not type(None))]
        + [f"one of {', '.join(f'`{value}`' for value in choices)}"] * bool(choices)
        + ["a mapping"] * bool(parts or mapping)
        + ["a list"] * bool(listing)
    )

    def read(value: Any, holder: Any, key: Any, report: Report) -> Any:
        if date in members and value.__class__ in (str, Plain) and not _is_nothing(value):
            return _date(value, holder, key, report)
        if value.__class__ is str:
            if str in scalars:
                return value
            if choose:
                return choose(value, holder, key, report)
        elif value.__class__ is Map and (parts or mapping):
            if parts:
                best = max(parts, key=lambda part: len(fields_of(part).keys() & value.keys()))
                return read_part(value, best, words_of(best.__name__), holder, key, report)
            return mapping(value, holder, key, report)  # type: ignore[misc]  # one of the two is there
        elif value.__class__ is Seq and listing:
            return listing(value, holder, key, report)
        elif value.__class__ is not Map and value.__class__ is not Seq:
            natural = value.value if value.__class__ is Plain else value
            if natural.__class__ in scalars:
                return natural
            if natural.__class__ is int and float in scalars:
                return float(natural)
            if value.__class__ is Plain and str in scalars:
                return not_text(value, holder, key, report, secret)
            if choose:
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
    if natural is None or isinstance(natural, bool):
        return natural
    if natural is not UNCLEAR and str(natural) == value.text and math.isfinite(natural):
        return natural
    hint = suggest_quotes(value.text)
    if natural is not UNCLEAR:
        hint = f"{hint}, or write `{natural}` for the number"
    detail = f"`{name_of(key)}`: {quote(value.text)} could be a number or text."
    if natural is UNCLEAR:
        detail = f"`{name_of(key)}`: {quote(value.text)} is {meaning(value)}."
    report.add("quote-it", holder.place(key), detail, hint)
    return REFUSED


_read_untyped_mapping: Final = _mapping(_read_untyped_item, str, False)
_secrets: Final = converter(Mapping[str, str], secret=True)
