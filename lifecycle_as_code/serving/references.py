"""Secret references: `{{ env.NAME }}` in a value, replaced on the node that uses it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

LOCAL_RAY = "LAC_LOCAL_RAY"
"""The variable that every process of a local Ray has: which one it belongs to."""

_REFERENCE = re.compile(r"\{\{\s*env\.([A-Za-z_][A-Za-z0-9_]*)\s*\}\}", re.ASCII)


def is_reference(value: str) -> bool:
    """Whether `value` is exactly one reference."""
    return _REFERENCE.fullmatch(value) is not None


def names_in(value: str) -> frozenset[str]:
    """The variables that the references in `value` name."""
    return frozenset(_REFERENCE.findall(value))


def resolve(value: str, environment: Mapping[str, str] = os.environ) -> str:
    """`value` with each reference replaced. LookupError names the variable that isn't set, never a value."""

    def look_up(match: re.Match[str]) -> str:
        name = match[1]
        if name not in environment:
            raise LookupError(f"environment variable {name} is not set on this node{_way_out(environment)}")
        return environment[name]

    return _REFERENCE.sub(look_up, value)


def _way_out(environment: Mapping[str, str]) -> str:
    """A local Ray's processes get the variables that the manifests named when it started."""
    return "; set it, then run `lac down` and `lac apply`" if LOCAL_RAY in environment else ""


def resolve_all(values: Mapping[str, str], environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Every value resolved. LookupError names all missing variables, each with the key that needs it."""
    results, missing = {}, []
    for key, value in values.items():
        try:
            results[key] = resolve(value, environment)
        except LookupError as e:
            missing.append(f"{key}: {e.args[0]}")
    if missing:
        raise LookupError("; ".join(missing))
    return results
