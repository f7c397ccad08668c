"""What an expression saw: the values of the names in it, for whoever reads that it isn't met. Pure.

What looks like a secret isn't shown.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from ...model.cel import Answer, names_in
from ...model.redaction import secrets_in
from ...model.text import shorten, take_first
from .facts import types

_MAX_VALUE, _MAX_SEEN = 120, 12
_MISSING: Final = object()


def explained(text: str, answer: Answer, facts: Mapping[str, Any]) -> str:
    """The expression with the values that it saw."""
    seen = []
    gone = False
    for steps in names_in(text):
        known = next((n for n in range(len(steps), 0, -1) if ".".join(steps[:n]) in _TYPES), 0)
        if not known:
            continue
        value = _followed(facts.get(".".join(steps[:known]), _MISSING), steps[known:])
        name = ".".join(steps)
        gone = gone or value is _MISSING
        seen.append(f"{name} is missing" if value is _MISSING else f"{name} = {_shown(steps[-1], value)}")
    if answer.why and not gone:
        seen.append(answer.why)
    told = ", ".join(take_first(seen, _MAX_SEEN))
    return f"{' '.join(text.split())}{f' ({told})' if told else ''}"


def _followed(value: Any, steps: tuple[str, ...]) -> Any:
    for step in steps:
        value = value.get(step, _MISSING) if isinstance(value, Mapping) else _MISSING
    return value


def _shown(name: str, value: Any) -> str:
    if any(True for _ in secrets_in(value, (name,))):
        return "(hidden)"
    return shorten(json.dumps(value, ensure_ascii=False, default=str), _MAX_VALUE)


_TYPES: Final = types()
