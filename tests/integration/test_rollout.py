"""Endpoints through the whole engine, from specs to answers on a real Ray.

Replicas cost seconds of CPU to start, so the tests are a few stories, each with an endpoint of its own.
"""

from __future__ import annotations

import base64
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from endpoint_users import PASSWORD, make_auth_database
from engine import Bench, converge
from mlflow_fixture import fresh_sqlite
from ray_fixture import SPLIT, Load, Models, RayForTests

from lifecycle_as_code.change import Action, Plan
from lifecycle_as_code.events import Event, Failed, Finished, HeldBack, Progress
from lifecycle_as_code.kinds.model_alias import ModelAlias
from lifecycle_as_code.kinds.model_version import ModelVersion
from lifecycle_as_code.kinds.permission import Permission
from lifecycle_as_code.kinds.registered_model import RegisteredModel
from lifecycle_as_code.kinds.role import Role
from lifecycle_as_code.kinds.serving_endpoint import Route, ServedEntity, ServingEndpoint, TrafficConfig
from lifecycle_as_code.manifest.settings import Serve
from lifecycle_as_code.spec import Spec


@pytest.fixture
def served(tmp_path: Path, ray: RayForTests) -> Iterator[Bench]:
    """A stack's stores, with the session's Ray as its own; what it made there goes afterwards."""
    store = fresh_sqlite(tmp_path)
    bench = Bench(ray.directory.parent, store, fresh_sqlite(tmp_path, "auth"), serve=Serve(local=True))
    yield bench
    ours = [name for name, app in ray.cluster.applications().items() if app.mark and app.mark.stack == "test"]
    ray.cluster.merge({}, ours, stack="test")


def model(name: str, *sources: str, **aliases: int) -> list[Spec]:
    return [
        RegisteredModel(name=name),
        *(ModelVersion(model=name, version=n, source=source) for n, source in enumerate(sources, 1)),
        *(ModelAlias(model=name, alias=alias, version=version) for alias, version in aliases.items()),
    ]


def entity(model: str, name: str = "champion", **options: Any) -> ServedEntity:
    options = {"entity_version": f"@{name}", "num_cpus": 0.25, **options}
    return ServedEntity(name=name, entity_name=model, **options)


def endpoint(name: str, *shares: tuple[ServedEntity, int], **options: Any) -> ServingEndpoint:
    routes = [Route(served_entity_name=e.name, traffic_percentage=share) for e, share in shares]
    return ServingEndpoint(
        name=name,
        served_entities=tuple(e for e, _ in shares),
        traffic_config=TrafficConfig(routes=tuple(routes)),
        **{"auth": "none", **options},
    )


def told(plan: Plan) -> dict[str, tuple[Action, str]]:
    return {str(c.address): (c.action, c.reason) for c in plan.changes}


def of(events: Sequence[Event], sort: type[Any]) -> list[Any]:
    return [event for event in events if isinstance(event, sort)]


def entities(ray: RayForTests, name: str) -> list[str]:
    """The apps of an endpoint's entities that aren't on their way out, less their hashes."""
    prefix = f"lac.{name}."
    apps = [a.name for a in ray.cluster.applications().values() if not a.leaving]
    return sorted(name.rsplit(".", 1)[0].removeprefix(prefix) for name in apps if name.startswith(prefix))


def versions(ray: RayForTests, name: str, asked: int = 1) -> set[tuple[int, str]]:
    replies = [httpx.post(ray.url(name), json=SPLIT, timeout=30) for _ in range(asked)]
    return {(r.status_code, r.headers.get("X-Served-Entity-Version", "")) for r in replies}


def test_an_endpoint_from_its_first_prediction_to_its_last(
    served: Bench, ray: RayForTests, models: Models
) -> None:
    def world(champion: int, share: int = 90, **options: Any) -> list[Spec]:
        shares = (entity("iris", **options), share), (entity("iris", "challenger"), 100 - share)
        here = endpoint("iris-shares", *shares, description="Which iris?", tags={"team": "plants"})
        return [*model("iris", models.iris_1, models.iris_2, champion=champion, challenger=2), here]

    plan, events = converge(served.stack(world(1)))
    assert {d.code for d in plan.diagnostics} == {"open-endpoint"}
    assert of(events, Finished)[0].complete
    assert "iris-shares: champion v1 is RUNNING" in {e.message for e in of(events, Progress)}
    assert served.stack(world(1)).plan().changes == ()
    assert not served.stack(world(1)).drift().found
    assert versions(ray, "iris-shares", 80) == {(200, "1"), (200, "2")}

    # the alias moves, the endpoint follows, and nobody notices
    plan = served.stack(world(2)).plan()
    assert told(plan) == {
        "model_alias.iris/champion": (Action.UPDATE, "manifest changed"),
        "serving_endpoint.iris-shares": (Action.UPDATE, "follows model_alias.iris/champion"),
    }
    change = plan.changes[-1]
    assert ("served_entities.champion.entity_version", 1, 2) in [
        (f.name, f.before, f.after) for f in change.fields
    ]
    with Load(ray.url("iris-shares")) as load:
        list(served.stack(world(2)).apply(plan))
        load.answered.clear()
        time.sleep(0.5)
    assert load.failed == []
    assert {version for _, version in load.answered} == {"2"}
    assert served.stack(world(2)).plan().changes == ()
    assert entities(ray, "iris-shares") == ["challenger", "champion"]

    # in place: the same replicas and one more, other shares, fewer tags
    before = set(ray.cluster.applications())
    plan, events = converge(served.stack(world(2, share=50, min_replicas=2, max_ongoing_requests=9)))
    assert [f.name for f in plan.changes[0].fields] == [
        "served_entities.champion.max_ongoing_requests",
        "served_entities.champion.max_replicas",
        "served_entities.champion.min_replicas",
        "traffic_config.routes.challenger.traffic_percentage",
        "traffic_config.routes.champion.traffic_percentage",
    ]
    assert of(events, Finished)[0].complete
    assert set(ray.cluster.applications()) == before
    assert served.stack(world(2, share=50, min_replicas=2, max_ongoing_requests=9)).plan().changes == ()

    gone = world(2)[:-1]
    plan, events = converge(served.stack(gone))
    assert told(plan) == {"serving_endpoint.iris-shares": (Action.DELETE, "no longer declared")}
    assert not [name for name in ray.cluster.applications() if name.startswith("lac.iris-shares")]
    assert served.stack(gone).plan().changes == ()
    assert served.stack(gone).drift().found is False


def test_a_version_that_cannot_load_holds_back_what_depends_on_it_and_nothing_else(
    served: Bench, ray: RayForTests, models: Models
) -> None:
    def world(version: int, tag: str) -> list[Spec]:
        return [
            *model("sick", models.iris_1, "/nonexistent/artifacts", champion=version),
            *model("well", models.iris_1, models.iris_2, champion=version),
            endpoint("sick", (entity("sick"), 100), tags={"of": tag}),
        ]

    converge(served.stack(world(1, "first")))
    with Load(ray.url("sick")) as load:
        _, events = converge(served.stack(world(2, "second")))
    (failed,) = of(events, Failed)
    assert failed.diagnostic.code == "rollout-failed"
    assert "sick: champion v2: " in failed.diagnostic.detail
    assert "No such artifact: 'artifacts'" in failed.diagnostic.detail
    assert [str(e.address) for e in of(events, HeldBack)] == ["model_alias.sick/champion"]
    assert load.failed == []
    assert {version for _, version in load.answered} == {"1"}
    pointing = {str(a): found.spec.version for a, found in served.live().items() if a.kind == "model_alias"}
    assert pointing == {"model_alias.sick/champion": 1, "model_alias.well/champion": 2}
    assert entities(ray, "sick") == ["champion"]

    plan = served.stack(world(2, "second")).plan()
    assert told(plan) == {
        "model_alias.sick/champion": (Action.UPDATE, "manifest changed"),
        "serving_endpoint.sick": (Action.UPDATE, "follows model_alias.sick/champion"),
    }
    assert converge(served.stack([*world(2, "first")[4:], *world(1, "first")[:4]]))[0].changes == ()
