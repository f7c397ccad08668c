"""From each version of the `lac_*` tables to the next one.

A step is frozen: it has table definitions of its own and never uses today's, which go on changing. It may
count on nothing but the tables of the version before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final
from uuid import uuid4

from sqlalchemy import BigInteger, Column, Connection, Integer, MetaData, String, Table, Text, insert, text

from ..sql.clock import clock_ms


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
    metadata = MetaData()
    applies = Table(
        "lac_applies",
        metadata,
        Column("apply_id", String(36), primary_key=True),
        Column("stack", String(63), nullable=False, index=True),
        Column("workspace", String(63), nullable=False),
        Column("environment", String(128), nullable=False),
        Column("command", String(32), nullable=False),
        Column("started_ms", BigInteger, nullable=False),
        Column("ended_ms", BigInteger),
        Column("outcome", String(16)),
        Column("transactions", Integer, nullable=False),
        Column("actor", Text, nullable=False),
        Column("plan_digest", String(80), nullable=False),
    )
    changes = Table(
        "lac_changes",
        metadata,
        Column("apply_id", String(36), primary_key=True),
        Column("number", Integer, primary_key=True, autoincrement=False),
        Column("stack", String(63), nullable=False),
        Column("workspace", String(63), nullable=False),
        Column("kind", String(64), nullable=False, index=True),
        Column("name", String(1024), nullable=False),
        Column("action", String(16), nullable=False),
        Column("reason", Text, nullable=False),
        Column("before", Text),
        Column("after", Text),
        Column("at_ms", BigInteger, nullable=False),
    )
    metadata.create_all(db)
    db.execute(text("INSERT INTO lac_meta (key, value) VALUES ('store_id', :id)"), {"id": uuid4().hex})
    now = clock_ms(db)
    query = (
        "SELECT stack, workspace, kind, name, applied, updated_ms FROM lac_records WHERE applied IS NOT NULL"
    )
    by_stack: dict[tuple[str, str], list[Mapping[str, object]]] = {}
    for row in db.execute(text(query)).mappings():
        by_stack.setdefault((row["stack"], row["workspace"]), []).append(dict(row))
    for (stack, workspace), rows in by_stack.items():
        apply_id = str(uuid4())
        db.execute(
            insert(applies).values(
                apply_id=apply_id,
                stack=stack,
                workspace=workspace,
                environment="",
                command="upgrade",
                started_ms=now,
                ended_ms=now,
                outcome="complete",
                transactions=1,
                actor="{}",
                plan_digest="",
            )
        )
        db.execute(
            insert(changes),
            [
                {
                    "apply_id": apply_id,
                    "number": number,
                    "stack": stack,
                    "workspace": workspace,
                    "kind": row["kind"],
                    "name": row["name"],
                    "action": "record",
                    "reason": "history begins",
                    "before": None,
                    "after": row["applied"],
                    "at_ms": row["updated_ms"],
                }
                for number, row in enumerate(rows, 1)
            ],
        )


UPGRADES: Final[Mapping[int, Callable[[Connection], None]]] = {1: _to_2}
"""By the version that a step starts from."""
