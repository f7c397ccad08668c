"""What Ray Serve reports about its apps, read from one GET. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .apps import AppConfig, Mark, mark


@dataclass(frozen=True, slots=True)
class Replica:
    """One replica. `state`: STARTING, UPDATING, RUNNING, STOPPING, PENDING_MIGRATION or RECOVERING."""

    replica_id: str
    state: str
    pid: int | None
    node_id: str | None
    started: float | None


@dataclass(frozen=True, slots=True)
class Deployment:
    """One deployment of an app. `config` is the resolved one, with Ray's defaults filled in."""

    name: str
    status: str
    message: str
    target_replicas: int | None
    config: Mapping[str, Any]
    replicas: tuple[Replica, ...]


@dataclass(frozen=True, slots=True)
class Application:
    """One Serve app.

    `config` is what was last *requested* (a failed one too) and None for an imperative app; `status`,
    the replicas and a probe say what serves.
    """

    name: str
    status: str
    message: str
    source: str
    route_prefix: str | None
    config: AppConfig | None
    last_deployed: float
    deployments: Mapping[str, Deployment] = field(default_factory=dict)

    @property
    def mark(self) -> Mark | None:
        """Whose it is; None when it isn't ours."""
        return mark(self.config)

    @property
    def leaving(self) -> bool:
        """Whether it is being deleted."""
        return (self.status in ("DELETING", "NOT_STARTED") and not self.config) or self.status == "DELETING"

    @property
    def is_degraded(self) -> bool:
        """Whether it has lost replicas and others answer."""
        return self.status == "UNHEALTHY" and any(
            r.state == "RUNNING" for d in self.deployments.values() for r in d.replicas
        )

    @property
    def is_draining(self) -> bool:
        """Whether a replica of it is stopping."""
        return any(r.state == "STOPPING" for d in self.deployments.values() for r in d.replicas)

    @property
    def problem(self) -> str | None:
        """Ray's message for a failed deployment, without the frames of Ray's code; None without one."""
        return self._message if self.status == "DEPLOY_FAILED" else None

    @property
    def illness(self) -> str | None:
        """The first line of Ray's message while it replaces replicas that it lost, which it does by itself;
        None when all are well."""
        return self._message.splitlines()[0] if self.status == "UNHEALTHY" else None

    @property
    def _message(self) -> str:
        messages = [self.message, *(d.message for d in self.deployments.values())]
        return readable("\n".join(t for t in messages if t)) or self.status


@dataclass(frozen=True, slots=True)
class Resources:
    """Logical CPUs and GPUs: all that the living nodes have, and the free part. `nodes`: the same, free on
    each of them; empty where that isn't known."""

    cpus: float
    gpus: float
    free_cpus: float
    free_gpus: float
    nodes: tuple[tuple[float, float], ...] = ()


def applications(instance: Mapping[str, Any]) -> dict[str, Application]:
    """The apps in an answer to GET, by name."""
    return {name: _application(name, status) for name, status in (instance.get("applications") or {}).items()}


def _application(name: str, status: Mapping[str, Any]) -> Application:
    return Application(
        name=name,
        status=str(status.get("status")),
        message=str(status.get("message") or ""),
        source=str(status.get("source") or "").lower(),
        route_prefix=status.get("route_prefix"),
        config=status.get("deployed_app_config"),
        last_deployed=float(status.get("last_deployed_time_s") or 0),
        deployments={n: _deployment(n, d) for n, d in (status.get("deployments") or {}).items()},
    )


def _deployment(name: str, status: Mapping[str, Any]) -> Deployment:
    return Deployment(
        name=name,
        status=str(status.get("status")),
        message=str(status.get("message") or ""),
        target_replicas=status.get("target_num_replicas"),
        config=status.get("deployment_config") or {},
        replicas=tuple(
            Replica(
                replica_id=str(r.get("replica_id")),
                state=str(r.get("state")),
                pid=r.get("pid"),
                node_id=r.get("node_id"),
                started=r.get("start_time_s"),
            )
            for r in status.get("replicas") or ()
        ),
    )


def is_settled(app: Application) -> bool:
    """Whether Ray has done with the app's last request, one way or the other."""
    if app.status == "RUNNING":
        # an update shows in the deployments before it shows in the app
        return all(d.status == "HEALTHY" for d in app.deployments.values())
    return app.status == "DEPLOY_FAILED" or app.is_degraded


def readable(message: str) -> str:
    """Ray's message without Python's stack frames."""
    texts: list[str] = []
    in_frame = False
    for line in re.sub(r"\x1b\[[0-9;]*m", "", message).splitlines():
        if line.startswith('  File "'):
            in_frame = True
        elif in_frame and line.startswith("    "):
            # the frame's source line, and the marks below it
            continue
        else:
            in_frame = False
            # a traceback of Ray's own begins with an actor's name and address
            text = (
                ""
                if line.startswith("ray::") or line.endswith("Traceback (most recent call last):")
                else line
            )
            if (text := text.rstrip()) and text not in texts:
                texts.append(text)
    return "\n".join(texts)
