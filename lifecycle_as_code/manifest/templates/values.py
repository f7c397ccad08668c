"""Values and files, filled in.

Most templates are only names inside a text; those are filled in here without Jinja, which is imported for the
others. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from ...serving.references import is_reference
from ..convert import SECRET_FIELDS
from ..wording import REFUSED
from ..yaml.nodes import Map, Plain, Seq, graft
from ..yaml.report import Report, guess
from ..yaml.text import MAX_BYTES, Place
from .budget import Budget, TemplateError, charge_text, look_up, text_of, weigh

if TYPE_CHECKING:
    from .sandbox import Sandbox, Template, Use

MARKERS: Final = ("{{", "{%", "{#")
_SIMPLE: Final = re.compile(
    r"\{\{\s*(?:'([^'\\]*)'|((?:var|env|environment)(?:\.[A-Za-z_]\w*)*))\s*\}\}", re.ASCII
)


def has_template(text: str) -> bool:
    """Whether there is anything in `text` to fill in."""
    return "{{" in text or "{%" in text or "{#" in text


class Renderer:
    """Fills in templates with one set of names, and with one budget. Equal texts are filled in once."""

    def __init__(self, variables: Mapping[str, Any], environment: str) -> None:
        self._given: dict[str, Any] = {"var": dict(variables), "environment": environment}
        self._values: dict[str, Any] = {}
        self._sandbox: Sandbox | None = None
        self.budget = Budget()

    def value(self, text: str, env: Mapping[str, str] | None = None) -> Any:
        """What `text` gives: plain data where it is exactly one expression, otherwise text.

        `env` admits environment variables. TemplateError where it can't be filled in.
        """
        if env is not None:
            return self._fill(text, {**self._given, "env": env})
        if text not in self._values:
            self._values[text] = self._fill(text, self._given)
        return self._values[text]

    def file(self, text: str) -> tuple[str, list[int]]:
        """A `*.j2` file as the YAML that it makes, and for each of its lines the template's line (from one).

        TemplateError where it can't be rendered."""
        template = self._compile(text, self._given)
        parts: list[str] = []
        lines = [1]
        size = 0
        for line, part, copied in template.pieces(self._given):
            if not part:
                continue
            if not parts or parts[-1].endswith("\n"):
                lines[-1] = line
            parts.append(part)
            size += len(part)
            if size > MAX_BYTES:
                raise TemplateError(f"It makes more than {MAX_BYTES:,} characters.", line=line)
            lines += (line + count * copied for count in range(1, part.count("\n") + 1))
        return "".join(parts), lines

    def _fill(self, text: str, given: Mapping[str, Any]) -> Any:
        whole = _SIMPLE.fullmatch(text)
        if whole:
            return _given_value(whole, given)
        if not has_template(_SIMPLE.sub("", text)):
            return self._joined(text, given)
        return self._compile(text, given).value(given)

    def _compile(self, text: str, given: Mapping[str, Any]) -> Template:
        from .sandbox import Sandbox

        self._sandbox = self._sandbox or Sandbox(self.budget.charge)
        return self._sandbox.compile_text(text, partial(_check_uses, given))

    def _joined(self, text: str, given: Mapping[str, Any]) -> str:
        """A text with nothing but names in it."""
        texts = [text_of(_given_value(match, given)) for match in _SIMPLE.finditer(text)]
        charge_text(len(text) + sum(map(len, texts)), self.budget.charge)
        self.budget.charge(len(texts))
        pieces = iter(texts)
        return _SIMPLE.sub(lambda _: next(pieces), text)


def _given_value(found: re.Match[str], given: Mapping[str, Any]) -> Any:
    """The value of a name such as `var.team.name`, or of a quoted text."""
    if found[1] is not None:
        return found[1]
    first, *rest = found[2].split(".")
    _check_name(first, rest[0] if rest else None, given)
    value = given[first]
    for name in rest:
        value = look_up(value, name)
    return value


def _check_uses(given: Mapping[str, Any], uses: list[Use]) -> None:
    for use in uses:
        try:
            _check_name(use.name, use.attribute, given)
        except TemplateError as error:
            error.line = use.line
            raise


def _check_name(name: str, attribute: str | None, given: Mapping[str, Any]) -> None:
    if name == "env" and "env" not in given:
        written = name if attribute is None else f"{name}.{attribute}"
        raise TemplateError(
            f"`{written}` would put a value of this machine's environment into the plan.",
            "use a variable: `var.…`, set with `LAC_VAR_…`; `env` may stand in lac.yaml's connection "
            "settings, and as the whole value of an environment variable of an endpoint",
            code="env-not-allowed",
        )
    if name == "env" and attribute is not None and attribute not in given["env"]:
        raise TemplateError(f"The environment variable `{attribute}` is not set.", code="env-not-set")
    if name == "var" and attribute is not None and attribute not in given["var"]:
        raise TemplateError(
            f"There is no variable `{attribute}`.",
            guess(attribute, given["var"]) or "declare it under `variables` in lac.yaml",
            code="undefined-name",
        )


class TreeRenderer:
    """Fills in the templates in the values of one file's tree, in place.

    A value below `environment_vars` that is exactly `{{ env.NAME }}` stays as it is: the reference is
    resolved on the cluster.
    """

    def __init__(self, renderer: Renderer, report: Report) -> None:
        self._renderer = renderer
        self._report = report
        self._done: set[int] = set()

    def render(self, node: Any, secret: bool = False) -> None:
        """Fill in everything below `node`. What a template gave isn't looked into again."""
        if id(node) in self._done:
            return
        self._done.add(id(node))
        if isinstance(node, Map):
            for key, value in node.items():
                if "{{" in key or "{%" in key:
                    self._report.add(
                        "template-in-key", node.place_of_key(key), "Templates may stand in values only."
                    )
                if not isinstance(value, Plain):
                    node[key] = self._child(node, key, value, secret or key in SECRET_FIELDS)
        elif isinstance(node, Seq):
            for index, value in enumerate(node):
                node[index] = self._child(node, index, value, secret)

    def _child(self, holder: Map | Seq, key: Any, value: Any, secret: bool) -> Any:
        if isinstance(value, Map | Seq):
            self.render(value, secret)
        elif isinstance(value, str) and has_template(value) and not (secret and is_reference(value)):
            return self.fill(holder, key, value)
        return value

    def fill(self, holder: Map | Seq, key: Any, text: str, env: Mapping[str, str] | None = None) -> Any:
        """What the template at `holder[key]` gives; REFUSED where it can't be filled in."""
        place = holder.place(key)
        if self._renderer.budget.spent:
            return REFUSED
        try:
            value = self._renderer.value(text, env)
            if isinstance(value, dict | list):
                # it is copied, wherever it is asked for
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
