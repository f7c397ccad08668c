"""A version's source is resolved once: what becomes of its run afterwards changes nothing about it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from sqlalchemy import text
from support.bench import Bench, converge
from support.mlflow_fixture import fresh_sqlite

from lifecycle_as_code.kinds.model_version import ModelVersion
from lifecycle_as_code.kinds.registered_model import RegisteredModel
from lifecycle_as_code.model.diagnostics import LacError
from lifecycle_as_code.model.spec import Spec
from lifecycle_as_code.stores.sql.store import open_store, writing

RUN, OTHER = "a" * 32, "b" * 32
STANDARD, ELSEWHERE = f"s3://bucket/0/{RUN}/artifacts", f"s3://bucket/archive/{RUN}"


@pytest.fixture
def registry(tmp_path: Path) -> Bench:
    """An MLflow with one run, whose files are where MLflow puts them."""
    bench = Bench(tmp_path, fresh_sqlite(tmp_path))
    execute(
        bench,
        f"insert into runs (run_uuid, experiment_id, lifecycle_stage, artifact_uri)"
        f" values ('{RUN}', 0, 'active', '{STANDARD}')",
    )
    return bench


def execute(bench: Bench, *statements: str) -> None:
    """As another program might."""
    with writing(open_store(bench.store, role="tracking", base=bench.directory)) as db:
        for statement in statements:
            db.execute(text(statement))


def manifest(source: str = f"runs:/{RUN}/deep/model", run_id: str | None = None) -> Sequence[Spec]:
    return [RegisteredModel(name="m"), ModelVersion(model="m", version=1, source=source, run_id=run_id)]


def codes(bench: Bench, specs: Sequence[Spec]) -> list[str]:
    """Of the errors that planning ends with; empty where there is nothing to do."""
    try:
        plan = bench.stack(specs).plan()
    except LacError as error:
        return [found.code for found in error.diagnostics]
    assert not plan.changes
    return []


FATES = {
    "there": [],
    "purged": [f"delete from runs where run_uuid = '{RUN}'"],
    "in another workspace": [
        "insert into workspaces (name) values ('team-a')",
        "update experiments set workspace = 'team-a'",
    ],
    "moved": ["update runs set artifact_uri = 's3://new/' || run_uuid"],
    "deleted": ["update runs set lifecycle_stage = 'deleted'"],
}
"""What may become of a run."""


def each_fate(bench: Bench) -> Iterator[str]:
    """One after the other, each from the same beginning."""
    path = Path(bench.store.removeprefix("sqlite:///"))
    before = path.read_bytes()
    for fate, statements in FATES.items():
        path.write_bytes(before)
        execute(bench, *statements)
        yield fate


@pytest.mark.parametrize("root", [STANDARD, ELSEWHERE], ids=["where MLflow puts files", "elsewhere"])
def test_a_run_that_is_gone_leaves_the_plan_empty(registry: Bench, root: str) -> None:
    execute(registry, f"update runs set artifact_uri = '{root}'")
    converge(registry.stack(manifest()))
    for fate in each_fate(registry):
        assert codes(registry, manifest()) == [], fate


def test_another_path_or_run_is_refused_whether_or_not_the_run_is_there(registry: Bench) -> None:
    converge(registry.stack(manifest()))
    for fate in each_fate(registry):
        for source in (f"runs:/{RUN}/model", f"runs:/{RUN}/deep", f"runs:/{OTHER}/deep/model"):
            assert codes(registry, manifest(source)) == ["immutable-field"], (fate, source)


def test_a_new_version_needs_its_run(registry: Bench) -> None:
    execute(registry, *FATES["purged"])
    assert codes(registry, manifest()) == ["source-not-found"]


@pytest.mark.parametrize("root", [STANDARD, ELSEWHERE], ids=["where MLflow puts files", "elsewhere"])
def test_a_destroyed_version_is_created_again_without_its_run(registry: Bench, root: str) -> None:
    execute(registry, f"update runs set artifact_uri = '{root}'")
    stack = registry.stack(manifest())
    converge(stack)
    before = registry.live()
    list(stack.apply(stack.plan(destroy=True)))
    execute(registry, *FATES["purged"])
    plan = stack.check_plan(stack.read_plan(stack.save_plan(stack.plan())))
    list(stack.apply(plan))
    assert {a: seen.spec for a, seen in registry.live().items()} == {a: s.spec for a, s in before.items()}
    assert codes(registry, manifest()) == []


def test_a_run_may_be_another_servers(registry: Bench) -> None:
    specs = manifest("s3://elsewhere/churn/1", OTHER)
    converge(registry.stack(specs))
    (version,) = (seen.spec for seen in registry.live().values() if isinstance(seen.spec, ModelVersion))
    assert version.run_id == OTHER
    assert codes(registry, specs) == []


def test_a_run_that_tells_whether_the_source_may_be_used_has_to_be_there(registry: Bench) -> None:
    proxy = "https://localhost/api/2.0/mlflow-artifacts/artifacts/churn"
    for source in ("/srv/churn", "file:///srv/churn", "mlflow-artifacts:/0/churn", proxy, f"runs:/{OTHER}/m"):
        assert codes(registry, manifest(source, OTHER)) == ["source-not-found"], source
