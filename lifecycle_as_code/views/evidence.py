"""How a version compares with the one before, for people on a terminal: metrics, facts, signature. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from ..evidence import Comparison, Evidence, MetricChange, Run, no_numbers
from ..signature import SignatureChange, SignatureClass
from ..spec import Address
from .text import Paint, Style, cells, listed, padded, safe, shortened

NAN = "NaN"
"""How a metric is shown that was measured and is no number."""

_INDENT = 6
_LEAST_NAME = 20
_MOST_PARAMS = 12
_SHORT_ID = 8
_GAP = "  "
_HEAD: Final = ("metric", "before", "after", "change")
_BETTER: Final[Mapping[bool, tuple[str, Style]]] = {True: ("▲ better", "green"), False: ("▼ worse", "red")}

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
    if told_at is not None:
        yield f"{head}  {paint(f'as for {safe(told_at)}', 'faint')}"
        return
    entity = f" for served entity {safe(found.entity)}" if found.entity else ""
    missing = found.after.missing if found.after else ()
    told = [
        *(f"{indent}  {line}" for line in _metrics(found, paint, width - _INDENT - 2)),
        *(f"{indent}  {paint(label, 'faint')}  {text}" for label, text in _facts(found)),
    ]
    if not told and found.signature.verdict in (SignatureClass.NONE, SignatureClass.UNKNOWN):
        if not missing:
            return
        # each begins with what it is about; the documents have the sentences
        what = listed([safe(text.partition(":")[0]) for text in missing], 4)
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


def versions(found: Comparison) -> str:
    """`version 3 → 4`, `version 4` at a creation, `version 3 →` at a deletion."""
    match found.before, found.after:
        case None, after if after is not None:
            return _version(after)
        case before, None if before is not None:
            return f"{_version(before)} → nothing"
        case before, after if before is not None and after is not None:
            same = before.version == after.version and before.model == after.model
            return _version(after) if same else f"{_version(before)} → {_version(after, bare=True)}"
    return ""


def _version(side: Evidence, *, bare: bool = False) -> str:
    number = str(side.version) if side.version else "(no number yet)"
    return number if bare else f"version {number}"


def _metrics(shown: Comparison, paint: Paint, width: int) -> Iterator[str]:
    """A table, whose names give way to its numbers; where there is no room for both, numbers stand below."""
    found = shown.metrics
    if not found:
        return
    was, will_be = no_numbers(shown.before), no_numbers(shown.after)
    rows = [_row(metric, metric.key in was, metric.key in will_be) for metric in found]
    numbers = [max(map(len, column)) for column in zip(_HEAD[1:], *(row[1:] for row in rows), strict=True)]
    longest = max(cells(name) for name, *_ in (_HEAD, *rows))
    room = width - sum(len(_GAP) + each for each in (*numbers, len(_BETTER[True][0])))
    if room < min(longest, _LEAST_NAME):
        for (name, before, after, change), metric in zip(rows, found, strict=True):
            yield shortened(name, max(width, _LEAST_NAME))
            yield f"{_GAP}{before} → {after}"
            if change:
                yield _GAP + _GAP.join(filter(None, (change, paint(*improvement(metric)))))
        return

    def line(row: Sequence[str]) -> str:
        name = padded(shortened(row[0], room), min(longest, room))
        return _GAP.join([name, *(each.rjust(most) for each, most in zip(row[1:], numbers, strict=True))])

    yield paint(line(_HEAD), "faint")
    for row, metric in zip(rows, found, strict=True):
        sign = paint(*improvement(metric))
        yield f"{line(row)}{_GAP}{sign}" if sign else line(row).rstrip()


def _row(metric: MetricChange, was_nan: bool, is_nan: bool) -> Sequence[str]:
    name = f"{metric.name} on {data(metric)}" if metric.dataset else metric.name
    change = "" if metric.delta is None else f"{metric.delta:+.4g}"
    before = NAN if was_nan else number(metric.before)
    return safe(name), before, NAN if is_nan else number(metric.after), change


def improvement(metric: MetricChange) -> tuple[str, Style]:
    """Whether it is better, as a word with a sign, and a colour for it; nothing where nobody said."""
    return ("", "faint") if metric.better is None else _BETTER[metric.better]


def number(value: float | None) -> str:
    """A metric's value, in six digits."""
    return "–" if value is None else f"{value:.6g}"


def data(metric: MetricChange) -> str:
    """A data set's name and the beginning of its digest."""
    digest = f" ({metric.digest[:_SHORT_ID]})" if metric.digest else ""
    return f"{metric.dataset}{digest}"


def _facts(found: Comparison) -> Iterator[tuple[str, str]]:
    before, after = found.before, found.after
    params = [f"{safe(name)}: {_either(was)} → {_either(will_be)}" for name, was, will_be in found.params]
    if params:
        yield "params  ", listed(params, _MOST_PARAMS)
    if after is None:
        return
    if datasets := [
        f"{safe(d.name)} ({safe(d.digest[:_SHORT_ID])}{', ' + safe(d.context) if d.context else ''})"
        for d in after.datasets
    ]:
        yield "data    ", listed(datasets, 6)
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
    parts = [safe(found.run_id[:_SHORT_ID])]
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


def size(count: int) -> str:
    """Bytes for people."""
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


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
    yield from (f"          {safe(text)}" for text in findings[1:_MOST_PARAMS])
    if len(findings) > _MOST_PARAMS:
        yield f"          and {len(findings) - _MOST_PARAMS} more"
