"""A handle on one SQL database: open it, read one snapshot, write in one transaction.

Opening creates nothing: a missing SQLite file stays missing, and `exists` reports it.
"""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from ...model.diagnostics import Diagnostic, LacError
from .errors import ENCODE, LOCKED, DatabaseError, diagnose, report, unknown_option

Role = Literal["tracking", "auth", "usage", "limits"]
Dialect = Literal["sqlite", "postgresql"]

SUPPORTED = "`sqlite:///<path>` and `postgresql://<user>@<host>/<database>`"
_FURTHER = {"usage": ", and `parquet:///<folder>`", "limits": ", and `redis://<host>/<number>`"}
BUSY_SECONDS = 20.0
"""How long a writer waits for another one on SQLite. MLflow: `PRAGMA busy_timeout = 20000`."""
POSTGRES = frozenset({"postgresql", "postgres", "postgresql+psycopg", "postgresql+psycopg2"})


@dataclass(frozen=True, slots=True)
class SqlStore:
    """One database of MLflow's. `url` has its password and is in no repr; print `display_address`."""

    role: Role
    dialect: Dialect
    display_address: str
    engine: Engine = field(repr=False, compare=False)
    url: URL = field(repr=False)
    path: Path | None = None
    """The file of a SQLite database, absolute."""

    def __str__(self) -> str:
        return self.display_address

    @property
    def exists(self) -> bool:
        """Whether there is a database to read: False for a SQLite file that is missing or empty."""
        return self.path is None or (self.path.is_file() and self.path.stat().st_size > 0)

    @property
    def uri(self) -> str:
        """The address with its password, as MLflow takes it. Not for printing."""
        url = self.url.set(drivername="postgresql+psycopg") if self.dialect == "postgresql" else self.url
        return url.render_as_string(hide_password=False)

    @property
    def shareable(self) -> str:
        """The address for other processes' configuration; empty if it holds a secret."""
        if self.dialect == "sqlite":
            return self.uri
        return "" if holds_secret(self.uri) else self.uri


def open_store(url: str, *, role: Role, base: Path, read_only: bool = False) -> SqlStore:
    """A store from an MLflow backend store URI. LacError for a database that lac doesn't support.

    A relative SQLite path counts from `base`, the stack's directory. (MLflow's own counts from the
    working directory.) Connections are opened when needed and closed after use.
    """
    address = _parse(url, role)
    if address.drivername in POSTGRES:
        return _open_postgres(address, role, read_only)
    if address.drivername in ("sqlite", "sqlite+pysqlite"):
        return _open_sqlite(address, role, base, read_only)
    raise LacError(_unsupported_store(role, address.drivername, _why_not(address.drivername)))


@contextmanager
def reading(store: SqlStore) -> Iterator[Connection]:
    """One consistent snapshot. Close it before anything slow: on SQLite it blocks MLflow's writers."""
    stamp = _immutable_stamp(store.path)
    with _transaction(store, {"postgresql_readonly": True}) as db:
        yield db
    if stamp is not None and stamp != _immutable_stamp(store.path):
        raise DatabaseError(report(LOCKED, f"{store.display_address} changed while it was read."))


@contextmanager
def writing(store: SqlStore) -> Iterator[Connection]:
    """One transaction, committed at the end of the block and undone by any exception. Never retried.

    On SQLite it holds the only write lock from its start (`BEGIN IMMEDIATE`), so what it reads stays true.
    On PostgreSQL (REPEATABLE READ) it ends with `write-conflict` if another transaction has changed a row
    since the first read.
    """
    with _transaction(store, {"lac_write": True}) as db:
        yield db


def _parse(url: str, role: Role) -> URL:
    if url in ("databricks", "databricks-uc", "uc"):
        raise LacError(_unsupported_store(role, url, _why_not(url)))
    try:
        address = make_url(url)
    except (ArgumentError, ValueError):
        address = None
    if address is not None and (address.drivername not in POSTGRES or _reads_as_meant(url, address)):
        return address
    # not quoted: a mistyped address may still hold a password
    problem = _unsupported_store(role, "the given text", "It can't be parsed as a database address.")
    raise LacError(problem if address is None and url.count("@") < 2 else replace(problem, hint=ENCODE))


def _reads_as_meant(url: str, address: URL) -> bool:
    """False where a part of the password became a host, a database or an option, and would be shown."""
    return "@" not in f"{address.host}{address.database}" and (
        url.count("@") < 2 or _AT_IN_USER.fullmatch(url) is not None
    )


_AT_IN_USER: Final = re.compile(r"[\w+]+://[^:/@]*@[^:/@]*:[^@/?]*@[^@]*")
"""`user@server:password@host`, as Azure has it: the one `@` too many that SQLAlchemy reads as it is meant."""


def _open_sqlite(url: URL, role: Role, base: Path, read_only: bool) -> SqlStore:
    name = url.database or ""
    if name in ("", ":memory:") or name.startswith("file:") or url.query:
        why = "A SQLite store is a plain file, without parameters."
        raise LacError(_unsupported_store(role, "something else", why))
    path = (base / name).absolute()
    if path.is_dir():
        why = "Name the database's file, such as `mlflow.db`, in that directory."
        raise LacError(_unsupported_store(role, "a directory", why))
    # mode=rw opens but never creates; on a file that we may only read, SQLite falls back to reading
    address = f"file:{quote(str(path))}?mode=rw"

    def connect() -> sqlite3.Connection:
        immutable = "" if _immutable_stamp(path) is None else "&immutable=1"
        handle = sqlite3.connect(
            address + immutable, uri=True, isolation_level=None, timeout=BUSY_SECONDS, check_same_thread=False
        )
        # MLflow sets the same on each of its sessions; without the first, renames and deletions don't cascade
        handle.execute("PRAGMA foreign_keys = ON")
        handle.execute("PRAGMA case_sensitive_like = ON")
        if read_only:
            handle.execute("PRAGMA query_only = ON")
        return handle

    engine = create_engine("sqlite://", creator=connect, poolclass=NullPool)
    event.listen(engine, "begin", _begin_sqlite)
    event.listen(engine, "invalidate", _undo_sqlite)
    absolute = URL.create("sqlite", database=str(path))
    return SqlStore(role, "sqlite", str(absolute), engine, absolute, path)


def _immutable_stamp(path: Path | None) -> tuple[int, int, int] | None:
    """A mark of a SQLite file that can only be read without locks, which changes when the file is written;
    None for any other file.

    In WAL mode SQLite reads through two more files, which it can't make in a directory that may only be read.
    Without a log beside it, the file is complete. https://sqlite.org/wal.html#read_only_databases
    """
    if path is None or os.access(path.parent, os.W_OK):
        return None
    try:
        with path.open("rb") as file:
            header = file.read(20)
        log = path.with_name(f"{path.name}-wal")
        # https://sqlite.org/fileformat.html: the versions for writing and reading, 2 in WAL mode
        if header[18:20] != b"\x02\x02" or (log.exists() and log.stat().st_size):
            return None
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino


def _begin_sqlite(db: Connection) -> None:
    """Begin for real: Python's sqlite3 would otherwise begin at the first write only."""
    immediate = db.get_execution_options().get("lac_write", False)
    db.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


def _undo_sqlite(handle: sqlite3.Connection, *_: object) -> None:
    """Give up a transaction that Ctrl-C cut off. SQLAlchemy only closes its connection, which SQLite keeps,
    lock and all, for as long as a cursor in the traceback lives."""
    handle.rollback()


def _open_postgres(url: URL, role: Role, read_only: bool) -> SqlStore:
    url = url.set(drivername="postgresql+psycopg")
    try:
        # `_prepare_unless_pooled` allows it where it is safe
        engine = create_engine(url, poolclass=NullPool, connect_args={"prepare_threshold": None})
        from psycopg.pq import Conninfo
    except ModuleNotFoundError:
        raise LacError(
            Diagnostic(
                "missing-driver",
                "PostgreSQL's driver isn't installed",
                "This Python has no `psycopg`.",
                hint="pip install 'lifecycle-as-code[postgres]'",
            )
        ) from None
    except ArgumentError as error:
        raise DatabaseError(diagnose(error, _without_password(url), connected=False)) from None
    known = {option.keyword.decode() for option in Conninfo.get_defaults()}
    for name in url.query:
        if name not in known:
            raise LacError(unknown_option(_without_password(url), name, known))
    if read_only:
        engine = engine.execution_options(postgresql_readonly=True)
    return SqlStore(role, "postgresql", _without_password(url), engine, url)


def _prepare_unless_pooled(db: Connection) -> None:
    """Let psycopg prepare repeated statements unless a pooler is in between: a large apply is a sixth faster.

    A pooler such as PgBouncer hands each transaction to another session, which doesn't know a statement that
    was prepared before, or knows another one under the same name. It also gives each client a process number
    of its own, by which it finds the session that a cancellation is meant for.
    """
    connection: Any = db.connection.dbapi_connection
    # outside the transaction, whose snapshot is taken later
    connection.autocommit = True
    (process,) = connection.execute("SELECT pg_backend_pid()").fetchone()
    connection.autocommit = False
    if process == connection.info.backend_pid:
        connection.prepare_threshold = 5


def _without_password(url: URL) -> str:
    """The address as people may see it. The options may hold a secret, too."""
    public = url.set(drivername="postgresql")
    hidden = {name: "hidden" for name in public.query if _is_secret(name)}
    return public.update_query_dict(hidden).render_as_string(hide_password=True)


def holds_secret(url: str) -> bool:
    """Whether a database's or Redis' address holds a secret; one that can't be read may."""
    try:
        address = make_url(url)
    except (ArgumentError, ValueError):
        return True
    return bool(address.password) or any(map(_is_secret, address.query))


def _is_secret(option: str) -> bool:
    """Whether libpq's connection option holds a secret: `sslpassword`, `oauth_client_secret`,
    `scram_client_key`. https://www.postgresql.org/docs/current/libpq-connect.html"""
    return any(word in option.lower() for word in ("password", "secret", "_key"))


@contextmanager
def _transaction(store: SqlStore, options: dict[str, Any]) -> Iterator[Connection]:
    """The one way to a store's connection: whatever its database or driver raises becomes a DatabaseError.

    The error keeps the traceback and drops its cause, whose text holds the statement and its parameters.
    """
    if store.dialect == "postgresql":
        options["isolation_level"] = "REPEATABLE READ"
    connected = False
    try:
        with store.engine.connect().execution_options(**options) as db:
            if "lac_write" in options and store.dialect == "postgresql":
                _prepare_unless_pooled(db)
            with db.begin():
                connected = True
                yield db
    except (SQLAlchemyError, store.engine.dialect.loaded_dbapi.Error) as error:
        problem = diagnose(error, store.display_address, connected=connected)
        raise DatabaseError(problem).with_traceback(error.__traceback__) from None


def _why_not(scheme: str) -> str:
    if scheme.startswith("http"):
        return "A tracking server's REST address isn't supported yet: use the address of its database."
    if scheme.startswith(("databricks", "uc")):
        return "Databricks and Unity Catalog registries aren't supported yet."
    if scheme.startswith(("mysql", "mssql")):
        return "MLflow can use this database, but lac doesn't support it yet."
    return "lac doesn't support this database."


def _unsupported_store(role: Role, what: str, why: str) -> Diagnostic:
    setting = {
        "tracking": "store",
        "auth": "auth_store",
        "usage": "usage_store",
        "limits": "rate_limit_store",
    }[role]
    return Diagnostic(
        "unsupported-store",
        "this kind of store isn't supported",
        f"`{setting}:` is {what}. {why}",
        hint=f"supported today: {SUPPORTED}{_FURTHER.get(role, '')}",
    )
