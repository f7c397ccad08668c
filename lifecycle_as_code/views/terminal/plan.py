"""A plan on a terminal: sign, address and reason, each field before → after, the overridden guards, the steps
and a tally. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ...model.plan import Change, Mode, Plan
from ...model.spec import Store
from ...model.text import join_first
from .. import summary
from ..summary import SIGNS, STORES
from ..text import PLAIN, Paint, pad, safe, safe_lines
from ..versions import find_repeats
from . import review
from .fields import rows
from .problems import problems

_MOST_DEPENDENT = 10

_USUAL = frozenset({"declared", "manifest changed", "no longer declared", "already so", "already gone"})


def plan(plan: Plan, paint: Paint = PLAIN, *, width: int = 100) -> str:
    """Warnings first, then the changes, the overridden guards, the verdicts, the steps and the tally."""
    records = ", records only (recorded → live)" if plan.mode is Mode.REFRESH_ONLY else ""
    dependent = summary.dependent_moves(plan)
    parts = plan.review.by_address()
    repeats = find_repeats(plan.review.evidence)
    return "\n\n".join(
        [
            *([problems(plan.diagnostics, paint)] if plan.diagnostics else []),
            *([paint(f"{summary.describe_stack(plan)}{records}:", "faint")] if plan.differences else []),
            *(
                "\n".join(
                    [
                        change(c, paint, width=width),
                        *_dependent_moves(dependent.get(c.address, []), paint),
                        *review.beneath(parts.get(c.address), paint, width=width, repeats=repeats),
                    ]
                )
                for c in summary.list_changes(plan)
            ),
            *_overridden_guards(plan, paint),
            *review.verdicts(plan.review, paint),
            *_steps(plan, paint),
            "\n".join([_tally(plan, paint), *(paint(x, "faint") for x in summary.list_record_changes(plan))]),
        ]
    )


def _tally(plan: Plan, paint: Paint) -> str:
    """The last word, also for scripts that read one line."""
    judgements = (f", {badge.words}" for badge in summary.judgements(plan.review))
    return f"{summary.tally(plan, paint)}{''.join(judgements)}."


def _dependent_moves(changes: Sequence[Change], paint: Paint) -> list[str]:
    names = [safe(c.address) for c in changes]
    return [paint(f"      with {join_first(names, _MOST_DEPENDENT)}", "faint")] if names else []


def _overridden_guards(plan: Plan, paint: Paint) -> Iterator[str]:
    """The guards that would have refused the plan, and their details."""
    if not plan.allowed:
        return
    lines = [paint("Overridden guards:", "strong", "yellow")]
    for violation in plan.allowed:
        first, *others = safe_lines(violation.detail) or [""]
        lines.append(f"  {paint('!', 'yellow')} {safe(violation.guard)}  {first}")
        lines += [f"    {line}" for line in others]
    yield "\n".join(lines)


def change(change: Change, paint: Paint = PLAIN, *, width: int = 100) -> str:
    """One object: a headline, and its fields below."""
    fields = rows(summary.fields(change), paint, width=width, bare=summary.whole(change))
    return "\n".join([headline(change, paint), *fields])


def headline(change: Change, paint: Paint = PLAIN) -> str:
    """Sign, address, and why."""
    sign, colour = SIGNS[change.action]
    reason = summary.why(change)
    why = "  " + paint(f"({safe(reason)})", "faint" if reason in _USUAL else "yellow") if reason else ""
    protection = f"  {paint('[protected]', 'faint')}" if change.protected else ""
    return f"  {paint(sign, colour)} {paint(safe(change.address), 'strong')}{why}{protection}"


def _steps(plan: Plan, paint: Paint) -> Iterator[str]:
    """The steps in order, where an endpoint makes them more than one transaction."""
    steps = summary.rollout(plan)
    if not any(step.store is Store.SERVE for step, _ in steps):
        return
    phases = max(len(step.phase) for step, _ in steps)
    stores = max(len(STORES[step.store]) for step, _ in steps)
    lines = [
        f"  {number}. {pad(step.phase, phases)}  {paint(pad(STORES[step.store], stores), 'faint')}"
        f"  {join_first([safe(c.address) for c in changes])}"
        for number, (step, changes) in enumerate(steps, 1)
    ]
    yield "\n".join([paint("Steps", "strong"), *lines])
