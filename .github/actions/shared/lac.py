"""Running `lac` for the actions, and what they have in common."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn
from uuid import uuid4

from github import ActionError, Job


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

    def run(self, *args: str) -> Ran:
        """One command."""
        where = ["-C", self.job.input("working-directory", ".")]
        named = self.job.input("environment")
        chosen = ["-e", named] if named else []
        command = [sys.executable, "-m", "lifecycle_as_code", *where, *chosen, *args]
        # the token is for GitHub, and nothing that a manifest could name
        environ = {name: value for name, value in self.job.environ.items() if name != "LAC_TOKEN"}
        piped = subprocess.PIPE
        with subprocess.Popen(
            command, stdout=piped, stderr=piped, encoding="utf-8", errors="replace", env=environ
        ) as process:
            # a job that is called off tells this process alone: `lac` ends in good order, and we report
            before = {
                number: signal.signal(number, lambda number, _: process.send_signal(number))
                for number in (signal.SIGINT, signal.SIGTERM)
            }
            try:
                out, err = process.communicate()
            finally:
                for number, handler in before.items():
                    signal.signal(number, handler)
        return Ran(process.returncode, out, err)


def log(text: str) -> None:
    """Into the job's log; what would be a command to GitHub there is none until the token is said again."""
    if text.strip():
        token = uuid4().hex
        print(f"::stop-commands::{token}", text.rstrip("\n"), f"::{token}::", sep="\n", flush=True)


def fenced(text: str, most: int) -> str:
    """Plain text in Markdown, whatever is in it; its beginning and its end, if it is long."""
    if len(text) > most:
        # errors come last
        head, tail = text[: most // 3], text[-(most - most // 3) :]
        text = f"{head}\n… (cut; the job's log has it all) …\n{tail}"
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{text}\n{fence}"


def run_link(job: Job) -> str:
    """A link to the run that says so."""
    at = "/".join(job.environ.get(name, "") for name in ("GITHUB_SERVER_URL", "GITHUB_REPOSITORY"))
    return f"[run]({at}/actions/runs/{job.environ.get('GITHUB_RUN_ID', '')})"


def step(work: Callable[[Job], int]) -> NoReturn:
    """Run a step's work and end with its code; what went wrong is an annotation."""
    try:
        code = work(Job.of(os.environ))
    except ActionError as error:
        fail(str(error))
        code = 1
    sys.exit(code)


def fail(text: str) -> None:
    """An error on the job's page."""
    print(f"::error title=lac::{_escaped(text)}", flush=True)


def warn(text: str) -> None:
    """A warning on the job's page."""
    print(f"::warning title=lac::{_escaped(text)}", flush=True)


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
