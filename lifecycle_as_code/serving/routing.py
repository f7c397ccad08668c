"""Which served entity gets a request. Pure: a table is read from a `user_config` and never changes."""

from __future__ import annotations

import hashlib
import json
import random
from bisect import bisect
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

FORMAT = 2
"""The form of the apps' arguments and configs. Raised when a node's replicas can't work by those of another
release: it changes the names of all apps."""

# MLflow's own limit for a request (MLFLOW_SCORING_SERVER_REQUEST_TIMEOUT), in seconds
TIMEOUT = 60.0


@dataclass(frozen=True, slots=True)
class Target:
    """One served entity behind an endpoint. A weight of 0 gets no traffic and can be addressed by name.

    `app` is its app's name, or the name of its row where a provider runs the model: `external_model`. `task`:
    what a language model does. `trial`: nobody decided yet that it serves.
    """

    name: str
    app: str
    entity_name: str
    entity_version: int
    weight: int = 0
    timeout: float | None = TIMEOUT
    task: str = ""
    external_model: Mapping[str, Any] | None = None
    first_token_timeout: float | None = None
    max_retries: int = 0
    secrets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    trial: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """The targets of one endpoint. `revision` names the configuration that they were read from."""

    targets: tuple[Target, ...] = ()
    revision: str = ""
    limits: tuple[int, ...] = ()

    @property
    def task(self) -> str:
        """What the endpoint's language models do; empty for other models. They all do the same."""
        return self.targets[0].task if self.targets else ""

    def successors(self, target: Target) -> list[Target]:
        """The other targets that serve, in the manifest's order: they answer where `target` fails."""
        return [other for other in self.targets if other.app != target.app and not other.trial]

    @property
    def serves(self) -> bool:
        """Whether any target gets traffic."""
        return bool(self.limits and self.limits[-1])

    def pick(self, draw: float | None = None) -> Target | None:
        """A target, at random by weight; `draw` in [0, 1) stands in for the random number."""
        if not self.serves:
            return None
        at = (random.random() if draw is None else draw) * self.limits[-1]
        return self.targets[bisect(self.limits, at)]

    def find(self, name: str) -> Target | None:
        """The target of this app name or served entity name; among several of one name, the heaviest."""
        matches = [t for t in self.targets if name in (t.app, t.name)]
        return max(matches, key=lambda t: (t.app == name, t.weight), default=None)


def read(config: dict[str, Any]) -> Table:
    """The table in a `user_config`. KeyError, TypeError or ValueError where it isn't one."""
    targets = tuple(
        Target(
            name=str(t["name"]),
            app=str(t["app"]),
            entity_name=str(t["entity_name"]),
            entity_version=int(t["entity_version"]),
            weight=int(t["weight"]),
            timeout=TIMEOUT if t.get("timeout") is None else float(t["timeout"]),
            task=str(t.get("task") or ""),
            external_model=t.get("external_model"),
            first_token_timeout=t.get("first_token_timeout"),
            max_retries=int(t.get("max_retries") or 0),
            secrets=dict(t.get("secrets") or {}),
            trial=bool(t.get("trial")),
        )
        for t in config.get("targets") or ()
    )
    if any(t.weight < 0 for t in targets):
        raise ValueError("a weight is negative")
    return Table(targets, revision(config), tuple(accumulate(t.weight for t in targets)))


def revision(config: Mapping[str, Any]) -> str:
    """A short name for a `user_config`, the same wherever it is computed: 16 hex digits of the hash of its
    canonical JSON."""
    canonical = json.dumps(config, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]
