"""A running MLflow with basic-auth obeys what our kinds wrote, and isn't disturbed by a type of ours.

One server for all of it, where nothing is permitted by default; each test keeps to names of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from support.auth_client import GRANTS, ROLES, V2, V3, Mlflow, Reader, numbers
from support.mlflow_fixture import MlflowServer

from lifecycle_as_code.kinds.permission import Permission
from lifecycle_as_code.kinds.role import Role


@pytest.fixture(scope="module")
def mlflow(basic_auth_server: MlflowServer) -> Iterator[Mlflow]:
    with httpx.Client(base_url=basic_auth_server.url, timeout=60) as http:
        yield Mlflow(basic_auth_server, http)


LEVELS = [
    ("", [403, 403, 403]),
    ("READ", [200, 403, 403]),
    ("USE", [200, 403, 403]),
    ("EDIT", [200, 200, 403]),
    ("MANAGE", [200, 200, 200]),
    ("DENY", [403, 403, 403]),
]


@pytest.mark.parametrize(("level", "statuses"), LEVELS)
def test_a_grant_on_a_model_lets_in(mlflow: Mlflow, level: str, statuses: list[int]) -> None:
    """Read, tag, delete."""
    reader, model, other = Reader.of(mlflow), mlflow.model(), mlflow.model()
    if level:
        reader.get("registered_model", model, level)
    assert reader.on_model(model) == statuses
    assert reader.on_model(other) == [403, 403, 403]


@pytest.mark.parametrize(("level", "statuses"), LEVELS)
def test_a_grant_on_an_experiment_by_its_name_lets_in(
    mlflow: Mlflow, level: str, statuses: list[int]
) -> None:
    reader, (name, number), (_, other) = Reader.of(mlflow), mlflow.experiment(), mlflow.experiment()
    if level:
        reader.get("experiment", name, level)
    assert reader.on_experiment(number) == statuses
    assert reader.on_experiment(other) == [403, 403, 403]


def test_all_but_one(mlflow: Mlflow) -> None:
    reader, model, closed = Reader.of(mlflow), mlflow.model(), mlflow.model()
    reader.get("registered_model", "*", "EDIT")
    reader.get("registered_model", closed, "DENY")
    assert reader.on_model(model) == [200, 200, 403]
    assert reader.on_model(closed) == [403, 403, 403]


def test_an_administrator_of_the_workspace_is_above_a_deny(mlflow: Mlflow) -> None:
    reader, model = Reader.of(mlflow), mlflow.model()
    reader.get("registered_model", model, "DENY")
    workspace = reader.get("workspace", "*", "USE")
    assert reader.on_model(model) == [403, 403, 403]
    with mlflow.writing() as db:
        GRANTS.update(db, [(workspace, reader.grant("workspace", "*", "MANAGE"))])
    assert reader.on_model(model) == [200, 200, 200]


def test_each_change_counts_from_the_next_request_on(mlflow: Mlflow) -> None:
    """A level, a revocation, an assignment, a role: all of them by our writes."""
    reader, model = Reader.of(mlflow), mlflow.model()
    grant = reader.get("registered_model", model, "READ")
    assert reader.on_model(model) == [200, 403, 403]
    with mlflow.writing() as db:
        GRANTS.update(db, [(grant, reader.grant("registered_model", model, "EDIT"))])
    assert reader.on_model(model) == [200, 200, 403]
    nobody = Role(name=reader.role.name)
    with mlflow.writing() as db:
        ROLES.update(db, [(reader.role, nobody)])
    assert reader.on_model(model) == [403, 403, 403]
    with mlflow.writing() as db:
        ROLES.update(db, [(nobody, reader.role)])
    assert reader.on_model(model) == [200, 200, 403]
    with mlflow.writing() as db:
        GRANTS.delete(db, [grant])
        ROLES.delete(db, [reader.role])
    assert reader.on_model(model) == [403, 403, 403]


class TestEndpointGrants:
    """`serving_endpoint` is a type of ours: MLflow shows such a grant, and is not disturbed by it."""

    @pytest.fixture
    def reader(self, mlflow: Mlflow) -> Reader:
        reader = Reader.of(mlflow)
        for resource, level in (("fraud", "USE"), ("*", "DENY")):
            reader.get("serving_endpoint", resource, level)
        return reader

    def test_other_grants_of_that_role_still_work(self, mlflow: Mlflow, reader: Reader) -> None:
        model, closed, (name, number) = mlflow.model(), mlflow.model(), mlflow.experiment()
        reader.get("registered_model", model, "EDIT")
        reader.get("experiment", name, "READ")
        assert reader.on_model(model) == [200, 200, 403]
        assert reader.on_model(closed) == [403, 403, 403]
        assert reader.on_experiment(number) == [200, 403, 403]
        found = mlflow.ask("GET", f"{V2}/registered-models/search", reader.user)
        assert [m["name"] for m in found.json()["registered_models"]] == [model]

    def test_other_roles_of_that_user_still_work(self, mlflow: Mlflow, reader: Reader) -> None:
        model = mlflow.model()
        other = Role(name=f"role{next(numbers)}", members=(reader.user,))
        grant = {"resource_type": "registered_model", "resource_id": model, "permission": "MANAGE"}
        with mlflow.writing() as db:
            ROLES.create(db, [other])
            GRANTS.create(
                db,
                [Permission(role=other.name, resource_type="registered_model", resource=model, level="READ")],
            )
        assert reader.on_model(model) == [200, 403, 403]
        mlflow.done("POST", f"{V3}/users/permissions/grant", username=reader.user, **grant)
        assert reader.on_model(model) == [200, 200, 200]

    def test_mlflow_lists_it(self, mlflow: Mlflow, reader: Reader) -> None:
        expected = {("serving_endpoint", "fraud", "USE"), ("serving_endpoint", "*", "DENY")}

        def of(grants: list[dict[str, Any]]) -> set[tuple[Any, ...]]:
            return {(g["resource_type"], g["resource_pattern"], g["permission"]) for g in grants}

        number = mlflow.role_id(reader.role.name)
        role = mlflow.done("GET", f"{V3}/roles/get", role_id=number)["role"]
        listed = mlflow.done("GET", f"{V3}/roles/permissions/list", role_id=number)["role_permissions"]
        held = mlflow.done("GET", f"{V3}/users/permissions/list", username=reader.user)["permissions"]
        own = mlflow.ask("GET", f"{V3}/users/current/permissions", reader.user).json()["permissions"]
        every = mlflow.done("GET", f"{V3}/roles/list")["roles"]
        assert of(role["permissions"]) == of(listed) == of(held) == of(own) == expected
        assert expected <= {g for r in every for g in of(r["permissions"])}

    def test_mlflow_does_not_grant_it_but_can_revoke_it(self, mlflow: Mlflow, reader: Reader) -> None:
        number = mlflow.role_id(reader.role.name)
        pattern = {"resource_type": "serving_endpoint", "resource_pattern": "x", "permission": "USE"}
        resource = {"resource_type": "serving_endpoint", "resource_id": "x", "permission": "USE"}
        listed = mlflow.done("GET", f"{V3}/roles/permissions/list", role_id=number)["role_permissions"]
        row = listed[0]["id"]
        refusals = [
            mlflow.ask("POST", f"{V3}/roles/permissions/add", role_id=number, **pattern),
            mlflow.ask("POST", f"{V3}/users/permissions/grant", username=reader.user, **resource),
            mlflow.ask("PATCH", f"{V3}/roles/permissions/update", role_permission_id=row, permission="READ"),
        ]
        for reply in refusals:
            assert reply.status_code == 400
            assert reply.json()["error_code"] == "INVALID_PARAMETER_VALUE"
            assert "Invalid resource type 'serving_endpoint'" in reply.json()["message"]
        mlflow.done("DELETE", f"{V3}/roles/permissions/remove", role_permission_id=row)
        assert len(mlflow.rows(reader.role.name)["grants"]) == 1
