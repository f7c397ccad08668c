"""Drift as the body of an issue, in GitHub's flavour of Markdown: the changes that would revert it, then what
is pending. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from ...model.diagnostics import Diagnostic
from ...model.plan import Plan
from ...model.spec import Address
from ..summary import count_actions
from ..text import format_time, pluralize
from .change import change, rows
from .draft import Draft, Section, Weight, fit
from .gfm import MOST_ROWS
from .plan import LIMIT, diagnostics, stack


def drift(
    outside: Plan,
    pending: Plan | None,
    obstacles: Sequence[Diagnostic] = (),
    *,
    write_times: Mapping[Address, int] = MappingProxyType({}),
) -> str:
    """The issue's body; the caller adds a marker. `write_times`: when MLflow last wrote an object.

    `pending` is None where no plan can be made; `obstacles` says why.
    """
    draft = Draft(
        [*_summary(outside, pending)],
        rows(outside.changes, {}),
        [
            *_outside(outside, write_times),
            *_pending(pending),
            *diagnostics((*outside.diagnostics, *(pending.diagnostics if pending else ()), *obstacles)),
        ],
        "`lac drift` prints everything.",
    )
    return fit(draft, LIMIT)


def _summary(outside: Plan, pending: Plan | None) -> Iterator[str]:
    words = ["**No drift.** Live state matches the last apply"]
    if outside.changes:
        words = [f"**Drift:** {pluralize(len(outside.changes), 'object')} changed outside lac"]
    if pending is None:
        words.append("pending: unknown, because the manifests can't be planned")
    elif pending.differences:
        words.append(f"pending: {count_actions(pending)}")
    yield " · ".join(words)
    yield stack(outside)
    if outside.changes:
        yield (
            "These changes would revert it, from live to last applied."
            " Run `lac apply` to revert it, or update the manifest to keep it."
        )


def _outside(outside: Plan, write_times: Mapping[Address, int]) -> Iterator[Section]:
    for each in outside.changes:
        section = change(each, (), {}, Weight.MEDIUM)
        at_ms = write_times.get(each.address)
        time = "" if at_ms is None else f"Last written {format_time(at_ms)}.\n\n"
        yield replace(section, body=f"{time}{section.body}")


def _pending(pending: Plan | None) -> Iterator[Section]:
    if pending is None or not pending.differences:
        return
    lines = rows(pending.differences[:MOST_ROWS], {})
    more = len(pending.differences) - MOST_ROWS
    left = f"\n\nand {pluralize(more, 'more row')}" if more > 0 else ""
    yield Section("Pending: in the manifests, not applied yet", "\n".join(lines) + left)
