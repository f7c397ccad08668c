"""What a plan is judged by in a comment, as far as it belongs to no change alone: verdicts, blast radius, and
how selectors were resolved. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from ...model.plan import Plan
from ...model.review import Outcome, Verdict
from ...model.text import join_first
from .. import reach, summary
from ..terminal.review import OUTCOMES
from .fit import Detail, Stays
from .gfm import NAME, VALUE, items, named, place, prose, said, some

_MOST_FAILED = 12
_REST = [outcome for outcome in OUTCOMES if outcome not in (Outcome.DENIED, Outcome.PASSED)]


def verdict(shown: Verdict) -> str:
    """One, as an item of a list with items of its own."""
    head = f"- **{shown.outcome}** by {named(shown.policy)} for {named(shown.address)}"
    head += f" at {place(shown.line)}" if shown.line else ""
    head += f" (policy: {place(shown.at)})" if shown.at else ""
    told = [said(shown.message)] if shown.message else []
    told += [f"not met: {named(what, 2 * VALUE)}" for what in shown.failed[:_MOST_FAILED]]
    if (more := len(shown.failed) - _MOST_FAILED) > 0:
        told.append(f"and {more:,} more that {'is' if more == 1 else 'are'} not met")
    if shown.waiver:
        until = f"waived until the end of {named(shown.waiver.expires)}"
        where = f" ({place(shown.waiver.at)})" if shown.waiver.at else ""
        told.append(f"{until}{where}: {said(shown.waiver.reason)}")
    return "\n".join([head, *items(told, indent="  ")])


def review(shown: Plan) -> Iterator[Detail]:
    """The parts, as far as there is anything to say."""
    verdicts = shown.review.verdicts
    told = [verdict(v) for outcome in _REST for v in verdicts if v.outcome is outcome]
    if passed := dict.fromkeys(named(v.policy) for v in verdicts if v.outcome is Outcome.PASSED):
        told.append(f"- **passed**: {join_first([*passed], 20)}")
    if told:
        yield Detail(f"Policies: {summary.counts(verdicts)}", "\n".join(told), Stays.LONGEST)
    if blocks := [*_traffic(shown), *_capacity(shown), *_access(shown)]:
        yield Detail("Blast radius", "\n\n".join(blocks), Stays.LONGEST)
    if shown.review.choices:
        yield Detail("Chosen versions", "\n".join(_choices(shown)), Stays.LONG)


def _traffic(shown: Plan) -> Iterator[str]:
    rows = [
        [
            named(t.endpoint),
            named(t.entity),
            reach.share(t),
            reach.version(t),
            f"follows {named(t.follows)}" if t.follows else "pinned",
            prose(reach.whose(t)),
            join_first([named(address) for address in because]),
        ]
        for t, because in reach.traffic(shown).items()
    ]
    if rows:
        head = ["Endpoint", "Served entity", "Traffic", "Version", "Why", "When", "Because of"]
        yield some(head, rows, right=(2,))


def _capacity(shown: Plan) -> Iterator[str]:
    rows = [
        [
            named(c.endpoint),
            reach.pair(c.replicas_before, c.replicas_after),
            reach.pair(c.cpus_before, c.cpus_after),
            reach.pair(c.gpus_before, c.gpus_after),
            f"**{reach.room(c)}**" if c.fits is False else reach.room(c),
        ]
        for c in reach.capacity(shown)
    ]
    if rows:
        yield some(["Endpoint", "Replicas", "CPUs", "GPUs", "Room on the cluster"], rows)


def _access(shown: Plan) -> Iterator[str]:
    rows = [
        [
            reach.gain(a),
            named(a.user),
            named(a.resource),
            named(a.before),
            named(a.after),
            said(a.why),
        ]
        for a in reach.access(shown)
    ]
    if rows:
        yield some(["Access", "User", "To", "Before", "After", "Why"], rows)


def _choices(shown: Plan) -> Iterator[str]:
    told = []
    for choice in shown.review.choices:
        where = named(f"{choice.address}: {choice.field}", 2 * NAME)
        head = f"{where} {named(choice.selector, VALUE)} is **{choice.version}**"
        losers = [f"not {version}: {said(why)}" for version, why in choice.losers]
        told.append("\n".join([head, *items(losers, _MOST_FAILED, indent="  ")]))
    yield from items(told)
