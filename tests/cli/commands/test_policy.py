"""`lac policy`: tests of policies, saved plans that are judged again, and what there is to know."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from lifecycle_as_code.cli import run
from lifecycle_as_code.kinds import KINDS
from lifecycle_as_code.model.diff import diff
from lifecycle_as_code.model.history import Actor
from lifecycle_as_code.model.plan import Action, Change, Plan
from lifecycle_as_code.planning import planfile
from lifecycle_as_code.planning.ordering import build_steps
from lifecycle_as_code.review.policy.facts import CONTEXT

MANIFEST = """policies:
  - name: approved
    when: {kind: model_alias, alias: champion}
    require: ['after.tags.validation_status == "approved"']
  - {name: soaked, when: {kind: model_alias, environment: prod}, soak: {alias: challenger, hours: 24}}
  - name: no-manage
    when: {kind: permission}
    require: ['change.gains.all(g, g.after != "MANAGE")']
    level: warn
  - {name: better, when: {kind: model_alias}, require: [evidence.worse.size() == 0]}
waivers:
  - {policy: approved, address: model_alias.fraud/*, reason: agreed, expires: 2026-12-01}
metrics: [{name: auc, better: higher}]
"""

TESTS = """tests:
  - name: a worse one, not approved, is denied
    now: 2026-12-02
    environment: prod
    change: {address: model_alias.fraud/champion}
    before: {version: 3, metrics: {auc: 0.95}}
    after: {version: 4, metrics: {auc: 0.9}, held_hours: {challenger: 24}}
    expect:
      approved: {outcome: denied, failed: [validation_status is missing]}
      soaked: passed
      no-manage: none
      better: denied
  - name: in November it is waived
    now: 2026-11-24
    change: {address: model_alias.fraud/champion}
    after: {version: 4, metrics: {auc: 0.9}}
    expect: {approved: waived, soaked: none, better: passed}
  - name: MANAGE is told
    change: {address: permission.a/registered_model/fraud, before: {level: READ}, after: {level: MANAGE}}
    access: [{user: eve, resource: registered_model.fraud, after: MANAGE}]
    expect: {no-manage: warned}
"""


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "lac.yaml").write_text("name: payments\nenvironments: {prod: {}}\n")
    (tmp_path / "rules.yaml").write_text(MANIFEST)
    (tmp_path / "champion.policytest.yaml").write_text(TESTS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


Said = pytest.CaptureFixture[str]


@pytest.mark.usefixtures("stack")
def test_policies_are_tested_by_what_is_written_down(capsys: Said) -> None:
    assert run(["policy", "test"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "champion.policytest.yaml",
        "  passed  a worse one, not approved, is denied",
        "  passed  in November it is waived",
        "  passed  MANAGE is told",
        "3 tests, all passed.",
    ]


def test_a_test_that_fails_says_what_was_not_met(stack: Path, capsys: Said) -> None:
    text = TESTS.replace("approved: waived", "approved: {outcome: waived, failed: [no such thing]}")
    (stack / "champion.policytest.yaml").write_text(text.replace("soaked: passed", "soaked: denied"))
    assert run(["policy", "test", "champion.policytest.yaml"]) == 1
    out = capsys.readouterr().out
    assert "policy `soaked`: expected `denied`, got `passed`" in out
    assert "policy `approved`: no unmet requirement contains `no such thing`" in out
    assert "(after.tags.validation_status is missing)" in out
    assert out.splitlines()[-1] == "3 tests, 2 failed."


def test_a_test_says_how_the_signatures_compare(stack: Path, capsys: Said) -> None:
    (stack / "rules.yaml").write_text("policies: [{name: stable, signature: same}]\n")
    change = "{address: model_alias.fraud/champion}"
    (stack / "champion.policytest.yaml").write_text(
        f"tests: [{{name: x, change: {change}, before: {{version: 1}}, after: {{version: 2}},"
        " evidence: {signature: breaking, breaking: [input amount was removed]}, expect: {stable: denied}}]\n"
    )
    assert run(["policy", "test"]) == 0, capsys.readouterr().err


def test_tests_may_be_json_and_so_is_what_they_say(stack: Path, capsys: Said) -> None:
    case = {
        "name": "one",
        "change": {"address": "model_alias.fraud/champion"},
        "after": {"version": 4, "tags": {"validation_status": "approved"}},
        "expect": {"approved": "passed"},
    }
    (stack / "one.json").write_text(json.dumps({"tests": [case]}))
    assert run(["policy", "test", "one.json", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["failed"] == 0
    (told,) = said["tests"]
    assert (told["file"], told["name"], told["passed"], told["wrong"]) == ("one.json", "one", True, [])
    assert told["verdicts"][0]["outcome"] == "passed"


WRONG_TESTS = {
    "a policy": ("approved: waived", "aproved: waived", "17:14", "did you mean `approved`?"),
    "a field": (
        "after: {version: 4, metrics",
        "after: {version: 4, metricz",
        "16:25",
        "did you mean `metrics`?",
    ),
    "an address": ("model_alias.fraud/champion}\n    after", "model_alias.fraud}\n    after", "15:23", ""),
    "a field of the object": ("after: {level", "after: {lvel", "19:91", "did you mean `level`?"),
    "an outcome": ("approved: waived", "approved: weaved", "17:24", "did you mean `waived`?"),
    "no mapping": (TESTS, "[]", "1:1", ""),
    "no tests": (TESTS, "tests: []", "1:8", "add a test, or remove the file"),
    "nothing expected": (
        "{approved: waived, soaked: none, better: passed}",
        "{}",
        "17:13",
        "add a policy and its verdict",
    ),
    "a field of the file": (TESTS, "test: []", "1:1", "add `tests:`"),
    "what --json prints": (
        TESTS,
        '{"format_version": "1.2", "changes": []}',
        "1:1",
        "lac plan -o FILE; lac policy test FILE",
    ),
}


@pytest.mark.parametrize(("text", "instead", "at", "hint"), WRONG_TESTS.values(), ids=WRONG_TESTS)
def test_what_is_wrong_with_a_test_is_told_at_its_place(
    stack: Path, capsys: Said, text: str, instead: str, at: str, hint: str
) -> None:
    assert text in TESTS
    (stack / "champion.policytest.yaml").write_text(TESTS.replace(text, instead))
    assert run(["policy", "test"]) == 1
    err = capsys.readouterr().err
    assert f"champion.policytest.yaml:{at}: error[" in err
    assert hint in err


def test_a_recorded_plan_is_judged_as_of_when_it_was_made(stack: Path, capsys: Said) -> None:
    spec = KINDS["permission"].spec
    read, manage = (
        spec.model_validate(
            {"role": "analysts", "resource_type": "registered_model", "resource": "fraud", "level": level}
        )
        for level in ("READ", "MANAGE")
    )
    granted = Change(
        read.address, read.store, Action.UPDATE, "manifest changed", read, manage, diff(read, manage)
    )
    on = Plan("payments", "prod", (granted,), build_steps((granted,)))
    origin = planfile.Origin("default", {}, "sha256:0", "2026-11-24T12:00:00+00:00", Actor(ci="alice"), "0")
    (stack / "plan.lac").write_bytes(planfile.dump(on, origin))
    assert run(["policy", "test", "plan.lac"]) == 0
    (stack / "rules.yaml").write_text(
        "policies: [{name: nobody, when: {kind: permission}, only: {actors: [bob]}}]\n"
        "waivers: [{policy: nobody, address: 'permission.analysts/*', reason: r, expires: 2026-11-23}]\n"
    )
    assert run(["policy", "test", "plan.lac"]) == 1
    out = capsys.readouterr().out
    assert "policy `nobody` denies permission.analysts/registered_model/fraud" in out
    assert "alice may not make this change; allowed: bob" in out
    text = (stack / "rules.yaml").read_text().replace("2026-11-23", "2026-11-24")
    (stack / "rules.yaml").write_text(text)
    assert run(["policy", "test", "plan.lac"]) == 0


def test_a_recorded_plan_meets_the_policies_of_its_environment(stack: Path, capsys: Said) -> None:
    (stack / "lac.yaml").write_text(
        "name: payments\nvariables: {who: bob}\nenvironments: {prod: {variables: {who: alice}}}\n"
    )
    (stack / "rules.yaml").write_text(
        "policies: [{name: who, when: {kind: role}, only: {actors: ['{{ var.who }}']}}]\n"
    )
    role = KINDS["role"].spec.model_validate({"name": "r"})
    made = Change(role.address, role.store, Action.CREATE, "declared", None, role)
    origin = planfile.Origin("default", {}, "sha256:0", "2026-11-24T12:00:00+00:00", Actor(ci="alice"), "0")
    for environment, ended in (("", 1), ("prod", 0)):
        on = Plan("payments", environment, (made,), build_steps((made,)))
        (stack / "plan.lac").write_bytes(planfile.dump(on, origin))
        assert run(["policy", "test", "plan.lac"]) == ended, capsys.readouterr().out


def test_tests_of_other_stacks_and_hidden_ones_are_left_alone(stack: Path, capsys: Said) -> None:
    for name in ("other", ".hidden", "mlruns", "own"):
        (stack / name).mkdir()
        (stack / name / "x.policytest.yaml").write_text(TESTS if name == "own" else "nonsense")
    (stack / "other" / "lac.yaml").write_text("name: other\n")
    assert run(["policy", "test"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert [line for line in out if line.endswith(".yaml")] == [
        "champion.policytest.yaml",
        "own/x.policytest.yaml",
    ]


def test_without_tests_it_says_what_they_would_be_called(stack: Path, capsys: Said) -> None:
    (stack / "champion.policytest.yaml").unlink()
    assert run(["policy", "test"]) == 1
    assert "error[no-policy-tests]" in (err := capsys.readouterr().err)
    assert ".policytest.yaml" in err


@pytest.mark.usefixtures("stack")
def test_policies_and_what_they_may_name_are_listed(capsys: Said) -> None:
    assert run(["policy", "list"]) == 0
    out = capsys.readouterr().out
    assert "approved  deny  rules.yaml:2:5" in out
    assert 'require  after.tags.validation_status == "approved"' in out
    assert "waiver: approved for model_alias.fraud/* until 2026-12-01: agreed" in out
    assert run(["policy", "context"]) == 0
    told = capsys.readouterr().out
    assert all(f"{entry.name} " in told and entry.type in told for entry in CONTEXT)


def test_validate_tells_of_waivers_that_hold_no_more(stack: Path, capsys: Said) -> None:
    (stack / "rules.yaml").write_text(MANIFEST.replace("2026-12-01", "2020-12-01"))
    assert run(["validate"]) == 0
    assert "rules.yaml:12:5: warning[waiver-expired]" in capsys.readouterr().err


@pytest.mark.usefixtures("stack")
def test_without_the_engine_only_what_judges_is_refused(
    capsys: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cel_expr_python", None)
    for verb in (["policy", "list"], ["graph"], ["fmt", "--check"]):
        assert run(verb) == 0, verb
    capsys.readouterr()
    for verb in (["validate"], ["policy", "test"]):
        assert run(verb) == 1, verb
        err = capsys.readouterr().err
        assert "rules.yaml:4:15: error[policy-engine-missing]" in err
        assert "pip install 'lifecycle-as-code[policy]'" in err
