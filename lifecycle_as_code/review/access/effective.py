"""A user's effective level on a resource: MLflow's roles and grants, resolved as its server does. Pure.

The rules are MLflow's (mlflow/server/auth: `resolve_permissions`; requirements: `fold_grants_for_key`,
`governing_permission`, `floor_positive_permission`), for its own types; an endpoint's are `serving.levels`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from ...model.access import (
    ALL,
    DEFAULT_WORKSPACE,
    DENY,
    MANAGE,
    NOTHING,
    ON_ALL_ONLY,
    READ,
    VERSIONS,
    WORKSPACE,
    AccessState,
    Decision,
    Role,
)
from ...model.text import join_first
from ...serving import levels as endpoints
from ...serving.levels import Grant, rank, read_level


class RoleGrant(NamedTuple):
    """A grant, and the user's role that has it."""

    role: Role
    grant: Grant


_Grants = Mapping[tuple[str, str], list[RoleGrant]]
"""One user's grants, by type and pattern."""


class Effective:
    """Every user's level on everything in one workspace. Indexes the state once, for many queries."""

    def __init__(self, state: AccessState, workspace: str = DEFAULT_WORKSPACE) -> None:
        self.state = state
        self.workspace = workspace
        self._roles: dict[tuple[str, str], list[Role]] = {}
        self._grants: dict[tuple[str, str], _Grants] = {}
        for role in state.roles:
            for member in role.members:
                self._roles.setdefault((member, role.workspace), []).append(role)

    def decide(self, user: str, resource_type: str, resource_id: str) -> Decision:
        """The user's level on a resource, and the reason: `role analysts: READ`, `default permission`, …
        `resource_id` `*` stands for any resource that no grant names. For a type of versions it is the
        model's name, and the level applies to the model's versions."""
        if user not in self.state.users:
            return Decision(NOTHING, "no such user")
        if self.state.users[user]:
            return Decision(MANAGE, "administrator")
        grants = self.grants(user, self.workspace_of(resource_type))
        if admin := _workspace_admin(grants):
            return admin
        if resource_type == endpoints.RESOURCE_TYPE:
            return _decide_endpoint(grants, resource_id)
        if resource_type == WORKSPACE:
            return _fold(grants, WORKSPACE, ALL) or _NO_GRANT
        if parent := VERSIONS.get(resource_type):
            return self._decide_versions(grants, resource_type, parent, resource_id)
        return self._decide_resource(grants, resource_type, resource_id)

    def workspace_of(self, resource_type: str) -> str:
        """The workspace whose roles apply to this type: the resource's own, except for endpoints."""
        return endpoints.WORKSPACE if resource_type == endpoints.RESOURCE_TYPE else self.workspace

    def grants(self, user: str, workspace: str) -> _Grants:
        """The grants of the user's roles in that workspace."""
        key = user, workspace
        if key not in self._grants:
            grants: dict[tuple[str, str], list[RoleGrant]] = {}
            for role in self._roles.get(key, ()):
                for grant in role.grants:
                    grants.setdefault((grant.resource_type, grant.pattern), []).append(RoleGrant(role, grant))
            self._grants[key] = grants
        return self._grants[key]

    def _decide_resource(self, grants: _Grants, resource_type: str, resource_id: str) -> Decision:
        decision = _fold(grants, resource_type, resource_id)
        return self._default() if decision is None else self._raise_to_default(decision)

    def _default(self) -> Decision:
        """Without a grant: nothing with MLflow's workspaces, which any but `default` shows to be enabled."""
        if self.workspace != DEFAULT_WORKSPACE:
            return _NO_GRANT
        return Decision(self.state.default_permission, "default permission")

    def _raise_to_default(self, decision: Decision) -> Decision:
        """MLflow: no grant gives less than the default permission, except for a veto."""
        if decision.level in (DENY, NOTHING) or rank(decision.level) >= rank(self.state.default_permission):
            return decision
        return Decision(self.state.default_permission, "default permission")

    def _decide_versions(self, grants: _Grants, resource_type: str, parent: str, name: str) -> Decision:
        """MLflow: the model must be readable, a DENY on versions is a veto, and for everything but reading a
        grant on versions replaces the model's, whether higher or lower."""
        model = self._decide_resource(grants, parent, name)
        decision = _fold(grants, resource_type, ALL)
        if decision is None:
            return model
        decision = self._raise_to_default(decision)
        if rank(model.level) >= rank(READ):
            return decision if decision.level != NOTHING else Decision(READ, model.why)
        return model


_NO_GRANT: Final = Decision(NOTHING, "no grant")


def _decide_endpoint(grants: _Grants, endpoint: str) -> Decision:
    """As the endpoint's replicas decide: by roles of the workspace `default` alone, with no default."""
    kind = endpoints.RESOURCE_TYPE
    matches = [each.grant for pattern in {ALL, endpoint} for each in grants.get((kind, pattern), ())]
    level, decision = endpoints.resolve(matches, endpoint), _fold(grants, kind, endpoint)
    return Decision(level, decision.why) if decision and level != NOTHING else _NO_GRANT


def _workspace_admin(grants: _Grants) -> Decision | None:
    """MLflow: MANAGE on the workspace overrides everything, even DENY."""
    admins = [each for each in grants.get((WORKSPACE, ALL), ()) if each.grant.permission == MANAGE]
    return Decision(MANAGE, f"{_name_roles(admins)}: MANAGE on the workspace") if admins else None


def _fold(grants: _Grants, resource_type: str, name: str) -> Decision | None:
    """The decision of the user's grants of one type that match, if any: DENY wins, otherwise the highest. A
    level that MLflow doesn't know gives nothing: its server fails on it."""
    by_name = grants.get((resource_type, name), []) if resource_type not in ON_ALL_ONLY else []
    on_all = grants.get((resource_type, ALL), [])
    if not by_name and not on_all:
        return None
    levels = {each.grant.permission for each in (*by_name, *on_all)}
    level = DENY if DENY in levels else max(map(read_level, levels), key=rank)
    exact = [each for each in by_name if read_level(each.grant.permission) == level]
    deciding = exact or [each for each in on_all if read_level(each.grant.permission) == level]
    what = "" if exact and name != ALL else " on *"
    if level == DENY:
        return Decision(DENY, f"DENY{what} by {_name_roles(deciding)}")
    return Decision(level, f"{_name_roles(deciding)}: {level}{what}")


def _name_roles(grants: Iterable[RoleGrant]) -> str:
    """The first roles by name; a hidden one as `own grant`."""
    roles = {each.role.name: each.role.own for each in grants}
    names = sorted(name for name, own in roles.items() if not own)
    parts = ["own grant"] if len(names) < len(roles) else []
    if names:
        parts.append(f"role{'s' * (len(names) > 1)} {join_first(names)}")
    return " and ".join(parts)
