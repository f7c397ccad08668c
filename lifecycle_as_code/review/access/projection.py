"""MLflow's roles and grants as a plan knows them, and once it is applied. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ...model.plan import Change
from ...model.snapshot import Live
from ...model.spec import Address, Trait
from ...serving.levels import Grant
from .effective import DEFAULT_WORKSPACE, AccessState, Role


def state_seen(live: Live) -> AccessState:
    """The roles as far as a plan's own look at the stores tells: wanted ones with their grants, and what the
    kinds tell as facts of those beyond. It knows neither workspaces nor users.
    """
    members = {role: frozenset(names) for role, names in live.facts.get("members", {}).items()}
    grants: defaultdict[str, dict[tuple[str, str], str]] = defaultdict(dict)

    def granted(address: Address, level: str) -> str:
        role, resource_type, resource = map(str, address.key)
        grants[role][resource_type, resource] = level
        return role

    for address, level in live.facts.get("grants_on_all", {}).items():
        granted(address, level)
    for address, seen in live.objects.items():
        spec: Any = seen.spec
        if spec.trait is Trait.HOLDER:
            members[str(address.key[0])] = frozenset(spec.members)
        elif spec.trait is Trait.GRANT:
            role = granted(address, spec.level)
            # a hidden role whose user is gone is told by its own name
            if seen.hidden not in ("", role):
                members[role] = frozenset({seen.hidden})
    drafts = {
        name: _Draft(members.get(name, frozenset()), grants[name], False) for name in {**members, **grants}
    }
    return AccessState(roles=tuple(draft.role(name, DEFAULT_WORKSPACE) for name, draft in drafts.items()))


def state_after(before: AccessState, changes: Iterable[Change], workspace: str) -> AccessState:
    """The state once these changes are made: renames first, for other changes go by the names after them.
    MLflow's grants follow a renamed resource, whoever made them."""
    changes = list(changes)
    draft = {role.name: _Draft.of(role) for role in before.roles if role.workspace == workspace}
    renames = {c.moved_from: c.address for c in changes if c.moved_from}
    for role in draft.values():
        role.grants = {_renamed(key, renames): level for key, level in role.grants.items()}
    for change in changes:
        _make(draft, change)
    others = [role for role in before.roles if role.workspace != workspace]
    return replace(before, roles=(*others, *(draft[name].role(name, workspace) for name in draft)))


@dataclass(slots=True)
class _Draft:
    """A role while the changes are being made to it. `grants`: level by type and pattern."""

    members: frozenset[str]
    grants: dict[tuple[str, str], str]
    own: bool

    @classmethod
    def of(cls, role: Role) -> _Draft:
        return cls(role.members, {(g.resource_type, g.pattern): g.permission for g in role.grants}, role.own)

    @classmethod
    def empty(cls) -> _Draft:
        return cls(frozenset(), {}, False)

    def role(self, name: str, workspace: str) -> Role:
        grants = tuple(Grant(*key, level) for key, level in self.grants.items())
        return Role(name, workspace, self.members, grants, self.own)


def _renamed(key: tuple[str, str], renames: Mapping[Address, Address]) -> tuple[str, str]:
    after = renames.get(Address(key[0], (key[1],)))
    return key if after is None else (key[0], str(after.key[0]))


def _make(draft: dict[str, _Draft], change: Change) -> None:
    spec: Any = change.after
    match change.side.trait if change.side else None, change.address.key:
        case Trait.HOLDER, (name,) if spec is None:
            draft.pop(str(name), None)
        case Trait.HOLDER, (name,):
            draft.setdefault(str(name), _Draft.empty()).members = frozenset(spec.members)
        case Trait.GRANT, (role, resource_type, resource):
            grants = draft.setdefault(str(role), _Draft.empty()).grants
            if spec is None:
                grants.pop((str(resource_type), str(resource)), None)
            else:
                grants[str(resource_type), str(resource)] = spec.level
