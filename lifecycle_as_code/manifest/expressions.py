"""Expressions of templates: a value from a piece of Jinja's syntax tree, and nothing else.

There is no attribute of a Python object to reach, since `a.b` looks up a key and the only callable is
`range`. Every node costs a step, and each operation is charged for what it reads or makes, before it makes
it: a template ends with an error once the budget is spent (see `filters`). Pure.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any, Final

from jinja2 import nodes

from .filters import (
    CHARACTERS,
    FILTERS,
    TESTS,
    Charge,
    TemplateError,
    bounded,
    limited,
    need_number,
    no_key,
    no_part,
    text_of,
    weigh,
)
from .yaml.report import guess
from .yaml.text import unstorable

MAX_RANGE = 100_000

_DICT_METHODS: Final = frozenset({"items", "keys", "values"})

_ARITHMETIC: Final[Mapping[type[nodes.Expr], Callable[[Any, Any], Any]]] = {
    nodes.Sub: operator.sub,
    nodes.Mul: operator.mul,
    nodes.Div: operator.truediv,
    nodes.FloorDiv: operator.floordiv,
    nodes.Mod: operator.mod,
}
_COMPARISONS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "lt": operator.lt,
    "lteq": operator.le,
    "gt": operator.gt,
    "gteq": operator.ge,
    "in": lambda a, b: a in b,
    "notin": lambda a, b: a not in b,
}


class Evaluator:
    """One evaluation: the names in sight, innermost last, and what takes its cost."""

    def __init__(self, given: Mapping[str, Any], charge: Charge) -> None:
        self.scopes: list[dict[str, Any]] = [dict(given)]
        self.charge = charge

    def assign(self, target: nodes.Node, value: Any) -> None:
        """Bind a name, or several to the items of a list, in the innermost scope."""
        if isinstance(target, nodes.Name):
            self.scopes[-1][target.name] = value
            return
        if not isinstance(target, nodes.Tuple):
            raise unsupported(target)
        if not isinstance(value, list) or len(value) != len(target.items):
            raise TemplateError(f"{len(target.items)} values are wanted here.", line=target.lineno)
        for name, item in zip(target.items, value, strict=True):
            self.assign(name, item)

    def at(self, node: nodes.Node, work: Callable[[], Any]) -> Any:
        """Do `work`; what goes wrong in it is told with this node's line."""
        try:
            return work()
        except TemplateError as error:
            error.line = error.line or node.lineno
            raise
        except (TypeError, ValueError, ArithmeticError):
            raise TemplateError("The values don't fit what is done with them.", line=node.lineno) from None

    def evaluate(self, node: nodes.Node) -> Any:
        """The value of an expression. TemplateError, with its line, where it has none."""
        self.charge(1)
        return self.at(node, lambda: self._evaluate(node))

    def _evaluate(self, node: nodes.Node) -> Any:
        match node:
            case nodes.Const():
                return _constant(node.value)
            case nodes.TemplateData():
                return node.data
            case nodes.Name():
                return self._name(node.name)
            case nodes.Getattr():
                return self._key(self.evaluate(node.node), node.attr)
            case nodes.Getitem(arg=nodes.Slice()):
                return self._slice(node)
            case nodes.Getitem():
                return self._key(self.evaluate(node.node), self.evaluate(node.arg))
            case nodes.List() | nodes.Tuple():
                return [self.evaluate(item) for item in node.items]
            case nodes.Dict():
                return {text_of(self.evaluate(p.key)): self.evaluate(p.value) for p in node.items}
            case nodes.Concat():
                return self._concat([text_of(self.evaluate(part)) for part in node.nodes])
            case nodes.And():
                return self.evaluate(node.left) and self.evaluate(node.right)
            case nodes.Or():
                return self.evaluate(node.left) or self.evaluate(node.right)
            case nodes.Not():
                return not self.evaluate(node.node)
            case nodes.Neg():
                return -need_number(self.evaluate(node.node))
            case nodes.Pos():
                return need_number(self.evaluate(node.node))
            case nodes.CondExpr():
                return self._choose(node)
            case nodes.Compare():
                return self._compare(node)
            case nodes.Add():
                return self._add(self.evaluate(node.left), self.evaluate(node.right))
            case nodes.BinExpr() if type(node) in _ARITHMETIC:
                left, right = need_number(self.evaluate(node.left)), need_number(self.evaluate(node.right))
                return bounded(_ARITHMETIC[type(node)](left, right))
            case nodes.Filter() | nodes.Test():
                return self._apply(node)
            case nodes.Call():
                return self._call(node)
        raise unsupported(node)

    def _name(self, name: str) -> Any:
        for scope in reversed(self.scopes):
            if name in scope:
                return scope[name]
        known = {known for scope in self.scopes for known in scope}
        raise TemplateError(f"`{name}` is not defined here.", guess(name, known), code="undefined-name")

    def _key(self, value: Any, key: Any) -> Any:
        if isinstance(value, Mapping) and isinstance(key, str):
            if key in value:
                return value[key]
            raise no_key(key, value)
        if isinstance(value, list | str) and isinstance(key, int):
            if -len(value) <= key < len(value):
                return value[key]
            raise TemplateError(f"There is no item {key} here.", code="undefined-name")
        raise no_part(key)

    def _slice(self, node: nodes.Getitem) -> Any:
        value = self.evaluate(node.node)
        if not isinstance(value, str | list):
            raise TemplateError("Only a text or a list can be sliced.")
        self.charge(len(value) // CHARACTERS if isinstance(value, str) else len(value))
        part: Any = node.arg
        bounds = [None if b is None else self.evaluate(b) for b in (part.start, part.stop, part.step)]
        return value[slice(*bounds)]

    def _concat(self, texts: list[str]) -> str:
        limited(sum(map(len, texts)), self.charge)
        return "".join(texts)

    def _add(self, left: Any, right: Any) -> Any:
        if isinstance(left, str) and isinstance(right, str):
            return self._concat([left, right])
        if isinstance(left, list) and isinstance(right, list):
            self.charge(len(left) + len(right))
            return left + right
        return bounded(need_number(left) + need_number(right))

    def _choose(self, node: nodes.CondExpr) -> Any:
        if self.evaluate(node.test):
            return self.evaluate(node.expr1)
        if node.expr2 is None:
            raise TemplateError("The condition doesn't hold, and there is no `else`.", "add an `else`")
        return self.evaluate(node.expr2)

    def _compare(self, node: nodes.Compare) -> bool:
        left = self.evaluate(node.expr)
        for operand in node.ops:
            right = self.evaluate(operand.expr)
            weigh(left, self.charge)
            weigh(right, self.charge)
            if not _COMPARISONS[operand.op](left, right):
                return False
            left = right
        return True

    def _apply(self, node: nodes.Filter | nodes.Test) -> Any:
        is_filter = isinstance(node, nodes.Filter)
        known: Mapping[str, Callable[..., Any]] = FILTERS if is_filter else TESTS
        if node.name not in known or node.node is None:
            sort = "filter" if is_filter else "test"
            raise TemplateError(f"There is no {sort} `{node.name}` here.", guess(node.name, known))
        value = self.evaluate(node.node)
        weigh(value, self.charge)
        arguments = self._arguments(node)
        return known[node.name](*([self.charge] if is_filter else []), value, *arguments)

    def _call(self, node: nodes.Call) -> Any:
        match node.node:
            case nodes.Name(name="range"):
                numbers = range(*self._arguments(node))
                if len(numbers) > MAX_RANGE:
                    raise TemplateError(f"A range may hold {MAX_RANGE:,} numbers.")
                self.charge(len(numbers))
                return list(numbers)
            case nodes.Getattr(attr=method) if method in _DICT_METHODS and not node.args:
                held = self.evaluate(node.node.node)
                if isinstance(held, Mapping):
                    self.charge(2 * len(held))
                    pairs: list[Any] = [[key, item] for key, item in held.items()]
                    return pairs if method == "items" else [pair[method == "values"] for pair in pairs]
        raise TemplateError("Only `range(…)` can be called.", "use a filter: `{{ var.team | upper }}`")

    def _arguments(self, node: nodes.Filter | nodes.Test | nodes.Call) -> list[Any]:
        if node.kwargs or node.dyn_args or node.dyn_kwargs:
            raise TemplateError("Named arguments are not supported.")
        return [self.evaluate(argument) for argument in node.args]


def _constant(value: Any) -> Any:
    """A literal. Jinja reads escapes such as `\\ud800`, and numbers of any length."""
    if isinstance(value, str) and (odd := unstorable(value)):
        raise TemplateError(f"It holds {odd}.", "leave it out", code="bad-character")
    return bounded(value)


def unsupported(node: nodes.Node) -> TemplateError:
    """The error for a part of Jinja that isn't offered here."""
    return TemplateError(f"`{type(node).__name__.lower()}` is not supported here.", line=node.lineno)
