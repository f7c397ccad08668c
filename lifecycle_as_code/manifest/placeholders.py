"""Another tool's way to write a variable, `${var.x}`, which stands for nothing here. Pure.

Databricks bundles and Terraform have `${var.x}` and `${bundle.target}`, OmegaConf `${oc.env:X}`, shells and
Compose `${BUCKET}` and `${BUCKET:-b}`. It is a warning wherever it stands, in a name too: MLflow takes such
a text, so an object may really be called that, and `lac import` has to be able to write it. A single word in
lower case (`${amount}`) is somebody's prose, `$${var.x}` is escaped as in Terraform, and `{{ '${var.x}' }}`
is meant so.
"""

from __future__ import annotations

import re
from typing import Any, Final

from .yaml.nodes import Map, Mark, Seq
from .yaml.report import Report, problem

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
"""How many are told of one file."""


def warn_of_placeholders(root: Any, report: Report, *, settings: bool = False) -> None:
    """Note a warning where each placeholder first stands below `root`. `settings`: it is lac.yaml, where the
    process's environment may be asked."""
    seen: set[str] = set()
    _look(root, None, report, settings, seen)


def _look(node: Any, at: Mark | None, report: Report, settings: bool, seen: set[str]) -> None:
    if len(seen) >= _MOST:
        return
    if isinstance(node, Map):
        for key, value in node.items():
            _look(key, node.place_of_key(key) if "${" in key else None, report, settings, seen)
            _look(value, node.place(key) if _may_hold(value) else None, report, settings, seen)
    elif isinstance(node, Seq):
        for index, value in enumerate(node):
            _look(value, node.place(index) if _may_hold(value) else None, report, settings, seen)
    elif at is not None:
        for found in _PLACEHOLDER.finditer(_TEMPLATE.sub("", node)):
            written, instead = _named(found, settings)
            if written in seen:
                continue
            seen.add(written)
            detail = f"`{written}` is taken literally: this is another tool's way to name a variable."
            hint = f"write `{instead}`, or `{{{{ '{written}' }}}}` where this very text is meant"
            report.note(problem("literal-placeholder", detail, hint, report.source(at), "warning"))


def _may_hold(value: Any) -> bool:
    return isinstance(value, str) and "${" in value


def _named(found: re.Match[str], settings: bool) -> tuple[str, str]:
    """What is written, without a default that it may give, and what to write here."""
    name = found["shell"] or found["path"] or f"{found['resolver']}:{found['key']}"
    if name in _ENVIRONMENT:
        return f"${{{name}}}", "{{ environment }}"
    last = (_WORD.findall(name.rpartition(":")[2]) or ["NAME"])[-1]
    of_process = found["shell"] or found["resolver"] in _OF_ENVIRONMENT or name.startswith("env.")
    if settings and of_process:
        return f"${{{name}}}", f"{{{{ env.{last} }}}}"
    return f"${{{name}}}", f"{{{{ var.{last.lower() if of_process else last} }}}}"
