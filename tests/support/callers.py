"""What callers of a model send: for a schema, calls that fit it in every form that MLflow takes.

Also what becomes of a call under another schema, by MLflow's own enforcement: taken, refused or misread.
Calls are kept pickled, for enforcement writes into what it is given.
"""

from __future__ import annotations

import json
import math
import pickle
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from mlflow.models.utils import _enforce_schema
from mlflow.types.schema import Schema
from scipy.sparse import csr_matrix

Column = Mapping[str, Any]

INTEGER, LONG = 2**31 - 1, 2**63 - 1
DAY = np.datetime64("2020-02-29T12:00:00", "ns")

COLUMNS: Mapping[str, Sequence[Any]] = {
    "boolean": [pd.Series([True, False])],
    "integer": [pd.Series([INTEGER, -5], dtype="int32")],
    "long": [pd.Series([LONG, -5])],
    "float": [pd.Series([1.5, np.nan], dtype="float32")],
    "double": [pd.Series([1e300, np.nan]), pd.Series([1e300, 0.1])],
    "string": [
        pd.Series(["é", None], dtype=object),
        pd.Series(["é", None]),
        pd.Series(["é", "x"], dtype=pd.ArrowDtype(pa.string())),
    ],
    "binary": [pd.Series([b"\xff", b"a"])],
    "datetime": [pd.Series([DAY, DAY]), pd.Series([DAY, DAY]).astype("datetime64[s]")],
}
"""Columns of two rows, by their type."""

SCALARS: Mapping[str, Sequence[Any]] = {
    "boolean": [True],
    "integer": [np.int32(INTEGER)],
    "long": [LONG],
    "float": [np.float32(1.5)],
    "double": [1e300, math.nan],
    "string": ["é"],
    "binary": [b"\xff"],
    "datetime": [DAY],
}
"""Values inside of arrays, objects and maps."""

NUMPY = {"integer": "int32", "float": "float32", "datetime": "datetime64[ns]"}
"""What a list of Python's values isn't taken for."""

ANYTHING: Sequence[Any] = [1, "x", None, {"a": 1}, [1, "x"], b"\xff"]


def values(type_: Column, required: bool) -> list[Any]:
    """Values of a type that is nested, or of a column that holds one; the fullest first."""
    match type_["type"]:
        case "any":
            found = list(ANYTHING)
        case "sparkml_vector":
            found = _lists({"type": "double"}, required)
        case "array":
            found = _lists(type_["items"], required)
        case "map":
            inner = values(type_["values"], required)
            found = [{"k": inner[0]}, *({"k": value, "é": inner[0]} for value in inner[1:]), {}]
        case "object":
            found = _objects(type_["properties"])
            found += [] if required else [{}]
        case name:
            found = list(SCALARS[name])
    return found if required else [*found, None]


def _lists(items: Column, required: bool) -> list[Any]:
    name = items["type"]
    if name in SCALARS:
        scalars = list(SCALARS[name])
        found = [np.array(scalars * 2, NUMPY[name])] if name in NUMPY else [scalars * 2]
        return [*found, *([np.array(scalars)] if name in ("string", "long", "double") else []), []]
    inner = values(items, required)
    found = [[inner[0], inner[-1]], *([value] for value in inner[1:])]
    if all(isinstance(value, list) and value for value in inner[:1]) and name == "array":
        found.append(np.array([inner[0], inner[0]]))
    return [*found, []]


def _objects(properties: Mapping[str, Any]) -> list[Any]:
    filled = {name: values(prop, prop["required"]) for name, prop in properties.items()}
    full = {name: inner[0] for name, inner in filled.items()}
    found = [full]
    found += [{**full, name: value} for name, inner in filled.items() for value in inner[1:]]
    optional = [name for name, prop in properties.items() if not prop["required"]]
    for absent in ([name] for name in optional):
        found.append({name: value for name, value in full.items() if name not in absent})
    found.append({name: value for name, value in full.items() if name not in optional})
    return found


def _series(column: Column) -> list[Any]:
    """A column's contents, each with two rows."""
    if column["type"] in COLUMNS:
        return list(COLUMNS[column["type"]])
    inner = values(column, bool(column["required"]))
    found = [_objects_in(inner[0], value) for value in (inner[-1], *inner[1:-1])]
    if column["type"] == "any":
        found += [COLUMNS["long"][0], COLUMNS["double"][0], COLUMNS["datetime"][0]]
    with suppress(pa.ArrowException, TypeError, NotImplementedError):  # NumPy's arrays in arrays, mostly
        found.append(pd.Series(pd.arrays.ArrowExtensionArray(pa.array([inner[0], inner[0]]))))
    return found


def _objects_in(*cells: Any) -> Any:
    column = np.empty(len(cells), dtype=object)
    for index, cell in enumerate(cells):
        column[index] = _unshared(cell)
    return pd.Series(column)


def _unshared(value: Any) -> Any:
    """The same, with no part in it twice: enforcement writes into dicts."""
    if isinstance(value, dict):
        return {key: _unshared(inner) for key, inner in value.items()}
    return [_unshared(inner) for inner in value] if isinstance(value, list) else value


def _frames(schema: Sequence[Column]) -> Iterator[Any]:
    names = [column.get("name", index) for index, column in enumerate(schema)]
    filled = [_series(column) for column in schema]
    full = {name: inner[0] for name, inner in zip(names, filled, strict=True)}
    yield pd.DataFrame(full)
    for name, inner in zip(names, filled, strict=True):
        for series in inner[1:]:
            yield pd.DataFrame({**full, name: series})
    if "name" not in schema[0]:
        yield pd.DataFrame(dict(zip("abc", full.values(), strict=False)))
        return
    # columns of one type differ, so that it is seen when they are mistaken for each other
    mixed = {name: full[name][:: (-1) ** index].reset_index(drop=True) for index, name in enumerate(names)}
    yield pd.DataFrame({name: mixed[name] for name in reversed(names)})
    yield pd.DataFrame({name: mixed[name] for name in (*names[1:], names[0])})
    optional = [column["name"] for column in schema if not column["required"]]
    for absent in (*([name] for name in optional), optional):
        kept = {name: series for name, series in full.items() if name not in absent}
        yield pd.DataFrame(kept, index=[0, 1])


def _without_frames(schema: Sequence[Column]) -> Iterator[Any]:
    """Records and dicts. Python's values stand for fewer types than NumPy's: MLflow takes some of them."""
    filled = [_series(column) for column in schema]
    if "name" not in schema[0]:
        yield [[inner[0].iloc[row] for inner in filled] for row in (0, 1)]
        return
    for absent in (set(), *({c["name"]} for c in schema if not c["required"])):
        cells = {c["name"]: inner for c, inner in zip(schema, filled, strict=True) if c["name"] not in absent}
        record = {name: inner[0].iloc[0] for name, inner in cells.items()}
        yield record
        yield from ({**record, name: series.iloc[1]} for name, inner in cells.items() for series in inner)
        yield [{name: inner[0].iloc[row] for name, inner in cells.items()} for row in (0, 1)]
        # where there is an array or object, a dict is no columns
        if not any(c["type"] in ("array", "sparkml_vector", "object") for c in schema):
            yield {name: inner[0].to_numpy() for name, inner in cells.items()}
            yield {name: inner[0].to_list() for name, inner in cells.items()}


FILLS: Mapping[str, Any] = {
    "float64": 0.5,
    "float32": 0.5,
    "int64": LONG,
    "int32": INTEGER,
    "bool": True,
    "str": "é",
    "object": "é",
}


def _arrays(column: Column) -> Iterator[Any]:
    dtype, shape = column["tensor-spec"]["dtype"], list(column["tensor-spec"]["shape"])
    fill = FILLS[dtype]
    for length in (2, 3, 1):
        sized = [length if n == -1 else n for n in shape]
        yield np.full(sized, fill, dtype=dtype)
    if dtype == "object" and shape == [-1]:
        yield np.full((2, 3), 0.5)
        yield np.full((2, 3, 2), 1)
    if -1 in shape[1:]:
        ragged = np.empty(2, dtype=object)
        ragged[0], ragged[1] = np.full(1, fill), np.full(3, fill)
        yield ragged


def _tensors(schema: Sequence[Column]) -> Iterator[Any]:
    if "name" not in schema[0]:
        (column,) = schema
        yield from _arrays(column)
        shape = column["tensor-spec"]["shape"]
        if len(shape) == 2 and column["tensor-spec"]["dtype"] not in ("object", "str"):
            yield csr_matrix(next(_arrays(column)))
        yield from ({"c": series} for series in _rows(column))
        if len(shape) == 2 and shape[1] > 1:
            yield pd.DataFrame(next(_arrays(column)))
        return
    filled = {column["name"]: list(_arrays(column)) for column in schema}
    yield {name: arrays[0] for name, arrays in filled.items()}
    for name, arrays in filled.items():
        for array in arrays[1:]:
            yield {**{other: inner[0] for other, inner in filled.items()}, name: array}
    if len(schema) == 1:
        yield from _arrays(schema[0])
    rows = {column["name"]: list(_rows(column)) for column in schema}
    for variant in (0, 1, 2):
        if all(len(found) > variant for found in rows.values()):
            yield {name: found[variant] for name, found in rows.items()}


def _rows(column: Column) -> Iterator[Any]:
    """A tensor as a column of a DataFrame."""
    dtype, shape = column["tensor-spec"]["dtype"], column["tensor-spec"]["shape"]
    if not shape or -1 in shape[1:]:
        return
    row = np.full(math.prod(shape[1:]), FILLS[dtype], dtype=dtype)
    yield _objects_in(row.tolist(), row.tolist())
    yield _objects_in(row, row)
    if len(row) == 1:
        yield pd.Series(np.concatenate([row, row]))


def _all_calls(schema: Sequence[Column]) -> Iterator[Any]:
    if schema[0]["type"] != "tensor":
        yield from _frames(schema)
        yield from _without_frames(schema)
        return
    for call in _tensors(schema):
        # a dict of Series is a DataFrame
        yield pd.DataFrame(call) if _holds_series(call) else call


def _holds_series(call: Any) -> bool:
    return isinstance(call, dict) and any(isinstance(value, pd.Series) for value in call.values())


@cache
def _parsed(text: str) -> Any:
    return Schema.from_json(text)


def mlflow_schema(schema: Sequence[Column]) -> Any:
    """The schema as MLflow holds it."""
    return _parsed(json.dumps(list(schema)))


def taken_calls(schema: Sequence[Column]) -> Iterator[tuple[bytes, Any]]:
    """The calls that fit a schema and that MLflow takes for what they are, each with what it makes of it."""
    for call in _all_calls(schema):
        blob = pickle.dumps(call)
        try:
            taken = _enforce_schema(pickle.loads(blob), mlflow_schema(schema))
        except Exception:  # whatever is raised is a refusal, MLflow's own or pandas'
            continue
        if not _misfit(taken, schema):
            yield blob, taken


def fate(blob: bytes, taken: Any, after: Sequence[Column]) -> str:
    """What becomes of a call that `before` took for `taken`: nothing where `after` takes it for the same;
    otherwise why not."""
    try:
        taken_now = _enforce_schema(pickle.loads(blob), mlflow_schema(after))
    except Exception as error:  # MLflow's own or pandas'
        return f"refused: {type(error).__name__}: {str(error)[:200]}"
    if isinstance(taken, pd.DataFrame) is not isinstance(taken_now, pd.DataFrame):
        return "misread: an array for a table, or a table for an array"
    was, will_be = _parts(taken), _parts(taken_now)
    if "name" not in after[0] or not isinstance(taken, pd.DataFrame | dict):
        # by position
        was, will_be = dict(enumerate(was.values())), dict(enumerate(will_be.values()))
    if dropped := [key for key in was if key not in will_be]:
        return f"dropped: {dropped}"
    shared = was.keys() & will_be.keys()
    if shared and isinstance(taken_now, pd.DataFrame) and list(taken.index) != list(taken_now.index):
        return f"misread: the rows {list(taken.index)} as {list(taken_now.index)}"
    for key in shared:
        if not _same(was[key], will_be[key]):
            return f"misread: {was[key]!r} as {will_be[key]!r}"
    return _misfit(taken_now, after)


def _misfit(taken: Any, schema: Sequence[Column]) -> str:
    """What enforcement let through that isn't what the schema declares."""
    if isinstance(taken, pd.DataFrame):
        declared = {_key(column.get("name", index)): column for index, column in enumerate(schema)}
        for index, name in enumerate(taken):
            column = declared[_key(name) if "name" in schema[0] else index]
            for cell in taken[name]:
                if not _fits(cell, column):
                    return f"misread: {cell!r} as {column['type']}"
    return ""


def _key(label: Any) -> Any:
    """A label that finds itself: pandas makes a new NaN each time."""
    return label if label == label else math.nan


def _parts(taken: Any) -> dict[Any, list[Any]]:
    """Columns or tensors, each as a list of what is in it: cells, or all numbers behind their count."""
    if isinstance(taken, pd.DataFrame):
        return {_key(name): list(taken[name]) for name in taken}
    if isinstance(taken, dict):
        return {name: [array.shape[:1], *array.ravel()] for name, array in taken.items()}
    array = taken.toarray() if isinstance(taken, csr_matrix) else taken
    return {0: [array.shape[:1], *array.ravel()]}


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple | np.ndarray) and isinstance(other, list | tuple | np.ndarray):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, _COLLECTIONS) or isinstance(other, _COLLECTIONS):
        return False
    if isinstance(one, int) and isinstance(other, pd.Timestamp | np.datetime64):
        one = pd.Timestamp(one)  # MLflow makes whole numbers of a list of times
    if pd.isna(one) or pd.isna(other):
        return bool(pd.isna(one) and pd.isna(other))
    return bool(one == other)


_COLLECTIONS = (dict, list, tuple, np.ndarray)


def _fits(value: Any, type_: Column) -> bool:
    """Whether a value is of a sort with the declared type."""
    match type_["type"]:
        case "any":
            return True
        case "array" | "sparkml_vector":
            items = type_.get("items", {"type": "double"})
            return value is None or (
                isinstance(value, list | np.ndarray) and all(_fits(item, items) for item in value)
            )
        case "map":
            return value is None or all(_fits(item, type_["values"]) for item in value.values())
        case "object":
            inner = type_["properties"]
            return value is None or all(_fits(item, inner[name]) for name, item in value.items())
    if isinstance(value, _COLLECTIONS):
        return False
    sorts = {"string": str, "binary": bytes, "boolean": bool | np.bool_}
    if type_["type"] in sorts:
        return isinstance(value, sorts[type_["type"]]) or bool(pd.isna(value))
    return not isinstance(value, str | bytes)
