"""What each stack last applied, object by object: the table `lac_records`."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, delete, false, insert, select

from ...model.snapshot import Pending, Record, Recorded
from ...model.spec import Address, Spec, Store, parse_name
from ..sql.rows import portions
from .tables import as_text, from_text, records, schema_version


def load(
    db: Connection, stack: str, specs: Mapping[str, type[Spec]], workspace: str, stores: Iterable[Store]
) -> Recorded:
    """This stack's records of kinds in `stores`, and the addresses of other stacks' objects. For objects
    outside SQL, which may be out of reach, also what the other stacks last applied."""
    version = schema_version(db)
    if not version:
        return Recorded()
    kinds = [name for name, spec in specs.items() if spec.store in set(stores)]
    columns = records.c
    # a plan reads the tables of an earlier lac as they are; an apply brings them up to date
    protection = columns.protected if version > 1 else false()
    rows = db.execute(
        select(columns.kind, columns.name, columns.stack, columns.applied, columns.pending, protection).where(
            columns.workspace == workspace, columns.kind.in_(kinds)
        )
    )
    ours: dict[Address, Record] = {}
    others: dict[Address, str] = {}
    protected_addresses: set[Address] = set()
    elsewhere: dict[Address, Spec] = {}
    for kind, name, owner, applied, pending, protected in rows:
        address = parse_name(kind, name, specs)
        if owner != stack:
            others[address] = owner
            protected_addresses |= {address} if protected else set()
            if specs[kind].store is Store.SERVE and (last := from_text(specs[kind], applied)) is not None:
                elsewhere[address] = last
            continue
        spec = from_text(specs[kind], applied)
        ours[address] = Record(address, specs[kind].store, spec, _pending(pending), bool(protected))
    return Recorded(ours, others, frozenset(protected_addresses), elsewhere)


def _pending(text: str | None) -> Pending | None:
    if not text:
        return None
    content: dict[str, Any] = json.loads(text)
    return Pending(content["apply_id"], tuple(content["names"]))


def save(
    db: Connection,
    stack: str,
    workspace: str,
    apply_id: str,
    now_ms: int,
    updates: Collection[Record],
    removals: Iterable[Address] = (),
) -> None:
    """Write these records, and drop `removals`, for one stack, in the caller's transaction."""
    rows = [
        {
            "workspace": workspace,
            "kind": record.address.kind,
            "name": record.address.name,
            "stack": stack,
            "applied": as_text(record.spec),
            "pending": record.pending and json.dumps(asdict(record.pending)),
            "apply_id": apply_id,
            "updated_ms": now_ms,
            "protected": record.protected,
        }
        for record in updates
    ]
    names_by_kind: defaultdict[str, set[str]] = defaultdict(set)
    for address in (*(record.address for record in updates), *removals):
        names_by_kind[address.kind].add(address.name)
    columns = records.c
    for kind, names in names_by_kind.items():
        for portion in portions(names):
            mine = columns.workspace == workspace, columns.stack == stack, columns.kind == kind
            db.execute(delete(records).where(*mine, columns.name.in_(portion)))
    if rows:
        db.execute(insert(records), rows)
