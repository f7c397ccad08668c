"""The JSON Schemas: an editor accepts and refuses what reading does, where it can know."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from support.sample_kinds import SPECS

from lifecycle_as_code.manifest.schema import manifest_schema, project_schema

MANIFEST = manifest_schema(SPECS)
PROJECT = project_schema()


def refused(schema: Mapping[str, Any], text: str) -> list[str]:
    return [error.message for error in Draft202012Validator(schema).iter_errors(yaml.safe_load(text))]


@pytest.mark.parametrize("schema", [MANIFEST, PROJECT], ids=["manifest", "project"])
def test_it_is_a_schema(schema: dict[str, Any]) -> None:
    Draft202012Validator.check_schema(schema)
    text = json.dumps(schema)
    assert '"title": "Name"' not in text


def test_it_is_made_the_same_every_time() -> None:
    assert json.dumps(manifest_schema(SPECS)) == json.dumps(MANIFEST)
    assert json.dumps(project_schema()) == json.dumps(PROJECT)


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "registered_models:",
        "registered_models: []",
        "x-defaults: {a: b}",
        "registered_models: [{name: a, description: b, tags: {c: d}}]",
        "registered_models: [{name: a, versions: [{version: 1, source: s}]}]",
        "registered_models: [{name: a, aliases: {champion: 1}}]",
        "registered_models: [{name: a, permissions: [{role: r, level: READ}], exclusive: all}]",
        "registered_models: [{name: a, permissions: []}]",
        "model_versions: [{model: a, version: 1, source: s, run_id: null, stage: Staging}]",
        "permissions: [{role: r, resource_type: serving_endpoint, resource: '*', level: USE}]",
        "serving_endpoints: [{name: e, served_entities: [{name: a, entity_name: m, entity_version: 1}]}]",
        "serving_endpoints: [{name: e, served_entities: [{name: a, entity_name: m, entity_version: '@c'}]}]",
        # a template may stand for any scalar
        "model_versions: [{model: a, version: '{{ var.n }}', source: s, stage: '{{ var.s }}'}]",
        "registered_models: [{name: a, aliases: {champion: '{{ var.n }}'}}]",
        "model_aliases: [{model: a, alias: '{{ var.A }}', version: 1}]",
        "permissions: [{role: r, resource_type: '{{ var.t }}', resource: x, level: '{{ var.l }}'}]",
        (
            "serving_endpoints: [{name: e, served_entities: [{name: a, entity_name: m, entity_version: 1, "
            "min_replicas: '{{ 1 }}', num_cpus: '{{ 0.5 }}', scale_to_zero: '{{ true }}'}]}]"
        ),
    ],
)
def test_what_it_accepts(text: str) -> None:
    assert refused(MANIFEST, text) == []


@pytest.mark.parametrize(
    "text",
    [
        "registered_modles: []",
        "- a",
        "registered_models: {a: {}}",
        "registered_models: [{}]",
        "registered_models: [{name: 3}]",
        "registered_models: [{name: a, descripton: b}]",
        "registered_models: [{name: a, tags: {b: 1.10}}]",
        "registered_models: [{name: a, versions: [{version: 1}]}]",
        "registered_models: [{name: a, versions: [{model: a, version: 1, source: s}]}]",
        "registered_models: [{name: a, aliases: [champion]}]",
        "registered_models: [{name: a, aliases: {champion: three}}]",
        "registered_models: [{name: a, aliases: {Champion: 1}}]",
        "registered_models: [{name: a, exclusive: all}]",
        "registered_models: [{name: a, permissions: [], exclusive: some}]",
        "registered_models: [{name: a, permissions: [{role: r, level: REED}]}]",
        "registered_models: [{name: a, permissions: [{role: r, level: READ, resource: a}]}]",
        "model_versions: [{model: a, version: 0, source: s}]",
        "model_versions: [{model: a, version: '1', source: s}]",
        "model_versions: [{model: a, version: 1, source: s, storage_location: x}]",
        "model_aliases: [{model: a, alias: A1, version: 1}]",
        "serving_endpoints: [{name: e, served_entities: [{name: a, entity_name: m}]}]",
        (
            "serving_endpoints: [{name: e, served_entities: [{name: a, entity_name: m, entity_version: 1}], "
            "traffic_config: "
            "{routes: [{served_entity_name: a, traffic_percentage: 101}]}}]"
        ),
        (
            "serving_endpoints: [{name: e, served_entities: "
            "[{name: a, entity_name: m, entity_version: 1, resolved: x}]}]"
        ),
    ],
)
def test_what_it_refuses(text: str) -> None:
    assert refused(MANIFEST, text)


def test_docstrings_are_its_descriptions() -> None:
    model = MANIFEST["$defs"]["registered_model"]
    assert model["properties"]["description"]["description"] == "Markdown."
    assert MANIFEST["properties"]["registered_models"]["description"].startswith(
        "A named model.\n\nIts versions"
    )
    assert model["properties"]["versions"]["description"] == "One version."
    assert "drift" in model["properties"]["permissions"]["description"]


@pytest.mark.parametrize(
    "text",
    [
        "name: payments",
        "{name: a, include: [models/*.yaml], store: 'sqlite:///x.db', serve: local}",
        "{name: a, variables: {a: 1, b: [c]}}",
        "{name: a, environments: {prod: {store: '{{ env.S }}'}, dev: , test: {}}}",
        "{name: a, serve: {address: 'http://h', token: '{{ env.T }}', runtime_env: {pip: [x]}}}",
    ],
)
def test_what_it_accepts_of_lac_yaml(text: str) -> None:
    assert refused(PROJECT, text) == []


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "name: Payments",
        "{name: a, stroe: x}",
        "{name: a, include: models}",
        "{name: a, serve: {token: x}}",
        "{name: a, environments: {prod: {name: b}}}",
        "{name: a, workspace: 3}",
    ],
)
def test_what_it_refuses_of_lac_yaml(text: str) -> None:
    assert refused(PROJECT, text)
