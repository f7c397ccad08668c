"""What a database reports, as one diagnostic: a stable code, one line and a way out.

SQLAlchemy's texts hold the statement with its parameters, and drivers' details hold values of rows: neither
is passed on. SQLite's result code or PostgreSQL's SQLSTATE identifies the cause. libpq passes on no SQLSTATE
while connecting, so the server's English words decide there; other languages give `store-unreachable`.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Collection
from difflib import get_close_matches
from typing import Final, NamedTuple

from sqlalchemy.exc import ArgumentError, DBAPIError

from ...model.diagnostics import Diagnostic, LacError


class DatabaseError(LacError):
    """A database, or the driver on the way to it, reported an error."""


FORBIDDEN = "store-forbidden"
LOCKED = "store-locked"
CONFLICT = "write-conflict"
LOGIN = "store-login-failed"
UNREACHABLE = "store-unreachable"
LOST = "store-disconnected"
INCOMPLETE = "store-incomplete"
VALUE = "store-refused-value"
OPTION = "invalid-store-option"
OTHER = "store-error"

ENCODE: Final = (
    "percent-encode the user and the password: write `@` as %40, `/` as %2F, `:` as %3A, `#` as %23,"
    " `?` as %3F and `%` as %25"
)


class _Fault(NamedTuple):
    """`results`: SQLite's codes (https://sqlite.org/rescode.html). `states`: PostgreSQL's SQLSTATEs or their
    classes (https://www.postgresql.org/docs/current/errcodes-appendix.html)."""

    summary: str
    hint: str
    results: tuple[int, ...] = ()
    states: tuple[str, ...] = ()


_FAULTS = {
    "store-full": _Fault(
        "the store's disk is full",
        "free space on the disk of the database, then run the command again",
        (13,),
        ("53100",),
    ),
    "store-read-only": _Fault(
        "the store can't be written",
        "SQLite: check the permissions of the file and its directory; PostgreSQL: connect to the primary, not"
        " to a standby, as a role without `default_transaction_read_only`",
        (8,),
        ("25006",),
    ),
    FORBIDDEN: _Fault(
        "the database user lacks a privilege",
        "examples/postgresql/grants.sql lists the GRANTs that plan and apply need",
        (3, 23),
        ("42501",),
    ),
    LOCKED: _Fault(
        "another program is writing to the store",
        "run the command again when the other writer is done",
        (5, 6, 15),
        ("40P01", "55P03"),
    ),
    CONFLICT: _Fault(
        "another transaction changed the same rows",
        "this transaction wrote nothing; run `lac plan` again",
        (19,),
        ("40001", "23"),
    ),
    "store-timeout": _Fault(
        "the database cancelled a statement",
        "run the command again, or raise `statement_timeout` for this database user",
        states=("57014",),
    ),
    LOGIN: _Fault(
        "the database refused the login",
        f"check the user and the password in `store:` and `auth_store:`; {ENCODE}",
        states=("28",),
    ),
    UNREACHABLE: _Fault(
        "the store can't be opened",
        "check `store:` and `auth_store:` in lac.yaml, and that the server runs",
        (14, 26),
        ("53300", "3D000"),
    ),
    LOST: _Fault(
        "the connection to the store was lost",
        "check the server and the network, then run `lac plan` to see the current state",
        states=("25P03", "25P04", "08", "57"),
    ),
    INCOMPLETE: _Fault(
        "the store lacks a table or a column",
        "check that this is MLflow's database, and run `mlflow db upgrade <store>`; restore missing `lac_*`"
        " tables from a backup",
        states=("42703", "42883", "42P01", "3F000"),
    ),
    "store-damaged": _Fault(
        "the database is damaged",
        "restore it from a backup; on SQLite, `sqlite3 <file> .recover` saves what can be read",
        (11,),
        ("XX001", "XX002"),
    ),
    "store-io-error": _Fault(
        "the database can't access its files",
        "check the disk and the file system of the database; SQLite is unsafe on network file systems",
        (10,),
        ("58",),
    ),
    VALUE: _Fault(
        "the database refused a value",
        "shorten the value, or remove characters that the database can't hold",
        (18, 20),
        ("22",),
    ),
    OPTION: _Fault(
        "the store's address has an invalid option",
        "remove the option from `store:` or `auth_store:`, or correct its value",
    ),
    OTHER: _Fault(
        "the database reported an error", "see the database's log; LAC_DEBUG=1 shows where it happened"
    ),
}
_BY_RESULT = {result: code for code, fault in _FAULTS.items() for result in fault.results}
_BY_STATE = {state: code for code, fault in _FAULTS.items() for state in fault.states}

_CONNECTING = (
    ('role ".*" does not exist', LOGIN, "create the role, or correct the user in the address"),
    ("no encryption|SSL off", UNREACHABLE, "the server requires SSL: add `?sslmode=require` to the address"),
    ("no pg_hba.conf entry", LOGIN, "allow this user, database and machine in the server's pg_hba.conf"),
    ("not permitted to log in", LOGIN, "give the role LOGIN"),
    ("no such user|authentication failed|no password supplied", LOGIN, ""),
    ("permission denied for database", FORBIDDEN, "grant the role CONNECT on the database"),
    ('database ".*" does not exist|no such database', UNREACHABLE, "create the database or correct its name"),
    ("certificate|SSL error", UNREACHABLE, "check `sslmode`, `sslrootcert` and the server's certificate"),
    ("does not support SSL", UNREACHABLE, "set `sslmode=prefer` in the address, or enable SSL on the server"),
    (
        "too many|connection slots|no more connections",
        UNREACHABLE,
        "close other connections, or raise the limit of the server, database or role",
    ),
    (
        "unsupported startup parameter",
        OPTION,
        "remove it from the address, or add it to `ignore_startup_parameters` in pgbouncer.ini",
    ),
    ("(unrecognized configuration|invalid value for) parameter", OPTION, ""),
    ("connection is bad: (invalid|definition of service)", OPTION, ""),
)
"""What a server or libpq says while connecting, the code, and a hint where the code's own is too general."""

_LONGEST = 300


def diagnose(error: Exception, address: str, *, connected: bool) -> Diagnostic:
    """The diagnostic of what SQLAlchemy or its driver raised. `address`: the store's address without its
    password. `connected`: whether the transaction had begun."""
    cause: BaseException = getattr(error, "orig", None) or error
    code, hint = _classify(error, cause, connected)
    sqlstate = getattr(cause, "sqlstate", None)
    # PostgreSQL's message would quote the value
    message = f"SQLSTATE {sqlstate}" if code == VALUE and sqlstate else _message(cause)
    return report(code, f"{address}: {message.rstrip('.')}.", hint)


def report(code: str, detail: str, hint: str = "") -> Diagnostic:
    """The diagnostic of a fault, with its usual hint unless another is given."""
    return Diagnostic(code, _FAULTS[code].summary, detail, hint=hint or _FAULTS[code].hint)


def unknown_option(address: str, name: str, known: Collection[str]) -> Diagnostic:
    """An option in the store's address that PostgreSQL's libpq, which has the `known` ones, doesn't have."""
    near = get_close_matches(name, known, 1)
    hint = f"did you mean `{near[0]}`?" if near else ""
    return report(OPTION, f"{address}: PostgreSQL has no connection option `{name}`.", hint)


def _classify(error: Exception, cause: BaseException, connected: bool) -> tuple[str, str]:
    """The code, and a hint where the code's own is too general."""
    if sqlstate := getattr(cause, "sqlstate", None):
        return _BY_STATE.get(sqlstate) or _BY_STATE.get(sqlstate[:2]) or OTHER, ""
    text = str(cause)
    if isinstance(cause, sqlite3.Error):
        code = _BY_RESULT.get(getattr(cause, "sqlite_errorcode", 0) & 0xFF, OTHER)
        missing = re.search("no such (table|column)|has no column named", text)
        hint = "check `store:` and `auth_store:` in lac.yaml, and the permissions of the file's directory"
        return INCOMPLETE if missing else code, hint if code == UNREACHABLE else ""
    if isinstance(error, ArgumentError):
        return OTHER if connected else OPTION, ""
    if not isinstance(error, DBAPIError):
        return OTHER, ""
    match type(cause).__name__:
        case "DataError":
            return VALUE, ""
        case _ if connected:
            return LOST, ""
        case "ProgrammingError":
            return OPTION, ""
    return next(
        ((code, hint) for words, code, hint in _CONNECTING if re.search(words, text)), (UNREACHABLE, "")
    )


def _message(cause: BaseException) -> str:
    """One line of the database's own, without the details that hold values of rows or the statement."""
    primary = getattr(getattr(cause, "diag", None), "message_primary", None)
    lines = [line.strip() for line in str(primary or cause).splitlines() if line.strip()]
    # libpq reports every address that it tried; the server's own line says most
    line = next((line for line in lines if "FATAL:" in line), lines[0] if lines else type(cause).__name__)
    # sqlite3: Could not decode to UTF-8 column 'c' with text '…'
    line = line.partition(" with text ")[0]
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"
