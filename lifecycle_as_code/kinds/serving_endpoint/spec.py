"""The Spec of a serving endpoint. Field names are those of Databricks' model serving."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Final, Literal, Self

from pydantic import AfterValidator, Field, PlainSerializer, model_validator

from ...model.selector import Selects, VersionSelector
from ...model.spec import (
    Address,
    ByKey,
    Derived,
    Health,
    Hold,
    Key,
    Part,
    Spec,
    Store,
    Tags,
    Trait,
    find_fields,
)
from ...serving.levels import ResourceType
from ...serving.references import is_reference
from ...stores.mlflow import rules

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError("letters, digits, `-` and `_`, at most 63, beginning with a letter or digit")
    return text


def _quantity(number: float) -> float:
    """Ray counts in ten-thousandths."""
    if 0 < number < 0.0001:
        raise ValueError("Ray counts in steps of 0.0001, which is the least")
    return number


def _gpus(number: float) -> float:
    """Ray gives a part of one GPU, or whole ones."""
    if number > 1 and number != int(number):
        raise ValueError("a replica can have a part of one GPU, or whole GPUs")
    return number


def _check_alias(text: str) -> str:
    problem = rules.alias(text[1:]) if text.startswith("@") else "a version is a number or `@` and an alias"
    if problem:
        raise ValueError(problem)
    return text


def _shorten_alias(version: int | str | VersionSelector) -> int | str | VersionSelector:
    if isinstance(version, VersionSelector) and version.alias is not None:
        return _check_alias(f"@{version.alias}")
    return version


def _variables(variables: Mapping[str, str]) -> Mapping[str, str]:
    """No message repeats a value, which may be a secret."""
    for name, value in variables.items():
        if not _VARIABLE.fullmatch(name):
            raise ValueError(f"`{name}` can't be the name of an environment variable")
        if "{{" in value and not is_reference(value):
            raise ValueError(f"`{name}`: a reference must be the whole value, as in `{{{{ env.NAME }}}}`")
    return MappingProxyType(variables)


class ServedEntity(Part):
    """One version of a registered model behind the endpoint."""

    name: Annotated[str, AfterValidator(_name)]
    """The name in the endpoint's answers and routes, such as `champion`."""
    entity_name: Annotated[str, AfterValidator(rules.validator(rules.model_name))]
    """The registered model."""
    entity_version: Annotated[
        Annotated[int, Field(ge=1, le=rules.LAST_VERSION)]
        | Annotated[str, AfterValidator(_check_alias)]
        | VersionSelector,
        AfterValidator(_shorten_alias),
        Selects("entity_name", "registered_model", "model_alias"),
    ]
    """A version number; an alias such as `"@champion"`, with which the endpoint moves; or a selector, of
    which `{alias: champion}` means the same as `"@champion"`. The plan resolves it to a number; the cluster
    never asks the registry."""
    min_replicas: Annotated[int, Field(ge=1)] = 1
    """The least number of replicas."""
    max_replicas: Annotated[int, Field(ge=1)] | None = None
    """The greatest number of replicas; Ray scales in between by the ongoing requests. Default:
    `min_replicas`."""
    num_cpus: Annotated[float, Field(ge=0), AfterValidator(_quantity)] = 1.0
    """CPUs that Ray reserves for a replica. Ray doesn't enforce the limit."""
    num_gpus: Annotated[float, Field(ge=0), AfterValidator(_quantity), AfterValidator(_gpus)] = 0.0
    """GPUs that Ray reserves for a replica: a part of one GPU, or whole GPUs."""
    max_ongoing_requests: Annotated[int, Field(ge=1)] = 64
    """The most requests that a replica handles at once, slow ones in threads of their own; more wait."""
    max_queued_requests: Annotated[int, Field(ge=-1)] = 1000
    """The most requests that wait for a replica; others get 503 at once, with `Retry-After`. -1: no limit."""
    timeout: Annotated[float, Field(gt=0)] = 60.0
    """Seconds until a request is answered with 504. The default is that of MLflow's server."""
    environment_vars: Annotated[
        Mapping[str, str], AfterValidator(_variables), PlainSerializer(dict, return_type=dict)
    ] = {}
    """Environment variables of the replicas. Write a secret as a reference, `"{{ env.NAME }}"`: each node
    looks it up in its own environment, and its value is stored nowhere."""

    follows: Annotated[str | None, Derived()] = None
    """The alias that led to the version, as written; None for a number."""
    location: Annotated[str | None, Derived()] = None
    """Where the replicas load the model from: the version's storage location."""
    state: Annotated[str | None, Derived(), Health()] = None
    """Ray's status of the app where it isn't healthy; otherwise None."""
    redeployed: Annotated[int, Derived()] = 0
    """The number of times that the entity was redeployed unchanged because its app had failed."""

    @model_validator(mode="after")
    def _replicas(self) -> ServedEntity:
        if self.max_replicas is not None and self.max_replicas < self.min_replicas:
            raise ValueError(f"`max_replicas` is less than `min_replicas`, {self.min_replicas}")
        return self

    def written(self) -> dict[str, Any]:
        """As a manifest would have it."""
        values = self.model_dump(warnings="none", exclude=set(find_fields(ServedEntity, Derived)))
        values["entity_version"] = self.follows or self.entity_version
        if self.max_replicas == self.min_replicas:
            values["max_replicas"] = None
        fields = ServedEntity.model_fields
        return {n: v for n, v in values.items() if fields[n].is_required() or v != fields[n].default}


class Route(Part):
    """The share of one served entity."""

    served_entity_name: str
    """The name of one of `served_entities`."""
    traffic_percentage: Annotated[int, Field(ge=0, le=100)]
    """Its share of the requests. With 0 it runs, and answers only requests that name it."""


class TrafficConfig(Part):
    """How the endpoint distributes requests."""

    routes: Annotated[tuple[Route, ...], ByKey("served_entity_name")] = ()
    """One route for each served entity; the percentages add up to 100."""


class ServingEndpoint(Spec):
    """A URL that serves the predictions of one model version, or of several by their shares of the
    traffic."""

    kind: ClassVar[str] = "serving_endpoint"
    section: ClassVar[str] = "serving_endpoints"
    example = """\
serving_endpoints:
  - name: fraud
    served_entities:
      - name: champion
        entity_name: fraud
        entity_version: "@champion"
        min_replicas: 1
        max_replicas: 2
        num_cpus: 0.5
        num_gpus: 1
        max_ongoing_requests: 8
        max_queued_requests: 32
        timeout: 5
        environment_vars: {TOKEN: "{{ env.TOKEN }}"}
      - {name: challenger, entity_name: fraud, entity_version: 4}
    traffic_config:
      routes:
        - {served_entity_name: champion, traffic_percentage: 90}
        - {served_entity_name: challenger, traffic_percentage: 10}
    description: Scores card payments.
    tags: {team: risk}
    auth: none
"""
    store: ClassVar[Store] = Store.SERVE
    trait = Trait.ENDPOINT
    grantable = ResourceType.SERVING_ENDPOINT
    # a running app goes on without the registry's row
    holds: ClassVar[Mapping[str, Hold]] = {"model_version": Hold("version-in-use", taken_along=False)}

    name: Annotated[str, Key(), AfterValidator(_name)]
    """Part of the URL: `/serving-endpoints/<name>/invocations`. Unique in the cluster, across stacks."""
    served_entities: Annotated[tuple[ServedEntity, ...], ByKey("name"), Field(min_length=1)]
    """The model versions that answer."""
    traffic_config: TrafficConfig = TrafficConfig()
    """Shares of the requests. May be omitted with a single served entity."""
    description: str = ""
    """The endpoint's purpose."""
    tags: Tags = {}
    """Labels. The stack manages the declared keys and leaves all others alone."""
    auth: Literal["basic", "none"] = "basic"
    """Who may use the endpoint. `basic`: users of MLflow's auth database with a role that may `USE` it, and
    MLflow's administrators. `none`: everyone who can reach the cluster."""

    auth_database: Annotated[str, Derived()] = ""
    """The auth database's address for the endpoint, without a password."""
    runtime_env: Annotated[
        Mapping[str, Any],
        AfterValidator(MappingProxyType),
        PlainSerializer(dict, return_type=dict),
        Derived(),
    ] = {}
    """Ray's runtime environment, from `serve:` in lac.yaml."""
    state: Annotated[str | None, Derived(), Health()] = None
    """Ray's status of the endpoint's own app where it isn't healthy; otherwise None."""
    leftovers: Annotated[tuple[str, ...], Derived(), Health()] = ()
    """Ray apps of the endpoint that get no traffic: an interrupted apply left them."""

    @model_validator(mode="after")
    def _routes(self) -> ServingEndpoint:
        entities = [entity.name for entity in self.served_entities]
        routes = [route.served_entity_name for route in self.traffic_config.routes]
        for name, count in Counter(entities).items():
            if count > 1:
                raise ValueError(f"served entity `{name}` is listed twice")
        if not routes:
            if len(entities) > 1:
                raise ValueError("several served entities need `traffic_config` with a route for each")
            return self
        for name, count in Counter(routes).items():
            if name not in entities:
                raise ValueError(f"a route names `{name}`, which is not a served entity")
            if count > 1:
                raise ValueError(f"`{name}` has two routes")
        if left := [name for name in entities if name not in routes]:
            raise ValueError(f"`{left[0]}` has no route; give it one, with `traffic_percentage: 0` for none")
        total = sum(route.traffic_percentage for route in self.traffic_config.routes)
        if total != 100:
            raise ValueError(f"the routes' percentages add up to {total}, not to 100")
        return self

    def refs(self) -> Iterator[Address]:
        """The versions that it serves, where they are resolved, and the aliases that it follows."""
        for entity in self.served_entities:
            if isinstance(entity.entity_version, int):
                yield Address("model_version", (entity.entity_name, entity.entity_version))
        yield from self.follows()

    def follows(self) -> Iterator[Address]:
        """The aliases that say which versions it serves."""
        for entity in self.served_entities:
            if alias := alias_of(entity):
                yield Address("model_alias", (entity.entity_name, alias))

    def replica_values(self) -> Iterator[str]:
        """Of every served entity."""
        for entity in self.served_entities:
            yield from entity.environment_vars.values()

    def stands_for(self) -> Mapping[str, Address | None]:
        """The version of each served entity; None where it isn't resolved."""
        return {
            entity.name: Address("model_version", (entity.entity_name, entity.entity_version))
            if isinstance(entity.entity_version, int)
            else None
            for entity in self.served_entities
        }

    def renamed(self, before: Address, after: Address) -> Self:
        """Itself: a rename in the registry doesn't touch the apps on Ray, which keep the model's name that
        they were deployed with."""
        return self

    def written(self) -> dict[str, Any]:
        """As a manifest would have it: with aliases in place of the versions that they stood for."""
        values = super().written()
        values["served_entities"] = [entity.written() for entity in self.served_entities]
        values.pop("traffic_config", None)
        routes = self.traffic_config.routes
        if routes and not (len(routes) == 1 and routes[0].traffic_percentage == 100):
            values["traffic_config"] = {"routes": [route.model_dump(warnings="none") for route in routes]}
        return values


def alias_of(entity: ServedEntity) -> str | None:
    """The alias that an entity follows, resolved or not; None for a number."""
    text = entity.follows or entity.entity_version
    return text.removeprefix("@") if isinstance(text, str) else None
