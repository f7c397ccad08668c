"""Which served entity gets a request. Pure: a table is read from a `user_config` and never changes."""

from __future__ import annotations

import hashlib
import json
import random
from bisect import bisect
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

FORMAT = 2
"""The form of the apps' arguments and configs. Raised when a node's replicas can't work by those of another
release: it changes the names of all apps."""

# MLflow's own limit for a request (MLFLOW_SCORING_SERVER_REQUEST_TIMEOUT), in seconds
TIMEOUT = 60.0


@dataclass(frozen=True, slots=True)
class Target:
    """One entity app behind an endpoint. A weight of 0 gets no traffic and can be addressed by name."""

    name: str
    app: str
    entity_name: str
    entity_version: int
    weight: int = 0
    timeout: float | None = TIMEOUT


@dataclass(frozen=True, slots=True)
class Table:
    """The targets of one endpoint. `revision` names the configuration that they were read from."""

    targets: tuple[Target, ...] = ()
    revision: str = ""
    limits: tuple[int, ...] = ()

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
