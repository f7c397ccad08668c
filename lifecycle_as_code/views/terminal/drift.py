"""Drift on a terminal: what changed outside lac, then what is pending. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from ...model.diagnostics import Diagnostic
from ...model.plan import Change, Plan
from ...model.spec import Address
from ..summary import count_actions
from ..text import PLAIN, Paint, format_time, pluralize
from .plan import change, headline
from .problems import problems


def drift(
    outside: Plan,
    pending: Plan | None,
    obstacles: Sequence[Diagnostic] = (),
    paint: Paint = PLAIN,
    *,
    write_times: Mapping[Address, int] = MappingProxyType({}),
    width: int = 100,
) -> str:
    """`outside` in full, as the changes that would revert it; `pending` as a list of headlines.
    `write_times`: when MLflow last wrote an object, in ms since 1970.

    `pending` is None where no plan can be made; `obstacles` says why.
    """
    diagnostics = (*outside.diagnostics, *(pending.diagnostics if pending else ()), *obstacles)
    parts = [problems(diagnostics, paint)] if diagnostics else []
    if outside.changes:
        parts.append(f"{paint('Changed outside lac', 'strong')}: live → last applied")
        parts += [_change(c, write_times.get(c.address), paint, width) for c in outside.changes]
    if pending is not None and pending.differences:
        lines = [headline(c, paint) for c in pending.differences]
        parts.append("\n".join([f"{paint('Pending', 'strong')}: in the manifests, not applied yet", *lines]))
    return "\n\n".join([*parts, _verdict(outside, pending, paint)])


def _change(item: Change, at_ms: int | None, paint: Paint, width: int) -> str:
    head, *fields = change(item, paint, width=width).split("\n")
    if at_ms is not None:
        head += f"  {paint(f'last written {format_time(at_ms)}', 'faint')}"
    return "\n".join([head, *fields])


def _verdict(outside: Plan, pending: Plan | None, paint: Paint) -> str:
    if outside.changes:
        head = paint("Drift:", "strong", "yellow")
        text = f"{head} {pluralize(len(outside.changes), 'object')} changed outside lac."
        text += " Run `lac apply` to revert it, or update the manifest to keep it."
    else:
        text = paint("No drift.", "strong", "green") + " Live state matches the last apply."
    if pending is None:
        text += "\nPending: unknown, because the manifests can't be planned."
    elif pending.differences:
        text += f"\nPending: {count_actions(pending)}."
    return text
