"""Grants that MLflow leaves when what they name is gone: nobody gains access by them unseen."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain

import pytest
from sqlalchemy import insert, select
from support.auth_databases import add
from support.bench import Bench, converge

from lifecycle_as_code.kinds.base import Databases
from lifecycle_as_code.kinds.experiment import Experiment
from lifecycle_as_code.kinds.registered_model import RegisteredModel
from lifecycle_as_code.model.spec import Spec
from lifecycle_as_code.stores.mlflow import tables
from lifecycle_as_code.stores.sql.store import open_store, writing


@contextmanager
def databases(bench: Bench) -> Iterator[Databases]:
    """Both of them, open for writing."""
    assert bench.auth_store
    registry = open_store(bench.store, role="tracking", base=bench.directory)
    auth = open_store(bench.auth_store, role="auth", base=bench.directory)
    with writing(registry) as first:
        if bench.store == bench.auth_store:
            yield Databases(first, first)
            return
        with writing(auth) as second:
            yield Databases(first, second)


@pytest.fixture
def left(bench: Bench) -> Bench:
    """Ben's own MANAGE, and a role's, on the next experiments to be made and on a model that is gone."""
    with databases(bench) as db:
        add(db, tables.users, {"id": 1, "username": "ben", "password_hash": "x", "is_admin": False})
        for number, role in enumerate(("__user_1__", "ops"), 1):
            add(db, tables.roles, {"id": number, "name": role, "workspace": "default"})
            add(db, tables.user_role_assignments, {"user_id": 1, "role_id": number})
            for kind, resource in (("experiment", str(number)), ("registered_model", "churn")):
                grant = {"resource_type": kind, "resource_pattern": resource, "permission": "MANAGE"}
                add(db, tables.role_permissions, {"role_id": number, **grant})
    return bench


def gains(bench: Bench, *specs: Spec) -> list[tuple[str, str, str]]:
    """Who gains what by the plan, which is applied."""
    plan, events = converge(bench.stack(specs))
    assert events
    rows = chain.from_iterable(impact.access for impact in plan.review.impacts)
    return [(row.user, str(row.resource), row.after) for row in rows if row.after != "READ"]


def test_a_new_experiment_gets_no_id_that_a_grant_names(left: Bench) -> None:
    specs = [Experiment(name="payroll"), Experiment(name="hiring", tags={"a": "b"})]
    assert gains(left, *specs) == []
    with databases(left) as db:
        held = db.grants.execute(select(tables.role_permissions.c.resource_pattern)).scalars()
        assert sorted(held) == ["1", "2", "churn", "churn"]
        # what MLflow makes next finds a number
        columns = {"workspace": "default", "lifecycle_stage": "active"}
        db.registry.execute(insert(tables.experiments).values(name="next", **columns))
        query = select(tables.experiments.c.name, tables.experiments.c.experiment_id)
        ids = {row.name: row.experiment_id for row in db.registry.execute(query)}
    assert sorted(ids.values()) == [0, 3, 4, 5]
    for spec in specs:
        found = left.live()[spec.address].spec
        assert isinstance(found, Experiment)
        assert (found.artifact_location or "").endswith(f"/{ids[spec.name]}")
        assert found.tags == spec.tags


@pytest.mark.any_store
def test_a_deleted_experiment_that_is_restored_and_a_model_made_again_say_who_gains(left: Bench) -> None:
    with databases(left) as db:
        gone = {"experiment_id": 1, "name": "old", "workspace": "default", "lifecycle_stage": "deleted"}
        add(db, tables.experiments, gone)
    assert gains(left, Experiment(name="old"), RegisteredModel(name="churn")) == [
        ("ben", "experiment.old", "MANAGE"),
        ("ben", "registered_model.churn", "MANAGE"),
    ]
