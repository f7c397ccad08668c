"""`policies:`, `waivers:`, `metrics:`, `teams:` in manifests: what is read, and each wrong form's place."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable

import pytest
from support.manifests import Problems, Read

from lifecycle_as_code.model.diagnostics import Diagnostic, Source
from lifecycle_as_code.model.evidence import Better, Direction
from lifecycle_as_code.model.policy import Expression, Policy, PolicyWaiver, Rules, Team

Errors = Callable[..., tuple[Diagnostic, ...]]

CHAMPION = """policies:
  - name: champion-must-be-better
    when: {kind: model_alias, alias: champion}
    require:
      - after.tags.validation_status == "approved"
      - 'signature != "breaking"'
      - >-
        after.metrics.auc
        >= 0.9
    message: Better, please.
    level: warn
    soak: {alias: challenger, hours: 24}
    only: {actors: [alice, "ci-*"], teams: [risk], actions: [update]}
    run: [FINISHED]
    required_tags: [team]
    no_plain_secret: true
    allow_unknown: false
"""


def test_a_policy_is_read_with_every_place(read: Read) -> None:
    rules = read({"m.yaml": f"{CHAMPION}teams: {{risk: [bob, 'r-*']}}\n"}).desired.rules
    assert rules.policies == (
        Policy(
            "champion-must-be-better",
            {"kind": "model_alias", "alias": "champion"},
            (
                Expression('after.tags.validation_status == "approved"', Source("m.yaml", 5, 9), 0),
                Expression('signature != "breaking"', Source("m.yaml", 6, 9), 1),
                Expression("after.metrics.auc >= 0.9", Source("m.yaml", 7, 9), None),
            ),
            {
                "soak": {"alias": "challenger", "hours": 24.0},
                "run": ["FINISHED"],
                "only": {"actors": ["alice", "ci-*"], "teams": ["risk"], "actions": ["update"]},
                "required_tags": ["team"],
                "no_plain_secret": True,
            },
            "Better, please.",
            "warn",
            Source("m.yaml", 2, 5),
        ),
    )
    assert rules.teams == (Team("risk", ("bob", "r-*"), Source("m.yaml", 18, 9)),)


def test_rules_are_plain_data_for_the_plan_file(read: Read) -> None:
    rules = read({"m.yaml": f"{CHAMPION}teams: {{risk: [bob]}}\n"}).desired.rules
    for policy in rules.policies:
        held = {"when": policy.when, "builtin": policy.builtin}
        assert json.loads(json.dumps(held)) == held


def test_waivers_and_metrics_are_read(read: Read) -> None:
    text = (
        "policies: [{name: p, run: FINISHED}]\n"
        "waivers:\n"
        "  - {policy: p, address: model_alias.fraud/champion, reason: ' agreed ', expires: 2026-12-01}\n"
        "  - {policy: p, address: 'model_alias.fraud/*', reason: agreed, expires: '2026-02-28'}\n"
        "metrics:\n"
        "  - {name: auc, better: higher}\n"
        "  - {name: '*_loss', better: lower, model: fraud}\n"
    )
    rules = read({"m.yaml": text}).desired.rules
    assert rules.waivers == (
        PolicyWaiver("p", "model_alias.fraud/champion", "agreed", "2026-12-01", Source("m.yaml", 3, 5)),
        PolicyWaiver("p", "model_alias.fraud/*", "agreed", "2026-02-28", Source("m.yaml", 4, 5)),
    )
    assert rules.directions == (
        Direction("auc", Better.HIGHER),
        Direction("*_loss", Better.LOWER, "fraud"),
    )


def test_rules_of_several_files_add_up_and_may_name_each_other(read: Read) -> None:
    files = {
        "a.yaml": "waivers: [{policy: p, address: registered_model.m, reason: r, expires: 2026-12-01}]\n",
        "b.yaml": "policies: [{name: p, only: {teams: [risk]}}]\nregistered_models: [{name: m}]\n",
        "c.yaml": "teams: {risk: [bob]}\npolicies: [{name: q, no_plain_secret: true}]\n",
    }
    found = read(files).desired.rules
    assert [policy.name for policy in found.policies] == ["p", "q"]
    assert len(found.waivers) == len(found.teams) == 1


def test_a_stack_without_rules_has_none(read: Read) -> None:
    assert read({"m.yaml": "registered_models: [{name: m}]\n"}).desired.rules == Rules()


WHEN = {
    "a pattern of kinds": "{kind: 'model_*'}",
    "several kinds, a field of one": "{kind: [registered_model, model_alias], alias: champion}",
    "a key of tags": "{kind: registered_model, tags.team: risk}",
    "what every change has": "{action: [create, update], mode: normal, address: 'model_alias.fraud/*'}",
    "an address whose name has a dot": "{kind: model_alias, address: '*fraud.v2/*'}",
    "addresses of any kind": "{address: ['*', 'model_?lias.fraud/*']}",
    "a number": "{kind: model_alias, version: 3}",
    "an environment": "{environment: prod}",
    "a field of some kind": "{alias: champion}",
}


@pytest.mark.parametrize("when", WHEN.values(), ids=WHEN)
def test_what_a_policy_can_be_about(read: Read, when: str) -> None:
    files = {
        "lac.yaml": "name: payments\nenvironments: {prod: {}}\n",
        "m.yaml": f"policies: [{{name: p, when: {when}, run: FINISHED}}]\n",
    }
    assert read(files).desired.rules.policies[0].when


def policy(fields: str) -> str:
    return f"policies:\n  - {{name: p, {fields}}}\n"


WRONG: dict[str, tuple[str, list[str]]] = {
    "no list": ("policies: {name: p}\n", ["1:11 bad-value"]),
    "no name": ("policies: [{run: FINISHED}]\n", ["1:12 missing-field"]),
    "a field": (policy("requires: [x]"), ["2:15 unknown-field"]),
    "a level": (policy("run: FINISHED, level: deney"), ["2:37 bad-value"]),
    "a name": ("policies: [{name: 'a b', run: FINISHED}]\n", ["1:19 bad-value"]),
    "twice": (policy("run: FINISHED") + "  - {name: p, run: KILLED}\n", ["3:12 declared-twice"]),
    "nothing asked": (policy("level: warn"), ["2:5 bad-policy"]),
    "nothing asked, in other words": (policy("require: [], no_plain_secret: false"), ["2:5 bad-policy"]),
    "a kind": (policy("run: FINISHED, when: {kind: model_alais}"), ["2:43 bad-value"]),
    "one of several kinds": (
        policy("run: FINISHED, when: {kind: [model_alias, 'x*']}"),
        ["2:57 bad-value"],
    ),
    "a field of the kind": (
        policy("run: FINISHED, when: {kind: model_alias, alais: x}"),
        ["2:56 unknown-field"],
    ),
    "an action": (policy("run: FINISHED, when: {action: record}"), ["2:45 bad-value"]),
    "a mode": (policy("run: FINISHED, when: {mode: nromal}"), ["2:43 bad-value"]),
    "an environment": (policy("run: FINISHED, when: {environment: prdo}"), ["2:50 unknown-environment"]),
    "a kind in an address": (policy("run: FINISHED, when: {address: 'role_.a*'}"), ["2:46 bad-value"]),
    "an address of another kind": (
        policy("run: FINISHED, when: {kind: model_alias, address: role.a}"),
        ["2:65 bad-value"],
    ),
    "no address": (policy("run: FINISHED, when: {address: fraud}"), ["2:46 bad-value"]),
    "a mode that isn't judged": (policy("run: FINISHED, when: {mode: refresh-only}"), ["2:43 bad-value"]),
    "a list of parts": (
        policy("run: FINISHED, when: {kind: serving_endpoint, served_entities: x}"),
        ["2:61 unknown-field"],
    ),
    "a whole mapping": (
        policy("run: FINISHED, when: {kind: registered_model, tags: x}"),
        ["2:61 unknown-field"],
    ),
    "a part of what has none": (
        policy("run: FINISHED, when: {kind: registered_model, description.x: z}"),
        ["2:61 unknown-field"],
    ),
    "a mapping for a value": (
        policy("run: FINISHED, when: {kind: model_alias, alias: {a: b}}"),
        ["2:63 bad-value"],
    ),
    "an empty list": (policy("run: FINISHED, when: {kind: model_alias, alias: []}"), ["2:63 bad-value"]),
    "a number that may be text": (
        policy("run: FINISHED, when: {kind: model_alias, alias: 1.10}"),
        ["2:63 quote-it"],
    ),
    "hours": (policy("soak: {alias: a, hours: 0}"), ["2:39 bad-value"]),
    "a soak without hours": (policy("soak: {alias: a}"), ["2:21 missing-field"]),
    "a run's state": (policy("run: DONE"), ["2:20 bad-value"]),
    "nobody": (policy("only: {actions: [update]}"), ["2:21 missing-field"]),
    "a team": (policy("only: {teams: [risk]}"), ["2:30 undefined-name"]),
    "a team twice": ("teams: {a: [b], a: [c]}\n", ["1:17 duplicate-key"]),
    "teams as a list": ("teams: [a]\n", ["1:8 bad-value"]),
    "a better metric": ("metrics: [{name: auc, better: up}]\n", ["1:31 bad-value"]),
    "a long message": (policy(f"run: FINISHED, message: {'x' * 2001}"), ["2:39 bad-value"]),
    "very many expressions": (
        policy(f"require: [{', '.join(['after.exists'] * 51)}]"),
        ["2:24 too-large"],
    ),
}


@pytest.mark.parametrize(("text", "expected"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_told_at_its_place(problems: Problems, text: str, expected: list[str]) -> None:
    assert problems(text) == expected


EXPRESSIONS: dict[str, tuple[str, str, str]] = {
    "plain": ("- after.exists && nope", "3:25", "`nope` is not known."),
    "in single quotes": ("- 'after.exists && nope'", "3:26", "`nope` is not known."),
    "in double quotes": ('- "after.exists && nope"', "3:26", "`nope` is not known."),
    "with escapes": (
        '- "signature == \\"same\\" && nope"',
        "3:9",
        "`nope` is not known. (line 1, column 24 of the expression)",
    ),
    "in a block": (
        "- |\n        after.exists\n        && nope",
        "3:9",
        "`nope` is not known. (line 2, column 4 of the expression)",
    ),
    "with a template": (
        '- "after.metrics.{{ var.metric }} > 1"',
        "3:9",
        "`>` can't be applied to double and int. (line 1, column 19 of the expression)",
    ),
    "types": ("- after.metrics.auc > 1", "3:27", "`>` can't be applied to double and int."),
    "a name": ("- after.metricz.auc > 1.0", "3:9", "`after.metricz.auc` is not known."),
    "no truth": ("- after.version", "3:9", "It evaluates to a whole number, not to true or false."),
    "the end": ("- after.version >", "3:24", "It ends too early."),
}


@pytest.mark.parametrize(("item", "at", "detail"), EXPRESSIONS.values(), ids=EXPRESSIONS)
def test_a_fault_is_told_where_it_is_inside_the_expression(
    errors: Errors, item: str, at: str, detail: str
) -> None:
    project = "name: payments\nvariables: {metric: auc}\n"
    text = f"policies:\n  - require:\n      {item}\n    name: p\n"
    found = errors({"lac.yaml": project, "m.yaml": text})
    assert [(d.code, f"{d.at.line}:{d.at.column}" if d.at else "", d.detail) for d in found] == [
        ("bad-policy", at, f"Policy `p`: {detail}")
    ]


def test_in_a_rendered_file_the_scalars_line_is_told(errors: Errors) -> None:
    text = "{# nothing #}\npolicies:\n  - name: p\n    require: ['after.exists && nope']\n"
    found = errors({"m.yaml.j2": text})
    assert [(d.code, d.at and d.at.line) for d in found] == [("bad-policy", 4)]
    assert "column 17 of the expression" in found[0].detail


def test_expressions_are_told_with_all_other_problems_in_file_order(problems: Problems) -> None:
    text = f"{policy('require: [nope]')}registered_models: [{{nam: x}}]\nwaivers: [{{policy: q}}]\n"
    assert problems(text) == [
        "2:25 bad-policy",
        "3:21 missing-field",
        "3:22 unknown-field",
        *["4:11 missing-field"] * 3,
    ]


def waiver(**fields: str) -> str:
    said = {
        "policy": "p",
        "address": "model_alias.fraud/champion",
        "reason": "agreed",
        "expires": "2026-12-01",
        **fields,
    }
    lines = "\n    ".join(f"{name}: {text}" for name, text in said.items() if text)
    return f"policies: [{{name: p, run: FINISHED}}]\nwaivers:\n  - {lines}\n"


WRONG_WAIVERS: dict[str, tuple[dict[str, str], str]] = {
    "no date": ({"expires": ""}, "3:5 missing-field"),
    "a day that there isn't": ({"expires": "2026-02-30"}, "6:14 bad-value"),
    "a moment": ({"expires": "2026-12-01T00:00:00Z"}, "6:14 bad-value"),
    "a text": ({"expires": "soon"}, "6:14 bad-value"),
    "no reason": ({"reason": ""}, "3:5 missing-field"),
    "a blank reason": ({"reason": "'  '"}, "5:13 bad-value"),
    "an unknown policy": ({"policy": "q"}, "3:13 undefined-name"),
    "everything": ({"address": "'*'"}, "4:14 bad-value"),
    "everything, in other words": ({"address": "'?*.*'"}, "4:14 bad-value"),
    "all of a kind": ({"address": "'model_alias.*'"}, "4:14 bad-value"),
    "all of a kind, in other words": ({"address": "'model_alias.*/[a-z]*'"}, "4:14 bad-value"),
    "kinds as a pattern": ({"address": "'model_*.fraud/champion'"}, "4:14 bad-value"),
    "a kind": ({"address": "model_alais.fraud/champion"}, "4:14 bad-value"),
    "half of an address": ({"address": "model_alias.fraud"}, "4:14 bad-value"),
}


@pytest.mark.parametrize(("fields", "expected"), WRONG_WAIVERS.values(), ids=WRONG_WAIVERS)
def test_a_waiver_says_for_what_why_and_until_when(
    problems: Problems, fields: dict[str, str], expected: str
) -> None:
    assert problems(waiver(**fields)) == [expected]


def test_what_is_wrong_with_a_policy_is_not_told_of_its_waiver_too(problems: Problems) -> None:
    text = waiver().replace("run: FINISHED", "require: [nope]")
    assert problems(text) == ["1:32 bad-policy"]
    assert problems(waiver().replace("run: FINISHED", "soak: {alias: a, hours: 0}")) == ["1:46 bad-value"]


def test_a_date_may_come_from_a_template(read: Read) -> None:
    files = {
        "lac.yaml": "name: payments\nvariables: {until: '2026-12-01'}\n",
        "m.yaml": waiver(expires='"{{ var.until }}"'),
    }
    assert read(files).desired.rules.waivers[0].expires == "2026-12-01"


def test_policies_are_read_without_their_engine(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cel_expr_python", None)
    (found,) = read({"m.yaml": policy("require: [after.exists]")}).desired.rules.policies
    assert found.require[0].text == "after.exists"


def test_there_is_a_limit_to_policies(errors: Errors) -> None:
    many = "".join(f"  - {{name: p{n}, run: FINISHED}}\n" for n in range(501))
    (found,) = errors({"m.yaml": f"policies:\n{many}"})
    assert (found.code, found.at) == ("too-large", Source("m.yaml", 502, 5))


def test_tests_of_policies_are_no_manifests(read: Read) -> None:
    files = {"m.yaml": "registered_models: [{name: m}]\n", "p.policytest.yaml": "tests: []\n"}
    assert read(files).files == ("m.yaml",)
