"""A plan for people: sign, address and reason, each field before → after, the steps, a tally. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from ..change import Action, Change, Plan
from ..diff import leaves
from ..spec import Store
from .fields import rows
from .problems import problems
from .text import PLAIN, Paint, Style, counted, listed, padded, safe

SIGNS: dict[Action, tuple[str, Style]] = {
    Action.CREATE: ("+", "green"),
    Action.UPDATE: ("~", "yellow"),
    Action.DELETE: ("-", "red"),
    Action.RECORD: ("=", "faint"),
    Action.FORGET: ("=", "faint"),
}

STORES = {Store.REGISTRY: "MLflow", Store.AUTH: "MLflow auth", Store.SERVE: "Ray Serve"}

_USUAL = frozenset({"declared", "manifest changed", "no longer declared", "already so", "already gone"})


def plan(shown: Plan, paint: Paint = PLAIN, *, width: int = 100) -> str:
    """Everything that a reader decides by: warnings first, then the changes, the steps and the tally."""
    return "\n\n".join(
        [
            *([problems(shown.diagnostics, paint)] if shown.diagnostics else []),
            *([paint(f"{place(shown)}:", "faint")] if shown.differences else []),
            *(change(c, paint, width=width) for c in shown.differences),
            *_rollout(shown, paint),
            "\n".join([tally(shown, paint), *quiet(shown, paint)]),
        ]
    )


def place(shown: Plan) -> str:
    """Which stack, and where."""
    where = f", environment {safe(shown.environment)}" if shown.environment else ""
    return f"Stack {safe(shown.stack)}{where}"


def change(shown: Change, paint: Paint = PLAIN, *, width: int = 100) -> str:
    """One object: a headline, and its fields below."""
    fields = shown.fields
    if shown.action is not Action.UPDATE and shown.side is not None:
        fields = leaves(shown.side)
    bare = shown.action is not Action.UPDATE
    return "\n".join([headline(shown, paint), *rows(fields, paint, width=width, bare=bare)])


def headline(shown: Change, paint: Paint = PLAIN) -> str:
    """Sign, address, and why."""
    sign, colour = SIGNS[shown.action]
    why = paint(f"({safe(shown.reason)})", "faint" if shown.reason in _USUAL else "yellow")
    return f"  {paint(sign, colour)} {paint(safe(shown.address), 'strong')}  {why}"


def tally(shown: Plan, paint: Paint = PLAIN) -> str:
    """The last word, also for scripts that read one line."""
    if not shown.differences:
        if shown.destroy:
            return paint("No changes.", "strong", "green") + " Nothing of this stack is left to delete."
        return paint("No changes.", "strong", "green") + " What is there is what the manifests say."
    return f"{paint('Plan:', 'strong')} {told(shown)}."


def told(shown: Plan) -> str:
    """`2 to create, 1 to update, 0 to delete`."""
    return ", ".join(f"{count:,} to {action}" for action, count in shown.tally().items())


def quiet(shown: Plan, paint: Paint = PLAIN) -> Iterator[str]:
    """What touches only our own records, on one line each."""
    for action, what in (
        (Action.RECORD, "already so, only to be recorded"),
        (Action.FORGET, "already gone, only to be forgotten"),
    ):
        if found := [safe(c.address) for c in shown.changes if c.action is action]:
            yield paint(f"{counted(len(found), 'object')} {what}: {listed(found)}", "faint")


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
        f"  {listed([safe(c.address) for c in changes])}"
        for number, (step, changes) in enumerate(steps, 1)
    ]
    yield "\n".join([paint("Steps", "strong"), *lines])
