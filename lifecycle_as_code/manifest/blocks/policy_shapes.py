"""The fields of `policies:`, `waivers:`, `metrics:` and `teams:`. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from ...model.evidence import Better
from ...model.spec import Part

NAME: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"
MAX_POLICIES: Final = 500
MAX_EXPRESSIONS: Final = 50
"""The most expressions of one policy."""
MAX_WAIVERS: Final = 2_000
MAX_TEXT: Final = 2_000
"""The longest message or reason, in characters."""

JudgedAction = Literal["create", "update", "delete", "move"]
Status = Literal["RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED"]


class Soak(Part):
    """How long a version must have held an alias."""

    alias: str
    """The alias, such as `challenger`."""
    hours: Annotated[float, Field(gt=0)]
    """The number of hours without interruption, by this stack's own history."""


class Only(Part):
    """Who may make a change."""

    actors: tuple[str, ...] = ()
    """Names or patterns: in CI the user who triggered the job, elsewhere the system's user."""
    teams: tuple[str, ...] = ()
    """Names under `teams:`."""
    actions: tuple[JudgedAction, ...] = ()
    """The restricted actions; by default all."""


class PolicyBlock(Part):
    """A requirement on changes: a plan that violates it is refused."""

    name: Annotated[str, Field(pattern=NAME)]
    """Its name in verdicts and waivers."""
    when: Mapping[str, Any] = {}
    """Which changes it applies to: `kind`, `action`, `environment`, `mode`, `address`, and the kind's fields;
    exact values, patterns with `*` and `?`, or lists of them. By default all."""
    require: Annotated[tuple[str, ...], Field(max_length=MAX_EXPRESSIONS)] = ()
    """CEL expressions that must all be true; `lac policy context` lists the names that they may use."""
    message: Annotated[str, Field(max_length=MAX_TEXT)] = ""
    """A message for people whose change violates it."""
    level: Literal["deny", "warn"] = "deny"
    """`deny` refuses the plan; `warn` only adds a warning."""
    promotes_from: str | tuple[str, ...] | None = None
    """The version must hold this alias, or one of these, before the plan."""
    soak: Soak | None = None
    """The version must have held an alias for some time."""
    only: Only | None = None
    """Who may make the change."""
    required_tags: tuple[str, ...] = ()
    """Tags that must exist and not be empty."""
    signature: Literal["compatible", "same"] | None = None
    """How the signature may differ from the previous version's. An unknown one is refused."""
    artifact: Literal["must-exist"] | None = None
    """The version's files must exist."""
    run: Status | tuple[Status, ...] | None = None
    """The required state of the version's run."""
    no_plain_secret: bool = False
    """No field may contain a value that looks like a plain-text secret."""
    allow_unknown: bool = False
    """Let unknown signatures and artifacts pass `signature` and `artifact`."""


class WaiverBlock(Part):
    """Exempts objects from one policy for a while."""

    policy: str
    """The policy's name."""
    address: str
    """The object, or a pattern that names more than a kind: `model_alias.fraud/*`."""
    reason: Annotated[str, Field(min_length=1, max_length=MAX_TEXT)]
    """The reason, which plans show."""
    expires: date
    """The last day of the waiver, in UTC: `2026-12-01`."""


class MetricBlock(Part):
    """Which direction of a metric is an improvement."""

    name: str
    """The metric, or a pattern: `"*_loss"`."""
    better: Better
    """`higher` or `lower`."""
    model: str = "*"
    """The registered model, or a pattern. The last matching entry counts."""


RULES: Final[dict[str, type[Part]]] = {
    "policies": PolicyBlock,
    "waivers": WaiverBlock,
    "metrics": MetricBlock,
}
"""The sections that are lists."""
TEAMS: Final = "teams"
