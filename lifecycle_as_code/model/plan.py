"""A plan and its parts: Action, Change, Step, the guards and their limits. Pure data: `planning` makes it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final
from uuid import uuid4

from .diagnostics import Diagnostic, Source
from .diff import FieldChange
from .review import Review
from .spec import Address, Spec, Store


class Action(StrEnum):
    """What happens to one object.

    | desired | recorded | live | action |
    |---|---|---|---|
    | ✓ | any | absent | CREATE |
    | ✓ | ✓ | differs | UPDATE |
    | ✓ | differs | same | RECORD: only lac's record changes |
    | absent | ✓ | ✓ | DELETE |
    | absent | ✓ | absent | FORGET: only lac's record is removed |
    | absent | absent | in a claimed scope | DELETE |
    | ✓ under a new name | ✓ | same | MOVE: renamed, with the objects that refer to it |
    """

    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"
    MOVE = "move"
    RECORD = "record"
    FORGET = "forget"

    @property
    def is_difference(self) -> bool:
        """Whether it changes more than lac's own records."""
        return self not in (Action.RECORD, Action.FORGET)


class Mode(StrEnum):
    """The purpose of a plan; Terraform's terms where it has them."""

    NORMAL = "normal"
    DESTROY = "destroy"
    REFRESH_ONLY = "refresh-only"
    ROLLBACK = "rollback"


class Phase(StrEnum):
    """The steps of an apply, in order."""

    PREPARE = "prepare"
    WARM_UP = "warm up"
    SWITCH = "switch"
    CUT_OVER = "cut over"
    RETIRE = "retire"


@dataclass(frozen=True, slots=True)
class Change:
    """One object's part of a plan. No `before` is a creation, no `after` a deletion. `before`: live state,
    reduced to what lac compares. `waits_for`: the changes that must succeed first. `moved_from`: the present
    address of a renamed object; `before` has the new one. `protected`: the mark that the record will have."""

    address: Address
    store: Store
    action: Action
    reason: str
    before: Spec | None = None
    after: Spec | None = None
    fields: tuple[FieldChange, ...] = ()
    waits_for: frozenset[Address] = frozenset()
    at: Source | None = None
    moved_from: Address | None = None
    protected: bool = False

    @property
    def side(self) -> Spec | None:
        """`after` if there is one, otherwise `before`."""
        return self.after or self.before


@dataclass(frozen=True, slots=True)
class Step:
    """One phase on one store: a transaction, or a rollout."""

    phase: Phase
    store: Store
    changes: tuple[Change, ...]


GUARDS: Final[Mapping[str, str]] = {
    "mass-deletion": "deleting more objects of a kind at once than `guards:` in lac.yaml allows",
    "version-in-use": "deleting a version that an alias or an endpoint uses",
    "model-in-use": "deleting a model that has versions or aliases that aren't managed here",
    "still-granted": "deleting a role with grants, or a resource with grants on it, that aren't managed here",
    "last-manage": "revoking the last MANAGE on a resource",
    "own-manage": "revoking your own MANAGE on a resource",
    "protected": "deleting objects marked `prevent_destroy`",
    "nothing-declared": "deleting everything because nothing is declared",
}
"""Each guard and what it refuses."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How many objects of a kind one plan may delete: this share of the recorded ones, or this many,
    whichever is more."""

    share: float = 0.3
    count: int = 10


@dataclass(frozen=True, slots=True)
class Override:
    """A guard that `--allow` overrode. `detail`: what the plan does in spite of it."""

    guard: str
    detail: str


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that `apply` will do, in order, and what a reader should know about it."""

    stack: str
    environment: str
    changes: tuple[Change, ...]
    steps: tuple[Step, ...]
    diagnostics: tuple[Diagnostic, ...] = ()
    mode: Mode = Mode.NORMAL
    allowed: tuple[Override, ...] = ()
    review: Review = Review()
    plan_id: str = field(default_factory=lambda: uuid4().hex, compare=False)
    """The identity of the plan, since a plan is applied only once: of one read from a file, the hash of the
    file. Not part of the plan's content."""

    @property
    def destroy(self) -> bool:
        """Whether it deletes everything that the stack owns."""
        return self.mode is Mode.DESTROY

    @property
    def moves(self) -> tuple[tuple[Address, Address], ...]:
        """The renames as pairs of addresses, before and after; without the objects that are renamed along."""
        return tuple(
            (change.moved_from, change.address)
            for change in self.changes
            if change.moved_from is not None and change.side is not None and change.side.movable
        )

    @property
    def differences(self) -> tuple[Change, ...]:
        """The changes of more than lac's records; every change, if the plan is about records alone."""
        if self.mode is Mode.REFRESH_ONLY:
            return self.changes
        return tuple(change for change in self.changes if change.action.is_difference)

    def tally(self) -> Mapping[Action, int]:
        """The number of changes per action that is a difference; zeros included, except for moves."""
        counts = Counter(change.action for change in self.changes)
        return {
            action: counts[action]
            for action in Action
            if action.is_difference and (counts[action] or action is not Action.MOVE)
        }
