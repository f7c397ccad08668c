"""What may import what, and what a command loads: both are easily lost and hard to win back."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.mlflow_fixture import fresh_sqlite

ROOT = Path(__file__).resolve().parents[1]

NEVER = {"mlflow", "ray", "alembic", "pandas", "numpy", "ruamel.yaml"}
"""Importing one of these costs more than a whole plan."""

MANIFEST = """
registered_models:
  - name: fraud
    tags: {team: risk}
    versions:
      - {version: 1, source: s3://models/fraud/1}
    aliases: {champion: 1}
roles:
  - {name: analysts}
permissions:
  - {role: analysts, resource_type: registered_model, resource: fraud, level: READ}
"""


def loaded(program: str, directory: Path, *args: str) -> set[str]:
    """The modules that a program of its own has loaded when it ends."""
    end = "\nprint(*sys.modules, sep='\\n')"
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{program}{end}", *args],
        cwd=directory,
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.splitlines())


def loaded_by(directory: Path, *args: str) -> set[str]:
    """The modules that `lac …` loads."""
    return loaded("from lifecycle_as_code.cli import run; assert run(sys.argv[1:]) == 0", directory, *args)


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    """A stack with MLflow's two databases, nothing applied yet."""
    fresh_sqlite(tmp_path, name="mlflow.db")
    fresh_sqlite(tmp_path, "auth", name="basic_auth.db")
    (tmp_path / "lac.yaml").write_text("name: payments\nauth_store: sqlite:///basic_auth.db\n")
    (tmp_path / "models.yaml").write_text(MANIFEST)
    return tmp_path


def test_imports_go_downward_only() -> None:
    """The contracts stand in pyproject.toml."""
    program = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_package_loads_nothing_until_a_name_is_used(tmp_path: Path) -> None:
    ours = {name for name in loaded("import lifecycle_as_code", tmp_path) if name.startswith("lifecycle_as")}
    assert ours == {"lifecycle_as_code"}


def test_the_public_names_are_there_and_no_others() -> None:
    import lifecycle_as_code

    for name in lifecycle_as_code.__all__:
        assert getattr(lifecycle_as_code, name) is not None
    with pytest.raises(AttributeError, match="Stak"):
        _ = lifecycle_as_code.Stak


def test_a_plan_never_loads_mlflow_or_ray(stack: Path) -> None:
    found = loaded_by(stack, "plan")
    assert not NEVER & found
    assert "lifecycle_as_code.stack" in found


@pytest.mark.parametrize("verb", ["validate", "plan", "drift"])
def test_without_endpoints_nothing_is_loaded_that_is_for_them(verb: str, stack: Path) -> None:
    assert not (NEVER | {"httpx"}) & loaded_by(stack, verb)


def test_usage_is_counted_without_what_runs_on_the_cluster(stack: Path) -> None:
    with (stack / "lac.yaml").open("a") as file:
        file.write("usage_store: sqlite:///mlflow.db\n")
    found = loaded_by(stack, "usage")
    assert not (NEVER | {"orjson", "pyarrow", "lifecycle_as_code.serving.spool"}) & found
    assert "lifecycle_as_code.stores.usage" in found
    assert "lifecycle_as_code.stores.usage" not in loaded_by(stack, "plan")


def test_what_compares_is_loaded_only_where_something_differs(stack: Path) -> None:
    """DeepDiff costs more than a whole plan without differences."""
    assert not (NEVER | {"deepdiff"}) & loaded_by(stack, "apply", "--auto-approve")
    assert not (NEVER | {"deepdiff"}) & loaded_by(stack, "plan")
    manifest = stack / "models.yaml"
    manifest.write_text(MANIFEST.replace("team: risk", "team: shop"))
    assert "deepdiff" in loaded_by(stack, "plan")


def test_what_runs_on_the_cluster_loads_nothing_of_the_command(tmp_path: Path) -> None:
    program = "import lifecycle_as_code.serving.routing, lifecycle_as_code.serving.references"
    ours = {name for name in loaded(program, tmp_path) if name.startswith("lifecycle_as_code.")}
    beside: Any = {name for name in ours if not name.startswith("lifecycle_as_code.serving")}
    assert beside <= {"lifecycle_as_code.model.diagnostics"}
