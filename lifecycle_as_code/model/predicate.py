"""Conditions over one model version, such as `tags.validation_status == "approved"`: expressions over the
names in `NAMES`. Pure; what evaluates them is `cel`.

What isn't known of a version (a tag that it hasn't) keeps a condition from being true, and is told apart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any, Final

from .cel import Answer, Engine, EngineMissingError, Fault, FaultyError
from .diagnostics import did_you_mean

NAMES: Final[Mapping[str, str]] = {
    "version": "int",
    "run_id": "string",
    "source": "string",
    "description": "string",
    "stage": "string",
    "status": "string",
    "tags": "map(string, string)",
    "created": "timestamp",
}
"""What a condition may name, each with its type in CEL."""


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


Condition = Callable[[Facts], Answer]


def compiled(text: str) -> Condition:
    """The condition. ValueError, for people, where it isn't one, such as for a name or a type that isn't
    known; also where no engine is installed."""
    engine = _engine()
    try:
        program = engine.compile(text)
    except FaultyError as error:
        raise ValueError(_told(error.faults[0], text)) from None
    return lambda facts: program.ask(engine.facts(_values(facts)))


@cache
def _engine() -> Engine:
    try:
        return Engine(NAMES)
    except EngineMissingError:
        why = "conditions are CEL, and nothing is installed that reads it: "
        raise ValueError(f"{why}`pip install 'lifecycle-as-code[policy]'`") from None


def _told(fault: Fault, text: str) -> str:
    """What is wrong first, with its place in the expression where it is about a part."""
    hint = did_you_mean(fault.name.partition(".")[0], NAMES) if fault.name else fault.hint
    line = f"line {fault.line}, " if "\n" in text.strip() else ""
    at = f", at {line}character {fault.column}" if fault.line else ""
    return f"{fault.detail.rstrip('.')}{at}{f' ({hint})' if hint else ''}"


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
