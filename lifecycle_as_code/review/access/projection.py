"""MLflow's roles and grants as a plan knows them, and as they will be after it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ...model.access import DEFAULT_WORKSPACE, AccessState, Role
from ...model.plan import Change
from ...model.snapshot import Live
from ...model.spec import Address, Trait
from ...serving.levels import Grant


def derive_state(live: Live) -> AccessState:
    """The roles in a plan's live state: the observed ones, and those in the facts that kinds add."""
    roles = {role: _Draft(frozenset(names)) for role, names in live.facts.get("members", {}).items()}
    for address, level in live.facts.get("grants_on_all", {}).items():
        role, *on = map(str, address.key)
        roles.setdefault(role, _Draft()).grants[on[0], on[1]] = level
    for address, observed in live.objects.items():
        _put(roles, observed.spec.trait, address, observed.spec)
        # a hidden role whose user was deleted is known by its own name
        is_grant = observed.spec.trait is Trait.GRANT
        if is_grant and observed.hidden not in ("", role := str(address.key[0])):
            roles[role].members = frozenset({observed.hidden})
    return AccessState(roles=tuple(draft.role(name, DEFAULT_WORKSPACE) for name, draft in roles.items()))


def project_state(before: AccessState, changes: Iterable[Change], workspace: str) -> AccessState:
    """The state after these changes: renames first, because other changes use the names after them. MLflow's
    grants follow a renamed resource, even those that no stack manages."""
    changes = list(changes)
    roles = {role.name: _Draft.of(role) for role in before.roles if role.workspace == workspace}
    renames = {c.moved_from: c.address for c in changes if c.moved_from}
    for role in roles.values():
        role.grants = {_rename(key, renames): level for key, level in role.grants.items()}
    for change in changes:
        _put(roles, change.side.trait if change.side else None, change.address, change.after)
    others = [role for role in before.roles if role.workspace != workspace]
    return replace(before, roles=(*others, *(draft.role(name, workspace) for name, draft in roles.items())))


@dataclass(slots=True)
class _Draft:
    """A role while changes are applied to it. `grants`: level by type and pattern."""

    members: frozenset[str] = frozenset()
    grants: dict[tuple[str, str], str] = field(default_factory=dict)
    own: bool = False

    @classmethod
    def of(cls, role: Role) -> _Draft:
        return cls(role.members, {(g.resource_type, g.pattern): g.permission for g in role.grants}, role.own)

    def role(self, name: str, workspace: str) -> Role:
        grants = tuple(Grant(*key, level) for key, level in self.grants.items())
        return Role(name, workspace, self.members, grants, self.own)


def _rename(key: tuple[str, str], renames: Mapping[Address, Address]) -> tuple[str, str]:
    after = renames.get(Address(key[0], (key[1],)))
    return key if after is None else (key[0], str(after.key[0]))


def _put(roles: dict[str, _Draft], trait: Trait | None, address: Address, spec: Any) -> None:
    """Apply one object's state to the roles: a role's members, a permission's level; None deletes."""
    match trait, address.key:
        case Trait.HOLDER, (name,) if spec is None:
            roles.pop(str(name), None)
        case Trait.HOLDER, (name,):
            roles.setdefault(str(name), _Draft()).members = frozenset(spec.members)
        case Trait.GRANT, (role, resource_type, resource):
            grants = roles.setdefault(str(role), _Draft()).grants
            if spec is None:
                grants.pop((str(resource_type), str(resource)), None)
            else:
                grants[str(resource_type), str(resource)] = spec.level
