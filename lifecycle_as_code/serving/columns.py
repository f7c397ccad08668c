"""The table in a plain JSON request, by a model's signature: as one numpy array, or as a DataFrame.

Plain means that MLflow's parsing and schema enforcement can only do one thing with it: every column named
once, every value a number that float64 holds exactly, null where a column may hold NaN. `None` stands for
everything else, which is MLflow's to judge. What is read here is what MLflow would have given the model, down
to dtype and memory layout: BLAS adds up in another order where rows and columns are stored the other way
round.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Request = dict[str, Any]

# below it, a number is the same whether it becomes an integer, a float64 or both in turn
_EXACT = 2.0**53


class Columns:
    """A signature of named columns, all of them numbers, booleans or text."""

    def __init__(self, names: list[str], dtypes: list[np.dtype[Any] | None]) -> None:
        self.names = names
        self._dtypes = dtypes
        numbers = [dtype for dtype in dtypes if dtype is not None]
        # what numpy and pandas make of columns of several types; None where one is text
        self.common = np.result_type(*numbers) if len(numbers) == len(dtypes) else None
        self.has_booleans = any(dtype.kind == "b" for dtype in numbers)
        self._groups = [
            (dtype, [i for i, d in enumerate(dtypes) if d == dtype]) for dtype in dict.fromkeys(numbers)
        ]

    @classmethod
    def of(cls, schema: Any) -> Columns | None:
        """Read an `mlflow.types.Schema`. None: it has unnamed or nested columns, dates, bytes or tensors."""
        from mlflow.types import DataType

        numbers = (DataType.double, DataType.float, DataType.long, DataType.integer, DataType.boolean)
        if schema is None or schema.is_tensor_spec() or not schema.has_input_names():
            return None
        types = schema.input_types()
        if any(t is not DataType.string and t not in numbers for t in types):
            return None
        return cls(schema.input_names(), [None if t is DataType.string else t.to_numpy() for t in types])

    def rows(self, request: Request) -> list[Any] | None:
        """The values in the order of the signature, row by row; their types are unchecked.

        May raise what a wrong type raises (TypeError, KeyError, AttributeError, ValueError).
        """
        if len(request) != 1:
            return None
        [(form, table)] = request.items()
        match form:
            case "dataframe_split":
                return self._split(table)
            case "dataframe_records" | "instances" if isinstance(table, list):
                return self._records(table)
            # here pandas infers the types anew, and doesn't promise to leave 32 bits at that
            case "inputs" if isinstance(table, list) and all(
                d in (np.float64, np.int64) for d in self._dtypes
            ):
                return self._records(table)
            case "inputs" | "instances" if isinstance(table, dict) and table.keys() == set(self.names):
                columns = [table[name] for name in self.names]
                if all(isinstance(column, list) for column in columns):
                    return list(zip(*columns, strict=True))
        return None

    def array(self, rows: list[Any]) -> Array | None:
        """`rows` as `np.asarray` gives it for MLflow's DataFrame: the common dtype, column after column."""
        x = _numbers(rows)
        if x is None or self.common is None or x.ndim != 2 or x.shape[1] != len(self.names):
            return None
        if len(self._groups) == 1:
            y = _cast(x, self.common)
        else:
            y = np.empty(x.shape, self.common)
            for dtype, where in self._groups:
                if (part := _cast(x[:, where], dtype)) is None:
                    return None
                y[:, where] = part
        return None if y is None else y.T.copy().T

    def frame(self, request: Request) -> Any | None:
        """The pandas DataFrame that schema enforcement would leave. For the `dataframe_` formats alone.

        Only with the signature's order of columns: MLflow prints the request's order in its errors.
        May raise what `rows` raises.
        """
        import pandas as pd

        match request:
            case {"dataframe_split": {"columns": self.names, **rest}}:
                index = rest.get("index")
            case {"dataframe_records": [first, *_]} if list(first) == self.names:
                index = None
            case _:
                return None
        if not (rows := self.rows(request)):
            return None
        if self.common is not None and len(self._groups) == 1:
            x = self.array(rows)
            return None if x is None else pd.DataFrame(x, index=index, columns=self.names)
        table = {}
        for name, dtype, values in zip(self.names, self._dtypes, zip(*rows, strict=True), strict=True):
            column = _text(values) if dtype is None else _column(values, dtype)
            if column is None:
                return None
            table[name] = column
        return pd.DataFrame(table, index=index)

    def sample(self, rows: int) -> Request:
        """A plain request of `rows` rows, the same each time."""
        dtypes = [np.dtype(str) if dtype is None else dtype for dtype in self._dtypes]
        columns = [_sample((rows,), dtype, seed) for seed, dtype in enumerate(dtypes)]
        data = [list(row) for row in zip(*columns, strict=True)]
        return {"dataframe_split": {"columns": self.names, "data": data}}

    def _split(self, table: dict[str, Any]) -> list[Any] | None:
        columns, rows = table["columns"], table["data"]
        if not table.keys() <= {"columns", "data", "index"}:
            return None
        if "index" in table and table["index"] != list(range(len(rows))):
            return None
        if columns == self.names:
            return list(rows)
        if sorted(columns) != sorted(self.names) or any(len(row) != len(columns) for row in rows):
            return None
        order = [columns.index(name) for name in self.names]
        return [[row[i] for i in order] for row in rows]

    def _records(self, records: list[dict[str, Any]]) -> list[Any] | None:
        if any(len(record) != len(self.names) for record in records):
            return None
        return [list(map(record.__getitem__, self.names)) for record in records]


class Tensor:
    """A signature of one unnamed tensor."""

    def __init__(self, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
        self._dtype = dtype
        self._shape = shape

    @classmethod
    def of(cls, schema: Any) -> Tensor | None:
        """Read an `mlflow.types.Schema`. None: it has names, several tensors or no numbers."""
        if schema is None or not schema.is_tensor_spec() or schema.has_input_names():
            return None
        [spec] = schema.inputs
        return cls(spec.type, spec.shape) if spec.type.kind in "fi" else None

    def rows(self, request: Request) -> list[Any] | None:
        """The nested lists; their shape and types are unchecked."""
        if len(request) != 1:
            return None
        [(form, rows)] = request.items()
        return rows if form in ("inputs", "instances") and isinstance(rows, list) else None

    def array(self, rows: list[Any]) -> Array | None:
        """`rows` as MLflow's parser gives it: the signature's dtype, row after row."""
        x = _numbers(rows)
        if x is None or x.ndim != len(self._shape):
            return None
        if any(size not in (-1, actual) for size, actual in zip(self._shape, x.shape, strict=True)):
            return None
        return _cast(x, self._dtype)

    def sample(self, rows: int) -> Request:
        """A plain request of `rows` rows, the same each time; sizes that the signature leaves open are 1."""
        shape = (rows, *(max(size, 1) for size in self._shape[1:]))
        return {"inputs": _sample(shape, self._dtype, 0)}


def _sample(shape: tuple[int, ...], dtype: np.dtype[Any], seed: int) -> list[Any]:
    random = np.random.default_rng(seed)
    if dtype.kind == "f":
        values: Array = random.normal(0.0, 3.0, shape).round(6)
    else:
        values = random.integers(0, 2 if dtype.kind == "b" else 10, shape).astype(dtype)
    return list(values.tolist())


def _numbers(values: Sequence[Any]) -> Array | None:
    """`values` as float64, int64 or bool, null as NaN. ValueError where they are ragged."""
    x = np.array(values)
    if x.dtype == object:
        if not {*map(type, x.flat)} <= {float, int, type(None)}:
            return None
        x = x.astype(np.float64)
    if x.dtype.kind not in "fib" or (x >= _EXACT).any() or (x <= -_EXACT).any():
        return None
    return x


def _cast(x: Array, dtype: np.dtype[Any]) -> Array | None:
    """`x` as `dtype`. None where that loses more than the digits that a float32 lacks."""
    if x.dtype == dtype:
        return x
    if dtype.kind == "f":
        return x.astype(dtype)
    with np.errstate(invalid="ignore"):
        y = x.astype(dtype)
    return y if np.array_equal(x, y) else None


def _column(values: Sequence[Any], dtype: np.dtype[Any]) -> Array | None:
    x = _numbers(values)
    return None if x is None or x.ndim != 1 else _cast(x, dtype)


def _text(values: Sequence[Any]) -> list[str] | None:
    return list(values) if all(type(value) is str for value in values) else None
