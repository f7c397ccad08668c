"""A proxy in the environment: never for this machine, honoured and named for a cluster elsewhere."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from lifecycle_as_code.model.diagnostics import LacError
from lifecycle_as_code.stores.proxies import is_loopback, proxy_of, without_loopback
from lifecycle_as_code.stores.ray.client import Cluster

NOBODY = "http://ann:hunter2@127.0.0.1:9"


class Dashboard(BaseHTTPRequestHandler):
    """A cluster without applications, or a proxy that knows one: it takes whole URLs as well."""

    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"applications": {}}')

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def server() -> Iterator[tuple[str, list[str]]]:
    """Its address, and what it was asked."""
    asked: list[str] = []
    handler = type("Asked", (Dashboard,), {"asked": asked})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}", asked
        http.shutdown()
        thread.join()


def test_this_machine_is_asked_directly(
    server: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    address, asked = server
    monkeypatch.setenv("http_proxy", NOBODY)
    with Cluster(address, "token", data_address=address) as cluster:
        assert cluster.applications() == {}
        assert cluster.probe("fraud") is None
    assert asked == ["/api/serve/applications/", "/serving-endpoints/fraud/ping"]


def test_a_cluster_elsewhere_is_asked_through_the_proxy(
    server: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    address, asked = server
    monkeypatch.setenv("http_proxy", address)
    with Cluster("http://head.invalid:8265", "token") as cluster:
        assert cluster.applications() == {}
    assert asked == ["http://head.invalid:8265/api/serve/applications/"]


@pytest.mark.parametrize("proxy", [NOBODY, "no-address://x"])
def test_where_it_is_not_reached_the_proxy_is_named(proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", proxy)
    with Cluster("http://head.invalid:8265") as cluster, pytest.raises(LacError) as raised:
        cluster.applications()
    (problem,) = raised.value.diagnostics
    assert problem.code == "ray-unreachable"
    assert f"through the proxy {proxy.replace('ann:hunter2@', '')}" in problem.detail
    assert "hunter2" not in str(problem)
    assert "no_proxy" in problem.hint


def test_hosts_that_the_user_excepts_are_asked_directly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", NOBODY)
    monkeypatch.setenv("no_proxy", "head.example")
    assert proxy_of("http://head.example:8265") == ""
    assert proxy_of("http://other.example:8265") == "http://127.0.0.1:9"


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, "localhost,127.0.0.1,::1"),
        ({"no_proxy": "a.example"}, "a.example,localhost,127.0.0.1,::1"),
        ({"no_proxy": "a", "NO_PROXY": "b, a,127.0.0.1"}, "a,b,127.0.0.1,localhost,::1"),
        ({"NO_PROXY": "*"}, "*,localhost,127.0.0.1,::1"),
    ],
)
def test_a_local_ray_bypasses_proxies_and_keeps_the_users_exceptions(
    environ: dict[str, str], expected: str
) -> None:
    assert without_loopback(environ) == {"no_proxy": expected, "NO_PROXY": expected}


def test_grpcs_own_variable_counts() -> None:
    assert without_loopback({"no_grpc_proxy": "a"})["no_grpc_proxy"] == "a,localhost,127.0.0.1,::1"


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.9.9.9", "[::1]", "ray.localhost"])
def test_what_is_this_machine(host: str) -> None:
    assert is_loopback(f"http://{host}:8265")
    assert not is_loopback(f"http://{host.strip('[]').replace(':', '')}.example:8265")
