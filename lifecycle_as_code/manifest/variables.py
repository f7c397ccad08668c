"""A stack's variables: their defaults, and the values that override them.

Later values win, as in Terraform: the default in lac.yaml, the environment's, `LAC_VAR_<name>`, variable
files in their order, `--var`. A variable without a value (`team:`) has no default and must be set. A variable
has its default's type: text from outside is read as a number, `true`/`false`, or YAML for lists and mappings.
Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from ..model.diagnostics import Diagnostic, Severity, Source
from .convert import SCALARS, read_untyped
from .templates import has_template
from .value_errors import REFUSED
from .yaml.nodes import Map, decimal, fraction
from .yaml.reader import parse
from .yaml.report import MAX_PROBLEMS, Report, TooManyError, guess, problem
from .yaml.text import START, unstorable

PREFIX: Final = "LAC_VAR_"


class Variables:
    """The declared variables and their values so far."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.problems: list[Diagnostic] = []
        self._places: dict[str, Source] = {}

    def declare(self, node: Any, values: Mapping[str, Any], report: Report) -> None:
        """Defaults from a `variables:` mapping of lac.yaml, read as `values`; an environment's come after the
        stack's."""
        if not isinstance(node, Map):
            return
        for name, value in values.items():
            if _holds_template(value):
                report.add("bad-value", node.place(name), f"`{name}`: a variable can't contain a template.")
            if not name.isidentifier():
                detail, hint = f"`{name}` is not a valid variable name.", "use letters, digits, `_`"
                report.add("bad-value", node.place_of_key(name), detail, hint)
            self._places[name] = report.source(node.place(name))
            self.values[name] = value

    def from_environ(self, environ: Mapping[str, str]) -> None:
        """`LAC_VAR_<name>`; names that aren't declared are ignored, as in Terraform."""
        for name in self.values:
            if PREFIX + name in environ:
                self._set_text(name, environ[PREFIX + name], PREFIX + name)

    def from_file(self, data: bytes, file: str) -> None:
        """A YAML mapping of names to values; an undeclared name is a warning, as in Terraform."""
        report = Report(file)
        with suppress(TooManyError):
            root = parse(data, report)
            if not isinstance(root, Map):
                if not report.problems:
                    report.add("bad-value", START, f"{file} must be a mapping of variables to values.")
                root = Map(START)
            for name in root:
                value = read_untyped(root[name], root, name, report)
                at = report.source(root.place_of_key(name))
                if name in self.values:
                    self._set(name, value, at, file)
                else:
                    report.note(self._undeclared(name, at, "warning"))
        self.problems += report.problems

    def from_options(self, options: Mapping[str, str]) -> None:
        """`--var name=text`."""
        for name, text in options.items():
            if name in self.values:
                self._set_text(name, text, f"--var {name}")
            else:
                self.problems.append(self._undeclared(name))

    def _undeclared(self, name: str, at: Source | None = None, severity: Severity = "error") -> Diagnostic:
        detail = f"`{name}` is not declared under `variables` in lac.yaml."
        return problem("unknown-variable", detail, guess(name, self.values), at, severity)

    def known(self) -> dict[str, Any]:
        """The variables with a value: the use of another one is an error."""
        return {name: value for name, value in self.values.items() if value is not None}

    def complete(self) -> dict[str, Any]:
        """The values; a problem for each variable that has none."""
        for name, value in self.values.items():
            if value is None and len(self.problems) <= MAX_PROBLEMS:
                hint = f"set it with `--var {name}=…`, `{PREFIX}{name}` or a variable file"
                detail = f"`{name}` has no default."
                self.problems.append(problem("variable-not-set", detail, hint, self._places[name]))
        return self.values

    def _set_text(self, name: str, text: str, origin: str) -> None:
        """Set a variable from a shell's text, which problems don't repeat."""
        if odd := unstorable(text):
            self.problems.append(problem("bad-character", f"`{name}`, set by {origin}, contains {odd}."))
            return
        value: Any = text
        match self.values[name]:
            case bool():
                value = {"true": True, "false": False}.get(text)
            case int():
                value = decimal(text)
            case float():
                value = fraction(text)
            case list() | dict():
                report = Report(origin)
                holder = Map(START)
                with suppress(TooManyError):
                    value = read_untyped(parse(text.encode(), report), holder, name, report)
                value = None if report.problems else value
        if value is None:
            self.problems.append(_wrong_type(name, self.values[name], origin, None))
        else:
            self._set(name, value, None, origin)

    def _set(self, name: str, value: Any, at: Source | None, origin: str) -> None:
        default = self.values[name]
        if value is REFUSED:
            return
        if isinstance(default, float) and type(value) is int:
            value = float(value)
        if default is not None and type(value) is not type(default):
            self.problems.append(_wrong_type(name, default, origin, at))
        else:
            self.values[name] = value


def _wrong_type(name: str, default: Any, origin: str, at: Source | None) -> Diagnostic:
    expected = {**SCALARS, list: "a list", dict: "a mapping"}.get(type(default), "a value")
    return problem("bad-value", f"`{name}`, set by {origin}, must be {expected}, like its default.", at=at)


def _holds_template(value: Any) -> bool:
    if isinstance(value, Mapping | list):
        return any(map(_holds_template, value.values() if isinstance(value, Mapping) else value))
    return isinstance(value, str) and has_template(value)
