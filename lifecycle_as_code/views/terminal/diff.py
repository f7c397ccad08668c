"""The differences between two states of a stack. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from ...model.plan import Action, Change
from ..text import PLAIN, Paint, pluralize, safe
from .plan import change


def difference(
    before: str, after: str, changes: Sequence[Change], paint: Paint = PLAIN, *, width: int = 100
) -> str:
    """`-` is only in `before`, `+` only in `after`, `~` in both with different fields."""
    head = f"From {safe(before)} to {safe(after)}:"
    if not changes:
        return f"{paint('No differences', 'strong', 'green')} from {safe(before)} to {safe(after)}."
    counts = {action: sum(c.action is action for c in changes) for action in Action}
    tally = (
        f"{pluralize(len(changes), 'object differs', 'objects differ')}:"
        f" {counts[Action.CREATE]:,} added, {counts[Action.UPDATE]:,} changed,"
        f" {counts[Action.DELETE]:,} removed."
    )
    return "\n\n".join([paint(head, "faint"), *(change(c, paint, width=width) for c in changes), tally])
