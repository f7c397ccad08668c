"""The actor of a command, from the process's environment and git: for history, plans and the lock."""

from __future__ import annotations

import getpass
import re
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from ..model.diagnostics import Diagnostic
from ..model.history import Actor
from ..model.redaction import without_credentials
from . import git

_CI: Final = (
    "GITHUB_ACTOR",
    "GITLAB_USER_LOGIN",
    "BUILDKITE_BUILD_CREATOR",
    "CIRCLE_USERNAME",
    "BUILD_REQUESTEDFOR",
    "DRONE_COMMIT_AUTHOR",
)
"""The user who started a CI job, by the CI systems' own documentation."""
_RUNS: Final = ("CI_JOB_URL", "BUILDKITE_BUILD_URL", "CIRCLE_BUILD_URL", "BUILD_URL", "DRONE_BUILD_LINK")
_COMMITS: Final = (
    "GITHUB_SHA",
    "CI_COMMIT_SHA",
    "BUILDKITE_COMMIT",
    "CIRCLE_SHA1",
    "BUILD_SOURCEVERSION",
    "DRONE_COMMIT_SHA",
    "BITBUCKET_COMMIT",
    "GIT_COMMIT",
)
"""The commit that a CI job runs on, as above; Bitbucket's and Jenkins's too."""
_REMOTES: Final = (
    "CI_PROJECT_URL",
    "BUILDKITE_REPO",
    "CIRCLE_REPOSITORY_URL",
    "BUILD_REPOSITORY_URI",
    "DRONE_GIT_HTTP_URL",
    "BITBUCKET_GIT_HTTP_ORIGIN",
    "GIT_URL",
)
_COMMIT: Final = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_GIT_SECONDS: Final = 5.0


def actor(directory: Path, environ: Mapping[str, str]) -> Actor:
    """This process's user, and the commit of `directory`: git's, or else the CI job's. Unknown parts are
    empty."""
    commit, _ = _git(directory, environ, "rev-parse", "--verify", "--quiet", "HEAD")
    remote = _git(directory, environ, "config", "--get", "remote.origin.url")[0] if commit else ""
    changed, _ = _git(directory, environ, "status", "--porcelain", "--untracked-files=no", "--", ".")
    return Actor(
        user=_user(),
        host=socket.gethostname(),
        ci=_first(environ, _CI),
        run=_run(environ),
        commit=commit or _ci_commit(environ),
        remote=without_credentials(remote or ("" if commit else _ci_remote(environ))),
        dirty=bool(changed),
    )


def commit_warning(directory: Path, environ: Mapping[str, str]) -> Diagnostic | None:
    """A warning that history won't have the commit: git refuses to read it, and no CI job names it."""
    whole = directory.resolve()
    if _ci_commit(environ) or not any((above / ".git").exists() for above in (whole, *whole.parents)):
        return None
    output, problem = _git(directory, environ, "rev-parse", "--git-dir")
    if output:
        return None
    return Diagnostic(
        "commit-not-recorded",
        "git did not report the commit",
        f"The plan and the history of this run name no commit. {problem}",
        hint="let this user read the checkout (`git config --global --add safe.directory DIR`),"
        " or set GIT_COMMIT",
        severity="warning",
    )


def principal(environ: Mapping[str, str]) -> str:
    """The MLflow user of this process, by the variable of MLflow's own clients; or else the system's user."""
    return environ.get("MLFLOW_TRACKING_USERNAME") or _user()


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # a container's user may have a number and no name
        return ""


def _first(environ: Mapping[str, str], names: tuple[str, ...]) -> str:
    return next((environ[name] for name in names if environ.get(name)), "")


def _run(environ: Mapping[str, str]) -> str:
    names = ("GITHUB_SERVER_URL", "GITHUB_REPOSITORY", "GITHUB_RUN_ID")
    if all(environ.get(name) for name in names):
        server, repository, run = (environ[name] for name in names)
        return f"{server}/{repository}/actions/runs/{run}"
    return _first(environ, _RUNS)


def _ci_commit(environ: Mapping[str, str]) -> str:
    commit = _first(environ, _COMMITS)
    return commit if _COMMIT.fullmatch(commit) else ""


def _ci_remote(environ: Mapping[str, str]) -> str:
    server, repository = (environ.get(name) for name in ("GITHUB_SERVER_URL", "GITHUB_REPOSITORY"))
    return f"{server}/{repository}" if server and repository else _first(environ, _REMOTES)


def _git(directory: Path, environ: Mapping[str, str], *args: str) -> tuple[str, str]:
    """git's output, empty where there is no git or no repository; and git's problem then."""
    quiet = {**environ, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    try:
        result = git.run(directory, quiet, *args, seconds=_GIT_SECONDS)
    except (OSError, subprocess.SubprocessError) as error:
        return "", str(error)
    return ("", result.stderr) if result.returncode else (result.stdout.strip(), "")
