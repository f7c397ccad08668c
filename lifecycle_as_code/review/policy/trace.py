"""The values of the names in an expression that isn't met, without those that look like secrets. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from ...model.cel import Answer, names_in
from ...model.redaction import secrets_in
from ...model.text import shorten, take_first
from .facts import MISSING, look_up, types

_MAX_VALUE, _MAX_VALUES = 120, 12


def describe_failure(text: str, answer: Answer, facts: Mapping[str, Any]) -> str:
    """The expression with the values that it read."""
    values = []
    is_incomplete = False
    for steps in names_in(text):
        known = next((n for n in range(len(steps), 0, -1) if ".".join(steps[:n]) in _TYPES), 0)
        if not known:
            continue
        value = look_up(facts.get(".".join(steps[:known]), MISSING), steps[known:])
        name = ".".join(steps)
        is_incomplete = is_incomplete or value is MISSING
        values.append(f"{name} is missing" if value is MISSING else f"{name} = {_format(steps[-1], value)}")
    if answer.why and not is_incomplete:
        values.append(answer.why)
    listing = ", ".join(take_first(values, _MAX_VALUES))
    return f"{' '.join(text.split())}{f' ({listing})' if listing else ''}"


def _format(name: str, value: Any) -> str:
    if any(True for _ in secrets_in(value, (name,))):
        return "(hidden)"
    return shorten(json.dumps(value, ensure_ascii=False, default=str), _MAX_VALUE)


_TYPES: Final = types()
