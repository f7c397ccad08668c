"""Runs of `lac` and output for the actions."""

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
class Result:
    """A command's output and exit code."""

    code: int
    out: str
    err: str

    @property
    def errors(self) -> list[str]:
        """The codes of the errors."""
        return re.findall(r"error\[([a-z-]+)\]", self.err)


@dataclass(frozen=True, slots=True)
class Lac:
    """The command, in the action's directory and environment."""

    job: Job

    def run(self, *args: str) -> Result:
        """One command."""
        where = ["-C", self.job.input("working-directory", ".")]
        environment = self.job.input("environment")
        option = ["-e", environment] if environment else []
        command = [sys.executable, "-m", "lifecycle_as_code", *where, *option, *args]
        # no manifest may read the token
        environ = {name: value for name, value in self.job.environ.items() if name != "LAC_TOKEN"}
        piped = subprocess.PIPE
        with subprocess.Popen(
            command, stdout=piped, stderr=piped, encoding="utf-8", errors="replace", env=environ
        ) as process:
            # GitHub signals a cancelled job to this process only; with the signal, `lac` stops cleanly
            before = {
                number: signal.signal(number, lambda number, _: process.send_signal(number))
                for number in (signal.SIGINT, signal.SIGTERM)
            }
            try:
                out, err = process.communicate()
            finally:
                for number, handler in before.items():
                    signal.signal(number, handler)
        return Result(process.returncode, out, err)


def log(text: str) -> None:
    """Print to the job's log, where GitHub runs no commands until the token is repeated."""
    if text.strip():
        token = uuid4().hex
        print(f"::stop-commands::{token}", text.rstrip("\n"), f"::{token}::", sep="\n", flush=True)


def fence(text: str, most: int) -> str:
    """Plain text as a code block in Markdown; only its beginning and end, if it is long."""
    if len(text) > most:
        # errors come last
        head, tail = text[: most // 3], text[-(most - most // 3) :]
        text = f"{head}\n… (truncated; see the job's log) …\n{tail}"
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    ticks = "`" * max(3, longest + 1)
    return f"{ticks}text\n{text}\n{ticks}"


def run_link(job: Job) -> str:
    """A link to this run."""
    at = "/".join(job.environ.get(name, "") for name in ("GITHUB_SERVER_URL", "GITHUB_REPOSITORY"))
    return f"[run]({at}/actions/runs/{job.environ.get('GITHUB_RUN_ID', '')})"


def step(work: Callable[[Job], int]) -> NoReturn:
    """Run a step's work and exit with its code; an ActionError becomes an annotation."""
    try:
        code = work(Job.of(os.environ))
    except ActionError as error:
        fail(str(error))
        code = 1
    sys.exit(code)


def fail(text: str) -> None:
    """An error on the job's page."""
    print(f"::error title=lac::{_escape(text)}", flush=True)


def warn(text: str) -> None:
    """A warning on the job's page."""
    print(f"::warning title=lac::{_escape(text)}", flush=True)


def _escape(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
