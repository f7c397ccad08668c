"""What a reviewer judges a plan by, beside its changes: evidence, impacts, verdicts, and the choices of
version selectors. Pure data.

Views show it and policies read it. It doesn't change what an apply does, except that a denial refuses the
plan.
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
    """The version that a selector chose when the plan was made.

    `address`, `field`: the selector's place (`model_alias.fraud/champion`, `version`). `selector`: its text,
    for people. `losers`: the other candidates, newest first, each with the reason why it wasn't chosen.
    """

    address: Address
    field: str
    selector: str
    version: int
    losers: tuple[tuple[int, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Traffic:
    """A served entity that a change affects.

    `stack`: the stack that owns the endpoint; empty for this plan's own. `share`: the entity's share of the
    endpoint's traffic in percent, after the plan, or before it for an entity that is removed; None if it has
    no weight of its own. `follows`: the alias that it follows, such as `@champion`; empty if its version is
    pinned. `version_before`, `version_after`: the version that it serves; None if the entity doesn't exist
    then. `moves`: whether this plan changes its version. An endpoint of another stack stays unchanged until
    that stack is applied: its `version_after` is the version that its alias will name then.
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
    """The least resources that an endpoint's replicas take, before and after; CPUs and GPUs as Ray counts
    them.

    `peak_cpus`, `peak_gpus`: needed in addition while both versions run. `free_cpus`, `free_gpus`: free on
    the cluster now; None if the cluster can't be reached. `fits`: whether the free resources suffice for this
    endpoint and the plan's other endpoints at the same time; None if unknown.
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
    """A waiver of a denial. `expires`: an ISO 8601 date; the waiver holds until the end of that day, UTC. git
    has its author."""

    reason: str
    expires: str
    at: Source | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """The verdict of one policy on one change.

    `failed`: the requirements that aren't met, one sentence or expression each, with the values that were
    read. `message`: the policy's own. `at`: the policy's place; `line`: the change's place in the manifests.
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
    """The whole review. `rules`: the policies behind the verdicts; saved with the plan, since an apply
    evaluates them again."""

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
        parts_by_address: dict[Address, tuple[list[Any], list[Any], list[Any], list[Any]]] = {}
        parts: tuple[tuple[Any, ...], ...] = (self.evidence, self.impacts, self.verdicts, self.choices)
        for place, part in enumerate(parts):
            for item in part:
                parts_by_address.setdefault(item.address, ([], [], [], []))[place].append(item)
        return {
            address: Review(tuple(evidence), tuple(impacts), tuple(verdicts), tuple(choices))
            for address, (evidence, impacts, verdicts, choices) in parts_by_address.items()
        }
