"""Our own tables, `lac_*`: what each stack last applied. They commit with the rows they describe.

No foreign keys to MLflow's tables and no triggers on them, so that MLflow's migrations don't notice
us. Reading creates nothing: where the tables are missing, nothing is recorded.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    bindparam,
    delete,
    insert,
    inspect,
    select,
)

from .diagnostics import Diagnostic, LacError
from .snapshot import Pending, Record, Recorded
from .spec import Address, Spec, Store, construct, parse_address, plain

SCHEMA_VERSION = 1

metadata = MetaData()

meta = Table(
    "lac_meta",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("value", Text, nullable=False),
)

records = Table(
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
)

locks = Table(
    "lac_lock",
    metadata,
    Column("name", String(128), primary_key=True),
    Column("holder", String(256), nullable=False),
    Column("token", String(36), nullable=False),
    Column("fence", Integer, nullable=False),
    # seconds since 1970 by the database's clock
    Column("since", Integer, nullable=False),
    Column("expires", Integer, nullable=False),
)


def install(db: Connection) -> None:
    """Create our tables where they are missing. LacError where a newer version of us made them."""
    if _version(db) is None:
        metadata.create_all(db)
        db.execute(insert(meta).values(key="schema_version", value=str(SCHEMA_VERSION)))


def installed(db: Connection) -> bool:
    """Whether our tables are there, in a version that we know; LacError where it is a newer one."""
    return _version(db) is not None


def _version(db: Connection) -> int | None:
    if not inspect(db).has_table(meta.name):
        return None
    version = int(db.execute(select(meta.c.value).where(meta.c.key == "schema_version")).scalar_one())
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


def load(
    db: Connection, stack: str, specs: Mapping[str, type[Spec]], workspace: str, stores: Iterable[Store]
) -> Recorded:
    """This stack's records of kinds that live in `stores`, and other stacks' addresses."""
    if not installed(db):
        return Recorded()
    kinds = [name for name, spec in specs.items() if spec.store in set(stores)]
    rows = db.execute(
        select(records.c.kind, records.c.name, records.c.stack, records.c.applied, records.c.pending).where(
            records.c.workspace == workspace, records.c.kind.in_(kinds)
        )
    )
    ours: dict[Address, Record] = {}
    others: dict[Address, str] = {}
    for kind, name, owner, applied, pending in rows:
        address = parse_address(f"{kind}.{name}", specs)
        if owner != stack:
            others[address] = owner
            continue
        spec = construct(specs[kind], json.loads(applied)) if applied else None
        ours[address] = Record(address, specs[kind].store, spec, _pending(pending))
    return Recorded(ours, others)


def _pending(text: str | None) -> Pending | None:
    if not text:
        return None
    held: dict[str, Any] = json.loads(text)
    return Pending(held["apply_id"], tuple(held["names"]))


def save(
    db: Connection,
    stack: str,
    workspace: str,
    apply_id: str,
    now_ms: int,
    kept: Iterable[Record],
    forgotten: Iterable[Address] = (),
) -> None:
    """Write these records, and drop those of `forgotten`, for one stack, in the caller's transaction."""
    rows = [
        {
            "workspace": workspace,
            "kind": record.address.kind,
            "name": record.address.name,
            "stack": stack,
            "applied": None if record.spec is None else json.dumps(plain(record.spec), sort_keys=True),
            "pending": record.pending
            and json.dumps({"apply_id": record.pending.apply_id, "names": list(record.pending.names)}),
            "apply_id": apply_id,
            "updated_ms": now_ms,
        }
        for record in kept
    ]
    gone = [(row["kind"], row["name"]) for row in rows] + [(a.kind, a.name) for a in forgotten]
    if gone:
        db.execute(
            delete(records).where(
                records.c.workspace == workspace,
                records.c.stack == stack,
                records.c.kind == bindparam("k"),
                records.c.name == bindparam("n"),
            ),
            [{"k": kind, "n": name} for kind, name in gone],
        )
    if rows:
        db.execute(insert(records), rows)
