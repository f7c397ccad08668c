"""What people write about a serving endpoint. Field names are those of Databricks' model serving."""

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
    fields_marked,
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
    """Ray: it counts in ten-thousandths."""
    if 0 < number < 0.0001:
        raise ValueError("Ray counts in steps of 0.0001: that is the least")
    return number


def _gpus(number: float) -> float:
    """Ray: a part of one GPU, or whole ones."""
    if number > 1 and number != int(number):
        raise ValueError("a replica has a part of one GPU, or whole ones")
    return number


def _followed(text: str) -> str:
    problem = rules.alias(text[1:]) if text.startswith("@") else "a version is a number or `@` and an alias"
    if problem:
        raise ValueError(problem)
    return text


def _as_followed(version: int | str | VersionSelector) -> int | str | VersionSelector:
    if isinstance(version, VersionSelector) and version.alias is not None:
        return _followed(f"@{version.alias}")
    return version


def _variables(given: Mapping[str, str]) -> Mapping[str, str]:
    """No message repeats a value: it may be a secret, though it shouldn't."""
    for name, value in given.items():
        if not _VARIABLE.fullmatch(name):
            raise ValueError(f"`{name}` can't be the name of an environment variable")
        if "{{" in value and not is_reference(value):
            raise ValueError(f"`{name}`: a secret stands alone, as `{{{{ env.NAME }}}}`")
    return MappingProxyType(given)


class ServedEntity(Part):
    """One version of a registered model behind the endpoint."""

    name: Annotated[str, AfterValidator(_name)]
    """What the endpoint's answers and its routes call it, such as `champion`."""
    entity_name: Annotated[str, AfterValidator(rules.validator(rules.model_name))]
    """The registered model."""
    entity_version: Annotated[
        Annotated[int, Field(ge=1, le=rules.LAST_VERSION)]
        | Annotated[str, AfterValidator(_followed)]
        | VersionSelector,
        AfterValidator(_as_followed),
        Selects("entity_name", "registered_model", "model_alias"),
    ]
    """A version number, or an alias such as `"@champion"`: then the endpoint moves when the alias does. Or a
    selector, of which `{alias: champion}` is another way to write `"@champion"`. The plan says which version
    that is; the cluster never asks."""
    min_replicas: Annotated[int, Field(ge=1)] = 1
    """How many replicas run at least."""
    max_replicas: Annotated[int, Field(ge=1)] | None = None
    """How many run at most; Ray scales in between, by the requests under way. By default `min_replicas`."""
    num_cpus: Annotated[float, Field(ge=0), AfterValidator(_quantity)] = 1.0
    """CPUs that Ray sets aside for a replica. It counts them and doesn't enforce them."""
    num_gpus: Annotated[float, Field(ge=0), AfterValidator(_quantity), AfterValidator(_gpus)] = 0.0
    """GPUs that Ray sets aside for a replica: a part of one, or whole ones."""
    max_ongoing_requests: Annotated[int, Field(ge=1)] = 5
    """How many requests a replica works on at once; more wait. Ray's own default."""
    timeout: Annotated[float, Field(gt=0)] = 60.0
    """Seconds until a request is answered with 504. The default of MLflow's own server."""
    environment_vars: Annotated[
        Mapping[str, str], AfterValidator(_variables), PlainSerializer(dict, return_type=dict)
    ] = {}
    """Variables of the replicas' environment. A secret is a reference, `"{{ env.NAME }}"`, that is looked up
    on the node: nothing else of it is kept anywhere."""

    follows: Annotated[str | None, Derived()] = None
    """The alias that the version was resolved through, as written; None for a number."""
    location: Annotated[str | None, Derived()] = None
    """Where the replicas load the model from: the version's storage location."""
    state: Annotated[str | None, Derived(), Health()] = None
    """Ray's word for what is wrong with it; None when nothing is."""
    redeployed: Annotated[int, Derived()] = 0
    """How many times the same was brought up anew because it had broken."""

    @model_validator(mode="after")
    def _replicas(self) -> ServedEntity:
        if self.max_replicas is not None and self.max_replicas < self.min_replicas:
            raise ValueError(f"`max_replicas` is less than `min_replicas`, {self.min_replicas}")
        return self

    def written(self) -> dict[str, Any]:
        """As a person would write it."""
        values = self.model_dump(warnings="none", exclude=set(fields_marked(ServedEntity, Derived)))
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
    """Its share of the requests. With 0 it runs, and can be asked by its name only."""


class TrafficConfig(Part):
    """How requests are shared out."""

    routes: Annotated[tuple[Route, ...], ByKey("served_entity_name")] = ()
    """One for each served entity, adding up to 100."""


class ServingEndpoint(Spec):
    """One URL that answers with the predictions of one model version, or of several by their shares."""

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
    # what runs goes on running without the registry's row
    holds: ClassVar[Mapping[str, Hold]] = {"model_version": Hold("version-in-use", taken_along=False)}

    name: Annotated[str, Key(), AfterValidator(_name)]
    """Part of the URL: `/serving-endpoints/<name>/invocations`. One per cluster, whatever the stack."""
    served_entities: Annotated[tuple[ServedEntity, ...], ByKey("name"), Field(min_length=1)]
    """What answers."""
    traffic_config: TrafficConfig = TrafficConfig()
    """Shares of the requests; may be left out where there is one served entity only."""
    description: str = ""
    """What it is for."""
    tags: Tags = {}
    """Labels. A declared key is ours; keys that others set are left alone."""
    auth: Literal["basic", "none"] = "basic"
    """`basic`: users of MLflow's auth database with a role that may `USE` the endpoint, and MLflow's
    administrators. `none`: whoever reaches the cluster."""

    auth_database: Annotated[str, Derived()] = ""
    """Where the endpoint looks users up; never with a password."""
    runtime_env: Annotated[
        Mapping[str, Any],
        AfterValidator(MappingProxyType),
        PlainSerializer(dict, return_type=dict),
        Derived(),
    ] = {}
    """Ray's runtime environment, from `serve:` in lac.yaml."""
    state: Annotated[str | None, Derived(), Health()] = None
    """Ray's word for what is wrong with the endpoint itself; None when nothing is."""
    leftovers: Annotated[tuple[str, ...], Derived(), Health()] = ()
    """Ray apps of the endpoint that nothing routes to: an interrupted apply's."""

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
                raise ValueError(f"a route names `{name}`, which is none of the served entities")
            if count > 1:
                raise ValueError(f"`{name}` has two routes")
        if left := [name for name in entities if name not in routes]:
            raise ValueError(f"`{left[0]}` has no route; give it one, with `traffic_percentage: 0` for none")
        total = sum(route.traffic_percentage for route in self.traffic_config.routes)
        if total != 100:
            raise ValueError(f"the routes' percentages add up to {total}, not to 100")
        return self

    def refs(self) -> Iterator[Address]:
        """The versions that it serves, as far as they are resolved, and the aliases that it follows."""
        for entity in self.served_entities:
            if isinstance(entity.entity_version, int):
                yield Address("model_version", (entity.entity_name, entity.entity_version))
        yield from self.follows()

    def follows(self) -> Iterator[Address]:
        """The aliases that say which versions it serves."""
        for entity in self.served_entities:
            if alias := followed(entity):
                yield Address("model_alias", (entity.entity_name, alias))

    def stands_for(self) -> Mapping[str, Address | None]:
        """The version behind each served entity, as far as they are resolved."""
        return {
            entity.name: Address("model_version", (entity.entity_name, entity.entity_version))
            if isinstance(entity.entity_version, int)
            else None
            for entity in self.served_entities
        }

    def renamed(self, before: Address, after: Address) -> Self:
        """Itself: a rename in the registry doesn't touch what runs on Ray, which goes on under the name that
        it was brought up with."""
        return self

    def written(self) -> dict[str, Any]:
        """As a person would write it: with aliases in place of the versions that they stood for."""
        values = super().written()
        values["served_entities"] = [entity.written() for entity in self.served_entities]
        values.pop("traffic_config", None)
        routes = self.traffic_config.routes
        if routes and not (len(routes) == 1 and routes[0].traffic_percentage == 100):
            values["traffic_config"] = {"routes": [route.model_dump(warnings="none") for route in routes]}
        return values


def followed(entity: ServedEntity) -> str | None:
    """The alias that an entity follows, resolved or not; None for a number."""
    text = entity.follows or entity.entity_version
    return text.removeprefix("@") if isinstance(text, str) else None
