"""An endpoint as desired, and as it is on a cluster: its ingress and the apps of its entities. Pure.

What an endpoint has committed to (which app serves which entity) is in its ingress' `user_config`, and is
replaced in the very write that moves the traffic. Entity apps beside that are an unfinished rollout's, and so
is an app of the entity that the ingress holds itself: it proved that the model loads and answers.
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
    Settings,
    entity_name,
    ingress_app,
    ingress_name,
    owns,
    primary_args,
    target,
    user_config,
)
from .llm import hosting_app, serves_on_gpu
from .state import Application


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A desired endpoint. `weights` by entity name; `notes`: JSON that is stored beside it."""

    owner: str
    name: str
    entities: tuple[ServedEntity, ...]
    weights: Mapping[str, int]
    settings: Settings
    notes: Mapping[str, Any] = field(default_factory=dict)
    runtime_env: Mapping[str, Any] = field(default_factory=dict)

    @property
    def names(self) -> dict[str, ServedEntity]:
        """Its entities by the names of their rows, which are those of their apps where they have one."""
        return {entity_name(self.owner, self.name, entity): entity for entity in self.entities}

    @property
    def apps(self) -> dict[str, ServedEntity]:
        """Its entities that the cluster hosts by the names of their apps, the primary's too."""
        return {name: entity for name, entity in self.names.items() if entity.is_hosted}

    @property
    def primary(self) -> ServedEntity | None:
        """The entity whose model the ingress holds: of those that always run, the one with the most traffic,
        the first one of several. None where there is none, or vLLM runs it."""
        resident = [
            entity
            for entity in self.entities
            if entity.is_hosted and entity.min_replicas and not serves_on_gpu(entity)
        ]
        return max(resident, key=lambda entity: self.weights.get(entity.name, 0), default=None)

    @property
    def primary_app(self) -> str | None:
        """The name of the primary's app, which it has while it is on trial."""
        primary = self.primary
        return None if primary is None else entity_name(self.owner, self.name, primary)

    def configs(self) -> dict[str, AppConfig]:
        """The configs of its entities' apps by name, when the traffic has moved: all but the primary's."""
        return {
            app: hosting_app(self.owner, self.name, entity)
            for app, entity in self.apps.items()
            if app != self.primary_app
        }

    def targets(self, *, weighted: bool) -> list[dict[str, Any]]:
        """Its rows in the ingress' table, with their weights or with none yet: then they are on trial."""
        if weighted:
            return [target(self.owner, self.name, e, self.weights.get(e.name, 0)) for e in self.entities]
        return [{**target(self.owner, self.name, e, 0), "trial": True} for e in self.entities]

    def ingress(self, attempt: int, *, weighted: bool = True) -> AppConfig:
        """Its ingress once the traffic has moved, or as it starts, without traffic and notes."""
        notes = {**self.notes, "apps": {entity.name: name for name, entity in self.names.items()}}
        return ingress_app(
            self.owner,
            self.name,
            primary=self.primary,
            targets=self.targets(weighted=weighted),
            settings=self.settings,
            forwarded=[entity for entity in self.entities if not (self.primary and entity.is_hosted)],
            # as JSON gives it back
            spec=json.loads(json.dumps(notes)) if weighted else {},
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
    def primary(self) -> str | None:
        """The app whose entity the ingress holds; None for one that only forwards."""
        return primary_args(self.ingress.config).get("app") if self.ingress else None

    @property
    def targets(self) -> list[dict[str, Any]]:
        """The rows of the ingress' table."""
        return list(self.config.get("targets") or [])

    @property
    def leftovers(self) -> tuple[str, ...]:
        """Apps of the endpoint that traffic was never moved to, or moved away from."""
        return tuple(sorted(self.entities.keys() - (set(self.committed.values()) - {self.primary})))

    @property
    def serves(self) -> bool:
        """Whether traffic was moved here and the ingress hasn't failed: then it ought to answer."""
        return bool(self.committed) and self.ingress is not None and self.ingress.problem is None

    def illness(self, silence: str | None) -> str | None:
        """How it is worse than its spec tells; None where it is well. `silence`: what its own address
        answered, where that isn't what a healthy endpoint answers."""
        apps = {**self.entities, **({self.ingress.name: self.ingress} if self.ingress else {})}
        lines = [f"{name} lost replicas: {app.illness}" for name, app in sorted(apps.items()) if app.illness]
        lines += [f"it doesn't answer: {silence}"] if silence else []
        return "; ".join(lines) or None

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

    def ingress_with(self, endpoint: Endpoint) -> AppConfig | None:
        """The ingress as it is, plus the rows of `endpoint`'s entities without traffic. None for an ingress
        that failed: former replicas may still answer, and only its replacement can mend it."""
        if self.ingress is None or self.ingress.config is None or not self.committed:
            return endpoint.ingress(self.attempt, weighted=False)
        if self.ingress.problem is not None:
            return None
        present = self._serving_targets()
        present_apps = {row["app"] for row in present}
        additions = [row for row in endpoint.targets(weighted=False) if row["app"] not in present_apps]
        return self._with_targets([*present, *additions])

    def candidates(self, endpoint: Endpoint, before: Endpoint | None) -> dict[str, AppConfig]:
        """The configs of the entity apps that must run before traffic moves to `endpoint`.

        The ingress goes on holding its primary until then. If it is to hold another one, that one is tried in
        an app of its own first, by one replica; only a new endpoint has nothing to protect from it.
        """
        is_new = not self.committed
        held = endpoint.primary_app if is_new else self.primary
        formerly = before.apps if before else {}
        configs = {}
        for app, entity in endpoint.apps.items():
            if app == endpoint.primary_app and app == held:
                continue
            if app == endpoint.primary_app and app not in self.entities:
                form = replace(entity, min_replicas=1, max_replicas=1)
            else:
                form = roomy(formerly.get(app), entity)
            configs[app] = {**hosting_app(endpoint.owner, self.name, form), "name": app}
        return configs

    def ingress_without(self) -> AppConfig:
        """The ingress as it is, with only the targets that traffic was moved to."""
        return self._with_targets(self._serving_targets())

    def _serving_targets(self) -> list[dict[str, Any]]:
        serving = set(self.committed.values())
        return [row for row in self.targets if row.get("app") in serving]

    def _with_targets(self, rows: Sequence[Mapping[str, Any]]) -> AppConfig:
        assert self.ingress is not None
        config: AppConfig = json.loads(json.dumps(self.ingress.config))
        config["deployments"][0]["user_config"]["targets"] = [dict(row) for row in rows]
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
