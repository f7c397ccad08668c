"""One change of a plan in a comment: its row in the table, and its part that opens, with the fields and the
evidence. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape

from ...model.diff import FieldChange
from ...model.evidence import Comparison
from ...model.plan import Change
from ...model.signature import SignatureChange, SignatureClass
from ...model.spec import Address
from ...model.text import join_first
from .. import summary, versions
from ..terminal import plan
from ..text import counted, safe, shortened, shortened_pair, value
from .fit import Detail, Stays
from .gfm import NAME, VALUE, code, fenced, held, html_code, items, named, place, prose, said, some, table

_BRIEF = 60
_MOST_LINES = 40


def rows(changes: Sequence[Change], compared: Mapping[Address, Sequence[Comparison]]) -> list[str]:
    """The table of all changes, line by line."""
    if not changes:
        return []
    told = (
        [f"`{plan.SIGNS[c.action][0]}` {c.action}", named(c.address), _what(c, compared.get(c.address, ()))]
        for c in changes
    )
    return table(["Action", "Object", "What"], told).splitlines()


def _what(shown: Change, compared: Sequence[Comparison]) -> str:
    """The first fields, what a reviewer should look at, and why."""
    fields = summary.fields(shown)
    told = [_briefly(field) for field in fields[:2]]
    if (more := len(fields) - 2) > 0:
        told.append(f"{more:,} more")
    told += dict.fromkeys(f"signature **{c.signature.verdict}**" for c in compared if c.signature.breaking)
    why = f"({prose(shortened(safe(summary.why(shown)), NAME))})"
    return " ".join(filter(None, (", ".join(told), why)))


def _briefly(field: FieldChange) -> str:
    name = named(field.name, _BRIEF)
    if summary.is_text(field):
        return f"{name} (text)"
    if field.before is None or field.after is None:
        gone = " (gone)" if field.after is None else ""
        only = field.after if field.before is None else field.before
        return f"{name} {code(shortened(value(only), _BRIEF))}{gone}"
    before, after = shortened_pair(value(field.before), value(field.after), _BRIEF)
    return f"{name} {code(before)} → {code(after)}"


def change(
    shown: Change,
    compared: Sequence[Comparison],
    told: Mapping[tuple[Address, str], Address],
    stays: Stays = Stays.SHORT,
) -> Detail:
    """All about it. `told`: where evidence was told already, by change and entity."""
    name = html_code(shortened(safe(shown.address), NAME))
    head = f"{escape(plan.SIGNS[shown.action][0])} {shown.action} {name}"
    broken = any(c.signature.breaking for c in compared)
    where = f" at {place(shown.at)}" if shown.at else ""
    kept = ", protected" if shown.protected else ""
    blocks = [f"{said(summary.why(shown))}{where}{kept}", *_fields(shown)]
    for comparison in compared:
        blocks += _evidence(comparison, told.get((comparison.address, comparison.entity)))
    return Detail(f"{head} <b>signature breaking</b>" if broken else head, "\n\n".join(blocks), stays)


def _fields(shown: Change) -> Iterator[str]:
    fields = summary.fields(shown)
    if short := [f for f in fields if not summary.is_text(f)]:
        whole = summary.whole(shown)
        head = ["Field", "Value"] if whole else ["Field", "Before", "After"]
        yield some(head, [_row(f, whole=whole) for f in short])
    for field in fields:
        if summary.is_text(field):
            differing = summary.line_by_line(field)
            if differing:
                yield f"{named(field.name)}\n\n{_block(differing)}"
            else:
                yield f"{named(field.name)}: {held(field.before)} → {held(field.after)}"


def _block(differing: Sequence[str]) -> str:
    left = len(differing) - _MOST_LINES
    more = [f"… {counted(left, 'more line')}"] if left > 0 else []
    return fenced([*(shortened(safe(line), VALUE) for line in differing[:_MOST_LINES]), *more], "diff")


def _row(field: FieldChange, *, whole: bool) -> list[str]:
    if whole:
        return [named(field.name), held(field.after if field.before is None else field.before)]
    if field.before is None or field.after is None:
        return [named(field.name), held(field.before), held(field.after)]
    pair = shortened_pair(value(field.before), value(field.after), VALUE)
    return [named(field.name), *map(code, pair)]


def _evidence(shown: Comparison, told: Address | None) -> Iterator[str]:
    also = f", the same as under {named(told)}" if told else ""
    yield f"**Evidence** for {named(versions.title(shown), 2 * NAME)}{also}"
    yield from _signature(shown.signature)
    if told:
        return
    rows = versions.metric_rows(shown)
    if moved := [_metric(row) for row in rows if row.moved]:
        yield some(["Metric", "Data set", "Before", "After", "Δ", "Trend"], moved, right=(2, 3, 4))
    if still := [f"{named(r.name)} {r.after}".rstrip() for r in rows if not r.moved]:
        yield f"{counted(len(still), 'metric')} as before: {join_first(still, 10)}"
    if params := [[named(name), held(before), held(after)] for name, before, after in shown.params]:
        yield some(["Parameter", "Before", "After"], params)
    if facts := [[_name(f.name), _fact(f.before), _fact(f.after)] for f in versions.facts(shown)]:
        yield some(["About", "Before", "After"], facts)
    if missing := [said(what) for what in versions.absent(shown)]:
        yield "\n".join(["Missing:", "", *items(missing)])


def _metric(shown: versions.MetricRow) -> list[str]:
    trend = f"**{shown.trend}**" if shown.tone == "bad" else shown.trend
    data = named(shown.data) if shown.data else ""
    return [named(shown.name), data, shown.before, shown.after, shown.delta, trend]


def _name(text: str) -> str:
    return prose(shortened(safe(text), NAME))


def _fact(text: str) -> str:
    return named(text, VALUE) if text else "–"


def _signature(shown: SignatureChange) -> Iterator[str]:
    if shown.verdict is SignatureClass.NONE:
        return
    others = [said(finding) for finding in shown.findings if finding not in shown.breaking]
    found = [*(f"**breaking**: {said(finding)}" for finding in shown.breaking), *others]
    yield "\n".join([f"Signature: **{shown.verdict}**", *(["", *items(found)] if found else [])])
