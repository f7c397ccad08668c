"""What an apply tells, one line an event. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from ...model.events import Done, Event, Failed, Finished, HeldBack, Progress, StepStarted, Warned
from ...model.plan import Action
from ..text import PARTICIPLES, PLAIN, Paint, counted, safe
from .problems import diagnostic

_ALWAYS = (Action.CREATE, Action.UPDATE, Action.DELETE)
_QUIET = (Action.RECORD, Action.FORGET)
"""Told at the end only: a log is better without a line for each."""


def line(event: Event, paint: Paint = PLAIN) -> str | None:
    """The event for a log; None for those that a log is better without."""
    match event:
        case StepStarted(phase, count):
            how_many = f"({counted(count, 'change')})"
            return f"{paint(str(phase).capitalize(), 'strong')} {paint(how_many, 'faint')}"
        case Progress():
            return paint(f"  … {progress(event)}", "faint")
        case Done(address, action) if action not in _QUIET:
            return f"  {paint('✓', 'green')} {safe(address)} {PARTICIPLES[action]}"
        case Failed(address, problem):
            return f"  {paint('✗', 'red')} {safe(address)} failed: {safe(problem.summary)}"
        case HeldBack(address, because):
            return f"  {paint('!', 'yellow')} {safe(address)} held back, for {safe(because)} wasn't done"
        case Warned(problem):
            return diagnostic(problem, paint)
        case _:
            return None


def progress(event: Progress) -> str:
    """What moved on, and of which object."""
    return f"{safe(event.address)}: {safe(event.message)}" if event.address else safe(event.message)


def closing(events: Iterable[Event], paint: Paint = PLAIN) -> str:
    """The end of an apply: what went wrong in full, then what was done, and the way out."""
    told = list(events)
    failures = [diagnostic(event.diagnostic, paint) for event in told if isinstance(event, Failed)]
    counts = Counter(event.action for event in told if isinstance(event, Done))
    done = ", ".join(f"{counts[action]:,} {PARTICIPLES[action]}" for action in _counted(counts))
    finished = next((event for event in reversed(told) if isinstance(event, Finished)), None)
    return "\n".join([*failures, *_verdict(finished, done, paint)])


def _counted(counts: Counter[Action]) -> list[Action]:
    """The actions worth a number: records only where nothing else was done."""
    records = [action for action in _QUIET if counts[action]]
    if records and len(records) == sum(map(bool, counts.values())):
        return records
    return [action for action in Action if action in _ALWAYS or (action.is_difference and counts[action])]


def _verdict(finished: Finished | None, done: str, paint: Paint) -> list[str]:
    if finished is None:
        return [f"{paint('Apply ended early:', 'strong', 'red')} {done}.", _LEFT]
    if finished.complete:
        return [f"{paint('Applied:', 'strong', 'green')} {done}."]
    left = [
        *([f"{finished.failed:,} failed"] if finished.failed else []),
        *([f"{finished.held_back:,} held back"] if finished.held_back else []),
        *(["stopped on request"] if finished.stopped else []),
    ]
    return [
        f"{paint('Applied in part:', 'strong', 'red')} {done}; {', '.join(left)}.",
        *([_MEND] if finished.failed else []),
        _LEFT,
    ]


_MEND = "What failed is as it was before. Mend what is named above."
_LEFT = "What was done is recorded: `lac plan` shows what is left, and `lac apply` does it."
