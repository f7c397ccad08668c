"""Drift as the body of an issue, in GitHub's flavour of Markdown: what changed outside, as what would put it
back; then what is only pending. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from ...model.diagnostics import Diagnostic
from ...model.plan import Plan
from ...model.spec import Address
from ..terminal.history import moment
from ..terminal.plan import told
from ..text import counted
from .change import change, rows
from .fit import Detail, Draft, Stays, fitted
from .gfm import MOST_ROWS
from .plan import LIMIT, diagnostics, where


def drift(
    outside: Plan,
    pending: Plan | None,
    obstacles: Sequence[Diagnostic] = (),
    *,
    updated: Mapping[Address, int] = MappingProxyType({}),
) -> str:
    """The body, without a marker to find it by. `updated`: when MLflow says that an object was last written.

    `pending` is None where no plan can be made; `obstacles` says why.
    """
    draft = Draft(
        [*_summary(outside, pending)],
        rows(outside.changes, {}),
        [
            *_outside(outside, updated),
            *_pending(pending),
            *diagnostics((*outside.diagnostics, *(pending.diagnostics if pending else ()), *obstacles)),
        ],
        "`lac drift` prints all of it.",
    )
    return fitted(draft, LIMIT)


def _summary(outside: Plan, pending: Plan | None) -> Iterator[str]:
    found = f"**Drift:** {counted(len(outside.changes), 'object')} changed outside"
    words = [found if outside.changes else "**No drift.** Nothing changed outside since the last apply"]
    if pending is None:
        words.append("pending: unknown, for the manifests can't be planned")
    elif pending.differences:
        words.append(f"pending: {told(pending)}")
    yield " · ".join(words)
    yield where(outside)
    if outside.changes:
        yield (
            "What would put it back, from live to as it was applied."
            " `lac apply` does, as the manifests say; to keep it, write it there."
        )


def _outside(outside: Plan, updated: Mapping[Address, int]) -> Iterator[Detail]:
    for each in outside.changes:
        part = change(each, (), {}, Stays.LONG)
        at_ms = updated.get(each.address)
        written = "" if at_ms is None else f"Last written {moment(at_ms)}.\n\n"
        yield replace(part, body=f"{written}{part.body}")


def _pending(pending: Plan | None) -> Iterator[Detail]:
    if pending is None or not pending.differences:
        return
    lines = rows(pending.differences[:MOST_ROWS], {})
    more = len(pending.differences) - MOST_ROWS
    left = f"\n\nand {counted(more, 'more row')}" if more > 0 else ""
    yield Detail("Pending: in the manifests, not yet applied", "\n".join(lines) + left)
