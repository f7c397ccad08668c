"""MLflow's auth database as `access` wants it. Reads only, and never a password's hash."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from sqlalchemy import Connection, Table, select

from ...model.access import ALL, AccessState, Role
from ...serving.levels import WORKSPACE, Grant, ResourceType
from . import rows
from .auth_roles import hidden_user
from .grant_names import GrantNames
from .tables import experiments, registered_models, role_permissions, roles, user_role_assignments, users


def read_access_state(
    auth: Connection, registry: Connection, workspace: str, *, default_permission: str
) -> AccessState:
    """Every user, and the roles that count in `workspace` or for endpoints, with members and grants.

    At most six queries: users, roles, assignments, grants, and the names of experiments and of gateway
    endpoints where grants hold their ids. `default_permission`: the server's.
    """
    query = select(users.c.id, users.c.username, users.c.is_admin)
    everyone = {number: (name or "", bool(is_admin)) for number, name, is_admin in auth.execute(query)}
    counts = roles.c.workspace.in_({workspace, WORKSPACE})
    found = auth.execute(select(roles.c.id, roles.c.name, roles.c.workspace).where(counts)).all()
    assigned = user_role_assignments.c
    pairs = select(assigned.role_id, assigned.user_id).join(roles, roles.c.id == assigned.role_id)
    members: defaultdict[int, set[str]] = defaultdict(set)
    for role_id, user_id in auth.execute(pairs.where(counts)):
        if user_id in everyone:
            members[role_id].add(everyone[user_id][0])
    held = role_permissions.c
    granted = select(held.role_id, held.resource_type, held.resource_pattern, held.permission)
    names: dict[str, GrantNames] = {}
    grants: defaultdict[int, list[Grant]] = defaultdict(list)
    for role_id, kind, pattern, permission in auth.execute(
        granted.join(roles, roles.c.id == held.role_id).where(counts).order_by(held.id)
    ).all():
        if kind not in names:
            names[kind] = GrantNames.read(registry, kind, workspace)
        # one that no name leads to reaches nothing
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
            for number, name, where in found
        ),
        default_permission=default_permission,
    )


def names_there(registry: Connection, state: AccessState, workspace: str) -> Mapping[str, frozenset[str]]:
    """Which of the models, prompts and experiments that grants name are there, by type. Few queries."""
    named: defaultdict[str, set[str]] = defaultdict(set)
    for role in state.roles:
        for grant in role.grants:
            if grant.pattern != ALL:
                named[grant.resource_type].add(grant.pattern)

    def found(table: Table, wanted: set[str]) -> frozenset[str]:
        query = select(table.c.name).where(table.c.workspace == workspace)
        return frozenset(row.name for row in rows.within(registry, query, table.c.name, wanted))

    models = found(registered_models, named[ResourceType.REGISTERED_MODEL] | named[ResourceType.PROMPT])
    prompts = rows.prompts(registry, workspace) if models else frozenset()
    return {
        ResourceType.REGISTERED_MODEL: models - prompts,
        ResourceType.PROMPT: models & prompts,
        ResourceType.EXPERIMENT: found(experiments, named[ResourceType.EXPERIMENT]),
    }
