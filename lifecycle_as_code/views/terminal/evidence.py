"""How a version compares with the one before, for people on a terminal: metrics, facts, signature. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from io import StringIO
from typing import TYPE_CHECKING

from ...model.evidence import Comparison, Evidence, Run
from ...model.signature import SignatureChange, SignatureClass
from ...model.spec import Address
from ...model.text import join_first, take_first
from ..text import Paint, Style, cells, safe, shortened
from ..versions import SHORT_ID, MetricRow, Tone, metric_rows, size, versions

if TYPE_CHECKING:
    from rich.table import Table

_INDENT = 6
_LEAST_WIDTH = 24
_MOST_PARAMS = 12
_LEAST_NAME = 10

_TRENDS: Mapping[Tone, Style] = {"good": "green", "bad": "red"}

CLASSES: Mapping[SignatureClass, Style] = {
    SignatureClass.SAME: "green",
    SignatureClass.COMPATIBLE: "green",
    SignatureClass.BREAKING: "red",
    SignatureClass.UNKNOWN: "yellow",
    SignatureClass.NONE: "faint",
}


def compared(found: Comparison, paint: Paint, width: int, told_at: Address | None) -> Iterator[str]:
    """All about one comparison, below its change. `told_at`: the change where it stands already."""
    indent = " " * _INDENT
    head = f"{indent}{paint('evidence', 'strong')}"
    entity = f" for served entity {safe(found.entity)}" if found.entity else ""
    if told_at is not None:
        same = f"the same{entity}" if told_at == found.address else f"as for {safe(told_at)}"
        yield f"{head}  {paint(same, 'faint')}"
        return
    missing = found.after.missing if found.after else ()
    told = [
        *(f"{indent}  {line}" for line in _metrics(found, paint, width - _INDENT - 2)),
        *(f"{indent}  {paint(label, 'faint')}  {text}" for label, text in _facts(found)),
    ]
    if not told and found.signature.verdict in (SignatureClass.NONE, SignatureClass.UNKNOWN):
        if not missing:
            return
        # each begins with what it is about; the documents have the sentences
        what = join_first([safe(text.partition(":")[0]) for text in missing], 4)
        yield f"{head}  {paint(f'{safe(found.model)} {versions(found)}{entity}: missing {what}', 'faint')}"
        return
    yield f"{head}  {safe(found.model)} {versions(found)}{entity}"
    yield from told
    yield from (f"{indent}  {line}" for line in _signature(found.signature, paint))
    lines = [*_why_unknown(found), *missing]
    yield from (f"{indent}  {paint('missing ', 'yellow')}  {safe(text)}" for text in lines)


def _why_unknown(found: Comparison) -> Iterator[str]:
    """What is missing about the version before, where the signatures can't be compared for it."""
    before = found.before
    if found.signature.verdict is SignatureClass.UNKNOWN and before and before.signature is None:
        yield from (f"version {before.version}: {text}" for text in before.missing)


def _metrics(shown: Comparison, paint: Paint, width: int) -> list[str]:
    """As a table whose names are cut where they must be, and whose numbers never are; where there is room for
    nothing but numbers, each metric's below its name."""
    found = metric_rows(shown)
    if not found:
        return []
    with_data = any(row.data for row in found)
    rows = [
        [safe(row.name), *([safe(row.data)] if with_data else []), *_numbers(row), row.trend] for row in found
    ]
    heads = ["metric", *(["data set"] if with_data else []), "before", "after", "change", ""]
    names = 1 + with_data
    columns = [*zip(heads, *rows, strict=True)]
    taken = sum(max(map(cells, column)) + 1 for column in columns[names:])
    if width - taken < names * _LEAST_NAME:
        return [line for row in found for line in _stacked(row, paint, width)]
    table = _table(heads, names)
    for row, texts in zip(found, rows, strict=True):
        *told, trend = map(_plain, texts)
        style = _TRENDS.get(row.tone) if paint.colour else None
        table.add_row(*told, f"[{style}]{trend}[/{style}]" if style else trend)
    return _drawn(table, paint, width)


def _numbers(row: MetricRow) -> tuple[str, str, str]:
    return row.before or "–", row.after or "–", row.delta


def _stacked(row: MetricRow, paint: Paint, width: int) -> Iterator[str]:
    data = f" on {safe(row.data)}" if row.data else ""
    yield shortened(f"{safe(row.name)}{data}", width)
    before, after, delta = _numbers(row)
    trend = paint(row.trend, _TRENDS[row.tone]) if row.tone in _TRENDS else row.trend
    yield "  " + "  ".join(filter(None, (f"{before} → {after}", delta, trend)))


def _facts(found: Comparison) -> Iterator[tuple[str, str]]:
    before, after = found.before, found.after
    params = [f"{safe(name)}: {_either(was)} → {_either(will_be)}" for name, was, will_be in found.params]
    if params:
        yield "params  ", join_first(params, _MOST_PARAMS)
    if after is None:
        return
    if datasets := [
        f"{safe(d.name)} ({safe(d.digest[:SHORT_ID])}{', ' + safe(d.context) if d.context else ''})"
        for d in after.datasets
    ]:
        yield "data    ", join_first(datasets, 6)
    if after.run is not None:
        yield "run     ", run(after.run)
    libraries = list(_libraries(before, after))
    if libraries:
        yield "made by ", ", ".join(libraries)
    if after.size is not None:
        was = before.size if before else None
        yield "size    ", _pair(None if was is None else size(was), size(after.size))


def run(found: Run) -> str:
    """A run on one line: id, status, who, when, from which commit."""
    parts = [safe(found.run_id[:SHORT_ID])]
    if found.deleted:
        parts.append("deleted")
    if found.status:
        parts.append(safe(found.status))
    if found.user:
        parts.append(f"by {safe(found.user)}")
    if found.ended_ms is not None:
        parts.append(day(found.ended_ms))
    if found.commit:
        parts.append(f"commit {safe(found.commit[:12])}")
    return ", ".join(parts)


def day(at_ms: int) -> str:
    """`2026-11-24`, in UTC; a time that is none says so."""
    try:
        return datetime.fromtimestamp(at_ms / 1000, UTC).date().isoformat()
    except (ValueError, OverflowError, OSError):
        return "no time"


def _libraries(before: Evidence | None, after: Evidence) -> Iterator[str]:
    """Flavors, Python and MLflow: what differs as a pair, what doesn't once."""
    was = {**before.flavors, "python": before.python, "mlflow": before.mlflow} if before else {}
    will_be = {**after.flavors, "python": after.python, "mlflow": after.mlflow}
    for name, version in will_be.items():
        if version or was.get(name):
            yield f"{safe(name)} {_pair(safe(was[name]) if was.get(name) else None, safe(version) or '–')}"
    yield from (f"{safe(name)} {safe(version)} → –" for name, version in was.items() if name not in will_be)


def _pair(before: str | None, after: str) -> str:
    return after if before in (None, after) else f"{before} → {after}"


def _either(value: str | None) -> str:
    return "–" if value is None else shortened(safe(value), 40)


def _signature(found: SignatureChange, paint: Paint) -> Iterator[str]:
    if found.verdict is SignatureClass.NONE:
        return
    word = paint(str(found.verdict), CLASSES[found.verdict], "strong")
    findings = found.findings or found.breaking
    yield f"{paint('signature', 'faint')} {word}{': ' + safe(findings[0]) if findings else ''}"
    yield from (f"          {safe(text)}" for text in take_first(findings[1:], _MOST_PARAMS - 1))


# --- tables


def _table(heads: Sequence[str], names: int) -> Table:
    """Columns of names, which may be cut, and then of numbers, but for the last one."""
    # imported here: a plan without metrics is spared a tenth of a second
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="dim", expand=False)
    for place, head in enumerate(heads):
        number = names <= place < len(heads) - 1
        table.add_column(
            head, justify="right" if number else "left", no_wrap=place >= names, overflow="ellipsis"
        )
    return table


def _plain(text: str) -> str:
    # rich's own markup is no business of a metric's name
    return text.replace("[", "\\[")


def _drawn(table: Table, paint: Paint, width: int) -> list[str]:
    from rich.console import Console

    out = StringIO()
    console = Console(
        file=out,
        width=max(width, _LEAST_WIDTH),
        force_terminal=paint.colour,
        color_system="standard" if paint.colour else None,
        no_color=not paint.colour,
        highlight=False,
        emoji=False,
        legacy_windows=False,
        _environ={},
    )
    console.print(table)
    return [line.rstrip() for line in out.getvalue().splitlines()]
