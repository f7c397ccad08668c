"""What a user may do with an endpoint by their roles' grants. Pure: both endpoints and plans use it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import StrEnum
from typing import Literal, NamedTuple, get_args

Level = Literal["DENY", "NO_PERMISSIONS", "READ", "USE", "EDIT", "MANAGE"]
"""MLflow's levels (mlflow/server/auth/permissions.py, PERMISSION_PRIORITY), the lowest first; DENY isn't a
level but a veto."""
LEVELS: tuple[Level, ...] = get_args(Level)


class ResourceType(StrEnum):
    """MLflow's types of resources in grants (mlflow/server/auth/permissions.py, VALID_RESOURCE_TYPES), and
    `serving_endpoint`: MLflow lists such grants and ignores them; the endpoint enforces them.

    A type that is a kind's `grantable` is spelled like the kind, so `Address(type, (name,))` is the object's.
    """

    WORKSPACE = "workspace"
    EXPERIMENT = "experiment"
    RUN = "run"
    TRACE = "trace"
    ASSESSMENT = "assessment"
    LOGGED_MODEL = "logged_model"
    REVIEW_QUEUE = "review_queue"
    REGISTERED_MODEL = "registered_model"
    REGISTERED_MODEL_VERSION = "registered_model_version"
    PROMPT = "prompt"
    PROMPT_VERSION = "prompt_version"
    SCORER = "scorer"
    SCORER_VERSION = "scorer_version"
    GATEWAY_SECRET = "gateway_secret"
    GATEWAY_ENDPOINT = "gateway_endpoint"
    GATEWAY_MODEL_DEFINITION = "gateway_model_definition"
    MCP_SERVER = "mcp_server"
    MCP_SERVER_VERSION = "mcp_server_version"
    SERVING_ENDPOINT = "serving_endpoint"


RESOURCE_TYPE = ResourceType.SERVING_ENDPOINT
WORKSPACE = "default"
"""The one MLflow workspace whose roles count for endpoints."""
HIDDEN_ROLE = re.compile(r"__user_([0-9]+)__")
"""The role that holds a user's own grants, by the user's id: made by MLflow's API, and never by hand."""


class Grant(NamedTuple):
    """One row of `role_permissions` that a role of the user in the endpoint's workspace holds."""

    resource_type: str
    pattern: str
    permission: str


def rank(level: str) -> int:
    """The higher, the more it allows; -1 for a level that MLflow doesn't know."""
    return next((place for place, known in enumerate(LEVELS) if known == level), -1)


def read_level(level: str) -> Level:
    """The level; NO_PERMISSIONS for one that MLflow doesn't know, on which its server fails."""
    return next((known for known in LEVELS if known == level), "NO_PERMISSIONS")


def resolve(grants: Iterable[Grant], endpoint: str) -> Level:
    """The user's level on `endpoint`.

    MLflow's rules (mlflow/server/auth: resolve_permissions, fold_grants_for_key): MANAGE on the workspace `*`
    is a workspace admin, whom DENY doesn't bind; otherwise any matching DENY wins, else the highest. A
    pattern is the exact name or `*`. USE on the workspace says nothing about an endpoint. Without a grant:
    nothing, where MLflow would give its `default_permission`, a setting of its server that we don't see.
    """
    best: Level = "NO_PERMISSIONS"
    denied = False
    for grant in grants:
        match grant:
            case ("workspace", "*", "MANAGE"):
                return "MANAGE"
            case (kind, pattern, "DENY") if kind == RESOURCE_TYPE and pattern in ("*", endpoint):
                denied = True
            case (kind, pattern, level) if kind == RESOURCE_TYPE and pattern in ("*", endpoint):
                best = max(best, read_level(level), key=rank)
    return "DENY" if denied else best


def may_use(level: Level) -> bool:
    """USE, EDIT and MANAGE may."""
    return level in ("USE", "EDIT", "MANAGE")
