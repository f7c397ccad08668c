"""Serving endpoints: registered models behind one URL on Ray Serve, with their shares of the traffic.

What an endpoint is as Ray apps and how it is rolled out is the store's (`ray_endpoint`, `ray_rollout`);
here specs are resolved, and translated into apps and back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ...model.diagnostics import Diagnostic, LacError, did_you_mean
from ...model.plan import Change, Plan
from ...model.review import Impact
from ...model.snapshot import Live, Observed, Recorded
from ...model.spec import Address, Spec
from ...planning.guards import World
from ...serving.references import is_reference
from ...stores.ray import rollout
from ...stores.ray.apps import entity_name, ingress_name, owns, whose
from ...stores.ray.endpoint import Endpoint, held
from ...stores.ray.rollout import Move, Problems
from ..base import Observation, Rollout, ServeKind, Settled, Site, Tell
from .apps import MISSING, as_apps, as_held, entity_as_app, facts_of
from .capacity import RESOURCES
from .checks import open_doors, room, shut_doors
from .impact import impacts
from .spec import Route, ServedEntity, ServingEndpoint, TrafficConfig, followed

if TYPE_CHECKING:
    from ...stores.ray.client import Cluster

__all__ = ["Route", "ServedEntity", "ServingEndpoint", "ServingEndpoints", "TrafficConfig"]


class ServingEndpoints(ServeKind[ServingEndpoint]):
    spec = ServingEndpoint

    def check(self, world: World) -> Iterator[Diagnostic]:
        """Warnings: who gets in, and whether the cluster has room."""
        yield from open_doors(world)
        yield from shut_doors(world)
        yield from room(world)

    def impacts(self, plan: Plan, recorded: Recorded, live: Live) -> Iterator[Impact]:
        """Traffic of the endpoints that serve what changes, and what the cluster has to hold."""
        return impacts(plan, recorded, live)

    def observe(self, cluster: Cluster) -> Observation:
        """Two requests. Endpoints of every stack, also such as an interrupted apply left in parts.

        Facts: `owner` as its mark tells, Ray's `status` of the endpoint, and that of each of its apps in
        `apps`.
        """
        objects = {}
        for here in held(cluster.applications()).values():
            spec = as_held(here)
            objects[spec.address] = Observed(spec, facts_of(here))
        try:
            facts = {RESOURCES: cluster.resources()}
        except LacError:
            # some gateways let nothing but Serve's own paths through
            facts = {}
        return Observation(objects, facts=facts)

    def settle(
        self, site: Site, desired: Mapping[Address, ServingEndpoint], expected: Mapping[Address, Observed]
    ) -> Settled:
        """Aliases pinned; locations, traffic and the stack's own settings filled in."""
        for address, spec in desired.items():
            live = expected.get(address)
            if (problem := _foreign(address, live, site)) or (problem := _lockless(spec, site)):
                yield address, problem
                continue
            unknown = [p for e in spec.served_entities if (p := _unknown(address, e, expected))]
            for problem in unknown:
                yield address, problem
            if not unknown:
                yield address, _settled(site, spec, live, expected)

    def names(self, site: Site, change: Change) -> tuple[str, ...]:
        """The ingress and the apps of the entities."""
        if not isinstance(change.after, ServingEndpoint):
            return ()
        return ingress_name(change.after.name), *sorted(as_apps(site.owner, change.after).apps)

    def warm_up(self, cluster: Cluster, site: Site, changes: Sequence[Change], tell: Tell) -> list[Rollout]:
        """The ingress of a new endpoint comes up here, too, and answers 503 until traffic is given to it."""
        return _rollouts(changes, rollout.warm_up(cluster, _moves(site, changes), tell))

    def undo(self, cluster: Cluster, site: Site, changes: Sequence[Change], tell: Tell) -> None:
        rollout.undo(cluster, _moves(site, changes), tell)

    def cut_over(self, cluster: Cluster, site: Site, changes: Sequence[Change], tell: Tell) -> list[Rollout]:
        return _rollouts(changes, rollout.cut_over(cluster, _moves(site, changes), tell))

    def retire(self, cluster: Cluster, site: Site, changes: Sequence[Change], tell: Tell) -> list[Rollout]:
        return _rollouts(changes, rollout.retire(cluster, _moves(site, changes), tell))


# --- resolved


def _settled(
    site: Site, spec: ServingEndpoint, live: Observed | None, expected: Mapping[Address, Observed]
) -> ServingEndpoint:
    runtime_env, references = _without_references(site.runtime_env)
    entities = tuple(
        e.model_copy(update={"environment_vars": {**references, **e.environment_vars}}) if references else e
        for e in (_pinned(entity, expected) for entity in spec.served_entities)
    )
    routes = spec.traffic_config.routes or (
        Route(served_entity_name=entities[0].name, traffic_percentage=100),
    )
    settled = spec.model_copy(
        update={
            "served_entities": entities,
            "traffic_config": TrafficConfig(routes=routes),
            "auth_database": site.auth_database if spec.auth == "basic" else "",
            "runtime_env": runtime_env,
        }
    )
    return (
        _past_broken(site, settled, live.spec) if live and isinstance(live.spec, ServingEndpoint) else settled
    )


def _without_references(runtime_env: Mapping[str, Any]) -> tuple[Mapping[str, Any], dict[str, str]]:
    """A runtime environment, and apart from it the variables that are references: Ray would set them as they
    are written, while an entity looks its own up on the node."""
    variables: Mapping[str, str] = runtime_env.get("env_vars") or {}
    references = {name: value for name, value in variables.items() if is_reference(value)}
    if not references:
        return runtime_env, {}
    left = {name: value for name, value in variables.items() if name not in references}
    return {**runtime_env, "env_vars": left}, references


def _pinned(entity: ServedEntity, expected: Mapping[Address, Observed]) -> ServedEntity:
    """A version number in place of an alias, where its files are, and how many replicas at most.

    A version that is nowhere stays without a location: it is a missing reference to whoever checks those.
    """
    alias = followed(entity)
    version = entity.entity_version
    if alias is not None:
        pointer: Any = expected[Address("model_alias", (entity.entity_name, alias))].spec
        version = pointer.version
    stored: Spec | None = None
    if isinstance(version, int) and (
        found := expected.get(Address("model_version", (entity.entity_name, version)))
    ):
        stored = found.spec
    location = getattr(stored, "storage_location", None) or getattr(stored, "source", None)
    return entity.model_copy(
        update={
            "entity_version": version,
            "follows": None if alias is None else f"@{alias}",
            "location": location,
            "max_replicas": entity.max_replicas or entity.min_replicas,
        }
    )


def _past_broken(site: Site, spec: ServingEndpoint, live: ServingEndpoint) -> ServingEndpoint:
    """Ray doesn't try a broken app again, and what changes in place changes nothing about it. So an entity
    that is broken as it is comes up under another name, beside it, like any other change."""
    there = {entity.name: entity for entity in live.served_entities}

    def counted(entity: ServedEntity) -> ServedEntity:
        seen = there.get(entity.name)
        if seen is None:
            return entity
        same = entity.model_copy(update={"redeployed": seen.redeployed})
        if _app(site, spec, same) != _app(site, live, seen):
            return entity
        broken = seen.state not in (None, MISSING)
        return entity.model_copy(update={"redeployed": seen.redeployed + broken})

    return spec.model_copy(update={"served_entities": tuple(map(counted, spec.served_entities))})


def _app(site: Site, spec: ServingEndpoint, entity: ServedEntity) -> str:
    return entity_name(site.owner, spec.name, entity_as_app(spec, entity))


def _unknown(
    address: Address, entity: ServedEntity, expected: Mapping[Address, Observed]
) -> Diagnostic | None:
    alias = followed(entity)
    if alias is None or Address("model_alias", (entity.entity_name, alias)) in expected:
        return None
    known = [str(a.key[1]) for a in expected if a.kind == "model_alias" and a.key[0] == entity.entity_name]
    return Diagnostic(
        "unknown-alias",
        "a served entity follows an alias that doesn't exist",
        f"{address}: `{entity.name}` is `@{alias}` of model `{entity.entity_name}`, which has no such alias.",
        hint=did_you_mean(alias, known) or f"declare it: `aliases: {{{alias}: <version>}}` under the model",
    )


def _lockless(spec: ServingEndpoint, site: Site) -> Diagnostic | None:
    if spec.auth == "none" or site.auth_database:
        return None
    return Diagnostic(
        "no-auth-store",
        "an endpoint has nobody to ask who may use it",
        f"{spec.address} asks for MLflow's users, and the stack names no auth database to look them up in.",
        hint='set `auth_store:` in lac.yaml, by reference (`"{{ env.NAME }}"`) where its address has a '
        "password; or let everybody in with `auth: none`",
    )


def _foreign(address: Address, live: Observed | None, site: Site) -> Diagnostic | None:
    marked = str(live.facts.get("owner", site.owner)) if live else site.owner
    if owns(site.owner, marked):
        return None
    return Diagnostic(
        "owned-elsewhere",
        "the object belongs to another stack",
        f"{address} on this Ray cluster was made by {whose(marked)}.",
        hint="give yours another name, or remove that one where it was made",
    )


# --- to Ray


def _moves(site: Site, changes: Sequence[Change]) -> list[Move]:
    def side(spec: object) -> Endpoint | None:
        return as_apps(site.owner, spec) if isinstance(spec, ServingEndpoint) else None

    return [Move(str(c.address.key[0]), site.owner, side(c.before), side(c.after)) for c in changes]


def _rollouts(changes: Sequence[Change], problems: Problems) -> list[Rollout]:
    return [Rollout(c.address, _told(c, problems.get(str(c.address.key[0])))) for c in changes]


def _told(change: Change, problem: str | Diagnostic | None) -> Diagnostic | None:
    if not isinstance(problem, str):
        return problem
    way_out = "the endpoint is as it was; put right what Ray says, and apply again"
    if change.after is None:
        way_out = "apply again; what is left is then removed"
    return Diagnostic(
        "rollout-failed", "an endpoint could not be rolled out", problem, hint=way_out, at=change.at
    )
