"""Verdicts over plans, waivers, denials."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from support.policy_plans import (
    AFTER,
    ALICE,
    BEFORE,
    GRANT,
    LINE,
    MANAGE,
    NOW,
    PLACE,
    PROMOTED,
    PROMOTION,
    SOAK,
    alias,
    change,
    comparison,
    failed,
    judged,
    model,
    plan,
    policy,
    version,
)

from lifecycle_as_code.model.diagnostics import LacError
from lifecycle_as_code.model.plan import Mode, Plan
from lifecycle_as_code.model.policy import Policy, PolicyWaiver, Rules
from lifecycle_as_code.model.review import Outcome, Review
from lifecycle_as_code.review.policy.judge import check_rules, judge, list_denials, list_expired_waivers

WAIVED = PolicyWaiver("p", "model_alias.fraud/champion", "agreed", "2026-11-24", PLACE)

WAIVERS: dict[str, tuple[PolicyWaiver, datetime, Outcome]] = {
    "on its last day": (WAIVED, NOW, Outcome.WAIVED),
    "until that day ends in UTC": (WAIVED, datetime(2026, 11, 24, 23, 59, 59, tzinfo=UTC), Outcome.WAIVED),
    "not on the next one": (WAIVED, datetime(2026, 11, 25, tzinfo=UTC), Outcome.DENIED),
    "not on the next one, told in another zone": (
        WAIVED,
        datetime(2026, 11, 24, 20, 0, tzinfo=timezone(timedelta(hours=-5))),
        Outcome.DENIED,
    ),
    "by a pattern": (replace(WAIVED, address="model_alias.fraud/*"), NOW, Outcome.WAIVED),
    "of another object": (replace(WAIVED, address="model_alias.fraud/shadow"), NOW, Outcome.DENIED),
    "of another policy": (replace(WAIVED, policy="q"), NOW, Outcome.DENIED),
}


@pytest.mark.parametrize(("waiver", "now", "outcome"), WAIVERS.values(), ids=WAIVERS)
def test_a_waiver_lets_one_policy_through_for_a_while(
    waiver: PolicyWaiver, now: datetime, outcome: Outcome
) -> None:
    (verdict,) = judged(policy("false"), now=now, waivers=(waiver,))
    assert verdict.outcome is outcome
    assert (verdict.waiver is not None) == (outcome is Outcome.WAIVED)
    assert verdict.failed == ("false",)


def test_the_waiver_that_holds_longest_is_told_and_none_where_all_is_met() -> None:
    longer = replace(WAIVED, expires="2026-12-24", reason="longer")
    (verdict,) = judged(policy("false"), waivers=(WAIVED, longer))
    assert verdict.waiver is not None
    assert (verdict.waiver.reason, verdict.waiver.expires, verdict.waiver.at) == (
        "longer",
        "2026-12-24",
        PLACE,
    )
    (verdict,) = judged(policy("true"), waivers=(WAIVED,))
    assert (verdict.outcome, verdict.waiver) == (Outcome.PASSED, None)


def test_an_expired_waiver_is_told_as_a_warning() -> None:
    rules = Rules(waivers=(WAIVED, replace(WAIVED, expires="2026-11-25")))
    assert list(list_expired_waivers(rules, NOW)) == []
    (found,) = list_expired_waivers(rules, NOW + timedelta(days=1))
    assert (found.code, found.severity, found.at) == ("waiver-expired", "warning", PLACE)
    assert "2026-11-24" in found.detail


def test_a_warning_refuses_nothing() -> None:
    (verdict,) = judged(policy("false", level="warn"))
    assert verdict.outcome is Outcome.WARNED
    assert list_denials(replace(PROMOTED, review=Review(verdicts=(verdict,)))) == ()


def test_a_denial_is_an_error_at_the_changes_line() -> None:
    verdicts = judged(policy("after.metrics.auc > 0.99", run="KILLED"))
    (found,) = list_denials(replace(PROMOTED, review=replace(PROMOTED.review, verdicts=verdicts)))
    assert (found.code, found.at, found.severity, found.guard) == ("policy-denied", LINE, "error", "")
    assert found.detail.splitlines() == [
        "model_alias.fraud/champion: policy `p`, rules.yaml:2:5.",
        "mind this",
        "not met: after.metrics.auc > 0.99 (after.metrics.auc = 0.96)",
        "not met: the run of fraud version 4 is FINISHED, not KILLED",
    ]
    assert "waivers:" in found.hint


BACK = {
    "on": (PROMOTED, {"mode": "normal"}, False),
    "back": (
        plan(change(alias(4), alias(3)), evidence=(comparison(AFTER, BEFORE),)),
        {"mode": "normal"},
        True,
    ),
    "judged in any mode": (
        plan(change(alias(4), alias(3)), evidence=(comparison(AFTER, BEFORE),)),
        {},
        False,
    ),
    "away": (plan(change(alias(4), None), evidence=(comparison(AFTER, None),)), {"mode": "normal"}, False),
}


@pytest.mark.parametrize(("on", "when", "told"), BACK.values(), ids=BACK)
def test_whoever_goes_back_is_told_the_way(on: Plan, when: dict[str, Any], told: bool) -> None:
    rules = Rules((policy("false", when=when),))
    verdicts = judge(on, rules, actor=ALICE, now=NOW)
    (found,) = list_denials(replace(on, review=replace(on.review, verdicts=verdicts, rules=rules)))
    way = "lac rollback 'model_alias.fraud/champion' -o FILE"
    assert (way in found.hint) is told
    assert "waivers:" in found.hint


def test_two_versions_without_numbers_are_not_the_same_one() -> None:
    on = version(replace(AFTER, version=0, aliases=()), before=replace(BEFORE, version=0))
    on = replace(on, changes=(change(alias(3), alias(3)),))
    assert failed(policy(promotes_from="challenger"), on) == [
        "the version doesn't hold `challenger`; it holds no alias"
    ]


def test_what_has_tags_of_its_own_is_not_helped_by_a_versions() -> None:
    made = change(None, model(owner=""))
    on = plan(made, evidence=(comparison(None, AFTER, address=made.address),))
    assert failed(policy(required_tags=("team",)), on) == ["registered_model.fraud lacks the tag `team`"]


def test_verdicts_come_in_the_plans_order_then_the_policies() -> None:
    on = plan(PROMOTION, change(GRANT, MANAGE), evidence=(comparison(),))
    rules = Rules((policy("true", name="a"), policy("true", name="b", when={"kind": "model_alias"})))
    verdicts = judge(on, rules, actor=ALICE, now=NOW)
    assert [(v.address.kind, v.policy) for v in verdicts] == [
        ("model_alias", "a"),
        ("model_alias", "b"),
        ("permission", "a"),
    ]


def test_rules_read_back_from_json_judge_the_same() -> None:
    def again(one: Policy) -> Policy:
        return replace(
            one, when=json.loads(json.dumps(one.when)), builtin=json.loads(json.dumps(one.builtin))
        )

    one = policy(
        "after.metrics.auc > 0.99",
        when={"kind": ("model_alias", "x")},
        run=("KILLED",),
        promotes_from=("a",),
        soak=SOAK,
        only={"actors": ("bob",), "teams": (), "actions": ()},
        required_tags=("x",),
    )
    assert len(failed(one)) == 5
    assert judged(again(one)) == judged(one)


def test_an_expression_that_cannot_be_compiled_judges_nothing() -> None:
    with pytest.raises(LacError) as caught:
        judged(policy("true", "nope"))
    assert [d.code for d in caught.value.diagnostics] == ["bad-policy"]
    rules = Rules((policy("nope", "after.metricz > 1"),))
    assert [d.hint for d in check_rules(rules)] == [
        "`lac policy context` lists all names",
        "did you mean `after.metrics`?",
    ]


def test_a_large_plan_is_judged_soon() -> None:
    changes = tuple(change(alias(3, model=f"m{n}"), alias(4, model=f"m{n}")) for n in range(300))
    evidence = tuple(replace(comparison(), address=c.address) for c in changes)
    rules = Rules(tuple(policy("after.metrics.auc > 0.5", name=f"p{n}") for n in range(20)))
    started = datetime.now(UTC)
    verdicts = judge(plan(*changes, evidence=evidence), rules, actor=ALICE, now=NOW)
    assert len(verdicts) == 6000
    assert {v.outcome for v in verdicts} == {Outcome.PASSED}
    assert datetime.now(UTC) - started < timedelta(seconds=10)


def test_mode_and_environment_are_the_plans() -> None:
    one = policy("false", when={"mode": "rollback", "environment": "prod"})
    assert judged(one) == ()
    assert judged(one, replace(PROMOTED, mode=Mode.ROLLBACK))
