"""Applies and what they did, for people. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from ...model.diff import FieldChange, diff, leaves
from ...model.history import Actor, Apply, Line
from ...model.spec import Address
from ..text import PARTICIPLES, PLAIN, Paint, padded, safe
from .fields import rows


def applies(shown: Sequence[Apply], paint: Paint = PLAIN) -> str:
    """One apply on two lines: when, which, who; what came of it, and from which commit."""
    return "\n".join(line for apply in shown for line in _apply(apply, paint))


def of_address(shown: Sequence[Apply], address: Address, paint: Paint = PLAIN, *, width: int = 100) -> str:
    """Every change of one object, from what to what."""
    parts = [
        "\n".join([_head(apply, paint), *_from(apply.actor), *_line(line, paint, width)])
        for apply in shown
        for line in reversed(apply.lines)
        if line.address == address
    ]
    return "\n\n".join([paint(safe(address), "strong"), *parts])


def moment(at_ms: int) -> str:
    """A time as people read it, in UTC."""
    try:
        return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OverflowError, OSError, ValueError):
        # a time that isn't one: a store may hold anything
        return f"{at_ms} ms"


def _apply(apply: Apply, paint: Paint) -> Iterator[str]:
    yield _head(apply, paint)
    # what was renamed has two lines, and the one under its former name ends there
    counts = Counter(x.action for x in apply.lines if x.action != "move" or x.after is not None)
    told = ", ".join(f"{counts[action]:,} {word}" for action, word in PARTICIPLES.items() if counts[action])
    yield f"    {told or 'nothing changed'}{_commit(apply.actor, '; ')}"


def _head(apply: Apply, paint: Paint) -> str:
    outcome = apply.outcome or "interrupted, or at work"
    good = paint(outcome, "green" if outcome == "complete" else "yellow")
    where = f" in {safe(apply.environment)}" if apply.environment else ""
    return (
        f"{paint(moment(apply.started_ms), 'strong')}  {paint(apply.apply_id[:8], 'cyan')}"
        f"  {padded(safe(apply.command), 7)}  {good}  {safe(apply.actor)}{where}"
    )


def _from(actor: Actor) -> Iterator[str]:
    if told := _commit(actor):
        yield f"    {told}"


def _commit(actor: Actor, before: str = "") -> str:
    parts = [
        *([f"commit {actor.commit[:12]}{' with changes' if actor.dirty else ''}"] if actor.commit else []),
        *([actor.remote] if actor.remote else []),
        *([actor.run] if actor.run else []),
    ]
    return f"{before}{safe(', '.join(parts))}" if parts else ""


def _line(line: Line, paint: Paint, width: int) -> Iterator[str]:
    yield f"  {PARTICIPLES.get(line.action, safe(line.action))}  {paint(f'({safe(line.reason)})', 'faint')}"
    fields: Sequence[FieldChange] = ()
    if line.before is not None and line.after is not None:
        fields = diff(line.before, line.after)
    elif (side := line.after or line.before) is not None:
        fields = leaves(side)
    yield from rows(fields, paint, width=width, bare=line.before is None or line.after is None)
