"""What a user may really do with a resource: MLflow's roles and grants, worked out as its server does. Pure.

`AccessState` is what is known of the auth database and of the server's `default_permission`; `level` is the
decision, and `why` names what decides. Nothing is read or compared here: `stores.auth_state` reads,
`access_changes` compares.

The rules are MLflow's (mlflow/server/auth: `resolve_permissions`; requirements: `fold_grants_for_key`,
`governing_permission`, `floor_positive_permission`), for its own types; an endpoint's are `serving.levels`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from ...model.text import join_first
from ...serving import levels as endpoints
from ...serving.levels import LEVELS, Grant, rank, read_level

ALL: Final = "*"
DENY, NOTHING, READ, USE, EDIT, MANAGE = LEVELS

WORKSPACE: Final = "workspace"
DEFAULT_WORKSPACE: Final = "default"

VERSIONS: Final[Mapping[str, str]] = {
    "registered_model_version": "registered_model",
    "prompt_version": "prompt",
}
"""Types of versions, whose grants are on all versions there are, and the type whose name they go by."""

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
"""Types on which MLflow takes no grant but `*` (permissions.TYPE); a row with a name does nothing."""

_LISTED: Final = 3


@dataclass(frozen=True, slots=True)
class Role:
    """A role with its members and grants. `own`: the hidden role that holds one user's own grants, which
    counts like any other."""

    name: str
    workspace: str = DEFAULT_WORKSPACE
    members: frozenset[str] = frozenset()
    grants: tuple[Grant, ...] = ()
    own: bool = False


@dataclass(frozen=True, slots=True)
class AccessState:
    """MLflow's auth database at one moment. A grant's pattern is as people write it: a name, also where
    MLflow keeps an id.

    `users`: every user, and whether they are an administrator. `default_permission`: the server's own
    setting, which no database holds.
    """

    users: Mapping[str, bool] = field(default_factory=dict)
    roles: tuple[Role, ...] = ()
    default_permission: str = READ


class Decision(NamedTuple):
    """An effective level and what decides it, for people."""

    level: str
    why: str


def level(
    state: AccessState,
    user: str,
    resource_type: str,
    resource_id: str,
    workspace: str = DEFAULT_WORKSPACE,
) -> str:
    """The user's effective level on a resource that is in `workspace`: one of `review.LEVELS`.

    `resource_id` `*` is any resource that no grant names. For a type of versions it is the model's name,
    and the level is what the user may do with its versions.
    """
    return Effective(state, workspace).decide(user, resource_type, resource_id).level


def why(
    state: AccessState,
    user: str,
    resource_type: str,
    resource_id: str,
    workspace: str = DEFAULT_WORKSPACE,
) -> str:
    """What makes it that level: `role analysts: READ`, `DENY by role x`, `default permission`, …"""
    return Effective(state, workspace).decide(user, resource_type, resource_id).why


class _Held(NamedTuple):
    """A grant of a role that the user has."""

    role: Role
    grant: Grant


_Grants = Mapping[tuple[str, str], list[_Held]]
"""One user's grants, by type and pattern."""


class Effective:
    """Every user's level on everything in one workspace. Indexes the state once; for many questions."""

    def __init__(self, state: AccessState, workspace: str = DEFAULT_WORKSPACE) -> None:
        self.state = state
        self.workspace = workspace
        self._roles: dict[tuple[str, str], list[Role]] = {}
        self._grants: dict[tuple[str, str], _Grants] = {}
        for role in state.roles:
            for member in role.members:
                self._roles.setdefault((member, role.workspace), []).append(role)

    def decide(self, user: str, resource_type: str, resource_id: str) -> Decision:
        """The level and why."""
        if user not in self.state.users:
            return Decision(NOTHING, "no such user")
        if self.state.users[user]:
            return Decision(MANAGE, "administrator")
        if resource_type == endpoints.RESOURCE_TYPE:
            return self._on_endpoint(user, resource_id)
        held = self.grants(user, self.workspace)
        if admin := _workspace_admin(held):
            return admin
        if resource_type == WORKSPACE:
            return _fold(held, WORKSPACE, ALL) or Decision(NOTHING, "no grant")
        if parent := VERSIONS.get(resource_type):
            return self._on_versions(held, resource_type, parent, resource_id)
        return self._on(held, resource_type, resource_id)

    def workspace_of(self, resource_type: str) -> str:
        """The workspace whose roles count for this type: the resource's own, but for endpoints."""
        return endpoints.WORKSPACE if resource_type == endpoints.RESOURCE_TYPE else self.workspace

    def grants(self, user: str, workspace: str) -> _Grants:
        """What the user's roles in that workspace are granted."""
        key = user, workspace
        if key not in self._grants:
            found: dict[tuple[str, str], list[_Held]] = {}
            for role in self._roles.get(key, ()):
                for grant in role.grants:
                    found.setdefault((grant.resource_type, grant.pattern), []).append(_Held(role, grant))
            self._grants[key] = found
        return self._grants[key]

    def _on(self, held: _Grants, resource_type: str, resource_id: str) -> Decision:
        found = _fold(held, resource_type, resource_id)
        return self._default() if found is None else self._floored(found)

    def _default(self) -> Decision:
        """Without a grant. Where workspaces are enabled MLflow gives nothing then; that they are is known of
        a workspace other than `default`."""
        if self.workspace != DEFAULT_WORKSPACE:
            return Decision(NOTHING, "no grant")
        return Decision(self.state.default_permission, "default permission")

    def _floored(self, found: Decision) -> Decision:
        """MLflow: no grant gives less than the default permission, but for a veto."""
        if found.level in (DENY, NOTHING) or rank(found.level) >= rank(self.state.default_permission):
            return found
        return Decision(self.state.default_permission, "default permission")

    def _on_versions(self, held: _Grants, resource_type: str, parent: str, name: str) -> Decision:
        """MLflow: the model has to be readable, a DENY on versions is a veto, and for all but reading a
        grant on versions counts instead of the model's, be it higher or lower."""
        model = self._on(held, parent, name)
        found = _fold(held, resource_type, ALL)
        if found is None:
            return model
        found = self._floored(found)
        if rank(model.level) >= rank(READ):
            return found if found.level != NOTHING else Decision(READ, model.why)
        return model

    def _on_endpoint(self, user: str, endpoint: str) -> Decision:
        """As the endpoint's replicas decide: roles of the workspace `default` alone, and no default."""
        held = self.grants(user, endpoints.WORKSPACE)
        if admin := _workspace_admin(held):
            return admin
        kind = endpoints.RESOURCE_TYPE
        matching = {pattern: held.get((kind, pattern), []) for pattern in (ALL, endpoint)}
        decided = endpoints.resolve((h.grant for each in matching.values() for h in each), endpoint)
        if decided == NOTHING:
            return Decision(NOTHING, "no grant")
        found = _fold(held, kind, endpoint)
        return Decision(decided, found.why if found else "")


def _workspace_admin(held: _Grants) -> Decision | None:
    """MLflow: MANAGE on the workspace is above everything, DENY too."""
    found = [h for h in held.get((WORKSPACE, ALL), ()) if h.grant.permission == MANAGE]
    return Decision(MANAGE, f"{_by(found)}: MANAGE on the workspace") if found else None


def _fold(held: _Grants, resource_type: str, name: str) -> Decision | None:
    """The user's grants of one type that match: DENY wins, otherwise the highest. None without any.

    A level that MLflow doesn't know gives nothing: its server fails over it.
    """
    by_name = held.get((resource_type, name), []) if resource_type not in ON_ALL_ONLY else []
    on_all = held.get((resource_type, ALL), [])
    if not by_name and not on_all:
        return None
    levels = {held.grant.permission for each in (by_name, on_all) for held in each}
    decided = DENY if DENY in levels else max((read_level(each) for each in levels), key=rank)
    exact = [h for h in by_name if read_level(h.grant.permission) == decided]
    deciding = exact or [h for h in on_all if read_level(h.grant.permission) == decided]
    what = "" if exact and name != ALL else " on *"
    if decided == DENY:
        return Decision(DENY, f"DENY{what} by {_by(deciding)}")
    return Decision(decided, f"{_by(deciding)}: {decided}{what}")


def _by(held: Iterable[_Held]) -> str:
    """The roles by name, not too many of them; a hidden one goes by what it is."""
    roles = {each.role.name: each.role.own for each in held}
    names = sorted(name for name, own in roles.items() if not own)
    parts = ["own grant"] if len(names) < len(roles) else []
    if names:
        parts.append(f"role{'s' * (len(names) > 1)} {join_first(names, _LISTED)}")
    return " and ".join(parts)
