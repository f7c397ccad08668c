"""How a version compares with the one before, on a terminal: metrics, facts, signature. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from io import StringIO
from typing import Literal

from ...model.evidence import Comparison, Evidence, Run
from ...model.signature import SignatureChange, SignatureClass
from ...model.spec import Address
from ...model.text import join_first, take_first
from ..text import Paint, Style, cells, format_time, safe, shorten_middle
from ..versions import SHORT_ID, MetricRow, Tone, metric_rows, size, versions

_INDENT = 6
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


def comparison(item: Comparison, paint: Paint, width: int, repeat_of: Address | None) -> Iterator[str]:
    """One comparison, below its change. `repeat_of`: the change under which it is printed already."""
    indent = " " * _INDENT
    head = f"{indent}{paint('evidence', 'strong')}"
    entity = f" for served entity {safe(item.entity)}" if item.entity else ""
    if repeat_of is not None:
        same = f"the same{entity}" if repeat_of == item.address else f"same as {safe(repeat_of)}"
        yield f"{head}  {paint(same, 'faint')}"
        return
    missing = item.after.missing if item.after else ()
    body = [
        *(f"{indent}  {line}" for line in _metrics(item, paint, width - _INDENT - 2)),
        *(f"{indent}  {paint(label, 'faint')}  {text}" for label, text in _facts(item)),
    ]
    if not body and item.signature.verdict in (SignatureClass.NONE, SignatureClass.UNKNOWN):
        if not missing:
            return
        # each begins with its subject; Markdown and HTML print the whole sentences
        what = join_first([safe(text.partition(":")[0]) for text in missing], 4)
        yield f"{head}  {paint(f'{safe(item.model)} {versions(item)}{entity}: missing {what}', 'faint')}"
        return
    yield f"{head}  {safe(item.model)} {versions(item)}{entity}"
    yield from body
    yield from (f"{indent}  {line}" for line in _signature(item.signature, paint))
    lines = [*missing]
    # what the version before lacks makes the signature unknown
    if item.signature.verdict is SignatureClass.UNKNOWN and item.before and item.before.signature is None:
        lines[:0] = [f"version {item.before.version}: {text}" for text in item.before.missing]
    yield from (f"{indent}  {paint('missing ', 'yellow')}  {safe(text)}" for text in lines)


def _metrics(item: Comparison, paint: Paint, width: int) -> list[str]:
    """A table that shortens names and never numbers; where there is no room for names, each metric's numbers
    below its name."""
    metrics = metric_rows(item)
    if not metrics:
        return []
    with_data = any(row.data for row in metrics)
    rows = [
        [safe(row.name), *([safe(row.data)] if with_data else []), *_numbers(row), row.trend]
        for row in metrics
    ]
    heads = ["metric", *(["dataset"] if with_data else []), "before", "after", "change", ""]
    names = 1 + with_data
    columns = [*zip(heads, *rows, strict=True)]
    numbers_width = sum(max(map(cells, column)) + 1 for column in columns[names:])
    if width - numbers_width < names * _LEAST_NAME:
        return [line for row in metrics for line in _stack(row, paint, width)]
    # imported here: it takes a tenth of a second, and a plan without metrics doesn't need it
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="dim")
    for place, head in enumerate(heads):
        number = names <= place < len(heads) - 1
        table.add_column(
            head, justify="right" if number else "left", no_wrap=place >= names, overflow="ellipsis"
        )
    for row, texts in zip(metrics, rows, strict=True):
        # as Text, a name isn't read as rich's markup
        table.add_row(*map(Text, texts[:-1]), Text.assemble((row.trend, _TRENDS.get(row.tone, ""))))
    out = StringIO()
    colours: Literal["standard"] | None = "standard" if paint.colour else None
    Console(file=out, width=width, force_terminal=paint.colour, color_system=colours, _environ={}).print(
        table
    )
    return [line.rstrip() for line in out.getvalue().splitlines()]


def _numbers(row: MetricRow) -> tuple[str, str, str]:
    return row.before or "–", row.after or "–", row.delta


def _stack(row: MetricRow, paint: Paint, width: int) -> Iterator[str]:
    data = f" on {safe(row.data)}" if row.data else ""
    yield shorten_middle(f"{safe(row.name)}{data}", width)
    before, after, delta = _numbers(row)
    trend = paint(row.trend, _TRENDS[row.tone]) if row.tone in _TRENDS else row.trend
    yield "  " + "  ".join(filter(None, (f"{before} → {after}", delta, trend)))


def _facts(item: Comparison) -> Iterator[tuple[str, str]]:
    before, after = item.before, item.after
    params = [f"{safe(name)}: {_either(was)} → {_either(will_be)}" for name, was, will_be in item.params]
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


def run(item: Run) -> str:
    """A run on one line: id, status, user, day and commit."""
    parts = (
        item.run_id[:SHORT_ID],
        "deleted" if item.deleted else "",
        item.status,
        item.user and f"by {item.user}",
        # the day alone, where the time is one
        "" if item.ended_ms is None else format_time(item.ended_ms).partition(" ")[0],
        item.commit and f"commit {item.commit[:12]}",
    )
    return ", ".join(map(safe, filter(None, parts)))


def _libraries(before: Evidence | None, after: Evidence) -> Iterator[str]:
    """Flavors, Python and MLflow: a pair where the versions differ, otherwise one version."""
    was = {**before.flavors, "python": before.python, "mlflow": before.mlflow} if before else {}
    will_be = {**after.flavors, "python": after.python, "mlflow": after.mlflow}
    for name, version in will_be.items():
        if version or was.get(name):
            yield f"{safe(name)} {_pair(safe(was[name]) if was.get(name) else None, safe(version) or '–')}"
    yield from (f"{safe(name)} {safe(version)} → –" for name, version in was.items() if name not in will_be)


def _pair(before: str | None, after: str) -> str:
    return after if before in (None, after) else f"{before} → {after}"


def _either(value: str | None) -> str:
    return "–" if value is None else shorten_middle(safe(value), 40)


def _signature(change: SignatureChange, paint: Paint) -> Iterator[str]:
    if change.verdict is SignatureClass.NONE:
        return
    word = paint(str(change.verdict), CLASSES[change.verdict], "strong")
    findings = change.findings or change.breaking
    yield f"{paint('signature', 'faint')} {word}{': ' + safe(findings[0]) if findings else ''}"
    yield from (f"          {safe(text)}" for text in take_first(findings[1:], _MOST_PARAMS - 1))
