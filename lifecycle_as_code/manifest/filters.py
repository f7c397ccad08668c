"""The filters and tests of templates: few, strict, and each charged for the work that it does. Pure.

Named as Jinja's own. What gets round an undefined name (`default`, `map(attribute=…)`, `groupby`) or makes
large things from small ones (`center`, `indent`, `format`) isn't among them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from .yaml.nodes import MAX_NUMBER
from .yaml.report import guess

MAX_TEXT = 1_000_000
"""The longest text that an expression may make, in characters."""
MAX_LEVELS = 64
"""How deep a value may be nested."""
STEPS = 500_000
"""What all templates of a stack may cost together: under half a second."""
CHARACTERS = 8
"""How many characters are read or made for one step."""


class TemplateError(Exception):
    """Why a template can't be filled in. `line` counts from one within the template's text."""

    def __init__(self, detail: str, hint: str = "", *, code: str = "template-error", line: int = 0) -> None:
        super().__init__(detail)
        self.code, self.detail, self.hint, self.line = code, detail, hint, line


def no_key(key: str, value: Mapping[str, Any]) -> TemplateError:
    """The error for a key that a mapping lacks."""
    return TemplateError(f"There is no `{key}` here.", guess(key, value), code="undefined-name")


def no_part(key: object) -> TemplateError:
    """The error for a part asked of a value that is no mapping or list."""
    return TemplateError(f"`{key}` is asked of a value that has no parts.", "methods are not supported")


Charge = Callable[[int], None]
"""Takes what an operation costs; raises TemplateError when the budget is spent."""


def too_long() -> TemplateError:
    """The error for a text beyond `MAX_TEXT`."""
    return TemplateError(f"The text would have more than {MAX_TEXT:,} characters.")


class Budget:
    """The steps that are left, for all templates of a stack: nodes evaluated, items looped over, and a part
    of the characters read and made. Many small templates take as long as a large one."""

    def __init__(self, steps: int = STEPS) -> None:
        self._steps = self._left = steps

    @property
    def spent(self) -> bool:
        """Whether something asked for more than was left; that was told, and once is enough."""
        return self._left < 0

    def allow(self, steps: int) -> None:
        """Give more, for a larger input."""
        self._steps += steps
        self._left += steps

    def charge(self, cost: int) -> None:
        """Take `cost` away. TemplateError when nothing is left."""
        self._left -= cost
        if self._left < 0:
            raise TemplateError(
                f"The stack's templates take more than {self._steps:,} steps.", "loop over less"
            )


def text_of(value: Any) -> str:
    """A value inside a text, as YAML writes it. TemplateError for what has no such form."""
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case int() | float():
            return str(value)
        case None:
            raise TemplateError("A value that is nothing can't stand inside a text.")
    raise TemplateError("A list or a mapping can't stand inside a text.", "use `| join(', ')` or `| tojson`")


def need_text(value: Any) -> str:
    """The value, which must be text."""
    if not isinstance(value, str):
        raise TemplateError("It takes text.", "turn the value into text with `| string`")
    return value


def need_number(value: Any) -> int | float:
    """The value, which must be a number within 64 bits."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TemplateError("It takes a number.", "turn text into a number with `| int` or `| float`")
    return value


def need_items(value: Any) -> list[Any]:
    """The items of a list, or the keys of a mapping."""
    if not isinstance(value, list | Mapping):
        raise TemplateError("It takes a list.")
    return list(value)


def bounded(value: Any) -> Any:
    """The result of arithmetic, refused beyond 64 bits."""
    if isinstance(value, int | float) and not -MAX_NUMBER < value < MAX_NUMBER:
        raise TemplateError("The number is too large.")
    return value


def weigh(value: Any, charge: Charge, levels: int = 0) -> None:
    """Charge for reading a value whole. Step by step: what holds itself twice at each level never ends."""
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


def limited(length: int, charge: Charge) -> None:
    """Refuse a text of this length before it is made, or charge for it."""
    if length > MAX_TEXT:
        raise too_long()
    charge(length // CHARACTERS)


def _replace(charge: Charge, value: Any, old: Any, new: Any) -> str:
    text, old, new = need_text(value), need_text(old), need_text(new)
    found = text.count(old) if old else len(text) + 1
    limited(len(text) + found * max(0, len(new) - len(old)), charge)
    return text.replace(old, new)


def _join(charge: Charge, value: Any, between: str = "") -> str:
    texts = [text_of(item) for item in need_items(value)]
    limited(sum(map(len, texts)) + len(texts) * len(need_text(between)), charge)
    return between.join(texts)


def _integer(_: Charge, value: Any) -> int:
    # Python refuses thousands of digits with an error of its own
    if isinstance(value, str) and len(value) > 40:
        raise TemplateError("The number is too large.")
    return int(bounded(int(value if isinstance(value, str) else need_number(value))))


def _float(_: Charge, value: Any) -> float:
    return float(bounded(float(value) if isinstance(value, str) else float(need_number(value))))


def _round(_: Charge, value: Any, digits: int = 0) -> float:
    return float(round(float(need_number(value)), digits))


def _items(charge: Charge, value: Any) -> list[list[Any]]:
    if not isinstance(value, Mapping):
        raise TemplateError("It takes a mapping.")
    charge(2 * len(value))
    return [[key, item] for key, item in value.items()]


def _list(charge: Charge, value: Any) -> list[Any]:
    charge(_size(charge, value))
    return list(value)


def _to_json(charge: Charge, value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, sort_keys=True)
    limited(len(text), charge)
    return text


def _unique(_: Charge, value: Any) -> list[Any]:
    return list(dict.fromkeys(need_items(value)))


def _at(index: int) -> Callable[[Charge, Any], Any]:
    def pick(_: Charge, value: Any) -> Any:
        items = value if isinstance(value, str) else need_items(value)
        if not items:
            raise TemplateError("It takes what isn't empty.")
        return items[index]

    return pick


def _size(_: Charge, value: Any) -> int:
    return len(value if isinstance(value, str) else need_items(value))


def _of_text(change: Callable[[str], str]) -> Callable[[Charge, Any], str]:
    return lambda _, value: change(need_text(value))


def _of_items(change: Callable[[Iterable[Any]], Any]) -> Callable[[Charge, Any], Any]:
    return lambda _, value: change(need_items(value))


FILTERS: Final[Mapping[str, Callable[..., Any]]] = {
    "abs": lambda _, value: abs(need_number(value)),
    "capitalize": _of_text(str.capitalize),
    "count": _size,
    "first": _at(0),
    "float": _float,
    "int": _integer,
    "items": _items,
    "join": _join,
    "last": _at(-1),
    "length": _size,
    "list": _list,
    "lower": _of_text(str.lower),
    "max": _of_items(max),
    "min": _of_items(min),
    "replace": _replace,
    "reverse": lambda _, value: value[::-1] if isinstance(value, str) else need_items(value)[::-1],
    "round": _round,
    "sort": _of_items(sorted),
    "string": lambda _, value: text_of(value),
    "sum": lambda _, value: bounded(sum(need_number(item) for item in need_items(value))),
    "tojson": _to_json,
    "trim": _of_text(str.strip),
    "unique": _unique,
    "upper": _of_text(str.upper),
}

TESTS: Final[Mapping[str, Callable[[Any], bool]]] = {
    "boolean": lambda value: isinstance(value, bool),
    "even": lambda value: need_number(value) % 2 == 0,
    "false": lambda value: value is False,
    "float": lambda value: isinstance(value, float),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "mapping": lambda value: isinstance(value, Mapping),
    "none": lambda value: value is None,
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "odd": lambda value: need_number(value) % 2 == 1,
    "sequence": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "true": lambda value: value is True,
}
