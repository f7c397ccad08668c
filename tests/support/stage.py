"""Markdown that is played: its blocks are files, what somebody does, and commands with what they print.

`yaml` blocks are files; their first line names them. `sql` blocks are what somebody does to MLflow's
database (to the auth database where the first line says `-- basic_auth.db`), `python` blocks what
somebody does with `client`, an `MlflowClient`. `console` blocks run the commands of `COMMANDS`, and hold what
they print; an exit code other than 0 is shown below it.
"""

from __future__ import annotations

import getpass
import io
import os
import re
import shlex
import socket
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from mlflow.tracking import fluent

from lifecycle_as_code.cli import run
from lifecycle_as_code.model.history import Actor
from support.command import tracked_at
from support.mlflow_fixture import fresh_sqlite

BLOCK = re.compile(r"^```(yaml|sql|python|console)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"(?:#|--|\{#) (\S+)")

EDITOR = "# yaml-language-server:"

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

Command = Callable[[list[str]], tuple[str, int]]


@dataclass
class Stage:
    """The directory that a story plays in.

    `commands`: what a console knows besides `COMMANDS`. `places`: texts of the story for what is really
    there, such as the address of a database; they are replaced in commands, and put back in what is printed,
    those first that contain others.
    `varying`: more that must vary, and what stands for it.
    """

    directory: Path
    environment: pytest.MonkeyPatch
    commands: Mapping[str, Command] = field(default_factory=dict)
    places: Mapping[str, str] = field(default_factory=dict)
    varying: tuple[tuple[re.Pattern[str], str], ...] = ()

    def play(self, block: re.Match[str]) -> str:
        """One block; it comes back with what it printed."""
        language, body = block.groups()
        match language:
            case "yaml":
                body = self.file(body)
            case "sql":
                self.sql(body)
            case "python":
                exec(here(body), {"client": self.client()})
            case _:
                lines = re.findall(r"^\$ (.*)$", body, re.MULTILINE)
                body = "".join(f"$ {line}\n{self.shell(line)}" for line in lines)
        return f"```{language}\n{body}```"

    def file(self, body: str) -> str:
        """Write a file. One that an editor has a line for is shown as it is instead, without that line."""
        path = self.directory / file_name(body)
        if path.exists() and (text := path.read_text()).startswith(EDITOR):
            return text.replace(text.splitlines()[0], f"# {file_name(body)}", 1)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(body)
        return body

    def sql(self, script: str) -> None:
        """What somebody does who knows MLflow's tables."""
        database = file_name(script) if script.startswith("--") else "mlflow.db"
        with closing(sqlite3.connect(self.directory / database)) as db:
            db.executescript(script)

    def client(self) -> Any:
        """MLflow's own client, right on the database."""
        from mlflow import MlflowClient

        store = f"sqlite:///{self.directory / 'mlflow.db'}"
        return MlflowClient(store, store)

    def shell(self, line: str) -> str:
        """What one line of a console prints, with what must vary made equal."""
        line, _, file = line.replace("$PWD", str(self.directory)).partition(" > ")
        line, pipe, lines = re.fullmatch(r"(.*?)(?: \| (head|tail) -n (\d+))?", line).groups()  # type: ignore[union-attr]  # it matches every line
        for text, place in self.places.items():
            line = line.replace(text, place)
        # one stream it is anyway
        words = shlex.split(line.removesuffix(" 2>&1"))
        with self.environment.context() as environment:
            while "=" in words[0]:
                environment.setenv(*words.pop(0).split("=", 1))
            if words[0] == "export":
                self.environment.setenv(*words[1].split("=", 1))
                return ""
            output, code = (COMMANDS | self.commands)[words[0]](words[1:])
        if pipe:
            part = slice(int(lines)) if pipe == "head" else slice(-int(lines), None)
            output, code = "".join(output.splitlines(keepends=True)[part]), 0
        if file:
            (self.directory / file).write_text(output)
            return ""
        for text, place in self.places.items():
            output = output.replace(place, text)
        for pattern, equal in (
            (re.compile(re.escape(str(self.directory))), "/stack"),
            *VARYING,
            *self.varying,
        ):
            output = pattern.sub(equal, output)
        # an editor would take it away
        output = re.sub(r" +$", "", output, flags=re.MULTILINE)
        return output + (f"[exit {code}]\n" if code else "")


def file_name(body: str) -> str:
    """The file that a block's first line names."""
    match = FILE.match(body)
    assert match, f"the first line should name the file:\n{body}"
    return match[1]


def clear_environment(environment: pytest.MonkeyPatch) -> None:
    """Without what would change what a command prints."""
    for name in [name for name in os.environ if name.startswith(("LAC_", "MLFLOW_", *CI))]:
        environment.delenv(name)


def make_databases(directory: Path, users: tuple[str, ...] = ()) -> None:
    """MLflow's databases, empty but for users."""
    fresh_sqlite(directory, name="mlflow.db")
    fresh_sqlite(directory, "auth", name="basic_auth.db")
    with closing(sqlite3.connect(directory / "basic_auth.db")) as db, db:
        db.executemany(
            "INSERT INTO users (username, password_hash, is_admin) VALUES (?, 'x', 0)",
            [(user,) for user in users],
        )


@contextmanager
def one_stream() -> Iterator[io.StringIO]:
    """Both streams, as in a log that takes both."""
    with io.StringIO() as out, redirect_stdout(out), redirect_stderr(out):
        yield out


def lac(args: list[str]) -> tuple[str, int]:
    """The command itself, in this process."""
    with one_stream() as out:
        code = run(args)
        return out.getvalue(), code


def cat(args: list[str]) -> tuple[str, int]:
    """The files."""
    return "".join(Path(arg).read_text() for arg in args), 0


def echo(args: list[str]) -> tuple[str, int]:
    """The words."""
    return " ".join(args) + "\n", 0


def rm(args: list[str]) -> tuple[str, int]:
    """Files go."""
    for arg in args:
        Path(arg).unlink()
    return "", 0


def sed(args: list[str]) -> tuple[str, int]:
    """`sed -i s/A/B/ FILE`: the first A in each line."""
    flag, script, path = args
    command, pattern, text, rest = script.split(script[1])
    assert (flag, command, rest) == ("-i", "s", "")
    lines = Path(path).read_text().splitlines()
    result = [re.sub(pattern, text, line, count=1) for line in lines]
    assert result != lines, f"`{pattern}` matches nothing in {path}"
    Path(path).write_text("\n".join(result) + "\n")
    return "", 0


def here(script: str) -> str:
    """With addresses that stay good elsewhere: MLflow keeps a database open by its address."""
    return script.replace("sqlite:///", f"sqlite:///{Path.cwd()}/")


def python(args: list[str]) -> tuple[str, int]:
    """A script, in this process: mlflow is imported once. Its log isn't part of what it prints."""
    [path] = args
    script = compile(here(Path(path).read_text()), path, "exec")
    # a process of its own knows of no experiment that another script chose
    fluent._active_experiment_id = None
    os.environ.pop("MLFLOW_EXPERIMENT_ID", None)
    with (
        redirect_stderr(io.StringIO()),
        io.StringIO() as out,
        redirect_stdout(out),
        tracked_at(here("sqlite:///mlflow.db")),
    ):
        exec(script, {"__name__": "__main__"})
        return out.getvalue(), 0


COMMANDS: dict[str, Command] = {"lac": lac, "cat": cat, "echo": echo, "rm": rm, "sed": sed, "python": python}
