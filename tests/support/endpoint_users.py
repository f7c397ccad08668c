"""MLflow's users and their grants on one endpoint, in an auth database that MLflow itself makes."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import create_engine, insert, select, text

from lifecycle_as_code.stores import state
from lifecycle_as_code.stores.mlflow.tables import (
    role_permissions,
    roles,
    user_role_assignments,
    users,
)
from lifecycle_as_code.stores.sql.store import open_store, writing
from lifecycle_as_code.stores.state import tokens
from support.mlflow_fixture import fresh_postgres, fresh_sqlite
from support.shared import directory, once

PASSWORD = "correct-horse-battery"
ENDPOINT = "fraud"


def make_auth_database(path: Path) -> Path:
    """MLflow's own tables, users and roles; the grants on endpoints by SQL, since MLflow refuses the type. A
    copy of what is made once for all processes of a run."""
    shutil.copyfile(once("endpoint-users", _make_template), path)
    return path


def make_postgres_auth_database(directory: Path) -> str:
    """The URL of a PostgreSQL database with the same users, roles and grants."""
    source = create_engine(f"sqlite:///{make_auth_database(directory / 'template.db')}")
    url = fresh_postgres()
    target = create_engine(url)
    with source.connect() as old, target.begin() as new:
        for table in (users, roles, user_role_assignments, role_permissions):
            rows = [dict(row) for row in old.execute(select(table)).mappings()]
            new.execute(insert(table), rows)
            last = max(row["id"] for row in rows)
            new.execute(text(f"SELECT setval('{table.name}_id_seq', {last})"))
    source.dispose()
    target.dispose()
    return url


def add_token(
    url: str,
    username: str,
    endpoints: Sequence[str] | None = None,
    *,
    seconds: float = 3600.0,
    sql: str = "",
) -> str:
    """A token's value, made as `lac token create` makes it. `sql`: what happens to its row after that, such
    as `revoked_ms = 1`."""
    store = open_store(url, role="auth", base=Path())
    with writing(store) as db:
        state.install(db)
        user = db.execute(select(users).where(users.c.username == username)).one()
        new = tokens.create(
            db,
            (user.id, username),
            int(seconds * 1000),
            endpoints=endpoints,
            description="for a test",
            created_by="test",
            password_hash=user.password_hash,
        )
        if sql:
            change = f"UPDATE lac_tokens SET {sql} WHERE token_id = :id"
            db.execute(text(change), {"id": new.token.token_id})
    return new.value


def _make_template() -> str:
    import warnings

    path = directory() / "endpoint-users.db"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from mlflow.server.auth.sqlalchemy_store import SqlAlchemyStore

        store = SqlAlchemyStore()
        store.init_db(fresh_sqlite(path.parent, "auth", name=path.name))
    grants: dict[str, tuple[str, str, str]] = {
        "user": ("USE", ENDPOINT, "default"),
        "denied": ("DENY", "*", "default"),
        "reader": ("READ", ENDPOINT, "default"),
        "elsewhere": ("USE", ENDPOINT, "team-a"),
    }
    with sqlite3.connect(path) as db:
        for name in [*grants, "nobody", "hidden"]:
            user = store.create_user(name, PASSWORD)
            permission, pattern, workspace = grants.get(name, ("USE", ENDPOINT, "default"))
            if name == "nobody":
                continue
            role_name = f"__user_{user.id}__" if name == "hidden" else f"role of {name}"
            role = db.execute(
                "INSERT INTO roles (name, workspace) VALUES (?, ?)", (role_name, workspace)
            ).lastrowid
            db.execute("INSERT INTO user_role_assignments (user_id, role_id) VALUES (?, ?)", (user.id, role))
            db.execute(
                "INSERT INTO role_permissions (role_id, resource_type, resource_pattern, permission)"
                " VALUES (?, 'serving_endpoint', ?, ?)",
                (role, pattern, permission),
            )
            db.commit()
    store.create_user("admin", PASSWORD, is_admin=True)
    store.create_user("legacy", "password1234", is_admin=True)
    store.engine.dispose()
    return str(path)
