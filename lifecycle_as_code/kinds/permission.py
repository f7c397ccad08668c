"""Grants of MLflow's basic-auth: which role may do what with which resource.

MLflow stores a grant's resource as an exact id or `*`, never as a pattern. Where that id is a number or a
token (experiments, gateway endpoints), manifests have the name, and this module translates it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Final, Literal, Self

from pydantic import AfterValidator, model_validator
from sqlalchemy import select

from ..model.access import ALL
from ..model.diagnostics import Diagnostic, refuse
from ..model.snapshot import Observed
from ..model.spec import Address, Hold, Key, Nest, Ref, Spec, Store, Trait
from ..planning.guards import PlanContext
from ..review.access.lockout import GrantKinds, list_lockouts
from ..stores.mlflow import rules
from ..stores.mlflow.auth import (
    BY_ID,
    hidden_user,
    missing_reference,
    read_names,
    role_ids,
    user_ids,
)
from ..stores.mlflow.prompts import prompt_names
from ..stores.mlflow.tables import role_permissions, roles
from ..stores.sql import rows
from .base import Databases, Filter, Observation, SqlKind

CLAIMABLE: Final = {
    "registered_model": "registered_models",
    "experiment": "experiments",
    "serving_endpoint": "serving_endpoints",
}
"""Types whose objects may list all of their grants, and their sections."""

REFERRED: Final = frozenset({*CLAIMABLE, "prompt", "gateway_endpoint"})


class Permission(Spec):
    """The access of a role's members to one resource, or to all resources of a type.

    Within a type `DENY` wins, otherwise the highest level. `MANAGE` on the workspace is above all of them,
    and no grant limits MLflow's administrators. No grant but `DENY` gives less than the server's
    `default_permission`.
    """

    kind: ClassVar[str] = "permission"
    section: ClassVar[str] = "permissions"
    example = """\
permissions:
  - {role: analysts, resource_type: registered_model, resource: fraud, level: READ}
"""
    store: ClassVar[Store] = Store.AUTH
    trait = Trait.GRANT
    # revoking is part of the switch: no access lasts until endpoints are retired
    retired: ClassVar[bool] = False
    # MLflow deletes a role's grants with the role, and leaves those on a resource behind: the next resource
    # of that name would inherit them
    holds: ClassVar[Mapping[str, Hold]] = dict.fromkeys(
        ("role", *CLAIMABLE), Hold("still-granted", taken_along=True)
    )
    nests: ClassVar[tuple[Nest, ...]] = tuple(
        Nest(section, "permissions", {"resource": "name"}, {"resource_type": resource_type}, claims=True)
        for resource_type, section in CLAIMABLE.items()
    )

    role: Annotated[str, Key(), Ref("role"), AfterValidator(rules.validator(rules.role_name))]
    """The role that has the grant; it may be declared elsewhere. Grants of a single user are made in
    MLflow."""

    resource_type: Annotated[
        Literal[
            "registered_model", "experiment", "prompt", "gateway_endpoint", "serving_endpoint", "workspace"
        ],
        Key(),
    ]
    """The resource's type. MLflow enforces grants on all types but `serving_endpoint`, which the endpoint
    enforces itself."""

    resource: Annotated[str, Key()]
    """The resource's name, also where MLflow stores an id (experiments, gateway endpoints); or `*` for all
    resources of the type, future ones included. The workspace has only `*`."""

    level: Literal["READ", "USE", "EDIT", "MANAGE", "DENY"]
    """`READ` allows to see the resource, `USE` to call it, `EDIT` to change it, `MANAGE` to delete it and to
    grant on it; each includes the levels before it. `DENY` forbids all. On the workspace only `USE` and
    `MANAGE`."""

    @model_validator(mode="after")
    def _legal(self) -> Permission:
        if problem := rules.grant(self.resource_type, self.resource, self.level):
            raise ValueError(problem)
        return self

    def refs(self) -> Iterator[Address]:
        """The role, and the resource if it has a name."""
        yield from super().refs()
        if self.resource_type in REFERRED and self.resource != "*":
            yield Address(self.resource_type, (self.resource,))

    def renamed(self, before: Address, after: Address) -> Self:
        """A grant follows its resource too, whose kind is a field of its own."""
        spec = super().renamed(before, after)
        if Address(spec.resource_type, (spec.resource,)) != before:
            return spec
        return spec.model_copy(update={"resource": after.key[0]})

    def goes_with(self) -> Address | None:
        """MLflow deletes users' own grants with a model, so that the next model of that name starts without;
        the grants of other roles stay. A deleted experiment keeps all: it may be restored."""
        if self.resource_type == "registered_model" and hidden_user(self.role) is not None:
            return self.scope()
        return None

    def scope(self) -> Address | None:
        """The resource, where its own manifest may list all grants on it."""
        if self.resource_type in CLAIMABLE and self.resource != "*":
            return Address(self.resource_type, (self.resource,))
        return None


class PermissionKind(SqlKind[Permission]):
    """Grants: the table `role_permissions`, with names from the registry's database."""

    spec = Permission

    def check(self, world: PlanContext) -> Iterator[Diagnostic]:
        """No user loses MANAGE on a resource that stays without an error."""
        return list_lockouts(world, GrantKinds(Permission.kind, holder="role"))

    def observe(self, db: Databases, scope: Filter) -> Observation:
        """The workspace's grants of the roles, and on the resources, to observe.

        Grants on types that can't be declared are among them, unchanged. A hidden role's grants name its
        user. A grant on an id that names nothing any more has the id for its resource. At most six queries.

        Facts of the store: `grants_on_all`, the level of every grant on all of a type.
        """
        if db.auth is None:
            return Observation({})
        grants = db.auth.execute(_GRANTS.where(roles.c.workspace == db.workspace)).all()
        types = {row.resource_type for row in grants}
        names = read_names(db.registry, types, db.workspace)
        on = {resource_type: scope.of(resource_type) for resource_type in types}
        by = scope.of("role", "permission")
        own = {role: user_id for role, *_ in grants if (user_id := hidden_user(role)) is not None}
        usernames = {user_id: name for name, user_id in user_ids(db.auth).items()} if own else {}
        objects: dict[Address, Observed] = {}
        for role, resource_type, pattern, level in grants:
            resource = names[resource_type].name(pattern)
            if resource is None or not (by is None or role in by or resource in (on[resource_type] or ())):
                continue
            spec = Permission.model_construct(
                role=role, resource_type=resource_type, resource=resource, level=level
            )
            facts = {"pattern": pattern} if resource_type in BY_ID else {}
            hidden = usernames.get(own[role], role) if role in own else ""
            objects[spec.address] = Observed(spec, facts, hidden=hidden)
        hidden_roles = {Address("role", (address.key[0],)) for address in objects if address.key[0] in own}
        on_all = {
            Address("permission", (role, resource_type, pattern)): level
            for role, resource_type, pattern, level in grants
            if pattern == ALL
        }
        return Observation(
            objects, frozenset(hidden_roles | _referents(db, scope)), facts={"grants_on_all": on_all}
        )

    def create(self, db: Databases, afters: Sequence[Permission]) -> None:
        """MLflow: one row per grant, and nothing else."""
        rows.add(db.grants, role_permissions, _rows(db, afters, new=True))

    def update(self, db: Databases, pairs: Sequence[tuple[Permission, Permission]]) -> None:
        """Set the levels; the rows stay the same ones."""
        rows.change(db.grants, role_permissions, _rows(db, [after for _, after in pairs]), _THIS)

    def delete(self, db: Databases, befores: Sequence[Permission]) -> None:
        """Revoke. A grant on an id that names nothing goes by that id."""
        gone = [{name: row[name] for name in _THIS} for row in _rows(db, befores)]
        rows.drop(db.grants, role_permissions, gone)


_GRANTS: Final = select(
    roles.c.name,
    role_permissions.c.resource_type,
    role_permissions.c.resource_pattern,
    role_permissions.c.permission,
).join(roles, roles.c.id == role_permissions.c.role_id)

_THIS: Final = ("role_id", "resource_type", "resource_pattern")
"""A grant's identity; MLflow has a unique index on it."""


def _rows(db: Databases, grants: Sequence[Permission], *, new: bool = False) -> list[dict[str, Any]]:
    """The grants as rows. LacError where the role no longer exists, or the resource of a new grant."""
    if not grants:
        return []
    role_of = role_ids(db.grants, db.workspace)
    names = read_names(db.registry, {grant.resource_type for grant in grants}, db.workspace)
    problems: list[Diagnostic] = []
    values: list[dict[str, Any]] = []
    for grant in grants:
        pattern = names[grant.resource_type].pattern(grant.resource)
        if grant.role not in role_of:
            problems.append(missing_reference(Address("role", (grant.role,)), grant.address))
        elif pattern is None and new:
            problems.append(missing_reference(Address(grant.resource_type, (grant.resource,)), grant.address))
        else:
            key = role_of[grant.role], grant.resource_type, grant.resource if pattern is None else pattern
            values.append({**dict(zip(_THIS, key, strict=True)), "permission": grant.level})
    refuse(problems)
    return values


def _referents(db: Databases, scope: Filter) -> set[Address]:
    """Prompts and gateway endpoints that grants may name; no stack manages them."""
    referents: set[Address] = set()
    if (prompts := scope.of("prompt")) is None or prompts:
        known = prompt_names(db.registry, db.workspace)
        referents |= {Address("prompt", (name,)) for name in known if prompts is None or name in prompts}
    if (gateways := scope.of("gateway_endpoint")) is None or gateways:
        (names,) = read_names(db.registry, ["gateway_endpoint"], db.workspace).values()
        referents |= {
            Address("gateway_endpoint", (name,))
            for name in names.id_of or ()
            if gateways is None or name in gateways
        }
    return referents
