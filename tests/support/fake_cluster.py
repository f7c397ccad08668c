"""A Ray cluster on paper, for what a real one can't be made to do a hundred times a second."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest

from lifecycle_as_code.engine.connections import Connections
from lifecycle_as_code.stores.ray.apps import primary_args, user_config
from lifecycle_as_code.stores.ray.client import Cluster


class Killed(BaseException):
    """As `kill -9`: nothing after it is done."""


class Paper(Cluster):
    """A cluster on paper: a PUT is done at once, and a model in a place called `bad` doesn't load.

    `left`: writes and probes until the process that uses it is as good as dead. `deaf`: endpoints and apps
    that don't answer a probe. `sick`: apps that Ray calls unhealthy. `broken`: apps that failed. `probed` is
    called at each probe.
    """

    def __init__(self) -> None:
        super().__init__("http://paper")
        self.apps: dict[str, dict[str, Any]] = {}
        self.left: int | None = None
        self.deaf: set[str] = set()
        self.probed: Callable[[], None] = lambda: None
        self.sick: set[str] = set()
        self.broken: set[str] = set()

    @classmethod
    def at_once(cls, monkeypatch: pytest.MonkeyPatch) -> Paper:
        """One that nobody waits for."""
        monkeypatch.setattr("lifecycle_as_code.stores.ray.client.time.sleep", lambda _: None)
        return cls()

    def _get(self, path: str) -> dict[str, Any]:
        return {
            "applications": {
                name: {
                    "name": name,
                    "source": "DECLARATIVE",
                    "route_prefix": config.get("route_prefix"),
                    "deployed_app_config": config,
                    **self._status(config),
                }
                for name, config in self.apps.items()
            }
        }

    def _step(self) -> None:
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise Killed

    def _put(self, body: Mapping[str, Any]) -> None:
        self._step()
        self.apps = {a["name"]: json.loads(json.dumps(a)) for a in body["applications"]}

    def find_silent(self, endpoints: Iterable[str]) -> dict[str, str]:
        return {name: "no answer" for name in endpoints if name in self.deaf}

    def probe(self, endpoint: str, *, entity: str | None = None, **_: Any) -> str | None:
        self._step()
        self.probed()
        ingress = self.apps[f"lac.{endpoint}"]
        if entity is not None:
            rows = {row["app"]: row for row in user_config(ingress)["targets"]}
            assert entity in rows
            # a model at a provider has no app
            held = {*self.apps, primary_args(ingress).get("app")}
            assert "external_model" in rows[entity] or entity in held
        return "no answer" if (entity or endpoint) in self.deaf else None

    def _status(self, config: Mapping[str, Any]) -> dict[str, str]:
        if config["name"] in self.sick:
            return {"status": "UNHEALTHY", "message": "a node was lost"}
        if config["name"] in self.broken or "bad" in str(
            (primary_args(config) or config["args"]).get("model_uri")
        ):
            return {"status": "DEPLOY_FAILED", "message": "No such artifact: 'bad'"}
        return {"status": "RUNNING", "message": ""}


class Side(Paper):
    """A connection of one's own to a cluster that others use, too."""

    def __init__(self, cluster: Paper) -> None:
        self._cluster = cluster
        super().__init__()

    @property
    def apps(self) -> dict[str, dict[str, Any]]:
        """The cluster's."""
        return self._cluster.apps

    @apps.setter
    def apps(self, apps: dict[str, dict[str, Any]]) -> None:
        # what a new connection begins with
        if apps:
            self._cluster.apps = apps

    def _put(self, body: Mapping[str, Any]) -> None:
        self._cluster._put(body)

    def find_silent(self, endpoints: Iterable[str]) -> dict[str, str]:
        return self._cluster.find_silent(endpoints)

    def probe(self, endpoint: str, *, entity: str | None = None, **options: Any) -> str | None:
        return self._cluster.probe(endpoint, entity=entity, **options)


def on_paper(monkeypatch: pytest.MonkeyPatch) -> Paper:
    """One that every stack is connected to."""
    made = Paper.at_once(monkeypatch)

    @contextmanager
    def cluster(_: Connections) -> Iterator[Paper]:
        yield made

    monkeypatch.setattr(Connections, "cluster", cluster)
    return made
