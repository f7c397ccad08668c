"""One change of a plan in a comment: its row of the table, and its section with fields and evidence. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape

from ...model.diff import FieldChange
from ...model.evidence import Comparison
from ...model.plan import Change
from ...model.signature import SignatureChange, SignatureClass
from ...model.spec import Address
from ...model.text import join_first, take_first
from .. import summary, versions
from ..summary import SIGNS
from ..text import pluralize, safe, shorten_middle, shorten_pair, value
from .draft import Section, Weight
from .gfm import (
    NAME,
    VALUE,
    bullets,
    code,
    diff_block,
    first_rows,
    html_code,
    name_code,
    place,
    prose,
    prose_lines,
    table,
    value_code,
)

_BRIEF = 60
_MOST_LINES = 40


def rows(changes: Sequence[Change], evidence: Mapping[Address, Sequence[Comparison]]) -> list[str]:
    """The table of all changes, line by line."""
    if not changes:
        return []
    cells = (
        [
            f"`{SIGNS[c.action][0]}` {c.action}",
            name_code(c.address),
            _summary(c, evidence.get(c.address, ())),
        ]
        for c in changes
    )
    return table(["Action", "Object", "Summary"], cells).splitlines()


def _summary(change: Change, evidence: Sequence[Comparison]) -> str:
    """The first fields, a breaking signature, and the reason."""
    parts = take_first([_brief(field) for field in summary.fields(change)], 2)
    parts += dict.fromkeys(f"signature **{c.signature.verdict}**" for c in evidence if c.signature.breaking)
    why = f"({prose(shorten_middle(safe(summary.why(change)), NAME))})"
    return " ".join(filter(None, (", ".join(parts), why)))


def _brief(field: FieldChange) -> str:
    name = name_code(field.name, _BRIEF)
    if summary.is_text(field):
        return f"{name} (text)"
    if field.before is None or field.after is None:
        removal = " (removed)" if field.after is None else ""
        only = field.after if field.before is None else field.before
        return f"{name} {code(shorten_middle(value(only), _BRIEF))}{removal}"
    before, after = shorten_pair(value(field.before), value(field.after), _BRIEF)
    return f"{name} {code(before)} → {code(after)}"


def change(
    item: Change,
    evidence: Sequence[Comparison],
    repeats: Mapping[tuple[Address, str], Address],
    weight: Weight = Weight.LOW,
) -> Section:
    """The section of one change. `repeats`: the change whose section has the same evidence, by change and
    entity."""
    name = html_code(shorten_middle(safe(item.address), NAME))
    head = f"{escape(SIGNS[item.action][0])} {item.action} {name}"
    if any(c.signature.breaking for c in evidence):
        head += " <b>signature breaking</b>"
    where = f" at {place(item.at)}" if item.at else ""
    protection = ", protected" if item.protected else ""
    blocks = [f"{prose_lines(summary.why(item))}{where}{protection}", *_fields(item)]
    for comparison in evidence:
        blocks += _evidence(comparison, repeats.get((comparison.address, comparison.entity)))
    return Section(head, "\n\n".join(blocks), weight)


def _fields(change: Change) -> Iterator[str]:
    fields = summary.fields(change)
    whole = summary.whole(change)
    head = ["Field", "Value"] if whole else ["Field", "Before", "After"]
    yield from first_rows(head, [_row(f, whole=whole) for f in fields if not summary.is_text(f)])
    for field in fields:
        if summary.is_text(field):
            if lines := summary.compare_lines(field):
                left = len(lines) - _MOST_LINES
                more = [f"… {pluralize(left, 'more line')}"] if left > 0 else []
                first = [shorten_middle(safe(line), VALUE) for line in lines[:_MOST_LINES]]
                yield f"{name_code(field.name)}\n\n{diff_block([*first, *more])}"
            else:
                yield f"{name_code(field.name)}: {value_code(field.before)} → {value_code(field.after)}"


def _row(field: FieldChange, *, whole: bool) -> list[str]:
    if whole:
        return [name_code(field.name), value_code(field.after if field.before is None else field.before)]
    if field.before is None or field.after is None:
        return [name_code(field.name), value_code(field.before), value_code(field.after)]
    pair = shorten_pair(value(field.before), value(field.after), VALUE)
    return [name_code(field.name), *map(code, pair)]


def _evidence(comparison: Comparison, repeat_of: Address | None) -> Iterator[str]:
    same = f", the same as for {name_code(repeat_of)}" if repeat_of else ""
    yield f"**Evidence** for {name_code(versions.title(comparison), 2 * NAME)}{same}"
    yield from _signature(comparison.signature)
    if repeat_of:
        return
    rows = versions.metric_rows(comparison)
    differences = [_metric(row) for row in rows if row.differs]
    yield from first_rows(
        ["Metric", "Dataset", "Before", "After", "Δ", "Trend"], differences, right=(2, 3, 4)
    )
    if others := [f"{name_code(r.name)} {r.after}".rstrip() for r in rows if not r.differs]:
        yield f"{pluralize(len(others), 'metric')} unchanged: {join_first(others, 10)}"
    params = [[name_code(n), value_code(b), value_code(a)] for n, b, a in comparison.params]
    yield from first_rows(["Parameter", "Before", "After"], params)
    facts = [
        [
            prose(shorten_middle(safe(name), NAME)),
            *(name_code(side, VALUE) if side else "–" for side in sides),
        ]
        for name, *sides in versions.facts(comparison)
    ]
    yield from first_rows(["Fact", "Before", "After"], facts)
    if missing := [prose_lines(what) for what in versions.missing(comparison)]:
        yield "\n".join(["Missing:", "", *bullets(missing)])


def _metric(row: versions.MetricRow) -> list[str]:
    trend = f"**{row.trend}**" if row.tone == "bad" else row.trend
    data = name_code(row.data) if row.data else ""
    return [name_code(row.name), data, row.before, row.after, row.delta, trend]


def _signature(change: SignatureChange) -> Iterator[str]:
    if change.verdict is SignatureClass.NONE:
        return
    findings = [f"**breaking**: {prose_lines(finding)}" for finding in change.breaking]
    findings += [prose_lines(finding) for finding in change.findings if finding not in change.breaking]
    yield "\n".join([f"Signature: **{change.verdict}**", *(["", *bullets(findings)] if findings else [])])
