"""Why the plan changes an object, on a terminal. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from ...planning.explanation import Explanation, Field
from ..text import PARTICIPLES, PLAIN, Paint, format_time, pad, safe, shorten_middle, value
from .plan import headline
from .review import selection


def explanation(item: Explanation, paint: Paint = PLAIN, *, width: int = 100) -> str:
    """The change, its reason, and each field from every side with its line in the manifest."""
    head = headline(item.change, paint) if item.change else paint(f"  {safe(item.address)}", "strong")
    parts = ["\n".join([head, f"  {safe(item.why)}"])]
    if item.fields:
        parts.append("\n".join(line for field in item.fields for line in _field(field, paint, width)))
    if item.choices:
        parts.append("\n".join(line for choice in item.choices for line in selection(choice, paint, 2)))
    facts = list(_facts(item))
    if facts:
        parts.append("\n".join(f"  {paint(pad(name, 10), 'faint')}  {text}" for name, text in facts))
    return "\n\n".join(parts)


def _field(field: Field, paint: Paint, width: int) -> Iterator[str]:
    where = paint(f"  {safe(field.at)}", "faint") if field.at else ""
    if field.declared == field.recorded == field.live:
        yield f"  {safe(field.name)}  {shorten_middle(value(field.live), width // 2)}{where}"
        return
    yield f"  {paint(safe(field.name), 'yellow' if field.differs else 'strong')}"
    sides = (("manifest", field.declared, where), ("recorded", field.recorded, ""), ("live", field.live, ""))
    for side, item, place in sides:
        text = paint("(not set)", "faint") if item is None else shorten_middle(value(item), width // 2)
        yield f"    {pad(side, 8)}  {text}{place}"


def _facts(item: Explanation) -> Iterator[tuple[str, str]]:
    if item.at:
        yield "declared", safe(item.at)
    if item.last:
        apply, line = item.last
        commit = f", commit {safe(apply.actor.commit[:12])}" if apply.actor.commit else ""
        verb = PARTICIPLES.get(line.action, line.action)
        time = format_time(line.at_ms)
        yield "last", f"{verb} by apply {safe(apply.apply_id[:8])}, {time}, {safe(apply.actor)}{commit}"
    if item.change and item.change.waits_for:
        yield "waits for", ", ".join(sorted(safe(a) for a in item.change.waits_for))
