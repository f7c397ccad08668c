"""The history of applies on a terminal. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from ...model.diff import FieldChange, diff, list_leaves
from ...model.history import Actor, Apply, Line
from ...model.spec import Address
from ..text import PARTICIPLES, PLAIN, Paint, format_time, pad, safe
from .fields import rows


def applies(log: Sequence[Apply], paint: Paint = PLAIN) -> str:
    """Each apply on two lines: time, id, outcome and actor; its counts and its commit."""
    return "\n".join(line for apply in log for line in _apply(apply, paint))


def of_address(log: Sequence[Apply], address: Address, paint: Paint = PLAIN, *, width: int = 100) -> str:
    """Every change of one object, with its fields before → after."""
    parts = [
        "\n".join([*_top(apply, paint), *_line(line, paint, width)])
        for apply in log
        for line in reversed(apply.lines)
        if line.address == address
    ]
    return "\n\n".join([paint(safe(address), "strong"), *parts])


def _top(apply: Apply, paint: Paint) -> Iterator[str]:
    yield _head(apply, paint)
    if commit := _commit(apply.actor):
        yield f"    {commit}"


def _apply(apply: Apply, paint: Paint) -> Iterator[str]:
    yield _head(apply, paint)
    # a renamed object has two lines; the one under its former name has no `after`
    counts = Counter(x.action for x in apply.lines if x.action != "move" or x.after is not None)
    words = [f"{counts[action]:,} {word}" for action, word in PARTICIPLES.items() if counts[action]]
    yield f"    {'; '.join(filter(None, (', '.join(words) or 'no changes', _commit(apply.actor))))}"


def _head(apply: Apply, paint: Paint) -> str:
    outcome = apply.outcome or "interrupted, or in progress"
    good = paint(outcome, "green" if outcome == "complete" else "yellow")
    where = f" in {safe(apply.environment)}" if apply.environment else ""
    return (
        f"{paint(format_time(apply.started_ms), 'strong')}  {paint(apply.apply_id[:8], 'cyan')}"
        f"  {pad(safe(apply.command), 7)}  {good}  {safe(apply.actor)}{where}"
    )


def _commit(actor: Actor) -> str:
    dirty = " with uncommitted changes" if actor.dirty else ""
    commit = actor.commit and f"commit {actor.commit[:12]}{dirty}"
    return safe(", ".join(filter(None, (commit, actor.remote, actor.run))))


def _line(line: Line, paint: Paint, width: int) -> Iterator[str]:
    yield f"  {PARTICIPLES.get(line.action, safe(line.action))}  {paint(f'({safe(line.reason)})', 'faint')}"
    fields: Sequence[FieldChange] = ()
    if line.before is not None and line.after is not None:
        fields = diff(line.before, line.after)
    elif (side := line.after or line.before) is not None:
        fields = list_leaves(side)
    yield from rows(fields, paint, width=width, bare=line.before is None or line.after is None)
