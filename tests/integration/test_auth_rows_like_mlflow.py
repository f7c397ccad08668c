"""Roles and grants: what we write is what MLflow's handlers write, and what they wrote we read.

One running server with basic-auth; each test keeps to names of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from support.auth_client import GRANTS, ROLES, V2, V3, Mlflow, Reader, numbers
from support.mlflow_fixture import ADMIN, MlflowServer

from lifecycle_as_code.kinds.base import Databases, Filter
from lifecycle_as_code.kinds.experiment import Experiment, Experiments
from lifecycle_as_code.kinds.permission import Permission
from lifecycle_as_code.kinds.registered_model import RegisteredModel, RegisteredModels
from lifecycle_as_code.kinds.role import Role

MODELS = RegisteredModels()


@pytest.fixture(scope="module")
def mlflow(basic_auth_server: MlflowServer) -> Iterator[Mlflow]:
    with httpx.Client(base_url=basic_auth_server.url, timeout=60) as http:
        yield Mlflow(basic_auth_server, http)


class TestRowsLikeMlflows:
    """The same action by an administrator over REST on one role, and by us on its twin."""

    @pytest.fixture
    def same(self, mlflow: Mlflow) -> Callable[[Callable[..., Any], Callable[..., Any]], None]:
        theirs, ours = (f"twin{next(numbers)}" for _ in range(2))

        def same(by_rest: Callable[[str], Any], by_us: Callable[[Databases, str], Any]) -> None:
            by_rest(theirs)
            with mlflow.writing() as db:
                by_us(db, ours)
            assert mlflow.rows(ours) == mlflow.rows(theirs)

        return same

    def test_a_role_from_birth_to_death(self, mlflow: Mlflow, same: Callable[..., None]) -> None:
        ann, bob = mlflow.user(), mlflow.user()

        def rest(action: str, method: str = "POST", **body: Any) -> Callable[[str], Any]:
            return lambda name: mlflow.done(
                method, f"{V3}/roles/{action}", role_id=mlflow.role_id(name), **body
            )

        def assigning(*names: str, action: str = "assign", method: str = "POST") -> Callable[[str], Any]:
            return lambda role: [rest(action, method, username=name)(role) for name in names]

        def update(before: dict[str, Any], after: dict[str, Any]) -> Callable[[Databases, str], Any]:
            return lambda db, name: ROLES.update(db, [(Role(name=name, **before), Role(name=name, **after))])

        same(
            lambda name: mlflow.done("POST", f"{V3}/roles/create", name=name, workspace="default"),
            lambda db, name: ROLES.create(db, [Role(name=name)]),
        )
        both = {"members": (ann, bob)}
        same(assigning(ann, bob), update({}, both))
        same(rest("update", "PATCH", description="Why"), update(both, both | {"description": "Why"}))
        same(rest("update", "PATCH", description=""), update(both | {"description": "Why"}, both))
        same(
            assigning(ann, action="unassign", method="DELETE"),
            update(both, {"members": (bob,)}),
        )
        same(
            rest("delete", "DELETE"),
            lambda db, name: ROLES.delete(db, [Role(name=name, members=(bob,))]),
        )
        assert orphans(mlflow) == 0

    def test_a_role_with_a_description(self, mlflow: Mlflow, same: Callable[..., None]) -> None:
        given = {"description": "Why"}
        same(
            lambda name: mlflow.done("POST", f"{V3}/roles/create", name=name, workspace="default", **given),
            lambda db, name: ROLES.create(db, [Role(name=name, **given)]),
        )

    def test_grants_of_every_type(self, mlflow: Mlflow, same: Callable[..., None]) -> None:
        model, (name, number) = mlflow.model(), mlflow.experiment()
        with mlflow.writing() as db:
            db.registry.exec_driver_sql(
                "INSERT INTO endpoints "
                "(endpoint_id, name, created_at, last_updated_at, usage_tracking, workspace) "
                "VALUES ('e-42', 'chat', 1, 1, 0, 'default')"
            )
        # as people write it, and as MLflow's API takes it
        grants = [
            ("registered_model", model, model, "READ"),
            ("registered_model", "*", "*", "DENY"),
            ("experiment", name, number, "EDIT"),
            ("experiment", "*", "*", "READ"),
            ("prompt", "ask", "ask", "MANAGE"),
            ("gateway_endpoint", "chat", "e-42", "USE"),
            ("workspace", "*", "*", "USE"),
        ]

        def written(role: str, level: str = "") -> list[Permission]:
            keys = ("resource_type", "resource", "level")
            return [
                Permission.model_validate(
                    {"role": role, **dict(zip(keys, (kind, resource, level or given), strict=True))}
                )
                for kind, resource, _, given in grants
            ]

        def by_rest(action: str, method: str, **body: Any) -> Callable[[str], None]:
            def act(role: str) -> None:
                number = mlflow.role_id(role)
                listed = mlflow.done("GET", f"{V3}/roles/permissions/list", role_id=number)
                for row in listed["role_permissions"]:
                    mlflow.done(
                        method, f"{V3}/roles/permissions/{action}", role_permission_id=row["id"], **body
                    )

            return act

        def granted(role: str) -> None:
            number = mlflow.done("POST", f"{V3}/roles/create", name=role, workspace="default")["role"]["id"]
            for kind, _, pattern, level in grants:
                body = {"resource_type": kind, "resource_pattern": pattern, "permission": level}
                mlflow.done("POST", f"{V3}/roles/permissions/add", role_id=number, **body)

        same(
            granted,
            lambda db, role: (ROLES.create(db, [Role(name=role)]), GRANTS.create(db, written(role))),
        )
        same(
            by_rest("update", "PATCH", permission="MANAGE"),
            lambda db, role: GRANTS.update(
                db, list(zip(written(role), written(role, "MANAGE"), strict=True))
            ),
        )
        same(
            by_rest("remove", "DELETE"),
            lambda db, role: GRANTS.delete(db, written(role, "MANAGE")),
        )


def orphans(mlflow: Mlflow) -> int:
    """Assignments of a role that isn't there."""
    with mlflow.writing() as db:
        query = "SELECT count(*) FROM user_role_assignments WHERE role_id NOT IN (SELECT id FROM roles)"
        return int(db.grants.exec_driver_sql(query).scalar_one())


def test_what_mlflow_made_is_read_as_it_was_meant(mlflow: Mlflow) -> None:
    """A role made over REST, and a user's own grant, which stands in a hidden role."""
    user, model, (name, number) = mlflow.user(), mlflow.model(), mlflow.experiment()
    role = f"role{next(numbers)}"
    made = mlflow.done("POST", f"{V3}/roles/create", name=role, workspace="default")["role"]["id"]
    mlflow.done("POST", f"{V3}/roles/assign", role_id=made, username=user)
    grant = {"resource_type": "experiment", "resource_pattern": number, "permission": "EDIT"}
    mlflow.done("POST", f"{V3}/roles/permissions/add", role_id=made, **grant)
    own = {"resource_type": "registered_model", "resource_id": model, "permission": "USE"}
    mlflow.done("POST", f"{V3}/users/permissions/grant", username=user, **own)
    with mlflow.writing() as db:
        roles = ROLES.observe(db, Filter()).objects
        seen = GRANTS.observe(db, Filter({"registered_model": frozenset({model}), "role": frozenset({role})}))
    assert Role(name=role, members=(user,)) in [found.spec for found in roles.values()]
    assert not any(str(address.key[0]).startswith("__user_") for address in roles)
    found = {
        (grant.hidden, grant.spec.address.key[1:], grant.spec.level)
        for grant in seen.objects.values()
        if isinstance(grant.spec, Permission)
    }
    # whoever makes a model over REST may manage it
    assert found == {
        ("", ("experiment", name), "EDIT"),
        (user, ("registered_model", model), "USE"),
        (ADMIN, ("registered_model", model), "MANAGE"),
    }


def test_mlflow_takes_only_users_own_grants_along_with_a_model(mlflow: Mlflow) -> None:
    """What the creator got goes; what a role that people made has stays."""
    reader, model = Reader.of(mlflow), mlflow.model()
    grant = reader.get("registered_model", model, "READ")
    mlflow.done("DELETE", f"{V2}/registered-models/delete", name=model)
    with mlflow.writing() as db:
        left = GRANTS.observe(db, Filter({"registered_model": frozenset({model})})).objects
    assert set(left) == {grant.address}


def test_a_renamed_model_keeps_its_grants(mlflow: Mlflow) -> None:
    """MLflow renames users' own and leaves those of roles that people made behind; we rename them all."""
    held: dict[str, set[tuple[str, str]]] = {}
    for by in ("mlflow", "us"):
        reader, former, given = Reader.of(mlflow), mlflow.model(), f"model{next(numbers)}"
        reader.get("registered_model", former, "EDIT")
        with mlflow.writing() as db:
            if by == "us":
                before = RegisteredModel(name=former)
                MODELS.move(
                    db, [(before, before.renamed(before.address, RegisteredModel(name=given).address))]
                )
        if by == "mlflow":
            mlflow.done("POST", f"{V2}/registered-models/rename", name=former, new_name=given)
        with mlflow.writing() as db:
            left = GRANTS.observe(db, Filter({"registered_model": frozenset({former, given})})).objects
        called = {former: "former", given: "given"}
        held[by] = {(found.hidden or "people", called[str(a.key[2])]) for a, found in left.items()}
        assert reader.on_model(given) == ([403, 403, 403] if by == "mlflow" else [200, 200, 403])
    assert held["mlflow"] == {(ADMIN, "given"), ("people", "former")}
    assert held["us"] == {(ADMIN, "given"), ("people", "given")}


def test_a_renamed_experiment_keeps_its_grants(mlflow: Mlflow) -> None:
    reader, (name, number) = Reader.of(mlflow), mlflow.experiment()
    grant = reader.get("experiment", name, "EDIT")
    with mlflow.writing() as db:
        before = Experiment(name=name)
        after = before.renamed(before.address, Experiment(name=f"experiment{next(numbers)}").address)
        Experiments().move(db, [(before, after)])
        left = GRANTS.observe(db, Filter({"experiment": frozenset({after.name})})).objects
    assert grant.renamed(before.address, after.address).address in left
    assert reader.on_experiment(number) == [200, 200, 403]


def test_a_deleted_experiment_keeps_its_grants_and_their_name(mlflow: Mlflow) -> None:
    reader, (name, number) = Reader.of(mlflow), mlflow.experiment()
    grant = reader.get("experiment", name, "EDIT")
    mlflow.done("POST", f"{V2}/experiments/delete", experiment_id=number)
    with mlflow.writing() as db:
        left = GRANTS.observe(db, Filter({"experiment": frozenset({name})})).objects
    assert {a: found.hidden for a, found in left.items()} == {
        grant.address: "",
        next(a for a in left if left[a].hidden): ADMIN,
    }
    mlflow.done("POST", f"{V2}/experiments/restore", experiment_id=number)
    assert reader.on_experiment(number) == [200, 200, 403]
