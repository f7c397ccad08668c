"""A serving endpoint as Ray apps, and Ray's apps as a serving endpoint. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from ...model.snapshot import HEALTH
from ...model.spec import construct
from ...serving.llm import ENGINE
from ...stores.ray.apps import ServedEntity as EntityApp
from ...stores.ray.apps import Settings, front_of, primary_args
from ...stores.ray.endpoint import Endpoint, LiveEndpoint
from ...stores.ray.state import Application
from .external import ExternalModel
from .gateway import AiGateway, compact
from .spec import Auth, Route, ServedEntity, ServingEndpoint, TrafficConfig, places_of, unless_default

MISSING: Final = "MISSING"
"""Our status of an app that should exist and doesn't; all others are Ray's."""

_REMEMBERED_FOR: Final = 30
"""Seconds for which an endpoint may cache who may use it."""


def as_apps(owner: str, spec: ServingEndpoint) -> Endpoint:
    """A resolved spec as its owner's apps on Ray."""
    return Endpoint(
        owner,
        spec.name,
        tuple(entity_as_app(spec, entity) for entity in spec.served_entities),
        {route.served_entity_name: route.traffic_percentage for route in spec.traffic_config.routes},
        Settings(_access(spec), spec.gateway.written(), spec.usage_store, spec.rate_limit_store),
        spec.model_dump(warnings="none", include={"description", "tags", "served_entities"}),
        spec.runtime_env,
    )


def _access(spec: ServingEndpoint) -> dict[str, Any]:
    """The settings of `serving.access.Gate`."""
    if not spec.requires_users:
        return {"mode": "none"}
    access = {"database": spec.auth_database, "endpoint": spec.name, "ttl": _REMEMBERED_FOR}
    return {"mode": "basic", **access, **(compact(spec.auth) if isinstance(spec.auth, Auth) else {})}


def entity_as_app(spec: ServingEndpoint, entity: ServedEntity) -> EntityApp:
    version = entity.entity_version
    external = entity.external_model
    return EntityApp(
        name=entity.name,
        entity_name=external.name if external else entity.model or entity.source or "",
        # only an unresolved spec has an alias, such as a foreign record: it is no app of ours
        entity_version=version if isinstance(version, int) else 0,
        model_uri=entity.location or "",
        environment_vars=entity.environment_vars,
        runtime_env={} if external else spec.runtime_env,
        num_cpus=entity.num_cpus,
        num_gpus=entity.num_gpus,
        min_replicas=entity.min_replicas,
        max_replicas=entity.max_replicas or entity.min_replicas,
        max_ongoing_requests=entity.max_ongoing_requests or places_of(entity),
        max_queued_requests=entity.max_queued_requests,
        timeout=entity.timeout,
        attempt=entity.redeployed,
        task=entity.kind_of_task or "",
        external_model=external.written() if external else None,
        first_token_timeout=entity.first_token_timeout,
        max_retries=entity.max_retries,
        secrets=entity.secrets,
    )


def as_spec(here: LiveEndpoint) -> ServingEndpoint:
    """The spec of a live endpoint: as noted when traffic last moved, corrected by Ray's own state."""
    committed, auth = here.committed, here.config.get("auth") or {}
    noted = construct(
        ServingEndpoint,
        {**here.notes, "name": here.name, "served_entities": here.notes.get("served_entities", ())},
    )
    weights = {row.get("app"): row for row in here.targets}
    proxies = [entity for entity in noted.served_entities if entity.external_model is not None]
    entities = [
        _live_entity(entity, here, app := committed.get(entity.name, ""), weights.get(app), proxies)
        for entity in noted.served_entities
    ]
    routes = [
        Route.model_construct(served_entity_name=name, traffic_percentage=weights[app].get("weight", 0))
        for name, app in committed.items()
        if app in weights
    ]
    ingress = here.ingress.config or {} if here.ingress else {}
    gateway = construct(AiGateway, stored) if (stored := here.config.get("gateway")) else None
    order = [str(row.get("name")) for app, row in weights.items() if app in committed.values()]
    return noted.model_copy(
        update={
            "served_entities": tuple(entities),
            "traffic_config": TrafficConfig.model_construct(routes=tuple(routes)),
            "auth": _read_access(auth, here.name),
            "auth_database": auth.get("database", ""),
            "ai_gateway": gateway,
            "fallback_order": ", ".join(order) if gateway and gateway.falls_back else "",
            "usage_store": here.config.get("usage_store", ""),
            "rate_limit_store": here.config.get("rate_limit_store", ""),
            "runtime_env": ingress.get("runtime_env") or {},
            "state": _state(here.ingress),
            "leftovers": here.leftovers,
        }
    )


def _read_access(auth: Mapping[str, Any], endpoint: str) -> Any:
    mode = auth.get("mode", "none")
    if mode != "basic":
        return mode
    if (other := auth.get("endpoint", endpoint)) != endpoint:
        # no value of a manifest's
        return f"basic, with the grants on {other}"
    settings = {name: auth[name] for name in Auth.model_fields if name in auth}
    return construct(Auth, settings) if settings else mode


def _places(entity: ServedEntity) -> int:
    return entity.max_ongoing_requests or places_of(entity)


def _live_entity(
    noted: ServedEntity,
    here: LiveEndpoint,
    name: str,
    row: Mapping[str, Any] | None,
    proxies: Sequence[ServedEntity],
) -> ServedEntity:
    if noted.external_model is not None:
        # beside entities that the cluster hosts, the front may have as many replicas as those
        is_alone = here.primary is None and not here.entities
        is_front = is_alone and noted is front_of(proxies)
        return _live_proxy(noted, row, _front_options(noted, here, proxies) if is_front else {})
    app = here.ingress if name == here.primary else here.entities.get(name)
    values: dict[str, Any] = {"state": _state(app)}
    if row is not None:
        values["timeout"] = row.get("timeout", noted.timeout)
    if app is not None and app.config is not None:
        args = primary_args(app.config) if app is here.ingress else app.config.get("args") or {}
        deployment = (app.config.get("deployments") or [{}])[0]
        if args.get("llm"):
            # the deployment with vLLM's workers; what each of them has is part of the app's name
            deployment = next((d for d in app.config["deployments"] if d["name"] == ENGINE), {})
        options = deployment.get("ray_actor_options") or {}
        scaling = deployment.get("autoscaling_config") or {}
        fixed = deployment.get("num_replicas")
        values |= {
            "task": args.get("task"),
            "secrets": args.get("secrets", {}),
            "location": args.get("model_uri", noted.location),
            "environment_vars": args.get("environment_vars", noted.environment_vars),
            "redeployed": args.get("attempt", 0),
            "num_cpus": options.get("num_cpus", noted.num_cpus),
            "num_gpus": options.get("num_gpus", noted.num_gpus),
            "min_replicas": scaling.get("min_replicas", fixed),
            "max_replicas": scaling.get("max_replicas", fixed),
            "max_queued_requests": deployment.get("max_queued_requests", noted.max_queued_requests),
        }
        places = deployment.get("max_ongoing_requests")
        if app is here.ingress and places:
            # it has places for requests to providers, too
            places -= sum(map(_places, proxies))
        values["max_ongoing_requests"] = unless_default(noted, places)
        if noted.entity_name is not None:
            values |= {
                name: args.get(name, getattr(noted, name)) for name in ("entity_name", "entity_version")
            }
    return noted.model_copy(update=values)


def _front_options(
    noted: ServedEntity, here: LiveEndpoint, proxies: Sequence[ServedEntity]
) -> dict[str, Any]:
    """What Ray has of the entity whose replicas are those of an ingress without a model."""
    config = here.ingress.config if here.ingress else None
    if config is None:
        return {}
    deployment = config["deployments"][0]
    scaling, fixed = deployment.get("autoscaling_config") or {}, deployment.get("num_replicas")
    places = deployment.get("max_ongoing_requests", 0) - sum(map(_places, proxies)) + _places(noted)
    return {
        "min_replicas": scaling.get("min_replicas", fixed),
        "max_replicas": scaling.get("max_replicas", fixed),
        "max_queued_requests": deployment.get("max_queued_requests", noted.max_queued_requests),
        "max_ongoing_requests": unless_default(noted, places),
    }


def _live_proxy(
    noted: ServedEntity, row: Mapping[str, Any] | None, options: Mapping[str, Any]
) -> ServedEntity:
    """A model at a provider: its row is all that there is of it, beside the ingress' `options`."""
    if row is None:
        return noted.model_copy(update={"state": MISSING})
    names = ("timeout", "first_token_timeout", "max_retries", "secrets")
    values = {name: row.get(name, getattr(noted, name)) for name in names}
    return noted.model_copy(
        update={
            **options,
            **values,
            "external_model": construct(ExternalModel, row.get("external_model") or {}),
        }
    )


def _state(app: Application | None) -> str | None:
    if app is None:
        return MISSING
    return app.status if app.problem is not None else None


def facts_of(here: LiveEndpoint, silence: str | None) -> dict[str, Any]:
    """What is known of a live endpoint beside its spec. `silence`: what its own address answered, where that
    isn't what a healthy endpoint answers."""
    apps = {**here.entities} | ({here.ingress.name: here.ingress} if here.ingress else {})
    problems = {name: app.problem for name, app in sorted(apps.items()) if app.problem}
    illness = here.illness(silence)
    return {
        "owner": here.owner,
        "status": here.ingress.status if here.ingress else MISSING,
        "apps": {name: app.status for name, app in sorted(apps.items())},
        **({"problems": problems} if problems else {}),
        **({HEALTH: illness} if illness else {}),
    }
