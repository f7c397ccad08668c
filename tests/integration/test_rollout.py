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
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import astuple, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.bench import Bench, converge
from support.endpoint_users import PASSWORD, make_auth_database
from support.mlflow_fixture import fresh_sqlite
from support.ray_fixture import SPLIT, Load, Models, RayForTests

from lifecycle_as_code.kinds.model_alias import ModelAlias
from lifecycle_as_code.kinds.model_version import ModelVersion
from lifecycle_as_code.kinds.permission import Permission
from lifecycle_as_code.kinds.registered_model import RegisteredModel
from lifecycle_as_code.kinds.role import Role
from lifecycle_as_code.kinds.serving_endpoint import Route, ServedEntity, ServingEndpoint, TrafficConfig
from lifecycle_as_code.manifest.settings import Serve
from lifecycle_as_code.model.diagnostics import LacError
from lifecycle_as_code.model.events import Event, Failed, HeldBack, Progress
from lifecycle_as_code.model.plan import Action, Plan
from lifecycle_as_code.model.spec import Spec
from lifecycle_as_code.stores import processes
from lifecycle_as_code.stores.ray import local
from lifecycle_as_code.stores.ray.apps import owner, owns
from lifecycle_as_code.stores.ray.local import LOCAL_RAY
from lifecycle_as_code.stores.state import store_id


@pytest.fixture
def served(tmp_path: Path, ray: RayForTests) -> Iterator[Bench]:
    """A stack's stores, with the session's Ray as its own; what it made there goes afterwards."""
    store = fresh_sqlite(tmp_path)
    bench = Bench(ray.directory.parent, store, fresh_sqlite(tmp_path, "auth"), serve=Serve(local=True))
    yield bench
    marks = {name: app.mark for name, app in ray.cluster.applications().items()}
    ours = [name for name, mark in marks.items() if mark and owns(owner_in(bench), mark.owner)]
    ray.cluster.merge({}, ours, owner=owner_in(bench))


def owner_in(bench: Bench) -> str:
    """Who the bench's stack is on the cluster."""
    with bench.stack()._connections.ledger().reading() as db:
        return owner("test", store_id(db.registry))


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
    """The apps of an endpoint's entities that aren't on their way out, less their hashes. The ingress holds
    the primary itself."""
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
    assert of(events, Failed) == []
    assert "iris-shares: champion v1 is RUNNING" in {e.message for e in of(events, Progress)}
    assert served.stack(world(1)).plan().changes == ()
    assert not served.stack(world(1)).drift().exists
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
    assert entities(ray, "iris-shares") == ["challenger"]

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
    assert of(events, Failed) == []
    assert set(ray.cluster.applications()) == before
    assert served.stack(world(2, share=50, min_replicas=2, max_ongoing_requests=9)).plan().changes == ()

    gone = world(2)[:-1]
    plan, events = converge(served.stack(gone))
    assert told(plan) == {"serving_endpoint.iris-shares": (Action.DELETE, "no longer declared")}
    assert not [name for name in ray.cluster.applications() if name.startswith("lac.iris-shares")]
    assert served.stack(gone).plan().changes == ()
    assert served.stack(gone).drift().exists is False


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
    assert entities(ray, "sick") == []

    plan = served.stack(world(2, "second")).plan()
    assert told(plan) == {
        "model_alias.sick/champion": (Action.UPDATE, "manifest changed"),
        # its tag was to change as well
        "serving_endpoint.sick": (Action.UPDATE, "manifest changed"),
    }
    assert converge(served.stack([*world(2, "first")[4:], *world(1, "first")[:4]]))[0].changes == ()


def test_what_was_taken_away_outside_comes_back(served: Bench, ray: RayForTests, models: Models) -> None:
    shares = (entity("iris", entity_version=1), 100), (entity("iris", "second", entity_version=2), 0)
    world = [*model("iris", models.iris_1, models.iris_2), endpoint("taken", *shares)]
    converge(served.stack(world))
    (app,) = (name for name in ray.cluster.applications() if name.startswith("lac.taken."))
    ray.cluster.merge({}, [app], owner=owner_in(served))
    drift = served.stack(world).drift()
    (change,) = drift.outside.changes
    assert [(f.name, f.before, f.after) for f in change.fields] == [
        ("served_entities.second.state", "MISSING", None)
    ]
    assert versions(ray, "taken") == {(200, "1")}

    # the ingress as well
    ray.cluster.merge({}, ["lac.taken"], owner=owner_in(served))
    plan, events = converge(served.stack(world))
    assert told(plan) == {"serving_endpoint.taken": (Action.CREATE, "deleted outside")}
    assert of(events, Failed) == []
    assert versions(ray, "taken") == {(200, "1")}
    by_name = httpx.post(ray.url("taken", "served-entities/second/invocations"), json=SPLIT, timeout=30)
    assert (by_name.status_code, by_name.headers["X-Served-Entity-Version"]) == (200, "2")
    assert served.stack(world).plan().changes == ()


def test_an_endpoint_asks_for_mlflows_users_unless_it_says_otherwise(
    served: Bench, ray: RayForTests, models: Models, tmp_path: Path
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        users = make_auth_database(tmp_path / "users.db")
    bench = replace(served, auth_store=f"sqlite:///{users}")
    here = endpoint("guarded", (entity("iris", entity_version=1), 100), auth="basic")
    world = [*model("iris", models.iris_1), here]
    grant = [
        Role(name="callers", members=("nobody",)),
        Permission(role="callers", resource_type="serving_endpoint", resource="guarded", level="USE"),
    ]

    def status(user: str | None) -> int:
        headers = {}
        if user:
            headers["Authorization"] = "Basic " + base64.b64encode(f"{user}:{PASSWORD}".encode()).decode()
        return httpx.post(ray.url("guarded"), json=SPLIT, headers=headers, timeout=30).status_code

    plan = bench.stack(world).plan()
    assert [d.code for d in plan.diagnostics] == ["nobody-may-use"]
    plan, events = converge(bench.stack([*world, *grant]))
    assert plan.diagnostics == ()
    assert of(events, Failed) == []
    # `user` may use another endpoint, `denied` none at all
    assert [status(user) for user in (None, "admin", "nobody", "user", "denied")] == [401, 200, 200, 403, 403]


@pytest.mark.own_ray
def test_a_ray_that_is_killed_mid_rollout_is_started_anew_and_the_next_apply_completes(
    tmp_path: Path, models: Models
) -> None:
    bench = Bench(tmp_path, fresh_sqlite(tmp_path), serve=Serve(local=True))
    here = endpoint("struck", (entity("iris"), 100))
    world = [*model("iris", models.iris_1, champion=1), here]
    refused: list[LacError] = []

    def apply() -> None:
        try:
            converge(bench.stack(world))
        except LacError as error:
            refused.append(error)

    applying = threading.Thread(target=apply)
    applying.start()
    try:
        running = _once_it_deploys(tmp_path / ".lac", "lac.struck")
        # what it started, and nobody else's
        processes.send(
            [pid for pid in processes.living() if processes.session_of(pid) == running.pid], signal.SIGKILL
        )
        applying.join(BOUND)
        assert not applying.is_alive(), "it hangs"
        assert [error.diagnostics[0].code for error in refused] == ["ray-unreachable"]
        record = bench.records()[here.address]
        assert record.spec is None
        assert record.pending is not None
        assert "lac.struck" in record.pending.names
        assert told(bench.stack(world).plan()) == {
            "model_alias.iris/champion": (Action.CREATE, "declared"),
            "serving_endpoint.struck": (Action.CREATE, "interrupted apply"),
        }

        _, events = converge(bench.stack(world))
        assert of(events, Failed) == []
        assert bench.stack(world).plan().changes == ()
        anew = local.status(tmp_path / ".lac")
        assert anew is not None
        assert anew.pid != running.pid
        url = f"{anew.endpoint_url}/serving-endpoints/struck/invocations"
        assert httpx.post(url, json=SPLIT, timeout=30).status_code == 200
        assert local.down(tmp_path / ".lac")
        assert local.status(tmp_path / ".lac") is None
        assert not local.down(tmp_path / ".lac")
    finally:
        local.down(tmp_path / ".lac")
        applying.join(BOUND)


BOUND = 120.0
"""Seconds; what takes longer hangs."""


def _once_it_deploys(directory: Path, app: str) -> local.LocalRay:
    """The directory's Ray, as soon as it has been told of such an app."""
    until = time.monotonic() + BOUND
    while time.monotonic() < until:
        running = local.status(directory)
        if running is not None:
            with suppress(LacError), local.connect(directory, running) as cluster:
                if any(name.startswith(app) for name in cluster.applications()):
                    return running
        time.sleep(0.1)
    raise AssertionError(f"{app} never came")


KILLS, KILLS_EVERYWHERE = 2, 12


def test_a_killed_apply_leaves_nothing_that_the_next_one_does_not_find(
    served: Bench, ray: RayForTests, models: Models, pytestconfig: pytest.Config
) -> None:
    """Killed for good, at random moments: on the way to a first version and to another; `--everywhere`: also
    back, and again."""
    seed = random.randrange(10_000)
    moments = random.Random(seed)
    for number in range(KILLS_EVERYWHERE if pytestconfig.getoption("--everywhere") else KILLS):
        version = 1 + number % 2
        answered = versions(ray, "killed") <= {(200, "1"), (200, "2")}
        # what imports is no apply: the clock starts with the first event
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, *sys.path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        with child:
            assert child.stdin is not None
            assert child.stdout is not None
            child.stdin.write(repr((str(served.directory), served.store, tuple(astuple(models)), version)))
            child.stdin.close()
            child.stdout.readline()
            time.sleep(moments.uniform(0.0, 7.0))
            os.kill(child.pid, signal.SIGKILL)
        assert not answered or versions(ray, "killed") <= {(200, "1"), (200, "2")}, seed
    plan, events = converge(served.stack(_world_of(models, 2)))
    assert {c.reason for c in plan.changes if c.address.kind == "serving_endpoint"} <= {
        "declared",
        "interrupted apply",
        "follows model_alias.killed/champion",
    }, seed
    assert of(events, Failed) == [], seed
    assert served.stack(_world_of(models, 2)).plan().changes == (), seed
    assert entities(ray, "killed") == [], seed
    assert versions(ray, "killed") == {(200, "2")}, seed


CHILD = """
import ast, sys
sys.path[:] = sys.argv[1:]
from integration.test_rollout import killed
killed(*ast.literal_eval(sys.stdin.read()))
"""


def killed(directory: str, store: str, models: tuple[str, str, str], version: int) -> None:
    """In a process that won't see the end of it."""
    stack = Bench(Path(directory), store, serve=Serve(local=True)).stack(_world_of(Models(*models), version))
    for event in stack.apply(stack.plan()):
        print(event, flush=True)


def _world_of(models: Models, version: int) -> list[Spec]:
    here = endpoint("killed", (entity("killed"), 100))
    return [*model("killed", models.iris_1, models.iris_2, champion=version), here]


# --- twenty rollouts under constant load


FATES = ("good", "slow", "import", "crash loading", "crash predicting", "wrong answer")
"""What becomes of a version once it is served."""


def log_fate(home: Path, fate: str) -> str:
    """Where a python model lies that this becomes of. What it does, it does in a replica alone."""
    import mlflow
    import pandas as pd

    class Fate(mlflow.pyfunc.PythonModel):  # type: ignore[misc]  # mlflow is untyped
        def load_context(self, context: Any) -> None:
            import os
            import time

            # in a replica alone: MLflow itself loads and asks a model that is logged with an example
            if LOCAL_RAY not in os.environ:
                return
            if fate == "slow":
                time.sleep(10)
            elif fate == "import":
                import nonexistent_package  # noqa: F401
            elif fate == "crash loading":
                os._exit(1)

        def predict(self, context: Any, model_input: Any, params: Any = None) -> list[float]:
            import os

            if LOCAL_RAY in os.environ:
                if fate == "crash predicting":
                    os._exit(1)
                if fate == "wrong answer":
                    raise ValueError("not for this world")
            return [0.0] * len(model_input)

    rows = SPLIT["dataframe_split"]
    example = pd.DataFrame(rows["data"], columns=rows["columns"])
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{home}/mlflow.db")
    try:
        mlflow.set_experiment(experiment_id=mlflow.create_experiment(fate, f"{home}/artifacts"))
        model = mlflow.pyfunc.log_model(
            name="fate", python_model=Fate(), input_example=example, pip_requirements=[]
        )
    finally:
        mlflow.set_tracking_uri(before)
    return str(model.artifact_path)


@pytest.mark.everywhere
def test_no_request_fails_through_twenty_rollouts_of_which_most_fail(
    served: Bench, ray: RayForTests, models: Models, tmp_path: Path
) -> None:
    """Alternately in the ingress' place and with a challenger beside it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        places = [models.iris_1, *(log_fate(tmp_path, fate) for fate in FATES)]

    def world(version: int, share: int) -> list[Spec]:
        shares = (entity("fated"), share), (entity("fated", "other", entity_version=1), 100 - share)
        here = endpoint("fated", *(shares if share < 100 else shares[:1]))
        return [*model("fated", *places, champion=version), here]

    def good(version: int) -> bool:
        return version == 1 or FATES[version - 2] in ("good", "slow")

    converge(served.stack(world(1, 100)))
    serving = 1
    began = time.monotonic()
    with Load(ray.url("fated")) as load:
        for number in range(20):
            version, share = 1 + (number * 5 + 1) % len(places), 70 if number % 3 == 2 else 100
            _, events = converge(served.stack(world(version, share)))
            assert (of(events, Failed) == []) == good(version), (number, version)
            serving = version if good(version) else serving
        # the rest of ten minutes
        time.sleep(max(0.0, 600 - (time.monotonic() - began)))
    print(f"{sum(load.answered.values())} requests, longest {load.longest:.2f} s, {load.failed[:3]}")
    assert load.failed == []
    assert versions(ray, "fated") == {(200, str(serving))}
