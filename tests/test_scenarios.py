"""Each Markdown file under scenarios/ is a story, played for real in an empty directory.

`yaml` blocks are files; their first line names them. `sql` blocks are what somebody does to MLflow's
database (to the auth database where the first line says `-- basic_auth.db`), `python` blocks what
somebody does with `client`, an `MlflowClient`. `console` blocks run `lac`, `cat` and `rm`, and hold what is
printed; an exit code other than 0 is shown below it. `lac.yaml` is `PROJECT`, unless a story writes its own.

`pytest tests/test_scenarios.py --update` writes down what is printed now: read the diff before you commit.
"""

from __future__ import annotations

import getpass
import io
import os
import re
import shlex
import socket
import sqlite3
from collections.abc import Callable
from contextlib import closing, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.mlflow_fixture import fresh_sqlite

from lifecycle_as_code.cli import run
from lifecycle_as_code.model.history import Actor

STORIES = sorted(Path(__file__).parent.glob("scenarios/*.md"))
BLOCK = re.compile(r"^```(yaml|sql|python|console)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"(?:#|--|\{#) (\S+)")
PROJECT = "name: payments\nstore: sqlite:///mlflow.db\nauth_store: sqlite:///basic_auth.db\n"
USERS = ("ann", "bob", "cyd")

CI = ("GITHUB_", "GITLAB_", "BUILDKITE_", "CIRCLE_", "BUILD_", "DRONE_", "CI_")
"""What history would tell of the job that runs the tests."""

VARYING = (
    (re.compile(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"), "<apply id>"),
    (re.compile(r"\b1[6-9]\d{11}\b"), "<time>"),
    (re.compile(r"\b20\d\d-\d\d-\d\d \d\d:\d\d:\d\d UTC"), "<when>"),
    # as a line of history begins, and as a reason names it
    (re.compile(r"(?<=<when>  )[0-9a-f]{8}\b|(?<=apply )[0-9a-f]{8}\b"), "<apply>"),
    (re.compile(re.escape(str(Actor(getpass.getuser(), socket.gethostname())))), "<who>"),
)


@dataclass
class Stage:
    """The directory that a story plays in."""

    directory: Path
    environment: pytest.MonkeyPatch

    def play(self, block: re.Match[str]) -> str:
        """One block; it comes back with what it printed."""
        language, body = block.groups()
        match language:
            case "yaml":
                path = self.directory / _named(body)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(body)
            case "sql":
                self.sql(body)
            case "python":
                exec(body, {"client": self.client()})
            case _:
                lines = re.findall(r"^\$ (.*)$", body, re.MULTILINE)
                body = "".join(f"$ {line}\n{self.shell(line)}" for line in lines)
        return f"```{language}\n{body}```"

    def sql(self, script: str) -> None:
        """What somebody does who knows MLflow's tables."""
        database = _named(script) if script.startswith("--") else "mlflow.db"
        with closing(sqlite3.connect(self.directory / database)) as db:
            db.executescript(script)

    def client(self) -> Any:
        """MLflow's own client, right on the database."""
        from mlflow import MlflowClient

        store = f"sqlite:///{self.directory / 'mlflow.db'}"
        return MlflowClient(store, store)

    def shell(self, line: str) -> str:
        """What one line of a console prints, with what must vary made equal."""
        words = shlex.split(line)
        with self.environment.context() as environment:
            while "=" in words[0]:
                environment.setenv(*words.pop(0).split("=", 1))
            printed, code = COMMANDS[words[0]](words[1:])
        for pattern, equal in ((re.compile(re.escape(str(self.directory))), "/stack"), *VARYING):
            printed = pattern.sub(equal, printed)
        # an editor would take it away
        printed = re.sub(r" +$", "", printed, flags=re.MULTILINE)
        return printed + (f"[exit {code}]\n" if code else "")


def _named(body: str) -> str:
    found = FILE.match(body)
    assert found, f"the first line should name the file:\n{body}"
    return found[1]


def lac(args: list[str]) -> tuple[str, int]:
    """The command, as in a log that takes both of its streams."""
    with io.StringIO() as out, redirect_stdout(out), redirect_stderr(out):
        code = run(args)
        return out.getvalue(), code


def cat(args: list[str]) -> tuple[str, int]:
    return "".join(Path(arg).read_text() for arg in args), 0


def rm(args: list[str]) -> tuple[str, int]:
    for arg in args:
        Path(arg).unlink()
    return "", 0


COMMANDS: dict[str, Callable[[list[str]], tuple[str, int]]] = {"lac": lac, "cat": cat, "rm": rm}


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    for name in [name for name in os.environ if name.startswith(("LAC_", "MLFLOW_", *CI))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    fresh_sqlite(tmp_path, name="mlflow.db")
    fresh_sqlite(tmp_path, "auth", name="basic_auth.db")
    (tmp_path / "lac.yaml").write_text(PROJECT)
    with closing(sqlite3.connect(tmp_path / "basic_auth.db")) as db, db:
        db.executemany(
            "INSERT INTO users (username, password_hash, is_admin) VALUES (?, 'x', 0)",
            [(user,) for user in USERS],
        )
    return Stage(tmp_path, monkeypatch)


@pytest.mark.parametrize("path", STORIES, ids=lambda path: path.stem)
def test_story(path: Path, stage: Stage, request: pytest.FixtureRequest) -> None:
    story = path.read_text()
    played = BLOCK.sub(stage.play, story)
    if request.config.getoption("--update"):
        path.write_text(played)
    else:
        assert played == story
