"""MLflow's users, roles and grants. Reads only, and never a password's hash."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Column, Connection, Table, select

from ...model.access import ALL, AccessState, Role
from ...model.diagnostics import Diagnostic
from ...model.spec import Address
from ...serving.levels import HIDDEN_ROLE, WORKSPACE, Grant, ResourceType
from ..sql import rows
from .prompts import prompt_names
from .tables import (
    endpoints,
    experiments,
    registered_models,
    role_permissions,
    roles,
    user_role_assignments,
    users,
)


def hidden_user(role: str) -> int | None:
    """The id of the user whose own grants this role holds; None for any other role."""
    match = HIDDEN_ROLE.fullmatch(role)
    return int(match[1]) if match else None


def role_ids(db: Connection, workspace: str) -> dict[str, int]:
    """Every role of the workspace, hidden ones included: names are unique in one."""
    rows = db.execute(select(roles.c.name, roles.c.id).where(roles.c.workspace == workspace))
    return {row.name: row.id for row in rows}


def user_ids(db: Connection) -> dict[str, int]:
    """Every user: they belong to no workspace. A name that is NULL reads as ""."""
    return {row.username or "": row.id for row in db.execute(select(users.c.username, users.c.id))}


def missing_reference(missing: Address, by: Address) -> Diagnostic:
    """An object that `by` needs was deleted after the plan was made."""
    return Diagnostic(
        "missing-reference",
        "names something that doesn't exist",
        f"{missing} was deleted after the plan was made; {by} needs it.",
        hint="run `lac plan` again",
    )


# --- what grants name

BY_ID: Final[Mapping[str, tuple[Table, Column[Any]]]] = {
    ResourceType.EXPERIMENT: (experiments, experiments.c.experiment_id),
    ResourceType.GATEWAY_ENDPOINT: (endpoints, endpoints.c.endpoint_id),
}
"""Types whose grants hold an id, and where it becomes a name. Deleted experiments keep theirs."""


def granted_ids(auth: Connection, resource_type: str) -> frozenset[str]:
    """The ids of one type that grants name, in any workspace; a grant may outlive its object."""
    grants = role_permissions.c
    query = select(grants.resource_pattern).where(grants.resource_type == resource_type)
    return frozenset(auth.scalars(query))


@dataclass(frozen=True, slots=True)
class GrantNames:
    """Both ways between a type's ids and its names; None where the id is the name."""

    id_of: Mapping[str, str] | None = None
    name_of: Mapping[str, str] | None = None

    def name(self, pattern: str) -> str | None:
        """The name of the object with this id; the id itself if there is no object. None if the id is another
        object's name: the two would look the same, and a grant without an object has no effect."""
        if self.name_of is None or self.id_of is None:
            return pattern
        return self.name_of.get(pattern) or (None if pattern in self.id_of else pattern)

    def pattern(self, name: str) -> str | None:
        """The id that MLflow stores for this name; None if no object has it."""
        return name if self.id_of is None or name == "*" else self.id_of.get(name)


def read_names(registry: Connection, types: Iterable[str], workspace: str) -> dict[str, GrantNames]:
    """Those of each type: at most one query for each."""
    names = {each: GrantNames() for each in types}
    for each in names.keys() & BY_ID.keys():
        table, key = BY_ID[each]
        pairs = registry.execute(select(key, table.c.name).where(table.c.workspace == workspace))
        # the name `*` would mean all of the type: such an object goes by its id
        name_of = {str(number): name for number, name in pairs if name and name != "*"}
        names[each] = GrantNames({name: number for number, name in name_of.items()}, name_of)
    return names


# --- everything


def read_access_state(
    auth: Connection, registry: Connection, workspace: str, *, default_permission: str
) -> AccessState:
    """Every user, and the roles that count in `workspace` or for endpoints, with members and grants.

    At most six queries: users, roles, assignments, grants, and the names of experiments and of gateway
    endpoints where grants hold their ids. `default_permission`: the server's.
    """
    query = select(users.c.id, users.c.username, users.c.is_admin)
    everyone = {number: (name or "", bool(is_admin)) for number, name, is_admin in auth.execute(query)}
    in_scope = roles.c.workspace.in_({workspace, WORKSPACE})
    role_rows = auth.execute(select(roles.c.id, roles.c.name, roles.c.workspace).where(in_scope)).all()
    assignments = user_role_assignments.c
    pairs = select(assignments.role_id, assignments.user_id).join(roles, roles.c.id == assignments.role_id)
    members: defaultdict[int, set[str]] = defaultdict(set)
    for role_id, user_id in auth.execute(pairs.where(in_scope)):
        if user_id in everyone:
            members[role_id].add(everyone[user_id][0])
    permissions = role_permissions.c
    grant_query = select(
        permissions.role_id, permissions.resource_type, permissions.resource_pattern, permissions.permission
    )
    grant_query = grant_query.join(roles, roles.c.id == permissions.role_id).where(in_scope)
    grant_rows = auth.execute(grant_query.order_by(permissions.id)).all()
    names = read_names(registry, {kind for _, kind, *_ in grant_rows}, workspace)
    grants: defaultdict[int, list[Grant]] = defaultdict(list)
    for role_id, kind, pattern, permission in grant_rows:
        # a grant without a name has no effect
        if (name := names[kind].name(pattern)) is not None:
            grants[role_id].append(Grant(kind, name, permission))
    return AccessState(
        users=dict(everyone.values()),
        roles=tuple(
            Role(
                name=name,
                workspace=where,
                members=frozenset(members[number]),
                grants=tuple(grants[number]),
                own=hidden_user(name) is not None,
            )
            for number, name, where in role_rows
        ),
        default_permission=default_permission,
    )


def find_names(registry: Connection, state: AccessState, workspace: str) -> Mapping[str, frozenset[str]]:
    """The existing models, prompts and experiments among those that grants name, by type. Few queries."""
    names: defaultdict[str, set[str]] = defaultdict(set)
    for role in state.roles:
        for grant in role.grants:
            if grant.pattern != ALL:
                names[grant.resource_type].add(grant.pattern)

    def find(table: Table, candidates: set[str]) -> frozenset[str]:
        query = select(table.c.name).where(table.c.workspace == workspace)
        return frozenset(row.name for row in rows.within(registry, query, table.c.name, candidates))

    models = find(registered_models, names[ResourceType.REGISTERED_MODEL] | names[ResourceType.PROMPT])
    prompts = prompt_names(registry, workspace) if models else frozenset()
    return {
        ResourceType.REGISTERED_MODEL: models - prompts,
        ResourceType.PROMPT: models & prompts,
        ResourceType.EXPERIMENT: find(experiments, names[ResourceType.EXPERIMENT]),
    }
