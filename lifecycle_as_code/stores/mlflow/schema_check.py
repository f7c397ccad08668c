"""Check that a database has MLflow's tables in a form that lac supports. Reads only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, select, text

from ...model.diagnostics import Diagnostic, LacError
from ..sql.store import Role
from . import tables

TRACKING_HEADS: Final = frozenset(
    {
        "1b5f0d9ad7c1",
        "e1f2a3b4c5d6",
        "76601a5f987d",
        "c3d6457b6d8a",
        "a5b4c3d2e1f0",
        "ae8bbe7743c9",
        "7d34483879f0",
        "da6fb0208061",
        "89d3d66ed43f",
        "b7e4c1a90f23",
        "a8b9c0d1e2f3",
        "c1d2e3f4a5b6",
        "c3d9e7f1a2b4",
        "6f8d9c3b2a1e",
        "1971f2d9a75b",
        "17e22815139b",
        "b7e2c1a4d9f3",
        "75868b020152",
        "dc11669786a5",
    }
)
"""MLflow's revisions from the first with workspaces (3.10) to the last one seen (3.17)."""

AUTH_HEADS: Final = frozenset({"e5f6a7b8c9d0", "f1a2b3c4d5e6"})
"""MLflow's auth revisions in which roles hold every grant."""

AUTH_TOO_OLD: Final = frozenset(
    {"8606fa83a998", "0965eb92f5f0", "a1b2c3d4e5f6", "2ed73881770d", "c3d4e5f6a7b8"}
)
"""Revisions in which grants are still in tables of their own (the last has roles as well)."""

_TRACKING_NEED: Final = (
    "the workspaces that MLflow 3.10 added",
    "`mlflow db upgrade <store>` with MLflow 3.10 or later",
)
_AUTH_NEED: Final = (
    "one in which roles hold every grant",
    "`python -m mlflow.server.auth db upgrade --url <auth_store>` with the latest MLflow",
)


@dataclass(frozen=True, slots=True)
class Schema:
    """MLflow's schema in a store. `revision` is None for an empty store, without MLflow's tables."""

    revision: str | None
    diagnostics: tuple[Diagnostic, ...] = ()

    @property
    def empty(self) -> bool:
        return self.revision is None


def check_schema(db: Connection, role: Role) -> Schema:
    """The schema of an open store. LacError if it is too old; a warning if it is newer than lac knows.
    Columns decide, not the head: a newer MLflow may add tables that lac doesn't use."""
    is_auth = role == "auth"
    name = "MLflow's auth schema" if is_auth else "MLflow's schema"
    columns = _columns(db, "roles" if is_auth else "registered_models")
    if not (columns or _columns(db, "users" if is_auth else "experiments")):
        return Schema(None)
    revision = _revision(db, "alembic_version_auth" if is_auth else "alembic_version")
    if "workspace" not in columns or (is_auth and revision in AUTH_TOO_OLD):
        need, upgrade = _AUTH_NEED if is_auth else _TRACKING_NEED
        raise LacError(
            Diagnostic(
                "store-too-old",
                "the store's MLflow schema is too old",
                f"{name} is at {revision}; lac needs {need}.",
                hint=f"take a backup, then run {upgrade}",
            )
        )
    if revision in (AUTH_HEADS if is_auth else TRACKING_HEADS):
        return Schema(revision)
    unknown = Diagnostic(
        "unknown-store-revision",
        "the store's MLflow schema is newer than lac was tested with",
        f"{name} is at {revision}, which this lac doesn't know.",
        hint="upgrade lifecycle-as-code; the columns that lac needs exist, so the command continues",
        severity="warning",
    )
    return Schema(revision, (unknown,))


def _columns(db: Connection, table: str) -> frozenset[str]:
    query = {
        "sqlite": "SELECT name FROM pragma_table_info(:t)",
        # not information_schema: it hides what we have no right to, and a store would look empty
        "postgresql": (
            "SELECT attname FROM pg_attribute "
            "WHERE attrelid = to_regclass(:t) AND attnum > 0 AND NOT attisdropped"
        ),
    }[db.dialect.name]
    return frozenset(db.scalars(text(query), {"t": table}))


def _revision(db: Connection, table: str) -> str:
    """`unversioned` where alembic's table is missing, as MLflow before 3.6 left its auth database."""
    if not _columns(db, table):
        return "unversioned"
    return db.scalar(text(f"SELECT version_num FROM {table}")) or "unversioned"


def check_workspace(db: Connection, workspace: str) -> None:
    """LacError `unknown-workspace` where MLflow has no such workspace. `default` is always there. MLflow:
    rows of another workspace make a server without workspaces refuse to start."""
    if workspace == "default":
        return
    names = sorted(db.execute(select(tables.workspaces.c.name)).scalars())
    if workspace not in names:
        raise LacError(
            Diagnostic(
                "unknown-workspace",
                "MLflow has no such workspace",
                f"`{workspace}` is not among {', '.join(f'`{name}`' for name in names)}.",
                hint="create it with MLflow's tools (its server must run with workspaces enabled)",
            )
        )
