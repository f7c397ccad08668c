"""Whether a plan takes `MANAGE` from the last user who has it, or from whoever applies it. Pure.

`MANAGE` on a resource is what it takes to grant on it: where nobody has it any more, only MLflow's
administrators can bring it back. They need no grant and aren't counted here. What is known of grants and
members is what the plan was made from.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

from ...model.diagnostics import Diagnostic, Source
from ...model.plan import Action, Change
from ...model.spec import Address
from ...planning.guards import World
from .effective import ALL, DEFAULT_WORKSPACE, DENY, MANAGE, AccessState, Effective
from .projection import state_after, state_seen

LAST: Final = "last-manage"
"""Guard and code: nobody would be left."""
OWN: Final = "own-manage"
"""Guard and code: whoever applies would be left out, others not."""

_LISTED: Final = 20


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


class Side:
    """Who may MANAGE what, before the plan or after it."""

    def __init__(self, state: AccessState) -> None:
        self.members = {role.name: role.members for role in state.roles}
        users = dict.fromkeys(frozenset[str]().union(*self.members.values()), False)
        self._effective = Effective(replace(state, users=users))
        self.granted = frozenset(
            user
            for role in state.roles
            if any(g.permission == MANAGE for g in role.grants)
            for user in role.members
        )
        """Users who were granted MANAGE on anything. No default gives it."""

    def manages(self, user: str, resource: Resource) -> bool:
        """Whether this user may."""
        return self._effective.decide(user, *resource).level == MANAGE

    def roles(self, user: str, resource: Resource, level: str) -> set[str]:
        """The user's roles that were granted `level` on just this."""
        held = self._effective.grants(user, DEFAULT_WORKSPACE).get(resource, ())
        return {each.role.name for each in held if each.grant.permission == level}

    def named(self, user: str, level: str) -> set[Resource]:
        """What the user's roles were granted `level` on."""
        held = self._effective.grants(user, DEFAULT_WORKSPACE).items()
        return {Resource(*on) for on, grants in held if any(h.grant.permission == level for h in grants)}


class GrantKinds(NamedTuple):
    """The kinds of grants and of those who hold them."""

    grant: str
    holder: str


def lost_by(world: World, kinds: GrantKinds) -> Iterator[Diagnostic]:
    """What the plan takes `MANAGE` from, though it stays: `last-manage` for a resource that some user was
    granted it on, where no user would have it; `own-manage` for what else `world.principal` would lose.
    Nothing where the plan changes no grant and no role.
    """
    touched = {
        address: change
        for address, change in world.changes.items()
        if address.kind in kinds and change.action.is_difference
    }
    if not touched:
        return
    seen = state_seen(world.live)
    before, after = Side(seen), Side(state_after(seen, touched.values(), DEFAULT_WORKSPACE))
    roles = {str(address.key[0]) for address in touched}
    concerned = {user for side in (before, after) for role in roles for user in side.members.get(role, ())}
    # not what is had or denied with all of a type, which is told by itself
    own = before.named(world.principal, MANAGE) | after.named(world.principal, DENY)
    named = {resource for user in concerned for resource in before.named(user, MANAGE)}

    def loses(user: str, resource: Resource) -> bool:
        return before.manages(user, resource) and not after.manages(user, resource)

    for resource in sorted(named | own):
        if not _stays(resource, world):
            continue
        loss = _Loss(world, kinds, touched, before, after, resource)
        by_name = resource in named and resource.name != ALL
        if by_name and not any(after.manages(user, resource) for user in after.granted):
            if losers := [user for user in sorted(concerned) if loses(user, resource)]:
                yield loss.of_the_last(losers)
        elif resource in own and loses(world.principal, resource):
            yield loss.of_ones_own()


def _stays(resource: Resource, world: World) -> bool:
    """Whether it is there before the plan and after it. All of a type always is."""
    if resource.name == ALL:
        return True
    change = world.changes.get(resource.address)
    there = world.live.present(resource.address) or resource.address in world.live.referents
    return bool(there) and (change is None or change.action is not Action.DELETE)


@dataclass(frozen=True, slots=True)
class _Loss:
    """What takes MANAGE on a resource from users who had it before the plan."""

    world: World
    kinds: GrantKinds
    touched: Mapping[Address, Change]
    before: Side
    after: Side
    resource: Resource

    def of_the_last(self, users: Sequence[str]) -> Diagnostic:
        return Diagnostic(
            LAST,
            "nobody would be left to manage something",
            f"No user could MANAGE {self.resource} any more:\n{self._told(users)}",
            hint="leave MANAGE on it to a role that somebody has; or, where MLflow's administrators shall "
            f"see to it from now on, `--allow={LAST}`",
            at=self._place(users),
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

    def _told(self, users: Sequence[str]) -> str:
        """A line each, whatever a name holds."""
        lines = [f"`{u}` loses it: {'; '.join(self._causes(u).values())}" for u in users[:_LISTED]]
        more = len(users) - len(lines)
        return "\n".join(
            [*(" ".join(line.splitlines()) for line in lines), *([f"and {more} more"] if more else [])]
        )

    def _place(self, users: Iterable[str]) -> Source | None:
        causes = [address for user in users for address in self._causes(user)]
        return next((self.world.places[a] for a in causes if a in self.world.places), None)

    def _causes(self, user: str) -> dict[Address, str]:
        """The changes that take it from this user: grants that go, roles that are left, and DENY."""
        causes: dict[Address, str] = {}
        on_type = (self.resource, Resource(self.resource.type, ALL))
        for resource in dict.fromkeys((*on_type, WORKSPACE)):
            for role in sorted(self.before.roles(user, resource, MANAGE)):
                causes |= self._goes(role, resource, user)
        for resource in dict.fromkeys(on_type):
            denied = self.before.roles(user, resource, DENY)
            for role in sorted(self.after.roles(user, resource, DENY) - denied):
                grant = self._grant(role, resource)
                causes.setdefault(grant, f"{grant} denies it")
        return causes

    def _grant(self, role: str, resource: Resource) -> Address:
        return Address(self.kinds.grant, (role, *resource))

    def _goes(self, role: str, resource: Resource, user: str) -> Iterator[tuple[Address, str]]:
        grant, holder = self._grant(role, resource), Address(self.kinds.holder, (role,))
        if grant in self.touched:
            spec: Any = self.touched[grant].after
            yield grant, f"{grant} is revoked" if spec is None else f"{grant} becomes {spec.level}"
        if holder in self.touched and user not in self.after.members.get(role, ()):
            gone = self.touched[holder].after is None
            yield holder, f"{holder} is deleted" if gone else f"{holder} is taken from them"
