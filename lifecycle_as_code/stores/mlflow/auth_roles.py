"""MLflow's roles and users by name: what roles and grants both need to find their rows. Reads only."""

from __future__ import annotations

import re
from typing import Final

from sqlalchemy import Connection, select

from ...model.diagnostics import Diagnostic
from ...model.spec import Address
from .tables import roles, users

_HIDDEN: Final = re.compile(r"__user_([0-9]+)__")


def hidden_user(role: str) -> int | None:
    """The id of the user whose own grants this role holds; None for a role that people made.

    MLflow: `__user_<id>__`, made by its API for one user's grants, and never by hand.
    """
    found = _HIDDEN.fullmatch(role)
    return int(found[1]) if found else None


def role_ids(db: Connection, workspace: str) -> dict[str, int]:
    """Every role of the workspace, hidden ones included: names are unique in one."""
    rows = db.execute(select(roles.c.name, roles.c.id).where(roles.c.workspace == workspace))
    return {row.name: row.id for row in rows}


def user_ids(db: Connection) -> dict[str, int]:
    """Every user: they belong to no workspace. A name that is NULL reads as ""."""
    return {row.username or "": row.id for row in db.execute(select(users.c.username, users.c.id))}


def vanished(missing: Address, by: Address) -> Diagnostic:
    """A writer found that something it needs is gone since the plan was made."""
    return Diagnostic(
        "missing-reference",
        "names something that doesn't exist",
        f"{missing} is gone since the plan was made; {by} needs it.",
        hint="plan again",
    )
