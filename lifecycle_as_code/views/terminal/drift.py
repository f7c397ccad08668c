"""What changed outside, apart from what is pending. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from ...model.diagnostics import Diagnostic
from ...model.plan import Change, Plan
from ...model.spec import Address
from ..text import PLAIN, Paint, counted
from .history import moment
from .plan import change, headline, told
from .problems import problems


def drift(
    outside: Plan,
    pending: Plan | None,
    obstacles: Sequence[Diagnostic] = (),
    paint: Paint = PLAIN,
    *,
    updated: Mapping[Address, int] = MappingProxyType({}),
    width: int = 100,
) -> str:
    """`outside` as the changes that would put it back, in full; `pending` as a list of headlines. `updated`:
    when MLflow says that an object was last written, in ms since 1970.

    `pending` is None where no plan can be made; `obstacles` says why.
    """
    told_first = (*outside.diagnostics, *(pending.diagnostics if pending else ()), *obstacles)
    parts = [problems(told_first, paint)] if told_first else []
    if outside.changes:
        parts.append(f"{paint('Changed outside', 'strong')}: live → as it was applied")
        parts += [_drifted(c, updated.get(c.address), paint, width) for c in outside.changes]
    if pending is not None and pending.differences:
        lines = [headline(c, paint) for c in pending.differences]
        parts.append("\n".join([f"{paint('Pending', 'strong')}: in the manifests, not yet applied", *lines]))
    return "\n\n".join([*parts, _verdict(outside, pending, paint)])


def _drifted(shown: Change, at_ms: int | None, paint: Paint, width: int) -> str:
    told = change(shown, paint, width=width)
    if at_ms is None:
        return told
    head, *rest = told.split("\n")
    return "\n".join([f"{head}  {paint(f'last written {moment(at_ms)}', 'faint')}", *rest])


def _verdict(outside: Plan, pending: Plan | None, paint: Paint) -> str:
    if outside.changes:
        head = paint("Drift:", "strong", "yellow")
        said = f"{head} {counted(len(outside.changes), 'object')} changed outside."
        said += " `lac apply` puts it back as the manifests say; to keep it, write it there."
    else:
        said = paint("No drift.", "strong", "green") + " Nothing changed outside since the last apply."
    if pending is None:
        said += "\nPending: unknown, for the manifests can't be planned."
    elif pending.differences:
        said += f"\nPending: {told(pending)}."
    return said
