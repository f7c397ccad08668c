"""Render values and files.

Most templates are only names inside a text; they are rendered here without Jinja, which is imported for the
others. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from ...serving.references import is_reference
from ..convert import REFERENCE_FIELDS
from ..value_errors import REFUSED
from ..yaml.nodes import Map, Seq, graft
from ..yaml.report import Report, guess
from ..yaml.text import MAX_BYTES, Place
from .budget import Budget, TemplateError, charge_text, look_up, text_of, weigh

if TYPE_CHECKING:
    from .sandbox import Sandbox, Template, Use

_SIMPLE: Final = re.compile(
    r"\{\{\s*(?:'([^'\\]*)'|((?:var|env|environment)(?:\.[A-Za-z_]\w*)*))\s*\}\}", re.ASCII
)


def has_template(text: str) -> bool:
    """Whether `text` contains a template."""
    return "{{" in text or "{%" in text or "{#" in text


class Renderer:
    """Renders templates with one set of names and one budget. Equal texts are rendered once."""

    def __init__(self, variables: Mapping[str, Any], environment: str) -> None:
        self._names: dict[str, Any] = {"var": dict(variables), "environment": environment}
        self._values: dict[str, Any] = {}
        self._sandbox: Sandbox | None = None
        self.budget = Budget()

    def value(self, text: str, env: Mapping[str, str] | None = None) -> Any:
        """The result of `text`: plain data if it is exactly one expression, otherwise text. `env` allows
        environment variables. TemplateError if it can't be rendered."""
        if env is not None:
            return self._fill(text, {**self._names, "env": env})
        if text not in self._values:
            self._values[text] = self._fill(text, self._names)
        return self._values[text]

    def file(self, text: str) -> tuple[str, list[int]]:
        """The YAML of a `*.j2` file, and each line's line in the template (from one); or TemplateError."""
        template = self._compile(text, self._names)
        parts: list[str] = []
        lines = [1]
        size = 0
        for line, part, is_verbatim in template.pieces(self._names):
            if not part:
                continue
            if not parts or parts[-1].endswith("\n"):
                lines[-1] = line
            parts.append(part)
            size += len(part)
            if size > MAX_BYTES:
                raise TemplateError(f"The rendered file has more than {MAX_BYTES:,} characters.", line=line)
            lines += (line + count * is_verbatim for count in range(1, part.count("\n") + 1))
        return "".join(parts), lines

    def _fill(self, text: str, names: Mapping[str, Any]) -> Any:
        whole = _SIMPLE.fullmatch(text)
        if whole:
            return _value_of(whole, names)
        if not has_template(_SIMPLE.sub("", text)):
            return self._join(text, names)
        return self._compile(text, names).value(names)

    def _compile(self, text: str, names: Mapping[str, Any]) -> Template:
        from .sandbox import Sandbox

        self._sandbox = self._sandbox or Sandbox(self.budget.charge)
        return self._sandbox.compile_text(text, partial(_check_uses, names))

    def _join(self, text: str, names: Mapping[str, Any]) -> str:
        """A text with nothing but names in it."""
        texts = [text_of(_value_of(match, names)) for match in _SIMPLE.finditer(text)]
        charge_text(len(text) + sum(map(len, texts)), self.budget.charge)
        self.budget.charge(len(texts))
        pieces = iter(texts)
        return _SIMPLE.sub(lambda _: next(pieces), text)


def _value_of(match: re.Match[str], names: Mapping[str, Any]) -> Any:
    """The value of a name such as `var.team.name`, or of a quoted text."""
    if match[1] is not None:
        return match[1]
    first, *rest = match[2].split(".")
    _check_name(first, rest[0] if rest else None, names)
    value = names[first]
    for name in rest:
        value = look_up(value, name)
    return value


def _check_uses(names: Mapping[str, Any], uses: list[Use]) -> None:
    for use in uses:
        try:
            _check_name(use.name, use.attribute, names)
        except TemplateError as error:
            error.line = use.line
            raise


def _check_name(name: str, attribute: str | None, names: Mapping[str, Any]) -> None:
    if name == "env" and "env" not in names:
        use = name if attribute is None else f"{name}.{attribute}"
        detail = f"`{use}` would put an environment variable of this machine into the plan."
        hint = (
            "use a variable: `var.…`, set with `LAC_VAR_…`; `env` is allowed in lac.yaml's connection "
            "settings, and as the whole value of an endpoint's environment variable or key"
        )
        raise TemplateError(detail, hint, code="env-not-allowed")
    if name == "secrets":
        hint = (
            "write `{{secrets/scope/key}}`, mapped by `secrets` in lac.yaml, as the whole value of an "
            "endpoint's environment variable or of a field below `external_model`; in a *.j2 file, between "
            "`{% raw %}` and `{% endraw %}`"
        )
        detail = "This is no place for a secret, or the reference is not the whole value."
        raise TemplateError(detail, hint, code="secret-not-allowed")
    if name == "env" and attribute is not None and attribute not in names["env"]:
        raise TemplateError(f"The environment variable `{attribute}` is not set.", code="env-not-set")
    if name == "var" and attribute is not None and attribute not in names["var"]:
        hint = guess(attribute, names["var"]) or "declare it under `variables` in lac.yaml"
        raise TemplateError(f"There is no variable `{attribute}`.", hint, code="undefined-name")


class TreeRenderer:
    """Renders the templates in the values of one file's tree, in place.

    A value under `environment_vars` or `external_model` that is exactly `{{ env.NAME }}` or
    `{{secrets/scope/key}}` stays as it is: the cluster resolves the reference.
    """

    def __init__(self, renderer: Renderer, report: Report) -> None:
        self._renderer = renderer
        self._report = report
        self._done: set[int] = set()

    def render(self, node: Any, secret: bool = False) -> None:
        """Render everything below `node`. A template's result isn't rendered again."""
        if id(node) in self._done:
            return
        self._done.add(id(node))
        if isinstance(node, Map):
            for key in node:
                if "{{" in key or "{%" in key:
                    mark, detail = node.place_of_key(key), "Templates are allowed in values only."
                    self._report.add("template-in-key", mark, detail)
        elif not isinstance(node, Seq):
            return
        entries: Any = node.items() if isinstance(node, Map) else enumerate(node)
        for key, value in entries:
            is_secret = secret or key in REFERENCE_FIELDS
            if isinstance(value, Map | Seq):
                self.render(value, is_secret)
            elif isinstance(value, str) and has_template(value) and not (is_secret and is_reference(value)):
                node[key] = self.fill(node, key, value)

    def fill(self, holder: Map | Seq, key: Any, text: str, env: Mapping[str, str] | None = None) -> Any:
        """The result of the template at `holder[key]`; REFUSED if it can't be rendered."""
        place = holder.place(key)
        if self._renderer.budget.spent:
            return REFUSED
        try:
            value = self._renderer.value(text, env)
            if isinstance(value, dict | list):
                # each use gets a copy
                weigh(value, self._renderer.budget.charge)
            return graft(value, place)
        except TemplateError as error:
            self._report.add(error.code, place, error.detail, error.hint)
            return REFUSED


def report_file_error(error: TemplateError, report: Report) -> None:
    """A problem of a template file, at its line."""
    # some of Jinja's nodes have no line
    line = max(error.line or 1, 1)
    report.add(error.code, Place(line - 1, 0), error.detail, error.hint)
