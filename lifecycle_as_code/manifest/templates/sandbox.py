"""Jinja's immutable sandbox, over plain data alone and with a budget.

Jinja's own keeps a template away from Python's insides but not from all of the CPU and memory. So the code
that is generated for a template asks the environment for each operation whose cost lies in its values, and
pays for all turns of a loop before the first. Nothing in a template reaches an attribute of a Python object,
and an undefined name is an error wherever it stands. Supported are `{{ … }}`, `if`, `for`, `set`, `raw` and
comments. Not supported, with an error that says so: macros, blocks, includes and imports, methods, `**`,
recursive loops, and filters and tests that aren't in `filters`. Pure.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import StringIO
from operator import itemgetter
from traceback import walk_tb
from typing import Any, Final, NamedTuple

from jinja2 import StrictUndefined, TemplateSyntaxError, nodes
from jinja2.compiler import CodeGenerator, Frame
from jinja2.lexer import Token, TokenStream
from jinja2.nodes import EvalContext
from jinja2.parser import Parser
from jinja2.runtime import LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import missing

from ..yaml.report import guess
from ..yaml.text import unstorable
from .budget import (
    CHARACTERS,
    MAX_TEXT,
    Charge,
    TemplateError,
    charge_text,
    check_number,
    look_up,
    need_items,
    need_number,
    text_of,
    weigh,
)
from .filters import ARGUMENTS, FILTERS, NEEDS, TESTS, list_pairs

MAX_RANGE: Final = 100_000
_TEMPLATE, _TOKEN, _LOOP = 100, 10, 4
"""What it costs to compile: each template; each word, sign and operation in it; each node of a loop."""
MAX_TEMPLATES: Final = 1_000
"""How many templates' code is kept: some kilobytes each."""
_FILE: Final = "<template>"
_OF_LOOPS: Final = frozenset({"index", "index0", "revindex", "revindex0", "first", "last", "length"})
_OF_MAPPINGS: Final = frozenset({"items", "keys", "values"})
_SUPPORTED: Final = frozenset(
    {
        *(nodes.Output, nodes.TemplateData, nodes.If, nodes.For, nodes.Assign),
        *(nodes.Const, nodes.Name, nodes.Tuple, nodes.List, nodes.Dict, nodes.Getattr, nodes.Getitem),
        *(nodes.And, nodes.Or, nodes.Not, nodes.Compare, nodes.Operand, nodes.CondExpr, nodes.Filter),
        *(nodes.Add, nodes.Sub, nodes.Mul, nodes.Div, nodes.FloorDiv, nodes.Mod, nodes.Neg, nodes.Pos),
        *(nodes.Concat, nodes.Test, nodes.Call),
    }
)


class Use(NamedTuple):
    """A name in a template, the attribute read from it, if any, and the line."""

    name: str
    attribute: str | None
    line: int


class NotDefinedError(TemplateError):
    """A name that isn't defined where it is used."""

    def __init__(self, name: str) -> None:
        super().__init__(f"`{name}` is not defined here.", code="undefined-name")
        self.name = name


class Absent(StrictUndefined):
    """An undefined name. Stricter than Jinja's `StrictUndefined`: creating it is already an error."""

    def __init__(self, hint: str | None = None, obj: Any = None, name: Any = None, exc: Any = None) -> None:
        raise NotDefinedError(name) if name else TemplateError(hint or "A value is undefined.")


class Sandbox(ImmutableSandboxedEnvironment):
    """The environment of all templates of a stack; it charges their costs."""

    intercepted_binops = frozenset(ImmutableSandboxedEnvironment.default_binop_table)
    intercepted_unops = frozenset(ImmutableSandboxedEnvironment.default_unop_table)

    def __init__(self, charge: Charge) -> None:
        layout = dict.fromkeys(("keep_trailing_newline", "trim_blocks", "lstrip_blocks"), True)
        super().__init__(undefined=Absent, optimized=False, **layout)
        self.globals, self.filters, self.tests = {}, dict(FILTERS), dict(TESTS)
        self.charge = charge
        self._templates: dict[tuple[Token, ...], Template] = {}

    def compile_text(self, text: str, check: Callable[[list[Use]], None]) -> Template:
        """A template. TemplateError where it is invalid, uses an unsupported feature, or `check` refuses a
        name, even in a branch that isn't taken."""
        if len(text) > MAX_TEXT:
            raise TemplateError(f"The template has more than {MAX_TEXT:,} characters.", line=1)
        self.charge(_TEMPLATE)
        try:
            tokens, literals = self._read_tokens(text)
            if tokens in self._templates:
                check(self._templates[tokens].uses)
            else:
                if len(self._templates) == MAX_TEMPLATES:
                    self._templates.clear()
                self._templates[tokens] = self._compile_tokens(tokens, check)
            self.charge(self._templates[tokens].size)
        except TemplateSyntaxError as error:
            message = (error.message or "Invalid template").rstrip(".")
            raise TemplateError(f"{message[:1].upper()}{message[1:]}.", line=error.lineno) from None
        except (RecursionError, ValueError, SyntaxError, MemoryError):
            detail = "The template is nested too deeply, or contains too large a number."
            raise TemplateError(detail, line=1) from None
        return self._templates[tokens]._replace(literals=literals)

    def _read_tokens(self, text: str) -> tuple[tuple[Token, ...], list[Any]]:
        """The words and signs of a template, each charged for before it is parsed, and its literals. Python
        code that looks a literal up replaces it: templates that differ only in literals share their code."""
        tokens: list[Token] = []
        literals: list[Any] = []
        for token in self.lexer.tokenize(text):
            line, sort, value = token
            try:
                self.charge(_TOKEN)
                if sort == "string" and (odd := unstorable(value)):
                    raise TemplateError(f"The text contains {odd}.", "remove it", code="bad-character")
                check_number(value)
            except TemplateError as error:
                error.line = line
                raise
            if sort == "string" and tokens and tokens[-1].type == sort:
                literals[-1] += value
            elif sort in ("data", "string", "integer", "float"):
                tokens.append(Token(line, sort, f"literals[{len(literals)}]"))
                literals.append(_Text(value) if sort == "data" else value)
            else:
                tokens.append(token)
        return tuple(tokens), literals

    def _compile_tokens(self, tokens: tuple[Token, ...], check: Callable[[list[Use]], None]) -> Template:
        parser = Parser(self, "")
        parser.stream = TokenStream(iter(tokens), None, None)
        tree = parser.parse()
        uses = list(_list_uses(tree))
        check(uses)
        # Jinja copies what it knows of each name for each branch
        branches = tree.find_all((nodes.If, nodes.CondExpr))
        self.charge(len({use.name for use in uses}) * sum(1 for _ in branches))
        size = sum(1 for _ in tree.find_all(nodes.Expr))
        source = StringIO()
        generator = _Generator(self, None, None, source, optimized=False)
        generator.visit_Template(tree)
        space: dict[str, Any] = {"environment": self, "undefined": self.undefined, "missing": missing}
        space |= {"LoopContext": LoopContext, "context": None, "__builtins__": {}}
        exec(compile(source.getvalue(), _FILE, "exec"), space)
        match tree.body:
            case [nodes.Output(nodes=[expression])]:
                lone = not isinstance(expression, nodes.TemplateData)
            case _:
                lone = False
        return Template(space["root"], generator.debug_info, uses, lone, size, self.charge)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """An item of a mapping, a list or a text; or a property of the loop."""
        if isinstance(obj, LoopContext) and argument in _OF_LOOPS:
            return getattr(obj, argument)
        return look_up(obj, argument)

    def getattr(self, obj: Any, attribute: str) -> Any:
        """An item: there are no attributes."""
        return self.getitem(obj, attribute)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Arithmetic on numbers; `+` joins texts and lists too."""
        if operator == "+" and isinstance(left, str) and isinstance(right, str):
            return self.concatenate(left, right)
        if operator == "+" and isinstance(left, list) and isinstance(right, list):
            self.charge(len(left) + len(right))
            return left + right
        return check_number(self.binop_table[operator](need_number(left), need_number(right)))

    def call_unop(self, context: Any, operator: str, arg: Any) -> Any:
        """A number with its sign."""
        return self.unop_table[operator](need_number(arg))

    # other operations of generated code

    text = staticmethod(text_of)

    def weigh(self, value: Any) -> Any:
        """The value, charged for reading it whole."""
        weigh(value, self.charge)
        return value

    def concatenate(self, *parts: Any) -> str:
        """`a ~ b`."""
        texts = [text_of(part) for part in parts]
        charge_text(sum(map(len, texts)), self.charge)
        return "".join(texts)

    def cut(self, value: Any, *bounds: Any) -> Any:
        """`a[1:2]`."""
        if not isinstance(value, str | list):
            raise TemplateError("Only a text or a list can be sliced.")
        self.charge(len(value) // CHARACTERS if isinstance(value, str) else len(value))
        return value[slice(*bounds)]

    def apply(self, sort: str, name: str, value: Any, *arguments: Any) -> Any:
        """`a | name` or `a is name`, as plain data: some of Jinja's filters give an iterator."""
        operand = self.weigh(value)
        call = self.call_filter if sort == "filter" else self.call_test
        result = call(name, NEEDS[name](operand) if name in NEEDS else operand, arguments)
        if isinstance(result, Iterator | list):
            result = list(result)
            self.charge(len(result))
        return check_number(result)

    def count_up(self, *bounds: Any) -> list[int]:
        """`range(…)`."""
        numbers = range(*bounds)
        if len(numbers) > MAX_RANGE:
            raise TemplateError(f"A range may have at most {MAX_RANGE:,} numbers.")
        self.charge(len(numbers))
        return list(numbers)

    def list_parts(self, method: str, value: Any) -> list[Any]:
        """`a.items()`, `a.keys()` and `a.values()`."""
        pairs = list_pairs(value)
        self.charge(2 * len(pairs))
        return pairs if method == "items" else [pair[method == "values"] for pair in pairs]

    def each(self, value: Any, cost: int) -> list[Any]:
        """The items of a loop; `cost`: of one turn."""
        items = need_items(value)
        self.charge(len(items) * (1 + cost))
        return items

    def no_else(self) -> None:
        """`a if b` without `b`."""
        raise TemplateError("The condition is false, and there is no `else`.", "add an `else`")


class _Text(str):
    """A piece of a template that is copied verbatim."""

    __slots__ = ()


class _Generator(CodeGenerator):
    """Python for a template: literals are taken from a list, operations from the sandbox."""

    environment: Sandbox

    def visit(self, node: nodes.Node, *args: Any, **kwargs: Any) -> Any:
        """Generate a node's code, on a line of its own where the template has one, or raise TemplateError."""
        try:
            if type(node) not in _SUPPORTED or getattr(node, "recursive", False):
                raise TemplateError(f"`{type(node).__name__.lower()}` is not supported here.")
            if isinstance(node, nodes.Expr) and node.lineno != self._last_line and not self._new_lines:
                self.write("\\")
                self.newline(node)
            return super().visit(self._guard(node), *args, **kwargs)
        except TemplateError as error:
            error.line = error.line or node.lineno
            raise

    def _guard(self, node: nodes.Node) -> nodes.Node:
        """The node with the sandbox's operations in place of Python's, where the cost is in values."""
        match node:
            case nodes.For():
                turn = [*node.body, node.test] if node.test else node.body
                cost = sum(1 + sum(1 for _ in part.find_all(nodes.Node)) for part in turn)
                # Jinja looks through the whole of a loop several times
                self.environment.charge(_LOOP * cost)
                node.iter = _operation(node.iter, "each", node.iter, cost)
            case nodes.Tuple(ctx="load"):
                return nodes.List(node.items, lineno=node.lineno)
            case nodes.Dict():
                for pair in node.items:
                    pair.key = _operation(pair, "text", pair.key)
            case nodes.Concat():
                return _operation(node, "concatenate", *node.nodes)
            case nodes.Compare():
                sides: list[Any] = [node, *node.ops]
                for side in sides:
                    side.expr = _operation(side.expr, "weigh", side.expr)
            case nodes.CondExpr(expr2=None):
                node.expr2 = _operation(node, "no_else")
            case nodes.Getitem(arg=nodes.Slice() as part):
                return _operation(node, "cut", node.node, part.start, part.stop, part.step)
            case nodes.Filter():
                return _application("filter", node, FILTERS)
            case nodes.Test():
                return _application("test", node, TESTS)
            case nodes.Call(node=nodes.Name(name="range")):
                return _operation(node, "count_up", *_arguments(node))
            case nodes.Call(node=nodes.Getattr() as method, args=[]) if method.attr in _OF_MAPPINGS:
                return _operation(node, "list_parts", method.attr, method.node, *_arguments(node))
            case nodes.Call() if not isinstance(node.node, nodes.EnvironmentAttribute):
                hint = "use a filter: `{{ var.team | upper }}`"
                raise TemplateError("Only `range(…)` can be called.", hint)
        return node

    def visit_Template(self, node: nodes.Template, frame: Frame | None = None) -> None:
        frame = Frame(EvalContext(self.environment))
        frame.symbols.analyze_node(node)
        self.writeline("def root(resolve, literals):")
        self.indent()
        self.writeline("if 0: yield")
        self.enter_frame(frame)
        self.blockvisit(node.body, frame)

    def visit_Output(self, node: nodes.Output, frame: Frame) -> None:
        for child in node.nodes:
            self.writeline(f"yield {child.lineno}, ", child)
            self.visit(child, frame)

    def visit_Call(self, node: nodes.Call, frame: Frame, forward_caller: bool = False) -> None:
        assert isinstance(node.node, nodes.EnvironmentAttribute)
        self.environment.charge(_TOKEN)
        self.write(f"environment.{node.node.name}(")
        for argument in node.args:
            self.visit(argument, frame)
            self.write(", ")
        self.write(")")

    def visit_TemplateData(self, node: nodes.TemplateData, frame: Frame) -> None:
        self.write(node.data)

    def visit_Const(self, node: nodes.Const, frame: Frame) -> None:
        self.write(str(node.value))


def _operation(node: nodes.Node, name: str, *arguments: Any) -> nodes.Call:
    """A call of the sandbox's method `name`, in the place of `node`."""
    parts = [a if isinstance(a, nodes.Expr) else nodes.Const(repr(a), lineno=node.lineno) for a in arguments]
    return nodes.Call(nodes.EnvironmentAttribute(name), parts, [], None, None, lineno=node.lineno)


def _application(sort: str, node: nodes.Filter | nodes.Test, known: Mapping[str, Any]) -> nodes.Call:
    if node.name not in known:
        raise TemplateError(f"There is no {sort} `{node.name}`.", guess(node.name, known))
    if len(node.args) > ARGUMENTS.get(node.name, 0):
        raise TemplateError(f"`{node.name}` has too many arguments.")
    return _operation(node, "apply", sort, node.name, node.node, *_arguments(node))


def _arguments(node: nodes.Filter | nodes.Test | nodes.Call) -> list[nodes.Expr]:
    if node.kwargs or node.dyn_args or node.dyn_kwargs:
        raise TemplateError("Named arguments are not supported.")
    return node.args


class Template(NamedTuple):
    """A compiled template. `root` yields the values in its output, given a function that looks names up, and
    the literals, each with its line; `lines` has pairs of a line of the template and one of `root`'s; `lone`:
    it is exactly one expression; `size` is the number of its expressions and of those in them."""

    root: Callable[[Callable[[str], Any], Sequence[Any]], Any]
    lines: list[tuple[int, int]]
    uses: list[Use]
    lone: bool
    size: int
    charge: Charge
    literals: Sequence[Any] = ()

    def value(self, names: Mapping[str, Any]) -> Any:
        """The result: a lone expression's own value, otherwise text."""
        if not self.lone:
            return "".join(text for _, text, _ in self.pieces(names))
        with self._run(names) as run:
            return next(run)[1]

    def pieces(self, names: Mapping[str, Any]) -> Iterator[tuple[int, str, bool]]:
        """The output's pieces: the template's line (from one), the text, whether it is copied verbatim."""
        with self._run(names) as run:
            for line, value in run:
                text = text_of(value)
                self.charge(1 + len(text) // CHARACTERS + text.count("\n"))
                yield line, text, isinstance(value, _Text)

    @contextmanager
    def _run(self, names: Mapping[str, Any]) -> Iterator[Any]:
        """The values in its output. An error has its line."""
        run = self.root(lambda name: names.get(name, missing), self.literals)
        try:
            yield run
        except (TypeError, ValueError, ArithmeticError, TemplateError) as error:
            problem = error
            if not isinstance(problem, TemplateError):
                problem = TemplateError("The operation fails for these values.")
            if isinstance(problem, NotDefinedError):
                known = {*names, *(use.name for use in self.uses)}
                problem.hint = guess(problem.name, known - {problem.name})
            lines = [at for frame, at in walk_tb(error.__traceback__) if frame.f_code.co_filename == _FILE]
            line = lines[-1] if lines else run.gi_frame.f_lineno
            problem.line, _ = self.lines[bisect_right(self.lines, line, key=itemgetter(1)) - 1]
            raise problem from None


def _list_uses(tree: nodes.Template) -> Iterator[Use]:
    for node in tree.find_all((nodes.Getattr, nodes.Name)):
        match node:
            case nodes.Getattr(node=nodes.Name(name=name)):
                yield Use(name, node.attr, node.lineno)
            case nodes.Name():
                yield Use(node.name, None, node.lineno)
