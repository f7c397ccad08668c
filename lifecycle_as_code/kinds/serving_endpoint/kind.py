"""Serving endpoints: registered models behind one URL on Ray Serve, with their shares of the traffic.

The store knows an endpoint as Ray apps and rolls them out (`stores.ray.endpoint`, `stores.ray.rollout`); here
specs are resolved, and translated into apps and back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ...model.diagnostics import Diagnostic, LacError, did_you_mean
from ...model.plan import Change, Plan
from ...model.review import Impact
from ...model.snapshot import Live, Observed, Recorded
from ...model.spec import Address, Spec
from ...planning.guards import PlanContext
from ...serving.references import is_reference, secrets_in
from ...stores.ray import rollout
from ...stores.ray.apps import describe_owner, entity_name, ingress_name, owns
from ...stores.ray.endpoint import Endpoint, live_endpoints
from ...stores.ray.llm import llm_app, serves_on_gpu
from ...stores.ray.rollout import Move, Problems
from ..base import Observation, Report, Rollout, ServeKind, Site, StoredForms
from .apps import MISSING, as_apps, as_spec, entity_as_app, facts_of
from .capacity import RESOURCES
from .checks import (
    warn_of_capacity,
    warn_of_changed_access,
    warn_of_ill_endpoints,
    warn_of_public_endpoints,
    warn_of_tighter_limits,
    warn_of_unusable_endpoints,
)
from .impact import impacts
from .spec import Route, ServedEntity, ServingEndpoint, TrafficConfig, alias_of, unless_default

if TYPE_CHECKING:
    from ...stores.ray.client import Cluster

__all__ = ["Route", "ServedEntity", "ServingEndpoint", "ServingEndpoints", "TrafficConfig"]


class ServingEndpoints(ServeKind[ServingEndpoint]):
    spec = ServingEndpoint

    def check(self, world: PlanContext) -> Iterator[Diagnostic]:
        """Warnings: which endpoints are ill, who may use an endpoint, and whether the cluster has room."""
        yield from warn_of_ill_endpoints(world)
        yield from warn_of_public_endpoints(world)
        yield from warn_of_unusable_endpoints(world)
        yield from warn_of_changed_access(world)
        yield from warn_of_tighter_limits(world)
        yield from warn_of_capacity(world)

    def impacts(self, plan: Plan, recorded: Recorded, live: Live) -> Iterator[Impact]:
        """Traffic of the endpoints that serve what changes, and the capacity that they need of the
        cluster."""
        return impacts(plan, recorded, live)

    def observe(self, cluster: Cluster) -> Observation:
        """Two requests, and one to each endpoint itself. Endpoints of every stack, those that an interrupted
        apply left in parts included.

        Facts: `owner` by its mark, Ray's `status` of the endpoint, that of each of its apps in `apps`, and
        `health` where it is worse than that status says.
        """
        endpoints = live_endpoints(cluster.applications())
        silent = cluster.find_silent(name for name, here in endpoints.items() if here.serves)
        objects = {}
        for name, here in endpoints.items():
            spec = as_spec(here)
            objects[spec.address] = Observed(spec, facts_of(here, silent.get(name)))
        try:
            facts = {RESOURCES: cluster.resources()}
        except LacError:
            # some gateways pass Serve's own paths only
            facts = {}
        return Observation(objects, facts=facts)

    def settle(
        self, site: Site, desired: Mapping[Address, ServingEndpoint], expected: Mapping[Address, Observed]
    ) -> StoredForms:
        """Aliases pinned; locations, traffic and the stack's own settings filled in."""
        for address, spec in desired.items():
            live = expected.get(address)
            if problem := _foreign(address, live, site) or _lockless(spec, site) or _storeless(spec, site):
                yield address, problem
                continue
            unknown = [p for e in spec.served_entities if (p := _unknown(address, e, expected))]
            unknown += _sourceless(spec, site.secrets)
            if not unknown:
                settled = _settle(site, spec, live, expected)
                unknown = [*_unfit(site, settled)]
                if not unknown:
                    yield address, settled
            for problem in unknown:
                yield address, problem

    def names(self, site: Site, change: Change) -> tuple[str, ...]:
        """The ingress and the apps of the entities, the primary's among them: it is on trial for a while."""
        if not isinstance(change.after, ServingEndpoint):
            return ()
        return ingress_name(change.after.name), *sorted(as_apps(site.owner, change.after).apps)

    def warm_up(self, cluster: Cluster, site: Site, changes: Sequence[Change], tell: Report) -> list[Rollout]:
        """The ingress of a new endpoint comes up here, too, and answers 503 until traffic is given to it."""
        return _rollouts(changes, rollout.warm_up(cluster, _moves(site, changes), tell))

    def undo(self, cluster: Cluster, site: Site, changes: Sequence[Change], tell: Report) -> None:
        rollout.undo(cluster, _moves(site, changes), tell)

    def cut_over(
        self, cluster: Cluster, site: Site, changes: Sequence[Change], tell: Report
    ) -> list[Rollout]:
        return _rollouts(changes, rollout.cut_over(cluster, _moves(site, changes), tell))

    def retire(self, cluster: Cluster, site: Site, changes: Sequence[Change], tell: Report) -> list[Rollout]:
        return _rollouts(changes, rollout.retire(cluster, _moves(site, changes), tell))


# --- resolving


def _settle(
    site: Site, spec: ServingEndpoint, live: Observed | None, expected: Mapping[Address, Observed]
) -> ServingEndpoint:
    runtime_env, references = _without_references(site.runtime_env)
    entities = tuple(_equip(site, _pin(entity, expected), references) for entity in spec.served_entities)
    routes = spec.traffic_config.routes or (
        Route(served_entity_name=entities[0].name, traffic_percentage=100),
    )
    spec = spec.model_copy(
        update={
            "served_entities": entities,
            "traffic_config": TrafficConfig(routes=routes),
            "auth_database": site.auth_database if spec.requires_users else "",
            "usage_store": site.usage_store if spec.gateway.keeps_rows else "",
            "rate_limit_store": site.rate_limit_store if spec.gateway.rate_limits else "",
            "fallback_order": ", ".join(e.name for e in entities) if spec.gateway.falls_back else "",
            "runtime_env": runtime_env,
        }
    )
    return (
        _redeploy_broken(site, spec, live.spec) if live and isinstance(live.spec, ServingEndpoint) else spec
    )


def _without_references(runtime_env: Mapping[str, Any]) -> tuple[Mapping[str, Any], dict[str, str]]:
    """A runtime environment, and apart from it the variables that are references: Ray would set them as
    written, while an entity looks them up on its node."""
    variables: Mapping[str, str] = runtime_env.get("env_vars") or {}
    references = {name: value for name, value in variables.items() if is_reference(value)}
    if not references:
        return runtime_env, {}
    left = {name: value for name, value in variables.items() if name not in references}
    return {**runtime_env, "env_vars": left}, references


def _equip(site: Site, entity: ServedEntity, variables: Mapping[str, str]) -> ServedEntity:
    """The entity with the stack's variables and the sources of its secrets. A model at a provider runs in the
    endpoint's own process, which has no variables of its own."""
    if entity.external_model is None and variables:
        entity = entity.model_copy(update={"environment_vars": {**variables, **entity.environment_vars}})
    names = sorted({name for value in entity.replica_values() for name in secrets_in(value)})
    return entity.model_copy(update={"secrets": {n: site.secrets[n] for n in names if n in site.secrets}})


def _pin(entity: ServedEntity, expected: Mapping[Address, Observed]) -> ServedEntity:
    """The entity with a version number in place of an alias, the location of the files, and `max_replicas`.

    A version that doesn't exist has no location; the check of references reports it.
    """
    alias = alias_of(entity)
    version = entity.entity_version
    if alias is not None:
        pointer: Any = expected[Address("model_alias", (entity.model, alias))].spec
        version = pointer.version
    stored: Spec | None = None
    if isinstance(version, int) and (
        observed := expected.get(Address("model_version", (entity.model, version)))
    ):
        stored = observed.spec
    location = getattr(stored, "storage_location", None) or getattr(stored, "source", None)
    return entity.model_copy(
        update={
            "entity_version": version,
            "follows": None if alias is None else f"@{alias}",
            "location": location or entity.source,
            "min_replicas": 0 if entity.scale_to_zero_enabled else entity.min_replicas,
            "max_replicas": entity.max_replicas or entity.min_replicas,
            "max_ongoing_requests": unless_default(entity, entity.max_ongoing_requests),
        }
    )


def _redeploy_broken(site: Site, spec: ServingEndpoint, live: ServingEndpoint) -> ServingEndpoint:
    """Ray never retries a failed app, and a change in place doesn't revive it. So an unchanged entity whose
    app failed is deployed under another name, beside the failed app, like any other change."""
    entities = {entity.name: entity for entity in live.served_entities}

    def count(entity: ServedEntity) -> ServedEntity:
        before = entities.get(entity.name)
        if before is None:
            return entity
        same = entity.model_copy(update={"redeployed": before.redeployed})
        if _app(site, spec, same) != _app(site, live, before):
            return entity
        is_broken = before.state not in (None, MISSING)
        return entity.model_copy(update={"redeployed": before.redeployed + is_broken})

    return spec.model_copy(update={"served_entities": tuple(map(count, spec.served_entities))})


def _app(site: Site, spec: ServingEndpoint, entity: ServedEntity) -> str:
    return entity_name(site.owner, spec.name, entity_as_app(spec, entity))


def _unknown(
    address: Address, entity: ServedEntity, expected: Mapping[Address, Observed]
) -> Diagnostic | None:
    alias = alias_of(entity)
    if alias is None or Address("model_alias", (entity.model, alias)) in expected:
        return None
    known = [str(a.key[1]) for a in expected if a.kind == "model_alias" and a.key[0] == entity.entity_name]
    return Diagnostic(
        "unknown-alias",
        "a served entity follows an alias that doesn't exist",
        f"{address}: `{entity.name}` follows `@{alias}`; model `{entity.entity_name}` has no such alias.",
        hint=did_you_mean(alias, known) or f"declare it: `aliases: {{{alias}: <version>}}` under the model",
    )


def _lockless(spec: ServingEndpoint, site: Site) -> Diagnostic | None:
    if not spec.requires_users or site.auth_database:
        return None
    return Diagnostic(
        "no-auth-store",
        "the endpoint requires auth, but no auth database is configured",
        f"{spec.address} checks MLflow's users, and lac.yaml has no `auth_store` that replicas may know.",
        hint='set `auth_store:` in lac.yaml, as a reference (`"{{ env.NAME }}"`) if its address has a '
        "password; or allow everyone with `auth: none`",
    )


def _storeless(spec: ServingEndpoint, site: Site) -> Diagnostic | None:
    gateway = spec.gateway
    if gateway.keeps_rows and not site.usage_store:
        return Diagnostic(
            "no-usage-store",
            "the endpoint records its usage, but no store is configured",
            f"{spec.address} has usage tracking or an inference table, and lac.yaml has no `usage_store` "
            "that replicas may know.",
            hint='set `usage_store:` in lac.yaml, as a reference (`"{{ env.NAME }}"`) if its address has a '
            "password",
        )
    several = [e.name for e in spec.served_entities if (e.max_replicas or e.min_replicas) > 1]
    if gateway.rate_limits and several and not site.rate_limit_store:
        return Diagnostic(
            "no-rate-limit-store",
            "several replicas can't count requests together",
            f"{spec.address} has rate limits, `{several[0]}` has several replicas, and lac.yaml has no "
            "`rate_limit_store` that they may know.",
            hint="set `rate_limit_store:` in lac.yaml to a Redis or SQL database, as a reference "
            '(`"{{ env.NAME }}"`) if its address has a password; or have one replica',
        )
    return None


def _unfit(site: Site, spec: ServingEndpoint) -> Iterator[Diagnostic]:
    """An error for each language model on GPUs that vLLM couldn't load."""
    for entity in spec.served_entities:
        app = entity_as_app(spec, entity)
        # a version that doesn't exist has no location, and another error
        if serves_on_gpu(app) and app.model_uri:
            try:
                llm_app(site.owner, spec.name, app)
            except ValueError as problem:
                yield Diagnostic(
                    "unfit-for-gpu",
                    "a language model can't be served on GPUs",
                    f"{spec.address}: {problem}.",
                    hint="change what the detail names, or remove `num_gpus` to serve it on CPUs",
                )


def _sourceless(spec: ServingEndpoint, secrets: Mapping[str, Any]) -> Iterator[Diagnostic]:
    """An error for each secret of an endpoint that lac.yaml doesn't map to a source."""
    for entity in spec.served_entities:
        for name in sorted({n for value in entity.replica_values() for n in secrets_in(value)}):
            if name not in secrets:
                scope, _, key = name.partition("/")
                yield Diagnostic(
                    "unknown-secret",
                    "a served entity names a secret without a source",
                    f"{spec.address}: `{entity.name}` names `{{{{secrets/{name}}}}}`, which lac.yaml doesn't "
                    "map.",
                    hint=did_you_mean(name, secrets)
                    or f"add it to lac.yaml: `secrets: {{{scope}: {{{key}: {{env: NAME}}}}}}`",
                )


def _foreign(address: Address, live: Observed | None, site: Site) -> Diagnostic | None:
    owner = str(live.facts.get("owner", site.owner)) if live else site.owner
    if owns(site.owner, owner):
        return None
    return Diagnostic(
        "owned-elsewhere",
        "the object belongs to another stack",
        f"{address} on this Ray cluster belongs to {describe_owner(owner)}.",
        hint="choose another name, or delete the other endpoint from its own stack",
    )


# --- to Ray


def _moves(site: Site, changes: Sequence[Change]) -> list[Move]:
    def side(spec: object) -> Endpoint | None:
        return as_apps(site.owner, spec) if isinstance(spec, ServingEndpoint) else None

    return [Move(str(c.address.key[0]), site.owner, side(c.before), side(c.after)) for c in changes]


def _rollouts(changes: Sequence[Change], problems: Problems) -> list[Rollout]:
    return [Rollout(c.address, _report(c, problems.get(str(c.address.key[0])))) for c in changes]


def _report(change: Change, problem: str | Diagnostic | None) -> Diagnostic | None:
    if not isinstance(problem, str):
        return problem
    way_out = "the endpoint was rolled back; fix Ray's error, then run `lac apply` again"
    if change.after is None:
        way_out = "run `lac apply` again to remove the rest"
    return Diagnostic(
        "rollout-failed", "an endpoint could not be rolled out", problem, hint=way_out, at=change.at
    )
