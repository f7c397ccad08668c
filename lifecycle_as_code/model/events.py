"""What an apply tells while it works: one Event after another, for views and for notebooks. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from .diagnostics import Diagnostic
from .plan import Action, Phase
from .spec import Address


@dataclass(frozen=True, slots=True)
class Locked:
    """The apply holds the stack's lock and has begun."""

    apply_id: str


@dataclass(frozen=True, slots=True)
class StepStarted:
    """A step begins; `count` is how many changes take part in it."""

    phase: Phase
    count: int


@dataclass(frozen=True, slots=True)
class Progress:
    """Something slow moved on: a database is being created, a replica comes up."""

    message: str
    address: Address | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """A change is complete: written, read back and recorded."""

    address: Address
    action: Action


@dataclass(frozen=True, slots=True)
class Failed:
    """A change could not be made; what was there before is there still."""

    address: Address
    diagnostic: Diagnostic


@dataclass(frozen=True, slots=True)
class HeldBack:
    """A change was not tried, because the one at `because` failed or was held back."""

    address: Address
    because: Address


@dataclass(frozen=True, slots=True)
class Warned:
    """Something worth knowing that stops nothing."""

    diagnostic: Diagnostic


@dataclass(frozen=True, slots=True)
class Finished:
    """The end: how many changes were done, failed and held back. `stopped`: ended by a signal."""

    apply_id: str
    done: int
    failed: int
    held_back: int
    stopped: bool = False

    @property
    def complete(self) -> bool:
        """Whether everything in the plan was done."""
        return not (self.failed or self.held_back or self.stopped)

    @property
    def outcome(self) -> str:
        """The word that history keeps: complete, stopped or partial."""
        return "complete" if self.complete else "stopped" if self.stopped else "partial"


Event = Locked | StepStarted | Progress | Done | Failed | HeldBack | Warned | Finished
