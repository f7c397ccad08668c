"""The composite actions, run as a runner runs them: their step's command, its `env`, fake `GITHUB_*` files,
and GitHub's API on loopback. `lac` is the real one, on a real SQLite store.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from loopback_github import REPOSITORY, TOKEN, GitHub, github
from mlflow_fixture import fresh_sqlite

ROOT = Path(__file__).parent.parent
ACTIONS = sorted((ROOT / ".github/actions").glob("*/action.yml"))
KEY = "a key of the tests' own"
HEAD, MERGE = "1" * 40, "2" * 40
MODELS = """\
registered_models:
  - name: fraud
    description: Scores card payments.
    versions:
      - {version: 1, source: s3://models/fraud/1}
      - {version: 2, source: s3://models/fraud/2}
    aliases: {champion: 1}
"""


@dataclass
class Runner:
    """A job of GitHub's: its workspace, its files, its event."""

    directory: Path
    github: GitHub
    store: str
    log: str = ""
    summary: str = ""
    outputs: dict[str, str] = field(default_factory=dict)

    def models(self, text: str) -> None:
        (self.directory / "models.yaml").write_text(text)

    def run(self, action: str, event: Mapping[str, Any], sha: str = MERGE, **inputs: str) -> int:
        """One action; what it leaves is in `log`, `summary` and `outputs`."""
        described = yaml.safe_load((ROOT / f".github/actions/{action}/action.yml").read_text())
        (step,) = (s for s in described["runs"]["steps"] if s.get("id") == "run")
        files = {name: self.directory.parent / name for name in ("event", "output", "summary")}
        files["event"].write_text(json.dumps(event))
        for name in ("output", "summary"):
            files[name].write_text("")
        given = {name: str(said.get("default", "")) for name, said in described["inputs"].items()}
        given |= {"token": TOKEN, "python": sys.executable, "plan-key": KEY}
        given |= {name.replace("_", "-"): value for name, value in inputs.items()}
        environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.directory),
            "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
            "GITHUB_API_URL": self.github.address,
            "GITHUB_REPOSITORY": REPOSITORY,
            "GITHUB_SERVER_URL": "https://github.example",
            "GITHUB_RUN_ID": "77",
            "GITHUB_SHA": sha,
            "GITHUB_WORKSPACE": str(self.directory),
            "GITHUB_EVENT_PATH": str(files["event"]),
            "GITHUB_OUTPUT": str(files["output"]),
            "GITHUB_STEP_SUMMARY": str(files["summary"]),
            "GITHUB_ACTION_PATH": str(ROOT / ".github/actions" / action),
            "RUNNER_TEMP": str(self.directory.parent / "temp"),
            "STORE": self.store,
            "LAC_RETRY_SECONDS": "0.01",
            **{name: _filled(value, given) for name, value in step["env"].items()},
        }
        (self.directory.parent / "temp").mkdir(exist_ok=True)
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
            cwd=self.directory,
            env=environ,
            capture_output=True,
            text=True,
            check=False,
        )
        self.log = done.stdout + done.stderr
        self.summary = files["summary"].read_text()
        self.outputs = dict(
            re.findall(r"^([\w-]+)<<(?:end-\S+)\n(.*?)\nend-\S+$", files["output"].read_text(), re.M | re.S)
        )
        assert TOKEN not in self.log + self.summary
        return done.returncode

    def plan(self, **inputs: str) -> int:
        return self.run("plan", {"pull_request": {"number": 7, "head": {"sha": HEAD}}}, **inputs)

    def uploaded(self, **said: Any) -> bytes:
        """What `actions/upload-artifact` does with the plan that was made."""
        data = Path(self.outputs["plan"]).read_bytes()
        self.github.keep(self.outputs["artifact"], data, HEAD, **said)
        return data

    def merged(self) -> None:
        pull = {"number": 7, "merged_at": "now", "merge_commit_sha": MERGE, "head": {"sha": HEAD}}
        self.github.pulls[MERGE] = [{"number": 6, "merged_at": None, "merge_commit_sha": MERGE}, pull]

    def apply(self, **inputs: str) -> int:
        return self.run("apply", {}, **inputs)

    def lac(self, *args: str) -> None:
        """Somebody's own command."""
        command = [sys.executable, "-m", "lifecycle_as_code", "-C", str(self.directory), *args]
        environ = {**os.environ, "STORE": self.store}
        subprocess.run(command, env=environ, check=True, capture_output=True)


def _filled(value: str, given: Mapping[str, str]) -> str:
    return re.sub(r"\$\{\{ inputs\.([\w-]+) \}\}", lambda found: given[found[1]], value)


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[Runner]:
    directory = tmp_path / "work"
    directory.mkdir()
    (directory / "lac.yaml").write_text('name: payments\nstore: "{{ env.STORE }}"\n')
    with github() as held:
        made = Runner(directory, held, fresh_sqlite(tmp_path))
        made.models(MODELS)
        yield made


# --- what the actions say of themselves


@pytest.mark.parametrize("action", ACTIONS, ids=lambda path: path.parent.name)
def test_inputs_reach_a_step_by_its_environment_and_never_by_its_text(action: Path) -> None:
    described = yaml.safe_load(action.read_text())
    used = set()
    for step in described["runs"]["steps"]:
        assert "${{" not in step.get("run", "")
        values = [*step.get("env", {}).values(), *step.get("with", {}).values(), step.get("if", "")]
        used |= set(re.findall(r"inputs\.([\w-]+)", " ".join(map(str, values))))
    assert used == {*described["inputs"]}
    assert all(said["description"] for part in ("inputs", "outputs") for said in described[part].values())


def test_the_workflows_and_the_actions_are_what_github_reads() -> None:
    linted = [
        (["--builtin-schema", "vendor.github-actions"], ACTIONS),
        (
            ["--builtin-schema", "vendor.github-workflows"],
            [*ROOT.glob("examples/github/*.yml"), *ROOT.glob(".github/workflows/*.yml")],
        ),
    ]
    for options, files in linted:
        command = [sys.executable, "-m", "check_jsonschema", *options, *map(str, files)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout
    zizmor = str(Path(sys.executable).parent / "zizmor")
    command = [zizmor, "--offline", "--no-progress", str(ROOT / ".github"), str(ROOT / "examples/github")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


# --- plan on a pull request, apply on merge


def test_what_was_reviewed_is_applied_on_merge_and_only_once(runner: Runner) -> None:
    runner.github.says(7, "<!-- lac plan . -->\nan outsider's")
    runner.github.says(7, "looks good")
    assert runner.plan() == 0, runner.log
    assert runner.outputs["changes"] == "true"
    assert runner.outputs["denied"] == "false"
    assert runner.outputs["artifact"] == f"lac-plan-{HEAD}"
    # the second page has ours
    assert runner.plan() == 0
    outsiders, other, ours = runner.github.comments[7]
    assert outsiders["body"].endswith("an outsider's")
    assert other["body"] == "looks good"
    assert ours["body"].startswith("<!-- lac plan . -->\n### Plan")
    assert "model_alias.fraud/champion" in ours["body"]
    assert runner.outputs["comment"] == ours["html_url"]
    assert "4 to create" in runner.summary
    assert (Path(runner.outputs["plan"]).parent / "plan.html").read_text().startswith("<!doctype html>")

    runner.uploaded()
    runner.merged()
    assert runner.apply() == 0, runner.log
    assert runner.outputs == {"outcome": "applied", "pull-request": "7"}
    assert "Applied: 4 created" in runner.github.comments[7][-1]["body"]
    # what is live has moved since: by this very plan
    assert runner.apply() == 1
    assert runner.outputs["outcome"] == "stale"
    told = runner.github.comments[7][-1]["body"]
    assert len(runner.github.comments[7]) == 4
    assert "Nothing was applied: the plan is stale" in told
    assert "stale-plan" in told


def test_a_plan_of_other_manifests_or_with_another_seal_is_refused(runner: Runner) -> None:
    assert runner.plan() == 0
    data = runner.uploaded()
    runner.merged()
    runner.models(MODELS.replace("champion: 1", "champion: 2"))
    assert runner.apply() == 1
    assert runner.outputs["outcome"] == "stale"
    assert "manifests-changed" in runner.log
    runner.models(MODELS)
    runner.github.keep(
        runner.outputs.get("artifact", f"lac-plan-{HEAD}"), data.replace(b"fraud", b"freud"), HEAD
    )
    assert runner.apply() == 1
    assert runner.outputs["outcome"] == "refused"
    assert "plan-altered" in runner.log


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"fork": True}, "There is no plan"),
        ({"expired": True}, "There is no plan"),
        (None, "came by no pull"),
    ],
    ids=["a fork's run", "expired", "pushed without a pull request"],
)
def test_a_plan_that_nobody_reviewed_isnt_applied(
    runner: Runner, said: Mapping[str, Any] | None, told: str
) -> None:
    if said is not None:
        runner.merged()
        runner.github.keep(f"lac-plan-{HEAD}", b"{}", HEAD, **said)
    assert runner.apply() == 1
    assert told in runner.log
    assert runner.log.startswith("::error title=lac::")
    assert not runner.outputs


def test_manifests_that_cant_be_planned_are_told_where_they_are_reviewed(runner: Runner) -> None:
    runner.models(MODELS.replace("description", "descripton"))
    # a busy GitHub is asked again
    runner.github.failures.append(("GET", 502, "busy"))
    assert runner.plan() == 1
    assert runner.outputs["plan"] == ""
    (comment,) = runner.github.comments[7]
    assert "Nothing could be planned" in comment["body"]
    assert "error[unknown-field]" in comment["body"]


def test_a_forks_token_that_may_not_write_costs_the_comment_alone(runner: Runner) -> None:
    runner.github.read_only = True
    assert runner.plan() == 0, runner.log
    assert "::warning title=lac::The pull request's comment couldn't be written." in runner.log
    assert "Resource not accessible by integration" in runner.log
    assert runner.outputs["comment"] == ""


# --- drift


def test_one_issue_is_open_while_something_differs(runner: Runner) -> None:
    runner.lac("apply", "--auto-approve")
    assert runner.run("drift", {}) == 0, runner.log
    assert runner.outputs == {"drift": "false", "issue": ""}
    assert runner.github.issues == []

    runner.models(MODELS.replace("Scores card", "Scores all card"))
    _move(runner)
    assert runner.run("drift", {}) == 0, runner.log
    (issue,) = runner.github.issues
    assert runner.outputs == {"drift": "true", "issue": str(issue["number"])}
    assert "changed outside" in issue["body"]
    asked = len([m for m, _ in runner.github.asked if m == "PATCH"])
    assert runner.run("drift", {}, fail_on_drift="true") == 2
    assert len(runner.github.issues) == 1
    # the same again is no news
    assert len([m for m, _ in runner.github.asked if m == "PATCH"]) == asked

    runner.lac("apply", "--auto-approve")
    assert runner.run("drift", {}) == 0
    assert issue["state"] == "closed"
    assert "Nothing differs any more" in runner.github.comments[issue["number"]][0]["body"]

    runner.models("a: [")
    assert runner.run("drift", {}) == 1
    assert runner.outputs["drift"] == "unknown"


def _move(runner: Runner) -> None:
    """Somebody moves the alias outside."""
    with sqlite3.connect(runner.store.removeprefix("sqlite:///")) as db:
        db.execute("UPDATE registered_model_aliases SET version = 2")
    db.close()
