"""`lac promote`: one line changes, byte for byte, whatever the file looks like; and what is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from support.promotions import AWKWARD, DECLARED, MODEL, RUNS, directory, store  # noqa: F401 - fixtures are found by name

from lifecycle_as_code.cli import run
from lifecycle_as_code.model.evidence import Better, Direction, Evidence, Metric, Run
from lifecycle_as_code.model.plan import Plan
from lifecycle_as_code.model.spec import Address
from lifecycle_as_code.review.evidence import compare
from lifecycle_as_code.stack import Promotion, Stack
from lifecycle_as_code.views.terminal import edits


def put(files: Mapping[str, str]) -> None:
    for name, text in files.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(text.encode())


def held() -> dict[str, bytes]:
    """Every file of the stack."""
    return {str(path): path.read_bytes() for path in sorted(Path().rglob("*")) if path.is_file()}


@pytest.mark.parametrize("case", AWKWARD.values(), ids=AWKWARD)
def test_one_line_changes_and_nothing_else(
    case: tuple[dict[str, str], str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    files, line, wanted = case
    put(files)
    before = held()
    assert run(["promote", "fraud"]) == 0, capsys.readouterr().err
    after = held()
    assert after.keys() == before.keys()
    (changed,) = (name for name in before if before[name] != after[name])
    pairs = zip(before[changed].splitlines(True), after[changed].splitlines(True), strict=True)
    assert [pair for pair in pairs if pair[0] != pair[1]] == [(line.encode(), wanted.encode())]
    assert "~ version  3 → 4" in capsys.readouterr().out


def promoted(capsys: pytest.CaptureFixture[str], *args: str) -> dict[str, Any]:
    """What `lac promote … --json` says; what went wrong with it is under `diagnostics`."""
    run(["promote", *args, "--json"])
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


ADDED: dict[str, tuple[str, str, str]] = {
    "beside the others": (DECLARED, "      challenger: 4\n", "      challenger: 4\n      shadow: 2\n"),
    "in braces": (
        MODEL + "    aliases: {champion: 3}  # so\n",
        "{champion: 3}",
        "{champion: 3, shadow: 2}",
    ),
    "in empty braces": (MODEL + "    aliases: {}\n", "{}", "{shadow: 2}"),
    "where there are none": (
        MODEL + "  - name: churn\n",
        MODEL,
        MODEL + "    aliases:\n      shadow: 2\n",
    ),
    "as far to the right as the item": (
        "registered_models:\n    - name: fraud\n      tags:\n          a: b\n",
        "b\n",
        "b\n      aliases:\n        shadow: 2\n",
    ),
    "in the section where its siblings are": (
        "model_aliases:\n  - {model: fraud, alias: champion, version: 3}\n# end\n",
        "3}\n",
        "3}\n  - {model: fraud, alias: shadow, version: 2}\n",
    ),
}


@pytest.mark.parametrize(("before", "piece", "wanted"), ADDED.values(), ids=ADDED)
def test_an_alias_that_is_not_declared_is_added(before: str, piece: str, wanted: str) -> None:
    put({"m.yaml": before})
    assert run(["promote", "fraud", "--to", "shadow", "--version", "2"]) == 0
    assert before.count(piece) == 1
    assert Path("m.yaml").read_text() == before.replace(piece, wanted)


MEANT = {
    "": 4,
    "--version 1": 1,
    "--version latest": 5,
    "--version @challenger": 4,
    f"--version run:{'d' * 32}": 4,
    "--to challenger --version @champion": 3,
    "--to shadow --version @seen": 2,
    "--where version<3": 2,
}


@pytest.mark.parametrize(("args", "version"), MEANT.items(), ids=MEANT)
def test_the_version_is_the_one_that_is_meant(
    args: str, version: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Declared ones count, and what is only live: here `seen`, and versions 1 to 4."""
    put({"m.yaml": DECLARED + "      seen: 2\n    versions: [{version: 5, source: s3://m/5}]\n"})
    found = promoted(capsys, "fraud", *args.split(), "--no-plan")
    assert (found["version"], found["written"]) == (version, True)


def test_where_the_challenger_is_not_declared_the_live_one_counts(capsys: pytest.CaptureFixture[str]) -> None:
    put({"m.yaml": "registered_models: [{name: churn}]\n"})
    assert promoted(capsys, "churn", "--no-plan")["version"] == 1


REFUSED: dict[str, tuple[dict[str, str], str, str]] = {
    "a version that there isn't": (
        {"m.yaml": DECLARED},
        "fraud --version 9",
        """\
error[no-such-version]: there is no such version
  fraud has no version 9.
  hint: name one with `--version`; there are 4 (challenger), 3 (champion), 2, 1 (stray)
""",
    ),
    "no version at all": (
        {"m.yaml": "registered_models: [{name: shop}]\n"},
        "shop --version latest",
        """\
error[selector-matches-nothing]: a version selector fits no version
  model_alias.shop/champion: `version: {latest: true}` fits nothing. Model `shop` has no version.
  hint: register one with MLflow, or declare `versions:` under `shop`
""",
    ),
    "an alias that there isn't": (
        {"m.yaml": DECLARED},
        "fraud --version @shadows",
        """\
error[selector-matches-nothing]: a version selector fits no version
  model_alias.fraud/champion: `version: {alias: shadows}` fits nothing. Model `fraud` has no alias `shadows`.
  hint: known: challenger, stray
""",
    ),
    "a run of two versions": (
        {"m.yaml": DECLARED},
        f"fraud --version run:{'b' * 32}",
        f"""\
error[selector-ambiguous]: a version selector fits several versions
  model_alias.fraud/champion: `version: {{run_id: {"b" * 32}}}` fits 2 versions of model `fraud`:
  4: of run {"d" * 32}
  3: fits (run {"b" * 32})
  2: fits (run {"b" * 32})
  1: of run {"a" * 32}
  hint: give the number of one
""",
    ),
    "a run of none": (
        {"m.yaml": DECLARED},
        "fraud --version run:",
        """\
error[bad-selector]: invalid version
  `run_id`: String should match pattern '^[A-Za-z0-9_-]{1,32}$'.
  hint: a number, `latest`, `@ALIAS` or `run:ID`; or a condition with `--where`
""",
    ),
    "no condition": (
        {"m.yaml": DECLARED},
        "fraud --where tags.a=",
        """\
error[bad-selector]: invalid version
  `where`: Syntax error: token recognition error at: '=', at character 7.
  hint: a number, `latest`, `@ALIAS` or `run:ID`; or a condition with `--where`
""",
    ),
    "no selector": (
        {"m.yaml": DECLARED},
        "fraud --version 04",
        """\
error[bad-selector]: invalid version
  `04` is not a version.
  hint: a number, `latest`, `@ALIAS` or `run:ID`; or a condition with `--where`
""",
    ),
    "a challenger from nowhere": (
        {"m.yaml": DECLARED},
        "fraud --to challenger",
        """\
error[no-version]: no version given
  model_alias.fraud/challenger.
  hint: name one with `--version`; there are 4 (challenger), 3 (champion), 2, 1 (stray)
""",
    ),
    "a model that there isn't": (
        {"m.yaml": DECLARED},
        "frauds",
        """\
error[no-such-model]: there is no such model
  frauds is neither declared nor in the registry.
  hint: did you mean `fraud`?
""",
    ),
    "a model of others": (
        {"m.yaml": DECLARED},
        "churn --version 1",
        """\
error[not-declared]: this stack declares nothing of the model
  churn is in the registry, and in no manifest.
  hint: import it first: `lac import 'registered_model.churn'`
""",
    ),
    "no alias": (
        {"m.yaml": DECLARED},
        "fraud --to latest",
        """\
error[bad-alias]: invalid alias
  `latest` is MLflow's own name for the highest version.
""",
    ),
    "a template": (
        {"m.yaml": MODEL + "    aliases: {champion: '{{ var.three }}'}\n"},
        "fraud --version 4",
        """\
m.yaml:3:15: error[cannot-edit]: manifest can't be edited safely
  model_alias.fraud/champion: its value is a template.
  hint: edit by hand: set `version: 4`
""",
    ),
    "a rendered file": (
        {"m.yaml.j2": DECLARED},
        "fraud",
        """\
m.yaml.j2:4:7: error[cannot-edit]: manifest can't be edited safely
  model_alias.fraud/champion: `m.yaml.j2` is a template.
  hint: edit by hand: set `version: 4`
""",
    ),
    "a value from an anchor": (
        {"m.yaml": "x-three: &three 3\n" + MODEL + "    aliases: {champion: *three}\n"},
        "fraud --version 4",
        """\
m.yaml:4:15: error[cannot-edit]: manifest can't be edited safely
  model_alias.fraud/champion: its value comes from an anchor.
  hint: edit by hand: set `version: 4`
""",
    ),
    "a value that others use": (
        {"m.yaml": MODEL + "    aliases: {champion: &v 3, shadow: *v}\n"},
        "fraud --version 4",
        """\
m.yaml:3:15: error[cannot-edit]: manifest can't be edited safely
  model_alias.fraud/champion: it is inside `&v`, which is used elsewhere.
  hint: edit by hand: set `version: 4`
""",
    ),
    "a merged value": (
        {"m.yaml": "x-all: &all {champion: 3}\n" + MODEL + "    aliases: {<<: *all, challenger: 4}\n"},
        "fraud",
        """\
m.yaml:1:14: error[cannot-edit]: manifest can't be edited safely
  model_alias.fraud/champion: it comes from an anchor, a merge or a template.
  hint: edit by hand: set `version: 4`
""",
    ),
    "a plan that there can't be": (
        {"m.yaml": DECLARED + "      seen: 4\n"},
        "fraud --to stray --version 2",
        """\
m.yaml:7:7: error[not-ours]: the object exists but isn't managed here
  model_alias.fraud/stray already exists and was not created from these manifests.
  hint: take it over with `lac import 'model_alias.fraud/stray'`, or choose another name
""",
    ),
}


@pytest.mark.parametrize(("files", "args", "told"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused_changes_nothing(
    files: dict[str, str], args: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    put(files)
    before = held()
    assert run(["promote", *args.split()]) == 1
    assert capsys.readouterr().err == told
    assert held() == before


def test_what_is_so_already_is_said_and_nothing_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    put({"m.yaml": DECLARED})
    before = held()
    assert run(["promote", "fraud", "--version", "3", "--branch"]) == 0
    assert capsys.readouterr().out == "model_alias.fraud/champion is already at version 3 (m.yaml:4:7).\n"
    assert held() == before
    found = promoted(capsys, "fraud", "--version", "3")
    assert (found["changes"], found["written"], found["patch"], found["plan"]) == (False, False, "", None)


def test_what_is_declared_and_not_applied_yet_is_said_too(capsys: pytest.CaptureFixture[str]) -> None:
    put({"m.yaml": MODEL + "    aliases: {champion: 2}\n"})
    assert run(["promote", "fraud", "--version", "2"]) == 0
    assert capsys.readouterr().out == (
        "model_alias.fraud/champion is already at version 2 (m.yaml:3:15); run `lac apply` to apply it.\n"
    )


def test_a_person_sees_the_line_and_what_follows_from_it(capsys: pytest.CaptureFixture[str]) -> None:
    put({"m.yaml": MODEL + "    aliases: {champion: 3} # \u202eyaM ecnis\n    tags: {pending: x}"})
    assert run(["promote", "fraud", "--version", "4"]) == 0
    out, err = capsys.readouterr()
    # what is known of versions is shown, too, by the same view as a plan's
    assert re.sub(r"(?m)^      evidence .*\n(        .*\n)+", "", out) == (
        """\
--- m.yaml
+++ m.yaml
@@ -1,4 +1,4 @@
 registered_models:
   - name: fraud
-    aliases: {champion: 3} # \\u202eyaM ecnis
+    aliases: {champion: 4} # \\u202eyaM ecnis
     tags: {pending: x}
\\ No newline at end of file

Stack payments:

  ~ model_alias.fraud/champion  (manifest changed)
      ~ version  3 → 4
      evidence  fraud version 3 → 4: missing the run, the artifact

Plan: 0 to create, 1 to update, 0 to delete.
"""
    )
    assert err == "\nEdited m.yaml:3:15. Commit it for review, or run `lac apply`.\n"


@pytest.mark.parametrize("args", ["--dry-run", "--no-plan"])
def test_without_a_plan_there_is_only_the_line(args: str, capsys: pytest.CaptureFixture[str]) -> None:
    put({"m.yaml": DECLARED})
    assert run(["promote", "fraud", args]) == 0
    out = capsys.readouterr().out
    assert out.endswith("-      champion: 3\n+      champion: 4\n       challenger: 4\n")
    assert ("champion: 4" in Path("m.yaml").read_text()) is (args == "--no-plan")


def test_a_file_that_was_changed_meanwhile_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    put({"m.yaml": DECLARED})

    def meanwhile(stack: Stack, found: Promotion) -> Plan:
        put({"m.yaml": DECLARED + "# by Ann\n"})
        return plan_promotion(stack, found)

    plan_promotion = Stack.plan_promotion
    monkeypatch.setattr(Stack, "plan_promotion", meanwhile)
    assert run(["promote", "fraud"]) == 1
    assert Path("m.yaml").read_text() == DECLARED + "# by Ann\n"


def test_a_file_keeps_its_mode_and_a_link_stays_one() -> None:
    put({"real.txt": DECLARED})
    Path("real.txt").chmod(0o640)
    Path("m.yaml").symlink_to("real.txt")
    assert run(["promote", "fraud"]) == 0
    assert Path("m.yaml").is_symlink()
    assert "champion: 4" in Path("real.txt").read_text()
    assert Path("real.txt").stat().st_mode & 0o777 == 0o640


def test_a_model_that_is_being_renamed_is_found_under_both_names(capsys: pytest.CaptureFixture[str]) -> None:
    put(
        {
            "m.yaml": DECLARED.replace("fraud", "cards"),
            "moved.yaml": "moved: [{from: registered_model.fraud, to: registered_model.cards}]\n",
        }
    )
    assert promoted(capsys, "cards", "--version", "1", "--no-plan")["live"] == 3


def test_a_commit_tells_how_the_two_compare() -> None:
    before = Evidence("fraud", 3, metrics=(Metric("auc", 0.9), Metric("loss", 0.2, "May", "d1")))
    after = Evidence("fraud", 4, run=Run("d" * 32), metrics=(Metric("auc", 0.95), Metric("f1", None)))
    address = Address("model_alias", ("fraud", "champion"))
    one = compare(address, "fraud", before, after, (Direction("auc", Better.HIGHER),))
    assert edits.promotion("fraud", "champion", 3, 4, [one]) == (
        "Promote fraud version 4 to champion\n\nBefore: version 3.\n\n"
        "auc: 0.90 → 0.95 (better)\nf1: – → NaN\nloss on May: 0.2 → –\n"
        f"Run: {'d' * 32}\nSignature: unknown\n"
    )
    assert edits.promotion("f\nx", "c", None, 1).splitlines()[0] == "Promote f\\nx version 1 to c"


SELECTED = {
    "in braces": ("      champion: {latest: true}  # so\n", "      champion: 4  # so\n"),
    "in lines": (
        "      champion:  # so\n        where: 'version < 4'\n        newest: true\n",
        "      champion: 4  # so\n",
    ),
}


@pytest.mark.parametrize(("before", "after"), SELECTED.values(), ids=SELECTED)
def test_a_number_takes_the_place_of_a_selector(
    before: str, after: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = MODEL + "    aliases:\n{}      challenger: {{latest: true}}\n"
    put({"m.yaml": text.format(before)})
    found = promoted(capsys, "fraud", "--no-plan")
    assert (found["version"], found["live"]) == (4, 3)
    assert found["before"].startswith(("{latest: true}", "{where: 'version < 4"))
    assert Path("m.yaml").read_text() == text.format(after)


@pytest.mark.parametrize(
    "selector",
    [
        "{\n        # the last\n        latest: true}\n",
        "\n        where: >-  # by May\n          version < 4\n        newest: true\n",
    ],
    ids=["in braces", "inside"],
)
def test_a_comment_that_would_be_lost_with_a_selector_is_a_reason_to_refuse(
    selector: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    put({"m.yaml": MODEL + f"    aliases:\n      champion: {selector}"})
    before = held()
    assert run(["promote", "fraud", "--version", "2"]) == 1
    assert (
        capsys.readouterr().err
        == """\
m.yaml:4:7: error[cannot-edit]: manifest can't be edited safely
  model_alias.fraud/champion: its value contains a comment, which would be lost.
  hint: edit by hand: set `version: 2`
"""
    )
    assert held() == before


def test_a_policy_that_denies_it_is_told_and_the_file_is_edited(capsys: pytest.CaptureFixture[str]) -> None:
    """The reviewer decides: a waiver may come with the same pull request."""
    rule = "{name: never, when: {kind: model_alias}, require: ['after.version < 4'], message: No.}"
    put({"m.yaml": DECLARED, "policies.yaml": f"policies: [{rule}]\n"})
    assert run(["promote", "fraud"]) == 0
    assert capsys.readouterr().err == (
        "\nA policy denies this plan: `lac apply` would fail.\n"
        "\nEdited m.yaml:4:7. Commit it for review, or run `lac apply`.\n"
    )
    assert "champion: 4" in Path("m.yaml").read_text()
