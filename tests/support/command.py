"""The command `lac` as a process of its own, and the files of a stack that it works on."""

from __future__ import annotations

import atexit
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from support.process_template import Zygote, zygote

LAC = [sys.executable, "-m", "lifecycle_as_code"]
LOADED = (
    "lifecycle_as_code.stack",
    "lifecycle_as_code.kinds",
    "lifecycle_as_code.stores.sql.store",
    "sqlalchemy.dialects.sqlite.pysqlite",
    "sqlalchemy.dialects.postgresql.psycopg",
    "psycopg",
    "httpx",
    "deepdiff",
    "rich.console",
)
"""What most commands import late."""
PATIENCE = 300
"""Seconds; a command that takes longer hangs."""


def environment() -> dict[str, str]:
    """Ours without what would change a command's output or its stores."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("LAC_", "MLFLOW_", "PYTEST_"))}


@contextmanager
def tracked_at(uri: str) -> Iterator[None]:
    """MLflow looks logged models up at the process's own address, whatever a client's."""
    import mlflow

    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(before)


@dataclass(frozen=True, slots=True)
class Directory:
    """A stack's directory: `lac.yaml`, and one manifest."""

    path: Path

    def settings(self, store: str, *, auth_store: str = "", name: str = "test") -> Directory:
        """Write `lac.yaml`."""
        self.path.mkdir(exist_ok=True)
        lines = [
            f"name: {name}",
            f'store: "{store}"',
            *([f'auth_store: "{auth_store}"'] if auth_store else []),
        ]
        (self.path / "lac.yaml").write_text("\n".join(lines) + "\n")
        return self

    def declare(self, manifest: str, file: str = "models.yaml") -> Directory:
        """Write a manifest in the place of the one before."""
        (self.path / file).write_text(manifest)
        return self

    def start(self, *args: str) -> subprocess.Popen[str]:
        """Begin `lac ARGS`; whoever calls ends it."""
        return subprocess.Popen(
            [*LAC, "-C", str(self.path), *args],
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def lac(self, *args: str, expect: int | Sequence[int] = 0) -> subprocess.CompletedProcess[str]:
        """Run `lac ARGS`, in a fork of a process that has everything imported, and check its exit code."""
        ran = warm_process().command(
            *("-C", str(self.path), *args), environ=environment(), directory=Path.cwd(), seconds=PATIENCE
        )
        found = subprocess.CompletedProcess([*args], ran.code, ran.out.decode(), ran.err.decode())
        expected = [expect] if isinstance(expect, int) else expect
        assert found.returncode in expected, f"exit code {found.returncode}\n{found.stdout}\n{found.stderr}"
        return found


@cache
def warm_process() -> Zygote:
    """What commands are forked from, one for all tests of this process; it ends with it."""
    until_done = ExitStack()
    process = until_done.enter_context(zygote())
    atexit.register(until_done.close)
    process.load(*LOADED)
    return process


def models(count: int, versions: int = 1, *, text: str = "Scores payments.") -> str:
    """A manifest of `count` models with so many versions each, and an alias on the last."""
    parts = ["registered_models:"]
    for number in range(count):
        parts += [
            f"  - name: model-{number:05}",
            f"    description: {text}",
            "    tags: {team: risk, tier: gold}",
        ]
        parts.append("    versions:")
        for version in range(1, versions + 1):
            parts += [
                f"      - version: {version}",
                f"        source: s3://bucket/model-{number:05}/{version}",
                "        tags: {validation_status: approved}",
            ]
        parts.append(f"    aliases: {{champion: {versions}}}")
    return "\n".join(parts) + "\n"
