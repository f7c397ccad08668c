"""Policies over plans: which changes they are about, what isn't met and in which words, waivers, verdicts."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from lifecycle_as_code.kinds import KINDS
from lifecycle_as_code.model.diagnostics import LacError, Source
from lifecycle_as_code.model.diff import diff
from lifecycle_as_code.model.evidence import Better, Comparison, Dataset, Direction, Evidence, Metric, Run
from lifecycle_as_code.model.history import Actor
from lifecycle_as_code.model.plan import Action, Change, Mode, Plan
from lifecycle_as_code.model.policy import Expression, Policy, PolicyWaiver, Rules, Team
from lifecycle_as_code.model.review import Access, Impact, Outcome, Review, Traffic, Verdict
from lifecycle_as_code.model.signature import Signature, SignatureChange, SignatureClass
from lifecycle_as_code.model.spec import Address, Spec
from lifecycle_as_code.review.evidence import compare
from lifecycle_as_code.review.policy.facts import CONTEXT, change_facts, plan_facts, types
from lifecycle_as_code.review.policy.judge import check_rules, denials, expired, judge

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
ALICE = Actor(user="runner", ci="alice", host="ci-7", commit="0a1b")
CHAMPION = Address("model_alias", ("fraud", "champion"))
LINE, PLACE = Source("models.yaml", 9, 5), Source("rules.yaml", 2, 5)


def spec(kind: str, **fields: Any) -> Spec:
    made: Spec = KINDS[kind].spec.model_validate(fields)
    return made


def alias(version: int, name: str = "champion", model: str = "fraud") -> Spec:
    return spec("model_alias", model=model, alias=name, version=version)


def change(before: Spec | None, after: Spec | None, action: Action | None = None) -> Change:
    side = after or before
    assert side is not None
    derived = Action.CREATE if before is None else Action.DELETE if after is None else Action.UPDATE
    fields = diff(before, after) if before and after else ()
    return Change(
        side.address, side.store, action or derived, "manifest changed", before, after, fields, at=LINE
    )


def hours_ago(hours: float) -> int:
    return round((NOW.timestamp() - hours * 3600) * 1000)


def known(version: int, **said: Any) -> Evidence:
    return Evidence("fraud", version, **said)


APPROVED = {"validation_status": "approved"}
BEFORE = known(3, metrics=(Metric("auc", 0.95),), tags=APPROVED, aliases=("champion",))
AFTER = known(
    4,
    metrics=(Metric("auc", 0.96), Metric("log_loss", 0.2), Metric("bad", None)),
    tags={**APPROVED, "team": "risk"},
    params={"depth": "7"},
    aliases=("challenger",),
    since_ms={"challenger": hours_ago(30)},
    run=Run("a" * 32, status="FINISHED", user="bob", commit="c0ffee"),
    artifact=True,
    size=12_000,
    datasets=(Dataset("payments", "d1"),),
    flavors={"sklearn": "1.5"},
    signature=Signature(),
)
SAME = SignatureChange(SignatureClass.SAME)


def comparison(
    before: Evidence | None = BEFORE,
    after: Evidence | None = AFTER,
    signature: SignatureChange = SAME,
    address: Address = CHAMPION,
    entity: str = "",
) -> Comparison:
    directions = (Direction("auc", Better.HIGHER), Direction("*loss", Better.LOWER))
    made = compare(address, "fraud", before, after, directions, entity)
    return replace(made, signature=signature)


PROMOTION = change(alias(3), alias(4))


def plan(*changes: Change, evidence: tuple[Comparison, ...] = (), **said: Any) -> Plan:
    review = Review(evidence, said.pop("impacts", ()))
    return Plan("payments", said.pop("environment", "prod"), changes, (), review=review, **said)


PROMOTED = plan(PROMOTION, evidence=(comparison(),))


def policy(*require: str, when: Mapping[str, Any] | None = None, name: str = "p", **said: Any) -> Policy:
    level = said.pop("level", "deny")
    expressions = tuple(Expression(text, PLACE, 0) for text in require)
    return Policy(name, when or {}, expressions, said, "mind this", level, PLACE)


def judged(
    one: Policy, on: Plan = PROMOTED, *, actor: Actor = ALICE, now: datetime = NOW, **said: Any
) -> tuple[Verdict, ...]:
    return judge(on, Rules((one,), **said), actor=actor, now=now)


def failed(one: Policy, on: Plan = PROMOTED, **said: Any) -> list[str]:
    """What isn't met, all verdicts together; each verdict is as it should be."""
    verdicts = judged(one, on, **said)
    for verdict in verdicts:
        assert (verdict.outcome is Outcome.DENIED) == bool(verdict.failed)
    return [sentence for verdict in verdicts for sentence in verdict.failed]


# --- expressions


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
    "no truth": ("after.fields.version", "(after.fields.version = 4, it is neither true nor false)"),
    "in a loop": (
        'after.aliases.all(a, after.tags[a] == "x")',
        '(after.aliases = ["challenger"], after.tags = {"validation_status": "approved", "team": "risk"}, '
        "there is no `challenger`)",
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


GRANT = spec("permission", role="analysts", resource_type="registered_model", resource="fraud", level="READ")
MANAGE = GRANT.model_copy(update={"level": "MANAGE"})


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


SECRET = "ghp_" + "a" * 36


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
    assert "a key doesn't exist" in told[-1] or "(hidden)" in told[-1]
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
        "served entity `b`, fraud version 5 has no run that is known",
    ]
    # an entity that nothing is known about isn't let through
    assert failed(policy(run="FINISHED"), plan(moved, evidence=evidence[:1])) == [
        "nothing is known about model_version.fraud/5"
    ]


def test_without_evidence_a_version_is_not_let_through() -> None:
    on = plan(PROMOTION)
    unknown = "nothing is known about model_version.fraud/4"
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


# --- which changes a policy is about


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


def model(**tags: str) -> Spec:
    return spec("registered_model", name="fraud", tags=tags)


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


# --- built-in rules


def version(evidence: Evidence, **said: Any) -> Plan:
    return plan(PROMOTION, evidence=(comparison(after=evidence, **said),))


BREAKING = SignatureChange(
    SignatureClass.BREAKING, ("x added", "input `age` is gone"), ("input `age` is gone",)
)
COMPATIBLE = SignatureChange(SignatureClass.COMPATIBLE, ("optional input `x` is added",))
UNKNOWN = SignatureChange(SignatureClass.UNKNOWN)
SOAK = {"alias": "challenger", "hours": 24.0}
RUN = AFTER.run
assert RUN is not None

BUILT_IN: dict[str, tuple[dict[str, Any], Plan, list[str]]] = {
    "from the challenger": ({"promotes_from": "challenger"}, PROMOTED, []),
    "from one of several": ({"promotes_from": ["shadow", "challenger"]}, PROMOTED, []),
    "not from the challenger": (
        {"promotes_from": "shadow"},
        PROMOTED,
        ["fraud version 4 isn't promoted from `shadow`: it holds `challenger`"],
    ),
    "from nowhere": (
        {"promotes_from": ["a", "b"]},
        version(replace(AFTER, aliases=())),
        ["fraud version 4 isn't promoted from `a` or `b`: it holds no alias"],
    ),
    "the same version as before": (
        {"promotes_from": "shadow", "soak": SOAK},
        version(replace(BEFORE, since_ms={}), before=BEFORE),
        ["nothing is known about model_version.fraud/4"],
    ),
    "soaked": ({"soak": SOAK}, PROMOTED, []),
    "soaked to the minute": (
        {"soak": SOAK},
        version(replace(AFTER, since_ms={"challenger": hours_ago(24)})),
        [],
    ),
    "soaked for too short": (
        {"soak": SOAK},
        version(replace(AFTER, since_ms={"challenger": hours_ago(23.99)})),
        ["fraud version 4 has held `challenger` for 23.9 of 24 hours, since 2026-11-23 12:00 UTC"],
    ),
    "never soaked": (
        {"soak": SOAK},
        version(replace(AFTER, since_ms={"shadow": hours_ago(99)})),
        ["fraud version 4 doesn't hold `challenger`, or nothing tells since when"],
    ),
    "compatible": ({"signature": "compatible"}, version(AFTER, signature=COMPATIBLE), []),
    "not the same": (
        {"signature": "same"},
        version(AFTER, signature=COMPATIBLE),
        ["the signature of fraud version 4 is compatible: optional input `x` is added"],
    ),
    "breaking": (
        {"signature": "compatible"},
        version(AFTER, signature=BREAKING),
        ["the signature of fraud version 4 is breaking: input `age` is gone"],
    ),
    "unknown": (
        {"signature": "compatible"},
        version(AFTER, signature=UNKNOWN),
        ["the signature of fraud version 4 is unknown: a side has none, or it can't be read"],
    ),
    "unknown, and let pass": (
        {"signature": "same", "allow_unknown": True},
        version(AFTER, signature=UNKNOWN),
        [],
    ),
    "breaking isn't let pass with it": (
        {"signature": "same", "allow_unknown": True},
        version(AFTER, signature=BREAKING),
        ["the signature of fraud version 4 is breaking: input `age` is gone"],
    ),
    "no signature before": (
        {"signature": "same"},
        plan(
            change(None, alias(4)), evidence=(comparison(None, AFTER, SignatureChange(SignatureClass.NONE)),)
        ),
        [],
    ),
    "an artifact": ({"artifact": "must-exist"}, PROMOTED, []),
    "no artifact": (
        {"artifact": "must-exist", "allow_unknown": True},
        version(replace(AFTER, artifact=False)),
        ["the artifact of fraud version 4 is missing"],
    ),
    "an artifact that can't be asked for": (
        {"artifact": "must-exist"},
        version(replace(AFTER, artifact=None)),
        ["it can't be told whether the artifact of fraud version 4 is there"],
    ),
    "the same, and let pass": (
        {"artifact": "must-exist", "allow_unknown": True},
        version(replace(AFTER, artifact=None)),
        [],
    ),
    "a run": ({"run": ["FINISHED", "KILLED"]}, PROMOTED, []),
    "a run that failed": (
        {"run": ["FINISHED", "KILLED"]},
        version(replace(AFTER, run=replace(RUN, status="FAILED"))),
        ["the run of fraud version 4 is FAILED, not FINISHED or KILLED"],
    ),
    "a deleted run": (
        {"run": "FINISHED"},
        version(replace(AFTER, run=replace(RUN, deleted=True))),
        ["the run of fraud version 4 is deleted"],
    ),
    "no run": (
        {"run": "FINISHED"},
        version(replace(AFTER, run=None)),
        ["fraud version 4 has no run that is known"],
    ),
    "a deletion puts no version anywhere": (
        {
            "run": "FINISHED",
            "artifact": "must-exist",
            "signature": "same",
            "soak": SOAK,
            "required_tags": ["x"],
        },
        plan(change(alias(3), None), evidence=(comparison(BEFORE, None),)),
        [],
    ),
    "what is no version isn't asked": ({"run": "FINISHED"}, plan(change(GRANT, MANAGE)), []),
    "tags of the version": ({"required_tags": ["team"]}, PROMOTED, []),
    "a tag that lacks": (
        {"required_tags": ["team", "owner", "cost"]},
        PROMOTED,
        ["fraud version 4 lacks the tags `owner`, `cost`"],
    ),
    "tags of the object": (
        {"required_tags": ["team", "owner"]},
        plan(change(None, model(team="risk", owner=" "))),
        ["registered_model.fraud lacks the tag `owner`"],
    ),
    "tags of what has none": (
        {"required_tags": ["team"]},
        plan(change(None, GRANT)),
        ["permission.analysts/registered_model/fraud has no tags"],
    ),
    "tags that others gave the version": (
        {"required_tags": ["team", "own"]},
        plan(
            change(
                None, made := spec("model_version", model="fraud", version=4, source="s", tags={"own": "x"})
            ),
            evidence=(comparison(None, AFTER, address=made.address),),
        ),
        [],
    ),
}


@pytest.mark.parametrize(("settings", "on", "expected"), BUILT_IN.values(), ids=BUILT_IN)
def test_built_in_rules(settings: dict[str, Any], on: Plan, expected: list[str]) -> None:
    assert failed(policy(**settings), on) == expected


ONLY: dict[str, tuple[dict[str, Any], Actor, list[str]]] = {
    "by name": ({"actors": ["alice"]}, ALICE, []),
    "by pattern": ({"actors": ["al*"]}, ALICE, []),
    "by team": ({"actors": ["carol"], "teams": ["risk"]}, ALICE, []),
    "another action": ({"actors": ["carol"], "actions": ["delete"]}, ALICE, []),
    "the system's user, outside of CI": ({"actors": ["bob"]}, Actor(user="bob"), []),
    "in CI the system's user isn't who": (
        {"actors": ["runner"], "actions": ["update"]},
        ALICE,
        ["alice is none of those who may: runner"],
    ),
    "nobody known": ({"actors": ["*"]}, Actor(), ["somebody unknown is none of those who may: *"]),
    "another": (
        {"actors": ["carol"], "teams": ["risk", "gone"]},
        Actor(user="eve"),
        ["eve is none of those who may: carol, team risk, team gone"],
    ),
}


@pytest.mark.parametrize(("setting", "actor", "expected"), ONLY.values(), ids=ONLY)
def test_what_is_kept_for_some(setting: dict[str, Any], actor: Actor, expected: list[str]) -> None:
    teams = (Team("risk", ("alice", "r-*")),)
    assert failed(policy(only=setting), actor=actor, teams=teams) == expected


PLAIN_SECRETS = {
    "an AWS key": ("note", "AKIAIOSFODNN7EXAMPLE"),
    "a GitHub token": ("note", SECRET),
    "an API's key in a sentence": ("note", "use sk-abcdefghijklmnop1234 for it"),
    "a Slack token": ("note", "xoxb-123456789012-abcdef"),
    "a private key": ("note", "-----BEGIN RSA PRIVATE KEY-----\nMII"),
    "an address with a password": ("note", "postgresql://u:hunter2@db/x"),
    "called so": ("OPENAI_API_KEY", "abc-def"),
    "called so, in small letters": ("db.password", "12345"),
    "called so, in one word": ("githubToken", "abcdef"),
    "any key in capitals": ("MASTER_KEY", "abcdef"),
}


@pytest.mark.parametrize(("name", "value"), PLAIN_SECRETS.values(), ids=PLAIN_SECRETS)
def test_a_plain_secret_is_refused_and_never_repeated(name: str, value: str) -> None:
    (told,) = failed(policy(no_plain_secret=True), plan(change(None, model(**{name: value}))))
    assert told.startswith(f"`tags.{name}` holds what looks like a secret in plain text: ")
    assert value not in told


NO_SECRETS = {
    "a reference": ("OPENAI_API_KEY", "{{ env.OPENAI_API_KEY }}"),
    "a number of tokens": ("max_tokens", "512"),
    "a limit": ("token_limit", "512"),
    "a tokenizer": ("tokenizer", "bert-base"),
    "a column": ("primary_key", "payment_id"),
    "a file": ("TLS_KEY", "/etc/tls/key.pem"),
    "words": ("note", "the task-force asked for risk-based-scoring-of-payments"),
    "an address": ("note", "https://example.org:8080/a@b"),
    "a commit": ("mlflow.source.git.commit", "a" * 40),
}


@pytest.mark.parametrize(("name", "value"), NO_SECRETS.values(), ids=NO_SECRETS)
def test_what_is_no_secret_passes(name: str, value: str) -> None:
    assert failed(policy(no_plain_secret=True), plan(change(None, model(**{name: value})))) == []


def test_a_secret_is_found_wherever_it_is() -> None:
    entity = {
        "name": "a",
        "entity_name": "fraud",
        "entity_version": 4,
        "environment_vars": {"HF_TOKEN": "abcdef"},
    }
    made = KINDS["serving_endpoint"].spec.model_validate(
        {"name": "pay", "served_entities": (entity,), "description": SECRET}, strict=False
    )
    told = failed(policy(no_plain_secret=True), plan(change(None, made)))
    assert [sentence.partition(" ")[0] for sentence in told] == [
        "`served_entities.a.environment_vars.HF_TOKEN`",
        "`description`",
    ]
    keyed = failed(policy(no_plain_secret=True), plan(change(None, model(**{SECRET: SECRET}))))
    assert len(keyed) == 2
    assert not [sentence for sentence in keyed if SECRET in sentence]


# --- verdicts, waivers


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
    assert list(expired(rules, NOW)) == []
    (found,) = expired(rules, NOW + timedelta(days=1))
    assert (found.code, found.severity, found.at) == ("waiver-expired", "warning", PLACE)
    assert "2026-11-24" in found.detail


def test_a_warning_refuses_nothing() -> None:
    (verdict,) = judged(policy("false", level="warn"))
    assert verdict.outcome is Outcome.WARNED
    assert denials(replace(PROMOTED, review=Review(verdicts=(verdict,)))) == ()


def test_a_denial_is_an_error_at_the_changes_line() -> None:
    verdicts = judged(policy("after.metrics.auc > 0.99", run="KILLED"))
    (found,) = denials(replace(PROMOTED, review=replace(PROMOTED.review, verdicts=verdicts)))
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
    (found,) = denials(replace(on, review=replace(on.review, verdicts=verdicts, rules=rules)))
    way = "lac rollback 'model_alias.fraud/champion' -o FILE"
    assert (way in found.hint) is told
    assert "waivers:" in found.hint


def test_two_versions_without_numbers_are_not_the_same_one() -> None:
    on = version(replace(AFTER, version=0, aliases=()), before=replace(BEFORE, version=0))
    on = replace(on, changes=(change(alias(3), alias(3)),))
    assert failed(policy(promotes_from="challenger"), on) == [
        "the version isn't promoted from `challenger`: it holds no alias"
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
