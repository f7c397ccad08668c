"""Spec classes as manifests see them, without effects: what the tests of reading and of schemas declare."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from lifecycle_as_code.model.spec import ByKey, Derived, Key, Nest, Part, Ref, Spec, Store, Tags


def _no_slash(name: str) -> str:
    if "/" in name:
        raise ValueError("a name can't contain `/`")
    return name


def _alias(text: str) -> str:
    if not text.startswith("@"):
        raise ValueError("a version is a number or `@` and an alias")
    return text


class RegisteredModel(Spec):
    """A named model.

    Its versions are objects of their own.
    """

    kind = "registered_model"
    section = "registered_models"
    store = Store.REGISTRY

    name: Annotated[str, AfterValidator(_no_slash), Key()]
    """Unique."""
    description: str = ""
    """Markdown."""
    tags: Tags = Field(default_factory=dict)
    """Labels."""


class ModelVersion(Spec):
    """One version."""

    kind = "model_version"
    section = "model_versions"
    store = Store.REGISTRY
    nests = (Nest("registered_models", "versions", {"model": "name"}),)

    model: Annotated[str, Key(), Ref("registered_model")]
    version: Annotated[int, Key(), Field(ge=1)]
    source: str
    run_id: str | None = None
    stage: Literal["None", "Staging", "Production", "Archived"] = "None"
    storage_location: Annotated[str | None, Derived()] = None


class ModelAlias(Spec):
    """A movable name."""

    kind = "model_alias"
    section = "model_aliases"
    store = Store.REGISTRY
    nests = (Nest("registered_models", "aliases", {"model": "name"}, map_to=("alias", "version")),)

    model: Annotated[str, Key()]
    alias: Annotated[str, Key(), Field(pattern="^[a-z]+$")]
    version: Annotated[int, Field(ge=1)]


class Permission(Spec):
    """Who may do what."""

    kind = "permission"
    section = "permissions"
    store = Store.AUTH
    nests = tuple(
        Nest(section, "permissions", {"resource": "name"}, {"resource_type": kind}, claims=True)
        for section, kind in (
            ("registered_models", "registered_model"),
            ("serving_endpoints", "serving_endpoint"),
        )
    )

    role: Annotated[str, Key()]
    resource_type: Annotated[Literal["registered_model", "serving_endpoint"], Key()]
    resource: Annotated[str, Key()]
    level: Literal["READ", "USE", "EDIT", "MANAGE", "DENY"]


class Route(Part):
    """Where requests go."""

    served_entity_name: str
    traffic_percentage: Annotated[int, Field(ge=0, le=100)]


class TrafficConfig(Part):
    """The routes."""

    routes: tuple[Route, ...]

    @model_validator(mode="after")
    def _adds_up(self) -> TrafficConfig:
        if sum(route.traffic_percentage for route in self.routes) != 100:
            raise ValueError("the routes must add up to 100")
        return self


class ServedEntity(Part):
    """One model behind an endpoint."""

    name: str
    entity_name: str
    entity_version: Annotated[int, Field(ge=1)] | Annotated[str, AfterValidator(_alias)]
    min_replicas: int = 1
    num_cpus: float = 1.0
    scale_to_zero: bool = False
    environment_vars: Mapping[str, Annotated[str, Field(max_length=64)]] = {}
    resolved: Annotated[str | None, Derived()] = None


class ServingEndpoint(Spec):
    """Answers requests."""

    kind = "serving_endpoint"
    section = "serving_endpoints"
    store = Store.SERVE

    name: Annotated[str, Key()]
    served_entities: Annotated[tuple[ServedEntity, ...], ByKey("name"), Field(min_length=1)]
    traffic_config: TrafficConfig | None = None
    tags: Tags = Field(default_factory=dict)


SPECS: Mapping[str, type[Spec]] = {
    spec.kind: spec for spec in (RegisteredModel, ModelVersion, ModelAlias, Permission, ServingEndpoint)
}
