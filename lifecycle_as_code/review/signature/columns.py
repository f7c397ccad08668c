"""The columns, tensors and parameters of a signature: from MLmodel's JSON to typed values. Pure.

The format is MLflow's (`mlflow.types.schema`). Nothing in here compares.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeAlias

MAX_DEPTH: Final = 32
"""How many levels of arrays, objects and maps a type may have."""
MAX_NAME: Final = 100
"""How long the name of a type may be."""
SHOWN: Final = 80
"""How many characters of a name, a type or a default people are shown."""


@dataclass(frozen=True, slots=True)
class Scalar:
    """One of MLflow's data types, such as `long`. A name that no release has had yet is kept as well."""

    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class AnyType:
    """Whatever JSON can hold, None included: nothing is checked."""

    def __str__(self) -> str:
        return "any"


@dataclass(frozen=True, slots=True)
class Array:
    """A list. `vector`: written as Spark ML's vector, which MLflow enforces as an array of doubles."""

    items: Type
    vector: bool = False

    def __str__(self) -> str:
        return "sparkml_vector" if self.vector else f"array of {self.items}"


@dataclass(frozen=True, slots=True)
class Map:
    """A dict with any keys."""

    values: Type

    def __str__(self) -> str:
        return f"map of {self.values}"


@dataclass(frozen=True, slots=True)
class Property:
    """A key of an object."""

    type: Type
    required: bool


@dataclass(frozen=True, slots=True)
class Object:
    """A dict with these keys and no others."""

    properties: Mapping[str, Property]

    def __str__(self) -> str:
        return "object"


@dataclass(frozen=True, slots=True)
class Tensor:
    """An n-dimensional array. `dtype`: NumPy's name; -1 in `shape` stands for any length."""

    dtype: str
    shape: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.dtype} tensor {self.shape}"


Type: TypeAlias = Scalar | AnyType | Array | Map | Object | Tensor


class Label(NamedTuple):
    """A column's name that isn't text: a number, a boolean, or a tuple of labels (pandas' MultiIndex).

    Two are equal where pandas finds one by the other: 1 is 1.0, but not True; NaN is NaN.
    """

    kind: str
    value: bool | float | tuple[Name | None, ...]

    def __str__(self) -> str:
        if isinstance(self.value, tuple):
            return f"({', '.join(repr(part) if isinstance(part, str) else str(part) for part in self.value)})"
        return str(self.value)


Name: TypeAlias = str | Label


@dataclass(frozen=True, slots=True)
class Column:
    """A column or a tensor. `name` None: it goes by its position."""

    name: Name | None
    type: Type
    required: bool = True


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of the prediction. `listed`: a list of such values."""

    name: str
    type: Type
    default: Any
    listed: bool = False

    def __str__(self) -> str:
        return f"list of {self.type}" if self.listed else str(self.type)


class MalformedError(ValueError):
    """It isn't a signature that MLflow could have written; the text says what about it, for people."""


def cut(text: str, limit: int = SHOWN) -> str:
    """`text`, of bearable length."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def quoted(name: Name) -> str:
    """A name as findings show it: text in quotes, any other label as Python writes it."""
    return f'"{cut(name)}"' if isinstance(name, str) else cut(str(name))


def read_columns(items: Sequence[Any]) -> tuple[Column, ...]:
    """A schema's columns or tensors. MalformedError where MLflow would refuse them (`Schema`)."""
    if not items:
        raise MalformedError("there is no column in it")
    columns = tuple(_column(item, index) for index, item in enumerate(items))
    named = sum(column.name is not None for column in columns)
    tensors = sum(isinstance(column.type, Tensor) for column in columns)
    if named not in (0, len(columns)):
        raise MalformedError("only some of its columns have names")
    if tensors not in (0, len(columns)):
        raise MalformedError("it mixes columns and tensors")
    if not named and tensors > 1:
        raise MalformedError("several tensors have no name")
    if not named and not all(column.required for column in columns):
        raise MalformedError("a column without a name is optional")
    return columns


def read_parameters(items: Sequence[Any]) -> tuple[Parameter, ...]:
    """A schema's parameters. MalformedError where MLflow would refuse them (`ParamSchema`)."""
    parameters = tuple(_parameter(item, index) for index, item in enumerate(items))
    if len({parameter.name for parameter in parameters}) < len(parameters):
        raise MalformedError("a parameter is given twice")
    return parameters


def _column(item: Any, index: int) -> Column:
    what = f"column {index}"
    column = _mapping(item, what)
    name = _name(column.get("name"), what)
    if column.get("type") == "tensor":
        return Column(name, _tensor(column.get("tensor-spec"), what))
    read = _type(column, what)
    return Column(name, read, _required(column, isinstance(read, Scalar), named=name is not None))


def _name(value: Any, what: str, depth: int = 0) -> Name | None:
    """A label as pandas has it. MLflow writes whatever JSON can hold, and reads a tuple as a list."""
    match value:
        case None | str():
            return value
        case bool():
            return Label("boolean", value)
        case int() | float():
            # each NaN is the same object, so that labels that hold one are equal
            return Label("number", value if value == value else math.nan)
        case list() | tuple() if depth < MAX_DEPTH:
            return Label("tuple", tuple(_name(part, what, depth + 1) for part in value))
    raise MalformedError(f"the name of {what} is no label")


def _required(column: Mapping[str, Any], scalar: bool, named: bool) -> bool:
    if column.get("optional") is True:  # written by MLflow before 2.9
        return False
    # MLflow's ColSpec makes None of what isn't said of a nested type. For its enforcement that is no, and
    # columns without names are always required
    said = column.get("required", True if scalar else None)
    return not named if said is None else bool(said)


def _tensor(item: Any, what: str) -> Tensor:
    spec = _mapping(item, f"the tensor-spec of {what}")
    dtype, shape = spec.get("dtype"), spec.get("shape")
    if not isinstance(dtype, str) or len(dtype) > MAX_NAME:
        raise MalformedError(f"{what} has no dtype")
    if not isinstance(shape, list | tuple) or any(n.__class__ is not int or n < -1 for n in shape):
        raise MalformedError(f"{what} has no shape")
    return Tensor(dtype, tuple(shape))


def _type(item: Mapping[str, Any], what: str, depth: int = 0) -> Type:
    if depth > MAX_DEPTH:
        raise MalformedError(f"{what} has more than {MAX_DEPTH} levels")
    match item.get("type"):
        case "any":
            return AnyType()
        case "sparkml_vector":
            return Array(Scalar("double"), vector=True)
        case "array":
            return Array(_type(_mapping(item.get("items"), f"the items of {what}"), what, depth + 1))
        case "map":
            return Map(_type(_mapping(item.get("values"), f"the values of {what}"), what, depth + 1))
        case "object":
            inner = _mapping(item.get("properties"), f"the properties of {what}")
            if not inner:
                raise MalformedError(f"{what} is an object without properties")
            return Object({name: _property(value, what, depth) for name, value in inner.items()})
        case str(name) if 0 < len(name) <= MAX_NAME:
            return Scalar(name)
    raise MalformedError(f"{what} has no type")


def _property(item: Any, what: str, depth: int) -> Property:
    inner = _mapping(item, f"a property of {what}")
    return Property(_type(inner, what, depth + 1), bool(inner.get("required", True)))


def _parameter(item: Any, index: int) -> Parameter:
    what = f"parameter {index}"
    parameter = _mapping(item, what)
    name, shape = parameter.get("name"), parameter.get("shape")
    if not isinstance(name, str):
        raise MalformedError(f"{what} has no name")
    if shape not in (None, [-1], (-1,)):
        raise MalformedError(f"{what} is neither one value nor a list")
    if "default" not in parameter:
        raise MalformedError(f"{what} has no default")
    # MLflow 2.6 wrote `dtype`
    read = _type({**parameter, "type": parameter.get("type") or parameter.get("dtype")}, what)
    if not isinstance(read, Scalar | Object):
        raise MalformedError(f"{what} is neither a value nor an object")
    return Parameter(name, read, parameter["default"], shape is not None)


def _mapping(item: Any, what: str) -> Mapping[str, Any]:
    if not isinstance(item, Mapping):
        raise MalformedError(f"{what} is no mapping")
    return item
