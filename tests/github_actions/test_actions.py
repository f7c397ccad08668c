"""The composite actions, run as a runner runs them: their step's command, its `env`, fake `GITHUB_*` files,
and GitHub's API on loopback. `lac` is the real one, on a real SQLite store. `test_action_steps.py` has what
goes wrong.
"""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from support.github_runner import ENTRY, HEAD, REVIEW, ROOT, Runner, step
from support.loopback_github import Failure, github
from support.mlflow_fixture import fresh_sqlite

ACTIONS = sorted((ROOT / ".github/actions").glob("*/action.yml"))
WORKFLOWS = [*ROOT.glob("examples/pull-requests/*.yml"), *ROOT.glob(".github/workflows/*.yml")]
MODELS = """\
registered_models:
  - name: fraud
    description: Scores card payments.
    versions:
      - {version: 1, source: s3://models/fraud/1}
      - {version: 2, source: s3://models/fraud/2}
    aliases: {champion: 1}
"""


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[Runner]:
    """Its repository has the stack in a directory with a blank in its name."""
    directory = tmp_path / "work"
    stack = directory / "stacks/card payments"
    stack.mkdir(parents=True)
    (stack / "lac.yaml").write_text('name: payments\nstore: "{{ env.STORE }}"\n')
    with github() as held:
        made = Runner(directory, held, {"STORE": fresh_sqlite(tmp_path)})
        models(made, MODELS)
        yield made


WHERE = {"working_directory": "stacks/card payments"}


def models(runner: Runner, text: str) -> None:
    (runner.directory / "stacks/card payments/models.yaml").write_text(text)


def apply_by_hand(runner: Runner) -> None:
    where = str(runner.directory / "stacks/card payments")
    command = [sys.executable, "-m", "lifecycle_as_code", "-C", where, "apply", "--auto-approve"]
    subprocess.run(command, env={**os.environ, **runner.environ}, check=True, capture_output=True)


# --- what the actions say of themselves


@pytest.mark.parametrize("action", ACTIONS, ids=lambda path: path.parent.name)
def test_inputs_reach_a_step_by_its_environment_and_never_by_its_text(action: Path) -> None:
    described = yaml.safe_load(action.read_text())
    used = set()
    for part in described["runs"]["steps"]:
        assert "${{" not in part.get("run", "")
        values = [*part.get("env", {}).values(), *part.get("with", {}).values(), part.get("if", "")]
        used |= set(re.findall(r"inputs\.([\w-]+)", " ".join(map(str, values))))
    assert used == {*described["inputs"]}
    assert all(said["description"] for part in ("inputs", "outputs") for said in described[part].values())


def test_the_workflows_and_the_actions_are_what_github_reads() -> None:
    linted = [
        (["--builtin-schema", "vendor.github-actions"], ACTIONS),
        (["--builtin-schema", "vendor.github-workflows"], WORKFLOWS),
    ]
    for options, files in linted:
        command = [sys.executable, "-m", "check_jsonschema", *options, *map(str, files)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout
    zizmor = str(Path(sys.executable).parent / "zizmor")
    command = [zizmor, "--offline", "--no-progress", *map(str, [*ACTIONS, *WORKFLOWS])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    # a folder of another name it would pass over in silence
    assert done.stderr.count("completed") == len([*ACTIONS, *WORKFLOWS])


@pytest.mark.parametrize("file", [*ACTIONS, *WORKFLOWS], ids=lambda path: f"{path.parent.name}/{path.name}")
def test_what_others_wrote_is_named_by_its_commit(file: Path) -> None:
    for used in re.findall(r"uses: (\S+@.*)", file.read_text()):
        # ours: the example can't know where it is kept
        assert re.fullmatch(r"actions/[\w-]+@[0-9a-f]{40} # v[0-9.]+", used) or used.startswith("your-org/")


@pytest.mark.parametrize(
    ("install", "given"),
    [
        ("[postgres,policy]", str(ROOT / ".github/actions/plan/../../..") + "[postgres,policy]"),
        ("lifecycle-as-code[postgres]==0.1.0", "lifecycle-as-code[postgres]==0.1.0"),
        ('x; touch "$HOME/pwned" $(id) `id`', 'x; touch "$HOME/pwned" $(id) `id`'),
    ],
    ids=["the action's own version", "another", "a shell's words"],
)
def test_what_is_installed_reaches_pip_as_it_was_given(tmp_path: Path, install: str, given: str) -> None:
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    python.chmod(0o755)
    environ = {"PATH": os.environ["PATH"], "LAC_PYTHON": str(python), "LAC_INSTALL": install}
    environ["GITHUB_ACTION_PATH"] = str(ROOT / ".github/actions/plan")
    text = step("plan", None)["run"]
    done = subprocess.run([*ENTRY, text], env=environ, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == given
    assert (ROOT / ".github/actions/plan/../../../pyproject.toml").is_file()


# --- plan on a pull request, apply on merge


def test_what_was_reviewed_is_applied_on_merge_and_only_once(runner: Runner) -> None:
    runner.github.says(7, "<!-- lac plan stacks/card payments -->\nan outsider's")
    runner.github.says(7, "looks good")
    assert runner.run("plan", REVIEW, **WHERE) == 0, runner.log
    assert runner.annotations == [
        "::notice title=Stack payments::Plan: 4 to create, 0 to update, 0 to delete"
    ]
    assert "model_alias.fraud/champion" in runner.log
    assert runner.outputs["changes"] == "true"
    assert runner.outputs["denied"] == "false"
    assert runner.outputs["artifact"] == f"lac-plan-stacks%2Fcard%20payments-{HEAD}"
    outsiders, other, ours = runner.github.comments[7]
    assert outsiders["body"].endswith("an outsider's")
    assert other["body"] == "looks good"
    assert ours["body"].startswith(
        "<!-- lac plan stacks/card payments -->\n### Plan in `stacks/card payments`\n"
    )
    assert "model_alias.fraud/champion" in ours["body"]
    assert runner.outputs["comment"] == ours["html_url"]
    assert "4 to create" in runner.summary
    assert Path(runner.outputs["plan"]).with_name("plan.html").read_text().startswith("<!doctype html>")
    runner.uploaded()
    runner.merged()

    models(runner, MODELS.replace("champion: 1", "champion: 2"))
    assert runner.run("apply", {}, **WHERE) == 1
    assert runner.outputs["outcome"] == "stale"
    assert "manifests-changed" in runner.log
    models(runner, MODELS)
    assert runner.run("apply", {}, **WHERE) == 0, runner.log
    assert runner.outputs == {"outcome": "applied", "pull-request": "7"}
    assert "Apply complete: 4 created" in runner.github.comments[7][-1]["body"]
    # a job that runs once more brings nothing back
    assert runner.run("apply", {}, **WHERE) == 1
    assert runner.outputs["outcome"] == "stale"
    told = runner.github.comments[7][-1]["body"]
    assert len(runner.github.comments[7]) == 4
    assert "Nothing was applied: the plan is stale" in told
    assert "plan-already-applied" in told


def test_manifests_that_cant_be_planned_are_told_where_they_are_reviewed(runner: Runner) -> None:
    models(runner, MODELS.replace("description", "descripton"))
    # a busy GitHub is asked again
    runner.github.failures.append(Failure("GET", 502, "busy"))
    assert runner.run("plan", REVIEW, **WHERE) == 1
    assert runner.outputs["plan"] == ""
    (annotation,) = runner.annotations
    assert annotation.startswith("::error file=stacks/card payments/models.yaml,line=3,")
    (comment,) = runner.github.comments[7]
    assert "Planning failed" in comment["body"]
    assert "error[unknown-field]" in comment["body"]
    assert HEAD[:12] in comment["body"]


def test_a_stores_password_is_nowhere_where_others_read(runner: Runner) -> None:
    runner.environ["STORE"] = "postgresql://lac:correct-horse@127.0.0.1:1/mlflow"
    assert runner.run("plan", REVIEW, **WHERE) == 1
    (comment,) = runner.github.comments[7]
    assert "127.0.0.1" in comment["body"]
    assert "correct-horse" not in runner.log + runner.summary + comment["body"]


def test_a_job_that_is_called_off_lets_the_command_end_in_good_order(runner: Runner, tmp_path: Path) -> None:
    package = tmp_path / "slow/lifecycle_as_code"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(
        "import os, pathlib, signal, sys\n"
        "assert 'LAC_TOKEN' not in os.environ\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])\n"
        f"pathlib.Path({str(tmp_path / 'begun')!r}).touch()\n"
        "signal.sigwait([signal.SIGINT])\n"
        "print('what was done is recorded')\n"
        "sys.exit(1)\n"
    )
    runner.environ["PYTHONPATH"] = str(package.parent)
    runner.github.keep(f"lac-plan-stacks%2Fcard%20payments-{HEAD}", b"{}", HEAD)
    runner.merged()
    environ = runner.job("apply", {}, **WHERE)
    process = subprocess.Popen(
        [*ENTRY, step("apply")["run"]], cwd=runner.directory, env=environ, stdout=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while not (tmp_path / "begun").exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    # GitHub sends it to the shell that it started
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    runner.ended(out)
    assert process.returncode == 1
    assert runner.outputs["outcome"] == "failed"
    assert "what was done is recorded" in runner.github.comments[7][0]["body"]


# --- drift


def test_one_issue_is_open_while_something_differs(runner: Runner) -> None:
    apply_by_hand(runner)
    _move(runner)
    assert runner.run("drift", {}, fail_on_drift="true", **WHERE) == 2, runner.log
    (issue,) = runner.github.issues
    assert runner.outputs == {"drift": "true", "issue": str(issue["number"])}
    assert issue["title"] == "Drift in `stacks/card payments`"
    assert issue["labels"] == ["lac-drift"]
    assert "**Drift:** 1 object changed outside" in issue["body"]
    assert "| `~` update | `model_alias.fraud/champion` |" in issue["body"]

    apply_by_hand(runner)
    assert runner.run("drift", {}, **WHERE) == 0
    assert runner.outputs == {"drift": "false", "issue": str(issue["number"])}
    assert issue["state"] == "closed"
    assert "No drift any more" in runner.github.comments[issue["number"]][0]["body"]


def _move(runner: Runner) -> None:
    """Somebody moves the alias outside."""
    with sqlite3.connect(runner.environ["STORE"].removeprefix("sqlite:///")) as db:
        db.execute("UPDATE registered_model_aliases SET version = 2")
    db.close()
