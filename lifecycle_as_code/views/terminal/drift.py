"""Drift on a terminal: what changed outside lac, then what is pending. Pure."""

from __future__ import annotations

from ...model.plan import Change
from ...planning.drift import Drift
from ..summary import count_actions, drift_problems
from ..text import PLAIN, Paint, format_time, pluralize
from .plan import change, headline
from .problems import problems


def drift(drift: Drift, paint: Paint = PLAIN, *, width: int = 100) -> str:
    """What changed outside in full, as the changes that would revert it; what is pending as a list of
    headlines."""
    obstacles = drift_problems(drift)
    parts = [problems(obstacles, paint)] if obstacles else []
    if drift.exists:
        parts.append(f"{paint('Changed outside lac', 'strong')}: live → last applied")
        parts += [_change(c, drift.updated.get(c.address), paint, width) for c in drift.outside.changes]
        number = pluralize(len(drift.outside.changes), "object")
        verdict = f"{paint('Drift:', 'strong', 'yellow')} {number} changed outside lac."
        verdict += " Run `lac apply` to revert it, or update the manifest to keep it."
    else:
        verdict = paint("No drift.", "strong", "green") + " Live state matches the last apply."
    if drift.pending is None:
        verdict += "\nPending: unknown, because the manifests can't be planned."
    elif drift.pending.differences:
        lines = [headline(c, paint) for c in drift.pending.differences]
        parts.append("\n".join([f"{paint('Pending', 'strong')}: in the manifests, not applied yet", *lines]))
        verdict += f"\nPending: {count_actions(drift.pending)}."
    return "\n\n".join([*parts, verdict])


def _change(item: Change, at_ms: int | None, paint: Paint, width: int) -> str:
    head, *fields = change(item, paint, width=width).split("\n")
    if at_ms is not None:
        head += f"  {paint(f'last written {format_time(at_ms)}', 'faint')}"
    return "\n".join([head, *fields])
