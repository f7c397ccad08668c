"""Dataclasses of plain parts from JSON, by their annotations. Pure.

For what a plan file holds beside its changes. Nothing is guessed: a field too many, one too few or one of
another type is a ValueError.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from ..model.diagnostics import Source
from ..model.spec import Address, Spec, parse_address

T = TypeVar("T")

_SCALARS = (str, int, float, bool)


def read(kind: type[T], data: Any, specs: Mapping[str, type[Spec]]) -> T:
    """`data` as a `kind`, a dataclass; `specs` say how addresses are read. ValueError where it isn't one."""
    made: T = _read(kind, data, specs)
    return made


@cache
def _hints(kind: type[Any]) -> dict[str, Any]:
    return get_type_hints(kind)


def _read(hint: Any, data: Any, specs: Mapping[str, type[Spec]]) -> Any:
    if hint is Any:
        return data
    if hint is Address:
        return _address(data, specs)
    if hint is Source:
        return Source(**{name: _read(of, data[name], specs) for name, of in _hints(Source).items()})
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        return _either(hint, data, specs)
    if origin is tuple:
        return _tuple(get_args(hint), data, specs)
    if origin is not None and issubclass(origin, Mapping):
        return _mapping(get_args(hint), data, specs)
    if is_dataclass(hint):
        return _dataclass(hint, data, specs)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return hint(data)
    if hint in _SCALARS and (type(data) is hint or (hint is float and type(data) is int)):
        return data
    raise ValueError(f"{type(data).__name__} for {hint}")


def _dataclass(hint: Any, data: Any, specs: Mapping[str, type[Spec]]) -> Any:
    hints = _hints(hint)
    if not isinstance(data, Mapping) or {*data} != {field.name for field in fields(hint)}:
        raise ValueError(hint.__name__)
    return hint(**{name: _read(hints[name], value, specs) for name, value in data.items()})


def _either(hint: Any, data: Any, specs: Mapping[str, type[Spec]]) -> Any:
    if data is None and type(None) in get_args(hint):
        return None
    for inner in get_args(hint):
        try:
            return _read(inner, data, specs)
        except (ValueError, TypeError, LookupError):
            continue
    raise ValueError(str(hint))


def _tuple(inner: tuple[Any, ...], data: Any, specs: Mapping[str, type[Spec]]) -> tuple[Any, ...]:
    if not isinstance(data, list):
        raise ValueError("a list is needed")
    each = (inner[0],) * len(data) if inner[1:] == (...,) else inner
    return tuple(_read(of, item, specs) for of, item in zip(each, data, strict=True))


def _mapping(inner: tuple[Any, ...], data: Any, specs: Mapping[str, type[Spec]]) -> Mapping[Any, Any]:
    if not isinstance(data, Mapping):
        raise ValueError("a mapping is needed")
    return {name: _read(inner[1], value, specs) for name, value in data.items()}


def _address(data: Any, specs: Mapping[str, type[Spec]]) -> Address:
    """A kind that manifests don't know (a user, a prompt) has a name of one part."""
    kind, dot, name = data.partition(".")
    if dot and name and kind not in specs:
        return Address(kind, (name,))
    return parse_address(data, specs)
