"""Conditions over one model version, such as `tags.validation_status == "approved"`: CEL expressions over the
names in `NAMES`. Pure.

A condition that reads an unknown value, such as a missing tag, isn't true, and its answer has the reason.
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
"""The names that a condition may use, each with its type in CEL."""


@dataclass(frozen=True, slots=True)
class Facts:
    """The values of one version. `created`: ms since 1970; None before the version exists."""

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
    """The condition. ValueError, with a text for people, if it doesn't compile, or no engine is installed."""
    engine = _engine()
    try:
        program = engine.compile(text)
    except FaultyError as error:
        raise ValueError(_describe(error.faults[0], text)) from None
    return lambda facts: program.ask(engine.facts(_values(facts)))


@cache
def _engine() -> Engine:
    try:
        return Engine(NAMES)
    except EngineMissingError:
        reason = "conditions are CEL expressions, and their engine isn't installed: "
        raise ValueError(f"{reason}`pip install 'lifecycle-as-code[policy]'`") from None


def _describe(fault: Fault, text: str) -> str:
    """The fault as a clause with its place in the expression, if it has one, and its hint."""
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
