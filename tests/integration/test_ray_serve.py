"""Endpoints on a real Ray, from the app configs to the answers.

Starting a replica costs seconds of CPU, so most tests share two endpoints and begin by resetting them.
"""

from __future__ import annotations

import asyncio
import base64
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from support.endpoint_users import PASSWORD, add_token, make_auth_database
from support.guardian import TEMPORARY
from support.ray_fixture import COLUMNS, SECRET, SPLIT, Load, Models, RayForTests
from support.shared import marks

from lifecycle_as_code.model.diagnostics import LacError
from lifecycle_as_code.serving import routing
from lifecycle_as_code.serving.tokens import make_token
from lifecycle_as_code.stores import processes
from lifecycle_as_code.stores.ray import local
from lifecycle_as_code.stores.ray.apps import (
    AppConfig,
    ServedEntity,
    Settings,
    entity_app,
    entity_name,
    ingress_app,
    revision,
    target,
)
from lifecycle_as_code.stores.ray.client import Cluster
from lifecycle_as_code.stores.ray.rollout import Edit, Move, deploy_edits
from lifecycle_as_code.stores.ray.state import Application

STACK = "tests"
# long: a wait that takes its time on a busy machine is no failure, and one that fails ends at once
WAIT = 90.0


def entity(uri: str, version: int = 1, name: str = "champion", **options: Any) -> ServedEntity:
    return ServedEntity(
        name=name, entity_name="iris", entity_version=version, model_uri=uri, num_cpus=0.25, **options
    )


def front(
    endpoint: str, weights: Sequence[tuple[ServedEntity, int]], auth: dict[str, Any] | None = None
) -> AppConfig:
    targets = [target(STACK, endpoint, e, weight) for e, weight in weights]
    return ingress_app(
        STACK, endpoint, targets=targets, settings=Settings(auth or {"mode": "none"}), spec={"for": endpoint}
    )


def deploy(
    ray: RayForTests, *apps: AppConfig, remove: Sequence[str] = (), stack: str = STACK
) -> dict[str, Application]:
    """Merge and wait; every app must come up."""
    ray.cluster.merge({a["name"]: a for a in apps}, remove, owner=stack)
    found = ray.cluster.wait([a["name"] for a in apps], WAIT)
    states = {name: app and (app.problem or app.status) for name, app in found.items()}
    assert set(states.values()) <= {"RUNNING"}, states
    return {name: app for name, app in found.items() if app is not None}


def serve(ray: RayForTests, endpoint: str, *weights: tuple[ServedEntity, int], **options: Any) -> None:
    """Bring an endpoint up and wait until it answers by this very configuration."""
    ingress = front(endpoint, weights, **options)
    deploy(ray, *(entity_app(STACK, endpoint, e) for e, _ in weights), ingress)
    assert ray.cluster.probe(endpoint, revision=revision(ingress), timeout=WAIT) is None


def pids(ray: RayForTests, app: str) -> set[int | None]:
    deployments = ray.cluster.applications()[app].deployments.values()
    return {r.pid for d in deployments for r in d.replicas if r.state == "RUNNING"}


@dataclass(frozen=True)
class Served:
    """Two endpoints that run: `iris`, whose one entity can be served again, and `obeying`."""

    ray: RayForTests
    first: ServedEntity
    second: ServedEntity

    def begin(self) -> None:
        """`iris` serves its first version, open to everyone."""
        serve(self.ray, "iris", (self.first, 100))


@pytest.fixture(scope="module")
def served(ray: RayForTests, models: Models) -> Served:
    """Both endpoints, brought up at once. `obeying` has a second for a request, and a secret."""
    first, second = entity(models.iris_1, 1), entity(models.iris_2, 2)
    obedient = entity(models.obedient, timeout=1.0, environment_vars={"SECRET": "{{ env.NODE_SECRET }}"})
    ingresses = [front("iris", [(first, 100)]), front("obeying", [(obedient, 100)])]
    entities = [entity_app(STACK, "iris", first), entity_app(STACK, "obeying", obedient)]
    deploy(ray, *ingresses, *entities)
    for ingress in ingresses:
        endpoint = ingress["args"]["endpoint"]
        assert ray.cluster.probe(endpoint, revision=revision(ingress), timeout=WAIT) is None
    return Served(ray, first, second)


def test_a_model_answers_over_http_and_tells_which_it_was(ray: RayForTests, served: Served) -> None:
    served.begin()
    reply = httpx.post(ray.url("iris"), json=SPLIT)
    assert (reply.status_code, reply.json()) == (200, {"predictions": [0]})
    assert reply.headers["X-Served-Entity"] == "champion"
    assert reply.headers["X-Served-Entity-Version"] == "1"


BODIES: dict[str, dict[str, Any]] = {
    "split": {"json": SPLIT},
    "records": {"json": {"dataframe_records": [dict(zip(COLUMNS, [5.1, 3.5, 1.4, 0.2], strict=True))]}},
    "instances": {"json": {"instances": [dict(zip(COLUMNS, [6.7, 3.0, 5.2, 2.3], strict=True))]}},
    "inputs": {"json": {"inputs": {c: [1.0] for c in COLUMNS}}},
    "csv": {"content": ",".join(COLUMNS) + "\n5.1,3.5,1.4,0.2\n", "headers": {"Content-Type": "text/csv"}},
    "not json": {"content": b"{", "headers": {"Content-Type": "application/json"}},
    "a missing column": {"json": {"dataframe_records": [{"sepal length (cm)": 1.0}]}},
    "another content type": {"content": b"x", "headers": {"Content-Type": "text/plain"}},
    "a large body": {
        "json": {"dataframe_split": {"columns": COLUMNS, "data": [[5.1, 3.5, 1.4, 0.2]] * 20_000}}
    },
}


@pytest.mark.filterwarnings("ignore")
def test_the_protocol_is_mlflows_status_by_status_and_byte_by_byte(
    ray: RayForTests, models: Models, served: Served
) -> None:
    import mlflow
    from mlflow.pyfunc import scoring_server

    served.begin()
    server = scoring_server.init(mlflow.pyfunc.load_model(models.iris_1))

    async def theirs(method: str, path: str, **request: Any) -> httpx.Response:
        transport = httpx.ASGITransport(app=server, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://mlflow") as client:
            return await client.request(method, path, **request)

    requests = [("POST", "/invocations", body) for body in BODIES.values()]
    requests += [
        (m, p, {}) for m in ("GET", "PUT") for p in ("/ping", "/health", "/version", "/invocations", "/no")
    ]
    for method, path, request in requests:
        ours = httpx.request(method, ray.url("iris", path.strip("/")), timeout=60, **request)
        expected = asyncio.run(theirs(method, path, **request))
        assert ours.status_code == expected.status_code, (method, path, request)
        assert ours.content == expected.content, (method, path, request)
        assert ours.headers.get("content-type") == expected.headers.get("content-type"), (
            method,
            path,
            request,
        )


@pytest.mark.usefixtures("served")
def test_params_reach_the_model_and_a_failing_model_is_an_mlflow_error(
    ray: RayForTests,
) -> None:
    body = {"dataframe_records": [{"a": 1.0}, {"a": 2.0}]}
    good = httpx.post(ray.url("obeying"), json={**body, "params": {"factor": 2.5}})
    assert good.json() == {"predictions": {"rows": [5.0], "secret": [SECRET]}}
    bad = httpx.post(ray.url("obeying"), json={**body, "params": {"fail": True}})
    assert bad.status_code == 400
    assert bad.json()["error_code"] == "BAD_REQUEST"


@pytest.mark.usefixtures("served")
def test_a_request_that_takes_too_long_is_answered_in_time(ray: RayForTests) -> None:
    began = time.monotonic()
    reply = httpx.post(
        ray.url("obeying"), json={"inputs": {"a": [1.0]}, "params": {"sleep": 3.0}}, timeout=30
    )
    assert (reply.status_code, reply.text) == (504, "Request processing time exceeded limit")
    assert time.monotonic() - began < 2.5


@pytest.mark.usefixtures("served")
def test_rays_config_holds_the_reference_and_not_the_secret(ray: RayForTests) -> None:
    headers = {"Authorization": f"Bearer {ray.token}"}
    told = httpx.get(f"{ray.ray.address}/api/serve/applications/", headers=headers, timeout=30).text
    assert "{{ env.NODE_SECRET }}" in told
    assert SECRET not in told


@pytest.mark.usefixtures("served")
def test_an_entity_cannot_be_reached_past_its_endpoint(ray: RayForTests) -> None:
    """Ray gives every app's first deployment an HTTP port of its own; ours refuse what comes in there."""
    app = next(name for name in ray.cluster.applications() if name.startswith("lac.obeying."))
    pid = next(iter(pids(ray, app)))
    ports = _listening(pid)
    assert ports
    for port in ports:
        for path in ("/", "/invocations", "/score"):
            try:
                reply = httpx.post(f"http://127.0.0.1:{port}{path}", json={"inputs": {"a": [1.0]}}, timeout=5)
            except httpx.HTTPError:
                continue
            assert reply.status_code >= 400
            assert "predictions" not in reply.text


@pytest.mark.usefixtures("served")
def test_ray_listens_on_loopback_but_for_calls_between_replicas_which_need_its_token(
    ray: RayForTests,
) -> None:
    members = [pid for pid in processes.living() if processes.session_of(pid) == ray.ray.pid]
    outside = {address for pid in members for address in _listeners(pid) if not _is_loopback(address[0])}
    # the autoscaler's metrics, for everybody
    assert 44217 not in {port for pid in members for port in _listening(pid)}
    replicas = {pid for name in ray.cluster.applications() for pid in pids(ray, name)}
    assert outside == {address for pid in replicas for address in _listeners(pid) if address[0] == ANY}
    for _, port in outside:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            call = channel.unary_unary("/ray.serve.ASGIService/HandleRequest")
            with pytest.raises(grpc.RpcError) as refused:
                call(b"", timeout=30)
            assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED


ANY = "0" * 32


def _is_loopback(address: str) -> bool:
    """By the last four bytes, in the machine's order: also of an IPv6 address that stands for one."""
    return address.endswith("0100007F")


def _listening(pid: int | None) -> set[int]:
    """The TCP ports on which a process listens."""
    return {port for _, port in _listeners(pid)}


def _listeners(pid: int | None) -> set[tuple[str, int]]:
    """The addresses and ports on which a process listens, by Linux' tables."""
    sockets = {link.readlink().name for link in Path(f"/proc/{pid}/fd").iterdir() if link.is_symlink()}
    inodes = {name[8:-1] for name in sockets if name.startswith("socket:[")}
    rows = [
        row.split()
        for table in ("tcp", "tcp6")
        for row in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]
    ]
    addresses = [row[1].rsplit(":", 1) for row in rows if row[3] == "0A" and row[9] in inodes]
    return {(address, int(port, 16)) for address, port in addresses}


@pytest.fixture(scope="module")
def held(ray: RayForTests, models: Models) -> str:
    """An endpoint whose ingress holds its model: one request at a time, and one that waits."""
    obedient = entity(models.obedient, max_ongoing_requests=1, max_queued_requests=1)
    ingress = ingress_app(
        STACK,
        "held",
        primary=obedient,
        targets=[target(STACK, "held", obedient, 100)],
        settings=Settings({"mode": "none"}),
        spec={},
    )
    deploy(ray, ingress)
    assert ray.cluster.probe("held", revision=revision(ingress), timeout=WAIT) is None
    return "held"


ONE_ROW = {"dataframe_records": [{"a": 1.0}]}


def test_a_full_queue_is_a_503_at_once_and_not_a_wait(ray: RayForTests, held: str) -> None:
    replies: list[httpx.Response] = []

    def ask() -> None:
        body = {**ONE_ROW, "params": {"sleep": 5.0}}
        replies.append(httpx.post(ray.url(held), json=body, timeout=60))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # in the order in which they came
    assert [reply.status_code for reply in replies] == [503, 503, 200, 200]
    assert "Retry-After" in replies[0].headers


def test_a_model_that_would_end_its_process_answers_with_an_error_and_lives(
    ray: RayForTests, held: str
) -> None:
    before = pids(ray, f"lac.{held}")
    bad = httpx.post(ray.url(held), json={**ONE_ROW, "params": {"exit": True}}, timeout=30)
    assert (bad.status_code, bad.json()["error_code"]) == (500, "INTERNAL_ERROR")
    assert httpx.post(ray.url(held), json=ONE_ROW, timeout=30).status_code == 200
    assert pids(ray, f"lac.{held}") == before


@pytest.mark.parametrize("endpoint", ["held", "obeying"], ids=["in the ingress", "in an app of its own"])
@pytest.mark.usefixtures("served", "held")
def test_a_model_streams_server_sent_events(ray: RayForTests, endpoint: str) -> None:
    with httpx.stream("POST", ray.url(endpoint), json={**ONE_ROW, "stream": True}, timeout=30) as reply:
        assert reply.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        assert reply.headers["X-Served-Entity"] == "champion"
        events = list(reply.iter_lines())
    assert [event for event in events if event] == [
        'data: {"number": 0, "rows": 1}',
        'data: {"number": 1, "rows": 1}',
        'data: {"number": 2, "rows": 1}',
        "data: [DONE]",
    ]


def test_what_an_endpoint_does_not_have_is_refused_by_the_book(ray: RayForTests, held: str) -> None:
    def status(method: str, path: str, **request: Any) -> tuple[int, str | None]:
        reply = httpx.request(method, ray.url(held, path), timeout=30, **request)
        return reply.status_code, reply.headers.get("Allow")

    assert status("POST", "served-entities/nobody/invocations", json=ONE_ROW) == (404, None)
    assert status("GET", "served-entities/nobody/ping") == (404, None)
    assert status("GET", "served-entities/champion/ping") == (200, None)
    assert status("PUT", "invocations") == (405, "POST")
    assert status("POST", "ping") == (405, "GET, HEAD")
    assert status("HEAD", "ping") == (200, None)
    assert status("GET", "elsewhere") == (404, None)
    upgrade = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Key": "x",
        "Sec-WebSocket-Version": "13",
    }
    assert status("GET", "invocations", headers=upgrade) == (400, None)

    def endless() -> Iterator[bytes]:
        # in chunks, so that nobody knows the length before
        for _ in range(80):
            yield b" " * 2**20

    assert status("POST", "invocations", content=endless())[0] == 413


def test_a_version_comes_takes_the_traffic_and_goes_again_and_no_request_fails(
    ray: RayForTests, served: Served
) -> None:
    first, second = served.first, served.second
    app = entity_name(STACK, "iris", second)
    served.begin()
    with Load(ray.url("iris")) as load:
        # warm up: the new one stands beside the one that serves, reachable and without traffic
        serve(ray, "iris", (first, 100), (second, 0))
        assert ray.cluster.probe("iris", entity=app, timeout=WAIT) is None
        time.sleep(0.5)
        assert set(load.answered) == {("champion", "1")}
        for weight in (50, 100):
            serve(ray, "iris", (first, 100 - weight), (second, weight))
        # the switch is over when the probe says so
        load.answered.clear()
        time.sleep(1.0)
        assert set(load.answered) == {("champion", "2")}
        serve(ray, "iris", (first, 100))
        ray.cluster.merge({}, [app], owner=STACK)
        assert ray.cluster.gone([app], WAIT) == frozenset()
        load.answered.clear()
        time.sleep(0.5)
    assert set(load.answered) == {("champion", "1")}
    assert load.failed == []


def test_a_model_that_cannot_load_fails_alone_and_says_why(
    ray: RayForTests, models: Models, served: Served
) -> None:
    served.begin()
    bad = entity("/nonexistent/model", 2)
    # set where `lac up` ran, and declared nowhere
    assert os.environ[TEMPORARY]
    unset = entity(models.iris_1, 3, environment_vars={"KEY": f"{{{{ env.{TEMPORARY} }}}}"})
    apps = {a["name"]: a for a in (entity_app(STACK, "iris", e) for e in (bad, unset))}
    told: list[str] = []
    with Load(ray.url("iris")) as load:
        ray.cluster.merge(apps, owner=STACK)
        found = ray.cluster.wait(apps, WAIT, lambda app: told.append(app.status))
        ray.cluster.merge({}, apps, owner=STACK)
    problems = [(app := found[name]) and app.problem for name in apps]
    assert "No such artifact: 'model'" in str(problems[0])
    assert f"KEY: environment variable {TEMPORARY} is not set on this node" in str(problems[1])
    assert "set it, then run `lac down` and `lac apply`" in str(problems[1])
    assert 'File "' not in str(problems)
    assert told.count("DEPLOY_FAILED") == 2
    assert load.failed == []
    assert set(load.answered) == {("champion", "1")}


def test_options_that_change_in_place_leave_the_replicas_alone(ray: RayForTests, served: Served) -> None:
    served.begin()
    name = entity_name(STACK, "iris", served.first)
    before = pids(ray, name)
    assert len(before) == 1
    for options, replicas in (
        ({"max_ongoing_requests": 20, "timeout": 5.0}, 1),
        ({"min_replicas": 2, "max_replicas": 2}, 2),
        ({}, 1),
    ):
        changed = replace(served.first, **options)
        assert entity_name(STACK, "iris", changed) == name
        serve(ray, "iris", (changed, 100))
        after = pids(ray, name)
        assert len(after) == replicas
        assert after & before


@pytest.fixture(scope="module")
def auth_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return make_auth_database(tmp_path_factory.mktemp("auth") / "auth.db")


def test_an_endpoint_lets_in_who_may_use_it(ray: RayForTests, served: Served, auth_database: Path) -> None:
    auth = {"mode": "basic", "database": f"sqlite:///{auth_database}", "endpoint": "fraud", "ttl": 30}
    serve(ray, "iris", (served.first, 100), auth=auth)

    def ask(user: str | None, password: str = PASSWORD, path: str = "invocations") -> httpx.Response:
        headers = {}
        if user is not None:
            headers["Authorization"] = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        return httpx.post(ray.url("iris", path), json=SPLIT, headers=headers, timeout=30)

    assert [
        ask(None).status_code,
        ask("user", "wrong").status_code,
        ask("nobody").status_code,
        ask("denied").status_code,
        ask("user").status_code,
    ] == [401, 401, 403, 403, 200]
    challenges = ask(None).headers.get_list("WWW-Authenticate")
    assert challenges == ['Basic realm="mlflow"', 'Bearer realm="mlflow"']
    assert ask("denied").json() == {"error_code": "PERMISSION_DENIED", "message": "Permission denied"}
    by_name = "served-entities/champion/invocations"
    assert [ask(None, path=by_name).status_code, ask("user", path=by_name).status_code] == [401, 200]
    url = auth["database"]
    good = add_token(url, "user", ["fraud", "churn"])
    bearers = {
        good: 200,
        add_token(url, "admin"): 200,
        good[:-1]: 401,
        make_token(): 401,
        add_token(url, "user", sql="revoked_ms = 1"): 401,
        add_token(url, "user", sql="expires_ms = 1"): 401,
        add_token(url, "nobody"): 403,
        add_token(url, "denied"): 403,
        add_token(url, "user", ["churn"]): 403,
        "eyJhbGciOiJub25lIn0.e30.": 401,
    }
    for path in ("invocations", by_name):
        answers = [
            httpx.post(ray.url("iris", path), json=SPLIT, headers={"Authorization": f"Bearer {value}"})
            for value in bearers
        ]
        assert [answer.status_code for answer in answers] == [*bearers.values()]
        assert not any(value in answer.text for answer in answers for value in bearers)
    # an unreadable database: closed, and health still told
    serve(ray, "iris", (served.first, 100), auth={**auth, "database": "sqlite:////nonexistent/a.db"})
    assert ask("user").status_code == 503
    assert httpx.get(ray.url("iris", "ping")).status_code == 200


def test_what_others_run_stays_as_it_is_and_their_names_are_theirs(ray: RayForTests) -> None:
    theirs = front("foreign", [])
    foreign = {**theirs, "name": "somebody-elses", "args": {"endpoint": "foreign", "lac": routing.FORMAT}}
    # as their own tool would: by its own PUT of everything
    instance = ray.cluster._get("/api/serve/applications/")
    everything = [a["deployed_app_config"] for a in instance["applications"].values()]
    ray.cluster._put({"http_options": ray.cluster._http_options, "applications": [*everything, foreign]})
    ray.cluster.wait(["somebody-elses"], WAIT)
    config = ray.cluster.applications()["somebody-elses"].config
    running = pids(ray, "somebody-elses")
    serve(ray, "beside")
    after = ray.cluster.applications()["somebody-elses"]
    assert (after.status, after.config, pids(ray, "somebody-elses")) == ("RUNNING", config, running)
    for put, remove, stack, code in (
        ({}, ["somebody-elses"], STACK, "ray-not-ours"),
        ({"somebody-elses": theirs}, [], STACK, "ray-not-ours"),
        ({}, ["lac.beside"], "another-stack", "ray-not-ours"),
        ({theirs["name"]: theirs}, [], STACK, "ray-route-taken"),
    ):
        with pytest.raises(LacError) as raised:
            ray.cluster.merge(put, remove, owner=stack)
        assert raised.value.diagnostics[0].code == code
    assert {"somebody-elses", "lac.beside"} <= ray.cluster.applications().keys()


def test_deployers_at_the_same_moment_all_stand(
    ray: RayForTests, monkeypatch: pytest.MonkeyPatch, pytestconfig: pytest.Config
) -> None:
    """Ray's PUT is last-writer-wins. Without our lock, as from two machines (`--everywhere`: three), looking
    again mends it."""
    from contextlib import nullcontext

    from lifecycle_as_code.stores.ray import client as store

    monkeypatch.setattr(store, "_one_at_a_time", nullcontext)
    racing = 3 if pytestconfig.getoption("--everywhere") else 2
    ingresses = [front(f"racer-{i}", []) for i in range(racing)]
    problems: list[object] = []
    barrier = threading.Barrier(racing)

    def race(app: AppConfig) -> None:
        edit = Edit({app["name"]: app})
        with Cluster(ray.ray.address, ray.token) as cluster:
            try:
                barrier.wait()
                racer = Move(app["name"], STACK, None, None)
                problems.append(deploy_edits(cluster, [racer], {}, lambda _: edit, lambda _: None))
            except BaseException as e:
                problems.append(e)

    threads = [threading.Thread(target=race, args=(app,)) for app in ingresses]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == [{}] * racing
    found = ray.cluster.applications()
    assert [found[a["name"]].status for a in ingresses] == ["RUNNING"] * racing
    ray.cluster.merge({}, [a["name"] for a in ingresses], owner=STACK)


def _without_token(ray: RayForTests) -> Cluster:
    return Cluster(ray.ray.address, "a-wrong-token-nobody-may-see")


REFUSALS: dict[str, tuple[Callable[[RayForTests], Cluster], str]] = {
    "nobody listens": (
        lambda _: Cluster("http://127.0.0.1:9", "a-wrong-token-nobody-may-see"),
        "ray-unreachable",
    ),
    "no url": (lambda _: Cluster("127.0.0.1", "a-wrong-token-nobody-may-see"), "ray-unreachable"),
    "a wrong token": (_without_token, "ray-unauthorized"),
}


@pytest.mark.parametrize(("make", "code"), REFUSALS.values(), ids=REFUSALS)
def test_what_goes_wrong_has_a_code_a_way_out_and_no_token(
    ray: RayForTests, make: Callable[[RayForTests], Cluster], code: str
) -> None:
    with make(ray) as cluster, pytest.raises(LacError) as raised:
        cluster.applications()
    assert raised.value.diagnostics[0].code == code
    assert raised.value.diagnostics[0].hint
    assert "nobody-may-see" not in str(raised.value)


def test_nodes_with_another_release_say_so(ray: RayForTests) -> None:
    app = front("skewed", [])
    app["args"]["lac"] = routing.FORMAT + 1
    ray.cluster.merge({"lac.skewed": app}, owner=STACK)
    found = ray.cluster.wait(["lac.skewed"], WAIT)["lac.skewed"]
    ray.cluster.merge({}, ["lac.skewed"], owner=STACK)
    assert "another release of lac" in str(found and found.problem)


def test_ray_refuses_what_is_no_app(ray: RayForTests) -> None:
    broken = {**front("broken", []), "import_path": "nowhere"}
    with pytest.raises(LacError) as raised:
        ray.cluster.merge({"lac.broken": broken}, owner=STACK)
    assert raised.value.diagnostics[0].code == "ray-refused"
    assert "import path" in raised.value.diagnostics[0].detail


@pytest.mark.usefixtures("served")
def test_the_cluster_tells_its_cpus(ray: RayForTests) -> None:
    told = ray.cluster.resources()
    assert told.cpus >= 2
    assert 0 <= told.free_cpus < told.cpus
    assert told.gpus == told.free_gpus == 0


@pytest.fixture
def second_ray(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    local.down(tmp_path)


def test_two_rays_on_one_machine_dont_disturb_each_other_and_a_killed_one_leaves_nothing_once_taken_down(
    ray: RayForTests, served: Served, second_ray: Path
) -> None:
    served.begin()
    # it takes as long as a Ray needs to start, which isn't to wait for thousands of answers
    with Load(ray.url("iris"), pause=0.5) as load:
        other = local.up(second_ray, environment=marks())
        assert local.up(second_ray) == other == local.status(second_ray)
        assert other.address != ray.ray.address
        with local.connect(second_ray, other) as cluster:
            assert cluster.applications() == {}
            ingress = front("iris", [])
            cluster.merge({ingress["name"]: ingress}, owner=STACK)
            found = cluster.wait([ingress["name"]], WAIT)[ingress["name"]]
            assert found is not None
            assert found.status == "RUNNING"
            assert cluster.probe("iris", revision=revision(ingress), timeout=WAIT) is None
        os.kill(other.pid, signal.SIGKILL)
        os.waitpid(other.pid, 0)
        assert local.status(second_ray) is None
        local.down(second_ray)
        assert [pid for pid in processes.living() if processes.session_of(pid) == other.pid] == []
        assert not Path(other.temp_dir).exists()
    assert load.failed == []
    assert set(load.answered) == {("champion", "1")}
