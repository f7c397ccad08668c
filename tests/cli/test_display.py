"""One plan through every view, on the command line: with real databases, and one view at a time."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from support.mlflow_fixture import fresh_sqlite

from lifecycle_as_code.cli import run

Said = pytest.CaptureFixture[str]

MANIFEST = """\
registered_models:
  - name: fraud
    tags: {team: "@risk | <b>"}
"""

BEGINNINGS = {
    "--json": "{",
    "--markdown": "**Plan:** 1 to create, 0 to update, 0 to delete\n",
    "--html": "<!doctype html>\n",
    "--github": "::notice title=Stack payments::Plan: 1 to create, 0 to update, 0 to delete\n",
}


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stack with nothing applied, whose directory is below a repository's root."""
    directory = tmp_path / "repo" / "ml"
    directory.mkdir(parents=True)
    fresh_sqlite(directory, name="mlflow.db")
    (directory / "lac.yaml").write_text("name: payments\n")
    (directory / "models.yaml").write_text(MANIFEST)
    monkeypatch.chdir(directory)
    monkeypatch.setenv("GITHUB_WORKSPACE", str(tmp_path / "repo"))
    return directory


@pytest.mark.usefixtures("stack")
@pytest.mark.parametrize("view", BEGINNINGS)
def test_a_plan_and_its_file_look_the_same_in_every_view(view: str, capsys: Said) -> None:
    assert run(["plan", view, "-o", "p.plan"]) == 0
    planned = capsys.readouterr().out
    assert planned.startswith(BEGINNINGS[view])
    assert run(["show", "p.plan", view]) == 0
    assert capsys.readouterr().out == planned


@pytest.mark.usefixtures("stack")
@pytest.mark.parametrize("verb", [["plan"], ["show", "p.plan"], ["rollback", "1"]], ids=lambda verb: verb[0])
def test_only_one_view_at_a_time(verb: list[str], capsys: Said) -> None:
    assert run([*verb, "--html", "--markdown"]) == 1
    said = capsys.readouterr()
    assert "--markdown and --html: choose one" in said.err
    assert "**Failed:** 1 error" in said.out, "whoever posts the comment has something to post"


@pytest.mark.usefixtures("stack")
@pytest.mark.parametrize("what", [["registered_model.fraud"], ["--at", "2026-11-24"], []], ids=str)
def test_what_is_no_plan_has_no_such_view(what: list[str], capsys: Said) -> None:
    assert run(["show", *what, "--html"]) == 1
    said = capsys.readouterr()
    assert "--html requires a FILE" in said.err
    assert said.out == ""


def test_a_view_does_not_change_the_exit_code(stack: Path, capsys: Said) -> None:
    assert run(["plan", "--markdown", "--detailed-exitcode"]) == 2
    (stack / "models.yaml").write_text("registered_models: []\n")
    assert run(["plan", "--markdown", "--detailed-exitcode"]) == 0
    assert capsys.readouterr().out.splitlines()[-3].startswith("**No changes.**")


@pytest.mark.usefixtures("stack")
def test_drift_has_a_view_for_an_issue(capsys: Said) -> None:
    assert run(["apply", "--auto-approve"]) == 0
    with closing(sqlite3.connect("mlflow.db")) as database, database:
        database.execute("UPDATE registered_model_tags SET value = '@risk'")
        database.execute("UPDATE registered_models SET last_updated_time = 9e17")
    capsys.readouterr()
    assert run(["drift", "--markdown"]) == 2
    said = capsys.readouterr().out
    assert said.startswith("**Drift:** 1 object changed outside lac\n\nStack `payments`\n")
    assert "(changed outside)" in said
    assert "Last written 900000000000000000 ms." in said
    assert run(["drift"]) == 2
    assert "last written 900000000000000000 ms" in capsys.readouterr().out
    assert run(["drift", "--markdown", "--json"]) == 1
    assert "--json and --markdown: choose one" in capsys.readouterr().err


def test_problems_are_annotations_at_their_lines_from_the_root(stack: Path, capsys: Said) -> None:
    (stack / "models.yaml").write_text("registered_models:\n  - nam: fraud\n")
    assert run(["plan", "--github"]) == 1
    lines = capsys.readouterr().out.splitlines()
    expected = "::error file=ml/models.yaml,line=2,col=5,title=unknown-field"
    assert [line for line in lines if line.startswith(expected)]


def test_problems_are_a_comment_and_a_document_too(stack: Path, capsys: Said) -> None:
    (stack / "models.yaml").write_text("registered_models:\n  - nam: fraud\n")
    assert run(["plan", "--markdown"]) == 1
    assert "`models.yaml:2`" in capsys.readouterr().out
    assert run(["plan", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["diagnostics"]
    assert run(["plan", "--html"]) == 1
    assert capsys.readouterr().out == ""
