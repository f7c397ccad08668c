"""The budget of templates, their values' types, and the error of a template. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..yaml.nodes import MAX_NUMBER
from ..yaml.report import guess

MAX_TEXT = 1_000_000
"""The longest text of an expression, in characters."""
MAX_LEVELS = 64
"""How deep a value may be nested."""
STEPS = 500_000
"""The budget of all templates of a stack together: under half a second."""
CHARACTERS = 8
"""How many characters count as one step."""


class TemplateError(Exception):
    """A template can't be rendered. `line` counts from one within the template's text."""

    def __init__(self, detail: str, hint: str = "", *, code: str = "template-error", line: int = 0) -> None:
        super().__init__(detail)
        self.code, self.detail, self.hint, self.line = code, detail, hint, line


def look_up(value: Any, key: Any) -> Any:
    """The item of a mapping by its key, or of a list or a text by its index. TemplateError without one:
    attributes of Python's objects don't count."""
    if isinstance(value, Mapping) and isinstance(key, str):
        if key in value:
            return value[key]
        raise TemplateError(f"There is no `{key}` here.", guess(key, value), code="undefined-name")
    if isinstance(value, list | str) and isinstance(key, int):
        if -len(value) <= key < len(value):
            return value[key]
        raise TemplateError(f"There is no item {key} here.", code="undefined-name")
    raise TemplateError(f"A value without items has no `{key}`.", "methods are not supported")


Charge = Callable[[int], None]
"""Charges the cost of an operation; raises TemplateError if the budget is spent."""


class Budget:
    """The remaining steps for all templates of a stack: evaluated nodes, iterated items, and characters."""

    def __init__(self, steps: int = STEPS) -> None:
        self._steps = self._left = steps

    @property
    def spent(self) -> bool:
        """Whether the budget is spent. The error is reported once."""
        return self._left < 0

    def allow(self, steps: int) -> None:
        """Add steps, for a larger input."""
        self._steps += steps
        self._left += steps

    def charge(self, cost: int) -> None:
        """Subtract `cost`. TemplateError if nothing is left."""
        self._left -= cost
        if self._left < 0:
            detail = f"The stack's templates take more than {self._steps:,} steps."
            raise TemplateError(detail, "use smaller loops")


def text_of(value: Any) -> str:
    """A value inside a text, as in YAML. TemplateError for a value without such a form."""
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case int() | float():
            return str(value)
        case None:
            raise TemplateError("A null value can't be part of a text.")
    raise TemplateError("A list or a mapping can't be part of a text.", "use `| join(', ')` or `| tojson`")


def need_text(value: Any) -> str:
    """The value, which must be text."""
    if not isinstance(value, str):
        raise TemplateError("It requires text.", "convert the value to text with `| string`")
    return value


def need_number(value: Any) -> int | float:
    """The value, which must be a number within 64 bits."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TemplateError("It requires a number.", "convert text to a number with `| int` or `| float`")
    return value


def need_items(value: Any) -> list[Any]:
    """The items of a list, or the keys of a mapping."""
    if not isinstance(value, list | Mapping):
        raise TemplateError("It requires a list.")
    return list(value)


def check_number(value: Any) -> Any:
    """The value, which must be within 64 bits where it is a number."""
    if isinstance(value, int | float) and not -MAX_NUMBER < value < MAX_NUMBER:
        raise TemplateError("The number is too large.")
    return value


def weigh(value: Any, charge: Charge, levels: int = 0) -> None:
    """Charge for reading a value whole, step by step: a value that contains itself twice never ends."""
    if isinstance(value, str):
        charge(1 + len(value) // CHARACTERS)
        return
    charge(1)
    if not isinstance(value, Mapping | list):
        return
    if levels >= MAX_LEVELS:
        raise TemplateError(f"A value has more than {MAX_LEVELS} levels.")
    if isinstance(value, Mapping):
        charge(sum(1 + len(key) // CHARACTERS for key in value))
    for inner in value.values() if isinstance(value, Mapping) else value:
        weigh(inner, charge, levels + 1)


def charge_text(length: int, charge: Charge) -> None:
    """Refuse a text of this length before it is made, or charge for it."""
    if length > MAX_TEXT:
        raise TemplateError(f"The text would have more than {MAX_TEXT:,} characters.")
    charge(length // CHARACTERS)
