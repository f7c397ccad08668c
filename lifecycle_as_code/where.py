"""Conditions over one model version, such as `tags.validation_status == "approved"`: CEL expressions over the
names in `NAMES`. Pure.

What isn't known of a version (a tag that it hasn't) makes a condition fail, which is told apart from false.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any, Final

from .diagnostics import did_you_mean

NAMES: Final[Mapping[str, str]] = {
    "version": "INT",
    "run_id": "STRING",
    "source": "STRING",
    "description": "STRING",
    "stage": "STRING",
    "status": "STRING",
    "tags": "MAP",
    "created": "TIMESTAMP",
}
"""What a condition may name, each with its type in CEL; `tags` maps text to text."""

Verdict = bool | str
"""Whether a version is meant; a text says why that can't be told."""

_MISSING: Final = re.compile(r'Key not found in map : "(.*)"', re.DOTALL)
_UNBOUND: Final = re.compile(r'No value with name "(\w+)"')
_UNDECLARED: Final = re.compile(r"undeclared reference to '(\w+)")
_ERROR: Final = re.compile(r"ERROR: <input>:(\d+):(\d+): (.*)")


@dataclass(frozen=True, slots=True)
class Facts:
    """What a condition sees of a version. `created`: ms since 1970; None for one that is still to be made."""

    version: int
    run_id: str
    source: str
    description: str
    stage: str
    status: str
    tags: Mapping[str, str]
    created: int | None = None


Condition = Callable[[Facts], Verdict]


def compiled(text: str) -> Condition:
    """The condition. ValueError, for people, where it isn't one: a name or a type that isn't known, or no
    CEL; also where CEL isn't installed."""
    program = _program(text)

    def met(facts: Facts) -> Verdict:
        try:
            found = program.eval(data=_values(facts)).value()
        except (RuntimeError, ValueError, TypeError) as error:
            return _told(str(error))
        return found if isinstance(found, bool) else _told(str(found))

    return met


@cache
def _environment() -> Any:
    try:
        # imported here: only who writes conditions needs it
        from cel_expr_python import cel  # type: ignore[import-untyped]  # it ships no py.typed
    except ImportError:
        raise ValueError("conditions need CEL: `pip install 'lifecycle-as-code[policy]'`") from None
    types = {name: getattr(cel.Type, sort) for name, sort in NAMES.items() if sort != "MAP"}
    return cel.NewEnv(variables={**types, "tags": cel.Type.Map(cel.Type.STRING, cel.Type.STRING)})


def _program(text: str) -> Any:
    environment = _environment()
    try:
        program = environment.compile(text)
    except RuntimeError as error:
        raise ValueError(_refused(str(error), text)) from None
    if (sort := program.return_type().name()) != "BOOL":
        raise ValueError(f"a condition is true or false, and this is {sort}")
    return program


def _refused(message: str, text: str) -> str:
    """CEL's first complaint, with its place in the expression where that is of several lines."""
    found = _ERROR.search(message)
    if found is None:
        return f"not a condition: {message.partition(' [')[0]}"
    line, column, what = found.groups()
    if unknown := _UNDECLARED.match(what):
        hint = did_you_mean(unknown[1], NAMES)
        what = f"there is no `{unknown[1]}` here ({hint})"
    what = what.partition(" (in container")[0].partition(" expecting {")[0].partition(" [INVALID_")[0]
    where = f"line {line}, " if "\n" in text.strip() else ""
    return f"{what}, at {where}character {column}"


def _values(facts: Facts) -> dict[str, Any]:
    values: dict[str, Any] = {
        "version": facts.version,
        "run_id": facts.run_id,
        "source": facts.source,
        "description": facts.description,
        "stage": facts.stage,
        "status": facts.status,
        "tags": dict(facts.tags),
    }
    if (created := _moment(facts.created)) is not None:
        values["created"] = created
    return values


def _moment(ms: int | None) -> datetime | None:
    try:
        return None if ms is None else datetime.fromtimestamp(ms / 1000, UTC)
    except (OverflowError, ValueError, OSError):
        # a foreign row may hold any number
        return None


def _told(message: str) -> str:
    if found := _MISSING.search(message):
        return f"it has no `{found[1]}`"
    if found := _UNBOUND.search(message):
        return f"its `{found[1]}` isn't known yet"
    return message.partition(" [")[0]
