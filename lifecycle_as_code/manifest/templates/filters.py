"""The filters and tests of templates: Jinja's own if they are harmless, others if Jinja's results are
unbounded or not in YAML's form. Imports Jinja. Pure.

Filters that hide an undefined name (`default`, `map(attribute=…)`, `groupby`) or make large values from small
ones (`center`, `indent`, `format`) are excluded, and no filter takes the name of an attribute.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, cast

from jinja2 import pass_environment
from jinja2.filters import FILTERS as JINJA_FILTERS
from jinja2.tests import TESTS as JINJA_TESTS

from .budget import TemplateError, charge_text, need_items, need_number, need_text, text_of

if TYPE_CHECKING:
    from .sandbox import Sandbox


def list_pairs(value: Any) -> list[list[Any]]:
    """The keys of a mapping with their values."""
    if not isinstance(value, Mapping):
        raise TemplateError("It requires a mapping.")
    return [[key, item] for key, item in value.items()]


@pass_environment
def _replace(sandbox: Sandbox, text: str, old: Any, new: Any) -> str:
    old, new = need_text(old), need_text(new)
    count = text.count(old) if old else len(text) + 1
    charge_text(len(text) + count * max(0, len(new) - len(old)), sandbox.charge)
    return text.replace(old, new)


@pass_environment
def _join(sandbox: Sandbox, items: list[Any], between: Any = "") -> str:
    texts = [text_of(item) for item in items]
    charge_text(sum(map(len, texts)) + len(texts) * len(need_text(between)), sandbox.charge)
    return str(between).join(texts)


@pass_environment
def _write_json(sandbox: Sandbox, value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, sort_keys=True)
    charge_text(len(text), sandbox.charge)
    return text


def _read_integer(value: Any) -> int:
    # Python refuses thousands of digits with an error of its own
    if isinstance(value, str) and len(value) > 40:
        raise TemplateError("The number is too large.")
    return int(value if isinstance(value, str) else need_number(value))


def _need_several(value: Any) -> str | list[Any]:
    return value if isinstance(value, str) else need_items(value)


_HARMLESS: Final = (
    "abs capitalize count first last length list lower max min reverse round sort sum trim unique upper"
)
FILTERS: Final[Mapping[str, Callable[..., Any]]] = {
    **{name: JINJA_FILTERS[name] for name in _HARMLESS.split()},
    "float": lambda value: float(value if isinstance(value, str) else need_number(value)),
    "int": _read_integer,
    "items": list_pairs,
    "join": _join,
    "replace": _replace,
    "string": text_of,
    "tojson": _write_json,
}

_HARMLESS_TESTS: Final = "boolean even false float integer mapping none number odd sequence string true"
TESTS: Final[Mapping[str, Callable[..., Any]]] = {
    name: cast(Any, JINJA_TESTS[name]) for name in _HARMLESS_TESTS.split()
}

NEEDS: Final[Mapping[str, Callable[[Any], Any]]] = {
    **dict.fromkeys(("capitalize", "lower", "replace", "trim", "upper"), need_text),
    # to Jinja, text is even or odd once it is formatted with 2
    **dict.fromkeys(("abs", "even", "odd"), need_number),
    **dict.fromkeys(("join", "max", "min", "sort", "sum", "unique"), need_items),
    **dict.fromkeys(("count", "first", "last", "length", "list", "reverse"), _need_several),
    # rounding a whole number to minus a billion digits takes minutes
    "round": lambda value: float(need_number(value)),
}
"""The check of a filter's or test's operand: it returns the value, or refuses its type."""

ARGUMENTS: Final[Mapping[str, int]] = {"join": 1, "replace": 2, "round": 1}
"""The most arguments of a filter; zero for the others."""
