"""Who runs this command, from the process's environment and git: for history, plans and the lock."""

from __future__ import annotations

import getpass
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from ..model.history import Actor
from ..model.redaction import without_credentials

_CI: Final = (
    "GITHUB_ACTOR",
    "GITLAB_USER_LOGIN",
    "BUILDKITE_BUILD_CREATOR",
    "CIRCLE_USERNAME",
    "BUILD_REQUESTEDFOR",
    "DRONE_COMMIT_AUTHOR",
)
"""Who set a CI job off: GitHub, GitLab, Buildkite, CircleCI, Azure Pipelines, Drone; as they document it."""
_RUNS: Final = ("CI_JOB_URL", "BUILDKITE_BUILD_URL", "CIRCLE_BUILD_URL", "BUILD_URL", "DRONE_BUILD_LINK")
_GIT_SECONDS: Final = 5.0


def actor(directory: Path, environ: Mapping[str, str]) -> Actor:
    """Whoever runs this process, and the commit that `directory` is at. What can't be known is empty."""
    status = _git(directory, environ, "status", "--porcelain", "--untracked-files=no", "--", ".")
    return Actor(
        user=_user(),
        host=socket.gethostname(),
        ci=_first(environ, _CI),
        run=_run(environ),
        commit=_git(directory, environ, "rev-parse", "HEAD"),
        remote=without_credentials(_git(directory, environ, "config", "--get", "remote.origin.url")),
        dirty=bool(status),
    )


def principal(environ: Mapping[str, str]) -> str:
    """The user of MLflow's that this process is, as MLflow's own clients have it; otherwise the system's."""
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


def _git(directory: Path, environ: Mapping[str, str], *args: str) -> str:
    """What git prints; nothing where there is no git or no repository."""
    try:
        # no hook and no watcher of the repository's own is run for a mere look
        command = ["git", "-C", str(directory), "-c", "core.fsmonitor=false", *args]
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=_GIT_SECONDS,
            check=False,
            env={**environ, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"},
        )
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
