"""The registry's rules over a whole plan, asked of worlds made by hand."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import pytest
from pydantic import ValidationError

from lifecycle_as_code.kinds.base import SqlKind
from lifecycle_as_code.kinds.experiment import Experiment, Experiments
from lifecycle_as_code.kinds.model_alias import ModelAlias, ModelAliases
from lifecycle_as_code.kinds.model_version import ModelVersion, ModelVersions
from lifecycle_as_code.kinds.registered_model import RegisteredModel, RegisteredModels
from lifecycle_as_code.model.plan import Action, Change
from lifecycle_as_code.model.snapshot import Live, Observed, Recorded
from lifecycle_as_code.model.spec import Address, Spec
from lifecycle_as_code.planning.guards import PlanContext


def problems(kind: SqlKind[Any], made: Iterable[Spec], live: Live | None = None) -> list[str]:
    changes = {
        spec.address: Change(spec.address, spec.store, Action.CREATE, "declared", None, spec) for spec in made
    }
    desired = {address: change.after for address, change in changes.items() if change.after}
    world = PlanContext(desired, Recorded(), live or Live(), changes, {})
    return [f"{d.code}: {d.detail}" for d in kind.check(world)]


def version(number: int, model: str = "m") -> ModelVersion:
    return ModelVersion(model=model, version=number, source="s3://bucket/x")


def there(*versions: int, gone: frozenset[int] = frozenset()) -> Live:
    return Live(
        {version(n).address: Observed(version(n), tombstone=n in gone) for n in versions},
    )


@pytest.mark.parametrize(
    ("live", "made", "due"),
    [
        (there(), [1], None),
        (there(), [1, 2, 3], None),
        (there(), [2], 1),
        (there(1, 2), [3], None),
        (there(1, 2), [4], 3),
        (there(1, 2), [3, 5], 4),
        (there(1, 2, gone=frozenset({2})), [3], None),
        (there(1, 2, 3, gone=frozenset({3})), [5], 4),
    ],
)
def test_versions_are_counted_as_mlflow_counts_them(live: Live, made: list[int], due: int | None) -> None:
    found = problems(ModelVersions(), map(version, made), live)
    assert [f"is {due}." in problem for problem in found] == ([] if due is None else [True])


def test_each_model_counts_its_own_versions() -> None:
    assert not problems(ModelVersions(), [version(3), version(1, "n")], there(1, 2))


def test_an_alias_that_is_a_number_is_not_made_but_may_stay() -> None:
    alias = ModelAlias(model="m", alias="12", version=1)
    (problem,) = problems(ModelAliases(), [alias])
    assert problem.startswith("ambiguous-alias")


def test_a_prompts_name_is_taken() -> None:
    prompts = Live(referents=frozenset({Address("prompt", ("m",))}))
    (problem,) = problems(RegisteredModels(), [RegisteredModel(name="m"), RegisteredModel(name="n")], prompts)
    assert problem == "is-a-prompt: `m` is a prompt in MLflow, and a model can't have a prompt's name."


@pytest.mark.parametrize(("location", "refused"), [("s3://b/old", False), ("s3://b/new", True)])
def test_a_deleted_experiment_comes_back_with_its_own_files(location: str, refused: bool) -> None:
    buried = Experiment(name="e", artifact_location="s3://b/old")
    live = Live({buried.address: Observed(buried, tombstone=True)})
    assert bool(problems(Experiments(), [Experiment(name="e", artifact_location=location)], live)) == refused


@pytest.mark.parametrize(
    ("spec", "fields", "said"),
    [
        (RegisteredModel, {"name": "a/b"}, "can't contain `/` or `:`"),
        (RegisteredModel, {"name": "m", "description": "x" * 5001}, "at most 5000 characters"),
        (RegisteredModel, {"name": "m", "tags": {"a": "x" * 5001}}, "at most 5000 characters"),
        (RegisteredModel, {"name": "m", "tags": {"mlflow.prompt.is_prompt": "true"}}, "mark of a prompt"),
        (RegisteredModel, {"name": "m", "tags": {"a": 1}}, "valid string"),
        (ModelVersion, {"model": "m", "version": 0, "source": "s3://b/x"}, "greater than or equal to 1"),
        (ModelVersion, {"model": "m", "version": 1, "source": "models:/m@champion"}, "aliases"),
        (ModelVersion, {"model": "m", "version": 1, "source": "s3://b/x", "stage": "Live"}, "'Archived'"),
        (ModelVersion, {"model": "m", "version": 1, "source": "s3://b/x", "run_id": ""}, "a run id is"),
        (ModelAlias, {"model": "m", "alias": "latest", "version": 1}, "highest version"),
        (ModelAlias, {"model": "m", "alias": "v1", "version": 1}, "own name for a version"),
        (Experiment, {"name": "e", "artifact_location": "runs:/a/b"}, "`runs:/`"),
        (Experiment, {"name": "e", "artifact_location": "mlruns"}, "absolute path"),
        (Experiment, {"name": "e", "tags": {"mlflow.note.content": "x"}}, "write `description:`"),
    ],
)
def test_what_mlflow_or_its_columns_refuse_is_refused_in_the_manifest(
    spec: type[Spec], fields: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        spec.model_validate(fields)


@pytest.mark.parametrize("version", [2**31, 10**11])
def test_a_version_that_no_store_can_hold_is_refused(version: int) -> None:
    with pytest.raises(ValidationError, match="2147483647"):
        ModelVersion(model="fraud", version=version, source="s3://models/1")
    with pytest.raises(ValidationError, match="2147483647"):
        ModelAlias(model="fraud", alias="champion", version=version)
