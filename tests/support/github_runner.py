"""A job of GitHub's for tests: its workspace, fake `GITHUB_*` files, its event, and its way with a log."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from support.loopback_github import REPOSITORY, TOKEN, GitHub
from support.shared import MARK

ROOT = Path(__file__).resolve().parents[2]
KEY = "a key of the tests' own"
HEAD, MERGE = "1" * 40, "2" * 40
REVIEW = {"pull_request": {"number": 7, "head": {"sha": HEAD}}}
"""The event of a pull request."""
ENTRY = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c"]
"""How GitHub starts a step's text."""


@dataclass
class Runner:
    """`environ`: what the workflow sets beside; what a run leaves is in `log`, `summary` and `outputs`."""

    directory: Path
    github: GitHub
    environ: dict[str, str] = field(default_factory=dict)
    log: str = ""
    summary: str = ""
    outputs: dict[str, str] = field(default_factory=dict)

    def run(self, action: str, event: Mapping[str, Any], sha: str = MERGE, **inputs: str) -> int:
        """One action, as GitHub runs its step."""
        environ = self.job(action, event, sha, **inputs)
        text = step(action)["run"]
        done = subprocess.run(
            [*ENTRY, text], cwd=self.directory, env=environ, capture_output=True, text=True, check=False
        )
        self.ended(done.stdout + done.stderr)
        return done.returncode

    def job(self, action: str, event: Mapping[str, Any], sha: str = MERGE, **inputs: str) -> dict[str, str]:
        """The step's environment; its files are written, or emptied."""
        files = {name: self._file(name) for name in ("event", "output", "summary")}
        files["event"].write_text(json.dumps(event))
        for name in ("output", "summary"):
            files[name].write_text("")
        given = {name: str(said.get("default", "")) for name, said in described(action)["inputs"].items()}
        given |= {"token": TOKEN, "python": sys.executable, "plan-key": KEY}
        given |= {name.replace("_", "-"): value for name, value in inputs.items()}
        self._file("temp").mkdir(exist_ok=True)
        return {
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
            "RUNNER_TEMP": str(self._file("temp")),
            "LAC_RETRY_SECONDS": "0.01",
            **{name: value for name, value in os.environ.items() if name.startswith(MARK)},
            **{name: _filled(value, given) for name, value in step(action)["env"].items()},
            **self.environ,
        }

    def ended(self, log: str) -> None:
        """The step is over. No secret is anywhere where others read."""
        self.log, self.summary = log, self._file("summary").read_text()
        found = re.findall(r"^([\w-]+)<<(end-\S+)\n(.*?)\n\2$", self._file("output").read_text(), re.M | re.S)
        self.outputs = {name: value for name, _, value in found}
        written = [*self.github.comments.values(), self.github.issues]
        assert not [secret for secret in (TOKEN, KEY) if secret in f"{log}{self.summary}{written}"]

    @property
    def annotations(self) -> list[str]:
        """The commands in the log, as the runner finds them: after blanks, too, and the old ones anywhere.
        None until a token that stopped them comes again."""
        found, waiting = [], None
        for line in map(str.strip, self.log.splitlines()):
            if waiting:
                waiting = None if line == f"::{waiting}::" else waiting
            elif line.startswith("::stop-commands::"):
                waiting = line.removeprefix("::stop-commands::")
            elif line.startswith("::") or "##[" in line:
                found.append(line)
        return found

    def uploaded(self, **said: Any) -> None:
        """What `actions/upload-artifact` does with the plan that was made."""
        (upload,) = (s for s in described("plan")["runs"]["steps"] if "upload-artifact" in s.get("uses", ""))
        filled = {
            name: re.sub(r"\$\{\{ steps\.run\.outputs\.(\w+) \}\}", lambda f: self.outputs[f[1]], str(value))
            for name, value in upload["with"].items()
        }
        assert not set(filled["name"]) & set('":<>|*?\r\n\\/')
        assert {*os.listdir(filled["path"])} == {"lac.plan", "plan.md", "plan.html"}
        data = Path(filled["path"], "lac.plan").read_bytes()
        assert KEY.encode() not in data
        self.github.keep(filled["name"], data, HEAD, **said)

    def merged(self) -> None:
        """The pull request is merged; another one with the same commit isn't."""
        pull = {"number": 7, "merged_at": "now", "merge_commit_sha": MERGE, "head": {"sha": HEAD}}
        self.github.pulls[MERGE] = [{"number": 6, "merged_at": None, "merge_commit_sha": MERGE}, pull]

    def _file(self, name: str) -> Path:
        return self.directory.parent / name


@cache
def described(action: str) -> dict[str, Any]:
    """An action's `action.yml`."""
    read: dict[str, Any] = yaml.safe_load((ROOT / f".github/actions/{action}/action.yml").read_text())
    return read


def step(action: str, id_: str | None = "run") -> dict[str, Any]:
    """The step of this id; with None, the one that installs."""
    found: dict[str, Any]
    (found,) = (s for s in described(action)["runs"]["steps"] if s.get("id") == id_ and "run" in s)
    return found


def _filled(value: str, given: Mapping[str, str]) -> str:
    return re.sub(r"\$\{\{ inputs\.([\w-]+) \}\}", lambda found: given[found[1]], value)
