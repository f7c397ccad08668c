"""From each version of the `lac_*` tables to the next one.

A step is frozen: it never uses today's table definitions, which go on changing. It may count on nothing but
the tables of the version before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final
from uuid import uuid4

from sqlalchemy import BigInteger, Column, Connection, Integer, MetaData, String, Table, Text, text

from ..sql.clock import clock_ms

# made by the step to version 2

_metadata: Final = MetaData()

applies: Final = Table(
    "lac_applies",
    _metadata,
    Column("apply_id", String(36), primary_key=True),
    Column("stack", String(63), nullable=False, index=True),
    Column("workspace", String(63), nullable=False),
    Column("environment", String(128), nullable=False),
    # apply, destroy, import, …
    Column("command", String(32), nullable=False),
    Column("started_ms", BigInteger, nullable=False),
    # NULL until it ends: then it runs, or it was killed
    Column("ended_ms", BigInteger),
    Column("outcome", String(16)),
    # how many transactions of this apply the store has: it settles a commit whose answer was lost
    Column("transactions", Integer, nullable=False),
    # {"user", "host", "ci", "run", "commit", "remote", "dirty"}
    Column("actor", Text, nullable=False),
    Column("plan_digest", String(80), nullable=False),
)

changes: Final = Table(
    "lac_changes",
    _metadata,
    Column("apply_id", String(36), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("stack", String(63), nullable=False),
    Column("workspace", String(63), nullable=False),
    Column("kind", String(64), nullable=False, index=True),
    Column("name", String(1024), nullable=False),
    Column("action", String(16), nullable=False),
    Column("reason", Text, nullable=False),
    # the object before, and as recorded after; NULL for no object
    Column("before", Text),
    Column("after", Text),
    Column("at_ms", BigInteger, nullable=False),
)


def _to_2(db: Connection) -> None:
    """History begins with what is recorded: as it is, at the time of the record."""
    db.execute(text("ALTER TABLE lac_records ADD COLUMN protected BOOLEAN DEFAULT FALSE NOT NULL"))
    db.execute(text("ALTER TABLE lac_lock ADD COLUMN who VARCHAR(256)"))
    db.execute(text("ALTER TABLE lac_lock ADD COLUMN what VARCHAR(256)"))
    if db.dialect.name == "postgresql":
        # SQLite's integers have no width
        db.execute(
            text("ALTER TABLE lac_lock ALTER COLUMN since TYPE BIGINT, ALTER COLUMN expires TYPE BIGINT")
        )
    _metadata.create_all(db)
    db.execute(text("INSERT INTO lac_meta (key, value) VALUES ('store_id', :id)"), {"id": uuid4().hex})
    now = clock_ms(db)
    stacks = db.execute(text("SELECT DISTINCT stack, workspace FROM lac_records WHERE applied IS NOT NULL"))
    for stack, workspace in stacks.all():
        place = {"apply_id": str(uuid4()), "stack": stack, "workspace": workspace, "now": now}
        db.execute(
            text(
                "INSERT INTO lac_applies (apply_id, stack, workspace, environment, command, started_ms,"
                " ended_ms, outcome, transactions, actor, plan_digest)"
                " VALUES (:apply_id, :stack, :workspace, '', 'upgrade', :now, :now, 'complete', 1, '{}', '')"
            ),
            place,
        )
        db.execute(
            text(
                "INSERT INTO lac_changes (apply_id, number, stack, workspace, kind, name, action, reason,"
                " after, at_ms) SELECT :apply_id, row_number() OVER (ORDER BY kind, name), stack, workspace,"
                " kind, name, 'record', 'history begins', applied, updated_ms FROM lac_records"
                " WHERE stack = :stack AND workspace = :workspace AND applied IS NOT NULL"
            ),
            place,
        )


# made by the step to version 3

_metadata_3: Final = MetaData()

tokens: Final = Table(
    "lac_tokens",
    _metadata_3,
    # random, and no secret
    Column("token_id", String(12), primary_key=True),
    # SHA-256 of the token, in hexadecimal: the token itself is nowhere
    Column("token_hash", String(64), nullable=False, unique=True),
    # MLflow's user by both: who deletes a user and makes another one of the same name makes another id
    Column("user_id", Integer, nullable=False),
    Column("username", String(255), nullable=False),
    # `serving.tokens.mark_user`, on SQLite alone: it may give a deleted user's id to the next one
    Column("user_mark", String(64)),
    # JSON: a list of names; NULL for every endpoint that the user may use
    Column("endpoints", Text),
    Column("description", Text, nullable=False),
    # the actor, for people
    Column("created_by", String(256), nullable=False),
    # milliseconds since 1970 by this database's clock
    Column("created_ms", BigInteger, nullable=False),
    Column("expires_ms", BigInteger, nullable=False),
    Column("revoked_ms", BigInteger),
    # by the endpoints, at most once a minute
    Column("last_used_ms", BigInteger),
)


def _to_3(db: Connection) -> None:
    _metadata_3.create_all(db)


UPGRADES: Final[Mapping[int, Callable[[Connection], None]]] = {1: _to_2, 2: _to_3}
"""By the version that a step starts from."""
