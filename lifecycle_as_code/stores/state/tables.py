"""The `lac_*` tables: declared, made, and brought up to date. Times are the database's, never a client's."""

from __future__ import annotations

import json
from typing import Final
from uuid import uuid4

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    false,
    insert,
    inspect,
    select,
    text,
    update,
)

from ...model.diagnostics import Diagnostic, LacError
from ...model.spec import P, Part, construct, plain
from ..sql.errors import CONFLICT, report
from . import upgrades

SCHEMA_VERSION: Final = 3
"""1: records and a lease. 2: marks of protection, history, who holds the lock and since when. 3: tokens, of
which there are any in the auth database alone.

A change of a table below needs a new version, and a step to it in `upgrades`."""

metadata: Final = MetaData()

meta: Final = Table(
    "lac_meta",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("value", Text, nullable=False),
)

records: Final = Table(
    "lac_records",
    metadata,
    Column("workspace", String(63), primary_key=True),
    Column("kind", String(64), primary_key=True),
    Column("name", String(1024), primary_key=True),
    Column("stack", String(63), nullable=False, index=True),
    # the spec as applied, in the store's form; NULL while the first apply is pending
    Column("applied", Text),
    # {"apply_id", "names"} of an effect outside SQL that was begun and not ended
    Column("pending", Text),
    Column("apply_id", String(36), nullable=False),
    Column("updated_ms", BigInteger, nullable=False),
    # `lifecycle: {prevent_destroy: true}`: it outlives the block that declared it
    Column("protected", Boolean, nullable=False, server_default=false()),
)

locks: Final = Table(
    "lac_lock",
    metadata,
    # the stack
    Column("name", String(128), primary_key=True),
    # the identity of the process that holds it, for `processes.is_alive`; empty without a holder
    Column("holder", String(256), nullable=False),
    # the lock's id, the same as its apply's
    Column("token", String(36), nullable=False),
    # one more with each holder, and never less: a writer with a lower one has lost the lock
    Column("fence", Integer, nullable=False),
    # seconds since 1970 by the database's clock
    Column("since", BigInteger, nullable=False),
    Column("expires", BigInteger, nullable=False),
    # for messages: the holder, and its command
    Column("who", String(256)),
    Column("what", String(256)),
)

# as version 2 made them: a change of one needs a declaration here, and leaves the step's alone
applies: Final = upgrades.applies.to_metadata(metadata)
changes: Final = upgrades.changes.to_metadata(metadata)
# as version 3 made it
tokens: Final = upgrades.tokens.to_metadata(metadata)

STORE_ID: Final = "store_id"
_VERSION: Final = "schema_version"
# an advisory lock's number of our own: one process at a time creates the tables
_MAKING: Final = 0x6C6163


def install(db: Connection) -> None:
    """Create the `lac_*` tables, or upgrade older ones. LacError if a newer lac made them, and
    `write-conflict` if another process creates them at the same time."""
    version = schema_version(db)
    if version == SCHEMA_VERSION:
        return
    if db.dialect.name == "postgresql":
        # two first applies at once would both find no tables
        db.execute(text("SELECT pg_advisory_xact_lock(:n)"), {"n": _MAKING})
        _refuse_overtaken(db, version)
    if not version:
        metadata.create_all(db)
        db.execute(insert(meta).values(key=_VERSION, value=str(SCHEMA_VERSION)))
        db.execute(insert(meta).values(key=STORE_ID, value=uuid4().hex))
        return
    for number in range(version, SCHEMA_VERSION):
        upgrades.UPGRADES[number](db)
    db.execute(update(meta).where(meta.c.key == _VERSION).values(value=str(SCHEMA_VERSION)))


def _refuse_overtaken(db: Connection, version: int) -> None:
    """Fail if another process created or upgraded the tables while we waited: our snapshot is too old."""
    if version:
        # fails by itself on a row that was written since
        db.execute(select(meta.c.value).where(meta.c.key == _VERSION).with_for_update())
    elif db.execute(text(f"SELECT to_regclass('{meta.name}')")).scalar() is not None:
        detail = "Another lac created the `lac_*` tables at the same time."
        raise LacError(report(CONFLICT, detail, "run the command again"))


def schema_version(db: Connection) -> int:
    """The version of the `lac_*` tables, 0 without any; LacError if it is newer than this lac."""
    if not inspect(db).has_table(meta.name):
        return 0
    version = int(db.execute(select(meta.c.value).where(meta.c.key == _VERSION)).scalar_one())
    if version > SCHEMA_VERSION:
        raise LacError(
            Diagnostic(
                "newer-records",
                "the store's records were written by a newer lac",
                f"Their schema version is {version}; this lac knows {SCHEMA_VERSION}.",
                hint="upgrade lifecycle-as-code",
            )
        )
    return version


def store_id(db: Connection) -> str:
    """This database's id, which it keeps itself; empty without `lac_*` tables."""
    if not schema_version(db):
        return ""
    return db.execute(select(meta.c.value).where(meta.c.key == STORE_ID)).scalar() or ""


# --- specs in columns: JSON, which older and newer versions of a spec's class can read

_ENCODER: Final = json.JSONEncoder(sort_keys=True)


def as_text(spec: Part | None) -> str | None:
    """The column's text; None, its NULL, for no spec."""
    return None if spec is None else _ENCODER.encode(plain(spec))


def from_text(kind: type[P], text: str | None) -> P | None:
    """The spec in a column, taken as it is."""
    return construct(kind, json.loads(text)) if text else None
