"""A team's rules from the manifests: policies, waivers, teams, directions of metrics. Pure data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from .diagnostics import Source
from .evidence import Direction

SECTIONS: Final = frozenset({"policies", "waivers", "metrics", "teams"})
"""The sections of manifests that hold them."""


@dataclass(frozen=True, slots=True)
class Expression:
    """A CEL expression and its place.

    `at`: the place of its scalar. `offset`: the distance in columns from there to its first character, if
    the expression is written verbatim on that line; None if not (a block, an escape, a template).
    """

    text: str
    at: Source | None = None
    offset: int | None = None

    def place(self, column: int) -> Source | None:
        """The place of a column of the text, counted from one, where it is known; otherwise, and for 0, the
        place of the whole expression."""
        if self.at is None or self.offset is None or column < 1:
            return self.at
        return self.at._replace(column=self.at.column + self.offset + column - 1)


@dataclass(frozen=True, slots=True)
class Policy:
    """A rule over changes.

    `when`: the changes that it applies to, by field of their address or spec, and by `kind`, `action`,
    `environment`, `mode` and `address`; values are exact, patterns, or lists of these. `require`: the
    expressions that must be true. `builtin`: the built-in rules that it enables, by name, with their
    settings. `level`: `deny` or `warn`. Values in both mappings are JSON values.
    """

    name: str
    when: Mapping[str, Any] = field(default_factory=dict)
    require: tuple[Expression, ...] = ()
    builtin: Mapping[str, Any] = field(default_factory=dict)
    message: str = ""
    level: str = "deny"
    at: Source | None = None


@dataclass(frozen=True, slots=True)
class PolicyWaiver:
    """Waives one policy for one object (an address or a pattern) until the end of a day, UTC. `expires`: that
    day, in ISO 8601."""

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
