"""What a team agreed on, as the manifests say it: policies, waivers, which metrics should go up. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from .diagnostics import Diagnostic, Source
from .evidence import Direction

SECTIONS: Final = frozenset({"policies", "waivers", "metrics", "teams"})
"""The sections of manifests that say them."""

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
    """A CEL expression and where it is written.

    `at`: the place of its scalar. `offset`: how many columns further its first character stands, where it is
    written on that line as it is; None where a column in it can't be told (a block, an escape, a template).
    """

    text: str
    at: Source | None = None
    offset: int | None = None

    def place(self, column: int) -> Source | None:
        """The place of a column in the text, counted from one, as far as it can be told; of the whole of it
        for 0."""
        if self.at is None or self.offset is None or column < 1:
            return self.at
        return self.at._replace(column=self.at.column + self.offset + column - 1)


@dataclass(frozen=True, slots=True)
class Policy:
    """A rule over changes.

    `when`: which changes it is about, by field of their address or spec, and by `kind`, `action`,
    `environment`, `mode` and `address`; values are exact, patterns, or lists of them. `require`: what has to
    be true. `builtin`: the built-in rules that it switches on, by name, with their settings. `level`: `deny`
    or `warn`. Values in both mappings are JSON's.
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
    """Lets one policy through for one object (an address or a pattern) until the end of a day, UTC.
    `expires`: that day, as ISO 8601 has it."""

    policy: str
    address: str
    reason: str
    expires: str
    at: Source | None = None


@dataclass(frozen=True, slots=True)
class Team:
    """A name for several actors; those may be patterns."""

    name: str
    actors: tuple[str, ...] = ()
    at: Source | None = None


@dataclass(frozen=True, slots=True)
class Rules:
    """All of them, in the order of the files."""

    policies: tuple[Policy, ...] = ()
    waivers: tuple[PolicyWaiver, ...] = ()
    directions: tuple[Direction, ...] = ()
    teams: tuple[Team, ...] = ()
