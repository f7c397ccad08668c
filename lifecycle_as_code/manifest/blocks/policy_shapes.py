"""What people write about changes: `policies:`, `waivers:`, `metrics:`, `teams:`. Pure."""

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
"""How many of them a policy may have."""
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
    """For so many hours, without a break, by this stack's own history."""


class Only(Part):
    """Who may."""

    actors: tuple[str, ...] = ()
    """Names or patterns: in CI who set the job off, elsewhere the system's user."""
    teams: tuple[str, ...] = ()
    """Names under `teams:`."""
    actions: tuple[JudgedAction, ...] = ()
    """Which actions are kept for them; by default all."""


class PolicyBlock(Part):
    """What has to be true of a change, or the plan is refused."""

    name: Annotated[str, Field(pattern=NAME)]
    """By which verdicts and waivers call it."""
    when: Mapping[str, Any] = {}
    """Which changes it is about: `kind`, `action`, `environment`, `mode`, `address`, and fields of the kind;
    exact values, patterns with `*` and `?`, or lists of them. By default all."""
    require: Annotated[tuple[str, ...], Field(max_length=MAX_EXPRESSIONS)] = ()
    """Expressions in CEL, each of which must be true; `lac policy context` lists what they may name."""
    message: Annotated[str, Field(max_length=MAX_TEXT)] = ""
    """What whoever meets it should know."""
    level: Literal["deny", "warn"] = "deny"
    """`deny` refuses the plan; `warn` only says so."""
    promotes_from: str | tuple[str, ...] | None = None
    """The version held this alias, or one of them, before the plan."""
    soak: Soak | None = None
    """The version has held an alias for some time."""
    only: Only | None = None
    """Nobody else may make such a change."""
    required_tags: tuple[str, ...] = ()
    """Tags that must be there, and not empty."""
    signature: Literal["compatible", "same"] | None = None
    """How the signature may differ from the version's before. One that isn't known is refused."""
    artifact: Literal["must-exist"] | None = None
    """The version's files are there."""
    run: Status | tuple[Status, ...] | None = None
    """The state of the run that made the version."""
    no_plain_secret: bool = False
    """No field holds what looks like a secret in plain text."""
    allow_unknown: bool = False
    """`signature` and `artifact` let pass what can't be told."""


class WaiverBlock(Part):
    """Lets one policy through for a while."""

    policy: str
    """Its name."""
    address: str
    """The object, or a pattern that names more than a kind: `model_alias.fraud/*`."""
    reason: Annotated[str, Field(min_length=1, max_length=MAX_TEXT)]
    """Why. It is shown in the plan."""
    expires: date
    """The last day on which it holds, in UTC: `2026-12-01`."""


class MetricBlock(Part):
    """Which direction of a metric is an improvement."""

    name: str
    """The metric, or a pattern: `"*_loss"`."""
    better: Better
    """`higher` or `lower`."""
    model: str = "*"
    """The registered model, or a pattern. Where several entries fit, the last one counts."""


RULES: Final[Mapping[str, type[Part]]] = {
    "policies": PolicyBlock,
    "waivers": WaiverBlock,
    "metrics": MetricBlock,
}
"""The sections that are lists."""
TEAMS: Final = "teams"
