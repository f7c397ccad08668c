"""Outputs: whether a reader of the predictions before can read those after. Pure.

MLflow enforces no outputs, so the rule is ours: all that was promised must still be, under the same type.
More may be promised, and more exactly.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .columns import AnyType, Array, Column, Map, Object, Tensor, Type, cut
from .findings import Finding, at, below, form, gone, labelled, retyped


def output_findings(before: Sequence[Column] | None, after: Sequence[Column] | None) -> Iterator[Finding]:
    """What a reader of `before`'s predictions meets. None: nothing is promised."""
    if before is None or after is None:
        if before is not None:
            yield Finding("outputs are not declared any more", breaks=True)
        elif after is not None:
            yield Finding("outputs are declared now", breaks=False)
        return
    was_form, will_be_form = form(before), form(after)
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
        label = labelled("output", key)
        if key not in will_be:
            yield gone(label, column.type)
            continue
        yield from _presence(label, column.required, will_be[key].required)
        yield from _types(label, column.type, will_be[key].type)
    for key, column in will_be.items():
        if key not in was:
            yield _added(labelled("output", key), column.type)
    if [key for key in was if key in will_be] != [key for key in will_be if key in was]:
        yield Finding("outputs are in another order", breaks=False)


def _added(label: str, type_: Type) -> Finding:
    return Finding(f"{label} ({cut(str(type_))}) was added", breaks=False)


def _presence(label: str, was_required: bool, required: bool) -> Iterator[Finding]:
    if was_required and not required:
        yield Finding(f"{label} may be missing now", breaks=True)
    elif required and not was_required:
        yield Finding(f"{label} is always there now", breaks=False)


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
            yield retyped(label, before, after, breaks=not _narrower(before, after))
        case _:
            # whoever reads anything reads this as well
            yield retyped(at(label, path), before, after, breaks=not isinstance(before, AnyType))


def _properties(label: str, before: Object, after: Object, path: str) -> Iterator[Finding]:
    for name, was in before.properties.items():
        inner = below(path, name)
        if name not in after.properties:
            yield gone(at(label, inner), was.type)
            continue
        yield from _presence(at(label, inner), was.required, after.properties[name].required)
        yield from _types(label, was.type, after.properties[name].type, inner)
    for name, added in after.properties.items():
        if name not in before.properties:
            yield _added(at(label, below(path, name)), added.type)


def _narrower(before: Tensor, after: Tensor) -> bool:
    return (
        before.dtype == after.dtype
        and len(before.shape) == len(after.shape)
        and all(m in (-1, n) for m, n in zip(before.shape, after.shape, strict=True))
    )
