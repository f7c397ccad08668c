"""The built-in rules."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from support.policy_plans import (
    AFTER,
    ALICE,
    BEFORE,
    GRANT,
    MANAGE,
    PROMOTED,
    SECRET,
    SOAK,
    alias,
    change,
    comparison,
    failed,
    hours_ago,
    model,
    plan,
    policy,
    spec,
    version,
)

from lifecycle_as_code.kinds import KINDS
from lifecycle_as_code.model.history import Actor
from lifecycle_as_code.model.plan import Plan
from lifecycle_as_code.model.policy import BUILTIN, Team
from lifecycle_as_code.model.signature import SignatureChange, SignatureClass
from lifecycle_as_code.review.policy.builtin import RULES

BREAKING = SignatureChange(
    SignatureClass.BREAKING, ("x added", "input `age` is gone"), ("input `age` is gone",)
)
COMPATIBLE = SignatureChange(SignatureClass.COMPATIBLE, ("optional input `x` is added",))
UNKNOWN = SignatureChange(SignatureClass.UNKNOWN)
RUN = AFTER.run
assert RUN is not None

BUILT_IN: dict[str, tuple[dict[str, Any], Plan, list[str]]] = {
    "from the challenger": ({"promotes_from": "challenger"}, PROMOTED, []),
    "from one of several": ({"promotes_from": ["shadow", "challenger"]}, PROMOTED, []),
    "not from the challenger": (
        {"promotes_from": "shadow"},
        PROMOTED,
        ["fraud version 4 doesn't hold `shadow`; it holds `challenger`"],
    ),
    "from nowhere": (
        {"promotes_from": ["a", "b"]},
        version(replace(AFTER, aliases=())),
        ["fraud version 4 doesn't hold `a` or `b`; it holds no alias"],
    ),
    "the same version as before": (
        {"promotes_from": "shadow", "soak": SOAK},
        version(replace(BEFORE, since_ms={}), before=BEFORE),
        ["there is no evidence about model_version.fraud/4"],
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
        ["fraud version 4 doesn't hold `challenger`, or has held it for an unknown time"],
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
        ["the signature of fraud version 4 is unknown: a signature is missing or can't be read"],
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
        ["it is unknown whether the artifact of fraud version 4 exists"],
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
        ["the run of fraud version 4 is unknown"],
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
        ["alice may not make this change; allowed: runner"],
    ),
    "nobody known": ({"actors": ["*"]}, Actor(), ["an unknown user may not make this change; allowed: *"]),
    "another": (
        {"actors": ["carol"], "teams": ["risk", "gone"]},
        Actor(user="eve"),
        ["eve may not make this change; allowed: carol, team risk, team gone"],
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
    assert told.startswith(f"`tags.{name}` appears to hold a secret in plain text: ")
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


def test_each_built_in_rule_that_a_manifest_names_has_its_check() -> None:
    assert tuple(RULES) == BUILTIN
