"""One object in all three snapshots, or as it is recorded. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ...model.diagnostics import Source
from ...model.diff import leaves
from ...model.snapshot import Observed, Record
from ...model.spec import Address, Spec
from ..text import PLAIN, Paint, cells, padded, safe, shortened, value


def shown(
    address: Address,
    desired: Spec | None,
    recorded: Record | None,
    live: Observed | None,
    *,
    at: Source | None = None,
    paint: Paint = PLAIN,
    width: int = 100,
) -> str:
    """Each field once where everybody agrees, and from each side where they don't; facts last."""
    sides = {
        "declared": desired,
        "recorded": recorded.spec if recorded else None,
        "live": live.spec if live and not live.tombstone else None,
    }
    words = {
        "declared": f"at {safe(at)}" if at else _yes(desired),
        "recorded": _recorded(recorded),
        "live": "deleted, its name is still taken" if live and live.tombstone else _yes(live),
    }
    held = {side: spec for side, spec in sides.items() if spec is not None}
    head = [f"  {padded(side, 8)}  {paint(word, 'faint')}" for side, word in words.items()]
    parts = ["\n".join([paint(safe(address), "strong"), *head])]
    parts += _part("Fields", _sides(held, paint, width), paint)
    parts += _part("Facts", _facts(live.facts if live else {}, width), paint)
    return "\n\n".join(parts)


def recorded(record: Record, paint: Paint = PLAIN, *, width: int = 100) -> str:
    """What we last applied to one object."""
    lines = [paint(safe(record.address), "strong")]
    if record.pending is not None:
        lines[0] += paint(f"  ({_recorded(record)})", "yellow")
    if record.spec is not None:
        lines += _sides({"recorded": record.spec}, paint, width)
    return "\n".join(lines)


def _yes(side: object) -> str:
    return "no" if side is None else "yes"


def _recorded(record: Record | None) -> str:
    if record is None or record.pending is None:
        return "no" if record is None else "yes"
    made = f", making {', '.join(map(safe, record.pending.names))}" if record.pending.names else ""
    return f"an apply was interrupted: {safe(record.pending.apply_id)}{made}"


def _part(title: str, lines: Iterator[str], paint: Paint) -> list[str]:
    told = list(lines)
    return ["\n".join([paint(title, "strong"), *told])] if told else []


def _sides(sides: Mapping[str, Spec], paint: Paint, width: int) -> Iterator[str]:
    held = {side: {leaf.name: value(leaf.after) for leaf in leaves(spec)} for side, spec in sides.items()}
    names = list(dict.fromkeys(name for fields in held.values() for name in fields))
    column = max((cells(safe(name)) for name in names), default=0)
    for name in names:
        values = {side: fields.get(name) for side, fields in held.items()}
        label = padded(safe(name), column)
        first, *others = values.values()
        if all(other == first for other in others):
            yield f"  {label}  {shortened(first or '', width - column - 4)}"
            continue
        yield f"  {paint(safe(name), 'yellow')}"
        for side, item in values.items():
            text = paint("(not set)", "faint") if item is None else shortened(item, width - 14)
            yield f"    {padded(side, 8)}  {text}"


def _facts(facts: Mapping[str, object], width: int) -> Iterator[str]:
    column = max((cells(safe(name)) for name in facts), default=0)
    for name, fact in facts.items():
        yield f"  {padded(safe(name), column)}  {shortened(value(fact), width - column - 4)}"
