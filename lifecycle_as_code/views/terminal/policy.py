"""Policies for people: what there is, what expressions may name, and how tests of them ended. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ...model.policy import Policy, Rules
from ...model.review import Outcome, Verdict
from ...review.policy.facts import CONTEXT
from ...review.policy.tests import Trial
from ..text import PLAIN, Paint, Style, counted, padded, safe, value

_COLOURS: dict[Outcome, Style] = {
    Outcome.PASSED: "green",
    Outcome.WARNED: "yellow",
    Outcome.DENIED: "red",
    Outcome.WAIVED: "cyan",
}


def context(paint: Paint = PLAIN) -> str:
    """The table of names."""
    widths = [max(len(row[n]) for row in CONTEXT) for n in (0, 1)]
    return "\n".join(
        f"{paint(name.ljust(widths[0]), 'strong')}  {paint(type_.ljust(widths[1]), 'cyan')}  {about}"
        for name, type_, about in CONTEXT
    )


def policies(rules: Rules, paint: Paint = PLAIN) -> str:
    """Each policy: its name, level, place, what it is about and what it asks; then the waivers."""
    return "\n".join(
        [*(line for policy in rules.policies for line in _policy(policy, paint)), *_waivers(rules)]
    )


def _policy(policy: Policy, paint: Paint) -> Iterator[str]:
    colour: Style = "red" if policy.level == "deny" else "yellow"
    at = f"  {paint(safe(policy.at), 'faint')}" if policy.at else ""
    yield f"{paint(safe(policy.name), 'strong')}  {paint(policy.level, colour)}{at}"
    about = ", ".join(f"{safe(name)}: {value(wanted)}" for name, wanted in policy.when.items())
    yield f"    when     {about or 'anything changes'}"
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


def trials(shown: Sequence[Trial], paint: Paint = PLAIN) -> str:
    """Each test on a line, with the verdicts of those that failed, and how many there were."""
    lines: list[str] = []
    file = ""
    for trial in shown:
        if trial.file != file:
            file = trial.file
            lines.append(paint(safe(file), "strong"))
        lines += _trial(trial, paint)
    failed = sum(not trial.passed for trial in shown)
    total = counted(len(shown), "test")
    lines.append(
        paint(f"{total}, all passed.", "green")
        if not failed
        else f"{total}, {paint(f'{failed} failed', 'red')}."
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
    word = paint(padded(str(verdict.outcome), 6), _COLOURS[verdict.outcome])
    yield f"          {word}  {safe(verdict.policy)} over {safe(verdict.address)}"
    for sentence in verdict.failed:
        yield f"                  not met: {safe(sentence)}"


def trials_data(shown: Sequence[Trial]) -> dict[str, Any]:
    """The same for programs: `{"tests": [{"file", "name", "passed", "wrong", "verdicts"}], "failed": 0}`."""
    return {
        "tests": [
            {
                "file": trial.file,
                "name": trial.name,
                "passed": trial.passed,
                "wrong": trial.wrong,
                "verdicts": [_verdict_data(verdict) for verdict in trial.verdicts],
            }
            for trial in shown
        ],
        "failed": sum(not trial.passed for trial in shown),
    }


def _verdict_data(verdict: Verdict) -> dict[str, Any]:
    return {
        "policy": verdict.policy,
        "address": str(verdict.address),
        "outcome": str(verdict.outcome),
        "failed": verdict.failed,
        "message": verdict.message,
    }
