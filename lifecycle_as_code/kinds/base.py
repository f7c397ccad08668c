"""What the engine asks of a kind. A kind has no state: every handle is passed in."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from ..model.diagnostics import Diagnostic
from ..model.plan import Change
from ..model.snapshot import Observed
from ..model.spec import Address, Spec
from ..planning.guards import World
from ..stores.mlflow.rows import Keys
from ..stores.ray.apps import owner

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from ..stores.ray.client import Cluster

S = TypeVar("S", bound=Spec)

Tell = Callable[[str], None]
"""Takes a line of progress."""


@dataclass(frozen=True, slots=True)
class Databases:
    """Open connections for one read or one write, and what the rows need besides.

    `auth` is the same connection as `registry` where both live in one database, and None where the
    stack has no auth database. `now_ms`: milliseconds since 1970, for MLflow's time columns; one
    apply's rows all carry the same. `artifact_root`: MLflow's default for new experiments.
    """

    registry: Connection
    auth: Connection | None = None
    workspace: str = "default"
    now_ms: int = 0
    artifact_root: str = "./mlruns"

    @property
    def grants(self) -> Connection:
        """The auth connection; only for kinds that live there, which the stack checks beforehand."""
        if self.auth is None:
            raise RuntimeError("no auth database is open")
        return self.auth


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to observe: for each kind, first key parts (model or experiment names); None is everything.

    A model's name stands for its versions and aliases too, declared or not.
    """

    names: Mapping[str, frozenset[str]] | None = None

    def of(self, *kinds: str) -> frozenset[str] | None:
        """The names wanted of any of `kinds`, or None for all there are."""
        if self.names is None:
            return None
        return frozenset().union(*(self.names.get(kind, frozenset()) for kind in kinds))


@dataclass(frozen=True, slots=True)
class Observation:
    """What a kind found: its objects, and things that specs may name but that aren't ours to manage.

    `facts` are about the store as a whole, such as what a cluster has free.
    """

    objects: Mapping[Address, Observed]
    referents: frozenset[Address] = frozenset()
    diagnostics: tuple[Diagnostic, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Site:
    """Where endpoints run, and for whom. Nothing in here is a secret: all of it reaches Ray's config.

    `auth_database`: MLflow's auth database as a replica reaches it, a URL without password or a
    reference `{{ env.NAME }}`; empty where the stack has none. `runtime_env`: Ray's, passed through.
    `store`: the registry's own id, for stacks of one name in several stores may share a cluster; empty where
    it has none yet.
    """

    stack: str
    auth_database: str = ""
    runtime_env: Mapping[str, Any] = field(default_factory=dict)
    store: str = ""

    @property
    def owner(self) -> str:
        """Whose the apps on the cluster are."""
        return owner(self.stack, self.store)


Settled = Iterable[tuple[Address, Spec | Diagnostic]]
"""For an address, its spec in the store's form, or why it has none; the caller adds the place."""


class Kind(ABC, Generic[S]):
    """One sort of object: a Spec class, its own rules, and its effects."""

    spec: type[S]

    def check(self, world: World) -> Iterator[Diagnostic]:
        """Rules of this kind over the whole plan, beyond those that follow from its markers. Pure."""
        return iter(())


class SqlKind(Kind[S]):
    """A kind whose objects are rows. Effects take many objects at once and run inside the caller's
    transaction; they never commit, and touch no row that their arguments don't name.

    `keys`: where an object's row is, for kinds that others refer to.
    """

    keys: ClassVar[Keys | None] = None

    @abstractmethod
    def observe(self, db: Databases, wanted: Wanted) -> Observation:
        """What is there, tombstones included, in a fixed number of queries."""

    def settle(
        self, db: Databases, desired: Mapping[Address, S], live: Mapping[Address, Observed]
    ) -> Settled:
        """Desired specs in the form in which the store would keep them; only those that differ.

        `live` holds every kind's objects that were observed.
        """
        return ()

    @abstractmethod
    def create(self, db: Databases, afters: Sequence[S]) -> None:
        """Make them, as MLflow's own handlers would for an administrator."""

    @abstractmethod
    def update(self, db: Databases, pairs: Sequence[tuple[S, S]]) -> None:
        """Bring each `before` to its `after`. Mappings marked `OwnedKeys` hold only keys of ours:
        a key in `before` alone is removed, keys in neither are left alone."""

    def move(self, db: Databases, pairs: Sequence[tuple[S, S]]) -> None:
        """Give each `before` the name of its `after`; what hangs on it goes along, as with MLflow's own
        rename. Nothing else of `after` is written. LacError `name-taken` where something has that name.

        Asked only of kinds whose Spec is `movable`.
        """
        raise RuntimeError(f"a {self.spec.kind} can't be renamed")

    @abstractmethod
    def delete(self, db: Databases, befores: Sequence[S]) -> None:
        """Remove them as MLflow would; what depends on them is already gone."""


@dataclass(frozen=True, slots=True)
class Rollout:
    """How one change of a serving object fared. `problem` is None where it went well."""

    address: Address
    problem: Diagnostic | None = None


class ServeKind(Kind[S]):
    """A kind whose objects live in Ray Serve. Effects can't be rolled back, so they come in phases;
    each phase does all changes at once and reports on each."""

    @abstractmethod
    def observe(self, cluster: Cluster) -> Observation:
        """Every object of this kind on the cluster, whoever made it, with its health among the facts."""

    @abstractmethod
    def settle(
        self, site: Site, desired: Mapping[Address, S], expected: Mapping[Address, Observed]
    ) -> Settled:
        """Desired specs with aliases pinned and what else the cluster needs filled in. Pure.

        `expected` is what the stores will hold once the plan is applied: live objects, overlaid by
        the settled specs of declared ones. It also holds `serving_endpoint`s as they are live.
        """

    @abstractmethod
    def names(self, site: Site, change: Change) -> tuple[str, ...]:
        """What making this change creates on the cluster; recorded as pending before it is made."""

    @abstractmethod
    def warm_up(self, cluster: Cluster, site: Site, changes: Sequence[Change], tell: Tell) -> list[Rollout]:
        """Bring new parts up beside the old ones, without traffic; wait, probe. What failed is removed.

        `tell` is called at least every second; what it raises ends the wait, and the caller undoes.
        """

    @abstractmethod
    def undo(self, cluster: Cluster, site: Site, changes: Sequence[Change], tell: Tell) -> None:
        """Take away what `warm_up` made for these changes; traffic is where it was."""

    @abstractmethod
    def cut_over(self, cluster: Cluster, site: Site, changes: Sequence[Change], tell: Tell) -> list[Rollout]:
        """Move the traffic, and read back that it moved."""

    @abstractmethod
    def retire(self, cluster: Cluster, site: Site, changes: Sequence[Change], tell: Tell) -> list[Rollout]:
        """Remove what no longer serves; for a deletion, everything."""
