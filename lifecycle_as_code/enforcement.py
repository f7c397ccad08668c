"""How MLflow's schema enforcement treats a caller of one schema under another. Pure.

The rules are read from `mlflow.models.utils` (MLflow 3.17): `_enforce_schema`, `_enforce_mlflow_datatype`,
`_enforce_tensor_schema`, `_enforce_params_schema`. A caller is one that sends what the schema before
declares, in any form that MLflow takes: a DataFrame of NumPy's or Arrow's types, a dict, a list of records,
an array. It is broken where some such call is refused, or taken for something else than it was: MLflow
doesn't look into columns of objects, so it lets bytes through where text is declared. Values that MLflow
only takes by luck (a long of 0 or 1 for a double) are no reason to call a change compatible.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from math import prod
from typing import Any, Final, NamedTuple

from .columns import AnyType, Array, Column, Map, Object, Parameter, Scalar, Tensor, Type, cut, quoted


class Finding(NamedTuple):
    """What differs, as a sentence, and whether it breaks a caller."""

    text: str
    breaks: bool


# --- inputs ---------------------------------------------------------------------------------------------

WIDENS: Final = frozenset({("integer", "long"), ("integer", "double"), ("float", "double")})
"""Conversions of columns that lose nothing. Not long to double: MLflow takes only 0 and 1 then."""


def input_findings(before: Sequence[Column] | None, after: Sequence[Column] | None) -> Iterator[Finding]:
    """What a caller of `before` meets. None: no schema, and MLflow checks nothing."""
    if before is None or after is None:
        if after is not None:
            yield Finding("inputs are checked now, and were not", breaks=True)
        elif before is not None:
            yield Finding("inputs are not checked any more", breaks=False)
        return
    match _form(before), _form(after):
        case "named columns", "named columns":
            yield from _named(before, after)
            yield from _dicts(before, after)
        case "named columns", "unnamed columns" if len(before) == len(after) == 1 and before[0].required:
            # the only column is the first one, whatever it is called
            yield Finding(f"input {quoted(before[0].name or '')} has no name any more", breaks=False)
            yield from _changed("input 0", before[0].type, after[0].type)
            yield from _dicts(before, after)
        case "unnamed columns", "unnamed columns":
            yield from _by_position(before, after)
        case "named tensors", "named tensors":
            yield from _named_tensors(before, after)
        case "unnamed tensor", "unnamed tensor":
            yield from _tensor("the input", before[0].type, after[0].type)
        case "unnamed tensor", "named tensors" if len(after) == 1 and _only_array(before[0].type):
            # MLflow hands a bare array to the only tensor that has a name
            yield Finding(f"the input has the name {quoted(after[0].name or '')} now", breaks=False)
            yield from _tensor("the input", before[0].type, after[0].type)
        case was, will_be:
            yield Finding(f"inputs changed from {was} to {will_be}", breaks=True)


def _form(columns: Sequence[Column]) -> str:
    named = columns[0].name is not None
    if isinstance(columns[0].type, Tensor):
        return "named tensors" if named else "unnamed tensor"
    return "named columns" if named else "unnamed columns"


def _named(before: Sequence[Column], after: Sequence[Column]) -> Iterator[Finding]:
    """Names count, order doesn't."""
    was, will_be = _by_name(before), _by_name(after)
    for name, column in was.items():
        label = f"input {quoted(name)}"
        if name not in will_be:
            yield _ignored(label, column.type)
            continue
        yield from _presence(label, column.required, will_be[name].required)
        yield from _changed(label, column.type, will_be[name].type)
    for name, column in will_be.items():
        if name not in was:
            sort = "required" if column.required else "optional"
            yield Finding(f"{sort} input {quoted(name)} ({column.type}) was added", column.required)


def _by_name(columns: Sequence[Column]) -> dict[str, Column]:
    return {column.name or "": column for column in columns}


def _ignored(label: str, type_: object) -> Finding:
    """A column, tensor or parameter that went. A caller that still sends it isn't refused: MLflow ignores
    it, with a warning in its log."""
    return Finding(f"{label} ({cut(str(type_))}) is gone: MLflow ignores it", breaks=False)


def _presence(label: str, was_required: bool, required: bool) -> Iterator[Finding]:
    if was_required != required:
        yield Finding(f"{label} is {'required' if required else 'optional'} now", breaks=required)


def _dicts(before: Sequence[Column], after: Sequence[Column]) -> Iterator[Finding]:
    """A dict is one record where any column is an array or an object, and columns where none is."""
    record, will_be_record = (
        any(isinstance(column.type, Array | Object) for column in side) for side in (before, after)
    )
    if record and not will_be_record:
        yield Finding(
            "a dict is read as columns now, and was one record: no input is an array or object", True
        )
    elif will_be_record and not record:
        yield Finding(
            "a dict is read as one record now, and was columns: an input is an array or object", True
        )


def _by_position(before: Sequence[Column], after: Sequence[Column]) -> Iterator[Finding]:
    for index, column in enumerate(before):
        if index >= len(after):
            yield _ignored(f"input {index}", column.type)
        else:
            yield from _changed(f"input {index}", column.type, after[index].type)
    for index in range(len(before), len(after)):
        yield Finding(f"required input {index} ({after[index].type}) was added", breaks=True)


def _changed(label: str, before: Type, after: Type, path: str = "") -> Iterator[Finding]:
    """What differs between two types, and whether `after` takes all that `before` does."""
    if before == after:
        return
    match before, after:
        case Array(items=was, vector=False), Array(items=will_be, vector=False):
            yield from _changed(label, was, will_be, f"{path}[]")
        case Map(was), Map(will_be):
            yield from _changed(label, was, will_be, f"{path}[*]")
        case Object(), Object():
            yield from _properties(label, before, after, path)
        case _:
            yield _retyped(_at(label, path), before, after, breaks=not _takes(before, after))


def _at(label: str, path: str) -> str:
    """`input "customer"` and `.age` as `input "customer.age"`."""
    return label if not path else f'{label[:-1]}{cut(path)}"' if label.endswith('"') else label + cut(path)


def _retyped(label: str, before: object, after: object, breaks: bool) -> Finding:
    return Finding(f"{label} changed from {cut(str(before))} to {cut(str(after))}", breaks)


def _properties(label: str, before: Object, after: Object, path: str) -> Iterator[Finding]:
    """Unlike columns, properties that aren't declared are refused."""
    for name, was in before.properties.items():
        inner = f"{path}.{name}"
        will_be = after.properties.get(name)
        if will_be is None:
            yield Finding(f"{_at(label, inner)} ({cut(str(was.type))}) is gone", breaks=True)
            continue
        yield from _presence(_at(label, inner), was.required, will_be.required)
        yield from _changed(label, was.type, will_be.type, inner)
    for name, added in after.properties.items():
        if name not in before.properties:
            sort = "required" if added.required else "optional"
            where = _at(label, f"{path}.{name}")
            yield Finding(f"{sort} {where} ({cut(str(added.type))}) was added", breaks=added.required)


def _takes(before: Type, after: Type) -> bool:
    """Whether all values of `before` are values of `after`, as enforcement sees them."""
    match before, after:
        case _, AnyType():
            return True
        case Scalar(was), Scalar(will_be):
            return was == will_be or (was, will_be) in WIDENS
        case Array(items=was_items), Array(items=items):
            return _takes(was_items, items)
        case Map(was_values), Map(values):
            return _takes(was_values, values)
        case Object(properties), Map(values):
            # an optional property may be None, which a map takes only where anything may stand
            return all(
                _takes(prop.type, values) and (prop.required or _takes_none(values))
                for prop in properties.values()
            )
        case Object(), Object():
            return not any(finding.breaks for finding in _properties("", before, after, ""))
        case _:
            return False


def _takes_none(type_: Type) -> bool:
    match type_:
        case AnyType() | Array(items=AnyType()) | Map(AnyType()):
            return True
    return False


# --- tensors --------------------------------------------------------------------------------------------


def _named_tensors(before: Sequence[Column], after: Sequence[Column]) -> Iterator[Finding]:
    was, will_be = _by_name(before), _by_name(after)
    for name, column in was.items():
        if name in will_be:
            yield from _tensor(f"input {quoted(name)}", column.type, will_be[name].type)
        else:
            yield _ignored(f"input {quoted(name)}", column.type)
    for name, column in will_be.items():
        if name not in was:
            yield Finding(f"required input {quoted(name)} ({column.type}) was added", breaks=True)


def _tensor(label: str, before: Type, after: Type) -> Iterator[Finding]:
    assert isinstance(before, Tensor)
    assert isinstance(after, Tensor)
    if before == after:
        return
    if not _takes_arrays(before, after):
        yield _retyped(label, before, after, breaks=True)
    elif _from_frames(before) and not (after.shape == (-1,) and prod(before.shape[1:]) == 1):
        # each row of a DataFrame is reshaped, which takes fixed lengths: (-1, 4) to (-1, -1) is refused
        finding = _retyped(label, before, after, breaks=True)
        yield finding._replace(text=f"{finding.text}: a DataFrame is refused")
    else:
        yield _retyped(label, before, after, breaks=False)


def _takes_arrays(before: Tensor, after: Tensor) -> bool:
    """`_enforce_tensor_spec`, over all arrays that `before` takes."""
    if after.dtype == "object" and after.shape == (-1,):
        return True  # whatever it is
    if before.dtype == "object" and before.shape == (-1,):
        return False
    if before.dtype == "object" and len(before.shape) == 1 and -1 in after.shape[1:]:
        return True  # taken for a ragged array
    return (
        before.dtype == after.dtype
        and len(before.shape) == len(after.shape)
        and all(n in (-1, m) for m, n in zip(before.shape, after.shape, strict=True))
    )


def _from_frames(tensor: Tensor) -> bool:
    """Whether MLflow makes such a tensor of a DataFrame."""
    return tensor.shape[:1] == (-1,) and -1 not in tensor.shape[1:]


def _only_array(type_: Type) -> bool:
    """Whether nothing but an array of NumPy's fits: no DataFrame, and no sparse matrix, which has two
    dimensions."""
    return isinstance(type_, Tensor) and not _from_frames(type_) and len(type_.shape) != 2


# --- parameters -----------------------------------------------------------------------------------------

WIDENS_PARAMETERS: Final = WIDENS | {("integer", "float"), ("long", "float"), ("long", "double")}
"""Conversions of parameters (`_ALLOWED_CONVERSIONS_FOR_PARAMS`)."""


def parameter_findings(
    before: Sequence[Parameter] | None, after: Sequence[Parameter] | None
) -> Iterator[Finding]:
    """What a caller of `before` meets. Each parameter has a default, so none is ever required; without a
    schema, and beside it, MLflow ignores what is sent."""
    was = {parameter.name: parameter for parameter in before or ()}
    will_be = {parameter.name: parameter for parameter in after or ()}
    for name, parameter in was.items():
        label = f"parameter {quoted(name)}"
        if name not in will_be:
            yield _ignored(label, parameter)
        else:
            yield from _parameter(label, parameter, will_be[name])
    for name, parameter in will_be.items():
        if name not in was:
            yield Finding(f"parameter {quoted(name)} ({cut(str(parameter))}) was added", breaks=False)


def _parameter(label: str, before: Parameter, after: Parameter) -> Iterator[Finding]:
    match before.type, after.type:
        case _ if before.listed != after.listed:
            yield _retyped(label, before, after, breaks=True)
        case Scalar(was), Scalar(will_be):
            if was != will_be:
                yield _retyped(label, before, after, breaks=(was, will_be) not in WIDENS_PARAMETERS)
        case was_type, type_:
            yield from _changed(label, was_type, type_)
    defaults = [_json(side.default) for side in (before, after)]
    if defaults[0] != defaults[1]:
        yield Finding(
            f"the default of {label} changed from {cut(defaults[0])} to {cut(defaults[1])}", breaks=False
        )


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)


# --- outputs --------------------------------------------------------------------------------------------


def output_findings(before: Sequence[Column] | None, after: Sequence[Column] | None) -> Iterator[Finding]:
    """What a reader of `before`'s predictions meets. MLflow enforces no outputs: this is ours. All that was
    promised must still be, under the same type; a promise may be added or become narrower."""
    if before is None or after is None:
        if before is not None:
            yield Finding("outputs are not declared any more", breaks=True)
        elif after is not None:
            yield Finding("outputs are declared now", breaks=False)
        return
    was_form, form = _form(before), _form(after)
    if was_form != form:
        yield Finding(f"outputs changed from {was_form} to {form}", breaks=True)
        return
    was, will_be = (
        {(i if column.name is None else column.name): column for i, column in enumerate(side)}
        for side in (before, after)
    )
    lone = form == "unnamed tensor"
    labels = {key: "the output" if lone else _output(key) for key in (*was, *will_be)}
    for key, column in was.items():
        if key not in will_be:
            yield Finding(f"{labels[key]} ({cut(str(column.type))}) is gone", breaks=True)
            continue
        yield from _promise(labels[key], column.required, will_be[key].required)
        yield from _read(labels[key], column.type, will_be[key].type)
    for key, column in will_be.items():
        if key not in was:
            yield Finding(f"{labels[key]} ({cut(str(column.type))}) was added", breaks=False)
    if [key for key in was if key in will_be] != [key for key in will_be if key in was]:
        yield Finding("outputs are in another order", breaks=False)


def _output(key: str | int) -> str:
    return f"output {quoted(key) if isinstance(key, str) else key}"


def _promise(label: str, was_required: bool, required: bool) -> Iterator[Finding]:
    if was_required and not required:
        yield Finding(f"{label} may be missing now", breaks=True)
    elif required and not was_required:
        yield Finding(f"{label} is always there now", breaks=False)


def _read(label: str, before: Type, after: Type, path: str = "") -> Iterator[Finding]:
    if before == after:
        return
    match before, after:
        case AnyType(), _:
            yield _retyped(_at(label, path), before, after, breaks=False)
        case Array(items=was, vector=False), Array(items=will_be, vector=False):
            yield from _read(label, was, will_be, f"{path}[]")
        case Map(was), Map(will_be):
            yield from _read(label, was, will_be, f"{path}[*]")
        case Object(was_properties), Object(properties):
            for name, prop in was_properties.items():
                inner = f"{path}.{name}"
                if name not in properties:
                    yield Finding(f"{_at(label, inner)} ({cut(str(prop.type))}) is gone", breaks=True)
                    continue
                yield from _promise(_at(label, inner), prop.required, properties[name].required)
                yield from _read(label, prop.type, properties[name].type, inner)
            for name, prop in properties.items():
                if name not in was_properties:
                    where = _at(label, f"{path}.{name}")
                    yield Finding(f"{where} ({cut(str(prop.type))}) was added", breaks=False)
        case Tensor(was_dtype, was_shape), Tensor(dtype, shape):
            narrower = len(was_shape) == len(shape) and all(
                m in (-1, n) for m, n in zip(was_shape, shape, strict=True)
            )
            yield _retyped(label, before, after, breaks=was_dtype != dtype or not narrower)
        case _:
            yield _retyped(_at(label, path), before, after, breaks=True)
