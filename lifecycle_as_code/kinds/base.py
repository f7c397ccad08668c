"""The interface between the engine and a kind. A kind has no state: every handle is an argument."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from ..model.diagnostics import Diagnostic
from ..model.plan import Change, Plan
from ..model.review import Impact
from ..model.snapshot import Live, Observed, Recorded
from ..model.spec import Address, Spec
from ..planning.guards import PlanContext
from ..stores.ray.apps import owner
from ..stores.sql.rows import Keys

if TYPE_CHECKING:
    from sqlalchemy import Connection, Table

    from ..stores.ray.client import Cluster

S = TypeVar("S", bound=Spec)

Report = Callable[[str], None]
"""Takes a line of progress."""


@dataclass(frozen=True, slots=True)
class Databases:
    """Open connections for one read or one write, and the other values that rows need.

    `auth` is the same connection as `registry` where both live in one database, and None where the
    stack has no auth database. `now_ms`: milliseconds since 1970, for MLflow's time columns, the same
    for all rows of one apply. `artifact_root`: MLflow's default for new experiments.
    """

    registry: Connection
    auth: Connection | None = None
    workspace: str = "default"
    now_ms: int = 0
    artifact_root: str = "./mlruns"

    @property
    def grants(self) -> Connection:
        """The auth connection; for kinds that live there, which the stack checks beforehand."""
        if self.auth is None:
            raise RuntimeError("no auth database is open")
        return self.auth


@dataclass(frozen=True, slots=True)
class Filter:
    """The objects to observe: for each kind, first key parts (names of models or experiments); None is all
    objects. A model's name includes its versions and aliases, declared or not.
    """

    names: Mapping[str, frozenset[str]] | None = None

    def of(self, *kinds: str) -> frozenset[str] | None:
        """The names of all of `kinds`, or None for all objects."""
        if self.names is None:
            return None
        return frozenset().union(*(self.names.get(kind, frozenset()) for kind in kinds))


@dataclass(frozen=True, slots=True)
class Observation:
    """A kind's live objects, and the objects that specs may name and that no stack manages (`referents`).
    `facts` are about the store as a whole, such as a cluster's free resources."""

    objects: Mapping[Address, Observed]
    referents: frozenset[Address] = frozenset()
    diagnostics: tuple[Diagnostic, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Site:
    """The stack and the settings that endpoints run with. It holds no secret: all of it reaches Ray's config.

    `auth_database`: MLflow's auth database as a replica reaches it, a URL without password or a
    reference `{{ env.NAME }}`; empty where the stack has none. `runtime_env`: Ray's, passed through.
    `store`: the registry's own id, since stacks of one name in several stores may share a cluster; empty
    where it has none yet. `secrets`: where `{{secrets/scope/key}}` comes from, by `scope/key`. `usage_store`,
    `rate_limit_store`: their addresses as `auth_database`'s.
    """

    stack: str
    auth_database: str = ""
    runtime_env: Mapping[str, Any] = field(default_factory=dict)
    store: str = ""
    secrets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    usage_store: str = ""
    rate_limit_store: str = ""

    @property
    def owner(self) -> str:
        """The owner of this stack's apps on the cluster."""
        return owner(self.stack, self.store)


@dataclass(frozen=True, slots=True)
class Replacement:
    """One version in the place of another; one of the two may be absent. `entity`: the part of the object
    that leads to them, as in `Spec.stands_for`."""

    address: Address
    entity: str
    before: Address | None
    after: Address | None

    @property
    def sides(self) -> tuple[Address, ...]:
        """The versions that are present."""
        return tuple(side for side in (self.before, self.after) if side is not None)


StoredForms = Iterable[tuple[Address, Spec | Diagnostic]]
"""By address, the spec in the store's form, or the reason why it has none; the caller adds the place."""


def report_use(detail: str, hint: str = "run `lac plan` again") -> Diagnostic:
    """The error for a deletion that would take along an object which the plan doesn't know."""
    return Diagnostic("still-used", "a deletion would touch something else", detail, hint=hint)


class Kind(ABC, Generic[S]):
    """One sort of object: a Spec class, its own rules, and its effects."""

    spec: type[S]

    def check(self, world: PlanContext) -> Iterator[Diagnostic]:
        """Rules of this kind over the whole plan, beyond those that follow from its markers. Pure."""
        return iter(())

    def versions_put_in_place(self, changes: Sequence[Change], live: Live) -> Iterator[Replacement]:
        """Which model version each of these changes of this kind puts in which one's place. Pure.

        By default those that `Spec.stands_for` names on both sides, unless one is still unknown: an alias
        that isn't resolved, in a plan that is about something else.
        """
        for change in changes:
            before = change.before.stands_for() if change.before else {}
            after = change.after.stands_for() if change.after else {}
            for entity in dict.fromkeys((*after, *before)):
                sides = before.get(entity), after.get(entity)
                unknown = (entity in before, entity in after) != tuple(side is not None for side in sides)
                if not unknown:
                    yield Replacement(change.address, entity, *sides)

    def impacts(self, plan: Plan, recorded: Recorded, live: Live) -> Iterator[Impact]:
        """What the plan's changes, of whatever kind, reach among objects of this kind, such as an endpoint's
        traffic and capacity; at most one for each change. Access isn't included. Pure."""
        return iter(())


class SqlKind(Kind[S]):
    """A kind whose objects are rows. Effects take many objects at once and run inside the caller's
    transaction; they never commit, and touch no row that their arguments don't name.

    `keys`: where an object's row is, for kinds that others refer to. `tables`: the tables that these objects
    fill, whose planner statistics PostgreSQL has to renew once many of them were written.
    """

    keys: ClassVar[Keys | None] = None
    tables: ClassVar[tuple[Table, ...]] = ()

    @abstractmethod
    def observe(self, db: Databases, scope: Filter) -> Observation:
        """Live objects, tombstones included, in a fixed number of queries."""

    def settle(
        self, db: Databases, desired: Mapping[Address, S], live: Mapping[Address, Observed]
    ) -> StoredForms:
        """Desired specs in the form in which the store would keep them; only those that differ. `live` holds
        every kind's objects that were observed."""
        return ()

    @abstractmethod
    def create(self, db: Databases, afters: Sequence[S]) -> None:
        """Create them as MLflow's own handlers would for an administrator."""

    @abstractmethod
    def update(self, db: Databases, pairs: Sequence[tuple[S, S]]) -> None:
        """Change each `before` to its `after`. Mappings marked `OwnedKeys` have only our keys: a key in
        `before` alone is removed, keys in neither are left alone."""

    def move(self, db: Databases, pairs: Sequence[tuple[S, S]]) -> None:
        """Rename each `before` to the name of its `after`, and its dependents with it, as MLflow's own rename
        does. Nothing else of `after` is written. LacError `name-taken` where another object has that name.
        Called only for kinds whose Spec is `movable`."""
        raise RuntimeError(f"a {self.spec.kind} can't be renamed")

    @abstractmethod
    def delete(self, db: Databases, befores: Sequence[S]) -> None:
        """Delete them as MLflow would; their dependents are deleted already."""


@dataclass(frozen=True, slots=True)
class Rollout:
    """The outcome of one change of a serving object. `problem` is None on success."""

    address: Address
    problem: Diagnostic | None = None


class ServeKind(Kind[S]):
    """A kind whose objects live in Ray Serve. Its effects can't be rolled back, so they come in phases;
    each phase makes all changes at once and reports on each."""

    @abstractmethod
    def observe(self, cluster: Cluster) -> Observation:
        """Every object of this kind on the cluster, of any owner, with its health among the facts."""

    @abstractmethod
    def settle(
        self, site: Site, desired: Mapping[Address, S], expected: Mapping[Address, Observed]
    ) -> StoredForms:
        """Desired specs with aliases pinned and the other values that the cluster needs. Pure.

        `expected`: the stores' objects after the plan: live objects, overlaid by the settled specs of
        declared ones. It also has the live objects of this kind."""

    @abstractmethod
    def names(self, site: Site, change: Change) -> tuple[str, ...]:
        """The names that this change creates on the cluster; recorded as pending before that."""

    @abstractmethod
    def warm_up(self, cluster: Cluster, site: Site, changes: Sequence[Change], tell: Report) -> list[Rollout]:
        """Start new parts beside the old ones, without traffic; wait for them and probe them. Failed parts
        are removed. `tell` is called at least every second; an exception of it ends the wait, and the caller
        undoes."""

    @abstractmethod
    def undo(self, cluster: Cluster, site: Site, changes: Sequence[Change], tell: Report) -> None:
        """Remove the parts that `warm_up` started for these changes; the traffic hasn't moved."""

    @abstractmethod
    def cut_over(
        self, cluster: Cluster, site: Site, changes: Sequence[Change], tell: Report
    ) -> list[Rollout]:
        """Move the traffic, and read back that it moved."""

    @abstractmethod
    def retire(self, cluster: Cluster, site: Site, changes: Sequence[Change], tell: Report) -> list[Rollout]:
        """Remove the parts that no longer serve; for a deletion, all of them."""
