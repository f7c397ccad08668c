"""What applies share: a cluster with other stacks and stores, and a database with MLflow's writers."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import pytest
from mlflow import MlflowClient
from support.bench import Bench, converge
from support.fake_cluster import Paper, Side
from support.mlflow_fixture import fresh_postgres, fresh_sqlite

from lifecycle_as_code.engine.connections import Connections
from lifecycle_as_code.kinds.model_alias import ModelAlias
from lifecycle_as_code.kinds.model_version import ModelVersion
from lifecycle_as_code.kinds.registered_model import RegisteredModel
from lifecycle_as_code.kinds.serving_endpoint import ServedEntity, ServingEndpoint
from lifecycle_as_code.manifest.settings import Connection, Serve, Settings
from lifecycle_as_code.model.diagnostics import LacError
from lifecycle_as_code.model.events import Event, Failed, Finished
from lifecycle_as_code.model.plan import Action
from lifecycle_as_code.model.spec import Spec
from lifecycle_as_code.stores import processes
from lifecycle_as_code.stores.ray import local
from lifecycle_as_code.stores.ray.apps import Mark, describe_owner, owns

SERVE = Serve(local=False, address="http://paper")
ROUNDS = 3
PATIENCE = 60


@pytest.fixture
def paper(monkeypatch: pytest.MonkeyPatch) -> Paper:
    """One cluster, to which each connects for itself."""
    made = Paper.at_once(monkeypatch)

    @contextmanager
    def cluster(_: Connections) -> Iterator[Paper]:
        yield Side(made)

    monkeypatch.setattr(Connections, "cluster", cluster)
    return made


@pytest.fixture
def stores(paper: Paper, tmp_path: Path) -> dict[str, Bench]:  # noqa: ARG001 - the cluster they share
    """One store of each sort."""
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    return {
        "here": Bench(tmp_path / "here", fresh_sqlite(tmp_path / "here"), serve=SERVE),
        "there": Bench(tmp_path / "there", fresh_postgres(), serve=SERVE),
    }


def world(endpoint: str, champion: int = 1, place: str = "/good") -> list[Spec]:
    entity = ServedEntity(name="champion", entity_name=endpoint, entity_version="@champion")
    return [
        RegisteredModel(name=endpoint),
        *(ModelVersion(model=endpoint, version=n, source=f"{place}/{n}") for n in (1, 2)),
        ModelAlias(model=endpoint, alias="champion", version=champion),
        ServingEndpoint(name=endpoint, served_entities=(entity,), auth="none"),
    ]


def at_once(*works: Callable[[], object]) -> None:
    """All of them, beginning together; the first that fails is raised."""
    problems: list[BaseException] = []
    ready = threading.Barrier(len(works))

    def run(work: Callable[[], object]) -> None:
        try:
            ready.wait(PATIENCE)
            work()
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if problems:
        raise problems[0]


def names(paper: Paper, endpoint: str) -> set[str]:
    return {name for name in paper.apps if name == f"lac.{endpoint}" or name.startswith(f"lac.{endpoint}.")}


@pytest.mark.parametrize("second", ["first", "second"], ids=["of one name", "of two names"])
def test_two_stacks_in_two_stores_never_lose_each_others_apps(
    paper: Paper, stores: dict[str, Bench], second: str
) -> None:
    mine = [(stores["here"], "first", "fraud"), (stores["there"], second, "churn")]
    paper.apps["plain"] = {"name": "plain", "args": {}}
    for number in range(ROUNDS):
        champion = 1 + number % 2
        stacks = [bench.stack(world(endpoint, champion), name=name) for bench, name, endpoint in mine]
        at_once(*(partial(converge, stack) for stack in stacks))
        for bench, name, endpoint in mine:
            assert bench.stack(world(endpoint, champion), name=name).plan().changes == ()
            assert len(names(paper, endpoint)) == 1
        assert "plain" in paper.apps
    left = names(paper, "churn")
    converge(stores["here"].stack(world("fraud")[:-1], name="first"))
    assert {*paper.apps} == {"plain", *left}


@pytest.mark.parametrize("second", ["first", "second"], ids=["of one name", "of two names"])
def test_an_endpoint_of_another_store_is_refused_and_untouched(
    paper: Paper, stores: dict[str, Bench], second: str
) -> None:
    converge(stores["here"].stack(world("fraud"), name="first"))
    # its tables are there, or aren't yet
    for prepared in (False, True):
        if prepared:
            converge(stores["there"].stack([RegisteredModel(name="other")], name=second))
        before = dict(paper.apps)
        with pytest.raises(LacError) as refused:
            stores["there"].stack([*world("fraud"), RegisteredModel(name="other")], name=second).plan()
        (told,) = refused.value.diagnostics
        assert told.code == "owned-elsewhere"
        assert "belongs to stack `first` in the store " in told.detail
        assert paper.apps == before
    assert stores["here"].stack(world("fraud"), name="first").plan().changes == ()


@pytest.mark.parametrize("second", ["first", "second"], ids=["of one name", "of two names"])
def test_who_comes_second_with_an_endpoints_name_fails_and_touches_nothing(
    paper: Paper, stores: dict[str, Bench], second: str
) -> None:
    """Both were planned when neither was there."""
    plans = {
        place: (stack := stores[place].stack(world("fraud"), name=name), stack.plan())
        for place, name in (("here", "first"), ("there", second))
    }
    assert all(Action.CREATE in {c.action for c in plan.changes} for _, plan in plans.values())
    stack, plan = plans["here"]
    list(stack.apply(plan))
    before = dict(paper.apps)
    stack, plan = plans["there"]
    told: list[Event] = []
    with pytest.raises(LacError, match="stale-plan"):
        told += stack.apply(plan)
    assert paper.apps == before

    # and at the same moment
    paper.apps = {}
    stores["here"].stack(name="first").forget([world("fraud")[-1].address])
    failed: list[Failed] = []
    refused: set[str] = set()

    def apply(place: str, name: str) -> None:
        stack = stores[place].stack(world("fraud"), name=name)
        try:
            failed.extend(e for e in stack.apply(stack.plan()) if isinstance(e, Failed))
        except LacError as error:
            refused.add(error.diagnostics[0].code)

    at_once(lambda: apply("here", "first"), lambda: apply("there", second))
    assert refused <= {"stale-plan", "owned-elsewhere"}
    assert {f.diagnostic.code for f in failed} <= {"ray-not-ours", "rollout-failed"}
    owners = {mark.owner for app in Side(paper).applications().values() if (mark := app.mark)}
    assert len(owners) <= 1
    assert len(names(paper, "fraud")) in (0, 1)


def test_apps_that_an_earlier_lac_made_are_ours_and_are_brought_up_to_date(
    paper: Paper, stores: dict[str, Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    here = stores["here"]
    with monkeypatch.context() as earlier:
        earlier.setattr("lifecycle_as_code.kinds.base.owner", lambda stack, _: stack)
        converge(here.stack(world("fraud")))
    before = set(paper.apps)
    assert {m.owner for a in Side(paper).applications().values() if (m := a.mark)} == {"test"}
    assert here.stack(world("fraud")).plan().changes == ()
    _, events = converge(here.stack(world("fraud", 2)))
    assert [e.complete for e in events if isinstance(e, Finished)] == [True]
    assert here.stack(world("fraud", 2)).plan().changes == ()
    assert paper.apps.keys() == before == {"lac.fraud"}
    (owner,) = {m.owner for a in Side(paper).applications().values() if (m := a.mark)}
    assert owner.startswith("test@")


OWNERS = {
    "the same": ("a@1", "a@1", True),
    "an earlier mark": ("a@1", "a", True),
    "another store": ("a@1", "a@2", False),
    "another stack": ("a@1", "b@1", False),
    "another stack, an earlier mark": ("a@1", "b", False),
    "a store of which nothing is known yet": ("a", "a@1", False),
}


@pytest.mark.parametrize(("ours", "marked", "expected"), OWNERS.values(), ids=OWNERS)
def test_whose_an_app_is(ours: str, marked: str, expected: bool) -> None:
    assert owns(ours, marked) is expected


def test_an_owner_is_told_in_words() -> None:
    assert describe_owner("payments") == "stack `payments`"
    assert (
        describe_owner(Mark("payments@1a2b3c4d", "fraud", None).owner)
        == "stack `payments` in the store 1a2b3c4d…"
    )


# --- MLflow's own writers

WRITES = 2.0
"""Seconds that one of MLflow's may take at most."""


def test_mlflows_writers_go_on_while_ray_rolls_out(bench: Bench, paper: Paper) -> None:
    bench = replace(bench, serve=SERVE)
    converge(bench.stack(world("fraud")))
    client = MlflowClient(bench.store, bench.store)
    written = threading.Event()
    times: list[float] = []
    in_rollout = threading.Event()
    ended = threading.Event()

    def write() -> None:
        number = 0
        while not ended.is_set():
            began = time.monotonic()
            client.set_registered_model_tag("fraud", "seen", str(number))
            times.append(time.monotonic() - began)
            number += 1
            if in_rollout.is_set():
                written.set()

    def slow(*_: object, **__: object) -> None:
        """The new version is asked, and takes its time: until some more was written."""
        in_rollout.set()
        for _ in range(5):
            written.clear()
            assert written.wait(PATIENCE)

    paper.probed = slow
    writer = threading.Thread(target=write)
    writer.start()
    try:
        _, events = converge(bench.stack(world("fraud", 2)))
    finally:
        ended.set()
        writer.join()
    assert [e.complete for e in events if isinstance(e, Finished)] == [True]
    assert len(times) > 5
    assert max(times) < WRITES


def test_a_ray_that_lacks_a_variable_which_the_manifests_name_says_how_to_get_it(tmp_path: Path) -> None:
    bench = Bench(tmp_path, fresh_sqlite(tmp_path), serve=Serve(local=True))
    keys = {"KEY": "{{ env.OPENAI_API_KEY }}", "TEAM": "risk", "ZONE": "{{ env.ZONE }}"}
    entity = ServedEntity(name="a", entity_name="a", entity_version=1, environment_vars=keys)
    stack = bench.stack([ServingEndpoint(name="a", served_entities=(entity,), auth="none")])
    connections = stack._connections
    assert connections.replica_variables(stack.desired) == {"OPENAI_API_KEY", "ZONE"}
    running = local.LocalRay(
        address="http://127.0.0.1:1",
        data_port=1,
        temp_dir="",
        mark="",
        variables=("ZONE",),
        pid=os.getpid(),
        started=processes.start_time(os.getpid()) or "",
    )
    (tmp_path / ".lac").mkdir()
    (tmp_path / ".lac" / local.RECORD).write_text(json.dumps(asdict(running)))
    with pytest.raises(LacError) as raised:
        list(connections.start_ray(stack.desired, {"OPENAI_API_KEY": "secret"}, lambda: False))
    (problem,) = raised.value.diagnostics
    assert problem.code == "ray-environment"
    assert "`OPENAI_API_KEY`" in problem.detail
    assert "`ZONE`" not in problem.detail
    assert "lac down" in problem.hint


def site_stores(directory: Path, usage: Connection | None, limits: Connection | None) -> tuple[str, str]:
    settings = Settings(
        *("tests", directory, None, "default", Connection("sqlite:///mlflow.db"), None, None, {}),
        usage_store=usage,
        rate_limit_store=limits,
    )
    site = Connections(settings).site("")
    return site.usage_store, site.rate_limit_store


@pytest.mark.parametrize(
    ("url", "known"),
    [
        ("sqlite:///usage.db", "sqlite:///{here}/usage.db"),
        ("postgresql://h/db?sslmode=require", "postgresql+psycopg://h/db?sslmode=require"),
        ("postgresql://lac@h/db", "postgresql+psycopg://lac@h/db"),
        ("postgresql://lac:canary@h/db", ""),
        ("postgresql://h/db?password=canary", ""),
    ],
)
def test_replicas_know_a_store_by_its_whole_address_or_not_at_all(
    url: str, known: str, tmp_path: Path
) -> None:
    known = known.format(here=tmp_path)
    assert site_stores(tmp_path, Connection(url), Connection(url)) == (known, known)


@pytest.mark.parametrize(
    ("url", "known"),
    [
        ("rediss://h:6380/0?ssl_cert_reqs=none", "rediss://h:6380/0?ssl_cert_reqs=none"),
        ("redis://lac@h/0", "redis://lac@h/0"),
        ("redis://:canary@h/0", ""),
        ("redis://h/0?password=canary", ""),
        ("redis://h:canary/0", ""),
    ],
)
def test_replicas_know_a_redis_by_its_whole_address_or_not_at_all(
    url: str, known: str, tmp_path: Path
) -> None:
    assert site_stores(tmp_path, None, Connection(url)) == ("", known)


@pytest.mark.parametrize(
    "url",
    ["mysql://u:canary@h/db", "redis://:canary@h", "usage.db", "sqlite://usage.db", "parquet://usage"],
)
def test_a_usage_store_of_another_sort_is_refused_before_anything_is_sent(url: str, tmp_path: Path) -> None:
    for reference in (None, "{{ env.STORE }}"):
        with pytest.raises(LacError) as caught:
            site_stores(tmp_path, Connection(url, reference), None)
    (problem,) = caught.value.diagnostics
    assert problem.code == "unsupported-store"
    assert "usage_store" in problem.detail
    assert "parquet" in problem.hint
    assert "canary" not in str(problem)


@pytest.mark.parametrize("url", ["memcached://u:canary@h", "parquet:///x", "mysql://u:canary@h/db"])
def test_a_store_of_limits_of_another_sort_is_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(LacError) as caught:
        site_stores(tmp_path, None, Connection(url))
    (problem,) = caught.value.diagnostics
    assert problem.code == "unsupported-store"
    assert "rate_limit_store" in problem.detail
    assert "redis" in problem.hint
    assert "canary" not in str(problem)


def test_a_reference_stays_one(tmp_path: Path) -> None:
    reference = "{{ env.STORE }}"
    store = Connection("postgresql://lac:canary@h/db", reference)
    assert site_stores(tmp_path, store, store) == (reference, reference)
