"""Drift as the body of an issue, in GitHub's flavour of Markdown: the changes that would revert it, then what
is pending. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ...planning.drift import Drift
from ..summary import count_actions, drift_problems
from ..text import format_time, pluralize
from .change import change, rows
from .draft import Draft, Section, Weight, fit
from .gfm import MOST_ROWS, count_rows
from .plan import LIMIT, diagnostics, stack


def drift(drift: Drift) -> str:
    """The issue's body; the caller adds a marker."""
    sections = [*_outside(drift), *_pending(drift), *diagnostics(drift_problems(drift))]
    draft = Draft(
        [*_summary(drift)], rows(drift.outside.changes, {}), sections, "`lac drift` prints everything."
    )
    return fit(draft, LIMIT)


def _summary(drift: Drift) -> Iterator[str]:
    words = ["**No drift.** Live state matches the last apply"]
    if drift.exists:
        words = [f"**Drift:** {pluralize(len(drift.outside.changes), 'object')} changed outside lac"]
    if drift.pending is None:
        words.append("pending: unknown, because the manifests can't be planned")
    elif drift.pending.differences:
        words.append(f"pending: {count_actions(drift.pending)}")
    yield " · ".join(words)
    yield stack(drift.outside)
    if drift.exists:
        yield (
            "These changes would revert it, from live to last applied."
            " Run `lac apply` to revert it, or update the manifest to keep it."
        )


def _outside(drift: Drift) -> Iterator[Section]:
    for each in drift.outside.changes:
        section = change(each, (), {}, Weight.MEDIUM)
        at_ms = drift.updated.get(each.address)
        time = "" if at_ms is None else f"Last written {format_time(at_ms)}.\n\n"
        yield replace(section, body=f"{time}{section.body}")


def _pending(drift: Drift) -> Iterator[Section]:
    if drift.pending is not None and (changes := drift.pending.differences):
        lines = "\n".join(rows(changes[:MOST_ROWS], {}))
        yield Section("Pending: in the manifests, not applied yet", lines + count_rows(changes))
