"""Errors and warnings: what is wrong, where, and how to fix it. Pure: nothing here prints or exits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal, NamedTuple

Severity = Literal["error", "warning"]


class Source(NamedTuple):
    """A place in a manifest: a path as a user would type it; line and column count from one."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One problem. `summary` is fixed for a `code` and contains no names of the user's; `detail` does.
    `guard`: the guard that raised it, where `--allow=<guard>` overrides it."""

    code: str
    summary: str
    detail: str
    hint: str = ""
    at: Source | None = None
    severity: Severity = "error"
    guard: str = ""

    def __str__(self) -> str:
        where = f"{self.at}: " if self.at else ""
        detail = "".join(f"\n  {line}" for line in self.detail.splitlines())
        hint = f"\n  hint: {self.hint}" if self.hint else ""
        return f"{where}{self.severity}[{self.code}]: {self.summary}{detail}{hint}"


class LacError(Exception):
    """Carries diagnostics to the command line, which alone turns them into text and an exit code."""

    def __init__(self, *diagnostics: Diagnostic) -> None:
        super().__init__("\n".join(map(str, diagnostics)))
        self.diagnostics = diagnostics


def in_file_order(diagnostics: Iterable[Diagnostic]) -> list[Diagnostic]:
    """Diagnostics with a place first, sorted by place; then the others in their given order."""
    return sorted(diagnostics, key=lambda d: (d.at is None, d.at or ()))


def refuse(diagnostics: Iterable[Diagnostic], *, beside: Iterable[Diagnostic] = ()) -> None:
    """Raise one LacError with every error among `diagnostics`; do nothing when there is none. `beside`:
    diagnostics whose warnings may explain the errors; the error carries those too."""
    if errors := [d for d in diagnostics if d.severity == "error"]:
        raise LacError(*in_file_order([*warnings_in(beside), *errors]))


def warnings_in(diagnostics: Iterable[Diagnostic]) -> Iterator[Diagnostic]:
    """The diagnostics that are warnings."""
    return (d for d in diagnostics if d.severity == "warning")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A hint for an unknown name: the nearest known name, or all of them."""
    names = sorted(known)
    if near := get_close_matches(name, names, 1):
        return f"did you mean `{near[0]}`?"
    return f"known: {', '.join(names)}" if names else ""
