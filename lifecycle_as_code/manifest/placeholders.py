"""Warnings about other tools' variables, such as `${var.x}`, which lac takes literally. Pure.

Databricks bundles and Terraform have `${var.x}` and `${bundle.target}`, OmegaConf `${oc.env:X}`, shells and
Compose `${BUCKET}` and `${BUCKET:-b}`. It is only a warning, even in a name: MLflow allows such names,
and `lac import` must be able to write them. A single word in lower case (`${amount}`) is taken as prose,
`$${var.x}` is escaped as in Terraform, and `{{ '${var.x}' }}` is literal on purpose.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from .yaml.nodes import Map, Mark, Seq
from .yaml.report import Report, problem
from .yaml.text import START

_PLACEHOLDER: Final = re.compile(
    r"(?<!\$)\$\{\s*(?:"
    r"(?P<shell>[A-Z_][A-Z0-9_]*)(?::?[-?+=][^{}]*)?"
    r"|(?P<resolver>[A-Za-z_][\w.]*):(?P<key>[\w./-]+)[^{}]*"
    r"|(?P<path>[A-Za-z_][\w-]*(?:\.[\w-]+|\[[^\]{}]*\])+)"
    r")\s*\}"
)
_TEMPLATE: Final = re.compile(r"\{\{.*?\}\}", re.DOTALL)
_WORD: Final = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_ENVIRONMENT: Final = frozenset({"bundle.target", "bundle.environment", "terraform.workspace"})
_OF_ENVIRONMENT: Final = frozenset({"env", "oc.env", "ENV"})
_MOST: Final = 50
"""The most warnings of one file."""


def warn_of_placeholders(root: Any, report: Report, *, settings: bool = False) -> None:
    """Add a warning at the first place of each placeholder below `root`. `settings`: the file is lac.yaml,
    where `env` is allowed."""
    reported: set[str] = set()
    for written, at in _list_texts(root, START):
        for match in _PLACEHOLDER.finditer(_TEMPLATE.sub("", written)):
            text, instead = _translate(match, settings)
            if text in reported or len(reported) >= _MOST:
                continue
            reported.add(text)
            detail = f"`{text}` is taken literally: it is another tool's variable syntax."
            hint = f"write `{instead}`, or `{{{{ '{text}' }}}}` for the literal text"
            report.note(problem("literal-placeholder", detail, hint, report.source(at), "warning"))


def _list_texts(node: Any, at: Mark) -> Iterator[tuple[str, Mark]]:
    """The texts with `${` below a node, keys too. `at`: its place."""
    if isinstance(node, Map):
        for key, value in node.items():
            if "${" in key:
                yield key, node.place_of_key(key)
            yield from _list_texts(value, node.place(key))
    elif isinstance(node, Seq):
        for value, mark in zip(node, node.marks, strict=True):
            yield from _list_texts(value, mark)
    elif isinstance(node, str) and "${" in node:
        yield node, at


def _translate(match: re.Match[str], settings: bool) -> tuple[str, str]:
    """The placeholder without its default, and lac's syntax for it."""
    name = match["shell"] or match["path"] or f"{match['resolver']}:{match['key']}"
    if name in _ENVIRONMENT:
        return f"${{{name}}}", "{{ environment }}"
    last = (_WORD.findall(name.rpartition(":")[2]) or ["NAME"])[-1]
    is_environ = match["shell"] or match["resolver"] in _OF_ENVIRONMENT or name.startswith("env.")
    if settings and is_environ:
        return f"${{{name}}}", f"{{{{ env.{last} }}}}"
    return f"${{{name}}}", f"{{{{ var.{last.lower() if is_environ else last} }}}}"
