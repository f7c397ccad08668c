"""An apply's events, one a line, and its summary. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from ...model.events import Done, Event, Failed, Finished, HeldBack, Progress, StepStarted, Warned
from ...model.plan import Action
from ..text import PARTICIPLES, PLAIN, Paint, pluralize, safe
from .problems import diagnostic

_ALWAYS = (Action.CREATE, Action.UPDATE, Action.DELETE)
_QUIET = (Action.RECORD, Action.FORGET)
"""Counted at the end only: a line for each would flood the log."""


def line(event: Event, paint: Paint = PLAIN) -> str | None:
    """The event as a line of a log; None for those that have no line."""
    match event:
        case StepStarted(phase, count):
            how_many = f"({pluralize(count, 'change')})"
            return f"{paint(str(phase).capitalize(), 'strong')} {paint(how_many, 'faint')}"
        case Progress():
            return paint(f"  … {progress(event)}", "faint")
        case Done(address, action) if action not in _QUIET:
            return f"  {paint('✓', 'green')} {safe(address)} {PARTICIPLES[action]}"
        case Failed(address, problem):
            return f"  {paint('✗', 'red')} {safe(address)} failed: {safe(problem.summary)}"
        case HeldBack(address, because):
            return f"  {paint('!', 'yellow')} {safe(address)} skipped: {safe(because)} was not applied"
        case Warned(problem):
            return diagnostic(problem, paint)
        case _:
            return None


def progress(event: Progress) -> str:
    """The progress, and of which object."""
    return f"{safe(event.address)}: {safe(event.message)}" if event.address else safe(event.message)


def closing(events: Iterable[Event], paint: Paint = PLAIN) -> str:
    """The end of an apply: the failures in full, the counts, and what to do next."""
    log = list(events)
    failures = [diagnostic(event.diagnostic, paint) for event in log if isinstance(event, Failed)]
    counts = Counter(event.action for event in log if isinstance(event, Done))
    done = ", ".join(f"{counts[action]:,} {PARTICIPLES[action]}" for action in _pick_actions(counts))
    end = next((event for event in reversed(log) if isinstance(event, Finished)), None)
    return "\n".join([*failures, *_outcome(end, done, paint)])


def _pick_actions(counts: Counter[Action]) -> list[Action]:
    """The actions to count: those on records only where there are no others."""
    records = [action for action in _QUIET if counts[action]]
    if records and len(records) == sum(map(bool, counts.values())):
        return records
    return [action for action in Action if action in _ALWAYS or (action.is_difference and counts[action])]


def _outcome(end: Finished | None, done: str, paint: Paint) -> list[str]:
    if end is None:
        return [f"{paint('Apply ended early:', 'strong', 'red')} {done}.", _NEXT]
    if end.complete:
        return [f"{paint('Apply complete:', 'strong', 'green')} {done}."]
    counts = ((end.failed, "failed"), (end.held_back, "skipped"))
    rest = [f"{number:,} {what}" for number, what in counts if number]
    rest += ["stopped on request"] if end.stopped else []
    return [
        f"{paint('Apply incomplete:', 'strong', 'red')} {done}; {', '.join(rest)}.",
        _FIX if end.failed else _NEXT,
    ]


_FIX = "Failed changes were rolled back. Fix the errors above, then run `lac apply` again."
_NEXT = "Completed changes are recorded. Run `lac apply` again to make the remaining ones."
