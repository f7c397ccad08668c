"""An endpoint as desired, and as it is on a cluster: its ingress and the apps of its entities. Pure.

What an endpoint has committed to (which app serves which entity) is in its ingress' `user_config`, and is
replaced in the very write that moves the traffic. Entity apps beside that are an unfinished rollout's.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from .apps import (
    AppConfig,
    ServedEntity,
    entity_app,
    entity_name,
    ingress_app,
    ingress_name,
    owns,
    target,
    user_config,
)
from .state import Application


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A desired endpoint. `weights` by entity name; `notes`: JSON that is stored beside it."""

    owner: str
    name: str
    entities: tuple[ServedEntity, ...]
    weights: Mapping[str, int]
    auth: Mapping[str, Any]
    notes: Mapping[str, Any] = field(default_factory=dict)
    runtime_env: Mapping[str, Any] = field(default_factory=dict)

    @property
    def apps(self) -> dict[str, ServedEntity]:
        """Its entities by the names of their apps."""
        return {entity_name(self.owner, self.name, entity): entity for entity in self.entities}

    def configs(self) -> dict[str, AppConfig]:
        """The configs of its entities' apps, by name."""
        return {app: entity_app(self.owner, self.name, entity) for app, entity in self.apps.items()}

    def targets(self, *, weighted: bool) -> list[dict[str, Any]]:
        """Its rows in the ingress' table, with their weights or with none yet."""
        return [
            target(self.owner, self.name, e, self.weights.get(e.name, 0) if weighted else 0)
            for e in self.entities
        ]

    def ingress(self, attempt: int) -> AppConfig:
        """Its ingress once the traffic has moved."""
        notes = {**self.notes, "apps": {entity.name: app for app, entity in self.apps.items()}}
        return ingress_app(
            self.owner,
            self.name,
            targets=self.targets(weighted=True),
            auth=self.auth,
            # as JSON gives it back
            spec=json.loads(json.dumps(notes)),
            runtime_env=self.runtime_env,
            attempt=attempt,
        )


@dataclass(frozen=True, slots=True)
class LiveEndpoint:
    """One owner's endpoint on a cluster, without apps that are leaving."""

    owner: str
    name: str
    ingress: Application | None = None
    entities: Mapping[str, Application] = field(default_factory=dict)

    @property
    def config(self) -> dict[str, Any]:
        """The ingress' `user_config`; empty where there is none."""
        return user_config(self.ingress.config) if self.ingress else {}

    @property
    def notes(self) -> Mapping[str, Any]:
        """What was noted when traffic last moved here; empty before the first time."""
        notes: Mapping[str, Any] = self.config.get("spec") or {}
        return notes

    @property
    def committed(self) -> dict[str, str]:
        """The app of each entity that traffic was last moved to, by entity name."""
        return dict(self.notes.get("apps") or {})

    @property
    def targets(self) -> list[dict[str, Any]]:
        """The rows of the ingress' table."""
        return list(self.config.get("targets") or [])

    @property
    def leftovers(self) -> tuple[str, ...]:
        """Apps of the endpoint that traffic was never moved to, or moved away from."""
        return tuple(sorted(self.entities.keys() - set(self.committed.values())))

    @property
    def names(self) -> list[str]:
        """Every app of the endpoint."""
        return [*([self.ingress.name] if self.ingress else []), *sorted(self.entities)]

    @property
    def attempt(self) -> int:
        """The ingress' own count of fresh starts; one more where it is broken."""
        if self.ingress is None:
            return 0
        count = int(((self.ingress.config or {}).get("args") or {}).get("attempt") or 0)
        return count + (self.ingress.problem is not None)

    def ingress_with(self, endpoint: Endpoint) -> AppConfig:
        """The ingress as it is, plus the apps of `endpoint`'s entities without traffic."""
        if self.ingress is None or self.ingress.config is None or not self.committed:
            return ingress_app(
                endpoint.owner,
                endpoint.name,
                targets=endpoint.targets(weighted=False),
                auth=endpoint.auth,
                spec={},
                runtime_env=endpoint.runtime_env,
                attempt=self.attempt,
            )
        present = self._serving_targets()
        present_apps = {row["app"] for row in present}
        additions = [row for row in endpoint.targets(weighted=False) if row["app"] not in present_apps]
        return self._with_targets([*present, *additions], self.attempt)

    def ingress_without(self) -> AppConfig:
        """The ingress as it is, with only the targets that traffic was moved to."""
        assert self.ingress is not None
        args = (self.ingress.config or {}).get("args") or {}
        return self._with_targets(self._serving_targets(), args.get("attempt"))

    def _serving_targets(self) -> list[dict[str, Any]]:
        serving = set(self.committed.values())
        return [row for row in self.targets if row.get("app") in serving]

    def _with_targets(self, rows: Sequence[Mapping[str, Any]], attempt: int | None) -> AppConfig:
        assert self.ingress is not None
        config: AppConfig = json.loads(json.dumps(self.ingress.config))
        config["deployments"][0]["user_config"]["targets"] = [dict(row) for row in rows]
        if attempt is not None:
            config["args"]["attempt"] = attempt
        return config


def live_endpoints(apps: Mapping[str, Application]) -> dict[str, LiveEndpoint]:
    """Every endpoint that lac made on the cluster, by name, complete or not. Skips other apps.

    The ingress names the owner. Without one, it is one of the owners of the entities.
    """
    ingresses: dict[str, Application] = {}
    entities: dict[tuple[str, str], dict[str, Application]] = defaultdict(dict)
    for name, app in sorted(apps.items()):
        app_mark = app.mark
        if app_mark is None or app.leaving:
            continue
        if app_mark.entity is None:
            if name == ingress_name(app_mark.endpoint):
                ingresses[app_mark.endpoint] = app
        else:
            entities[app_mark.endpoint, app_mark.owner][name] = app
    # the last one stays: a mark that names a store says more than one that does not
    owners = dict(sorted(entities, key=lambda part: ("@" in part[1], part)))
    owners |= {endpoint: mark.owner for endpoint, app in ingresses.items() if (mark := app.mark)}
    return {
        endpoint: LiveEndpoint(owner, endpoint, ingresses.get(endpoint), _of(owner, endpoint, entities))
        for endpoint, owner in sorted(owners.items())
    }


def _of(
    owner: str, endpoint: str, entities: Mapping[tuple[str, str], Mapping[str, Application]]
) -> dict[str, Application]:
    """The entities of that owner; in a rollout that brings an earlier lac's marks up to date, of both."""
    return {
        name: app
        for (of, mark), apps in entities.items()
        if of == endpoint and (owns(owner, mark) or owns(mark, owner))
        for name, app in apps.items()
    }


def roomy(before: ServedEntity | None, after: ServedEntity) -> ServedEntity:
    """`after` with the larger number of replicas of both sides: none stops before the traffic has moved."""
    if before is None:
        return after
    return replace(
        after,
        min_replicas=max(before.min_replicas, after.min_replicas),
        max_replicas=max(before.max_replicas, after.max_replicas),
    )
