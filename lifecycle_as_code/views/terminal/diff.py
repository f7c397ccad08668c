"""Two states of a stack, and what differs, for people. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from ...model.plan import Action, Change
from ..text import PLAIN, Paint, counted, safe
from .plan import change


def difference(
    before: str, after: str, changes: Sequence[Change], paint: Paint = PLAIN, *, width: int = 100
) -> str:
    """`-` stands only in `before`, `+` only in `after`, `~` in both and not the same."""
    head = f"From {safe(before)} to {safe(after)}:"
    if not changes:
        return f"{paint('No difference', 'strong', 'green')} from {safe(before)} to {safe(after)}."
    counts = {action: sum(c.action is action for c in changes) for action in Action}
    told = (
        f"{counted(len(changes), 'object')} {'differs' if len(changes) == 1 else 'differ'}:"
        f" {counts[Action.CREATE]} only after, {counts[Action.DELETE]} only before,"
        f" {counts[Action.UPDATE]} in both."
    )
    return "\n\n".join([paint(head, "faint"), *(change(c, paint, width=width) for c in changes), told])
