"""One SQL step: written as declared, and read back before it is committed."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.bench import Bench, clean, converge
from support.mlflow_fixture import fresh_sqlite
from support.saved_plans import outside

from lifecycle_as_code.kinds.experiment import Experiment
from lifecycle_as_code.kinds.registered_model import RegisteredModel
from lifecycle_as_code.model.diagnostics import LacError

FRAUD = RegisteredModel(name="fraud")
OTHER = RegisteredModel(name="other")


@pytest.mark.any_store
def test_a_deleted_experiment_comes_back_with_the_description_that_is_declared(bench: Bench) -> None:
    described = Experiment(name="nightly", description="Trains.", tags={"team": "risk"})
    converge(bench.stack([described, OTHER]))
    converge(bench.stack([OTHER]))
    bare = Experiment(name="nightly")
    converge(bench.stack([bare, OTHER]))
    assert bench.live()[bare.address].spec.description == ""  # type: ignore[attr-defined]  # it is an experiment
    assert clean(bench.stack([bare, OTHER]))


def test_what_a_trigger_keeps_was_not_deleted(tmp_path: Path) -> None:
    bench = Bench(tmp_path, fresh_sqlite(tmp_path))
    converge(bench.stack([FRAUD, OTHER]))
    outside(
        bench,
        "CREATE TRIGGER keep AFTER DELETE ON registered_models BEGIN"
        " INSERT INTO registered_models (workspace, name) VALUES (OLD.workspace, OLD.name); END",
    )
    with pytest.raises(LacError, match=r"registered_model\.fraud still exists"):
        converge(bench.stack([OTHER]))
    assert FRAUD.address in bench.records()
