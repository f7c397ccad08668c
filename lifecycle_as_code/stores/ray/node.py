"""The one node of a local Ray: its ports, its command, and the environment of its processes."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ..proxies import without_loopback
from . import haproxy
from .environment import python_path, select_variables

# logical ones, which Ray counts and doesn't enforce: a rollout needs room for two versions of each entity
_CPUS = 8

# what idle processes do by default: reports for graphs and tables, some of them ten times a second
_QUIET = {
    "RAY_task_events_report_interval_ms": "0",
    "RAY_event_stats": "0",
    "RAY_raylet_report_resources_period_milliseconds": "500",
    "RAY_DASHBOARD_AGENT_LOOP_MONITOR_ENABLED": "0",
    "REPORTER_UPDATE_INTERVAL_MS": "30000",
    "METRICS_RECORD_INTERVAL_S": "600",
    "RAY_SERVE_METRICS_EXPORT_INTERVAL_MS": "10000",
    "RAY_SERVE_CONTROL_LOOP_INTERVAL_S": "0.3",
    # else one waits for each CPU; a worker that a task has left is used again within a second
    "RAY_num_workers_soft_limit": "1",
}

# on a port of loopback that asks for no token, so that it is only opened where somebody wants it
_METRICS = {"RAY_enable_metrics_collection": "1", "RAY_metrics_report_interval_ms": "10000"}
_NO_METRICS = {"RAY_enable_metrics_collection": "0", "RAY_metrics_report_interval_ms": "60000"}


class Ports(NamedTuple):
    """The TCP ports of a local Ray, all on loopback. `data` is the one that endpoints answer on."""

    dashboard: int
    data: int
    gcs: int
    client: int
    agent: int
    agent_grpc: int
    env_agent: int
    metrics: int
    fallback: int
    fallback_grpc: int


@dataclass(frozen=True, slots=True)
class Node:
    """`temp_dir`: a private directory (`private`). `token_file`: an absolute path. `launcher`: the program
    that Ray starts in HAProxy's place. `metrics`: whether Ray exports Prometheus metrics at its port for
    them."""

    temp_dir: str
    ports: Ports
    token_file: Path
    launcher: Path
    metrics: bool = False

    def command(self, num_cpus: int | None) -> list[str]:
        """`ray start`, without the log monitor, which serving doesn't use."""
        p = self.ports
        return [
            *(sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block"),
            *("--node-ip-address", "127.0.0.1", "--port", f"{p.gcs}"),
            *("--ray-client-server-port", f"{p.client}"),
            *("--include-dashboard", "true", "--dashboard-host", "127.0.0.1"),
            *("--dashboard-port", f"{p.dashboard}", "--dashboard-agent-listen-port", f"{p.agent}"),
            *("--dashboard-agent-grpc-port", f"{p.agent_grpc}", "--runtime-env-agent-port", f"{p.env_agent}"),
            *("--metrics-export-port", f"{p.metrics}"),
            # 0: any free port, instead of the fixed range that a second Ray would share
            *("--min-worker-port", "0", "--max-worker-port", "0"),
            *("--temp-dir", f"{self.temp_dir}/r", "--disable-usage-stats"),
            # the autoscaler's monitor stays: it reports what the node has left (`Cluster.resources`)
            *("--include-log-monitor", "false", "--log-style", "record"),
            *("--num-cpus", str(num_cpus or max(_CPUS, os.cpu_count() or 1))),
        ]

    def environment(self, environ: Mapping[str, str], declared: Mapping[str, str]) -> dict[str, str]:
        """Everything that Ray's processes, and so the replicas, find in their environment."""
        given = {**select_variables(environ), **declared}
        return {
            **given,
            **without_loopback(given),
            "PYTHONPATH": python_path(environ),
            # with 0, Ray replaces 127.0.0.1 with no other address, and its listeners bind loopback alone
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(self.token_file),
            "RAY_USAGE_STATS_ENABLED": "0",
            # no ports: the metrics of the dashboard and of the autoscaler's monitor ask for no token
            "DASHBOARD_METRIC_PORT": "-1",
            "AUTOSCALER_METRIC_PORT": "-1",
            # Ray's default is 15, the nicest: requests would wait for everything else
            "RAY_worker_niceness": "0",
            "RAY_DEDUP_LOGS": "1",
            **_QUIET,
            **(_METRICS if self.metrics else _NO_METRICS),
            **self._serve(),
        }

    def _serve(self) -> dict[str, str]:
        home = self.temp_dir
        return {
            # fewer threads and log writes for each request
            "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
            "RAY_SERVE_LOG_TO_STDERR": "0",
            "RAY_SERVE_ENABLE_HA_PROXY": "1",
            "RAY_SERVE_HAPROXY_BINARY_PATH": str(self.launcher),
            # Ray adds the node's ID as a directory; by default every Ray of the machine shares these
            "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": f"{home}/haproxy.cfg",
            "RAY_SERVE_HAPROXY_SOCKET_PATH": f"{home}/s",
            "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": f"{home}/m",
            "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": home,
            "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": f"{home}/server-state",
            "RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S": str(haproxy.IDLE_SECONDS),
            # a log line per request, parsed by a Python process, which nothing here reads
            "RAY_SERVE_HAPROXY_METRICS_ENABLED": "0",
            "RAY_SERVE_HAPROXY_NBTHREAD": "2",
            "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(self.ports.fallback),
            "RAY_SERVE_FALLBACK_PROXY_GRPC_PORT": str(self.ports.fallback_grpc),
            # three failures in a row make Ray start HAProxy anew
            "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "0.5",
            # Ray keeps a leaving replica for 30 s so that load balancers elsewhere notice: there are none
            "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "2",
        }
