"""The names in an expression and their values, and an expression that isn't met with what it read."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import pytest
from support.policy_plans import (
    AFTER,
    ALICE,
    BEFORE,
    CHAMPION,
    GRANT,
    MANAGE,
    NOW,
    PLACE,
    PROMOTED,
    PROMOTION,
    SECRET,
    alias,
    change,
    comparison,
    failed,
    judged,
    plan,
    policy,
    spec,
)

from lifecycle_as_code.kinds import KINDS
from lifecycle_as_code.model.diagnostics import LacError
from lifecycle_as_code.model.evidence import Metric
from lifecycle_as_code.model.plan import Change
from lifecycle_as_code.model.policy import Rules
from lifecycle_as_code.model.review import Access, Impact, Outcome, Traffic
from lifecycle_as_code.model.signature import SignatureChange, SignatureClass
from lifecycle_as_code.model.spec import Address, Spec
from lifecycle_as_code.review.policy.facts import CONTEXT, change_facts, plan_facts, types
from lifecycle_as_code.review.policy.judge import check_rules

MET = [
    'after.tags.validation_status == "approved"',
    "after.metrics.auc >= before.metrics.auc - 0.005",
    'signature != "breaking"',
    'before.exists && before.version == 3 && after.version == 4 && after.model == "fraud"',
    'after.run.exists && after.run.status == "FINISHED" && after.run.commit == "c0ffee"',
    "!after.run.deleted && after.run.user == 'bob' && after.run.id.size() == 32",
    '"challenger" in after.aliases && after.held_hours.challenger > 24.0',
    'after.artifact == "present" && after.size < 20000 && after.signature.present',
    'after.datasets == ["payments"] && after.flavors.sklearn.startsWith("1.") && after.params.depth == "7"',
    'after.fields.version == 4 && after.fields.alias == "champion" && before.fields.version == 3',
    'change.address == "model_alias.fraud/champion" && change.kind == "model_alias"',
    'change.action == "update" && change.fields == ["version"] && change.entity == ""',
    'evidence.better == ["auc"] && evidence.worse.size() == 0 && evidence.missing.size() == 0',
    'plan.stack == "payments" && plan.mode == "normal" && plan.counts.update == 1 && plan.counts.move == 0',
    'plan.changes == ["model_alias.fraud/champion"] && environment == "prod"',
    'actor.name == "alice" && actor.user == "runner" && actor.host == "ci-7" && !actor.dirty',
    "!before.run.exists && before.artifact == 'unknown'",
]


@pytest.mark.parametrize("text", MET)
def test_what_is_true_of_a_change_passes_and_is_recorded(text: str) -> None:
    (verdict,) = judged(policy(text))
    assert (verdict.outcome, verdict.failed) == (Outcome.PASSED, ())


NOT_MET = {
    "values": (
        "after.metrics.auc >= before.metrics.auc + 0.5",
        "(after.metrics.auc = 0.96, before.metrics.auc = 0.95)",
    ),
    "a missing key": (
        "after.metrics.f1 >= before.metrics.f1",
        "(after.metrics.f1 is missing, before.metrics.f1 is missing)",
    ),
    "what isn't a number": ("after.metrics.bad > 0.0", "(after.metrics.bad is missing)"),
    "what isn't known": ("before.size < 10", "(before.size is missing)"),
    "a text": ('after.run.user == "eve"', '(after.run.user = "bob")'),
    "no truth": ("after.fields.version", "(after.fields.version = 4, the result is neither true nor false)"),
    "in a loop": (
        'after.aliases.all(a, after.tags[a] == "x")',
        '(after.aliases = ["challenger"], after.tags = {"validation_status": "approved", "team": "risk"}, '
        'Key not found in map : "challenger")',
    ),
    "a key with a space": ('after.tags["a b"] == "c"', "(after.tags.a b is missing)"),
}


@pytest.mark.parametrize(("text", "seen"), NOT_MET.values(), ids=NOT_MET)
def test_what_is_not_met_is_told_with_the_values_that_it_saw(text: str, seen: str) -> None:
    assert failed(policy(text)) == [f"{text} {seen}"]


def test_an_expression_of_several_lines_is_told_on_one() -> None:
    assert failed(policy("after.exists\n  && false")) == ["after.exists && false (after.exists = true)"]


def test_every_expression_is_asked() -> None:
    assert len(failed(policy("false", "after.exists", "after.version == 9"))) == 2


def test_before_a_creation_nothing_is_there_and_a_metric_is_missing() -> None:
    created = plan(
        change(None, alias(4)), evidence=(comparison(None, AFTER, SignatureChange(SignatureClass.NONE)),)
    )
    for text in (
        "!before.exists && before.version == 0 && before.metrics.size() == 0 && before.fields.size() == 0",
        "!before.exists || after.metrics.auc >= before.metrics.auc",
        'signature == "none"',
    ):
        assert failed(policy(text), created) == []
    text = "after.metrics.auc >= before.metrics.auc"
    assert failed(policy(text), created) == [
        f"{text} (after.metrics.auc = 0.96, before.metrics.auc is missing)"
    ]


def test_after_a_deletion_nothing_is_there() -> None:
    deleted = plan(change(alias(3), None), evidence=(comparison(BEFORE, None),))
    assert failed(policy('!after.exists && before.exists && change.action == "delete"'), deleted) == []
    assert failed(policy("after.metrics.auc > 0.5"), deleted)


def test_what_is_no_version_has_its_fields() -> None:
    granted = plan(change(GRANT, MANAGE))
    assert (
        failed(policy('after.fields.level != "DENY" && before.exists && signature == "none"'), granted) == []
    )
    assert failed(policy('after.fields.level != "MANAGE"'), granted) == [
        'after.fields.level != "MANAGE" (after.fields.level = "MANAGE")'
    ]


OWNED = spec("registered_model", name="fraud", tags={"owner": "risk"})
THIRD = spec("model_version", model="fraud", version=3, source="s3://m/3", tags={"status": "ok"})

WRITTEN = {
    "a model's tags": (change(None, OWNED), 'after.tags.owner == "risk" && !has(before.tags.owner)'),
    "a version that stays that version": (
        change(THIRD.model_copy(update={"tags": {"status": "old"}}), THIRD),
        'after.tags.status == "ok" && before.tags.status == "old" && after.version == 3'
        ' && before.version == 3 && after.model == "fraud" && after.source == "s3://m/3"',
    ),
    "what has neither": (change(GRANT, MANAGE), "after.version == 0 && after.tags.size() == 0"),
}


@pytest.mark.parametrize(("one", "text"), WRITTEN.values(), ids=WRITTEN)
def test_where_no_version_is_replaced_the_object_speaks_for_itself(one: Change, text: str) -> None:
    assert failed(policy(text), plan(one)) == []


def test_a_side_that_has_no_version_has_nothing_of_the_objects_own() -> None:
    renewed = change(OWNED, OWNED.model_copy(update={"description": "x"}))
    on = plan(renewed, evidence=(comparison(None, AFTER, address=renewed.address),))
    assert failed(policy("!before.exists && before.tags.size() == 0"), on) == []


def test_without_an_engine_only_expressions_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cel_expr_python", None)
    assert failed(policy(run="FINISHED")) == []
    assert list(check_rules(Rules((policy("nope"),)))) == []
    with pytest.raises(LacError) as caught:
        judged(policy("true"))
    (found,) = caught.value.diagnostics
    assert (found.code, found.at) == ("policy-engine-missing", PLACE)


def test_what_a_change_reaches_can_be_asked_about() -> None:
    grant = Address("permission", ("analysts", "registered_model", "fraud"))
    fraud = Address("registered_model", ("fraud",))
    impacts = (
        Impact(
            CHAMPION,
            traffic=(
                Traffic(Address("serving_endpoint", ("pay",)), "a", moves=True),
                Traffic(Address("serving_endpoint", ("other",)), "a", "shop", moves=False),
            ),
        ),
        Impact(grant, access=(Access("eve", fraud, "READ", "MANAGE"), Access("bob", fraud, "EDIT", "READ"))),
    )
    both = plan(PROMOTION, change(GRANT, MANAGE), evidence=(comparison(),), impacts=impacts)
    promoted = {"kind": "model_alias"}
    assert (
        failed(policy('change.endpoints == ["pay"] && plan.endpoints == ["pay"]', when=promoted), both) == []
    )
    assert failed(policy("change.gains.size() == 0 && plan.gains.size() == 1", when=promoted), both) == []
    granted = policy('change.gains.all(g, g.after != "MANAGE")', when={"kind": "permission"})
    assert failed(granted, both) == [
        'change.gains.all(g, g.after != "MANAGE") (change.gains = [{"user": "eve", "resource": '
        '"registered_model.fraud", "before": "READ", "after": "MANAGE"}])'
    ]
    lost = policy('change.losses[0].user == "bob"', when={"kind": "permission"})
    assert failed(lost, both) == []


def test_a_metric_of_several_data_sets_has_no_name_of_its_own() -> None:
    measured = replace(
        AFTER,
        metrics=(
            Metric("auc", 0.9, "holdout", "d1"),
            Metric("auc", 0.7, "shadow", "d2"),
            Metric("f1", 0.5, "holdout", "d1"),
            Metric("log_loss", 0.1),
            Metric("log_loss", 0.3, "holdout", "d1"),
        ),
    )
    on = plan(PROMOTION, evidence=(comparison(after=measured),))
    assert failed(policy('after.metrics["auc@holdout"] > 0.8 && after.metrics.f1 == 0.5'), on) == []
    assert failed(policy("after.metrics.log_loss == 0.1"), on) == []
    assert failed(policy("after.metrics.auc > 0.5"), on) == [
        "after.metrics.auc > 0.5 (after.metrics.auc is missing)"
    ]


def test_every_documented_name_has_a_value_of_its_type() -> None:
    facts = {
        **plan_facts(PROMOTED, ALICE),
        **change_facts(PROMOTION, comparison(after=AFTER, before=AFTER), (), NOW, known=True),
    }
    assert facts.keys() == types().keys()
    sorts = {"bool": bool, "int": int, "string": str, "double": float, "list": list, "map": dict}
    for name, type_ in types().items():
        assert type(facts[name]) is sorts[type_.partition("(")[0]], name
    assert all(entry.about.endswith(".") for entry in CONTEXT)


def test_what_looks_like_a_secret_is_not_shown() -> None:
    tagged = plan(
        PROMOTION, evidence=(comparison(after=replace(AFTER, tags={"x": SECRET, "api_key": "s3"})),)
    )
    told = failed(
        policy('after.tags.x == "y"', 'after.tags.api_key == "y"', "after.tags.size() == 0"), tagged
    )
    named = plan(PROMOTION, evidence=(comparison(after=replace(AFTER, tags={SECRET: "x"})),))
    told += failed(policy("after.tags.size() == 0"), named)
    assert len(told) == 4
    assert all("(hidden)" in sentence for sentence in told)
    # a value that is looked up as a key is no less of one
    told += failed(policy("after.tags[after.tags.x] == 'y'"), tagged)
    assert "a key isn't there" in told[-1] or "(hidden)" in told[-1]
    assert not [sentence for sentence in told if SECRET in sentence or "s3" in sentence]


def test_an_endpoint_is_judged_for_each_served_entity() -> None:
    def endpoint(a: int, b: int) -> Spec:
        entities = tuple(
            {"name": name, "entity_name": "fraud", "entity_version": version}
            for name, version in (("a", a), ("b", b))
        )
        shares = [{"served_entity_name": n, "traffic_percentage": 50} for n in ("a", "b")]
        made: Spec = KINDS["serving_endpoint"].spec.model_validate(
            {"name": "pay", "served_entities": entities, "traffic_config": {"routes": shares}}, strict=False
        )
        return made

    moved = change(endpoint(3, 3), endpoint(4, 5))
    worse = replace(AFTER, version=5, metrics=(Metric("auc", 0.5),), run=None)
    evidence = (
        comparison(address=moved.address, entity="a"),
        comparison(BEFORE, worse, address=moved.address, entity="b"),
    )
    on = plan(moved, evidence=evidence)
    one = policy("after.metrics.auc > 0.9", "change.entity != ''", run="FINISHED")
    assert failed(one, on) == [
        "served entity `b`: after.metrics.auc > 0.9 (after.metrics.auc = 0.5)",
        "the run of served entity `b`, fraud version 5 is unknown",
    ]
    # an entity that there is no evidence about isn't let through
    assert failed(policy(run="FINISHED"), plan(moved, evidence=evidence[:1])) == [
        "there is no evidence about model_version.fraud/5"
    ]


def test_without_evidence_a_version_is_not_let_through() -> None:
    on = plan(PROMOTION)
    unknown = "there is no evidence about model_version.fraud/4"
    settings: dict[str, Any] = {
        "run": "FINISHED",
        "artifact": "must-exist",
        "signature": "compatible",
        "promotes_from": "challenger",
        "soak": {"alias": "challenger", "hours": 1},
    }
    for name, setting in settings.items():
        assert failed(policy(**{name: setting}), on) == [unknown]
    assert failed(policy('signature != "breaking"'), on) == ['signature != "breaking" (signature is missing)']


def test_a_version_that_is_made_is_known_by_its_evidence() -> None:
    made = spec("model_version", model="fraud", version=4, source="s3://m/4")
    on = plan(change(None, made), evidence=(comparison(None, AFTER, address=made.address),))
    assert failed(policy(run="FINISHED"), on) == []
    unnumbered = replace(AFTER, version=0)
    on = plan(change(None, made), evidence=(comparison(None, unnumbered, address=made.address),))
    assert failed(policy(run="FINISHED"), on) == []
