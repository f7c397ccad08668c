"""Policies tried on what was recorded or written down: tests and saved plans. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from ...manifest.policy_tests.reader import Case
from ...model.diagnostics import Source
from ...model.history import Actor
from ...model.plan import Plan
from ...model.policy import Rules
from ...model.review import Outcome, Verdict
from ..evidence import compare
from .judge import judge


@dataclass(frozen=True, slots=True)
class Trial:
    """One test or plan: the verdicts, and how they aren't what was expected, as sentences."""

    file: str
    name: str
    verdicts: tuple[Verdict, ...]
    wrong: tuple[str, ...] = ()
    at: Source | None = None

    @property
    def passed(self) -> bool:
        """Whether all is as expected."""
        return not self.wrong


def try_case(case: Case, rules: Rules, file: str) -> Trial:
    """A test: each policy that it names gives the expected verdict. Others may give any."""
    plan = _with_directions(case.plan, rules)
    verdicts = judge(plan, rules, actor=case.actor, now=case.now)
    return Trial(file, case.name, verdicts, tuple(_unexpected(case, verdicts)), case.at)


def try_plan(plan: Plan, rules: Rules, file: str, *, actor: Actor, now: datetime) -> Trial:
    """A recorded plan: no policy may deny it."""
    verdicts = judge(plan, rules, actor=actor, now=now)
    wrong = [f"policy `{v.policy}` denies {v.address}" for v in verdicts if v.outcome is Outcome.DENIED]
    return Trial(file, "the plan", verdicts, tuple(wrong))


def _with_directions(plan: Plan, rules: Rules) -> Plan:
    """What is better is for the manifests to say."""
    again = tuple(
        replace(
            it,
            metrics=compare(it.address, it.model, it.before, it.after, rules.directions, it.entity).metrics,
        )
        for it in plan.review.evidence
    )
    return replace(plan, review=replace(plan.review, evidence=again))


def _unexpected(case: Case, verdicts: Sequence[Verdict]) -> Iterator[str]:
    given = {verdict.policy: verdict for verdict in verdicts}
    for policy, (outcome, texts) in case.expected.items():
        verdict = given.get(policy)
        found = str(verdict.outcome) if verdict else "none"
        if found != outcome:
            yield f"policy `{policy}`: {_told(outcome)} was expected, and it {_is(found)}"
            continue
        failed = verdict.failed if verdict else ()
        for text in texts:
            if not any(text in sentence for sentence in failed):
                yield f"policy `{policy}`: nothing that isn't met holds `{text}`"


def _told(outcome: str) -> str:
    return "no verdict" if outcome == "none" else f"`{outcome}`"


def _is(outcome: str) -> str:
    return "gives none" if outcome == "none" else f"is `{outcome}`"
