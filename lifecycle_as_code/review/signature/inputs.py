"""Inputs: whether the schema after accepts every call that the schema before accepts. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from .columns import AnyType, Array, Column, Label, Map, Name, Object, Scalar, Tensor, Type, quote
from .findings import (
    Finding,
    add_property,
    describe_form,
    join_path,
    name_column,
    report_new_input,
    report_removal,
    report_type,
)
from .tensors import from_frames, only_array, tensor_findings

WIDENS: Final = frozenset({("integer", "long"), ("integer", "double"), ("float", "double")})
"""Conversions that lose nothing (`_enforce_mlflow_datatype`). Not long to double: only 0 and 1 pass."""


def input_findings(before: Sequence[Column] | None, after: Sequence[Column] | None) -> Iterator[Finding]:
    """The findings for a caller of `before`. None: no schema, and MLflow checks nothing."""
    if before is None or after is None:
        if after is not None:
            yield Finding("inputs are now checked, and were not before", breaks=True)
        elif before is not None:
            yield Finding("inputs are no longer checked", breaks=False)
        return
    match describe_form(before), describe_form(after):
        case "named columns", "named columns":
            yield from _by_name(before, after)
            yield from _dicts(before, after)
        case "named columns", "unnamed columns" if len(before) == len(after) == 1 and before[0].required:
            # the only column is the first one, whatever it is called
            yield Finding(f"input {quote(_name(before[0]))} is now identified by its position", breaks=False)
            yield from type_findings("input 0", before[0].type, after[0].type)
            yield from _dicts(before, after)
        case "unnamed columns", "unnamed columns":
            yield from _by_key(dict(enumerate(before)), dict(enumerate(after)))
        case "named tensors", "named tensors":
            frames = all(from_frames(column.type) for column in before)
            yield from _by_name(before, after, frames)
        case "unnamed tensor", "unnamed tensor":
            yield from _types("the input", before[0], after[0], from_frames(before[0].type))
        case "unnamed tensor", "named tensors" if len(after) == 1 and only_array(before[0].type):
            # MLflow hands a bare array to the only tensor that has a name
            yield Finding(f"the input is now called {quote(_name(after[0]))}", breaks=False)
            yield from _lookup_failures(before, after)
            yield from _types("the input", before[0], after[0], frames=False)
        case was, will_be:
            yield Finding(f"inputs changed from {was} to {will_be}", breaks=True)


def _by_name(before: Sequence[Column], after: Sequence[Column], frames: bool = False) -> Iterator[Finding]:
    """`frames`: a DataFrame fits all of the tensors."""
    yield from _by_key(_names(before), _names(after), frames)
    yield from _lookup_failures(before, after)


def _by_key(
    before: Mapping[Any, Column], after: Mapping[Any, Column], frames: bool = False
) -> Iterator[Finding]:
    """By name or by position: order doesn't count, all columns without names are required, and MLflow drops
    columns and tensors that the schema doesn't have."""
    for key, column in before.items():
        label = name_column("input", key)
        if key not in after:
            yield report_removal(label, column.type, is_dropped=True)
            continue
        yield from _presence(label, column.required, after[key].required)
        yield from _types(label, column, after[key], frames)
    for key, column in after.items():
        if key not in before:
            yield report_new_input(name_column("input", key), column.type, required=column.required)


def _name(column: Column) -> Name:
    """A column's name, in a schema whose columns have names."""
    return "" if column.name is None else column.name


def _names(columns: Sequence[Column]) -> dict[Name, Column]:
    """Columns by their names. Of two with one name MLflow enforces the last, and asks for it if any does."""
    by_name: dict[Name, Column] = {}
    for column in columns:
        twin = by_name.get(name := _name(column))
        by_name[name] = replace(column, required=True) if twin and twin.required else column
    return by_name


def _lookup_failures(before: Sequence[Column], after: Sequence[Column]) -> Iterator[Finding]:
    """New names that MLflow's enforcement can't look up, which breaks all callers."""
    known = dict(_unusable_names(before))
    for name, why in _unusable_names(after):
        if name not in known:
            yield Finding(f"{name_column('input', name)} {why}", breaks=True)


def _unusable_names(columns: Sequence[Column]) -> Iterator[tuple[Name, str]]:
    """`Schema.input_names`: `x.name or i`, so 0, False and empty text count as the position, a number; and a
    tuple, which JSON has made a list, can't be looked up at all."""
    for index, column in enumerate(columns):
        name = _name(column)
        value = name.value if isinstance(name, Label) else name
        if isinstance(value, tuple):
            yield name, "can't be looked up: MLflow reads its name as a list"
        elif not value and name != Label("number", index):
            yield name, f"can't be looked up: MLflow looks for {index}, its position"


def _dicts(before: Sequence[Column], after: Sequence[Column]) -> Iterator[Finding]:
    """`_enforce_schema`: a dict is one record where any input is an array or an object; otherwise, unless
    all its values are scalars, it is columns."""
    record, will_be_record = (
        any(isinstance(column.type, Array | Object) for column in side) for side in (before, after)
    )
    if will_be_record and not record:
        yield Finding("a dict is now one record instead of columns: an input is an array or object", True)
    elif record and not will_be_record:
        yield Finding("a dict is now columns instead of one record: no input is an array or object", True)


def _types(label: str, before: Column, after: Column, frames: bool) -> Iterator[Finding]:
    match before.type, after.type:
        case Tensor() as was, Tensor() as will_be:
            yield from tensor_findings(label, was, will_be, frames)
        case was, will_be:
            yield from type_findings(label, was, will_be, after.required)


def _presence(label: str, was_required: bool, required: bool, is_exempt: bool = False) -> Iterator[Finding]:
    """`is_exempt`: whether a call without it is still accepted."""
    if was_required != required:
        word = "required" if required else "optional"
        yield Finding(f"{label} is now {word}", breaks=required and not is_exempt)


def type_findings(
    label: str, before: Type, after: Type, required: bool = True, path: str = ""
) -> Iterator[Finding]:
    """The innermost differences between two types. `required`: of the column or property that holds
    `after`; enforcement hands it down, and takes None within what is optional."""
    if before == after:
        return
    match before, after:
        case Array(was, vector=False), Array(will_be, vector=False):
            yield from type_findings(label, was, will_be, required, f"{path}[]")
        case Map(was), Map(will_be):
            yield from type_findings(label, was, will_be, required, f"{path}[*]")
        case Object(), Object():
            yield from _properties(label, before, after, required, path)
        case _:
            yield report_type(
                join_path(label, path), before, after, breaks=not _accepts(before, after, required)
            )


def _properties(label: str, before: Object, after: Object, required: bool, path: str) -> Iterator[Finding]:
    """`_enforce_object`: unlike columns, properties that aren't declared are refused. `required` as above:
    within what is optional, an object without any property passes whatever is declared."""
    alone = len(before.properties) == 1 and not required
    for name, was in before.properties.items():
        inner = add_property(path, name)
        if name not in after.properties:
            yield report_removal(join_path(label, inner), was.type)
            continue
        will_be = after.properties[name]
        is_exempt = alone and _is_nullable(will_be.type)
        yield from _presence(join_path(label, inner), was.required, will_be.required, is_exempt)
        yield from type_findings(label, was.type, will_be.type, will_be.required, inner)
    for name, prop in after.properties.items():
        if name not in before.properties:
            yield report_new_input(
                join_path(label, add_property(path, name)), prop.type, required=prop.required
            )


def _accepts(before: Type, after: Type, required: bool) -> bool:
    """Whether all values of `before` are values of `after`."""
    match before, after:
        case _, AnyType():
            return True
        case Scalar(was), Scalar(will_be):
            return was == will_be or (was, will_be) in WIDENS
        case Array(was_items), Array(items):
            return _accepts(was_items, items, required)
        case Map(was_values), Map(values):
            return _accepts(was_values, values, required)
        case Object(properties), Map(values):
            # an optional property may be None
            return all(
                _accepts(prop.type, values, required)
                and (prop.required or not required or _is_nullable(values))
                for prop in properties.values()
            )
        case Object(), Object():
            return not any(finding.breaks for finding in _properties("", before, after, required, ""))
        case _:
            return False


def _is_nullable(type_: Type) -> bool:
    match type_:
        case AnyType() | Array(AnyType()) | Map(AnyType()):
            return True
    return False
