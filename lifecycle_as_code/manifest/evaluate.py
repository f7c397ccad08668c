"""Templates as Jinja parses them, rendered by a small evaluator of our own over plain data.

Jinja's sandbox keeps a template away from Python's insides but not from all of the CPU and memory. So
nothing is compiled here: the syntax tree is walked, with a budget (see `expressions`). Supported are
`{{ … }}`, `if`, `for`, `set`, `raw` and comments, with Jinja's meaning. Not supported, with an error that
says so: macros, blocks, includes and imports, methods, `**`, recursive loops, and filters and tests that
aren't in `filters`. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

from jinja2 import Environment, TemplateSyntaxError, nodes
from jinja2.lexer import Token, TokenStream
from jinja2.parser import Parser

from .expressions import Evaluator, unsupported
from .filters import CHARACTERS, MAX_TEXT, Charge, TemplateError, need_items, text_of

_SYNTAX: Final = Environment(keep_trailing_newline=True, trim_blocks=True, lstrip_blocks=True)
_TEMPLATE, _TOKEN = 100, 10
"""What it costs to parse: each template, and each word and sign in it."""
_GIVEN: Final = frozenset({"var", "env", "environment"})


class Piece(NamedTuple):
    """Some output, and the line of the template (from one) that it comes from; `copied`: word for word."""

    line: int
    text: str
    copied: bool


@contextmanager
def _not_too_deep() -> Iterator[None]:
    try:
        yield
    except RecursionError:
        raise TemplateError("It is nested too deeply.", line=1) from None


class Template:
    """A parsed template. TemplateError where it isn't one, or uses what isn't supported."""

    def __init__(self, text: str, charge: Charge) -> None:
        """`charge` takes what parsing costs, and later what rendering does."""
        if len(text) > MAX_TEXT:
            raise TemplateError(f"It has more than {MAX_TEXT:,} characters.", line=1)
        self._charge = charge
        charge(_TEMPLATE)
        try:
            self._tree = _parse(text, charge)
        except TemplateSyntaxError as error:
            raise TemplateError(
                _sentence(error.message or "It isn't a template."), line=error.lineno
            ) from None
        except (RecursionError, ValueError):
            raise TemplateError("It is nested too deeply, or holds too large a number.", line=1) from None

    @property
    def lone(self) -> nodes.Expr | None:
        """The expression, where the text is exactly one `{{ … }}`."""
        match self._tree.body:
            case [nodes.Output(nodes=[expression])] if not isinstance(expression, nodes.TemplateData):
                return expression
        return None

    def names(self) -> Iterator[tuple[str, str | None, int]]:
        """The given names that it uses, each with the attribute asked of it, if any, and its line."""
        inner: set[int] = set()
        with _not_too_deep():
            for node in self._tree.find_all(nodes.Getattr):
                if isinstance(node.node, nodes.Name) and node.node.name in _GIVEN:
                    inner.add(id(node.node))
                    yield node.node.name, node.attr, node.lineno
            for name in self._tree.find_all(nodes.Name):
                if name.name in _GIVEN and name.ctx == "load" and id(name) not in inner:
                    yield name.name, None, name.lineno

    def value(self, given: Mapping[str, Any]) -> Any:
        """What it gives: a lone expression's own value, otherwise text."""
        run = _Run(given, self._charge)
        with _not_too_deep():
            if self.lone is not None:
                return run.evaluate(self.lone)
            return "".join(text for _, text, _ in run.pieces(self._tree.body))

    def pieces(self, given: Mapping[str, Any]) -> Iterator[Piece]:
        """Its output, piece by piece."""
        with _not_too_deep():
            yield from _Run(given, self._charge).pieces(self._tree.body)


def _parse(text: str, charge: Charge) -> nodes.Template:
    """Jinja's parser, charged for each token before it sees it."""
    parser = Parser(_SYNTAX, text)

    def charged(tokens: TokenStream) -> Iterator[Token]:
        for token in tokens:
            try:
                charge(_TOKEN)
            except TemplateError as error:
                error.line = token.lineno
                raise
            yield token

    parser.stream = TokenStream(charged(parser.stream), None, None)
    return parser.parse()


class _Run(Evaluator):
    """One rendering: statements around the expressions."""

    def pieces(self, body: list[nodes.Node]) -> Iterator[Piece]:
        for statement in body:
            self.charge(1)
            match statement:
                case nodes.Output():
                    for part in statement.nodes:
                        text = part.data if isinstance(part, nodes.TemplateData) else self._text(part)
                        self.charge(1 + len(text) // CHARACTERS + text.count("\n"))
                        yield Piece(part.lineno, text, isinstance(part, nodes.TemplateData))
                case nodes.If():
                    yield from self.pieces(self._branch(statement))
                case nodes.For():
                    yield from self._loop(statement)
                case nodes.Assign():
                    self.assign(statement.target, self.evaluate(statement.node))
                case _:
                    raise unsupported(statement)

    def _text(self, node: nodes.Expr) -> str:
        return str(self.at(node, lambda: text_of(self.evaluate(node))))

    def _branch(self, statement: nodes.If) -> list[nodes.Node]:
        for case in (statement, *statement.elif_):
            if self.evaluate(case.test):
                return case.body
        return statement.else_

    def _loop(self, statement: nodes.For) -> Iterator[Piece]:
        if statement.recursive:
            raise unsupported(statement)
        items: list[Any] = self.at(statement, lambda: need_items(self.evaluate(statement.iter)))
        self.charge(len(items))
        if statement.test is not None:
            items = [item for item in items if self._passes(statement, item)]
        if not items:
            yield from self.pieces(statement.else_)
        count = len(items)
        for index, item in enumerate(items):
            loop = {
                "index": index + 1,
                "index0": index,
                "revindex": count - index,
                "revindex0": count - index - 1,
                "first": index == 0,
                "last": index == count - 1,
                "length": count,
            }
            self.scopes.append({"loop": loop})
            self.assign(statement.target, item)
            yield from self.pieces(statement.body)
            self.scopes.pop()

    def _passes(self, statement: nodes.For, item: Any) -> bool:
        self.scopes.append({})
        self.assign(statement.target, item)
        passes = statement.test is None or bool(self.evaluate(statement.test))
        self.scopes.pop()
        return passes


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."
