"""Whether a plan takes `MANAGE` from the last user who has it, or from whoever applies it. Pure.

`MANAGE` on a resource is what it takes to grant on it: where nobody has it any more, only MLflow's
administrators can bring it back. They need no grant and aren't counted here. What is known of grants and
members is what the plan was made from.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from .change import Action, Change
from .diagnostics import Diagnostic, Source
from .guard import World
from .spec import Address

MANAGE: Final = "MANAGE"
DENY: Final = "DENY"
ALL: Final = "*"

LAST: Final = "last-manage"
"""Guard and code: nobody would be left."""
OWN: Final = "own-manage"
"""Guard and code: whoever applies would be left out, others not."""


class Resource(NamedTuple):
    """What a grant is on: `name` is `*` for all of the type."""

    type: str
    name: str

    def __str__(self) -> str:
        if self.name != ALL:
            return f"{self.type} `{self.name}`"
        return "the workspace" if self == WORKSPACE else f"every {self.type}"

    @property
    def address(self) -> Address:
        """The resource as an object."""
        return Address(self.type, (self.name,))


WORKSPACE: Final = Resource("workspace", ALL)

NOBODY: Final = frozenset[str]()


@dataclass(frozen=True, slots=True)
class Access:
    """Grants and who holds them. `grants`: role to level, by resource; `members`: users, by role."""

    grants: Mapping[Resource, Mapping[str, str]]
    members: Mapping[str, frozenset[str]]

    def holders(self, resource: Resource, level: str) -> frozenset[str]:
        """Users with a role that was granted `level` on just this."""
        granted = self.grants.get(resource, {})
        return NOBODY.union(*(self.members.get(r, NOBODY) for r, held in granted.items() if held == level))

    def managers(self, resource: Resource) -> frozenset[str]:
        """Users who may MANAGE it. MLflow: within a type DENY wins, on it or on all of the type; MANAGE on
        the workspace is above that."""
        on = {resource, Resource(resource.type, ALL)}
        granted = NOBODY.union(*(self.holders(each, MANAGE) for each in on))
        denied = NOBODY.union(*(self.holders(each, DENY) for each in on))
        return self.holders(WORKSPACE, MANAGE) | (granted - denied)


def lost_by(world: World) -> Iterator[Diagnostic]:
    """What the plan takes `MANAGE` from, though it stays: `last-manage` for a resource that some user was
    granted it on, where no user would have it; `own-manage` for what else `world.principal` would lose.
    Nothing where the plan changes no grant and no role.
    """
    touched = {
        address: change
        for address, change in world.changes.items()
        if address.kind in ("permission", "role") and change.action.is_difference
    }
    if not touched:
        return
    before = _before(world)
    after = _after(before, touched)
    for resource in sorted({*before.grants, *after.grants}):
        if not _stays(resource, world):
            continue
        could, can = before.managers(resource), after.managers(resource)
        loss = _Loss(world, touched, before, after, resource, could - can)
        granted = before.holders(resource, MANAGE) & could
        if granted and not can and resource.name != ALL:
            yield loss.of_the_last()
        elif world.principal in loss.users and _concerned(world.principal, resource, before, after):
            yield loss.of_ones_own()


def _before(world: World) -> Access:
    """As live: what was observed, and what the kinds tell about roles and grants beyond the wanted ones."""
    grants: defaultdict[Resource, dict[str, str]] = defaultdict(dict)
    facts = world.live.facts
    members = {role: frozenset(names) for role, names in facts.get("members", {}).items()}
    for address, level in facts.get("grants_on_all", {}).items():
        role, resource = _granted(address)
        grants[resource][role] = level
    for address, seen in world.live.objects.items():
        spec: Any = seen.spec
        if address.kind == "role" and not seen.tombstone:
            members[str(address.key[0])] = frozenset(spec.members)
        elif address.kind == "permission" and not seen.tombstone:
            role, resource = _granted(address)
            grants[resource][role] = spec.level
            # a hidden role whose user is gone is told by its own name
            if seen.hidden not in ("", role):
                members[role] = frozenset({seen.hidden})
    return Access(grants, members)


def _after(before: Access, touched: Mapping[Address, Change]) -> Access:
    grants = {resource: dict(held) for resource, held in before.grants.items()}
    members = dict(before.members)
    for address, change in touched.items():
        spec: Any = change.after
        if address.kind == "role":
            members[str(address.key[0])] = NOBODY if spec is None else frozenset(spec.members)
            continue
        role, resource = _granted(address)
        held = grants.setdefault(resource, {})
        held.pop(role, None)
        if spec is not None:
            held[role] = spec.level
    return Access(grants, members)


def _granted(address: Address) -> tuple[str, Resource]:
    role, resource_type, name = map(str, address.key)
    return role, Resource(resource_type, name)


def _grant(role: str, resource: Resource) -> Address:
    return Address("permission", (role, *resource))


def _stays(resource: Resource, world: World) -> bool:
    """Whether it is there before the plan and after it. All of a type always is."""
    if resource.name == ALL:
        return True
    change = world.changes.get(resource.address)
    there = world.live.present(resource.address) or resource.address in world.live.referents
    return bool(there) and (change is None or change.action is not Action.DELETE)


def _concerned(user: str, resource: Resource, before: Access, after: Access) -> bool:
    """Whether it is about just this, not about all of its type, which is told by itself."""
    return user in before.holders(resource, MANAGE) | after.holders(resource, DENY)


@dataclass(frozen=True, slots=True)
class _Loss:
    """Users who could MANAGE a resource before the plan and can't after it."""

    world: World
    touched: Mapping[Address, Change]
    before: Access
    after: Access
    resource: Resource
    users: frozenset[str]

    def of_the_last(self) -> Diagnostic:
        return Diagnostic(
            LAST,
            "nobody would be left to manage something",
            f"No user could MANAGE {self.resource} any more:\n{self._told(self.users)}",
            hint="leave MANAGE on it to a role that somebody has; or, where MLflow's administrators shall "
            f"see to it from now on, `--allow={LAST}`",
            at=self._place(self.users),
            guard=LAST,
        )

    def of_ones_own(self) -> Diagnostic:
        me = self.world.principal
        return Diagnostic(
            OWN,
            "whoever applies this would lock themselves out",
            f"User `{me}`, who applies this plan, could not MANAGE {self.resource} any more:\n"
            f"{self._told([me])}",
            hint=f"keep a role that may MANAGE it; or, where that is meant, `--allow={OWN}`",
            at=self._place([me]),
            guard=OWN,
        )

    def _told(self, users: Iterable[str]) -> str:
        return "\n".join(f"`{u}` loses it: {'; '.join(self._causes(u).values())}" for u in sorted(users))

    def _place(self, users: Iterable[str]) -> Source | None:
        causes = [address for user in sorted(users) for address in self._causes(user)]
        return next((self.world.places[a] for a in causes if a in self.world.places), None)

    def _causes(self, user: str) -> dict[Address, str]:
        """The changes that take it from this user: grants that go, roles that are left, and DENY."""
        causes: dict[Address, str] = {}
        on_type = (self.resource, Resource(self.resource.type, ALL))
        for resource in dict.fromkeys((*on_type, WORKSPACE)):
            for role in sorted(self._roles(self.before, resource, MANAGE, user)):
                causes |= self._goes(role, resource, user)
        for resource in dict.fromkeys(on_type):
            denied = self._roles(self.before, resource, DENY, user)
            for role in sorted(self._roles(self.after, resource, DENY, user) - denied):
                causes.setdefault(_grant(role, resource), f"{_grant(role, resource)} denies it")
        return causes

    def _goes(self, role: str, resource: Resource, user: str) -> Iterator[tuple[Address, str]]:
        grant, holder = _grant(role, resource), Address("role", (role,))
        if grant in self.touched:
            spec: Any = self.touched[grant].after
            yield grant, f"{grant} is revoked" if spec is None else f"{grant} becomes {spec.level}"
        if holder in self.touched and user not in self.after.members[role]:
            gone = self.touched[holder].after is None
            yield holder, f"{holder} is deleted" if gone else f"{holder} is taken from them"

    def _roles(self, access: Access, resource: Resource, level: str, user: str) -> set[str]:
        granted = access.grants.get(resource, {})
        return {r for r, held in granted.items() if held == level and user in access.members.get(r, ())}
