"""Files that are edited for people: what changes in them, and how a commit tells of it. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator

from ...model.evidence import Comparison
from ...model.signature import SignatureClass
from ..text import PLAIN, Paint, Style, safe
from ..versions import MetricRow, metric_rows

_MOST_METRICS = 20
_STYLES: dict[str, tuple[Style, ...]] = {"+": ("green",), "-": ("red",), "@": ("cyan",)}


def patch(file: str, before: str, after: str) -> str:
    """A unified diff that `patch -p0` and `git apply -p0` take; nothing where the texts are the same."""
    lines = difflib.unified_diff(_lines(before), _lines(after), file, file)
    return "".join(
        line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines
    )


def difference(file: str, before: str, after: str, paint: Paint = PLAIN) -> str:
    """The same to be looked at: safe to print, in colour, and without line ends that nobody sees."""
    shown = []
    for number, line in enumerate(patch(file, before, after).split("\n")[:-1]):
        styles: tuple[Style, ...] = ("strong",) if number < 2 else _STYLES.get(line[:1], ())
        shown.append(paint(safe(line.removesuffix("\r")), *styles))
    return "\n".join(shown)


def promotion(
    model: str, alias: str, before: int | str | None, after: int, evidence: Iterable[Comparison] = ()
) -> str:
    """A commit's message: what was promoted, from what, and how the two compare."""
    was = "nothing" if before is None else f"version {safe(before)}"
    body = [f"Before: {was}.", *(line for one in evidence if not one.entity for line in _measured(one))]
    return "\n".join([f"Promote {safe(model)} version {after} to {safe(alias)}", "", *body, ""])


def _lines(text: str) -> list[str]:
    """Lines end with a line feed; other characters that Python takes for line ends are no ends to `patch`."""
    parts = text.split("\n")
    return [f"{part}\n" for part in parts[:-1]] + parts[-1:] * bool(parts[-1])


def _measured(one: Comparison) -> Iterator[str]:
    if one.metrics:
        yield ""
    yield from (_metric(row) for row in metric_rows(one)[:_MOST_METRICS])
    if (rest := len(one.metrics) - _MOST_METRICS) > 0:
        yield f"and {rest} more metrics"
    if one.after is not None and one.after.run is not None:
        yield f"Run: {safe(one.after.run.run_id)}"
    if one.signature.verdict is not SignatureClass.NONE:
        yield f"Signature: {one.signature.verdict}"
    yield from map(safe, one.signature.breaking)


def _metric(row: MetricRow) -> str:
    verdict = {True: " (better)", False: " (worse)", None: ""}[row.measured.better]
    data = f" on {safe(row.measured.dataset)}" if row.measured.dataset else ""
    return f"{safe(row.name)}{data}: {row.before or '–'} → {row.after or '–'}{verdict}"
