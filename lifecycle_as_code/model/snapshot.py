"""The three snapshots that a plan is made of: desired, recorded, live. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .diagnostics import Diagnostic, Source
from .policy import Rules
from .review import Choice
from .spec import Address, Spec, Store


@dataclass(frozen=True, slots=True)
class Claim:
    """A resource whose permissions the manifest lists whole. `exclusive`: hidden roles' too."""

    exclusive: bool
    at: Source | None = None


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """What `lifecycle:` says about one object. Terraform's words.

    `prevent_destroy` None: nothing is said, and what our record says holds. `ignore_changes`: fields, such as
    `description` or `tags.team`, that stay as they are live once the object exists.
    """

    prevent_destroy: bool | None = None
    ignore_changes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Move:
    """A `moved:` block: the object at `before` is called `after` from now on."""

    before: Address
    after: Address
    at: Source | None = None


@dataclass(frozen=True, slots=True)
class Desired:
    """What the manifests say. `scopes` holds the resources whose permissions are claimed whole.

    `moves`, `removals` (to be forgotten, and kept as they are) and `imports` (to be taken over) are about
    objects that are there already; the last two with their places. `rules`: what plans are judged by.
    `selected_at`: the places of version selectors, by object and path; `choices`: how they were resolved,
    once they are.
    """

    objects: Mapping[Address, Spec] = field(default_factory=dict)
    places: Mapping[Address, Source] = field(default_factory=dict)
    scopes: Mapping[Address, Claim] = field(default_factory=dict)
    warnings: tuple[Diagnostic, ...] = ()
    lifecycles: Mapping[Address, Lifecycle] = field(default_factory=dict)
    moves: tuple[Move, ...] = ()
    removals: Mapping[Address, Source | None] = field(default_factory=dict)
    imports: Mapping[Address, Source | None] = field(default_factory=dict)
    rules: Rules = Rules()
    choices: tuple[Choice, ...] = ()
    selected_at: Mapping[tuple[Address, tuple[str, ...]], Source] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pending:
    """An effect outside SQL that was begun: by which apply, and the names that it makes there."""

    apply_id: str
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Record:
    """What we last applied to one object; `spec` is None while its first apply is pending.

    `protected`: it may not be destroyed, whether or not it is still declared.
    """

    address: Address
    store: Store
    spec: Spec | None
    pending: Pending | None = None
    protected: bool = False


@dataclass(frozen=True, slots=True)
class Recorded:
    """Our tables: this stack's records, and which other stack owns which address.

    `kept`: those of the others that are marked `prevent_destroy`. `elsewhere`: what others last applied
    outside SQL, maybe on a cluster that is not ours.
    """

    ours: Mapping[Address, Record] = field(default_factory=dict)
    others: Mapping[Address, str] = field(default_factory=dict)
    kept: frozenset[Address] = frozenset()
    elsewhere: Mapping[Address, Spec] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Observed:
    """An object as the store holds it, never validated, with facts beside it.

    `tombstone`: deleted, but its name is still taken (MLflow keeps deleted experiments and
    soft-deleted versions). `hidden`: the user whose hidden role holds a grant. `builtin`: the store
    made it by itself.
    """

    spec: Spec
    facts: Mapping[str, Any] = field(default_factory=dict)
    tombstone: bool = False
    hidden: str = ""
    builtin: bool = False


@dataclass(frozen=True, slots=True)
class Live:
    """What the stores hold now.

    `referents` are things that specs may name but that aren't ours to manage, such as users.
    `settled` holds desired specs in the form in which the store would keep them (`runs:/…` as
    `models:/m-…`), so that an unchanged manifest plans as empty.
    """

    objects: Mapping[Address, Observed] = field(default_factory=dict)
    referents: frozenset[Address] = frozenset()
    settled: Mapping[Address, Spec] = field(default_factory=dict)
    diagnostics: tuple[Diagnostic, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)

    def present(self, address: Address) -> Observed | None:
        """The object, unless it is absent or only a tombstone."""
        observed = self.objects.get(address)
        return None if observed is None or observed.tombstone else observed
