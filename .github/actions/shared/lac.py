"""Running `lac` for the actions, and what they have in common."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

from github import ActionError, Job

MAX_COMMENT = 65_000
"""GitHub takes 65,536 characters; the rest is for the marker."""


@dataclass(frozen=True, slots=True)
class Ran:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def errors(self) -> list[str]:
        """The codes of what went wrong."""
        return re.findall(r"error\[([a-z-]+)\]", self.err)


@dataclass(frozen=True, slots=True)
class Lac:
    """The command, for the directory and the environment that the action is about."""

    job: Job

    def run(self, *args: str, told: bool = True) -> Ran:
        """One command. `told`: what it prints goes into the job's log, too."""
        where = ["-C", self.job.input("working-directory", ".")]
        named = self.job.input("environment")
        chosen = ["-e", named] if named else []
        command = [sys.executable, "-m", "lifecycle_as_code", *where, *chosen, *args]
        # the token is for GitHub, and nothing that a manifest could name
        environ = {name: value for name, value in self.job.environ.items() if name != "LAC_TOKEN"}
        done = subprocess.run(
            command, capture_output=True, encoding="utf-8", errors="replace", check=False, env=environ
        )
        if told:
            log(done.stdout)
            log(done.stderr)
        return Ran(done.returncode, done.stdout, done.stderr)


def log(text: str) -> None:
    """Into the job's log; what would be a command to GitHub there is none."""
    if text:
        print(re.sub(r"^(\s*)::", r"\1 ::", text.rstrip("\n"), flags=re.MULTILINE), flush=True)


def tag(name: str, job: Job) -> str:
    """What tells our comment or issue from others: one for each directory and environment."""
    where = os.path.normpath(job.input("working-directory", "."))
    said = f"{name} {where} {job.input('environment')}".strip()
    return f"<!-- {re.sub(r'[^A-Za-z0-9 ._/-]', '-', said).replace('--', '-')} -->"


def title(name: str, job: Job) -> str:
    """A heading that names the environment, where there is one."""
    named = job.input("environment")
    return f"{name} for `{named}`" if re.fullmatch(r"[\w.-]+", named) else name


def fenced(text: str, most: int) -> str:
    """Plain text in Markdown, whatever is in it; the beginning of it, if it is long."""
    cut = text if len(text) <= most else text[:most] + "\n… (cut; the job's log has it all)"
    longest = max((len(run) for run in re.findall(r"`+", cut)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{cut}\n{fence}"


def step(work: Callable[[Job], int]) -> NoReturn:
    """Run a step's work and end with its code; what went wrong is an annotation."""
    try:
        code = work(Job.of(os.environ))
    except ActionError as error:
        print(f"::error title=lac::{_escaped(str(error))}", flush=True)
        code = 1
    sys.exit(code)


def warn(text: str) -> None:
    """A warning on the job's page."""
    print(f"::warning title=lac::{_escaped(text)}", flush=True)


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
