"""What an endpoint looks like as Ray Serve apps: names, hashes and app configs. Pure.

An endpoint's ingress `lac.<endpoint>` is the app with its route. Its targets, weights and access settings are
`user_config`, and it holds the model of one served entity, the primary, in the process that answers HTTP.
Every other entity is an immutable app of its own, named `lac.<endpoint>.<entity>.<hash>` by what it serves.
The hash covers what Ray can't change without restarting replicas; the rest (replicas, ongoing requests,
timeouts, weights) changes in place.
A model at a provider has no app: its settings are a row of the ingress' `user_config`, and the process that
answers HTTP asks the provider.
Every config carries the mark `lac` and its owner, so that a GET alone identifies it: the stack and its
store, since stacks with the same name in several stores may share a cluster.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar

from ...serving import routing

ROUTE = "/serving-endpoints"
# Ray's own default, in seconds
_SHUTDOWN = 20.0
# as of an entity that doesn't say how many requests it takes at once
_PLACES = 64
_HEALTH_CHECK = 2.0
"""Seconds between Ray's checks of a replica. By Ray's default, 10, calls to a dead one wait that long."""

AppConfig = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ServedEntity:
    """One served entity, resolved: a version number and a place to load from, no alias.

    `environment_vars` hold plain values or `{{ env.NAME }}`, looked up on the node. `timeout` in seconds.
    `min_replicas == max_replicas` is a fixed number, otherwise Ray scales between them, from none where
    `min_replicas` is 0. `attempt`: how many times the same entity was restarted because its app had failed.
    `task`: what a language model does (`serving.llm.Task`). `external_model`: Databricks' block, for a model
    at a provider. `secrets`: the sources of the references in it, or in `environment_vars`
    (`serving.references.Sources`).
    """

    name: str
    entity_name: str
    entity_version: int
    model_uri: str
    environment_vars: Mapping[str, str] = field(default_factory=dict)
    tracking_uri: str | None = None
    runtime_env: Mapping[str, Any] = field(default_factory=dict)
    num_cpus: float = 1.0
    num_gpus: float = 0.0
    min_replicas: int = 1
    max_replicas: int = 1
    max_ongoing_requests: int | None = None
    max_queued_requests: int | None = None
    timeout: float | None = None
    attempt: int = 0
    task: str = ""
    external_model: Mapping[str, Any] | None = None
    first_token_timeout: float | None = None
    max_retries: int = 0
    secrets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def is_hosted(self) -> bool:
        """Whether replicas of the cluster hold the model; otherwise a provider does."""
        return self.external_model is None


@dataclass(frozen=True, slots=True)
class Settings:
    """What an ingress does beside answering, as its replicas read it. All of it changes in place.

    `auth` as `serving.access.Gate` reads it; `gateway`: Databricks' `ai_gateway`; the stores are URLs without
    password, or references.
    """

    auth: Mapping[str, Any] = field(default_factory=dict)
    gateway: Mapping[str, Any] = field(default_factory=dict)
    usage_store: str = ""
    rate_limit_store: str = ""

    def as_config(self) -> dict[str, Any]:
        """The part of the `user_config` that holds them; nothing for what isn't set."""
        parts = {name: getattr(self, name) for name in ("gateway", "usage_store", "rate_limit_store")}
        return {"auth": dict(self.auth), **{name: part for name, part in parts.items() if part}}


@dataclass(frozen=True, slots=True)
class Mark:
    """An app's owner, from its config. `entity` is None for an ingress."""

    owner: str
    endpoint: str
    entity: str | None


def owner(stack: str, store_id: str) -> str:
    """The owner that a stack in that store is on a cluster; without the store while that has no id."""
    return f"{stack}@{store_id[:8]}" if store_id else stack


def owns(ours: str, marked: str) -> bool:
    """Whether an app with that mark is ours. An earlier lac marked apps with the stack's name alone."""
    return marked in (ours, ours.partition("@")[0])


def describe_owner(marked: str) -> str:
    """An owner in words."""
    stack, _, store = marked.partition("@")
    return f"stack `{stack}`" + (f" in the store {store}…" if store else "")


def ingress_name(endpoint: str) -> str:
    """The app name of an endpoint's ingress; one per cluster, whatever the stack."""
    return f"lac.{endpoint}"


def entity_name(owner: str, endpoint: str, entity: ServedEntity) -> str:
    """The app name of a served entity: readable, and another one for anything that is served differently."""
    return f"lac.{endpoint}.{entity.name}.{routing.revision(_immutable_config(owner, endpoint, entity))[:10]}"


def route(endpoint: str) -> str:
    """The path below which an endpoint answers."""
    return f"{ROUTE}/{endpoint}"


def entity_app(owner: str, endpoint: str, entity: ServedEntity) -> AppConfig:
    """The config of one served entity's app."""
    return {
        "name": entity_name(owner, endpoint, entity),
        # no route: an entity is reached through its endpoint's ingress only
        "route_prefix": None,
        "import_path": "lifecycle_as_code.serving.app:entity",
        "runtime_env": dict(entity.runtime_env),
        "args": _args(owner, endpoint, entity),
        "deployments": [{"name": "entity", **_options(entity)}],
    }


def target(owner: str, endpoint: str, entity: ServedEntity, weight: int) -> dict[str, Any]:
    """One row of an ingress' targets. A weight of 0 is reachable by name and gets no traffic."""
    row: dict[str, Any] = {
        "name": entity.name,
        "app": entity_name(owner, endpoint, entity),
        "entity_name": entity.entity_name,
        "entity_version": entity.entity_version,
        "weight": weight,
        "timeout": entity.timeout,
    }
    if entity.task:
        row["task"] = entity.task
    if entity.external_model is not None:
        row |= {
            "external_model": dict(entity.external_model),
            "first_token_timeout": entity.first_token_timeout,
            "max_retries": entity.max_retries,
            "secrets": {name: dict(source) for name, source in entity.secrets.items()},
        }
    return row


def ingress_app(
    owner: str,
    endpoint: str,
    *,
    targets: Sequence[Mapping[str, Any]],
    settings: Settings,
    spec: Mapping[str, Any],
    primary: ServedEntity | None = None,
    forwarded: Sequence[ServedEntity] = (),
    runtime_env: Mapping[str, Any] | None = None,
    attempt: int = 0,
) -> AppConfig:
    """The config of an endpoint's ingress, with as many replicas and resources as its primary entity wants.

    `targets` as `target` makes them, `spec` any JSON object that is to be stored in `Application.config`
    (`user_config`). `forwarded`: the models at providers, or all entities where none is the primary; it has
    places for their requests, too.
    Another primary or another `attempt` makes Ray start new replicas, and stop the former ones when those
    serve.
    """
    args: dict[str, Any] = {"lac": routing.FORMAT, "stack": owner, "endpoint": endpoint, "attempt": attempt}
    if primary is None:
        options = forwarding_options(forwarded)
    else:
        app = entity_name(owner, endpoint, primary)
        args["primary"] = {"app": app, **_args(owner, endpoint, primary)}
        options = _options(primary)
        if forwarded and primary.max_ongoing_requests:
            options["max_ongoing_requests"] = sum(e.max_ongoing_requests or 0 for e in (primary, *forwarded))
    # a leaving replica finishes its requests, whoever answers them
    patience = [_SHUTDOWN, *(row.get("timeout") or 0.0 for row in targets)]
    options["graceful_shutdown_timeout_s"] = max(patience)
    config = settings.as_config()
    places = options.get("max_ongoing_requests")
    if settings.auth.get("mode") == "basic" and places:
        # half of a replica's places: those who are known need the rest
        config["auth"]["waiting"] = max(1, places // 2)
    return {
        "name": ingress_name(endpoint),
        "route_prefix": route(endpoint),
        "import_path": "lifecycle_as_code.serving.app:ingress",
        "runtime_env": dict(runtime_env or {}),
        "args": args,
        "deployments": [
            {
                "name": "ingress",
                **options,
                "max_surge_percent": 100,
                # a line for each request costs more than most predictions
                "logging_config": {"enable_access_log": False},
                "user_config": {
                    "lac": routing.FORMAT,
                    "stack": owner,
                    "spec": dict(spec),
                    "targets": [dict(t) for t in targets],
                    **config,
                },
            }
        ],
    }


def mark(config: Mapping[str, Any] | None) -> Mark | None:
    """The owner in an app's config; None for an app that lac didn't make or that Ray doesn't describe."""
    args = (config or {}).get("args") or {}
    if not (isinstance(args, Mapping) and args.get("lac") and args.get("stack") and args.get("endpoint")):
        return None
    name = args.get("name")
    return Mark(str(args["stack"]), str(args["endpoint"]), None if name is None else str(name))


def user_config(config: Mapping[str, Any] | None) -> dict[str, Any]:
    """The `user_config` in an ingress app's config; empty where there is none."""
    deployments = (config or {}).get("deployments") or [{}]
    return dict(deployments[0].get("user_config") or {})


def primary_args(config: Mapping[str, Any] | None) -> dict[str, Any]:
    """What an ingress app's config says of the entity that it holds, with its `app`; empty without one."""
    return dict(((config or {}).get("args") or {}).get("primary") or {})


def revision(config: Mapping[str, Any]) -> str:
    """What an ingress reports once it works by this app config (see `serving.routing.revision`)."""
    return routing.revision(user_config(config))


def _args(owner: str, endpoint: str, entity: ServedEntity) -> dict[str, Any]:
    """What a replica is made from. A change of it restarts replicas."""
    args: dict[str, Any] = {
        "lac": routing.FORMAT,
        "stack": owner,
        "endpoint": endpoint,
        "name": entity.name,
        "entity_name": entity.entity_name,
        "entity_version": entity.entity_version,
        "model_uri": entity.model_uri,
        "environment_vars": dict(entity.environment_vars),
    }
    if entity.tracking_uri is not None:
        args["tracking_uri"] = entity.tracking_uri
    if entity.attempt:
        args["attempt"] = entity.attempt
    if entity.task:
        args |= {"task": entity.task, "num_cpus": entity.num_cpus}
    if entity.secrets:
        args["secrets"] = {name: dict(source) for name, source in entity.secrets.items()}
    if entity.external_model is not None:
        args["external_model"] = dict(entity.external_model)
    return args


def _immutable_config(owner: str, endpoint: str, entity: ServedEntity) -> dict[str, Any]:
    """What can't change while replicas run."""
    return {
        "args": _args(owner, endpoint, entity),
        "runtime_env": dict(entity.runtime_env),
        "num_cpus": float(entity.num_cpus),
        "num_gpus": float(entity.num_gpus),
        # numbers of replicas change in place; Ray restarts them all when scaling as such comes or goes
        "scales": entity.min_replicas != entity.max_replicas,
    }


class Scales(Protocol):
    """An entity with numbers of replicas."""

    @property
    def min_replicas(self) -> int: ...
    @property
    def max_replicas(self) -> int | None: ...


E = TypeVar("E", bound=Scales)


def front_of(proxies: Sequence[E]) -> E:
    """The entity with the most replicas, the first one of several: an ingress without a model has as many."""
    return max(proxies, key=lambda entity: (entity.max_replicas or 0, entity.min_replicas))


def forwarding_options(entities: Sequence[ServedEntity]) -> dict[str, Any]:
    """The options of a deployment without a model, which asks these entities: waiting for others takes no CPU
    of its own. It never scales to zero, and has a place for each request that they have one for."""
    resources = {"ray_actor_options": {"num_cpus": 0, "num_gpus": 0}}
    if not entities:
        return {"num_replicas": 1, **resources}
    most = front_of([*map(_replicas_in_front, entities)])
    return {**_options(most), **resources, "max_ongoing_requests": sum(map(_places, entities))}


def _replicas_in_front(entity: ServedEntity) -> ServedEntity:
    """The entity with the replicas that what asks it has: one that the cluster hosts scales alone."""
    if not entity.is_hosted:
        return entity
    always = max(1, entity.min_replicas)
    return replace(entity, min_replicas=always, max_replicas=always)


def _places(entity: ServedEntity) -> int:
    """The requests that an entity answers at once; for a provider, those of one front."""
    return (entity.max_ongoing_requests or _PLACES) * (max(1, entity.max_replicas) if entity.is_hosted else 1)


def _options(entity: ServedEntity) -> dict[str, Any]:
    """The options of the deployment that holds an entity's model."""
    fewest, most = entity.min_replicas, entity.max_replicas
    options: dict[str, Any] = {
        "ray_actor_options": {"num_cpus": entity.num_cpus, "num_gpus": entity.num_gpus},
        # a leaving replica finishes its requests, which may take as long as any request
        "graceful_shutdown_timeout_s": max(_SHUTDOWN, entity.timeout or 0.0),
        "health_check_period_s": _HEALTH_CHECK,
        "max_ongoing_requests": entity.max_ongoing_requests,
        "max_queued_requests": entity.max_queued_requests,
        "backpressure_config": {"retry_after_s": 1},
    }
    if fewest == most:
        options["num_replicas"] = fewest
    else:
        options["autoscaling_config"] = {"min_replicas": fewest, "max_replicas": most}
    return {name: value for name, value in options.items() if value is not None}
