"""The users who gain or lose access by a plan: those whose effective level differs after it. Pure. Both
states are resolved whole, because another role may give the same, or a DENY may override it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, NamedTuple

from ...model.access import (
    ALL,
    DEFAULT_WORKSPACE,
    DENY,
    NOTHING,
    ON_ALL_ONLY,
    VERSIONS,
    WORKSPACE,
    AccessState,
    Decision,
    Role,
)
from ...model.plan import Action, Change, Mode, Plan
from ...model.review import Access
from ...model.spec import Address, Trait
from ...model.text import join_first
from ...serving.levels import ResourceType, rank
from .effective import Effective
from .projection import project_state

MOST: Final = 200
"""The most rows of one change; fewer if very many changes have rows."""
MOST_IN_ALL: Final = 2000
"""The most rows of a whole plan, but at least one for every change that has any."""

_TYPES: Final = (
    ResourceType.REGISTERED_MODEL,
    ResourceType.EXPERIMENT,
    ResourceType.SERVING_ENDPOINT,
    ResourceType.PROMPT,
    ResourceType.GATEWAY_ENDPOINT,
)
"""Types of resources that people grant on: those that MANAGE on the workspace covers."""
_VERSIONS_OF: Final = {parent: versions for versions, parent in VERSIONS.items()}
UNKNOWN: Final[Mapping[str, Collection[str]]] = MappingProxyType({})


def list_access_changes(
    plan: Plan,
    before: AccessState,
    workspace: str = DEFAULT_WORKSPACE,
    existing: Mapping[str, Collection[str]] = UNKNOWN,
) -> Mapping[Address, tuple[Access, ...]]:
    """For each change that affects access: the users whose effective level it changes, and on which resource.

    The resource `*`, as in `registered_model.*`, stands for every resource of its type without a row of its
    own for that user, future ones included; `registered_model_version.fraud/*` for the versions of `fraud`,
    listed if their level differs from the model's; `workspace.*` for the workspace itself. A resource that is
    created or deleted is listed for users with a grant on its name.

    A row belongs to the first change that touches a grant on that resource or a role with one which the user
    has or had; otherwise to the resource's own. At most `MOST` rows per change and about `MOST_IN_ALL` per
    plan, the weightiest; a change's last `why` then ends with the number of others. `existing`: the names of
    resources, by type; other names of these types are skipped, because MLflow keeps grants on deleted
    resources.
    """
    if not touches_access(plan):
        return {}
    changes = [change for change in plan.changes if change.action.is_difference]
    sides = _Sides.of(before, changes, workspace, existing)
    rows: dict[Address, list[_Row]] = {}
    seen: set[tuple[str, Address]] = set()
    # a resource's own change comes last: a grant that is created with it says more
    for change in sorted(changes, key=_is_resource):
        for row in sides.rows(change):
            if (row.user, row.resource) not in seen:
                seen.add((row.user, row.resource))
                rows.setdefault(change.address, []).append(row)
    most = max(1, min(MOST, MOST_IN_ALL // max(1, len(rows))))
    return {c.address: _take_weightiest(rows[c.address], most) for c in changes if c.address in rows}


def touches_access(plan: Plan) -> bool:
    """Whether a plan changes grants, roles, or resources with grants; otherwise no access changes."""
    about = (Trait.GRANT, Trait.HOLDER)
    differences = [change for change in plan.changes if change.action.is_difference]
    affects = any(_trait(change) in about or _is_resource(change) for change in differences)
    return plan.mode is not Mode.REFRESH_ONLY and affects


def _trait(change: Change) -> Trait | None:
    return change.side.trait if change.side else None


def _is_resource(change: Change) -> bool:
    """Whether grants can name the object."""
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
        """Whether the user may do more or less than before: DENY equals no permission."""
        before, after = (NOTHING if level == DENY else level for level in self.levels)
        return before != after


class _Row(NamedTuple):
    """A difference, and a note about it."""

    user: str
    resource: Address
    pair: _Pair
    note: str

    @property
    def weight(self) -> tuple[int, int]:
        """Gains weigh more than losses; within each, higher levels weigh more."""
        before, after = map(rank, self.pair.levels)
        return (after if after > before else -1, before)

    def access(self, more: int) -> Access:
        reasons = dict.fromkeys(side.why for side in self.pair)
        unlisted = f" (and {more} more not listed)" if more else ""
        return Access(self.user, self.resource, *self.pair.levels, " → ".join(reasons) + self.note + unlisted)


def _take_weightiest(rows: list[_Row], most: int) -> tuple[Access, ...]:
    first = sorted(rows, key=lambda row: row.weight, reverse=True)[:most]
    first.sort(key=lambda row: (str(row.resource), row.user))
    more = len(rows) - len(first)
    return tuple(row.access(more if row is first[-1] else 0) for row in first)


class _Reach(NamedTuple):
    """Whose level a change may affect: these users', on this type and name, or on all of the type."""

    users: frozenset[str]
    type: str
    name: str


_BEFORE_CREATION: Final = Decision(NOTHING, "doesn't exist yet")
_AFTER_DELETION: Final = Decision(NOTHING, "deleted")
_NOBODY: Final = frozenset[str]()
_NO_ROLE: Final = Role("")
_Holders = Mapping[Address, frozenset[str]]
"""The members of all roles with a grant on a resource, by the resource."""


@dataclass(frozen=True)
class _Sides:
    """Both states, and the resources that exist on one side only."""

    before: Effective
    after: Effective
    roles: Mapping[str, tuple[Role, Role]]
    """Each on both sides; without members and grants on a side where it doesn't exist."""
    holders: tuple[_Holders, _Holders]
    created: frozenset[Address]
    deleted: frozenset[Address]
    origins: Mapping[Address, Address]
    """The former address of each renamed resource."""
    existing: Mapping[str, frozenset[str]]
    """The names to list, by type; all names of types that aren't in it."""

    @classmethod
    def of(
        cls,
        before: AccessState,
        changes: list[Change],
        workspace: str,
        existing: Mapping[str, Collection[str]],
    ) -> _Sides:
        after = project_state(before, changes, workspace)
        roles_before, roles_after = (
            {role.name: role for role in state.roles if role.workspace == workspace}
            for state in (before, after)
        )
        own = [change for change in changes if _is_resource(change)]
        known = {kind: set(names) for kind, names in existing.items()}
        grants = [c.address.key for c in changes if _trait(c) is Trait.GRANT]
        for address in (*(change.address for change in own), *(Address(str(k[1]), k[2:]) for k in grants)):
            if address.kind in known:
                known[address.kind].add(str(address.key[0]))
        return cls(
            Effective(before, workspace),
            Effective(after, workspace),
            {
                n: (roles_before.get(n, Role(n)), roles_after.get(n, Role(n)))
                for n in {**roles_before, **roles_after}
            },
            (_holders(before), _holders(after)),
            frozenset(c.address for c in own if c.action is Action.CREATE),
            frozenset(c.address for c in own if c.action is Action.DELETE),
            {c.address: c.moved_from for c in own if c.moved_from is not None},
            {kind: frozenset(names) for kind, names in known.items()},
        )

    def rows(self, change: Change) -> Iterator[_Row]:
        """The users whose level differs and may be affected by this change."""
        for reach in filter(self._is_listed, self._reaches(change)):
            for user in sorted(reach.users):
                yield from self._rows_of_user(user, reach)

    def _is_listed(self, reach: _Reach) -> bool:
        return reach.name == ALL or reach.type not in self.existing or reach.name in self.existing[reach.type]

    def _reaches(self, change: Change) -> Iterator[_Reach]:
        match _trait(change), change.address.key:
            case Trait.GRANT, (role, resource_type, resource):
                before, after = self.roles.get(str(role), (_NO_ROLE, _NO_ROLE))
                yield from _reaches(before.members | after.members, str(resource_type), str(resource))
            case Trait.HOLDER, (role,):
                before, after = self.roles.get(str(role), (_NO_ROLE, _NO_ROLE))
                for on in {(g.resource_type, g.pattern) for g in (*before.grants, *after.grants)}:
                    yield from _reaches(before.members ^ after.members, *on)
            case _, (name,) if _is_resource(change):
                own = change.address
                if own in self.created or own in self.deleted or own in self.origins:
                    holders_before, holders_after = self.holders
                    former = self.origins.get(own, own)
                    users = holders_before.get(former, _NOBODY) | holders_after.get(own, _NOBODY)
                    yield _Reach(users, own.kind, str(name))

    def _rows_of_user(self, user: str, reach: _Reach) -> Iterator[_Row]:
        names = [reach.name] if reach.name != ALL else [ALL, *sorted(self._names(user, reach.type))]
        on = {name: self._pair(user, reach.type, name) for name in names}
        versions = _VERSIONS_OF.get(reach.type, "")
        # without a grant on versions, the model's level applies to them
        own = any((versions, ALL) in side.grants(user, side.workspace) for side in (self.before, self.after))
        of = {name: self._pair(user, versions, name) for name in names} if own else on
        for name, pair in _differences(on):
            stay = f"; versions stay {of[name].after.level}" if not of[name].differs else ""
            yield _Row(user, Address(reach.type, (name,)), pair, _exceptions(on, name) + stay)
        for name, pair in _differences(of):
            if pair.levels != on[name].levels:
                yield _Row(user, Address(versions, (name, ALL)), pair, _exceptions(of, name))

    def _pair(self, user: str, kind: str, name: str) -> _Pair:
        resource = Address(VERSIONS.get(kind, kind), (name,))
        former = str(self.origins.get(resource, resource).key[0])
        return _Pair(
            _BEFORE_CREATION if resource in self.created else self.before.decide(user, kind, former),
            _AFTER_DELETION if resource in self.deleted else self.after.decide(user, kind, name),
        )

    def _names(self, user: str, kind: str) -> set[str]:
        """The names to list on which the user has grants of this type on either side, as after the plan."""
        onward = {former: address for address, former in self.origins.items()}
        names: set[str] = set()
        for side in (self.before, self.after):
            for resource_type, pattern in side.grants(user, side.workspace_of(kind)):
                if resource_type == kind and pattern != ALL:
                    address = Address(kind, (pattern,))
                    names.add(str(onward.get(address, address).key[0]))
        return names & self.existing[kind] if kind in self.existing else names


def _reaches(users: frozenset[str], resource_type: str, name: str) -> Iterator[_Reach]:
    """The resources that a grant on this may affect. For runs, traces and the like MLflow also checks other
    permissions, which aren't known here, so such types are skipped."""
    if resource_type == WORKSPACE:
        yield _Reach(users, WORKSPACE, ALL)
        yield from (_Reach(users, kind, ALL) for kind in _TYPES)
    elif resource_type in VERSIONS:
        yield _Reach(users, VERSIONS[resource_type], ALL)
    elif resource_type not in ON_ALL_ONLY:
        yield _Reach(users, resource_type, name)


def _holders(state: AccessState) -> _Holders:
    holders: defaultdict[Address, set[str]] = defaultdict(set)
    for role in state.roles:
        for grant in role.grants:
            if grant.pattern != ALL:
                holders[Address(grant.resource_type, (grant.pattern,))] |= role.members
    return {resource: frozenset(members) for resource, members in holders.items()}


def _differences(pairs: Mapping[str, _Pair]) -> Iterator[tuple[str, _Pair]]:
    """The pairs that differ, except for names with the same levels as all of the type, which has one row."""
    whole = pairs.get(ALL)
    levels = whole.levels if whole is not None and whole.differs else None
    for name, pair in pairs.items():
        if pair.differs and (name == ALL or pair.levels != levels):
            yield name, pair


def _exceptions(pairs: Mapping[str, _Pair], name: str) -> str:
    """For all of a type: the names on which nothing changes."""
    names = sorted(each for each, pair in pairs.items() if not pair.differs) if name == ALL else []
    return f"; not on {join_first(names)}" if names else ""
