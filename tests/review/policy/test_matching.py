"""Which changes a policy applies to."""

from __future__ import annotations

from typing import Any

import pytest
from support.policy_plans import (
    alias,
    change,
    judged,
    model,
    plan,
    policy,
    spec,
)

from lifecycle_as_code.model.plan import Action

WHEN: dict[str, tuple[dict[str, Any], bool]] = {
    "anything": ({}, True),
    "the kind": ({"kind": "model_alias"}, True),
    "another kind": ({"kind": "permission"}, False),
    "a pattern": ({"kind": "model_*", "model": "fr?ud"}, True),
    "one of a list": ({"alias": ["x", "champ*"]}, True),
    "none of a list": ({"alias": ["x", "y"]}, False),
    "the field's value after": ({"version": 4}, True),
    "the field's value before": ({"version": 3}, True),
    "neither value": ({"version": 5}, False),
    "values of different sides": ({"version": 3, "alias": "champion"}, True),
    "a field that it hasn't": ({"level": "READ"}, False),
    "the action": ({"action": "update"}, True),
    "another action": ({"action": ["create", "delete"]}, False),
    "the environment": ({"environment": "pr*"}, True),
    "another environment": ({"environment": "dev"}, False),
    "the mode": ({"mode": "rollback"}, False),
    "the address": ({"address": "model_alias.fraud/*"}, True),
}


@pytest.mark.parametrize(("when", "about"), WHEN.values(), ids=WHEN)
def test_when_says_which_changes_a_policy_is_about(when: dict[str, Any], about: bool) -> None:
    assert [v.policy for v in judged(policy("true", when=when))] == (["p"] if about else [])


def test_nothing_gets_out_of_reach_by_the_change_that_is_judged() -> None:
    gold = policy("false", when={"kind": "registered_model", "tags.tier": "gold"})
    assert judged(gold, plan(change(model(tier="gold"), model(tier="bronze"))))
    assert judged(gold, plan(change(model(tier="bronze"), model(tier="gold"))))
    assert not judged(gold, plan(change(model(tier="bronze"), model())))


def test_a_name_that_looks_like_a_pattern_is_itself_too() -> None:
    on = plan(change(None, spec("registered_model", name="fraud[v2]")))
    assert judged(policy("true", when={"name": "fraud[v2]"}), on)


def test_only_differences_are_judged() -> None:
    for action in (Action.RECORD, Action.FORGET):
        assert judged(policy("false"), plan(change(alias(4), alias(4), action))) == ()
    assert judged(policy("false"), plan(change(alias(4), alias(4), Action.MOVE)))
