"""What an apply reports while it runs: a stream of events, for views and for notebooks. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from .diagnostics import Diagnostic
from .plan import Action, Phase
from .spec import Address


@dataclass(frozen=True, slots=True)
class Locked:
    """The apply has acquired the stack's lock and begins."""

    apply_id: str


@dataclass(frozen=True, slots=True)
class StepStarted:
    """A step begins; `count` is how many changes take part in it."""

    phase: Phase
    count: int


@dataclass(frozen=True, slots=True)
class Progress:
    """A slow operation advances: a database is being created, a replica starts."""

    message: str
    address: Address | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """A change is complete: written, read back and recorded."""

    address: Address
    action: Action


@dataclass(frozen=True, slots=True)
class Failed:
    """A change failed; the object is as it was before."""

    address: Address
    diagnostic: Diagnostic


@dataclass(frozen=True, slots=True)
class HeldBack:
    """A change was skipped because the one at `because` failed or was skipped."""

    address: Address
    because: Address


@dataclass(frozen=True, slots=True)
class Warned:
    """A warning; the apply continues."""

    diagnostic: Diagnostic


@dataclass(frozen=True, slots=True)
class Finished:
    """The end: how many changes were done, failed or skipped. `stopped`: a signal ended the apply."""

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
        """The outcome that history records: complete, stopped or partial."""
        return "complete" if self.complete else "stopped" if self.stopped else "partial"


Event = Locked | StepStarted | Progress | Done | Failed | HeldBack | Warned | Finished
