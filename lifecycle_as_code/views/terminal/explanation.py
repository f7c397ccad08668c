"""Why an object is changed, for people. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ...planning.explanation import Explanation, Field
from ..text import PARTICIPLES, PLAIN, Paint, padded, safe, shortened, value
from .history import moment
from .plan import headline
from .review import chosen

_SIDES = ("manifest", "recorded", "live")


def explained(shown: Explanation, paint: Paint = PLAIN, *, width: int = 100) -> str:
    """The change, why, and each field from every side with the line that says it."""
    head = headline(shown.change, paint) if shown.change else paint(f"  {safe(shown.address)}", "strong")
    parts = ["\n".join([head, f"  {safe(shown.why)}"])]
    if shown.fields:
        parts.append("\n".join(line for field in shown.fields for line in _field(field, paint, width)))
    if shown.choices:
        parts.append("\n".join(line for choice in shown.choices for line in chosen(choice, paint, 2)))
    facts = list(_facts(shown))
    if facts:
        parts.append("\n".join(f"  {paint(padded(name, 10), 'faint')}  {text}" for name, text in facts))
    return "\n\n".join(parts)


def _field(field: Field, paint: Paint, width: int) -> Iterator[str]:
    sides = dict(zip(_SIDES, (field.declared, field.recorded, field.live), strict=True))
    where = f"  {safe(field.at)}" if field.at else ""
    if field.declared == field.recorded == field.live:
        yield f"  {safe(field.name)}  {shortened(value(field.live), width // 2)}{paint(where, 'faint')}"
        return
    yield f"  {paint(safe(field.name), 'yellow' if field.differs else 'strong')}"
    for side, item in sides.items():
        place = paint(where, "faint") if side == "manifest" else ""
        yield f"    {padded(side, 8)}  {_value(item, paint, width)}{place}"


def _value(item: Any, paint: Paint, width: int) -> str:
    return paint("(not set)", "faint") if item is None else shortened(value(item), width // 2)


def _facts(shown: Explanation) -> Iterator[tuple[str, str]]:
    if shown.at:
        yield "declared", safe(shown.at)
    if shown.last:
        apply, line = shown.last
        commit = f", commit {safe(apply.actor.commit[:12])}" if apply.actor.commit else ""
        deed = PARTICIPLES.get(line.action, line.action)
        which = f"apply {safe(apply.apply_id[:8])}, {moment(line.at_ms)}, {safe(apply.actor)}{commit}"
        yield "last", f"{deed} by {which}"
    if shown.change and shown.change.waits_for:
        yield "waits for", ", ".join(sorted(safe(a) for a in shown.change.waits_for))
