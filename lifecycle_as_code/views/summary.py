"""What every view of a plan says first: how many of what, which changes, and in which steps. Pure. Nothing is
escaped in here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from difflib import unified_diff
from typing import NamedTuple

from ..model.diff import FieldChange, leaves
from ..model.plan import Action, Change, Plan, Step
from ..model.review import Outcome, Review, Verdict
from ..model.signature import SignatureClass
from ..model.spec import Address, Store
from .terminal import plan
from .terminal.review import OUTCOMES
from .text import PLAIN, Paint, counted
from .versions import Tone


class Badge(NamedTuple):
    """A few words of the summary, and how they are meant."""

    words: str
    tone: Tone


def tally(shown: Plan, paint: Paint = PLAIN) -> str:
    """How many of what; what else there is to say has badges."""
    return plan.tally(replace(shown, review=Review()), paint).removesuffix(".")


def badges(shown: Plan) -> Iterator[Badge]:
    """What the summary says beside the tally."""
    review = shown.review
    tones: Mapping[Outcome, Tone] = {Outcome.DENIED: "bad", Outcome.PASSED: "good"}
    for outcome in OUTCOMES:
        number = sum(v.outcome is outcome for v in review.verdicts)
        if number and outcome is not Outcome.PASSED:
            yield Badge(f"{number:,} {outcome}", tones.get(outcome, "warn"))
    classes = [c.signature.verdict for c in review.evidence]
    if SignatureClass.BREAKING in classes:
        yield Badge("signature breaking", "bad")
    elif SignatureClass.COMPATIBLE in classes:
        yield Badge("signature compatible", "plain")
    if short := sum(c.fits is False for i in review.impacts for c in i.capacity):
        yield Badge(f"{counted(short, 'endpoint')} without room", "bad")
    if number := len(endpoints(shown)):
        yield Badge(f"{counted(number, 'endpoint')} touched", "plain")
    access = [a for impact in review.impacts for a in impact.access]
    for deed, users in (
        ("gains", {a.user for a in access if a.gains}),
        ("loses", {a.user for a in access if not a.gains}),
    ):
        if users:
            verb = deed if len(users) == 1 else deed.removesuffix("s")
            yield Badge(f"{counted(len(users), 'user')} {verb} access", "plain")


def endpoints(shown: Plan) -> set[tuple[str, Address]]:
    """The endpoints that the plan reaches, with their stack where it isn't this one."""
    changed = {("", c.address) for c in shown.differences if c.store is Store.SERVE}
    reached = {(t.stack, t.endpoint) for i in shown.review.impacts for t in i.traffic}
    return changed | reached | {("", c.endpoint) for i in shown.review.impacts for c in i.capacity}


def listed(shown: Plan) -> list[Change]:
    """The changes that a reader is shown one by one: what only goes along with a rename is told with it."""
    along = {c.address for changes in plan.going_along(shown).values() for c in changes}
    return [c for c in shown.differences if c.address not in along]


def urgent(part: Review) -> bool:
    """Whether a change with this review is to be looked at: a policy has something to say, callers break, or
    the cluster has no room."""
    return (
        any(v.outcome is not Outcome.PASSED for v in part.verdicts)
        or any(c.signature.breaking for c in part.evidence)
        or any(c.fits is False for i in part.impacts for c in i.capacity)
    )


def foremost(changes: Sequence[Change], judged: Mapping[Address, Review]) -> list[Change]:
    """Those to be looked at first, then those with evidence or that reach something, then the rest."""
    return sorted(changes, key=lambda change: -weight(judged.get(change.address)))


def weight(part: Review | None) -> int:
    """How much a change with this review has to say: 0, 1, or 2 where it is to be looked at."""
    if part is None:
        return 0
    return 2 if urgent(part) else 1 if part.evidence or part.impacts else 0


def fields(shown: Change) -> Sequence[FieldChange]:
    """Those that differ, or all of what comes or goes."""
    if whole(shown) and shown.side is not None:
        return leaves(shown.side)
    return shown.fields


def whole(shown: Change) -> bool:
    """Whether the object comes or goes as a whole."""
    return shown.action in (Action.CREATE, Action.DELETE)


def is_text(field: FieldChange) -> bool:
    """Whether it is better read line by line."""
    held = [side for side in (field.before, field.after) if side is not None]
    return all(isinstance(side, str) for side in held) and any(len(side.splitlines()) > 1 for side in held)


def line_by_line(field: FieldChange) -> list[str]:
    """How a text differs, with a line around each place, in the signs of a diff. Empty where nothing but line
    ends does."""
    before, after = (str(side or "").splitlines() for side in (field.before, field.after))
    # a header of two lines, then a marker before each place; the first one says nothing
    return [*unified_diff(before, after, n=1, lineterm="")][3:]


def why(shown: Change) -> str:
    """The reason, and what a renamed object was called."""
    if shown.moved_from is not None and shown.action is not Action.MOVE:
        return f"moved from {shown.moved_from}, {shown.reason}"
    return shown.reason


def counts(verdicts: Sequence[Verdict]) -> str:
    """`1 denied, 2 passed`."""
    found = ((o, sum(v.outcome is o for v in verdicts)) for o in OUTCOMES)
    return ", ".join(f"{number:,} {outcome}" for outcome, number in found if number)


def rollout(shown: Plan) -> list[tuple[Step, list[Change]]]:
    """The steps that change anything but our own records, with their changes."""
    found = [(step, [c for c in step.changes if c.action.is_difference]) for step in shown.steps]
    return [(step, changes) for step, changes in found if changes]
