"""What a reviewer judges a plan by, beside its changes. Pure data: only a denial affects an apply."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from ..serving.levels import rank
from .diagnostics import Source
from .evidence import Comparison, Number
from .policy import Rules
from .spec import Address


@dataclass(frozen=True, slots=True)
class Choice:
    """The version that a selector chose when the plan was made. `address`, `field`: the selector's place.
    `selector`: its text, for people. `losers`: the others, newest first, each with the reason."""

    address: Address
    field: str
    selector: str
    version: int
    losers: tuple[tuple[int, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Traffic:
    """A served entity that a change affects. `stack`: the endpoint's owner; empty for this plan's stack.
    `share`: its share of the traffic in percent, after the plan, or before it if it is removed; None without
    a weight of its own. `follows`: an alias, such as `@champion`; empty if its version is pinned.
    `version_before`, `version_after`: None if the entity doesn't exist then. `moves`: whether this plan
    changes its version; another stack's endpoint only gets `version_after` when that stack is applied."""

    endpoint: Address
    entity: str
    stack: str = ""
    share: Number | None = None
    follows: str = ""
    version_before: int | None = None
    version_after: int | None = None
    moves: bool = False


@dataclass(frozen=True, slots=True)
class Capacity:
    """The least resources that an endpoint's replicas take; CPUs and GPUs as Ray counts them. `peak_…`:
    needed in addition while both versions run. `free_…`: on the cluster now; None if it can't be reached.
    `fits`: whether that suffices for this and the plan's other endpoints at the same time; None if
    unknown."""

    endpoint: Address
    replicas_before: int
    replicas_after: int
    cpus_before: Number
    cpus_after: Number
    gpus_before: Number
    gpus_after: Number
    peak_cpus: Number = 0.0
    peak_gpus: Number = 0.0
    free_cpus: Number | None = None
    free_gpus: Number | None = None
    fits: bool | None = None


@dataclass(frozen=True, slots=True)
class Access:
    """A user whose effective level on a resource changes. Levels are MLflow's; `NO_PERMISSIONS` is none.
    `why`: the grants or roles that cause it, for people."""

    user: str
    resource: Address
    before: str
    after: str
    why: str = ""

    @property
    def gains(self) -> bool:
        """Whether it is a higher level than before."""
        return rank(self.after) > rank(self.before)


@dataclass(frozen=True, slots=True)
class Impact:
    """What else one change affects."""

    address: Address
    traffic: tuple[Traffic, ...] = ()
    capacity: tuple[Capacity, ...] = ()
    access: tuple[Access, ...] = ()


class Outcome(StrEnum):
    """The result of a policy for one change."""

    PASSED = "passed"
    WARNED = "warned"
    DENIED = "denied"
    WAIVED = "waived"


@dataclass(frozen=True, slots=True)
class Waiver:
    """A waiver of a denial, until the end of the day `expires` (ISO 8601), UTC."""

    reason: str
    expires: str
    at: Source | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """The verdict of one policy on one change. `failed`: the unmet requirements, each with the values that
    were read. `message`: the policy's own. `at`: the policy's place; `line`: the change's place."""

    policy: str
    address: Address
    outcome: Outcome
    failed: tuple[str, ...] = ()
    message: str = ""
    at: Source | None = None
    line: Source | None = None
    waiver: Waiver | None = None


@dataclass(frozen=True, slots=True)
class Review:
    """The whole review. `rules`: the policies behind the verdicts, which an apply evaluates again."""

    evidence: tuple[Comparison, ...] = ()
    impacts: tuple[Impact, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    choices: tuple[Choice, ...] = ()
    rules: Rules = Rules()

    @property
    def denied(self) -> tuple[Verdict, ...]:
        """The verdicts that refuse the plan."""
        return tuple(v for v in self.verdicts if v.outcome is Outcome.DENIED)

    def by_address(self) -> Mapping[Address, Review]:
        """The part of the review about each change that has one. Rules belong to no change."""
        parts: dict[Address, dict[str, Any]] = {}
        for name in ("evidence", "impacts", "verdicts", "choices"):
            for item in getattr(self, name):
                own = parts.setdefault(item.address, {})
                own[name] = (*own.get(name, ()), item)
        return {address: Review(**own) for address, own in parts.items()}
