"""Names, hashes and configs of an endpoint's apps."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from lifecycle_as_code.stores.ray.apps import (
    Mark,
    ServedEntity,
    Settings,
    entity_app,
    entity_name,
    ingress_app,
    mark,
)

ENTITY = ServedEntity("champion", "fraud", 3, "/models/3", environment_vars={"A": "{{ env.A }}"})

FIXED: dict[str, dict[str, Any]] = {
    "name": {"name": "challenger"},
    "model": {"entity_name": "other"},
    "version": {"entity_version": 4},
    "place": {"model_uri": "/models/4"},
    "variables": {"environment_vars": {"A": "{{ env.B }}"}},
    "tracking": {"tracking_uri": "http://mlflow"},
    "runtime": {"runtime_env": {"pip": ["x"]}},
    "cpus": {"num_cpus": 2},
    "gpus": {"num_gpus": 1},
    "scaling as such": {"max_replicas": 3},
}
IN_PLACE: dict[str, dict[str, Any]] = {
    "replicas": {"min_replicas": 2, "max_replicas": 2},
    "requests": {"max_ongoing_requests": 50},
    "timeout": {"timeout": 5.0},
    "the same number written otherwise": {"num_cpus": 1},
}


@pytest.mark.parametrize("changed", FIXED.values(), ids=FIXED)
def test_what_needs_new_replicas_is_another_app(changed: dict[str, Any]) -> None:
    assert entity_name("s", "e", replace(ENTITY, **changed)) != entity_name("s", "e", ENTITY)


@pytest.mark.parametrize("changed", IN_PLACE.values(), ids=IN_PLACE)
def test_what_changes_in_place_is_the_same_app(changed: dict[str, Any]) -> None:
    assert entity_name("s", "e", replace(ENTITY, **changed)) == entity_name("s", "e", ENTITY)


def test_stacks_and_endpoints_dont_share_entities() -> None:
    names = {entity_name(stack, endpoint, ENTITY) for stack in ("s", "t") for endpoint in ("e", "f")}
    assert len(names) == 4


def test_a_config_tells_whose_it_is() -> None:
    ingress = ingress_app("s", "e", targets=[], settings=Settings({"mode": "none"}), spec={})
    assert mark(entity_app("s", "e", ENTITY)) == Mark("s", "e", "champion")
    assert mark(ingress) == Mark("s", "e", None)
    assert [mark(c) for c in (None, {}, {"args": {}}, {"args": {"stack": "s", "endpoint": "e"}})] == [
        None
    ] * 4


def test_strangers_never_take_all_the_places_of_a_replica() -> None:
    few = replace(ENTITY, max_ongoing_requests=8)
    ingress = ingress_app("s", "e", targets=[], settings=Settings({"mode": "basic"}), spec={}, primary=few)
    assert ingress["deployments"][0]["user_config"]["auth"] == {"mode": "basic", "waiting": 4}


def test_ray_looks_for_dead_replicas_often() -> None:
    ingress = ingress_app("s", "e", targets=[], settings=Settings({"mode": "none"}), spec={}, primary=ENTITY)
    for app in (ingress, entity_app("s", "e", ENTITY)):
        assert app["deployments"][0]["health_check_period_s"] <= 2
