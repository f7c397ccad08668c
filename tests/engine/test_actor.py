"""The actor of a command: the user, the CI job, and the commit."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from support.bench import Bench, converge
from support.mlflow_fixture import fresh_sqlite

from lifecycle_as_code.engine.actor import actor, commit_warning
from lifecycle_as_code.kinds.registered_model import RegisteredModel
from lifecycle_as_code.model.events import Warned
from lifecycle_as_code.model.history import Actor


def git(directory: Path, *args: str) -> str:
    who = ["-c", "user.name=ann", "-c", "user.email=ann@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", *who, *args], cwd=directory, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_the_commit_and_the_remote_are_known_without_its_password(tmp_path: Path) -> None:
    (tmp_path / "lac.yaml").write_text("name: test\n")
    git(tmp_path, "init", "-q")
    git(tmp_path, "remote", "add", "origin", "https://ann:hunter2@git.example/infra.git?token=hunter2")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "First.")
    found = actor(tmp_path, os.environ)
    assert found.commit == git(tmp_path, "rev-parse", "HEAD")
    assert found.remote == "https://git.example/infra.git"
    assert not found.dirty
    (tmp_path / "lac.yaml").write_text("name: other\n")
    assert actor(tmp_path, os.environ).dirty


def test_without_a_repository_nothing_is_known_of_one(tmp_path: Path) -> None:
    environ = {"PATH": os.environ["PATH"], "GIT_CEILING_DIRECTORIES": str(tmp_path.parent)}
    found = actor(tmp_path, environ)
    assert (found.commit, found.remote, found.dirty) == ("", "", False)
    assert commit_warning(tmp_path, environ) is None
    assert actor(tmp_path, {"PATH": ""}).commit == ""


SHA = "4f0c1d2e" * 5

COMMITS: dict[str, tuple[Mapping[str, str], str]] = {
    "GitHub": (
        {"GITHUB_SHA": SHA, "GITHUB_SERVER_URL": "https://github.com", "GITHUB_REPOSITORY": "ann/infra"},
        "https://github.com/ann/infra",
    ),
    "GitLab": (
        {"CI_COMMIT_SHA": SHA, "CI_PROJECT_URL": "https://git.example/infra"},
        "https://git.example/infra",
    ),
    "Buildkite": (
        {"BUILDKITE_COMMIT": SHA, "BUILDKITE_REPO": "https://ann:hunter2@git.example/infra.git"},
        "https://git.example/infra.git",
    ),
}


@pytest.fixture
def refused(tmp_path: Path) -> Mapping[str, str]:
    """The environment in which git refuses the checkout at `tmp_path`, as it does another user's."""
    git(tmp_path, "init", "-q")
    git(tmp_path, "commit", "-q", "--allow-empty", "-m", "First.")
    names = {
        "GIT_TEST_ASSUME_DIFFERENT_OWNER": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_CONFIG_NOSYSTEM": "1",
    }
    return {"PATH": os.environ["PATH"], **names}


@pytest.mark.parametrize(("named", "remote"), COMMITS.values(), ids=COMMITS)
def test_where_git_refuses_the_ci_jobs_commit_counts(
    named: Mapping[str, str], remote: str, refused: Mapping[str, str], tmp_path: Path
) -> None:
    found = actor(tmp_path, {**refused, **named})
    assert (found.commit, found.remote) == (SHA, remote)
    assert commit_warning(tmp_path, {**refused, **named}) is None


@pytest.mark.parametrize("named", [{}, {"GITHUB_SHA": "main"}], ids=["none", "no commit's"])
def test_where_git_refuses_and_no_job_names_a_commit_it_is_said(
    named: Mapping[str, str], refused: Mapping[str, str], tmp_path: Path
) -> None:
    assert actor(tmp_path, {**refused, **named}).commit == ""
    warning = commit_warning(tmp_path, {**refused, **named})
    assert warning is not None
    assert "dubious ownership" in warning.detail
    assert "safe.directory" in warning.hint


def test_an_apply_says_that_history_knows_no_commit(refused: Mapping[str, str], tmp_path: Path) -> None:
    bench = Bench(tmp_path, fresh_sqlite(tmp_path), environ=refused)
    _, events = converge(bench.stack([RegisteredModel(name="fraud")]))
    assert [e.diagnostic.code for e in events if isinstance(e, Warned)] == ["commit-not-recorded"]


def test_without_git_a_checkout_has_no_commit_and_it_is_said(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    assert actor(tmp_path, {"PATH": "", **COMMITS["GitLab"][0]}).commit == SHA
    assert commit_warning(tmp_path, {"PATH": ""}) is not None


CI: Mapping[str, tuple[Mapping[str, str], str, str]] = {
    "GitHub": (
        {
            "GITHUB_ACTOR": "octo",
            "GITHUB_SERVER_URL": "https://github.com",
            "GITHUB_REPOSITORY": "shop/infra",
            "GITHUB_RUN_ID": "7",
        },
        "octo",
        "https://github.com/shop/infra/actions/runs/7",
    ),
    "GitLab": (
        {"GITLAB_USER_LOGIN": "tanuki", "CI_JOB_URL": "https://git.example/-/jobs/7"},
        "tanuki",
        "https://git.example/-/jobs/7",
    ),
    "Jenkins": ({"BUILD_URL": "https://ci.example/7/"}, "", "https://ci.example/7/"),
    "none": ({}, "", ""),
}


@pytest.mark.parametrize(("environ", "who", "run"), CI.values(), ids=CI)
def test_who_set_a_job_off_is_known(environ: Mapping[str, str], who: str, run: str, tmp_path: Path) -> None:
    found = actor(tmp_path, environ)
    assert (found.ci, found.run) == (who, run)
    assert str(found).startswith(who or found.user)


def test_an_actor_of_another_lac_is_read() -> None:
    assert Actor.of({"user": "ann", "badge": 7}) == Actor(user="ann")
    assert str(Actor()) == "somebody"
