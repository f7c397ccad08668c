"""Policies on a terminal: the list, the names in expressions, and the results of their tests. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ...model.policy import Policy, Rules
from ...model.review import Outcome, Verdict
from ...review.policy.facts import CONTEXT
from ...review.policy.tests import Trial
from ..text import PLAIN, Paint, Style, pad, pluralize, safe, value

_COLOURS: dict[Outcome, Style] = {
    Outcome.PASSED: "green",
    Outcome.WARNED: "yellow",
    Outcome.DENIED: "red",
    Outcome.WAIVED: "cyan",
}


def context(paint: Paint = PLAIN) -> str:
    """The table of names that expressions may use."""
    widths = [max(len(row[n]) for row in CONTEXT) for n in (0, 1)]
    return "\n".join(
        f"{paint(name.ljust(widths[0]), 'strong')}  {paint(type_.ljust(widths[1]), 'cyan')}  {about}"
        for name, type_, about in CONTEXT
    )


def policies(rules: Rules, paint: Paint = PLAIN) -> str:
    """Each policy: its name, level and place, its conditions and its requirements; then the waivers."""
    return "\n".join(
        [*(line for policy in rules.policies for line in _policy(policy, paint)), *_waivers(rules)]
    )


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


def _waivers(rules: Rules) -> Iterator[str]:
    for waiver in rules.waivers:
        yield (
            f"waiver: {safe(waiver.policy)} for {safe(waiver.address)} until {safe(waiver.expires)}: "
            f"{safe(waiver.reason)}"
        )


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
    lines.append(
        paint(f"{total}, all passed.", "green")
        if not failures
        else f"{total}, {paint(f'{failures} failed', 'red')}."
    )
    return "\n".join(lines)


def _trial(trial: Trial, paint: Paint) -> Iterator[str]:
    mark = paint("passed", "green") if trial.passed else paint("failed", "red")
    yield f"  {mark}  {safe(trial.name)}"
    if trial.passed:
        return
    for sentence in trial.wrong:
        yield f"          {safe(sentence)}"
    for verdict in trial.verdicts:
        yield from _verdict(verdict, paint)


def _verdict(verdict: Verdict, paint: Paint) -> Iterator[str]:
    word = paint(pad(str(verdict.outcome), 6), _COLOURS[verdict.outcome])
    yield f"          {word}  {safe(verdict.policy)} for {safe(verdict.address)}"
    for sentence in verdict.failed:
        yield f"                  not met: {safe(sentence)}"
