"""MLflow's users and their grants on one endpoint, in an auth database that MLflow itself makes."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

from support.mlflow_fixture import fresh_sqlite
from support.shared import directory, once

PASSWORD = "correct-horse-battery"
ENDPOINT = "fraud"


def make_auth_database(path: Path) -> Path:
    """MLflow's own tables, users and roles; the grants on endpoints by SQL, since MLflow refuses the type. A
    copy of what is made once for all processes of a run."""
    shutil.copyfile(once("endpoint-users", _make_template), path)
    return path


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
