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
from ...serving.llm import Task
from ...serving.oidc import check_url
from ...serving.references import is_reference
from ...stores.mlflow import rules
from .external import ExternalModel, Word
from .gateway import AiGateway, compact

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")
_HUB: Final = re.compile(r"hf://(?:[\w.-]+/)?[\w.-]+(?:@[\w./-]+)?", re.ASCII)
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
    if not text.startswith("@"):
        way_out = "; remove the quotes" if text.isdecimal() else ""
        raise ValueError(f"a version is a number or `@` and an alias{way_out}")
    if problem := rules.alias(text[1:]):
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


def _source(text: str) -> str:
    if not (text.startswith("/") or _HUB.fullmatch(text)):
        raise ValueError("an absolute path on the nodes, or `hf://<organization>/<model>`")
    return text


class ServedEntity(Part):
    """One model behind the endpoint: a version of a registered model, or a model at a provider
    (`external_model`), or a language model's files (`source`)."""

    way_outs: ClassVar[Mapping[str, str]] = {
        "model_name": "use `entity_name`",
        "model_version": "use `entity_version`",
        "workload_type": "use `num_cpus` and `num_gpus`",
        "min_provisioned_concurrency": "use `min_replicas` and `workload_size`",
        "max_provisioned_concurrency": "use `max_replicas` and `workload_size`",
        "instance_profile_arn": "remove it: replicas have their nodes' credentials, and `environment_vars`",
        "burst_scaling_enabled": "remove it: replicas scale up to `max_replicas`",
        **dict.fromkeys(
            ("min_provisioned_throughput", "max_provisioned_throughput", "provisioned_model_units"),
            "use `min_replicas` and `max_replicas`",
        ),
    }

    name: Annotated[str, AfterValidator(_name)]
    """The name in the endpoint's answers and routes, such as `champion`."""
    entity_name: Annotated[str, AfterValidator(rules.validator(rules.model_name))] | None = None
    """The registered model. Needs `entity_version`."""
    entity_version: Annotated[
        Annotated[int, Field(ge=1, le=rules.LAST_VERSION)]
        | Annotated[str, AfterValidator(_check_alias)]
        | VersionSelector
        | None,
        AfterValidator(_shorten_alias),
        Selects("entity_name", "registered_model", "model_alias"),
    ] = None
    """A version number; an alias such as `"@champion"`, with which the endpoint moves; or a selector, of
    which `{alias: champion}` means the same as `"@champion"`. The plan resolves it to a number; the cluster
    never asks the registry."""
    external_model: ExternalModel | None = None
    """A model at a provider, such as OpenAI. The endpoint's own process asks the provider."""
    task: Task | None = None
    """What a language model does: the endpoint then answers in OpenAI's shape. For registered models of the
    flavors `transformers` and `sentence_transformers`, and for `source`."""
    source: Annotated[str, AfterValidator(_source)] | None = None
    """A language model's files without a registered model: an absolute path on the nodes, or `hf://` and a
    name at Hugging Face. Needs `task`."""
    workload_size: Literal["Small", "Medium", "Large"] | None = None
    """Databricks' sizes: 4, 16 or 64 requests at once in a replica, in place of `max_ongoing_requests`."""
    scale_to_zero_enabled: bool = False
    """Whether the last replica stops when no request has come for a while. The next request waits until one
    has started."""
    min_replicas: Annotated[int, Field(ge=0)] = 1
    """The least number of replicas. None with `scale_to_zero_enabled`."""
    max_replicas: Annotated[int, Field(ge=1)] | None = None
    """The greatest number of replicas; Ray scales in between by the ongoing requests. Default:
    `min_replicas`."""
    num_cpus: Annotated[float, Field(ge=0), AfterValidator(_quantity)] = 1.0
    """CPUs that Ray reserves for a replica. Ray doesn't enforce the limit."""
    num_gpus: Annotated[float, Field(ge=0), AfterValidator(_quantity), AfterValidator(_gpus)] = 0.0
    """GPUs that Ray reserves for a replica: a part of one GPU, or whole GPUs."""
    max_ongoing_requests: Annotated[int, Field(ge=1)] | None = None
    """The most requests that a replica handles at once, slow ones in threads of their own; more wait.
    Default: 64; 1000 for a model at a provider."""
    max_queued_requests: Annotated[int, Field(ge=-1)] = 1000
    """The most requests that wait for a replica; others get 503 at once, with `Retry-After`. -1: no limit."""
    timeout: Annotated[float, Field(gt=0)] = 60.0
    """Seconds until a request is answered with 504. The default is that of MLflow's server."""
    first_token_timeout: Annotated[float, Field(gt=0)] | None = None
    """For a model at a provider: seconds until a stream's first token must have come."""
    max_retries: Annotated[int, Field(ge=0, le=10)] = 2
    """For a model at a provider: how often a request that failed before its first token is repeated."""
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
    secrets: Annotated[
        Mapping[str, Mapping[str, Any]],
        AfterValidator(MappingProxyType),
        PlainSerializer(dict, return_type=dict),
        Derived(),
    ] = {}
    """Where the secrets that it names come from, by `secrets:` in lac.yaml: a variable, file or command."""

    @model_validator(mode="after")
    def _replicas(self) -> ServedEntity:
        if self.max_replicas is not None and self.max_replicas < self.min_replicas:
            raise ValueError(f"`max_replicas` is less than `min_replicas`, {self.min_replicas}")
        if self.workload_size is not None and self.max_ongoing_requests is not None:
            raise ValueError("`workload_size` and `max_ongoing_requests` exclude each other")
        if not self.min_replicas and not self.scale_to_zero_enabled:
            raise ValueError("`min_replicas: 0` needs `scale_to_zero_enabled: true`")
        if self.scale_to_zero_enabled and self.min_replicas > 1:
            raise ValueError("`scale_to_zero_enabled` and `min_replicas` exclude each other")
        return self

    @model_validator(mode="after")
    def _model(self) -> ServedEntity:
        fields = ServedEntity.model_fields
        ways = [way for way in ("entity_name", "external_model", "source") if getattr(self, way) is not None]
        if not ways:
            raise ValueError(
                "a served entity needs `entity_name` and `entity_version`, or `external_model`, or `source`"
            )
        if len(ways) > 1:
            raise ValueError(f"`{ways[0]}` and `{ways[1]}` exclude each other")
        if (self.entity_name is None) != (self.entity_version is None):
            needed = "entity_version" if self.entity_version is None else "entity_name"
            raise ValueError(f"a served entity needs `{needed}`, too")
        if self.source is not None and self.task is None:
            raise ValueError("`source` needs `task`, such as `task: llm/v1/chat`")
        if self.external_model is None:
            for name in ("first_token_timeout", "max_retries"):
                if getattr(self, name) != fields[name].default:
                    raise ValueError(f"`{name}` is for `external_model` alone")
        elif spare := [name for name in _HOSTED if getattr(self, name) != fields[name].default]:
            raise ValueError(f"`{spare[0]}` has no meaning for `external_model`: its provider runs it")
        return self

    @classmethod
    def upgrade(cls, data: Mapping[str, Any]) -> Mapping[str, Any]:
        """The default of `max_ongoing_requests` was written as its number."""
        is_former = "max_retries" not in data and data.get("max_ongoing_requests") == _PLACES
        return {**data, "max_ongoing_requests": None} if is_former else data

    @property
    def model(self) -> str:
        """The registered model's name; empty for a model without one."""
        return self.entity_name or ""

    @property
    def kind_of_task(self) -> Task | None:
        """What a language model does, wherever it runs; None for another model."""
        return self.external_model.task if self.external_model is not None else self.task

    def replica_values(self) -> Iterator[str]:
        """Values that its replicas look up, references among them."""
        yield from self.environment_vars.values()
        if self.external_model is not None:
            yield from self.external_model.values()

    def written(self) -> dict[str, Any]:
        """As a manifest would have it."""
        values = self.model_dump(warnings="none", exclude=set(find_fields(ServedEntity, Derived)))
        values["entity_version"] = self.follows or self.entity_version
        if self.max_replicas == max(self.min_replicas, 1):
            values["max_replicas"] = None
        if self.scale_to_zero_enabled:
            values["min_replicas"] = 1
        if self.external_model is not None:
            values["external_model"] = self.external_model.written()
        fields = ServedEntity.model_fields
        return {n: v for n, v in values.items() if fields[n].is_required() or v != fields[n].default}


_HOSTED: Final = ("num_cpus", "num_gpus", "environment_vars", "scale_to_zero_enabled", "task")
"""Fields about replicas that hold a model."""

_PLACES: Final = 64
"""The requests that a replica handles at once, by default."""

_SIZES: Final[Mapping[str, int]] = {"Small": 4, "Medium": 16, "Large": 64}


def places_of(entity: ServedEntity) -> int:
    """The requests that a replica handles at once where `max_ongoing_requests` doesn't say it."""
    if entity.workload_size is not None:
        return _SIZES[entity.workload_size]
    return 1000 if entity.external_model is not None else _PLACES


def unless_default(entity: ServedEntity, places: int | None) -> int | None:
    """The requests that a replica handles at once; None where that is the default, as specs have it."""
    return None if places == places_of(entity) else places


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


def _issuer(url: str) -> str:
    if problem := check_url(url):
        raise ValueError(problem)
    return url


class Oidc(Part):
    """An OpenID Connect issuer, whose tokens sign MLflow's users in."""

    issuer: Annotated[str, AfterValidator(_issuer)]
    """The issuer's address, as in its tokens: `https`, or `http` on this machine."""
    audience: Word
    """The audience that a token must be for."""
    username_claim: Word = "email"
    """The claim with the name of the MLflow user."""
    jwks_url: Annotated[str, AfterValidator(_issuer)] | None = None
    """The address of the issuer's keys, if its discovery document doesn't name it."""


class Auth(Part):
    """Access by MLflow's users, with settings."""

    oidc: Oidc | None = None
    """Bearer tokens of this issuer are accepted, too."""
    grace: Annotated[float, Field(ge=0, le=3600)] = 0.0
    """Seconds for which users who were let in before are still let in while the auth database doesn't answer;
    then they get 503."""


def _shorten_auth(auth: Any) -> Any:
    """Settings that say nothing are `basic`, as Ray's config gives them back."""
    return "basic" if auth == Auth() else auth


def _shorten_gateway(gateway: AiGateway | None) -> AiGateway | None:
    return None if gateway == AiGateway() else gateway


class ServingEndpoint(Spec):
    """A URL that serves one model, or several by their shares of the traffic: versions of registered models,
    models at providers, language models."""

    way_outs: ClassVar[Mapping[str, str]] = {
        "config": "write its fields, such as `served_entities`, right below the endpoint",
        "served_models": "use `served_entities`, with `entity_name` and `entity_version`",
        "rate_limits": "write them below `ai_gateway`",
        "auto_capture_config": "use `ai_gateway: {inference_table_config: {enabled: true}}`",
        "telemetry_config": "use `ai_gateway: {usage_tracking_config: {enabled: true}}`",
        "route_optimized": "remove it: requests reach the endpoint's replicas directly",
        **dict.fromkeys(
            ("budget_policy_id", "email_notifications", "provider_config", "timeouts"),
            "remove it: nothing here does that",
        ),
    }
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
    auth:
      oidc: {issuer: "https://login.example", audience: fraud, username_claim: email}
      grace: 60
    ai_gateway:
      rate_limits:
        - {calls: 6000, renewal_period: minute}
        - {calls: 100, key: user, renewal_period: minute}
      usage_tracking_config: {enabled: true}
      inference_table_config: {enabled: true, sampling_fraction: 0.1, exclude_columns: [card]}
      fallback_config: {enabled: true}
"""
    store: ClassVar[Store] = Store.SERVE
    trait = Trait.ENDPOINT
    grantable = ResourceType.SERVING_ENDPOINT
    # a running app goes on without the registry's row
    holds: ClassVar[Mapping[str, Hold]] = {"model_version": Hold("version-in-use", taken_along=False)}

    name: Annotated[str, Key(), AfterValidator(_name)]
    """Part of the URL: `/serving-endpoints/<name>/invocations`. Unique in the cluster, across stacks."""
    served_entities: Annotated[tuple[ServedEntity, ...], ByKey("name"), Field(min_length=1)]
    """The models that answer."""
    traffic_config: TrafficConfig = TrafficConfig()
    """Shares of the requests. May be omitted with a single served entity."""
    description: str = ""
    """The endpoint's purpose."""
    tags: Tags = {}
    """Labels. The stack manages the declared keys and leaves all others alone."""
    auth: Annotated[Literal["basic", "none"] | Auth, AfterValidator(_shorten_auth)] = "basic"
    """Who may use the endpoint. `basic`: users of MLflow's auth database with a role that may `USE` it, and
    MLflow's administrators; by password, or by a token that `lac token create` made. `none`: everyone who can
    reach the cluster. A mapping: as `basic`, with the settings in it."""
    ai_gateway: Annotated[AiGateway | None, AfterValidator(_shorten_gateway)] = None
    """Rate limits, guardrails, usage tracking and fallback."""

    auth_database: Annotated[str, Derived()] = ""
    """The auth database's address for the endpoint, without a password."""
    usage_store: Annotated[str, Derived()] = ""
    """The store of usage rows for the endpoint, without a password."""
    rate_limit_store: Annotated[str, Derived()] = ""
    """The store of the counts of rate limits for several replicas, without a password."""
    fallback_order: Annotated[str, Derived()] = ""
    """With fallback: the served entities in the order in which they answer in another's place. It is the only
    thing that their order means."""
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

    @model_validator(mode="after")
    def _tasks(self) -> ServingEndpoint:
        tasks = {entity.name: entity.kind_of_task for entity in self.served_entities}
        if len({*tasks.values()}) > 1:
            first, *_, last = tasks
            raise ValueError(
                f"the served entities of an endpoint have one task; "
                f"`{first}` has {tasks[first] or 'none'}, `{last}` {tasks[last] or 'none'}"
            )
        gateway = self.ai_gateway
        if gateway and gateway.guardrails and None in tasks.values():
            raise ValueError("`guardrails` read the texts of language models, which have a `task`")
        if (
            gateway
            and gateway.guardrails
            and gateway.guardrails.output
            and "llm/v1/embeddings" in tasks.values()
        ):
            raise ValueError("`guardrails.output` reads texts, and answers of `llm/v1/embeddings` have none")
        for limit in gateway.rate_limits if gateway else ():
            if limit.unit == "tokens" and None in tasks.values():
                raise ValueError("a rate limit on `tokens` is for language models, which have a `task`")
            if limit.principal is not None and not self.requires_users:
                raise ValueError("a rate limit with `principal` needs users, and `auth: none` asks for none")
        return self

    @property
    def requires_users(self) -> bool:
        """Whether the endpoint checks access."""
        return self.auth != "none"

    @property
    def gateway(self) -> AiGateway:
        """What it does beside answering; nothing by default."""
        return self.ai_gateway or AiGateway()

    def refs(self) -> Iterator[Address]:
        """The versions that it serves, where they are resolved, and the aliases that it follows."""
        for entity in self.served_entities:
            if isinstance(entity.entity_version, int):
                yield Address("model_version", (entity.model, entity.entity_version))
        yield from self.follows()

    def follows(self) -> Iterator[Address]:
        """The aliases that say which versions it serves."""
        for entity in self.served_entities:
            if alias := alias_of(entity):
                yield Address("model_alias", (entity.model, alias))

    def replica_values(self) -> Iterator[str]:
        """Of every served entity."""
        for entity in self.served_entities:
            yield from entity.replica_values()

    def stands_for(self) -> Mapping[str, Address | None]:
        """The version of each served entity; None where it isn't resolved."""
        return {
            entity.name: Address("model_version", (entity.model, entity.entity_version))
            if isinstance(entity.entity_version, int)
            else None
            for entity in self.served_entities
            if entity.entity_name is not None
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
        if isinstance(self.auth, Auth):
            values["auth"] = compact(self.auth)
        if self.ai_gateway is not None:
            values["ai_gateway"] = self.ai_gateway.written()
        return values


def alias_of(entity: ServedEntity) -> str | None:
    """The alias that an entity follows, resolved or not; None for a number."""
    text = entity.follows or entity.entity_version
    return text.removeprefix("@") if isinstance(text, str) else None
