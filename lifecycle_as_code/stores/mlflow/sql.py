"""A handle on one of MLflow's SQL databases: open it, read one snapshot, write in one transaction.

Opening creates nothing: a SQLite file that isn't there stays away, and `exists` says so. Nothing here
knows what the rows mean; `tables` names them and the kinds decide.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, OperationalError
from sqlalchemy.pool import NullPool, StaticPool

from ...model.diagnostics import Diagnostic, LacError
from . import tables

Role = Literal["tracking", "auth"]
Dialect = Literal["sqlite", "postgresql"]

SUPPORTED = "`sqlite:///<path>` and `postgresql://<user>@<host>/<database>`"
BUSY_SECONDS = 20.0
"""How long a writer waits for another one on SQLite. MLflow: `PRAGMA busy_timeout = 20000`."""
POSTGRES = frozenset({"postgresql", "postgres", "postgresql+psycopg", "postgresql+psycopg2"})


@dataclass(frozen=True, slots=True)
class SqlStore:
    """One database of MLflow's. `url` has its password and stays out of every repr; show `shown`."""

    role: Role
    dialect: Dialect
    shown: str
    engine: Engine = field(repr=False, compare=False)
    url: URL = field(repr=False)
    path: Path | None = None
    """The file of a SQLite database, absolute."""

    def __str__(self) -> str:
        return self.shown

    @property
    def exists(self) -> bool:
        """False where reading would find nothing to open: a SQLite file that is missing or has no bytes."""
        return self.path is None or (self.path.is_file() and self.path.stat().st_size > 0)

    @property
    def uri(self) -> str:
        """The address with its password, as MLflow takes it. Not for printing."""
        url = self.url.set(drivername="postgresql+psycopg") if self.dialect == "postgresql" else self.url
        return url.render_as_string(hide_password=False)

    @property
    def shareable(self) -> str:
        """The address for other processes' configuration, or nothing where it holds a password."""
        if self.dialect == "sqlite":
            return self.uri
        return "" if self.url.password or any("password" in k.lower() for k in self.url.query) else self.uri


def empty_store(role: Role) -> SqlStore:
    """MLflow's tables without rows, in memory: what a store that isn't made yet reads as."""
    engine = create_engine("sqlite://", poolclass=StaticPool)
    tables.metadata.create_all(engine)
    return SqlStore(role, "sqlite", "(not made yet)", engine, URL.create("sqlite"))


def open_store(url: str, *, role: Role, base: Path, read_only: bool = False) -> SqlStore:
    """A store from an MLflow backend store URI. LacError where it isn't one that we can drive.

    A relative SQLite path counts from `base`, the stack's directory. (MLflow's own counts from the
    working directory.) Connections are opened when needed and closed after use.
    """
    parsed = _parsed(url, role)
    if parsed.drivername in POSTGRES:
        return _open_postgres(parsed, role, read_only)
    if parsed.drivername in ("sqlite", "sqlite+pysqlite"):
        return _open_sqlite(parsed, role, base, read_only)
    raise LacError(_unsupported(role, parsed.drivername, _why_not(parsed.drivername)))


@contextmanager
def reading(store: SqlStore) -> Iterator[Connection]:
    """One consistent snapshot. Close it before anything slow: on SQLite it blocks MLflow's writers."""
    options: dict[str, Any] = {}
    if store.dialect == "postgresql":
        options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    with _told(store), store.engine.connect().execution_options(**options) as db, db.begin():
        yield db


@contextmanager
def writing(store: SqlStore) -> Iterator[Connection]:
    """One transaction, committed at the end of the block and undone by any exception. Never retried.

    On SQLite it holds the only write lock from its start (`BEGIN IMMEDIATE`): what it reads stays true.
    On PostgreSQL a row that somebody else wrote since the first read can't be written (REPEATABLE READ):
    the transaction ends with `write-conflict`.
    """
    options: dict[str, Any] = {"lac_immediate": True}
    if store.dialect == "postgresql":
        options = {"isolation_level": "REPEATABLE READ"}
    with _told(store), store.engine.connect().execution_options(**options) as db, db.begin():
        yield db


def _parsed(url: str, role: Role) -> URL:
    if url in ("databricks", "databricks-uc", "uc"):
        raise LacError(_unsupported(role, url, _why_not(url)))
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        parsed = None
    # a password that isn't percent-encoded ends at its first `@`, and the rest of it would be shown
    if parsed is None or "@" in f"{parsed.host}{parsed.database}":
        # not quoted: a mistyped address may still hold a password
        raise LacError(_unsupported(role, "the given text", "It doesn't read as a database address."))
    return parsed


def _open_sqlite(url: URL, role: Role, base: Path, read_only: bool) -> SqlStore:
    name = url.database or ""
    if name in ("", ":memory:") or name.startswith("file:") or url.query:
        why = "A SQLite store is a plain file, without parameters."
        raise LacError(_unsupported(role, "something else", why))
    path = (base / name).absolute()
    # mode=rw opens but never creates; on a file that we may only read, SQLite falls back to reading
    address = f"file:{quote(str(path))}?mode=rw"

    def connect() -> sqlite3.Connection:
        opened = sqlite3.connect(
            address, uri=True, isolation_level=None, timeout=BUSY_SECONDS, check_same_thread=False
        )
        # MLflow sets the same on each of its sessions; without the first, renames and deletions don't cascade
        opened.execute("PRAGMA foreign_keys = ON")
        opened.execute("PRAGMA case_sensitive_like = ON")
        if read_only:
            opened.execute("PRAGMA query_only = ON")
        return opened

    engine = create_engine("sqlite://", creator=connect, poolclass=NullPool)
    event.listen(engine, "begin", _begin_sqlite)
    event.listen(engine, "invalidate", _undo_sqlite)
    absolute = URL.create("sqlite", database=str(path))
    return SqlStore(role, "sqlite", str(absolute), engine, absolute, path)


def _begin_sqlite(db: Connection) -> None:
    """Begin for real: Python's sqlite3 would otherwise begin at the first write only."""
    immediate = db.get_execution_options().get("lac_immediate", False)
    db.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


def _undo_sqlite(opened: sqlite3.Connection, *_: object) -> None:
    """Give up a transaction that Ctrl-C cut off. SQLAlchemy only closes its connection, which SQLite keeps,
    lock and all, for as long as a cursor in the traceback lives."""
    opened.rollback()


def _open_postgres(url: URL, role: Role, read_only: bool) -> SqlStore:
    url = url.set(drivername="postgresql+psycopg")
    try:
        engine = create_engine(url, poolclass=NullPool)
    except ModuleNotFoundError:
        raise LacError(
            Diagnostic(
                "missing-driver",
                "PostgreSQL's driver isn't installed",
                "This Python has no `psycopg`.",
                hint="pip install 'lifecycle-as-code[postgres]'",
            )
        ) from None
    if read_only:
        engine = engine.execution_options(postgresql_readonly=True)
    return SqlStore(role, "postgresql", _without_password(url), engine, url)


def _without_password(url: URL) -> str:
    """The address as people may see it: the password may also stand among the parameters."""
    shown = url.set(drivername="postgresql")
    hidden = {key: "hidden" for key in shown.query if "password" in key.lower()}
    return shown.update_query_dict(hidden).render_as_string(hide_password=True)


@contextmanager
def _told(store: SqlStore) -> Iterator[None]:
    """Turn what isn't about a statement (a lock, a connection) into a diagnostic; leave the rest."""
    try:
        yield
    except DBAPIError as error:
        if found := _diagnosis(store, error):
            raise LacError(found) from error
        raise


def _diagnosis(store: SqlStore, error: DBAPIError) -> Diagnostic | None:
    said = str(error.orig).strip()
    if "database is locked" in said or getattr(error.orig, "sqlstate", None) in ("55P03", "40P01"):
        return Diagnostic(
            "store-locked",
            "another program is writing to the store",
            f"{store.shown} stayed locked ({said}).",
            hint="run the command again when the other writer is done",
        )
    if "attempt to write a readonly database" in said or "query_only" in said:
        return Diagnostic(
            "store-read-only",
            "the store can't be written",
            f"{store.shown}: {said}.",
            hint="check the permissions of the file and its directory",
        )
    if "unable to open database file" in said or "file is not a database" in said:
        return Diagnostic(
            "store-unreachable",
            "the store can't be opened",
            f"{store.shown}: {said}.",
            hint="check `store:` and `auth_store:` in lac.yaml",
        )
    sqlstate = getattr(error.orig, "sqlstate", None)
    if isinstance(error, IntegrityError) or sqlstate == "40001":
        return Diagnostic(
            "write-conflict",
            "another writer was faster",
            f"{store.shown}: {said}",
            hint="nothing of this transaction was written; run `lac plan` again",
        )
    if sqlstate == "42501":
        return Diagnostic(
            "store-forbidden",
            "the database user lacks a privilege",
            f"{store.shown}: {said}.",
            hint="the README lists the GRANTs that plan and apply need",
        )
    if isinstance(error, OperationalError) and error.statement is None and store.dialect == "postgresql":
        return Diagnostic(
            "store-unreachable",
            "the store can't be opened",
            f"{store.shown}: {said}",
            hint="check that the server runs, the address, the user and the password",
        )
    return None


def _why_not(scheme: str) -> str:
    if scheme.startswith("http"):
        return "A tracking server's REST address isn't supported yet: give the database behind it."
    if scheme.startswith(("databricks", "uc")):
        return "Databricks and Unity Catalog registries aren't supported yet."
    if scheme.startswith(("mysql", "mssql")):
        return "MLflow can use this database, but it isn't supported here yet."
    return "It isn't a database that is supported here."


def _unsupported(role: Role, given: str, why: str) -> Diagnostic:
    setting = "store" if role == "tracking" else "auth_store"
    return Diagnostic(
        "unsupported-store",
        "this kind of store isn't supported",
        f"`{setting}:` is {given}. {why}",
        hint=f"supported today: {SUPPORTED}",
    )
