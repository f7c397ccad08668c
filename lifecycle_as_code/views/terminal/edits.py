"""Edits of files: their diff, and the message of a promotion's commit. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from io import StringIO

from ...model.evidence import Comparison
from ...model.signature import SignatureClass
from ...model.text import take_first
from ..text import PLAIN, Paint, Style, safe
from ..versions import MetricRow, metric_rows

_MOST_METRICS = 20
_STYLES: dict[str, tuple[Style, ...]] = {"+": ("green",), "-": ("red",), "@": ("cyan",)}


def patch(file: str, before: str, after: str) -> str:
    """A unified diff for `patch -p0` and `git apply -p0`; empty where the texts are equal."""
    # a StringIO's lines end as `patch` reads them: at `\n` alone
    lines = difflib.unified_diff(StringIO(before).readlines(), StringIO(after).readlines(), file, file)
    return "".join(
        line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines
    )


def difference(file: str, before: str, after: str, paint: Paint = PLAIN) -> str:
    """The same for a terminal: safe to print, in colour, and without carriage returns."""
    lines = []
    for number, line in enumerate(patch(file, before, after).split("\n")[:-1]):
        styles: tuple[Style, ...] = ("strong",) if number < 2 else _STYLES.get(line[:1], ())
        lines.append(paint(safe(line.removesuffix("\r")), *styles))
    return "\n".join(lines)


def promotion(
    model: str, alias: str, before: int | str | None, after: int, evidence: Iterable[Comparison] = ()
) -> str:
    """A commit's message: the promotion, the version before, and how the two compare."""
    was = "nothing" if before is None else f"version {safe(before)}"
    body = [f"Before: {was}.", *(line for one in evidence if not one.entity for line in _evidence(one))]
    return "\n".join([f"Promote {safe(model)} version {after} to {safe(alias)}", "", *body, ""])


def _evidence(one: Comparison) -> Iterator[str]:
    if one.metrics:
        yield ""
    yield from take_first([_metric(row) for row in metric_rows(one)], _MOST_METRICS)
    if one.after is not None and one.after.run is not None:
        yield f"Run: {safe(one.after.run.run_id)}"
    if one.signature.verdict is not SignatureClass.NONE:
        yield f"Signature: {one.signature.verdict}"
    yield from map(safe, one.signature.breaking)


def _metric(row: MetricRow) -> str:
    verdict = {True: " (better)", False: " (worse)", None: ""}[row.change.better]
    data = f" on {safe(row.change.dataset)}" if row.change.dataset else ""
    return f"{safe(row.name)}{data}: {row.before or '–'} → {row.after or '–'}{verdict}"
