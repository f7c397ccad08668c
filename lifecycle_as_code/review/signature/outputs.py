"""Outputs: whether a reader of the predictions before can read those after. Pure.

MLflow doesn't enforce outputs, so the rule is lac's: every promised output must remain, with the same type.
New outputs and narrower types are compatible.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .columns import AnyType, Array, Column, Map, Object, Tensor, Type, cut
from .findings import (
    Finding,
    add_property,
    describe_form,
    join_path,
    name_column,
    report_removal,
    report_type,
)


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
    for key, column in was.items():
        label = name_column("output", key)
        if key not in will_be:
            yield report_removal(label, column.type)
            continue
        yield from _presence(label, column.required, will_be[key].required)
        yield from _types(label, column.type, will_be[key].type)
    for key, column in will_be.items():
        if key not in was:
            yield _report_new(name_column("output", key), column.type)
    if [key for key in was if key in will_be] != [key for key in will_be if key in was]:
        yield Finding("outputs are in another order", breaks=False)


def _report_new(label: str, type_: Type) -> Finding:
    return Finding(f"{label} ({cut(str(type_))}) was added", breaks=False)


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
            yield from _properties(label, before, after, path)
        case Tensor(), Tensor():
            yield report_type(label, before, after, breaks=not _narrower(before, after))
        case _:
            # a reader of any type reads this, too
            yield report_type(join_path(label, path), before, after, breaks=not isinstance(before, AnyType))


def _properties(label: str, before: Object, after: Object, path: str) -> Iterator[Finding]:
    for name, was in before.properties.items():
        inner = add_property(path, name)
        if name not in after.properties:
            yield report_removal(join_path(label, inner), was.type)
            continue
        yield from _presence(join_path(label, inner), was.required, after.properties[name].required)
        yield from _types(label, was.type, after.properties[name].type, inner)
    for name, prop in after.properties.items():
        if name not in before.properties:
            yield _report_new(join_path(label, add_property(path, name)), prop.type)


def _narrower(before: Tensor, after: Tensor) -> bool:
    return (
        before.dtype == after.dtype
        and len(before.shape) == len(after.shape)
        and all(m in (-1, n) for m, n in zip(before.shape, after.shape, strict=True))
    )
