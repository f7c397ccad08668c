"""A plan for people: sign, address and reason, each field before → after, what was let through, the steps, a
tally. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ...model.diff import leaves
from ...model.plan import Action, Change, Mode, Plan
from ...model.spec import Address, Store
from ...model.text import join_first
from ..text import PLAIN, Paint, Style, counted, padded, safe, safe_lines
from ..versions import told_first
from . import review
from .fields import rows
from .problems import problems

SIGNS: dict[Action, tuple[str, Style]] = {
    Action.CREATE: ("+", "green"),
    Action.UPDATE: ("~", "yellow"),
    Action.DELETE: ("-", "red"),
    Action.MOVE: (">", "cyan"),
    Action.RECORD: ("=", "faint"),
    Action.FORGET: ("=", "faint"),
}

STORES = {Store.REGISTRY: "MLflow", Store.AUTH: "MLflow auth", Store.SERVE: "Ray Serve"}

_MOST_ALONG = 10

_USUAL = frozenset({"declared", "manifest changed", "no longer declared", "already so", "already gone"})

_WHOLE = frozenset({"protected from now on", "no longer protected"})
"""Reasons that say all about a change of our record."""


def plan(shown: Plan, paint: Paint = PLAIN, *, width: int = 100) -> str:
    """Everything that a reader decides by: warnings first, then the changes, the steps and the tally."""
    along = going_along(shown)
    carried = {c.address for changes in along.values() for c in changes}
    judged = shown.review.by_address()
    told = told_first(shown.review.evidence)
    return "\n\n".join(
        [
            *([problems(shown.diagnostics, paint)] if shown.diagnostics else []),
            *([paint(f"{place(shown)}{_about(shown)}:", "faint")] if shown.differences else []),
            *(
                "\n".join(
                    [
                        change(c, paint, width=width),
                        *_with(along.get(c.address, []), paint),
                        *review.beneath(judged.get(c.address), paint, width=width, told=told),
                    ]
                )
                for c in shown.differences
                if c.address not in carried
            ),
            *_allowed(shown, paint),
            *review.verdicts(shown.review, paint),
            *_rollout(shown, paint),
            "\n".join([tally(shown, paint), *quiet(shown, paint)]),
        ]
    )


def place(shown: Plan) -> str:
    """Which stack, and where."""
    where = f", environment {safe(shown.environment)}" if shown.environment else ""
    return f"Stack {safe(shown.stack)}{where}"


def _about(shown: Plan) -> str:
    if shown.mode is Mode.REFRESH_ONLY:
        return ", records alone (as recorded → as it is live)"
    return ""


def going_along(shown: Plan) -> dict[Address, list[Change]]:
    """By what is renamed, that which only goes along."""
    roots = [after for _, after in shown.moves]
    found: dict[Address, list[Change]] = {}
    for change in shown.changes:
        if change.action is Action.MOVE and change.side is not None and change.address not in roots:
            refs = {*change.side.refs()}
            if (root := next((r for r in roots if r in refs), None)) is not None:
                found.setdefault(root, []).append(change)
    return found


def _with(along: Sequence[Change], paint: Paint) -> list[str]:
    names = [safe(c.address) for c in along]
    return [paint(f"      with {join_first(names, _MOST_ALONG)}", "faint")] if names else []


def _allowed(shown: Plan, paint: Paint) -> Iterator[str]:
    """The guards that would have refused this, with what they stand before."""
    if shown.allowed:
        head = paint("Let through:", "strong", "yellow")
        lines = [
            f"  {paint('!', 'yellow')} {safe(v.guard)}  {line}" if first else f"    {line}"
            for v in shown.allowed
            for first, line in _numbered(v.detail)
        ]
        yield "\n".join([head, *lines])


def _numbered(text: str) -> Iterator[tuple[bool, str]]:
    return ((number == 0, line) for number, line in enumerate(safe_lines(text)))


def change(shown: Change, paint: Paint = PLAIN, *, width: int = 100) -> str:
    """One object: a headline, and its fields below."""
    fields = shown.fields
    if shown.action in (Action.CREATE, Action.DELETE) and shown.side is not None:
        fields = leaves(shown.side)
    bare = shown.action in (Action.CREATE, Action.DELETE)
    return "\n".join([headline(shown, paint), *rows(fields, paint, width=width, bare=bare)])


def headline(shown: Change, paint: Paint = PLAIN) -> str:
    """Sign, address, and why."""
    sign, colour = SIGNS[shown.action]
    reason = shown.reason
    if shown.moved_from is not None and shown.action is not Action.MOVE:
        reason = f"moved from {shown.moved_from}, {reason}"
    why = "  " + paint(f"({safe(reason)})", "faint" if reason in _USUAL else "yellow") if reason else ""
    kept = f"  {paint('[protected]', 'faint')}" if shown.protected else ""
    return f"  {paint(sign, colour)} {paint(safe(shown.address), 'strong')}{why}{kept}"


def tally(shown: Plan, paint: Paint = PLAIN) -> str:
    """The last word, also for scripts that read one line."""
    if shown.mode is Mode.REFRESH_ONLY:
        return _refreshed(shown, paint)
    if not shown.differences:
        if shown.destroy:
            return paint("No changes.", "strong", "green") + " Nothing of this stack is left to delete."
        return paint("No changes.", "strong", "green") + " What is there is what the manifests say."
    judged = "".join(f", {text}" for text in review.summary(shown.review))
    return f"{paint('Plan:', 'strong')} {told(shown)}{judged}."


def _refreshed(shown: Plan, paint: Paint) -> str:
    """Of a plan about records alone. What is live stays as it is."""
    if not shown.changes:
        return paint("No changes.", "strong", "green") + " Our records say what is there."
    kept = sum(c.action is Action.RECORD for c in shown.changes)
    gone = len(shown.changes) - kept
    return (
        f"{paint('Plan:', 'strong')} {kept:,} to record as live, {gone:,} to forget."
        " Nothing but our records changes."
    )


def told(shown: Plan) -> str:
    """`2 to create, 1 to update, 0 to delete`."""
    return ", ".join(f"{count:,} to {action}" for action, count in shown.tally().items())


def quiet(shown: Plan, paint: Paint = PLAIN) -> Iterator[str]:
    """What touches only our own records, on one line for each reason."""
    if shown.mode is Mode.REFRESH_ONLY:
        return
    groups: dict[str, list[str]] = {}
    for c in shown.changes:
        if not c.action.is_difference:
            groups.setdefault(_quietly(c), []).append(safe(c.address))
    for what, found in groups.items():
        yield paint(f"{counted(len(found), 'object')} {what}: {join_first(found)}", "faint")


def _quietly(shown: Change) -> str:
    deed = "recorded" if shown.action is Action.RECORD else "forgotten"
    if shown.reason in _WHOLE:
        return safe(shown.reason)
    return f"{safe(shown.reason)}, only to be {deed}"


def _rollout(shown: Plan, paint: Paint) -> Iterator[str]:
    """The steps in order, where an endpoint makes them more than one transaction."""
    steps = [(step, [c for c in step.changes if c.action.is_difference]) for step in shown.steps]
    steps = [(step, changes) for step, changes in steps if changes]
    if not any(step.store is Store.SERVE for step, _ in steps):
        return
    phases = max(len(step.phase) for step, _ in steps)
    stores = max(len(STORES[step.store]) for step, _ in steps)
    lines = [
        f"  {number}. {padded(step.phase, phases)}  {paint(padded(STORES[step.store], stores), 'faint')}"
        f"  {join_first([safe(c.address) for c in changes])}"
        for number, (step, changes) in enumerate(steps, 1)
    ]
    yield "\n".join([paint("Steps", "strong"), *lines])
