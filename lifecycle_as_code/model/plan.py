"""The words a plan is made of: Action, Change, Step, Plan. Pure data; `plan.py` decides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

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
    | ✓ | differs | same | RECORD: only our record catches up |
    | absent | ✓ | ✓ | DELETE |
    | absent | ✓ | absent | FORGET: only our record goes |
    | absent | absent | in a claimed scope | DELETE |
    | ✓ under a new name | ✓ | same | MOVE: renamed, with what hangs on it |
    """

    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"
    MOVE = "move"
    RECORD = "record"
    FORGET = "forget"

    @property
    def is_difference(self) -> bool:
        """Whether it changes anything but our own records."""
        return self not in (Action.RECORD, Action.FORGET)


class Mode(StrEnum):
    """What a plan is for, in Terraform's words where it has them."""

    NORMAL = "normal"
    DESTROY = "destroy"
    REFRESH_ONLY = "refresh-only"
    ROLLBACK = "rollback"


class Phase(StrEnum):
    """The steps of an apply, in order; DESIGN: prepare, warm up, switch, cut over, retire."""

    PREPARE = "prepare"
    WARM_UP = "warm up"
    SWITCH = "switch"
    CUT_OVER = "cut over"
    RETIRE = "retire"


@dataclass(frozen=True, slots=True)
class Change:
    """One object's part of a plan. No `before` is a creation, no `after` a deletion.

    `before` is what is live, cut down to what is ours to compare. `waits_for` names the changes
    without which this one is held back. `moved_from`: its address until now; `before` has the new name
    already. `protected`: what our record shall say about it.
    """

    address: Address
    store: Store
    action: Action
    reason: str
    before: Spec | None
    after: Spec | None
    fields: tuple[FieldChange, ...] = ()
    waits_for: frozenset[Address] = frozenset()
    at: Source | None = None
    moved_from: Address | None = None
    protected: bool = False

    @property
    def side(self) -> Spec | None:
        """The side that exists: `after` where there is one."""
        return self.after or self.before


@dataclass(frozen=True, slots=True)
class Step:
    """One phase on one store: a transaction, or a rollout."""

    phase: Phase
    store: Store
    changes: tuple[Change, ...]


GUARDS: Final[Mapping[str, str]] = {
    "mass-deletion": "deleting more of a kind at once than `guards:` in lac.yaml admits",
    "version-in-use": "deleting a version that an alias or an endpoint uses",
    "model-in-use": "deleting a model that has versions or aliases that aren't managed here",
    "still-granted": "deleting a role with grants, or a resource with grants on it, that aren't managed here",
    "last-manage": "taking away the last MANAGE on a resource",
    "own-manage": "taking away one's own MANAGE on a resource",
    "protected": "deleting what is marked `prevent_destroy`",
    "nothing-declared": "deleting everything because nothing is declared",
}
"""Each guard and what it stands before."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How many objects of a kind one plan may delete: this share of what is recorded, or this many,
    whichever is more."""

    share: float = 0.3
    count: int = 10


@dataclass(frozen=True, slots=True)
class Allowed:
    """A guard that would have refused the plan, and was let through by its flag. `detail`: what is lost."""

    guard: str
    detail: str


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that `apply` will do, in order, and what the reader should know about it."""

    stack: str
    environment: str
    changes: tuple[Change, ...]
    steps: tuple[Step, ...]
    diagnostics: tuple[Diagnostic, ...] = ()
    mode: Mode = Mode.NORMAL
    allowed: tuple[Allowed, ...] = ()
    review: Review = Review()
    file_id: str = field(default="", compare=False)
    """The identity of the file that it was read from, for such a plan is applied once; empty for a plan that
    was made in this process. No part of what the plan says."""

    @property
    def destroy(self) -> bool:
        """Whether it deletes all that the stack owns."""
        return self.mode is Mode.DESTROY

    @property
    def moves(self) -> tuple[tuple[Address, Address], ...]:
        """The renames by themselves, without what goes along: the address before and after."""
        return tuple(
            (change.moved_from, change.address)
            for change in self.changes
            if change.moved_from is not None and change.side is not None and change.side.movable
        )

    @property
    def differences(self) -> tuple[Change, ...]:
        """The changes that change anything but our own records; all, where a plan is about records alone."""
        if self.mode is Mode.REFRESH_ONLY:
            return self.changes
        return tuple(change for change in self.changes if change.action.is_difference)

    def tally(self) -> Mapping[Action, int]:
        """How many changes of each action that is a difference; zeros included, but for moves."""
        counts = {action: sum(c.action is action for c in self.changes) for action in Action}
        return {
            action: count
            for action, count in counts.items()
            if action.is_difference and (count or action is not Action.MOVE)
        }
