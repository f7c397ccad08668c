"""What a local Ray's replicas find in their environment."""

from __future__ import annotations

from pathlib import Path

from lifecycle_as_code.stores.ray.environment import select_variables
from lifecycle_as_code.stores.ray.node import Node, Ports

PORTS = Ports(*range(20_000, 20_000 + len(Ports._fields)))
NODE = Node("/private", PORTS, Path("/stack/.lac/ray.token"), Path("/private/haproxy"))

USERS = {
    "PATH": "/bin",
    "HOME": "/home/ann",
    "LC_ALL": "C.UTF-8",
    "CUDA_VISIBLE_DEVICES": "0",
    "LAC_PLAN_KEY": "key",
    "LAC_USER": "ann",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "MLFLOW_TRACKING_URI": "https://ann:secret@mlflow.example",
    "RAY_ADDRESS": "ray://elsewhere",
    "RAY_SERVE_HAPROXY_SOCKET_PATH": "/tmp/open.sock",
    "PYTHONSTARTUP": "/home/ann/start.py",
}


def test_replicas_get_what_programs_need_and_nothing_else() -> None:
    assert select_variables(USERS) == {
        "PATH": "/bin",
        "HOME": "/home/ann",
        "LC_ALL": "C.UTF-8",
        "CUDA_VISIBLE_DEVICES": "0",
    }


def test_replicas_get_the_variables_that_manifests_name() -> None:
    environment = NODE.environment(USERS, {"AWS_SECRET_ACCESS_KEY": "secret"})
    assert environment["AWS_SECRET_ACCESS_KEY"] == "secret"
    left = set(environment) - {
        *select_variables(USERS),
        "AWS_SECRET_ACCESS_KEY",
        "PYTHONPATH",
        "no_proxy",
        "NO_PROXY",
    }
    rays = ("RAY_", "REPORTER_", "METRICS_RECORD_", "DASHBOARD_METRIC_PORT", "AUTOSCALER_METRIC_PORT")
    assert [name for name in left if not name.startswith(rays)] == []


def test_what_asks_for_no_token_gets_no_port() -> None:
    environment = NODE.environment(USERS, {})
    assert (environment["DASHBOARD_METRIC_PORT"], environment["AUTOSCALER_METRIC_PORT"]) == ("-1", "-1")


def test_metrics_are_exported_only_where_somebody_wants_them() -> None:
    exported = [
        Node("/private", PORTS, Path("/token"), Path("/haproxy"), metrics=metrics).environment({}, {})
        for metrics in (False, True)
    ]
    assert [e["RAY_enable_metrics_collection"] for e in exported] == ["0", "1"]


def test_no_variable_of_the_user_decides_where_ray_puts_its_sockets_or_whom_it_trusts() -> None:
    users = NODE.environment({**USERS, "RAY_AUTH_MODE": "disabled"}, {"RAY_AUTH_MODE": "disabled"})
    assert users == NODE.environment({}, {}) | select_variables(USERS)


def test_a_proxy_is_passed_on_unless_its_address_has_a_password() -> None:
    proxies = {
        "https_proxy": "http://proxy.example:3128",
        "HTTP_PROXY": "http://ann:secret@proxy.example:3128",
    }
    assert select_variables(proxies) == {"https_proxy": "http://proxy.example:3128"}
