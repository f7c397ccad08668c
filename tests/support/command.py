"""The command `lac` as a process of its own, and the files of a stack that it works on."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

LAC = [sys.executable, "-m", "lifecycle_as_code"]
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
        """Run `lac ARGS` and check its exit code."""
        found = subprocess.run(
            [*LAC, "-C", str(self.path), *args],
            env=environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        expected = [expect] if isinstance(expect, int) else expect
        assert found.returncode in expected, f"exit code {found.returncode}\n{found.stdout}\n{found.stderr}"
        return found


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
