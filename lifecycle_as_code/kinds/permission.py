"""Grants of MLflow's basic-auth: which role may do what with which resource.

MLflow keeps a grant's resource as an exact id or `*`, never as a pattern. Where that id is a number or a
token (experiments, gateway endpoints), people write the name, and it is translated here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Final, Literal, Self

from pydantic import AfterValidator, model_validator
from sqlalchemy import select

from ..model.diagnostics import Diagnostic, refuse
from ..model.snapshot import Observed
from ..model.spec import Address, Hold, Key, Nest, Ref, Spec, Store, Trait
from ..planning.guards import World
from ..review.access.effective import ALL
from ..review.access.lockout import GrantKinds, lost_by
from ..stores.mlflow import rows, rules
from ..stores.mlflow.auth_roles import hidden_user, role_ids, user_ids, vanished
from ..stores.mlflow.grant_names import BY_ID, GrantNames, read_names
from ..stores.mlflow.tables import role_permissions, roles
from .base import Databases, Observation, SqlKind, Wanted

CLAIMABLE: Final = {
    "registered_model": "registered_models",
    "experiment": "experiments",
    "serving_endpoint": "serving_endpoints",
}
"""Types whose objects may list their grants whole, and the section they stand in."""

REFERRED: Final = frozenset({*CLAIMABLE, "prompt", "gateway_endpoint"})


class Permission(Spec):
    """What a role's members may do with one resource, or with all of its type.

    Within a type, `DENY` wins, otherwise the highest level. `MANAGE` on the workspace is above all, and
    MLflow's administrators are bound by nothing. A server's `default_permission` is the least that any
    other grant gives.
    """

    kind: ClassVar[str] = "permission"
    section: ClassVar[str] = "permissions"
    example = """\
permissions:
  - {role: analysts, resource_type: registered_model, resource: fraud, level: READ}
"""
    store: ClassVar[Store] = Store.AUTH
    trait = Trait.GRANT
    # revoking is part of the switch: nobody keeps an access until endpoints have been retired
    retired: ClassVar[bool] = False
    # MLflow deletes a role's grants with the role, and leaves those on a resource behind, for the next of its
    # name to inherit
    holds: ClassVar[Mapping[str, Hold]] = dict.fromkeys(
        ("role", *CLAIMABLE), Hold("still-granted", taken_along=True)
    )
    nests: ClassVar[tuple[Nest, ...]] = tuple(
        Nest(section, "permissions", {"resource": "name"}, {"resource_type": resource_type}, claims=True)
        for resource_type, section in CLAIMABLE.items()
    )

    role: Annotated[str, Key(), Ref("role"), AfterValidator(rules.validator(rules.role_name))]
    """The role that gets it, declared or not. A single user's own grants are MLflow's to make."""

    resource_type: Annotated[
        Literal[
            "registered_model", "experiment", "prompt", "gateway_endpoint", "serving_endpoint", "workspace"
        ],
        Key(),
    ]
    """What sort of thing it is about. MLflow enforces all but `serving_endpoint`, which it only lists:
    that one is enforced by the endpoint itself."""

    resource: Annotated[str, Key()]
    """Its name, also where MLflow stores an id (experiments, gateway endpoints); or `*` for all of the
    type, those to come included. The workspace has only `*`."""

    level: Literal["READ", "USE", "EDIT", "MANAGE", "DENY"]
    """`READ` to see it, `USE` to call it, `EDIT` to change it, `MANAGE` to delete it and to grant on it, each
    with all before it; `DENY` to be kept out. On the workspace only `USE` and `MANAGE`."""

    @model_validator(mode="after")
    def _legal(self) -> Permission:
        if problem := rules.grant(self.resource_type, self.resource, self.level):
            raise ValueError(problem)
        return self

    def refs(self) -> Iterator[Address]:
        """The role, and the resource where it has a name."""
        yield from super().refs()
        if self.resource_type in REFERRED and self.resource != "*":
            yield Address(self.resource_type, (self.resource,))

    def renamed(self, before: Address, after: Address) -> Self:
        """A grant follows its resource too, whose kind is in a field of its own."""
        spec = super().renamed(before, after)
        if Address(spec.resource_type, (spec.resource,)) != before:
            return spec
        return spec.model_copy(update={"resource": after.key[0]})

    def goes_with(self) -> Address | None:
        """MLflow takes users' own grants along with a model, so that the next of that name starts without;
        those of roles that people made stay. A deleted experiment keeps all: it may come back."""
        if self.resource_type == "registered_model" and hidden_user(self.role) is not None:
            return self.scope()
        return None

    def scope(self) -> Address | None:
        """The resource, where its own manifest may list the grants on it whole."""
        if self.resource_type in CLAIMABLE and self.resource != "*":
            return Address(self.resource_type, (self.resource,))
        return None


class PermissionKind(SqlKind[Permission]):
    """Grants: the table `role_permissions`, with names from the registry's database."""

    spec = Permission

    def check(self, world: World) -> Iterator[Diagnostic]:
        """Nobody loses MANAGE on what stays without a word about it."""
        return lost_by(world, GrantKinds(Permission.kind, holder="role"))

    def observe(self, db: Databases, wanted: Wanted) -> Observation:
        """The wanted grants of the workspace: those of a wanted role, and those on a wanted resource.

        Types that can't be declared here are among them, as they are. A hidden role's grants say whose
        they are. A grant on an id that names nothing any more shows the id. At most six queries.

        Facts of the store: `grants_on_all`, whoever's level on all of a type, wanted or not.
        """
        if db.auth is None:
            return Observation({})
        held = db.auth.execute(_GRANTS.where(roles.c.workspace == db.workspace)).all()
        types = {row.resource_type for row in held}
        names = read_names(db.registry, types, db.workspace)
        on = {resource_type: wanted.of(resource_type) for resource_type in types}
        by = wanted.of("role", "permission")
        own = {role: user_id for role, *_ in held if (user_id := hidden_user(role)) is not None}
        usernames = {user_id: name for name, user_id in user_ids(db.auth).items()} if own else {}
        objects: dict[Address, Observed] = {}
        for role, resource_type, pattern, level in held:
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
            for role, resource_type, pattern, level in held
            if pattern == ALL
        }
        return Observation(
            objects, frozenset(hidden_roles | _referents(db, wanted)), facts={"grants_on_all": on_all}
        )

    def create(self, db: Databases, afters: Sequence[Permission]) -> None:
        """MLflow: one row a grant, and nothing beside it."""
        rows.add(db.grants, role_permissions, _rows(db, afters, new=True))

    def update(self, db: Databases, pairs: Sequence[tuple[Permission, Permission]]) -> None:
        """Set the levels; the rows stay the same ones."""
        rows.change(db.grants, role_permissions, _THIS, _rows(db, [after for _, after in pairs]))

    def delete(self, db: Databases, befores: Sequence[Permission]) -> None:
        """Revoke. A grant on an id that names nothing is found by the id that it was shown with."""
        gone = [{name: row[name] for name in _THIS} for row in _rows(db, befores)]
        rows.drop(db.grants, role_permissions, gone)


_GRANTS: Final = select(
    roles.c.name,
    role_permissions.c.resource_type,
    role_permissions.c.resource_pattern,
    role_permissions.c.permission,
).join(roles, roles.c.id == role_permissions.c.role_id)

_THIS: Final = ("role_id", "resource_type", "resource_pattern")
"""What tells grants apart; MLflow has a unique index on it."""


def _rows(db: Databases, grants: Sequence[Permission], *, new: bool = False) -> list[dict[str, Any]]:
    """The grants as rows. LacError where the role isn't there any more, or for new ones the resource."""
    if not grants:
        return []
    role_of = role_ids(db.grants, db.workspace)
    names = read_names(db.registry, {grant.resource_type for grant in grants}, db.workspace)
    lost: list[Diagnostic] = []
    found: list[dict[str, Any]] = []
    for grant in grants:
        pattern = names[grant.resource_type].pattern(grant.resource)
        if grant.role not in role_of:
            lost.append(vanished(Address("role", (grant.role,)), grant.address))
        elif pattern is None and new:
            lost.append(vanished(Address(grant.resource_type, (grant.resource,)), grant.address))
        else:
            shown = grant.resource if pattern is None else pattern
            values = role_of[grant.role], grant.resource_type, shown
            found.append({**dict(zip(_THIS, values, strict=True)), "permission": grant.level})
    refuse(lost)
    return found


def _referents(db: Databases, wanted: Wanted) -> set[Address]:
    """Prompts and gateway endpoints that grants may name: MLflow's, not ours to manage."""
    found: set[Address] = set()
    if (prompts := wanted.of("prompt")) is None or prompts:
        known = rows.prompts(db.registry, db.workspace)
        found |= {Address("prompt", (name,)) for name in known if prompts is None or name in prompts}
    if (gateways := wanted.of("gateway_endpoint")) is None or gateways:
        ids = GrantNames.read(db.registry, "gateway_endpoint", db.workspace).id_of or {}
        found |= {
            Address("gateway_endpoint", (name,)) for name in ids if gateways is None or name in gateways
        }
    return found
