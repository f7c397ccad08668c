"""One object in all three snapshots, or its record, on a terminal. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ...model.diagnostics import Source
from ...model.diff import list_leaves
from ...model.snapshot import Observed, Record
from ...model.spec import Address, Spec
from ..text import PLAIN, Paint, cells, pad, safe, shorten_middle, value


def snapshots(
    address: Address,
    desired: Spec | None,
    recorded: Record | None,
    live: Observed | None,
    *,
    at: Source | None = None,
    paint: Paint = PLAIN,
    width: int = 100,
) -> str:
    """Each field once where all sides agree, and from each side where they differ; facts last."""
    sides = {
        "declared": desired,
        "recorded": recorded.spec if recorded else None,
        "live": live.spec if live and not live.tombstone else None,
    }
    words = {
        "declared": f"at {safe(at)}" if at else _describe(desired),
        "recorded": _describe(recorded),
        "live": "deleted, name still reserved" if live and live.tombstone else _describe(live),
    }
    specs = {side: _leaves(spec) for side, spec in sides.items() if spec is not None}
    head = [f"  {pad(side, 8)}  {paint(word, 'faint')}" for side, word in words.items()]
    parts = ["\n".join([paint(safe(address), "strong"), *head])]
    parts += _part("Fields", _fields(specs, paint, width), paint)
    facts = {name: value(fact) for name, fact in live.facts.items()} if live else {}
    parts += _part("Facts", _fields({"live": facts}, paint, width), paint)
    return "\n\n".join(parts)


def record(record: Record, paint: Paint = PLAIN, *, width: int = 100) -> str:
    """What lac last applied to one object."""
    lines = [paint(safe(record.address), "strong")]
    if record.pending is not None:
        lines[0] += paint(f"  ({_describe(record)})", "yellow")
    if record.spec is not None:
        lines += _fields({"recorded": _leaves(record.spec)}, paint, width)
    return "\n".join(lines)


def _describe(side: object) -> str:
    if not isinstance(side, Record) or side.pending is None:
        return "no" if side is None else "yes"
    names = f", creating {', '.join(map(safe, side.pending.names))}" if side.pending.names else ""
    return f"interrupted apply {safe(side.pending.apply_id)}{names}"


def _part(title: str, lines: Iterator[str], paint: Paint) -> list[str]:
    body = list(lines)
    return ["\n".join([paint(title, "strong"), *body])] if body else []


def _leaves(spec: Spec) -> dict[str, str]:
    return {leaf.name: value(leaf.after) for leaf in list_leaves(spec)}


def _fields(sides: Mapping[str, Mapping[str, str]], paint: Paint, width: int) -> Iterator[str]:
    names = list(dict.fromkeys(name for fields in sides.values() for name in fields))
    column = max((cells(safe(name)) for name in names), default=0)
    for name in names:
        values = {side: fields.get(name) for side, fields in sides.items()}
        label = pad(safe(name), column)
        first, *others = values.values()
        if all(other == first for other in others):
            yield f"  {label}  {shorten_middle(first or '', width - column - 4)}"
            continue
        yield f"  {paint(safe(name), 'yellow')}"
        for side, item in values.items():
            text = paint("(not set)", "faint") if item is None else shorten_middle(item, width - 14)
            yield f"    {pad(side, 8)}  {text}"
