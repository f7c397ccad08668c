"""What differs between two schemas, as sentences for people. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from .columns import Column, Name, Tensor, cut, quoted

LONGEST_PATH = 200
"""How much of the way into a type is shown; its end is kept."""


class Finding(NamedTuple):
    """What differs, as a sentence, and whether it breaks a caller."""

    text: str
    breaks: bool


def form(columns: Sequence[Column]) -> str:
    """What sort of schema it is: MLflow never mixes them in one."""
    named = columns[0].name is not None
    if isinstance(columns[0].type, Tensor):
        return "named tensors" if named else "unnamed tensor"
    return "named columns" if named else "unnamed columns"


def at(label: str, path: str) -> str:
    """`input "customer"` and `.age` as `input "customer.age"`."""
    shown = path if len(path) <= LONGEST_PATH else "…" + path[1 - LONGEST_PATH :]
    return f'{label[:-1]}{shown}"' if label.endswith('"') else label + shown


def below(path: str, name: str) -> str:
    """The way to a property."""
    return f"{path}.{cut(name)}"


def labelled(what: str, key: Name | int) -> str:
    """A column, by its name or, without one, by its position, which MLflow counts from zero."""
    return f"{what} {key if isinstance(key, int) else quoted(key)}"


def gone(label: str, type_: object, *, dropped: bool = False) -> Finding:
    """Not declared any more, which breaks whoever sends or reads it. `dropped`: MLflow takes the call all the
    same, with a warning in its log, and throws this part of it away."""
    return Finding(f"{label} ({cut(str(type_))}) is gone{': MLflow drops it' if dropped else ''}", True)


def added_input(label: str, type_: object, *, required: bool) -> Finding:
    """Not declared before."""
    return Finding(
        f"{'required' if required else 'optional'} {label} ({cut(str(type_))}) was added", breaks=required
    )


def retyped(label: str, before: object, after: object, *, breaks: bool) -> Finding:
    """Declared under another type."""
    return Finding(f"{label} changed from {cut(str(before))} to {cut(str(after))}", breaks)
