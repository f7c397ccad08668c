"""Another name for rows that have one, and for the grants that go by it. What else follows is the kind's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Table, bindparam, select

from ...model.diagnostics import Diagnostic, refuse
from ...model.spec import Address
from . import rows
from .tables import role_permissions, roles

Names = Mapping[Address, Address]
"""From what objects are called to what they shall be called. Of one kind, whose key is the name."""


def rename(db: Connection, table: Table, workspace: str, names: Names, moved: Mapping[str, Any]) -> None:
    """Rename in `table`, and give the same rows the values `moved`, such as a time.

    LacError where a name is taken: by whatever MLflow keeps in that table, prompts and deleted experiments
    too, and by an object that is itself to be renamed.
    """
    if not names:
        return
    query = select(table.c.name).where(table.c.workspace == workspace)
    taken = {name for (name,) in rows.within(db, query, table.c.name, {_name(a) for a in names.values()})}
    refuse(_taken(before, after) for before, after in names.items() if _name(after) in taken)
    db.execute(
        table.update()
        .where(table.c.workspace == workspace, table.c.name == bindparam("former"))
        .values(name=bindparam("given"), **moved),
        [{"former": _name(before), "given": _name(after)} for before, after in names.items()],
    )


def rename_grants(db: Connection, workspace: str, names: Names) -> None:
    """Let every grant on these resources, hidden roles' too, name them as they are called now.

    LacError where a role already has a grant on the new name, left there by something deleted: which of the
    two is meant isn't ours to say.
    """
    grants = role_permissions.c
    query = (
        select(grants.id, roles.c.name, grants.resource_type, grants.resource_pattern)
        .join(roles, roles.c.id == grants.role_id)
        .where(roles.c.workspace == workspace, grants.resource_type.in_({a.kind for a in names}))
    )
    wanted = {_name(address) for pair in names.items() for address in pair}
    held = {
        (role, Address(kind, (pattern,))): number
        for number, role, kind, pattern in rows.within(db, query, grants.resource_pattern, wanted)
    }
    mine = {key: number for key, number in held.items() if key[1] in names}
    refuse(_granted(role, names[a]) for role, a in mine if (role, names[a]) in held)
    changed = [{"id": number, "resource_pattern": _name(names[a])} for (_, a), number in mine.items()]
    rows.change(db, role_permissions, ("id",), changed)


def _name(address: Address) -> str:
    return str(address.key[0])


def _taken(before: Address, after: Address) -> Diagnostic:
    return Diagnostic(
        "name-taken",
        "something else has this name",
        f"{before} can't be renamed to `{after.name}`: MLflow has something of that name already.",
        hint="choose another name; a prompt or a deleted experiment keeps its own",
    )


def _granted(role: str, after: Address) -> Diagnostic:
    return Diagnostic(
        "name-taken",
        "something else has this name",
        f"Role `{role}` has a grant on {after} already, left by something deleted; it can't have two.",
        hint="remove one of the role's two grants first",
    )
