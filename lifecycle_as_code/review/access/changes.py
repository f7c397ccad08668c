"""Who gains or loses what by a plan: users whose effective level differs after it. Pure.

A grant isn't an access: another role may give the same, a DENY may be above it, an administrator doesn't need
it. So both states are worked out whole, and the levels compared.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, NamedTuple

from ...model.plan import Action, Change, Mode, Plan
from ...model.review import Access
from ...model.spec import Address, Trait
from ...serving.levels import ResourceType, rank
from .effective import (
    ALL,
    DEFAULT_WORKSPACE,
    DENY,
    NOTHING,
    ON_ALL_ONLY,
    VERSIONS,
    WORKSPACE,
    AccessState,
    Decision,
    Effective,
    Role,
)
from .projection import state_after

MOST: Final = 200
"""Rows that one change is told with, and fewer where very many have some."""
MOST_IN_ALL: Final = 2000
"""Rows of a whole plan, though every change that has any is told with one."""

_TYPES: Final = (
    ResourceType.REGISTERED_MODEL,
    ResourceType.EXPERIMENT,
    ResourceType.SERVING_ENDPOINT,
    ResourceType.PROMPT,
    ResourceType.GATEWAY_ENDPOINT,
)
"""Types of resources that people grant on: what MANAGE on the workspace reaches."""
_VERSIONS_OF: Final = {parent: versions for versions, parent in VERSIONS.items()}
_LISTED: Final = 3
NOT_KNOWN: Final[Mapping[str, Collection[str]]] = MappingProxyType({})


def access_changes(
    plan: Plan,
    before: AccessState,
    workspace: str = DEFAULT_WORKSPACE,
    there: Mapping[str, Collection[str]] = NOT_KNOWN,
) -> Mapping[Address, tuple[Access, ...]]:
    """For each change that is the cause of any, the users whose effective level it changes, and on what.

    A resource called `*`, as in `registered_model.*`, is every one of its type that has no row of its own for
    that user, those to come included; `registered_model_version.fraud/*` is the versions of `fraud`, told
    where they fare otherwise than the model; `workspace.*` is the workspace itself. What is created or
    deleted is told for those whom a grant on its very name reaches. Users without a change have no row.

    A row belongs to the first change, in the plan's order, that touches a grant on that resource or a role
    with one which the user has or had; otherwise to the resource's own. At most `MOST` rows a change and
    about `MOST_IN_ALL` a plan, the weightiest; a change's last `why` then ends with how many more there are.

    `there`: the names of what is there, by type. Of a type that occurs in it, names that are neither there
    nor in the plan aren't told of: MLflow leaves a role its grants when what they name is deleted.
    """
    if not touches_access(plan):
        return {}
    changes = [change for change in plan.changes if change.action.is_difference]
    sides = _Sides.of(before, changes, workspace, there)
    rows: dict[Address, list[_Row]] = {}
    told: set[tuple[str, Address]] = set()
    # a resource's own change comes last: a grant that is made with it says more
    for change in sorted(changes, key=_is_resource):
        for row in sides.rows(change):
            if (row.user, row.resource) not in told:
                told.add((row.user, row.resource))
                rows.setdefault(change.address, []).append(row)
    most = max(1, min(MOST, MOST_IN_ALL // max(1, len(rows))))
    return {c.address: _limited(rows[c.address], most) for c in changes if c.address in rows}


def touches_access(plan: Plan) -> bool:
    """Whether a plan is about grants, roles, or what can be granted; otherwise nobody gains or loses."""
    about = (c for c in plan.changes if c.action.is_difference and (_trait(c) in _ACCESS or _is_resource(c)))
    return plan.mode is not Mode.REFRESH_ONLY and any(about)


_ACCESS: Final = (Trait.GRANT, Trait.HOLDER)


def _trait(change: Change) -> Trait | None:
    return change.side.trait if change.side else None


def _is_resource(change: Change) -> bool:
    """Whether it is about something that can be granted on."""
    return change.side is not None and change.side.grantable is not None


class _Pair(NamedTuple):
    """A user's level on one resource on both sides of the plan."""

    before: Decision
    after: Decision

    @property
    def levels(self) -> tuple[str, str]:
        return self.before.level, self.after.level

    @property
    def differs(self) -> bool:
        """Whether the user may do more or less than before: DENY is no less than nothing."""
        before, after = (NOTHING if level == DENY else level for level in self.levels)
        return before != after


class _Row(NamedTuple):
    """A difference, and what is to be said with it."""

    user: str
    resource: Address
    pair: _Pair
    note: str

    @property
    def weight(self) -> tuple[int, int]:
        """The higher the level that is won, and then lost, the more it weighs."""
        before, after = map(rank, self.pair.levels)
        return (after if after > before else -1, before)

    def access(self, more: int) -> Access:
        reasons = dict.fromkeys(side.why for side in self.pair)
        unlisted = f" (and {more} more that aren't listed)" if more else ""
        return Access(self.user, self.resource, *self.pair.levels, " → ".join(reasons) + self.note + unlisted)


def _limited(rows: list[_Row], most: int) -> tuple[Access, ...]:
    kept = sorted(rows, key=lambda row: row.weight, reverse=True)[:most]
    kept.sort(key=lambda row: (str(row.resource), row.user))
    more = len(rows) - len(kept)
    return tuple(row.access(more if row is kept[-1] else 0) for row in kept)


class _Reach(NamedTuple):
    """What a change may make a difference to: these users, on this type and name, or on all of the type."""

    users: frozenset[str]
    type: str
    name: str


_ABSENT: Final = Decision(NOTHING, "not there yet")
_NOBODY: Final = frozenset[str]()
_Holders = Mapping[Address, frozenset[str]]
"""The members of all roles with a grant on a resource, by the resource."""
_GONE: Final = Decision(NOTHING, "gone")


@dataclass(frozen=True)
class _Sides:
    """Both states, and the resources that aren't there on one of the two sides."""

    before: Effective
    after: Effective
    roles: Mapping[str, tuple[Role | None, Role | None]]
    holders: tuple[_Holders, _Holders]
    made: frozenset[Address]
    gone: frozenset[Address]
    origins: Mapping[Address, Address]
    there: Mapping[str, frozenset[str]]
    """The names that may be told of, by type; all names of types that aren't in it."""

    @classmethod
    def of(
        cls,
        before: AccessState,
        changes: list[Change],
        workspace: str,
        there: Mapping[str, Collection[str]],
    ) -> _Sides:
        after = state_after(before, changes, workspace)
        was, becomes = (
            {role.name: role for role in state.roles if role.workspace == workspace}
            for state in (before, after)
        )
        own = [change for change in changes if _is_resource(change)]
        known = {kind: set(names) for kind, names in there.items()}
        for address in {change.address for change in own} | _granted_on(changes):
            if address.kind in known:
                known[address.kind].add(str(address.key[0]))
        return cls(
            Effective(before, workspace),
            Effective(after, workspace),
            {name: (was.get(name), becomes.get(name)) for name in {**was, **becomes}},
            (_holders(before), _holders(after)),
            frozenset(c.address for c in own if c.action is Action.CREATE),
            frozenset(c.address for c in own if c.action is Action.DELETE),
            {c.address: c.moved_from for c in own if c.moved_from is not None},
            {kind: frozenset(names) for kind, names in known.items()},
        )

    def rows(self, change: Change) -> Iterator[_Row]:
        """Everybody whose level this change has to do with, and it differs."""
        for reach in filter(self._there, self._reached(change)):
            for user in sorted(reach.users):
                yield from self._of_user(user, reach)

    def _there(self, reach: _Reach) -> bool:
        return reach.name == ALL or reach.type not in self.there or reach.name in self.there[reach.type]

    def _reached(self, change: Change) -> Iterator[_Reach]:
        match _trait(change), change.address.key:
            case Trait.GRANT, (role, resource_type, resource):
                both = self.roles.get(str(role), (None, None))
                users = _NOBODY.union(*(side.members for side in both if side is not None))
                yield from _reaches(users, str(resource_type), str(resource))
            case Trait.HOLDER, (role,):
                before, after = self.roles.get(str(role), (None, None))
                was = before.members if before else _NOBODY
                becomes = after.members if after else _NOBODY
                sides = [side for side in (before, after) if side is not None]
                for on in {(g.resource_type, g.pattern) for side in sides for g in side.grants}:
                    yield from _reaches(was ^ becomes, *on)
            case _, (name,) if _is_resource(change) and self._comes_or_goes(change.address):
                yield _Reach(self._named(change.address), change.address.kind, str(name))

    def _comes_or_goes(self, address: Address) -> bool:
        return address in self.made or address in self.gone or address in self.origins

    def _named(self, resource: Address) -> frozenset[str]:
        """Members of roles with a grant on just this, on either side."""
        was, becomes = self.holders
        former = self.origins.get(resource, resource)
        return was.get(former, _NOBODY) | becomes.get(resource, _NOBODY)

    def _of_user(self, user: str, reach: _Reach) -> Iterator[_Row]:
        names = [reach.name] if reach.name != ALL else [ALL, *sorted(self._names(user, reach.type))]
        on = {name: self._pair(user, reach.type, name) for name in names}
        versions = _VERSIONS_OF.get(reach.type, "")
        # without a grant on versions they go with their model
        own = any((versions, ALL) in side.grants(user, side.workspace) for side in (self.before, self.after))
        of = {name: self._pair(user, versions, name) for name in names} if own else on
        for name, pair in _worth_telling(on):
            stay = f"; versions stay {of[name].after.level}" if not of[name].differs else ""
            yield _Row(user, Address(reach.type, (name,)), pair, _but(on, name) + stay)
        for name, pair in _worth_telling(of):
            if pair.levels != on[name].levels:
                yield _Row(user, Address(versions, (name, ALL)), pair, _but(of, name))

    def _pair(self, user: str, kind: str, name: str) -> _Pair:
        resource = Address(VERSIONS.get(kind, kind), (name,))
        former = str(self.origins.get(resource, resource).key[0])
        return _Pair(
            _ABSENT if resource in self.made else self.before.decide(user, kind, former),
            _GONE if resource in self.gone else self.after.decide(user, kind, name),
        )

    def _names(self, user: str, kind: str) -> set[str]:
        """What the user's grants of this type name on either side, by the name after the plan, and may be
        told of."""
        onward = {former: address for address, former in self.origins.items()}
        found: set[str] = set()
        for side in (self.before, self.after):
            for resource_type, pattern in side.grants(user, side.workspace_of(kind)):
                if resource_type == kind and pattern != ALL:
                    address = Address(kind, (pattern,))
                    found.add(str(onward.get(address, address).key[0]))
        return found & self.there[kind] if kind in self.there else found


def _reaches(users: frozenset[str], resource_type: str, name: str) -> Iterator[_Reach]:
    """What a grant on this makes a difference to. What MLflow asks of a run or a trace besides its type
    isn't known here, so such types are passed over."""
    if resource_type == WORKSPACE:
        yield _Reach(users, WORKSPACE, ALL)
        yield from (_Reach(users, kind, ALL) for kind in _TYPES)
    elif resource_type in VERSIONS:
        yield _Reach(users, VERSIONS[resource_type], ALL)
    elif resource_type not in ON_ALL_ONLY:
        yield _Reach(users, resource_type, name)


def _holders(state: AccessState) -> _Holders:
    found: defaultdict[Address, set[str]] = defaultdict(set)
    for role in state.roles:
        for grant in role.grants:
            if grant.pattern != ALL:
                found[Address(grant.resource_type, (grant.pattern,))] |= role.members
    return {resource: frozenset(members) for resource, members in found.items()}


def _granted_on(changes: Iterable[Change]) -> set[Address]:
    return {Address(str(c.address.key[1]), c.address.key[2:]) for c in changes if _trait(c) is Trait.GRANT}


def _worth_telling(pairs: Mapping[str, _Pair]) -> Iterator[tuple[str, _Pair]]:
    """Those that differ, but for names that fare as all of the type, which is told once."""
    whole = pairs.get(ALL)
    told = whole.levels if whole is not None and whole.differs else None
    for name, pair in pairs.items():
        if pair.differs and (name == ALL or pair.levels != told):
            yield name, pair


def _but(pairs: Mapping[str, _Pair], name: str) -> str:
    """For all of a type: the names of it on which nothing changes."""
    names = sorted(each for each, pair in pairs.items() if not pair.differs) if name == ALL else []
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return f"; not on {', '.join(names[:_LISTED])}{more}" if names else ""
