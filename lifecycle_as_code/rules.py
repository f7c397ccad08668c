"""What a team agreed on, as the manifests say it: policies, waivers, which metrics should go up. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .diagnostics import Source
from .evidence import Direction


@dataclass(frozen=True, slots=True)
class Policy:
    """A rule over changes.

    `when`: which changes it is about, by field of their address or spec, `kind` among them; values may be
    patterns. `require`: CEL expressions that have to be true, with their places. `builtin`: the built-in
    rules that it switches on, by name, with their settings. `level`: `deny` or `warn`.
    """

    name: str
    when: Mapping[str, Any] = field(default_factory=dict)
    require: tuple[tuple[str, Source | None], ...] = ()
    builtin: Mapping[str, Any] = field(default_factory=dict)
    message: str = ""
    level: str = "deny"
    at: Source | None = None


@dataclass(frozen=True, slots=True)
class PolicyWaiver:
    """Lets one policy through for one object (an address or a pattern) until the end of a day, UTC."""

    policy: str
    address: str
    reason: str
    expires: str
    at: Source | None = None


@dataclass(frozen=True, slots=True)
class Rules:
    """All of them, in the order of the files."""

    policies: tuple[Policy, ...] = ()
    waivers: tuple[PolicyWaiver, ...] = ()
    directions: tuple[Direction, ...] = ()
