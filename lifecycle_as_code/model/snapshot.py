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
    """A resource whose permissions the manifest lists in full. `exclusive`: those of hidden roles too."""

    exclusive: bool
    at: Source | None = None


@dataclass(frozen=True, slots=True)
class Lifecycle:
    """The `lifecycle:` of one object, in Terraform's terms. `prevent_destroy` None: the record's mark holds.
    `ignore_changes`: fields such as `tags.team` that keep their live values once the object exists."""

    prevent_destroy: bool | None = None
    ignore_changes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Move:
    """A `moved:` block: the object at `before` is renamed to `after`."""

    before: Address
    after: Address
    at: Source | None = None


@dataclass(frozen=True, slots=True)
class Desired:
    """The manifests' content. `scopes`: the resources whose permissions they list in full. `moves`,
    `removals` (objects that lac forgets and leaves alone) and `imports` (objects that it takes over) concern
    live objects. `selected_at`: the places of version selectors; `choices`: the versions that they chose."""

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
    """An effect outside SQL that an apply began, and the names that it creates there."""

    apply_id: str
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Record:
    """What lac last applied to one object; `spec` is None while its first apply is pending. `protected`: it
    must not be destroyed, whether or not it is still declared."""

    address: Address
    store: Store
    spec: Spec | None
    pending: Pending | None = None
    protected: bool = False


@dataclass(frozen=True, slots=True)
class Recorded:
    """lac's tables: this stack's records, and the owners of other stacks' addresses. `protected_elsewhere`:
    those that are marked `prevent_destroy`. `elsewhere`: other stacks' specs outside SQL, on whatever
    cluster."""

    ours: Mapping[Address, Record] = field(default_factory=dict)
    others: Mapping[Address, str] = field(default_factory=dict)
    protected_elsewhere: frozenset[Address] = frozenset()
    elsewhere: Mapping[Address, Spec] = field(default_factory=dict)


HEALTH = "health"
"""The fact that says, in words, how an object is worse than its spec tells; absent where it is well."""


@dataclass(frozen=True, slots=True)
class Observed:
    """An object as the store holds it, never validated. `tombstone`: deleted, but its name is still taken, as
    MLflow's deleted experiments. `hidden`: the user whose hidden role holds a grant. `builtin`: the store's
    own."""

    spec: Spec
    facts: Mapping[str, Any] = field(default_factory=dict)
    tombstone: bool = False
    hidden: str = ""
    builtin: bool = False


@dataclass(frozen=True, slots=True)
class Live:
    """The stores' content. `referents`: objects that specs may name and lac can't manage, such as users.
    `settled`: desired specs in the store's form (`runs:/…` as `models:/m-…`)."""

    objects: Mapping[Address, Observed] = field(default_factory=dict)
    referents: frozenset[Address] = frozenset()
    settled: Mapping[Address, Spec] = field(default_factory=dict)
    diagnostics: tuple[Diagnostic, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)

    def present(self, address: Address) -> Observed | None:
        """The object; None if it is absent or a tombstone."""
        observed = self.objects.get(address)
        return None if observed is None or observed.tombstone else observed
