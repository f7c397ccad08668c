"""Rename rows, and the grants on them. The kind renames the rest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Table, bindparam, select

from ...model.diagnostics import Diagnostic, refuse
from ...model.spec import Address
from ..sql import rows
from .tables import role_permissions, roles

Names = Mapping[Address, Address]
"""Each object's address before and after. All are of one kind, whose key is the name."""


def rename(db: Connection, table: Table, workspace: str, names: Names, values: Mapping[str, Any]) -> None:
    """Rename in `table`, and give the same rows `values`, such as a time.

    LacError if any row of that table has one of the new names: prompts, deleted experiments and objects
    that are renamed in the same plan count, too.
    """
    if not names:
        return
    query = select(table.c.name).where(table.c.workspace == workspace)
    conflicts = {name for (name,) in rows.within(db, query, table.c.name, {_name(a) for a in names.values()})}
    refuse(
        _conflict(
            f"{before} can't be renamed to `{after.name}`: MLflow already has an object with that name.",
            "choose another name; prompts and deleted experiments keep theirs",
        )
        for before, after in names.items()
        if _name(after) in conflicts
    )
    db.execute(
        table.update()
        .where(table.c.workspace == workspace, table.c.name == bindparam("former"))
        .values(name=bindparam("name_after"), **values),
        [{"former": _name(before), "name_after": _name(after)} for before, after in names.items()],
    )


def rename_grants(db: Connection, workspace: str, names: Names) -> None:
    """Update every grant on these resources, hidden roles' too, to their new names.

    LacError if a role already has a grant on the new name, left over from a deleted object: lac can't
    decide which of the two is meant.
    """
    grants = role_permissions.c
    query = (
        select(grants.id, roles.c.name, grants.resource_type, grants.resource_pattern)
        .join(roles, roles.c.id == grants.role_id)
        .where(roles.c.workspace == workspace, grants.resource_type.in_({a.kind for a in names}))
    )
    patterns = {_name(address) for pair in names.items() for address in pair}
    grant_ids = {
        (role, Address(kind, (pattern,))): number
        for number, role, kind, pattern in rows.within(db, query, grants.resource_pattern, patterns)
    }
    mine = {key: number for key, number in grant_ids.items() if key[1] in names}
    refuse(
        _conflict(
            f"Role `{role}` already has a grant on {names[a]}, left over from a deleted object.",
            "remove one of the role's two grants first",
        )
        for role, a in mine
        if (role, names[a]) in grant_ids
    )
    updates = [{"id": number, "resource_pattern": _name(names[a])} for (_, a), number in mine.items()]
    rows.change(db, role_permissions, updates)


def _name(address: Address) -> str:
    return str(address.key[0])


def _conflict(detail: str, hint: str) -> Diagnostic:
    return Diagnostic("name-taken", "the name is already in use", detail, hint=hint)
