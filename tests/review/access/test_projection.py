"""What a plan is said to leave behind is what an apply of it leaves in MLflow's auth database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlalchemy import insert, select
from support.bench import Bench, converge
from support.mlflow_fixture import fresh_sqlite

from lifecycle_as_code.kinds.experiment import Experiment
from lifecycle_as_code.kinds.permission import Permission
from lifecycle_as_code.kinds.registered_model import RegisteredModel
from lifecycle_as_code.kinds.role import Role
from lifecycle_as_code.model.access import AccessState
from lifecycle_as_code.model.snapshot import Move
from lifecycle_as_code.model.spec import Address, Spec
from lifecycle_as_code.review.access.changes import list_access_changes
from lifecycle_as_code.review.access.effective import Effective
from lifecycle_as_code.review.access.projection import project_state
from lifecycle_as_code.stores.mlflow.auth import read_access_state
from lifecycle_as_code.stores.mlflow.tables import (
    experiments,
    role_permissions,
    roles,
    user_role_assignments,
    users,
)
from lifecycle_as_code.stores.sql.store import open_store, reading, writing


def model(name: str) -> RegisteredModel:
    return RegisteredModel(name=name)


def grant(role: str, kind: str, name: str, given: str) -> Permission:
    return Permission.model_validate({"role": role, "resource_type": kind, "resource": name, "level": given})


def renamed(before: str, after: str) -> Move:
    return Move(Address("registered_model", (before,)), Address("registered_model", (after,)))


BEGIN: Sequence[Spec] = (
    model("fraud"),
    model("churn"),
    Experiment(name="nightly"),
    Role(name="analysts", members=("ann",)),
    Role(name="ops", members=("ann", "bob")),
    grant("analysts", "registered_model", "fraud", "READ"),
    grant("analysts", "experiment", "nightly", "EDIT"),
    grant("ops", "registered_model", "*", "EDIT"),
)

# each begins where the one before it ended
STAGES: dict[str, tuple[Sequence[Spec], dict[str, Any]]] = {
    "members, levels and a new role": (
        (
            *BEGIN[:3],
            Role(name="analysts", members=("bob", "cid")),
            Role(name="barred", members=("ann",)),
            BEGIN[4],
            grant("analysts", "registered_model", "fraud", "MANAGE"),
            grant("barred", "registered_model", "churn", "DENY"),
            grant("barred", "serving_endpoint", "*", "USE"),
            grant("ops", "registered_model", "*", "EDIT"),
        ),
        {},
    ),
    "a rename, with what hangs on it": (
        (
            model("scam"),
            model("churn"),
            Experiment(name="nightly"),
            Role(name="analysts", members=("bob", "cid")),
            BEGIN[4],
            grant("analysts", "registered_model", "scam", "EDIT"),
            grant("ops", "registered_model", "*", "EDIT"),
        ),
        {"moves": (renamed("fraud", "scam"),)},
    ),
    "models go, and users' own grants with them": ((Experiment(name="nightly"), BEGIN[4]), {}),
    "somebody joins": ((Experiment(name="nightly"), Role(name="ops", members=("ann", "bob", "cid"))), {}),
}


def begun(directory: Path) -> Bench:
    """Databases with three users, one of whom has grants of their own on both models."""
    bench = Bench(directory, fresh_sqlite(directory), fresh_sqlite(directory, "auth"))
    people = [{"id": number, "username": name} for number, name in enumerate(("ann", "bob", "cid"), 1)]
    own = [{"role_id": 99, "resource_type": "registered_model", "permission": "MANAGE"}]
    with writing(open_store(str(bench.auth_store), role="auth", base=directory)) as db:
        db.execute(insert(users), [{"password_hash": "x", "is_admin": False} | person for person in people])
        db.execute(insert(roles), [{"id": 99, "name": "__user_3__", "workspace": "default"}])
        patterns = [{"resource_pattern": name} for name in ("fraud", "churn")]
        db.execute(insert(role_permissions), [row | pattern for row in own for pattern in patterns])
        db.execute(insert(user_role_assignments), [{"user_id": 3, "role_id": 99}])
    converge(bench.stack(BEGIN))
    # as MLflow leaves them when what they name is deleted
    lost = {"registered_model": "lost", "experiment": "999", "prompt": "lost"}
    left = [{"resource_type": kind, "resource_pattern": name} for kind, name in lost.items()]
    with writing(open_store(str(bench.auth_store), role="auth", base=directory)) as db:
        ops = db.scalars(select(roles.c.id).where(roles.c.name == "ops")).one()
        db.execute(insert(role_permissions), [row | {"role_id": ops, "permission": "MANAGE"} for row in left])
        row = {"resource_type": "experiment", "resource_pattern": nightly(bench)}
        db.execute(insert(role_permissions), row | {"role_id": ops, "permission": "USE"})
    return bench


def nightly(bench: Bench) -> str:
    """The experiment's id."""
    with reading(open_store(bench.store, role="tracking", base=bench.directory)) as db:
        query = select(experiments.c.experiment_id).where(experiments.c.name == "nightly")
        return str(db.scalars(query).one())


def read(bench: Bench) -> AccessState:
    with (
        reading(open_store(str(bench.auth_store), role="auth", base=bench.directory)) as auth,
        reading(open_store(bench.store, role="tracking", base=bench.directory)) as registry,
    ):
        return read_access_state(auth, registry, "default", default_permission="READ")


def in_order(state: AccessState) -> AccessState:
    sorted_ = [replace(role, grants=tuple(sorted(role.grants))) for role in state.roles]
    return replace(state, roles=tuple(sorted(sorted_, key=lambda role: role.name)))


def test_stage_after_stage(tmp_path: Path) -> None:
    bench = begun(tmp_path)
    for about, (specs, more) in STAGES.items():
        before = read(bench)
        plan, _ = converge(bench.stack(specs, **more))
        after = read(bench)
        assert in_order(project_state(before, plan.differences, "default")) == in_order(after), about
        rows = [row for found in list_access_changes(plan, before).values() for row in found]
        assert rows, about
        for row in rows:
            if row.why.endswith("deleted"):
                assert row.after == "NO_PERMISSIONS"
            else:
                assert (
                    row.after == Effective(after).decide(row.user, row.resource.kind, row.resource.name).level
                ), row
    # the last one, as it is told: without what isn't there
    told = [(str(r.resource), r.user, r.after) for impact in plan.review.impacts for r in impact.access]
    assert told == [("experiment.nightly", "cid", "USE")]
