"""What a reviewer judges a plan by, beside its changes: evidence, blast radius, verdicts, and how selectors
were resolved. Pure data.

Views show it and policies read it; nothing in here changes what an apply does, but for a denial, which
refuses it.
"""

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
    """A version selector and what it meant when the plan was made.

    `address`, `field`: where it stands (`model_alias.fraud/champion`, `version`). `selector`: as people read
    it. `losers`: the other versions that it looked at, newest first, each with why it lost.
    """

    address: Address
    field: str
    selector: str
    version: int
    losers: tuple[tuple[int, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Traffic:
    """A served entity that a change reaches.

    `stack`: whose endpoint it is; empty for this plan's own. `share`: of the endpoint's traffic after the
    plan, in percent, and of an entity that goes, until then; None where it has no weight of its own.
    `follows`: the alias that it follows, such as `@champion`, or empty where its version is pinned.
    `version_before`, `version_after`: what it serves; None where there is no such entity then. `moves`:
    whether this plan puts it on another version. An endpoint of another stack stays as it is until that stack
    is applied: its `version_after` is what the alias that it follows will mean then.
    """

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
    """What an endpoint's replicas take, at the least, before and after; CPUs and GPUs as Ray counts them.

    `peak_cpus`, `peak_gpus`: added while both versions are up. `free_cpus`, `free_gpus`: what the cluster has
    free now, None where it can't be asked. `fits`: whether that is enough for what it adds, and for what the
    plan's other endpoints add at the same time; None if unknown.
    """

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
    """A user whose effective level on a resource changes. Levels are MLflow's words; `NO_PERMISSIONS` is
    none. `why`: which grants or roles make it so, for people."""

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
    """What else one change touches."""

    address: Address
    traffic: tuple[Traffic, ...] = ()
    capacity: tuple[Capacity, ...] = ()
    access: tuple[Access, ...] = ()


class Outcome(StrEnum):
    """What became of a policy over one change."""

    PASSED = "passed"
    WARNED = "warned"
    DENIED = "denied"
    WAIVED = "waived"


@dataclass(frozen=True, slots=True)
class Waiver:
    """A denial that was let through: by whom it may be read in git. `expires`: an ISO 8601 date; it holds
    until the end of that day, UTC."""

    reason: str
    expires: str
    at: Source | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """One policy over one change.

    `failed`: what wasn't met, one sentence or expression each, with the values that it saw. `message`: the
    policy's own. `at`: the policy's place; `line`: the place of the change in the manifests.
    """

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
    """All of it. `rules`: those that the verdicts were made with; sealed with the plan, for they are asked
    again when it is applied."""

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
        """Each change's part of it, for those that have one. Rules belong to no change."""
        parts_by_address: dict[Address, tuple[list[Any], list[Any], list[Any], list[Any]]] = {}
        parts: tuple[tuple[Any, ...], ...] = (self.evidence, self.impacts, self.verdicts, self.choices)
        for place, part in enumerate(parts):
            for item in part:
                parts_by_address.setdefault(item.address, ([], [], [], []))[place].append(item)
        return {
            address: Review(tuple(evidence), tuple(impacts), tuple(verdicts), tuple(choices))
            for address, (evidence, impacts, verdicts, choices) in parts_by_address.items()
        }
