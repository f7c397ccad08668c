"""What a user may do with an endpoint by their roles' grants. Pure: the endpoint asks it, and so do plans."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple

Level = Literal["DENY", "NONE", "READ", "USE", "EDIT", "MANAGE"]

RESOURCE_TYPE = "serving_endpoint"
WORKSPACE = "default"
"""The one MLflow workspace whose roles count for endpoints."""
# MLflow (mlflow/server/auth/permissions.py, PERMISSION_PRIORITY), without DENY, which is no rung but a veto
_ORDER: tuple[Level, ...] = ("NONE", "READ", "USE", "EDIT", "MANAGE")


class Grant(NamedTuple):
    """One row of `role_permissions` that a role of the user in the endpoint's workspace holds."""

    resource_type: str
    pattern: str
    permission: str


def resolve(grants: Iterable[Grant], endpoint: str) -> Level:
    """The user's level on `endpoint`.

    MLflow's rules (mlflow/server/auth: resolve_permissions, fold_grants_for_key): MANAGE on the workspace `*`
    is a workspace admin, whom DENY doesn't bind; otherwise any matching DENY wins, else the highest. A
    pattern is the exact name or `*`. USE on the workspace says nothing about an endpoint. Without a grant:
    NONE, where MLflow would give its `default_permission`, a setting of its server that we don't see.
    """
    best: Level = "NONE"
    denied = False
    for grant in grants:
        match grant:
            case ("workspace", "*", "MANAGE"):
                return "MANAGE"
            case (kind, pattern, "DENY") if kind == RESOURCE_TYPE and pattern in ("*", endpoint):
                denied = True
            case (kind, pattern, level) if kind == RESOURCE_TYPE and pattern in ("*", endpoint):
                best = max(best, _known(level), key=_ORDER.index)
    return "DENY" if denied else best


def may_use(level: Level) -> bool:
    """USE, EDIT and MANAGE may."""
    return level in ("USE", "EDIT", "MANAGE")


def _known(level: str) -> Level:
    return next((known for known in _ORDER if known == level), "NONE")
