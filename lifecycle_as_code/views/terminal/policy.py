"""Policies on a terminal: the list, the names in expressions, and the results of their tests. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ...model.policy import Policy, Rules
from ...review.policy.facts import CONTEXT
from ...review.policy.tests import Trial
from ..summary import OUTCOMES
from ..text import PLAIN, Paint, Style, pad, pluralize, safe, three_columns, value


def context(paint: Paint = PLAIN) -> str:
    """The table of names that expressions may use."""
    return three_columns(CONTEXT, paint)


def policies(rules: Rules, paint: Paint = PLAIN) -> str:
    """Each policy: its name, level and place, its conditions and its requirements; then the waivers."""
    lines = [line for policy in rules.policies for line in _policy(policy, paint)]
    lines += [
        f"waiver: {safe(w.policy)} for {safe(w.address)} until {safe(w.expires)}: {safe(w.reason)}"
        for w in rules.waivers
    ]
    return "\n".join(lines)


def _policy(policy: Policy, paint: Paint) -> Iterator[str]:
    colour: Style = "red" if policy.level == "deny" else "yellow"
    at = f"  {paint(safe(policy.at), 'faint')}" if policy.at else ""
    yield f"{paint(safe(policy.name), 'strong')}  {paint(policy.level, colour)}{at}"
    conditions = ", ".join(f"{safe(name)}: {value(condition)}" for name, condition in policy.when.items())
    yield f"    when     {conditions or 'any change'}"
    for expression in policy.require:
        yield f"    require  {safe(' '.join(expression.text.split()))}"
    for name, setting in policy.builtin.items():
        yield f"    {safe(name)}: {value(setting)}"


def trials(results: Sequence[Trial], paint: Paint = PLAIN) -> str:
    """Each test on a line, with the verdicts where it failed; then the counts."""
    lines: list[str] = []
    file = ""
    for trial in results:
        if trial.file != file:
            file = trial.file
            lines.append(paint(safe(file), "strong"))
        lines += _trial(trial, paint)
    failures = sum(not trial.passed for trial in results)
    total = pluralize(len(results), "test")
    failed = f"{total}, {paint(f'{failures} failed', 'red')}."
    lines.append(failed if failures else paint(f"{total}, all passed.", "green"))
    return "\n".join(lines)


def _trial(trial: Trial, paint: Paint) -> Iterator[str]:
    mark = paint("passed", "green") if trial.passed else paint("failed", "red")
    yield f"  {mark}  {safe(trial.name)}"
    if trial.passed:
        return
    yield from (f"          {safe(sentence)}" for sentence in trial.wrong)
    for verdict in trial.verdicts:
        word = paint(pad(str(verdict.outcome), 6), OUTCOMES[verdict.outcome][1])
        yield f"          {word}  {safe(verdict.policy)} for {safe(verdict.address)}"
        yield from (f"                  not met: {safe(sentence)}" for sentence in verdict.failed)
