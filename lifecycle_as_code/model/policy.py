"""A team's rules from the manifests: policies, waivers, teams, directions of metrics. Pure data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from .diagnostics import Diagnostic, Source
from .evidence import Direction

SECTIONS: Final = frozenset({"policies", "waivers", "metrics", "teams"})
"""The sections of manifests that hold them."""

BUILTIN: Final = (
    "promotes_from",
    "soak",
    "signature",
    "artifact",
    "run",
    "only",
    "required_tags",
    "no_plain_secret",
)
"""The fields of a policy that switch on a built-in rule, in the order in which the rules are applied."""

ABOUT_CHANGE: Final = ("kind", "action", "environment", "mode", "address")
"""The names that `when` takes in addition to a kind's own fields."""


def bad_policy(detail: str, hint: str = "", at: Source | None = None) -> Diagnostic:
    """An error in the text of a policy."""
    return Diagnostic("bad-policy", "invalid policy", detail, hint=hint, at=at)


@dataclass(frozen=True, slots=True)
class Expression:
    """A CEL expression and the place of its scalar. `offset`: the columns from there to its first character;
    None if it isn't written verbatim on that line (a block, an escape, a template)."""

    text: str
    at: Source | None = None
    offset: int | None = None

    def place(self, column: int) -> Source | None:
        """The place of a column, counted from one, if known; otherwise, and for 0, the whole expression's."""
        if self.at is None or self.offset is None or column < 1:
            return self.at
        return self.at._replace(column=self.at.column + self.offset + column - 1)


@dataclass(frozen=True, slots=True)
class Policy:
    """A rule over changes. `when`: the changes that it applies to, by their spec's fields and by
    `ABOUT_CHANGE`; values are exact, patterns, or lists of these. `require`: expressions that must be true.
    `builtin`: built-in rules with their settings. `level`: `deny` or `warn`."""

    name: str
    when: Mapping[str, Any] = field(default_factory=dict)
    require: tuple[Expression, ...] = ()
    builtin: Mapping[str, Any] = field(default_factory=dict)
    message: str = ""
    level: str = "deny"
    at: Source | None = None


@dataclass(frozen=True, slots=True)
class PolicyWaiver:
    """Waives one policy for one address or pattern until the end of the day `expires` (ISO 8601), UTC."""

    policy: str
    address: str
    reason: str
    expires: str
    at: Source | None = None


@dataclass(frozen=True, slots=True)
class Team:
    """A name for several actors, which may be patterns."""

    name: str
    actors: tuple[str, ...] = ()
    at: Source | None = None


@dataclass(frozen=True, slots=True)
class Rules:
    """All rules of a stack, in the order of its files."""

    policies: tuple[Policy, ...] = ()
    waivers: tuple[PolicyWaiver, ...] = ()
    directions: tuple[Direction, ...] = ()
    teams: tuple[Team, ...] = ()
