"""The differences between two schemas, as sentences for people. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from .columns import Column, Name, Tensor, cut, quote

LONGEST_PATH = 200
"""The longest path into a type; a longer one loses its beginning."""


class Finding(NamedTuple):
    """A difference as a sentence, and whether it breaks a caller."""

    text: str
    breaks: bool


def describe_form(columns: Sequence[Column]) -> str:
    """The type of a schema: MLflow never mixes them in one."""
    has_names = columns[0].name is not None
    if isinstance(columns[0].type, Tensor):
        return "named tensors" if has_names else "unnamed tensor"
    return "named columns" if has_names else "unnamed columns"


def join_path(label: str, path: str) -> str:
    """`input "customer"` and `.age` as `input "customer.age"`."""
    end = path if len(path) <= LONGEST_PATH else "…" + path[1 - LONGEST_PATH :]
    return f'{label[:-1]}{end}"' if label.endswith('"') else label + end


def add_property(path: str, name: str) -> str:
    """The path of a property."""
    return f"{path}.{cut(name)}"


def name_column(what: str, key: Name | int) -> str:
    """A column by its name or, without one, by its position, which MLflow counts from zero."""
    return f"{what} {key if isinstance(key, int) else quote(key)}"


def report_removal(label: str, type_: object, *, is_dropped: bool = False) -> Finding:
    """A removed column, which breaks callers that send or read it. `is_dropped`: MLflow accepts the call with
    a warning in its log, but ignores this part."""
    return Finding(f"{label} ({cut(str(type_))}) is gone{': MLflow drops it' if is_dropped else ''}", True)


def report_new_input(label: str, type_: object, *, required: bool) -> Finding:
    """A new input."""
    return Finding(
        f"{'required' if required else 'optional'} {label} ({cut(str(type_))}) was added", breaks=required
    )


def report_type(label: str, before: object, after: object, *, breaks: bool) -> Finding:
    """A changed type."""
    return Finding(f"{label} changed from {cut(str(before))} to {cut(str(after))}", breaks)
