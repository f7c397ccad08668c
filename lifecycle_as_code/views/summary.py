"""What all views of a plan share: signs, the tally and badges, which changes and which steps are listed.
Pure.

Only `describe_stack` and `list_record_changes` escape what they print; the rest is each format's own matter.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import unified_diff
from typing import NamedTuple

from ..model.diagnostics import Diagnostic
from ..model.diff import FieldChange, list_leaves
from ..model.plan import Action, Change, Mode, Plan, Step
from ..model.review import Outcome, Review, Verdict
from ..model.signature import SignatureClass
from ..model.spec import Address, Store
from ..model.text import join_first
from ..planning.drift import Drift
from .text import PLAIN, Paint, Style, pluralize, safe
from .versions import Tone

SIGNS: dict[Action, tuple[str, Style]] = {
    Action.CREATE: ("+", "green"),
    Action.UPDATE: ("~", "yellow"),
    Action.DELETE: ("-", "red"),
    Action.MOVE: (">", "cyan"),
    Action.RECORD: ("=", "faint"),
    Action.FORGET: ("=", "faint"),
}
"""Each action's sign and colour."""

OUTCOMES: dict[Outcome, tuple[str, Style]] = {
    Outcome.DENIED: ("✗", "red"),
    Outcome.WARNED: ("!", "yellow"),
    Outcome.WAIVED: ("~", "yellow"),
    Outcome.PASSED: ("✓", "green"),
}
"""Each outcome's sign and colour, the most severe first."""

STORES = {Store.REGISTRY: "MLflow", Store.AUTH: "MLflow auth", Store.SERVE: "Ray Serve"}

_TONES: Mapping[Outcome, Tone] = {Outcome.DENIED: "bad", Outcome.PASSED: "good"}

_RECORD_REASONS = frozenset({"protected from now on", "no longer protected"})
"""Reasons that describe a change of a record completely."""


class Badge(NamedTuple):
    """A few words of the summary, and their tone."""

    words: str
    tone: Tone


def describe_stack(plan: Plan) -> str:
    """`Stack payments, environment prod`."""
    environment = f", environment {safe(plan.environment)}" if plan.environment else ""
    return f"Stack {safe(plan.stack)}{environment}"


def tally(plan: Plan, paint: Paint = PLAIN) -> str:
    """How many changes of which action, without a full stop; `badges` has everything else."""
    nothing = paint("No changes.", "strong", "green")
    if plan.mode is Mode.REFRESH_ONLY:
        if not plan.changes:
            return f"{nothing} The records match live state"
        updates = sum(c.action is Action.RECORD for c in plan.changes)
        removals = len(plan.changes) - updates
        return (
            f"{paint('Plan:', 'strong')} {pluralize(updates, 'record')} to update, {removals:,} to remove."
            " No resources change"
        )
    if not plan.differences:
        why = "No objects need to be destroyed" if plan.destroy else "Live state matches the manifests"
        return f"{nothing} {why}"
    return f"{paint('Plan:', 'strong')} {count_actions(plan)}"


def count_actions(plan: Plan) -> str:
    """`2 to create, 1 to update, 0 to delete`."""
    return ", ".join(f"{count:,} to {action}" for action, count in plan.tally().items())


def badges(plan: Plan) -> Iterator[Badge]:
    """What the summary says beside the tally."""
    review = plan.review
    yield from judgements(review)
    classes = [c.signature.verdict for c in review.evidence]
    if SignatureClass.COMPATIBLE in classes and SignatureClass.BREAKING not in classes:
        yield Badge("signature compatible", "plain")
    if short := sum(c.fits is False for i in review.impacts for c in i.capacity):
        yield Badge(f"no capacity for {pluralize(short, 'endpoint')}", "bad")
    if number := len(endpoints(plan)):
        yield Badge(f"{pluralize(number, 'endpoint')} affected", "plain")
    access = [a for impact in review.impacts for a in impact.access]
    for verb, gains in (("gain", True), ("lose", False)):
        if users := {a.user for a in access if a.gains is gains}:
            yield Badge(f"{pluralize(len(users), f'user {verb}s', f'users {verb}')} access", "plain")


def judgements(review: Review) -> Iterator[Badge]:
    """The verdicts that aren't `passed`, counted, and a breaking signature."""
    for outcome in OUTCOMES:
        number = sum(v.outcome is outcome for v in review.verdicts)
        if number and outcome is not Outcome.PASSED:
            yield Badge(f"{number:,} {outcome}", tone(outcome))
    if any(c.signature.verdict is SignatureClass.BREAKING for c in review.evidence):
        yield Badge("signature breaking", "bad")


def tone(outcome: Outcome) -> Tone:
    """An outcome's tone."""
    return _TONES.get(outcome, "warn")


def endpoints(plan: Plan) -> set[tuple[str, Address]]:
    """The endpoints that the plan affects, with their stack where it is another one."""
    changes = {("", c.address) for c in plan.differences if c.store is Store.SERVE}
    traffic = {(t.stack, t.endpoint) for i in plan.review.impacts for t in i.traffic}
    return changes | traffic | {("", c.endpoint) for i in plan.review.impacts for c in i.capacity}


def dependent_moves(plan: Plan) -> dict[Address, list[Change]]:
    """By renamed object, the moves that only follow from its new name."""
    roots = [after for _, after in plan.moves]
    moves: dict[Address, list[Change]] = {}
    for change in plan.changes:
        if change.action is Action.MOVE and change.side is not None and change.address not in roots:
            refs = {*change.side.refs()}
            if (root := next((r for r in roots if r in refs), None)) is not None:
                moves.setdefault(root, []).append(change)
    return moves


def list_changes(plan: Plan) -> list[Change]:
    """The changes that a view lists one by one: without dependent moves, which stand with their rename."""
    dependent = {c.address for changes in dependent_moves(plan).values() for c in changes}
    return [c for c in plan.differences if c.address not in dependent]


def list_record_changes(plan: Plan) -> Iterator[str]:
    """What changes only our own records, on one line for each reason."""
    if plan.mode is Mode.REFRESH_ONLY:
        return
    groups: dict[str, list[str]] = {}
    for change in plan.changes:
        if not change.action.is_difference:
            what = safe(change.reason)
            if change.reason not in _RECORD_REASONS:
                what += f" (only {'updates' if change.action is Action.RECORD else 'removes'} the record)"
            groups.setdefault(what, []).append(safe(change.address))
    for what, names in groups.items():
        yield f"{pluralize(len(names), 'object')} {what}: {join_first(names)}"


def urgent(part: Review) -> bool:
    """Whether a change with this review needs attention: a policy denies or warns, callers break, or the
    cluster has too little capacity."""
    return (
        any(v.outcome is not Outcome.PASSED for v in part.verdicts)
        or any(c.signature.breaking for c in part.evidence)
        or any(c.fits is False for i in part.impacts for c in i.capacity)
    )


def sort_by_weight(changes: Sequence[Change], parts: Mapping[Address, Review]) -> list[Change]:
    """Changes that need attention first, then those with evidence or an impact, then the rest."""
    return sorted(changes, key=lambda change: -weight(parts.get(change.address, Review())))


def weight(part: Review) -> int:
    """How much a change with this review has to say: 0, 1, or 2 where it needs attention."""
    return 2 if urgent(part) else 1 if part.evidence or part.impacts else 0


def fields(change: Change) -> Sequence[FieldChange]:
    """The fields that differ, or all fields of an object that is created or deleted."""
    if whole(change) and change.side is not None:
        return list_leaves(change.side)
    return change.fields


def whole(change: Change) -> bool:
    """Whether the object is created or deleted as a whole."""
    return change.action in (Action.CREATE, Action.DELETE)


def is_text(field: FieldChange) -> bool:
    """Whether the field is better read line by line."""
    sides = [side for side in (field.before, field.after) if side is not None]
    return all(isinstance(side, str) for side in sides) and any(len(side.splitlines()) > 1 for side in sides)


def compare_lines(field: FieldChange) -> list[str]:
    """How a text differs, with a line of context, in the signs of a diff. Empty where only line ends
    differ."""
    before, after = (str(side or "").splitlines() for side in (field.before, field.after))
    # a header of two lines, then a marker before each place; the first one says nothing
    return [*unified_diff(before, after, n=1, lineterm="")][3:]


def why(change: Change) -> str:
    """The reason, and a renamed object's former name."""
    if change.moved_from is not None and change.action is not Action.MOVE:
        return f"moved from {change.moved_from}, {change.reason}"
    return change.reason


def drift_problems(drift: Drift) -> list[Diagnostic]:
    """The problems of both plans, and why there is no second one."""
    plans = [plan for plan in (drift.outside, drift.pending) if plan is not None]
    return [*(problem for plan in plans for problem in plan.diagnostics), *drift.problems]


def sort_verdicts(verdicts: Iterable[Verdict]) -> list[Verdict]:
    """The most severe first."""
    return sorted(verdicts, key=lambda verdict: [*OUTCOMES].index(verdict.outcome))


def count_outcomes(verdicts: Sequence[Verdict]) -> str:
    """`1 denied, 2 passed`."""
    numbers = Counter(verdict.outcome for verdict in verdicts)
    return ", ".join(f"{numbers[outcome]:,} {outcome}" for outcome in OUTCOMES if numbers[outcome])


def rollout(plan: Plan) -> list[tuple[Step, list[Change]]]:
    """The steps that change more than our own records, with their changes."""
    steps = [(step, [c for c in step.changes if c.action.is_difference]) for step in plan.steps]
    return [(step, changes) for step, changes in steps if changes]
