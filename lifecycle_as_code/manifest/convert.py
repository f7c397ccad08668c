"""Nodes to the plain values that a field's annotation asks for; pydantic then checks them strictly.

An annotation is turned once into a function of (value, holder, key, report): `holder[key]` is where the
value stands, for the place of a problem. A value that doesn't fit is reported and becomes `REFUSED`.
Values of secrets are never repeated in a problem. Pure.
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

from ..model.spec import Derived, Part, fields_marked
from .wording import (
    REFUSED,
    bad_value,
    meaning,
    missing_field,
    name_of,
    not_text,
    quoted,
    unknown_field,
    words_of,
)
from .yaml.nodes import UNCLEAR, Map, Plain, Seq, decimal
from .yaml.report import Report, guess, shown

SECRET_FIELDS: Final = frozenset({"environment_vars", "env_vars"})
"""Mappings whose values may be secrets."""

Convert = Callable[[Any, Any, Any, Report], Any]

_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")

SCALARS: Final[Mapping[Any, str]] = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "`true` or `false`",
    type(None): "nothing",
}


@cache
def fields_of(part: type[Part]) -> Mapping[str, Convert]:
    """How to read each field that a person may write."""
    derived = fields_marked(part, Derived)
    return {
        # `from` is written by people, and no name in Python
        field.alias or name: converter(field.annotation, name in SECRET_FIELDS)
        for name, field in part.model_fields.items()
        if name not in derived
    }


@cache
def required_of(part: type[Part]) -> frozenset[str]:
    """The fields that a person must write."""
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
    return untyped


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


def _scalar(wanted: type[Any], secret: bool) -> Convert:
    if wanted is str:

        def text(value: Any, holder: Any, key: Any, report: Report) -> Any:
            if value.__class__ is str:
                return value
            return not_text(value, holder, key, report, secret)

        return text

    def typed(value: Any, holder: Any, key: Any, report: Report) -> Any:
        natural = value.value if value.__class__ is Plain else value
        if natural.__class__ is wanted:
            return natural
        if wanted is float and natural.__class__ is int:
            return float(natural)
        return bad_value(value, holder, key, report, SCALARS[wanted], secret)

    return typed


def _is_nothing(value: Any) -> bool:
    return value.__class__ is Plain and value.value is None


def _date(value: Any, holder: Any, key: Any, report: Report) -> Any:
    """A day, quoted or not: nothing else is written so."""
    text = value.text if value.__class__ is Plain else value
    if value.__class__ in (Plain, str) and _DAY.fullmatch(text):
        try:
            return date.fromisoformat(text)
        except ValueError:
            pass
    return bad_value(value, holder, key, report, "a date such as `2026-12-01`", secret=False)


def _one_of(members: Mapping[Any, Any], secret: bool) -> Convert:
    wanted = ", ".join(f"`{value}`" for value in members)

    def one_of(value: Any, holder: Any, key: Any, report: Report) -> Any:
        natural = value.value if value.__class__ is Plain else value
        # `True == 1`: the class counts too
        for member, meant in members.items():
            if member.__class__ is natural.__class__ and member == natural:
                return meant
        if value.__class__ is Plain and value.text in members:
            return not_text(value, holder, key, report, secret)
        text = value.text if value.__class__ is Plain else value
        if text.__class__ is not str or secret:
            return bad_value(value, holder, key, report, f"one of {wanted}", secret)
        report.add(
            "bad-value",
            holder.place(key),
            f"`{name_of(key)}` is {shown(text)}; one of {wanted} is wanted.",
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
        if value.odd:
            for name in value.odd:
                detail = f"The key {shown(name)} is not read as text by every reader of YAML."
                report.add("quote-it", value.place_of_key(name), detail, quoted(name))
        return {name: inner(item, value, name, report) for name, item in value.items()}

    return read


def _number(name: str, holder: Map, report: Report) -> Any:
    number = decimal(name)
    if number is None:
        report.add("bad-value", holder.place_of_key(name), f"The key {shown(name)} is no whole number.")
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
    """The member that a value's own sort asks for: `3` is an int where int and str may stand."""
    scalars = {member: converter(member, secret) for member in members if member in SCALARS}
    choices = {
        value: value for member in members if get_origin(member) is Literal for value in get_args(member)
    }
    choose = _one_of(choices, secret) if choices else None
    parts = [m for m in members if isinstance(m, type) and issubclass(m, Part)]
    mapping = next((converter(m, secret) for m in members if get_origin(m) in _MAPPINGS), None)
    listing = next((converter(m, secret) for m in members if get_origin(m) in _LISTS), None)
    wanted = " or ".join(
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
        return bad_value(value, holder, key, report, wanted, secret)

    return read


def _untyped_item(value: Any, holder: Any, key: Any, report: Report) -> Any:
    return (_secrets if key in SECRET_FIELDS else untyped)(value, holder, key, report)


def untyped(value: Any, holder: Any, key: Any, report: Report) -> Any:
    """A value whose field doesn't say what it is: what YAML 1.1 and 1.2 agree on, as plain data.

    A number that isn't written as it would be printed (`1.10`, `1e3`) is refused: text was perhaps meant.
    """
    if value.__class__ is Map:
        return _untyped_mapping(value, holder, key, report)
    if value.__class__ is Seq:
        return [untyped(item, value, index, report) for index, item in enumerate(value)]
    if value.__class__ is not Plain:
        return value
    natural = value.value
    if natural is None or isinstance(natural, bool):
        return natural
    if natural is not UNCLEAR and str(natural) == value.text and math.isfinite(natural):
        return natural
    hint = quoted(value.text)
    if natural is not UNCLEAR:
        hint = f"{hint}, or write `{natural}` for the number"
    detail = f"`{name_of(key)}`: {shown(value.text)} could be a number or text."
    if natural is UNCLEAR:
        detail = f"`{name_of(key)}`: {shown(value.text)} is {meaning(value)}."
    report.add("quote-it", holder.place(key), detail, hint)
    return REFUSED


_untyped_mapping: Final = _mapping(_untyped_item, str, False)
_secrets: Final = converter(Mapping[str, str], secret=True)
