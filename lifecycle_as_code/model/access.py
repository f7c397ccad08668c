"""MLflow's users, roles and grants at one moment. Data alone; `review.access` computes levels from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from ..serving.levels import LEVELS, Grant, ResourceType

ALL: Final = "*"
DENY, NOTHING, READ, USE, EDIT, MANAGE = LEVELS

WORKSPACE: Final = "workspace"
DEFAULT_WORKSPACE: Final = "default"

VERSIONS: Final[Mapping[str, str]] = {
    ResourceType.REGISTERED_MODEL_VERSION: ResourceType.REGISTERED_MODEL,
    ResourceType.PROMPT_VERSION: ResourceType.PROMPT,
}
"""Types of versions (a grant on one covers all versions), and the type whose name identifies them."""

ON_ALL_ONLY: Final = frozenset(
    {
        WORKSPACE,
        "run",
        "trace",
        "assessment",
        "logged_model",
        "review_queue",
        "registered_model_version",
        "prompt_version",
        "scorer_version",
        "mcp_server_version",
    }
)
"""Types on which MLflow accepts grants on `*` only (permissions.TYPE); a row with a name has no effect."""


@dataclass(frozen=True, slots=True)
class Role:
    """A role. `own`: the hidden role with one user's own grants, which counts like any other."""

    name: str
    workspace: str = DEFAULT_WORKSPACE
    members: frozenset[str] = frozenset()
    grants: tuple[Grant, ...] = ()
    own: bool = False


@dataclass(frozen=True, slots=True)
class AccessState:
    """MLflow's auth database at one moment; grants' patterns are names, even where MLflow stores IDs.
    `users`: each, and whether they are an administrator. `default_permission`: the server's own setting."""

    users: Mapping[str, bool] = field(default_factory=dict)
    roles: tuple[Role, ...] = ()
    default_permission: str = READ


class Decision(NamedTuple):
    """An effective level and its reason, for people."""

    level: str
    why: str
