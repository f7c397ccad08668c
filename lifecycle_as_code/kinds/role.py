"""Roles of MLflow's basic-auth: the holders of grants, and their members.

A role belongs to one workspace and counts only there. MLflow has no groups; a user's own grants are in a
hidden role, which this kind leaves alone: its grants are observed as permissions.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field, Strict
from sqlalchemy import select

from ..model.diagnostics import refuse
from ..model.snapshot import Observed
from ..model.spec import Address, Key, Spec, Store, Trait, Unordered
from ..stores.mlflow import rules
from ..stores.mlflow.auth import hidden_user, missing_reference, read_names, role_ids, user_ids
from ..stores.mlflow.tables import role_permissions, roles, user_role_assignments, users
from ..stores.sql import rows
from .base import Databases, Filter, Observation, SqlKind, report_use


def _sort_unique(names: tuple[str, ...]) -> tuple[str, ...]:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"listed twice: {', '.join(f'`{name}`' for name in twice)}")
    return tuple(sorted(names))


class Role(Spec):
    """A named set of grants, and its members.

    Grants are `permissions`: written under the resource that they are on, or in a section of their own.
    """

    kind: ClassVar[str] = "role"
    section: ClassVar[str] = "roles"
    example = """\
roles:
  - name: analysts
    description: Read reports.
    members: [bob, ann]
"""
    store: ClassVar[Store] = Store.AUTH
    trait = Trait.HOLDER
    prepared: ClassVar[bool] = True

    name: Annotated[str, Key(), AfterValidator(rules.validator(rules.role_name))]
    """Unique in the workspace; at most 255 characters. MLflow reserves names that begin with `__user_`."""

    description: Annotated[str, AfterValidator(rules.validator(rules.role_description))] = ""
    """The role's purpose; at most 1024 characters. Shown by MLflow's user interface."""

    members: Annotated[
        tuple[str, ...],
        Strict(False),
        AfterValidator(_sort_unique),
        Unordered(),
        Field(json_schema_extra={"uniqueItems": True}),
    ] = ()
    """Names of users in MLflow's auth database, in any order. The list is complete: the next apply removes
    every other member, and the plan shows it."""

    def refs(self) -> Iterator[Address]:
        """The members, who must exist: users are created with MLflow's own tools."""
        return (Address("user", (member,)) for member in self.members)


class RoleKind(SqlKind[Role]):
    """Roles and their assignments: the tables `roles` and `user_role_assignments`."""

    spec = Role
    keys = rows.Keys(roles, ("name",))

    def observe(self, db: Databases, scope: Filter) -> Observation:
        """The workspace's roles to observe, without hidden ones; every user as a referent. Three queries.
        Facts of the store: `members` of every role, hidden ones and those not to observe included."""
        if db.auth is None:
            return Observation({})
        names = scope.of("role", "permission")
        assigned = (
            select(user_role_assignments.c.role_id, users.c.username)
            .join(users, users.c.id == user_role_assignments.c.user_id)
            .join(roles, roles.c.id == user_role_assignments.c.role_id)
            .where(roles.c.workspace == db.workspace)
        )
        members: defaultdict[int, list[str]] = defaultdict(list)
        for role_id, username in db.auth.execute(assigned):
            members[role_id].append(username or "")
        columns = select(roles.c.id, roles.c.name, roles.c.description)
        objects, everyone = {}, {}
        for role_id, name, description in db.auth.execute(columns.where(roles.c.workspace == db.workspace)):
            everyone[name] = tuple(sorted(members[role_id]))
            if hidden_user(name) is None and (names is None or name in names):
                spec = Role.model_construct(name=name, description=description or "", members=everyone[name])
                objects[spec.address] = Observed(spec, {"id": role_id})
        everybody = db.auth.scalars(select(users.c.username))
        return Observation(
            objects,
            frozenset(Address("user", (username or "",)) for username in everybody),
            facts={"members": everyone},
        )

    def create(self, db: Databases, afters: Sequence[Role]) -> None:
        """MLflow: no description is NULL; the creator of a role isn't assigned to it."""
        values = [
            {"name": role.name, "workspace": db.workspace, "description": role.description or None}
            for role in afters
        ]
        rows.add(db.grants, roles, values)
        rows.add(db.grants, user_role_assignments, _assignments(db, [(r, {*r.members}) for r in afters]))

    def update(self, db: Databases, pairs: Sequence[tuple[Role, Role]]) -> None:
        """MLflow: a removed description becomes "", not NULL."""
        values = [
            {"name": after.name, "workspace": db.workspace, "description": after.description}
            for before, after in pairs
            if before.description != after.description
        ]
        rows.change(db.grants, roles, values, ("name", "workspace"))
        losses = [(b, {*b.members} - {*a.members}) for b, a in pairs]
        gains = [(a, {*a.members} - {*b.members}) for b, a in pairs]
        rows.drop(db.grants, user_role_assignments, _assignments(db, losses))
        rows.add(db.grants, user_role_assignments, _assignments(db, gains))

    def delete(self, db: Databases, befores: Sequence[Role]) -> None:
        """MLflow: assignments and grants go with the role. Grants are objects of their own, deleted by now;
        LacError where the role has one that the plan doesn't know. Deleted here are grants without an
        address, on ids that nothing has: they give no access."""
        if not befores:
            return
        ids = _role_ids(db, befores)
        _refuse_grants(db, {ids[role.name]: role for role in befores})
        for table in (role_permissions, user_role_assignments):
            rows.drop(db.grants, table, [{"role_id": ids[role.name]} for role in befores])
        rows.drop(db.grants, roles, [{"id": ids[role.name]} for role in befores])


def _assignments(db: Databases, members: Collection[tuple[Role, Collection[str]]]) -> list[dict[str, int]]:
    """The rows that assign these users to each role. LacError where a user or a role no longer exists."""
    pairs = [(role, name) for role, names in members for name in sorted(names)]
    if not pairs:
        return []
    role_of, user_of = _role_ids(db, [role for role, _ in pairs]), user_ids(db.grants)
    refuse(
        missing_reference(Address("user", (name,)), role.address)
        for role, name in pairs
        if name not in user_of
    )
    return [{"user_id": user_of[name], "role_id": role_of[role.name]} for role, name in pairs]


def _role_ids(db: Databases, specs: Iterable[Role]) -> dict[str, int]:
    ids = role_ids(db.grants, db.workspace)
    missing = {role.address for role in specs if role.name not in ids}
    refuse(missing_reference(address, address) for address in sorted(missing))
    return ids


def _refuse_grants(db: Databases, by_id: dict[int, Role]) -> None:
    grants = role_permissions.c
    query = select(grants.role_id, grants.resource_type, grants.resource_pattern)
    matches = [*rows.within(db.grants, query, grants.role_id, by_id)]
    names = read_names(db.registry, {resource_type for _, resource_type, _ in matches}, db.workspace)
    refuse(
        report_use(
            f"{by_id[role_id].address} has a grant that isn't managed here: {resource_type} {pattern}.",
            hint="run `lac plan` again, and import or revoke the grant first",
        )
        for role_id, resource_type, pattern in matches
        if names[resource_type].name(pattern) is not None
    )
