"""Outputs: whether a reader of the predictions before can read those after. Pure. MLflow doesn't enforce
outputs, so the rule is lac's: every promised output remains, with the same or a narrower type."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from .columns import AnyType, Array, Column, Map, Object, Property, Tensor, Type, cut
from .findings import (
    Finding,
    add_property,
    describe_form,
    join_path,
    name_column,
    report_removal,
    report_type,
)
from .tensors import fits


def output_findings(before: Sequence[Column] | None, after: Sequence[Column] | None) -> Iterator[Finding]:
    """The findings for a reader of `before`'s predictions. None: nothing is promised."""
    if before is None or after is None:
        if before is not None:
            yield Finding("outputs are no longer declared", breaks=True)
        elif after is not None:
            yield Finding("outputs are now declared", breaks=False)
        return
    was_form, will_be_form = describe_form(before), describe_form(after)
    if was_form != will_be_form:
        yield Finding(f"outputs changed from {was_form} to {will_be_form}", breaks=True)
    elif will_be_form == "unnamed tensor":
        yield from _types("the output", before[0].type, after[0].type)
    else:
        yield from _columns(before, after)


def _columns(before: Sequence[Column], after: Sequence[Column]) -> Iterator[Finding]:
    was, will_be = (
        {index if column.name is None else column.name: column for index, column in enumerate(side)}
        for side in (before, after)
    )
    yield from _members(was, will_be, lambda key: (name_column("output", key), ""))
    if [key for key in was if key in will_be] != [key for key in will_be if key in was]:
        yield Finding("outputs are in another order", breaks=False)


def _members(
    before: Mapping[Any, Column | Property],
    after: Mapping[Any, Column | Property],
    locate: Callable[[Any], tuple[str, str]],
) -> Iterator[Finding]:
    """The differences between columns or properties. `locate`: the label and the path of a key."""
    for key, was in before.items():
        label, path = locate(key)
        if key not in after:
            yield report_removal(join_path(label, path), was.type)
            continue
        yield from _presence(join_path(label, path), was.required, after[key].required)
        yield from _types(label, was.type, after[key].type, path)
    for key, member in after.items():
        if key not in before:
            what = f"{join_path(*locate(key))} ({cut(str(member.type))})"
            yield Finding(f"{what} was added", breaks=False)


def _presence(label: str, was_required: bool, required: bool) -> Iterator[Finding]:
    if was_required and not required:
        yield Finding(f"{label} may now be missing", breaks=True)
    elif required and not was_required:
        yield Finding(f"{label} is now always present", breaks=False)


def _types(label: str, before: Type, after: Type, path: str = "") -> Iterator[Finding]:
    if before == after:
        return
    match before, after:
        case Array(was, vector=False), Array(will_be, vector=False):
            yield from _types(label, was, will_be, f"{path}[]")
        case Map(was), Map(will_be):
            yield from _types(label, was, will_be, f"{path}[*]")
        case Object(), Object():
            yield from _members(
                before.properties, after.properties, lambda name: (label, add_property(path, name))
            )
        case Tensor(), Tensor():
            yield report_type(label, before, after, breaks=not fits(after, before))
        case _:
            # a reader of any type reads this, too
            yield report_type(join_path(label, path), before, after, breaks=not isinstance(before, AnyType))
