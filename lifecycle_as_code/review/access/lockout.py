"""Whether a plan takes `MANAGE` from the last user who has it, or from the user who applies it. Pure. Once
nobody has it, only MLflow's administrators can grant on the resource; they aren't counted here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

from ...model.access import ALL, DEFAULT_WORKSPACE, DENY, MANAGE, AccessState
from ...model.diagnostics import Diagnostic
from ...model.plan import Action, Change
from ...model.spec import Address
from ...model.text import take_first
from ...planning.guards import PlanContext
from .effective import Effective
from .projection import derive_state, project_state

LAST: Final = "last-manage"
"""Guard and code: nobody would have MANAGE."""
OWN: Final = "own-manage"
"""Guard and code: the user who applies would lose MANAGE, others wouldn't."""

_LISTED: Final = 20


class Resource(NamedTuple):
    """The resource of a grant: `name` is `*` for all of the type."""

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
    """Who may MANAGE which resources, before the plan or after it."""

    def __init__(self, state: AccessState) -> None:
        self.members = {role.name: role.members for role in state.roles}
        users = dict.fromkeys(frozenset[str]().union(*self.members.values()), False)
        self._effective = Effective(replace(state, users=users))
        self.managers = frozenset(
            user
            for role in state.roles
            if any(g.permission == MANAGE for g in role.grants)
            for user in role.members
        )
        """Users with MANAGE on anything. No default gives it."""

    def manages(self, user: str, resource: Resource) -> bool:
        """Whether this user may MANAGE the resource."""
        return self._effective.decide(user, *resource).level == MANAGE

    def roles(self, user: str, resource: Resource, level: str) -> set[str]:
        """The user's roles with a grant of `level` on this very resource."""
        grants = self._effective.grants(user, DEFAULT_WORKSPACE).get(resource, ())
        return {each.role.name for each in grants if each.grant.permission == level}

    def resources(self, user: str, level: str) -> set[Resource]:
        """The resources on which the user's roles have a grant of `level`."""
        grants = self._effective.grants(user, DEFAULT_WORKSPACE)
        return {Resource(*on) for on in grants if self.roles(user, Resource(*on), level)}


class GrantKinds(NamedTuple):
    """The kinds of grants and of their holders."""

    grant: str
    holder: str


def list_lockouts(world: PlanContext, kinds: GrantKinds) -> Iterator[Diagnostic]:
    """The remaining resources on which users would lose `MANAGE`: `last-manage` if no user would have it any
    more, and some user has a grant of it by name; `own-manage` if `world.principal` would lose it."""
    touched = {
        address: change
        for address, change in world.changes.items()
        if address.kind in kinds and change.action.is_difference
    }
    if not touched:
        return
    state = derive_state(world.live)
    before, after = Side(state), Side(project_state(state, touched.values(), DEFAULT_WORKSPACE))
    roles = {str(address.key[0]) for address in touched}
    concerned = {user for side in (before, after) for role in roles for user in side.members.get(role, ())}
    # by name only: a grant on all of a type has its own entry
    own = before.resources(world.principal, MANAGE) | after.resources(world.principal, DENY)
    managed = {resource for user in concerned for resource in before.resources(user, MANAGE)}

    def loses(user: str, resource: Resource) -> bool:
        return before.manages(user, resource) and not after.manages(user, resource)

    for resource in sorted(managed | own):
        if not _stays(resource, world):
            continue
        loss = _Loss(world, kinds, touched, before, after, resource)
        by_name = resource in managed and resource.name != ALL
        if by_name and not any(after.manages(user, resource) for user in after.managers):
            if losers := [user for user in sorted(concerned) if loses(user, resource)]:
                yield loss.report_last(losers)
        elif resource in own and loses(world.principal, resource):
            yield loss.report_own()


def _stays(resource: Resource, world: PlanContext) -> bool:
    """Whether it exists before the plan and after it. All of a type always does."""
    if resource.name == ALL:
        return True
    change = world.changes.get(resource.address)
    exists = world.live.present(resource.address) or resource.address in world.live.referents
    return bool(exists) and (change is None or change.action is not Action.DELETE)


@dataclass(frozen=True, slots=True)
class _Loss:
    """Users lose MANAGE on a resource by these changes."""

    world: PlanContext
    kinds: GrantKinds
    touched: Mapping[Address, Change]
    before: Side
    after: Side
    resource: Resource

    def report_last(self, users: Sequence[str]) -> Diagnostic:
        return self._report(
            LAST,
            "nobody could manage a resource any more",
            f"No user would have MANAGE on {self.resource} any more",
            "keep MANAGE on it in a role with members; if only MLflow's administrators should manage it",
            users,
        )

    def report_own(self) -> Diagnostic:
        me = self.world.principal
        return self._report(
            OWN,
            "you would lock yourself out",
            f"User `{me}`, who applies this plan, would lose MANAGE on {self.resource}",
            "keep a role with MANAGE on it; if this is intended",
            [me],
        )

    def _report(self, code: str, summary: str, loss: str, hint: str, users: Sequence[str]) -> Diagnostic:
        causes = {user: self._causes(user) for user in users}
        lines = [f"`{user}` loses it: {'; '.join(why.values())}" for user, why in causes.items()]
        # one line per user, even if a name holds line breaks
        listing = take_first([" ".join(line.splitlines()) for line in lines], _LISTED)
        places = [at for why in causes.values() for address in why if (at := self.world.places.get(address))]
        return Diagnostic(
            code,
            summary,
            "\n".join([f"{loss}:", *listing]),
            hint=f"{hint}, use `--allow={code}`",
            at=places[0] if places else None,
            guard=code,
        )

    def _causes(self, user: str) -> dict[Address, str]:
        """The changes that take it from this user: revoked grants, lost roles, and DENY."""
        causes: dict[Address, str] = {}
        on_type = (self.resource, Resource(self.resource.type, ALL))
        for resource in dict.fromkeys((*on_type, WORKSPACE)):
            for role in sorted(self.before.roles(user, resource, MANAGE)):
                causes |= self._losses(role, resource, user)
        for resource in dict.fromkeys(on_type):
            denied = self.before.roles(user, resource, DENY)
            for role in sorted(self.after.roles(user, resource, DENY) - denied):
                grant = self._grant(role, resource)
                causes.setdefault(grant, f"{grant} denies it")
        return causes

    def _grant(self, role: str, resource: Resource) -> Address:
        return Address(self.kinds.grant, (role, *resource))

    def _losses(self, role: str, resource: Resource, user: str) -> Iterator[tuple[Address, str]]:
        grant, holder = self._grant(role, resource), Address(self.kinds.holder, (role,))
        if grant in self.touched:
            spec: Any = self.touched[grant].after
            yield grant, f"{grant} is revoked" if spec is None else f"{grant} becomes {spec.level}"
        if holder in self.touched and user not in self.after.members.get(role, ()):
            deleted = self.touched[holder].after is None
            yield holder, f"{holder} is deleted" if deleted else f"{holder} loses this member"
