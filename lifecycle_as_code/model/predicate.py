"""Conditions over one model version, such as `tags.validation_status == "approved"`: expressions over
`NAMES`. Pure. A condition on an unknown fact, such as a missing tag, isn't true, and the answer says why."""

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
    """A version's facts for conditions. `created`: ms since 1970; None for a version that is yet to be."""

    version: int
    run_id: str
    source: str
    description: str
    stage: str
    status: str
    tags: Mapping[str, str]
    created: int | None = None


Condition = Callable[[Facts], Answer]


def compile_condition(text: str) -> Condition:
    """Compile a condition. ValueError, worded for people, if it is invalid or there is no engine."""
    engine = _engine()
    try:
        program = engine.compile(text)
    except FaultyError as error:
        raise ValueError(_format_fault(error.faults[0], text)) from None
    return lambda facts: program.ask(engine.facts(_values(facts)))


@cache
def _engine() -> Engine:
    try:
        return Engine(NAMES)
    except EngineMissingError:
        why = "conditions are CEL expressions, and no CEL engine is installed: "
        raise ValueError(f"{why}`pip install 'lifecycle-as-code[policy]'`") from None


def _format_fault(fault: Fault, text: str) -> str:
    """The first error, with its place in the expression if it concerns a part of it."""
    hint = did_you_mean(fault.name.partition(".")[0], NAMES) if fault.name else fault.hint
    line = f"line {fault.line}, " if "\n" in text.strip() else ""
    at = f", at {line}character {fault.column}" if fault.line else ""
    return f"{fault.detail.rstrip('.')}{at}{f' ({hint})' if hint else ''}"


def _values(facts: Facts) -> dict[str, Any]:
    values: dict[str, Any] = {name: getattr(facts, name) for name in NAMES if name != "created"}
    values["tags"] = dict(facts.tags)
    if (created := _moment(facts.created)) is not None:
        values["created"] = created
    return values


def _moment(ms: int | None) -> datetime | None:
    try:
        return None if ms is None else datetime.fromtimestamp(ms / 1000, UTC)
    except (OverflowError, ValueError, OSError):
        # a foreign row may hold any number
        return None
