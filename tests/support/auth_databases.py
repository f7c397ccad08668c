"""MLflow's databases with a few users in them, for tests of what lives in auth."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Table, delete, insert, select, text

from lifecycle_as_code.kinds.base import Databases, Filter
from lifecycle_as_code.stores.mlflow import tables
from lifecycle_as_code.stores.sql.store import open_store, writing
from support.mlflow_fixture import fresh_postgres, fresh_sqlite

ALL = Filter()
USERS = ("ann", "bob", "cyd")

USED = (
    tables.role_permissions,
    tables.user_role_assignments,
    tables.roles,
    tables.users,
    tables.endpoints,
    tables.registered_model_tags,
    tables.registered_models,
    tables.experiments,
)
"""Every table that these tests write, each after those that refer to it."""

Writing = Callable[[], AbstractContextManager[Databases]]


@cache
def _postgres() -> str:
    """One database for all of these tests, emptied before each: cheaper than one a test."""
    return fresh_postgres()


@pytest.fixture(params=["sqlite", "postgresql"])
def writing_both(request: pytest.FixtureRequest, tmp_path: Path) -> Writing:
    """Opens a transaction on both databases: two files on SQLite, one database on PostgreSQL."""
    if request.param == "sqlite":
        urls = fresh_sqlite(tmp_path), fresh_sqlite(tmp_path, "auth")
    else:
        urls = (_postgres(),) * 2
    registry = open_store(urls[0], role="tracking", base=tmp_path)
    auth = open_store(urls[1], role="auth", base=tmp_path)

    @contextmanager
    def both() -> Iterator[Databases]:
        with writing(registry) as first:
            if request.param == "postgresql":
                yield Databases(first, first)
                return
            with writing(auth) as second:
                yield Databases(first, second)

    with both() as db:
        if request.param == "postgresql":
            for table in USED:
                db.registry.execute(delete(table))
        db.grants.execute(
            insert(tables.users),
            [{"username": name, "password_hash": "x", "is_admin": False} for name in USERS],
        )
    return both


def add(db: Databases, table: Table, *rows: dict[str, Any]) -> None:
    """Insert rows as another program might have, each in the database that its table is in."""
    registry = {"experiments", "registered_models", "registered_model_tags"}
    connection = db.registry if table.name in registry else db.grants
    for row in rows:
        connection.execute(insert(table), row)


def everything(db: Databases, table: Table) -> Sequence[tuple[Any, ...]]:
    """Every row but for its own id, sorted."""
    columns = [column for column in table.c if column.name != "id"]
    connection = db.grants
    return sorted((tuple(row) for row in connection.execute(select(*columns))), key=repr)


def experiment(number: int, name: str, stage: str = "active") -> dict[str, Any]:
    return {"experiment_id": number, "name": name, "workspace": "default", "lifecycle_stage": stage}


def add_gateway_endpoint(registry: Connection, number: str, name: str) -> None:
    """As MLflow makes one, but for the models behind it: grants don't look at those."""
    registry.execute(
        text(
            "INSERT INTO endpoints "
            "(endpoint_id, name, created_at, last_updated_at, usage_tracking, workspace) "
            "VALUES (:number, :name, 1, 1, :off, 'default')"
        ),
        {"number": number, "name": name, "off": False},
    )
