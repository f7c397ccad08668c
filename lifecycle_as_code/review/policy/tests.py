"""Policies run on tests and on saved plans. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from ...manifest.policy_tests.reader import PolicyCase
from ...model.diagnostics import Source
from ...model.history import Actor
from ...model.plan import Plan
from ...model.policy import Rules
from ...model.review import Outcome, Verdict
from ..evidence import compare
from .judge import judge


@dataclass(frozen=True, slots=True)
class Trial:
    """One test or plan: the verdicts, and each unexpected result as a sentence."""

    file: str
    name: str
    verdicts: tuple[Verdict, ...]
    wrong: tuple[str, ...] = ()
    at: Source | None = None

    @property
    def passed(self) -> bool:
        """Whether every verdict is as expected."""
        return not self.wrong


def run_case(case: PolicyCase, rules: Rules, file: str) -> Trial:
    """Run a test: each policy that it names must give the expected verdict. Others may give any."""
    plan = _with_directions(case.plan, rules)
    verdicts = judge(plan, rules, actor=case.actor, now=case.now)
    return Trial(file, case.name, verdicts, tuple(_list_differences(case, verdicts)), case.at)


def judge_saved_plan(plan: Plan, rules: Rules, file: str, *, actor: Actor, now: datetime) -> Trial:
    """Judge a saved plan: no policy may deny it."""
    verdicts = judge(plan, rules, actor=actor, now=now)
    wrong = [f"policy `{v.policy}` denies {v.address}" for v in verdicts if v.outcome is Outcome.DENIED]
    return Trial(file, "the plan", verdicts, tuple(wrong))


def _with_directions(plan: Plan, rules: Rules) -> Plan:
    """The plan with the directions of its metrics from the manifests."""
    again = tuple(
        replace(
            it,
            metrics=compare(it.address, it.model, it.before, it.after, rules.directions, it.entity).metrics,
        )
        for it in plan.review.evidence
    )
    return replace(plan, review=replace(plan.review, evidence=again))


def _list_differences(case: PolicyCase, verdicts: Sequence[Verdict]) -> Iterator[str]:
    by_policy = {verdict.policy: verdict for verdict in verdicts}
    for policy, (outcome, texts) in case.expected.items():
        verdict = by_policy.get(policy)
        actual = str(verdict.outcome) if verdict else "none"
        if actual != outcome:
            yield f"policy `{policy}`: expected {_quote(outcome)}, got {_quote(actual)}"
            continue
        failures = verdict.failed if verdict else ()
        for text in texts:
            if not any(text in sentence for sentence in failures):
                yield f"policy `{policy}`: no unmet requirement contains `{text}`"


def _quote(outcome: str) -> str:
    return "no verdict" if outcome == "none" else f"`{outcome}`"
