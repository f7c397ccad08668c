"""A running MLflow with basic-auth, as tests ask it and as our kinds write beside it."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from lifecycle_as_code.kinds.base import Databases
from lifecycle_as_code.kinds.permission import Permission, PermissionKind
from lifecycle_as_code.kinds.role import Role, RoleKind
from lifecycle_as_code.stores.sql.store import open_store, writing
from support.mlflow_fixture import ADMIN, ADMIN_PASSWORD, MlflowServer, make_cheap

PASSWORD = "a-long-enough-password"
V2, V3 = "/api/2.0/mlflow", "/api/3.0/mlflow"
ROLES, GRANTS = RoleKind(), PermissionKind()

numbers = itertools.count(1)


@dataclass(frozen=True)
class Mlflow:
    """The running server, as an administrator and as others see it, and its databases."""

    server: MlflowServer
    http: httpx.Client

    def ask(self, method: str, path: str, who: str = ADMIN, /, **body: Any) -> httpx.Response:
        sent: dict[str, Any] = {"params": body} if method == "GET" else {"json": body}
        password = ADMIN_PASSWORD if who == ADMIN else PASSWORD
        return self.http.request(method, path, auth=(who, password), **sent)

    def done(self, method: str, path: str, /, **body: Any) -> dict[str, Any]:
        """What the administrator gets, who must succeed."""
        reply = self.ask(method, path, **body)
        assert reply.status_code == 200, reply.text
        return dict(reply.json() or {})

    @contextmanager
    def writing(self) -> Iterator[Databases]:
        """As an apply writes: both databases in one transaction each."""
        registry = open_store(self.server.store, role="tracking", base=Path("/"))
        auth = open_store(self.server.auth_store, role="auth", base=Path("/"))
        with writing(registry) as first, writing(auth) as second:
            yield Databases(first, second)

    def user(self) -> str:
        name = f"user{next(numbers)}"
        self.done("POST", f"{V2}/users/create", username=name, password=PASSWORD)
        make_cheap(self.server.auth_store, name, PASSWORD)
        return name

    def role_id(self, name: str) -> int:
        return next(r["id"] for r in self.done("GET", f"{V3}/roles/list")["roles"] if r["name"] == name)

    def model(self) -> str:
        name = f"model{next(numbers)}"
        self.done("POST", f"{V2}/registered-models/create", name=name)
        return name

    def experiment(self) -> tuple[str, str]:
        """Its name and its id."""
        name = f"experiment{next(numbers)}"
        return name, str(self.done("POST", f"{V2}/experiments/create", name=name)["experiment_id"])

    def rows(self, role: str) -> dict[str, list[dict[str, Any]]]:
        """Every column of what belongs to one role, but for ids and the role's name."""
        path = self.server.auth_store.removeprefix("sqlite:///")
        with closing(sqlite3.connect(path)) as db:
            db.row_factory = sqlite3.Row

            def read(query: str) -> list[dict[str, Any]]:
                found = [dict(row) for row in db.execute(query, (role,))]
                hidden = ("id", "role_id", "name")
                return sorted(({k: v for k, v in row.items() if k not in hidden} for row in found), key=repr)

            of_role = "WHERE role_id = (SELECT id FROM roles WHERE name = ?)"
            return {
                "roles": read("SELECT * FROM roles WHERE name = ?"),
                "grants": read(f"SELECT * FROM role_permissions {of_role}"),
                "assignments": read(f"SELECT * FROM user_role_assignments {of_role}"),
            }


@dataclass
class Reader:
    """A user with one role, and what our kinds have given it."""

    mlflow: Mlflow
    role: Role
    user: str

    @classmethod
    def of(cls, mlflow: Mlflow) -> Reader:
        user = mlflow.user()
        role = Role(name=f"role{next(numbers)}", members=(user,))
        with mlflow.writing() as db:
            ROLES.create(db, [role])
        return cls(mlflow, role, user)

    def grant(self, resource_type: str, resource: str, level: str) -> Permission:
        return Permission.model_validate(
            {"role": self.role.name, "resource_type": resource_type, "resource": resource, "level": level}
        )

    def get(self, resource_type: str, resource: str, level: str) -> Permission:
        """Give the role a grant."""
        grant = self.grant(resource_type, resource, level)
        with self.mlflow.writing() as db:
            GRANTS.create(db, [grant])
        return grant

    def can(self, method: str, path: str, **body: Any) -> int:
        return self.mlflow.ask(method, path, self.user, **body).status_code

    def on_model(self, name: str) -> list[int]:
        """Status codes of reading it, tagging it, and deleting it."""
        path = f"{V2}/registered-models"
        return [
            self.can("GET", f"{path}/get", name=name),
            self.can("POST", f"{path}/set-tag", name=name, key="k", value="v"),
            self.can("DELETE", f"{path}/delete", name=name),
        ]

    def on_experiment(self, number: str) -> list[int]:
        path = f"{V2}/experiments"
        return [
            self.can("GET", f"{path}/get", experiment_id=number),
            self.can("POST", f"{path}/set-experiment-tag", experiment_id=number, key="k", value="v"),
            self.can("POST", f"{path}/delete", experiment_id=number),
        ]
