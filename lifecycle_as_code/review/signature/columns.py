"""Read the columns, tensors and parameters of a signature from MLmodel's JSON, in MLflow's format
(`mlflow.types.schema`). Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeAlias

from ...model.text import shorten

MAX_DEPTH: Final = 32
"""The most levels of arrays, objects and maps in a type."""
MAX_NAME: Final = 100
"""The longest name of a type."""
MAX_TEXT: Final = 80
"""The longest name, type or default in a finding, in characters."""
NOT_FINITE: Final = "not finite"
"""The key of a NaN or an infinity, for which JSON has no word: `{"not finite": "nan"}`."""


@dataclass(frozen=True, slots=True)
class Scalar:
    """One of MLflow's data types, such as `long`. Unknown names are allowed, too."""

    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class AnyType:
    """Any JSON value, including None: nothing is checked."""

    def __str__(self) -> str:
        return "any"


@dataclass(frozen=True, slots=True)
class Array:
    """A list. `vector`: a Spark ML vector, which MLflow enforces as an array of doubles."""

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
    """An n-dimensional array. `dtype`: NumPy's name; -1 in `shape` means any length."""

    dtype: str
    shape: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.dtype} tensor {self.shape}"


Type: TypeAlias = Scalar | AnyType | Array | Map | Object | Tensor


class Label(NamedTuple):
    """A column's name that isn't text: a number, a boolean, or a tuple of labels (pandas' MultiIndex). Two
    are equal if pandas treats them as the same label: 1 is 1.0, but not True; NaN is NaN."""

    kind: str
    value: bool | float | tuple[Name | None, ...]

    def __str__(self) -> str:
        if isinstance(self.value, tuple):
            return f"({', '.join(repr(part) if isinstance(part, str) else str(part) for part in self.value)})"
        return str(self.value)


Name: TypeAlias = str | Label


@dataclass(frozen=True, slots=True)
class Column:
    """A column or a tensor. `name` None: it is identified by its position."""

    name: Name | None
    type: Type
    required: bool = True


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of the prediction. `is_list`: it takes a list of such values."""

    name: str
    type: Type
    default: Any
    is_list: bool = False

    def __str__(self) -> str:
        return f"list of {self.type}" if self.is_list else str(self.type)


class MalformedError(ValueError):
    """MLflow couldn't have written this signature; the message is the reason."""


def cut(text: str) -> str:
    """`text`, shortened for a finding."""
    return shorten(text, MAX_TEXT)


def quote(name: Name) -> str:
    """A name in findings: text in quotes, any other label in Python's form."""
    return f'"{cut(name)}"' if isinstance(name, str) else cut(str(name))


def read_columns(items: Sequence[Any]) -> tuple[Column, ...]:
    """A schema's columns or tensors. MalformedError if MLflow would refuse them (`Schema`)."""
    if not items:
        raise MalformedError("it has no columns")
    columns = tuple(_column(item, index) for index, item in enumerate(items))
    names = sum(column.name is not None for column in columns)
    tensors = sum(isinstance(column.type, Tensor) for column in columns)
    if names not in (0, len(columns)):
        raise MalformedError("only some of its columns have names")
    if tensors not in (0, len(columns)):
        raise MalformedError("it mixes columns and tensors")
    if not names and tensors > 1:
        raise MalformedError("it has several tensors without names")
    if not names and not all(column.required for column in columns):
        raise MalformedError("a column without a name is optional")
    return columns


def read_parameters(items: Sequence[Any]) -> tuple[Parameter, ...]:
    """A schema's parameters. MalformedError if MLflow would refuse them (`ParamSchema`)."""
    parameters = tuple(_parameter(item, index) for index, item in enumerate(items))
    if len({parameter.name for parameter in parameters}) < len(parameters):
        raise MalformedError("it has a duplicate parameter")
    return parameters


def _column(item: Any, index: int) -> Column:
    what = f"column {index}"
    column = _mapping(item, what)
    name = _name(column.get("name"), what)
    if column.get("type") == "tensor":
        return Column(name, _tensor(column.get("tensor-spec"), what))
    read = _type(column, what)
    return Column(name, read, _is_required(column, isinstance(read, Scalar), has_name=name is not None))


def _name(value: Any, what: str, depth: int = 0) -> Name | None:
    """A pandas label. MLflow writes any JSON value, and reads a tuple as a list."""
    match value:
        case None | str():
            return value
        case bool():
            return Label("boolean", value)
        case int() | float():
            # each NaN is the same object, so that labels with one are equal
            return Label("number", value if value == value else math.nan)
        case {"not finite": "nan" | "inf" | "-inf" as text} if len(value) == 1:
            return _name(float(text), what, depth)
        case list() | tuple() if depth < MAX_DEPTH:
            return Label("tuple", tuple(_name(part, what, depth + 1) for part in value))
    raise MalformedError(f"the name of {what} is not a label")


def _is_required(column: Mapping[str, Any], scalar: bool, has_name: bool) -> bool:
    if column.get("optional") is True:  # MLflow before 2.9 wrote this
        return False
    # MLflow's ColSpec leaves None for a nested type without it. Its enforcement treats that as no, and
    # columns without names as always required
    required = column.get("required", True if scalar else None)
    return not has_name if required is None else bool(required)


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
        raise MalformedError(f"{what} is not a mapping")
    return item
