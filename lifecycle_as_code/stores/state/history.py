"""Every apply and its changes, in the database that it changed: `lac_applies` and `lac_changes`."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, func, insert, or_, select, update

from ...model.history import Actor, Apply, Line, describe_move, join_names
from ...model.plan import Action, Change
from ...model.spec import Address, Spec, parse_name
from ..sql.clock import clock_ms
from ..sql.rows import within
from .tables import applies, as_text, changes, from_text, schema_version


def begin(db: Connection, apply: Apply, workspace: str, transactions: int = 0) -> None:
    """Record the begin of an apply. The caller has read its times from the database's clock."""
    db.execute(
        insert(applies).values(
            apply_id=apply.apply_id,
            stack=apply.stack,
            workspace=workspace,
            environment=apply.environment,
            command=apply.command,
            started_ms=apply.started_ms,
            transactions=transactions,
            actor=json.dumps(asdict(apply.actor), sort_keys=True),
            plan_digest=apply.plan_digest,
        )
    )


def end(db: Connection, apply_id: str, outcome: str) -> None:
    """Record an apply's outcome."""
    db.execute(
        update(applies).where(applies.c.apply_id == apply_id).values(outcome=outcome, ended_ms=clock_ms(db))
    )


def note_transaction(db: Connection, apply: Apply, workspace: str, transactions: int) -> None:
    """Record, in the transaction itself, that it is the apply's n-th on this database."""
    this = applies.c.apply_id == apply.apply_id
    if not db.execute(update(applies).where(this).values(transactions=transactions)).rowcount:
        begin(db, apply, workspace, transactions)


def has_apply(db: Connection, apply_id: str) -> bool:
    """Whether this database has that apply."""
    return db.scalar(select(applies.c.apply_id).where(applies.c.apply_id == apply_id)) is not None


def count_transactions(db: Connection, apply_id: str) -> int:
    """How many transactions of that apply this database has."""
    if not schema_version(db):
        return 0
    return db.execute(select(applies.c.transactions).where(applies.c.apply_id == apply_id)).scalar() or 0


def of_plan(db: Connection, stack: str, workspace: str, plan_digest: str) -> list[Apply]:
    """The stack's applies of that plan that committed any change in this database; without lines."""
    if schema_version(db) < 2:
        return []
    mine = (applies.c.stack == stack) & (applies.c.workspace == workspace)
    has_changes = select(changes.c.apply_id).where(changes.c.apply_id == applies.c.apply_id).exists()
    query = select(applies).where(mine, applies.c.plan_digest == plan_digest, has_changes)
    return [_apply(row) for row in db.execute(query)]


def note(db: Connection, apply_id: str, stack: str, workspace: str, changes_made: Iterable[Change]) -> None:
    """Record these changes in the transaction that makes them; a rename under both names."""
    lines = [line for change in changes_made for line in (*_former_lines(change), change)]
    if not lines:
        return
    mine = changes.c.apply_id == apply_id
    last = db.execute(select(func.max(changes.c.number)).where(mine)).scalar() or 0
    now = clock_ms(db)
    db.execute(
        insert(changes),
        [
            {
                "apply_id": apply_id,
                "number": number,
                "stack": stack,
                "workspace": workspace,
                "kind": change.address.kind,
                "name": change.address.name,
                "action": str(change.action),
                "reason": change.reason,
                "before": as_text(change.before),
                "after": as_text(change.after),
                "at_ms": now,
            }
            for number, change in enumerate(lines, last + 1)
        ],
    )


def _former_lines(change: Change) -> Iterator[Change]:
    """For a rename, the line under the former name."""
    if change.moved_from is not None and change.before is not None:
        former = change.before.renamed(change.address, change.moved_from)
        reason = describe_move(change.address)
        yield Change(change.moved_from, change.store, Action.MOVE, reason, former, None)


def read(
    db: Connection,
    stack: str,
    workspace: str,
    specs: Mapping[str, type[Spec]],
    address: Address | None = None,
) -> list[Apply]:
    """The applies of a stack, and those of others that took objects from it, the first one first. With
    `address`, only that object's lines, and only the applies that have any."""
    if schema_version(db) < 2:
        return []
    query = select(changes).where(changes.c.workspace == workspace, changes.c.stack == stack)
    if address is not None:
        query = query.where(changes.c.kind == address.kind, changes.c.name == address.name)
    lines: dict[str, list[Line]] = defaultdict(list)
    for line in _lines(db.execute(query.order_by(changes.c.apply_id, changes.c.number)), specs):
        lines[line.apply_id].append(line)
    mine = applies.c.workspace == workspace
    if address is None:
        touching = query.with_only_columns(changes.c.apply_id)
        mine &= or_(applies.c.stack == stack, applies.c.apply_id.in_(touching))
    rows = db.execute(select(applies).where(mine).order_by(applies.c.started_ms, applies.c.apply_id))
    return [
        _apply(row, lines.get(row.apply_id, ())) for row in rows if address is None or row.apply_id in lines
    ]


def of(
    db: Connection, workspace: str, specs: Mapping[str, type[Spec]], addresses: Collection[Address]
) -> dict[Address, list[Line]]:
    """Every stack's changes of these objects, which are of one kind, in order. Changes before a rename
    appear under the present name."""
    if not addresses or schema_version(db) < 2:
        return {}
    (kind,) = {address.kind for address in addresses}
    query: Any = select(changes).where(changes.c.workspace == workspace, changes.c.kind == kind)
    moves = query.where(changes.c.action == str(Action.MOVE), changes.c.after.is_(None))
    departures = {(line.apply_id, line.reason): line for line in _lines(db.execute(moves), specs)}
    by_address: dict[Address, list[Line]] = {}
    pending = {*addresses}
    while pending:
        names = {address.name for address in pending}
        lines = list(_lines(within(db, query, changes.c.name, names), specs))
        by_address |= {address: [] for address in pending}
        for line in lines:
            by_address[line.address].append(line)
        formers = (departures.get((line.apply_id, describe_move(line.address))) for line in lines)
        pending = {former.address for former in formers if former} - by_address.keys()
    return {address: join_names(by_address, departures, address) for address in addresses}


def _lines(rows: Iterable[Any], specs: Mapping[str, type[Spec]]) -> Iterator[Line]:
    """The rows of kinds that this lac knows."""
    for row in rows:
        if kind := specs.get(row.kind):
            yield Line(
                row.apply_id,
                row.number,
                row.stack,
                parse_name(row.kind, row.name, specs),
                row.action,
                row.reason,
                from_text(kind, row.before),
                from_text(kind, row.after),
                row.at_ms,
            )


def _apply(row: Any, lines: Iterable[Line] = ()) -> Apply:
    return Apply(
        row.apply_id,
        row.stack,
        row.environment,
        row.command,
        row.started_ms,
        row.ended_ms,
        row.outcome or "",
        Actor.of(json.loads(row.actor)),
        row.plan_digest,
        tuple(lines),
    )
