"""What went wrong, where, and how to mend it. Pure: nothing here prints or exits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal, NamedTuple

Severity = Literal["error", "warning"]


class Source(NamedTuple):
    """A place in a manifest: a path as the user would type it, line and column counted from one."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One problem. `code` and `summary` belong together and hold no user's names; `detail` does.

    `guard`: the guard that raises it, where a flag lets it through: `--allow=<guard>`.
    """

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
    """Carries diagnostics upward; only the command line turns them into text and an exit code."""

    def __init__(self, *diagnostics: Diagnostic) -> None:
        super().__init__("\n".join(map(str, diagnostics)))
        self.diagnostics = diagnostics


def in_file_order(diagnostics: Iterable[Diagnostic]) -> list[Diagnostic]:
    """Those with a place first, by place; the others after them as they came."""
    return sorted(diagnostics, key=lambda d: (d.at is None, d.at or ()))


def refuse(diagnostics: Iterable[Diagnostic], *, beside: Iterable[Diagnostic] = ()) -> None:
    """Raise one LacError with every error among `diagnostics`; do nothing when there is none.

    `beside`: warnings that may tell how it came to the errors, told with them.
    """
    if errors := [d for d in diagnostics if d.severity == "error"]:
        raise LacError(*in_file_order([*warnings_in(beside), *errors]))


def warnings_in(diagnostics: Iterable[Diagnostic]) -> Iterator[Diagnostic]:
    """The diagnostics that don't stop anything."""
    return (d for d in diagnostics if d.severity == "warning")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A hint for a name nobody knows: the nearest known one, or all of them."""
    names = sorted(known)
    if near := get_close_matches(name, names, 1):
        return f"did you mean `{near[0]}`?"
    return f"known: {', '.join(names)}" if names else ""
