"""Verdicts of policies over a plan and its evidence. Pure. Anything other than `true` counts as a failure: an
expression without a value, a missing key, a version without evidence."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Final, NamedTuple

from ...model.cel import Engine, EngineMissingError, FaultyError, Program
from ...model.diagnostics import Diagnostic, LacError, did_you_mean, refuse
from ...model.history import Actor
from ...model.pattern import matches
from ...model.plan import Change, Mode, Plan
from ...model.policy import Expression, Policy, PolicyWaiver, Rules, bad_policy
from ...model.review import Impact, Outcome, Review, Verdict, Waiver
from .builtin import RULES, Case
from .facts import aware, change_facts, plan_facts, types
from .matching import concerns
from .trace import describe_failure


def check_rules(rules: Rules) -> Iterator[Diagnostic]:
    """Every error in the policies' expressions. Nothing without an engine: only judging needs one."""
    with suppress(EngineMissingError):
        yield from _compile(rules)[1]


def list_expired_waivers(rules: Rules, now: datetime) -> Iterator[Diagnostic]:
    """A warning for each expired waiver."""
    for waiver in rules.waivers:
        if not _holds(waiver, now):
            yield Diagnostic(
                "waiver-expired",
                "a waiver has expired",
                f"The waiver of policy `{waiver.policy}` for {waiver.address} expired on {waiver.expires}.",
                hint="remove it, or give it a later date",
                at=waiver.at,
                severity="warning",
            )


def judge(plan: Plan, rules: Rules, *, actor: Actor, now: datetime) -> tuple[Verdict, ...]:
    """The verdict of each policy on each difference that it applies to, in the plan's order. LacError if an
    expression doesn't compile."""
    if not rules.policies:
        return ()
    docket = _Docket(plan, rules, require_valid_rules(rules), actor, aware(now))
    return tuple(
        verdict
        for change in plan.changes
        if change.action.is_difference
        for verdict in docket.verdicts(change)
    )


def list_denials(plan: Plan) -> tuple[Diagnostic, ...]:
    """An error for each verdict that refuses the plan, at the change's line."""
    return tuple(
        Diagnostic(
            "policy-denied",
            "a policy denies a change",
            "\n".join(
                [
                    f"{verdict.address}: policy `{verdict.policy}`, {verdict.at or 'of the plan'}.",
                    *([verdict.message] if verdict.message else []),
                    *(f"not met: {failure}" for failure in verdict.failed),
                ]
            ),
            hint=f"{_way_back(verdict, plan)}{_WAY_OUT}",
            at=verdict.line or verdict.at,
        )
        for verdict in plan.review.denied
    )


_WAY_OUT: Final = "fix the unmet requirements, or add a waiver with a reason and a date under `waivers:`"


def _way_back(verdict: Verdict, plan: Plan) -> str:
    """How to go back to a lower version if the policy doesn't apply to rollbacks."""
    is_exempt = any(
        policy.name == verdict.policy and not matches(Mode.ROLLBACK, policy.when.get("mode", "*"))
        for policy in plan.review.rules.policies
    )
    back = any(
        it.address == verdict.address and it.before and it.after and it.before.version > it.after.version > 0
        for it in plan.review.evidence
    )
    if not (is_exempt and back) or plan.mode is not Mode.NORMAL:
        return ""
    command = f"`lac rollback {verdict.address.shell_word} -o FILE`"
    return f"to go back, use {command}, to which this policy doesn't apply; otherwise "


@dataclass(frozen=True, slots=True)
class Programs:
    """The engine and each expression's program; no engine without expressions."""

    engine: Engine | None = None
    by_text: dict[str, Program] = field(default_factory=dict)


def _compile(rules: Rules) -> tuple[Programs, list[Diagnostic]]:
    """Every expression, compiled once, and the errors in them. EngineMissingError without an engine."""
    expressions = [(policy, expression) for policy in rules.policies for expression in policy.require]
    if not expressions:
        return Programs(), []
    engine = Engine(types())
    programs = Programs(engine)
    faults: list[Diagnostic] = []
    for policy, expression in expressions:
        if expression.text in programs.by_text:
            continue
        try:
            programs.by_text[expression.text] = engine.compile(expression.text)
        except FaultyError as error:
            faults += _describe(policy, expression, error)
    return programs, faults


def require_valid_rules(rules: Rules) -> Programs:
    """LacError if an expression doesn't compile, or the engine isn't installed."""
    try:
        programs, faults = _compile(rules)
    except EngineMissingError:
        first = next(expression for policy in rules.policies for expression in policy.require)
        raise LacError(
            Diagnostic(
                "policy-engine-missing",
                "the engine for policies' expressions isn't installed",
                "Expressions under `require` are CEL, which requires cel-expr-python.",
                hint="pip install 'lifecycle-as-code[policy]'; built-in rules don't need it",
                at=first.at,
            )
        ) from None
    refuse(faults)
    return programs


def _describe(policy: Policy, expression: Expression, error: FaultyError) -> Iterator[Diagnostic]:
    for fault in error.faults:
        at = expression.place(fault.column)
        # a place that doesn't map to the file goes into the text
        is_unmapped = expression.offset is None and fault.line > 0
        where = f" (line {fault.line}, column {fault.column} of the expression)" if is_unmapped else ""
        hint = fault.hint or (_suggest(fault.name) if fault.name else "")
        yield bad_policy(f"Policy `{policy.name}`: {fault.detail}{where}", hint, at)


def _suggest(name: str) -> str:
    """A hint with the known name that is nearest to the beginning of `name`."""
    steps = name.split(".")
    known = types()
    for count in range(len(steps), 0, -1):
        hint = did_you_mean(".".join(steps[:count]), known)
        if hint.startswith("did you mean"):
            return hint
    return "`lac policy context` lists all names"


class _Docket:
    """One plan, with the evidence and impacts for its changes."""

    def __init__(self, plan: Plan, rules: Rules, programs: Programs, actor: Actor, now: datetime) -> None:
        self._plan, self._rules, self._actor, self._now = plan, rules, actor, now
        self._programs = programs
        self._common = plan_facts(plan, actor)
        self._parts = plan.review.by_address()

    def verdicts(self, change: Change) -> Iterator[Verdict]:
        """The verdicts of all policies that apply to a change."""
        part = self._parts.get(change.address, Review())
        facts: list[_Facts] = []
        for policy in self._rules.policies:
            if not concerns(policy.when, change, self._plan):
                continue
            lenient = bool(policy.builtin.get("allow_unknown"))
            case = Case(change, part.evidence, self._actor, self._now, self._rules.teams, lenient)
            if policy.require and not facts:
                facts = list(self._facts(case, part.impacts))
            failures = [*self._unmet_expressions(policy, facts)]
            for name, rule in RULES.items():
                if name in policy.builtin:
                    failures += rule(case, policy.builtin[name])
            yield self._verdict(policy, change, tuple(dict.fromkeys(failures)))

    def _facts(self, case: Case, impacts: tuple[Impact, ...]) -> Iterator[_Facts]:
        known = not case.unknown_versions
        engine = self._programs.engine
        assert engine is not None
        for comparison in case.comparisons or (None,):
            about = change_facts(case.change, comparison, impacts, self._now, known=known)
            values = {**self._common, **about}
            yield _Facts(comparison.entity if comparison else "", values, engine.facts(values))

    def _unmet_expressions(self, policy: Policy, places: Iterable[_Facts]) -> Iterator[str]:
        for facts in places:
            for expression in policy.require:
                answer = self._programs.by_text[expression.text].ask(facts.activation)
                if not answer.met:
                    entity = f"served entity `{facts.entity}`: " if facts.entity else ""
                    yield entity + describe_failure(expression.text, answer, facts.values)

    def _verdict(self, policy: Policy, change: Change, failures: tuple[str, ...]) -> Verdict:
        waiver = self._waiver(policy, change) if failures else None
        if not failures:
            outcome = Outcome.PASSED
        elif waiver is not None:
            outcome = Outcome.WAIVED
        else:
            outcome = Outcome.WARNED if policy.level == "warn" else Outcome.DENIED
        return Verdict(
            policy.name, change.address, outcome, failures, policy.message, policy.at, change.at, waiver
        )

    def _waiver(self, policy: Policy, change: Change) -> Waiver | None:
        """The one with the latest date."""
        matching = [
            waiver
            for waiver in self._rules.waivers
            if waiver.policy == policy.name
            and matches(str(change.address), waiver.address)
            and _holds(waiver, self._now)
        ]
        best = max(matching, key=lambda waiver: waiver.expires, default=None)
        return None if best is None else Waiver(best.reason, best.expires, best.at)


class _Facts(NamedTuple):
    """The values for one version in one place; `activation`: in the engine's form."""

    entity: str
    values: Mapping[str, Any]
    activation: Any


def _holds(waiver: PolicyWaiver, now: datetime) -> bool:
    """Whether its last day, in UTC, has not passed."""
    return aware(now).date() <= date.fromisoformat(waiver.expires)
