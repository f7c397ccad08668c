"""Policies over a plan and its evidence: verdicts. Pure: the moment and the actor are given.

What isn't plainly true is not met: an expression without a value, a key that isn't there, a version about
which nothing is known.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import date, datetime
from typing import Any, Final

from ...model.cel import Engine, EngineMissingError, FaultyError, Program
from ...model.diagnostics import Diagnostic, LacError, did_you_mean, refuse
from ...model.evidence import Comparison
from ...model.history import Actor
from ...model.pattern import matches
from ...model.plan import Change, Mode, Plan
from ...model.policy import Expression, Policy, PolicyWaiver, Rules, bad_policy
from ...model.review import Impact, Outcome, Verdict, Waiver
from .builtin import RULES, Case
from .facts import aware, change_facts, plan_facts, types
from .matching import concerns
from .trace import explained


def check_rules(rules: Rules) -> Iterator[Diagnostic]:
    """What is wrong with the policies' expressions, each at its place, as far as there is an engine that can
    tell: what judges nothing needs none."""
    with suppress(EngineMissingError):
        yield from _compiled(rules)[1]


def refuse_unready(rules: Rules) -> None:
    """LacError where the policies can't be asked: an expression is wrong, or there is no engine for it."""
    _ready(rules)


def expired(rules: Rules, now: datetime) -> Iterator[Diagnostic]:
    """A warning for each waiver that holds no more."""
    for waiver in rules.waivers:
        if not _holds(waiver, now):
            yield Diagnostic(
                "waiver-expired",
                "a waiver has expired",
                f"The waiver of policy `{waiver.policy}` for {waiver.address} held until {waiver.expires}.",
                hint="remove it, or give it a later date",
                at=waiver.at,
                severity="warning",
            )


def judge(plan: Plan, rules: Rules, *, actor: Actor, now: datetime) -> tuple[Verdict, ...]:
    """Each policy over each change that it is about, in the plan's order, and by its evidence and impacts.

    Only changes that are differences are judged. LacError where an expression can't be compiled.
    """
    if not rules.policies:
        return ()
    docket = _Docket(plan, rules, _ready(rules), actor, aware(now))
    return tuple(
        verdict
        for change in plan.changes
        if change.action.is_difference
        for verdict in docket.verdicts(change)
    )


def denials(plan: Plan) -> tuple[Diagnostic, ...]:
    """An error for each verdict that refuses the plan, at the change's line."""
    return tuple(
        Diagnostic(
            "policy-denied",
            "a policy denies a change",
            "\n".join(
                [
                    f"{verdict.address}: policy `{verdict.policy}`, {verdict.at or 'of the plan'}.",
                    *([verdict.message] if verdict.message else []),
                    *(f"not met: {failed}" for failed in verdict.failed),
                ]
            ),
            hint=f"{_way_back(verdict, plan)}{_WAY_OUT}",
            at=verdict.line or verdict.at,
        )
        for verdict in plan.review.denied
    )


_WAY_OUT: Final = "mend what isn't met, or let it through with a waiver: a reason and a date under `waivers:`"


def _way_back(verdict: Verdict, plan: Plan) -> str:
    """How to go back to a lower version, where the policy is about promotions only."""
    spared = any(
        policy.name == verdict.policy and not matches(Mode.ROLLBACK, policy.when.get("mode", "*"))
        for policy in plan.review.rules.policies
    )
    back = any(
        it.address == verdict.address and it.before and it.after and it.before.version > it.after.version > 0
        for it in plan.review.evidence
    )
    if not (spared and back) or plan.mode is not Mode.NORMAL:
        return ""
    back_to = f"`lac rollback {verdict.address.quoted} -o FILE`"
    return f"to go back, save {back_to}: this policy isn't about it; otherwise "


# --- compiling


class _Compiled:
    """The engine and the programs, where there is an expression."""

    def __init__(self, engine: Engine | None = None) -> None:
        self.engine = engine
        self.programs: dict[str, Program] = {}


def _compiled(rules: Rules) -> tuple[_Compiled, list[Diagnostic]]:
    """Every expression, compiled once, and what is wrong with them. EngineMissingError where there is no
    engine, and an expression that needs one."""
    wanted = [(policy, expression) for policy in rules.policies for expression in policy.require]
    if not wanted:
        return _Compiled(), []
    compiled = _Compiled(Engine(types()))
    faults: list[Diagnostic] = []
    for policy, expression in wanted:
        if expression.text in compiled.programs:
            continue
        try:
            assert compiled.engine is not None
            compiled.programs[expression.text] = compiled.engine.compile(expression.text)
        except FaultyError as error:
            faults += _told(policy, expression, error)
    return compiled, faults


def _ready(rules: Rules) -> _Compiled:
    try:
        compiled, faults = _compiled(rules)
    except EngineMissingError:
        first = next(expression for policy in rules.policies for expression in policy.require)
        raise LacError(_no_engine(first)) from None
    refuse(faults)
    return compiled


def _told(policy: Policy, expression: Expression, error: FaultyError) -> Iterator[Diagnostic]:
    for fault in error.faults:
        at = expression.place(fault.column)
        # what can't be pointed at is said
        unseen = expression.offset is None and fault.line > 0
        where = f" (line {fault.line}, column {fault.column} of the expression)" if unseen else ""
        hint = fault.hint or (_like(fault.name) if fault.name else "")
        yield bad_policy(f"Policy `{policy.name}`: {fault.detail}{where}", hint, at)


def _like(name: str) -> str:
    """The nearest of the known names, for one that may go on behind them."""
    steps = name.split(".")
    known = types()
    for count in range(len(steps), 0, -1):
        hint = did_you_mean(".".join(steps[:count]), known)
        if hint.startswith("did you mean"):
            return hint
    return "`lac policy context` lists all names"


def _no_engine(expression: Expression) -> Diagnostic:
    return Diagnostic(
        "policy-engine-missing",
        "policies have expressions, and what evaluates them isn't installed",
        "Expressions under `require` are CEL, for which lac needs cel-expr-python.",
        hint="pip install 'lifecycle-as-code[policy]'; built-in rules need none of it",
        at=expression.at,
    )


# --- judging


class _Docket:
    """One plan, and what its changes are judged by."""

    def __init__(self, plan: Plan, rules: Rules, compiled: _Compiled, actor: Actor, now: datetime) -> None:
        self._plan, self._rules, self._actor, self._now = plan, rules, actor, now
        self._compiled = compiled
        self._common = plan_facts(plan, actor)
        self._comparisons: dict[Any, list[Comparison]] = {}
        for comparison in plan.review.evidence:
            self._comparisons.setdefault(comparison.address, []).append(comparison)
        self._impacts: dict[Any, list[Impact]] = {}
        for impact in plan.review.impacts:
            self._impacts.setdefault(impact.address, []).append(impact)

    def verdicts(self, change: Change) -> Iterator[Verdict]:
        """Of all policies that are about a change."""
        asked: list[_Facts] = []
        for policy in self._rules.policies:
            if not concerns(policy.when, change, self._plan):
                continue
            case = Case(
                change,
                tuple(self._comparisons.get(change.address, ())),
                self._actor,
                self._now,
                self._rules.teams,
                bool(policy.builtin.get("allow_unknown")),
            )
            if policy.require and not asked:
                asked = list(self._facts(case))
            failed = [*_expressions(policy, self._compiled.programs, asked), *_built_in(policy, case)]
            yield self._verdict(policy, change, tuple(dict.fromkeys(failed)))

    def _facts(self, case: Case) -> Iterator[_Facts]:
        impacts = tuple(self._impacts.get(case.change.address, ()))
        known = not case.unseen
        engine = self._compiled.engine
        assert engine is not None
        for comparison in case.comparisons or (None,):
            found = change_facts(case.change, comparison, impacts, self._now, known=known)
            yield _Facts(comparison, {**self._common, **found}, engine)

    def _verdict(self, policy: Policy, change: Change, failed: tuple[str, ...]) -> Verdict:
        waiver = self._waiver(policy, change) if failed else None
        match bool(failed), waiver is not None, policy.level:
            case False, _, _:
                outcome = Outcome.PASSED
            case True, True, _:
                outcome = Outcome.WAIVED
            case True, False, "warn":
                outcome = Outcome.WARNED
            case _:
                outcome = Outcome.DENIED
        return Verdict(
            policy.name, change.address, outcome, failed, policy.message, policy.at, change.at, waiver
        )

    def _waiver(self, policy: Policy, change: Change) -> Waiver | None:
        """The one that holds longest."""
        found = [
            waiver
            for waiver in self._rules.waivers
            if waiver.policy == policy.name
            and matches(str(change.address), waiver.address)
            and _holds(waiver, self._now)
        ]
        best = max(found, key=lambda waiver: waiver.expires, default=None)
        return None if best is None else Waiver(best.reason, best.expires, best.at)


class _Facts:
    """What is known about one version in one place, ready to be asked about."""

    def __init__(self, comparison: Comparison | None, values: Mapping[str, Any], engine: Engine) -> None:
        self.entity = comparison.entity if comparison else ""
        self.values = values
        self.ready = engine.facts(values)


def _expressions(policy: Policy, programs: Mapping[str, Program], asked: Iterable[_Facts]) -> Iterator[str]:
    for facts in asked:
        for expression in policy.require:
            answer = programs[expression.text].ask(facts.ready)
            if not answer.met:
                entity = f"served entity `{facts.entity}`: " if facts.entity else ""
                yield entity + explained(expression.text, answer, facts.values)


def _built_in(policy: Policy, case: Case) -> Iterator[str]:
    for name, rule in RULES.items():
        if name in policy.builtin:
            yield from rule(case, policy.builtin[name])


def _holds(waiver: PolicyWaiver, now: datetime) -> bool:
    """Whether its last day, in UTC, isn't over."""
    return aware(now).date() <= date.fromisoformat(waiver.expires)
