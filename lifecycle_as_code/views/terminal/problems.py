"""Diagnostics as text: place, code, summary, detail and hint. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from ...model.diagnostics import Diagnostic, in_file_order
from ..text import PLAIN, Paint, Style, safe, safe_lines


def diagnostic(problem: Diagnostic, paint: Paint = PLAIN) -> str:
    """One problem, as `str(problem)` spells it, safe to print and in colour."""
    colour: Style = "red" if problem.severity == "error" else "yellow"
    where = paint(f"{safe(problem.at)}: ", "strong") if problem.at else ""
    head = paint(f"{problem.severity}[{safe(problem.code)}]", "strong", colour)
    lines = [f"{where}{head}: {paint(safe(problem.summary), 'strong')}"]
    lines += [f"  {line}" for line in safe_lines(problem.detail)]
    first, *more = safe_lines(problem.hint) or [""]
    if first:
        lines.append(f"  {paint('hint:', 'cyan')} {first}")
        lines += [f"        {line}" for line in more]
    return "\n".join(lines)


def problems(diagnostics: Iterable[Diagnostic], paint: Paint = PLAIN) -> str:
    """All of them in file order, each once."""
    return "\n".join(diagnostic(problem, paint) for problem in in_file_order(dict.fromkeys(diagnostics)))
