"""One stack's own Ray: started, found again and ended by the record in `.lac/ray.json`.

It serves on loopback and belongs to the directory that started it, so that two stacks on one machine have
two Rays that share no port, no temporary directory and no token. This module ends only the processes that it
started; `ray stop` would end all of the machine's.

Ray's own listeners (GCS, raylet) bind every interface, whatever address they are given; a token that never
leaves `.lac/` (mode 0600) is what keeps others out (`RAY_AUTH_MODE=token`, Ray 2.52 and later).
"""

from __future__ import annotations

import fcntl
import importlib.util
import json
import os
import random
import secrets
import shutil
import signal
import site
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path

from ...model.diagnostics import Diagnostic, LacError
from .. import processes
from ..proxies import own_address, without_loopback
from .client import Cluster

RECORD = "ray.json"
TOKEN = "ray.token"
LOG = "ray.log"
MARK = "LAC_LOCAL_RAY"

# Ray's defaults, kept where they are free so that habits and bookmarks work
DASHBOARD_PORT = 8265
DATA_PORT = 8000

# logical ones, which Ray counts and doesn't enforce: a rollout needs room for two versions of each entity
_CPUS = 8

# how long a killed process may take to be gone; one that hangs in the kernel stays, whatever we do
_KILL_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class LocalRay:
    """One running (or once running) loopback Ray.

    `address` is the dashboard's URL, `data_port` where Serve answers on 127.0.0.1, `pid` the supervisor that
    leads a session of its own, `started` its start time from the kernel: pids are reused, pairs aren't.
    """

    address: str
    data_port: int
    pid: int
    started: str
    temp_dir: str
    mark: str

    @property
    def endpoint_url(self) -> str:
        """Where endpoints answer: `<this>/serving-endpoints/<name>/invocations`."""
        return f"http://127.0.0.1:{self.data_port}"


def status(directory: Path) -> LocalRay | None:
    """The Ray that `directory` (a stack's `.lac/`) owns and that runs now; None when there is none."""
    record = _read(directory)
    if record is None or not record.started or processes.start_time(record.pid) != record.started:
        return None
    return record


def token(directory: Path) -> str | None:
    """The bearer token of the directory's Ray, or None where it was never started."""
    try:
        return (directory / TOKEN).read_text().strip() or None
    except OSError:
        return None


def connect(directory: Path, ray: LocalRay) -> Cluster:
    """A handle on the directory's Ray, with its token, that has Serve answer on loopback alone."""
    options = {"host": "127.0.0.1", "port": ray.data_port}
    return Cluster(ray.address, token(directory), http_options=options)


def up(
    directory: Path,
    *,
    num_cpus: int | None = None,
    environment: Mapping[str, str] | None = None,
    timeout: float = 90.0,
    on_progress: Callable[[str], None] = lambda _: None,
) -> LocalRay:
    """Start the directory's Ray and wait until its REST API answers; return the running one if there is one.

    `num_cpus`: how many CPUs Ray may allocate; by default as many as the machine has, and at least eight.
    `environment` is added to the replicas' environment, where secret references are resolved. `timeout` in
    seconds. LacError `ray-missing` without the `local` extra, `ray-start-failed` with the end of Ray's log.
    """
    if (running := status(directory)) is not None:
        return running
    _require_ray()
    directory.mkdir(parents=True, exist_ok=True)
    with _lock(directory):
        # another `up` may have finished while this one waited
        if (running := status(directory)) is not None:
            return running
        down_leftovers(directory)
        on_progress("starting Ray")
        ray, process = _start(directory, num_cpus, environment or {})
        try:
            _await(ray, process, directory, time.monotonic() + timeout)
        except BaseException:
            down_leftovers(directory)
            raise
        on_progress(f"Ray answers at {ray.address}")
        return ray


def down(directory: Path, *, timeout: float = 5.0) -> bool:
    """End what `up` started for this directory, and nothing else. True if something was running."""
    was_running = status(directory) is not None
    down_leftovers(directory, timeout=timeout)
    return was_running


def down_leftovers(directory: Path, *, timeout: float = 5.0) -> None:
    """End what an earlier `up` started, also when its supervisor was killed; then forget the record.

    Sends SIGTERM for at most `timeout` seconds, then SIGKILL, and returns when no process is
    left: a killed process still holds its ports and files until the kernel is done with it.
    """
    record = _read(directory)
    if record is None:
        return
    members = _members(record)
    # the supervisor first: on SIGTERM it ends its own processes
    processes.send([pid for pid in members if pid == record.pid] or members, signal.SIGTERM)
    deadline = time.monotonic() + timeout
    while members and time.monotonic() < deadline:
        members = _remaining(record, 0.2)
        if record.pid not in members:
            processes.send(members, signal.SIGTERM)
    deadline = time.monotonic() + _KILL_SECONDS
    while members and time.monotonic() < deadline:
        processes.send(members, signal.SIGKILL)
        members = _remaining(record, 0.05)
    processes.reap(record.pid)
    shutil.rmtree(record.temp_dir, ignore_errors=True)
    (directory / RECORD).unlink(missing_ok=True)


def _remaining(record: LocalRay, seconds: float) -> list[int]:
    """The members of the record's session after `seconds`, when a moment ago it had members that were ours.

    All are ours, also those forked since: the kernel doesn't reuse the session's number so soon.
    """
    processes.reap(record.pid)
    time.sleep(seconds)
    return _session(record)


def _members(record: LocalRay) -> list[int]:
    """The live processes of the record's session: all that `up` started, and no others.

    Ray's workers leave their process group and overwrite their environment, but stay in the session. A
    session's number isn't given away while it has members, so one member that we know (the supervisor by its
    start time, or any by the mark in its environment) vouches for all.
    """
    members = _session(record)
    if processes.start_time(record.pid) == record.started:
        return members
    return members if any(processes.carries(pid, MARK, record.mark) for pid in members) else []


def _session(record: LocalRay) -> list[int]:
    return [pid for pid in processes.living() if processes.session_of(pid) == record.pid]


def _start(
    directory: Path, num_cpus: int | None, environment: Mapping[str, str]
) -> tuple[LocalRay, subprocess.Popen[bytes]]:
    secret = token(directory) or secrets.token_hex(32)
    _write_private(directory / TOKEN, secret)
    # HAProxy's socket lives below it, and its path may have 97 bytes: as many as it has in /tmp, so neither
    # `.lac/` nor TMPDIR will do
    temp_dir = tempfile.mkdtemp(prefix="lac-ray-", dir="/tmp")
    mark = secrets.token_hex(8)
    dashboard, data, gcs, client, agent, agent_grpc, env_agent, metrics, *proxy = _ports(
        DASHBOARD_PORT, DATA_PORT, *[0] * 10
    )
    command = [
        *(sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block"),
        *("--node-ip-address", "127.0.0.1", "--port", str(gcs), "--ray-client-server-port", str(client)),
        *("--include-dashboard", "true", "--dashboard-host", "127.0.0.1", "--dashboard-port", str(dashboard)),
        *("--dashboard-agent-listen-port", str(agent), "--dashboard-agent-grpc-port", str(agent_grpc)),
        *("--runtime-env-agent-port", str(env_agent), "--metrics-export-port", str(metrics)),
        # 0: any free port, instead of the fixed range that a second Ray would share
        *("--min-worker-port", "0", "--max-worker-port", "0"),
        *("--temp-dir", temp_dir, "--disable-usage-stats"),
        *("--include-log-monitor", "false", "--log-style", "record"),
        *("--num-cpus", str(num_cpus or max(_CPUS, os.cpu_count() or 1))),
    ]
    variables = {
        **{k: v for k, v in os.environ.items() if not k.startswith("RAY_")},
        **environment,
        **without_loopback({**os.environ, **environment}, own_address()),
        MARK: mark,
        "PYTHONPATH": _python_path(),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str((directory / TOKEN).resolve()),
        "RAY_USAGE_STATS_ENABLED": "0",
        # Ray's default is 15, the nicest: requests would wait for everything else
        "RAY_worker_niceness": "0",
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        **_haproxy(temp_dir, *proxy),
        "RAY_SERVE_LOG_TO_STDERR": "0",
        "RAY_DEDUP_LOGS": "1",
    }
    with (directory / LOG).open("wb") as log:
        process = subprocess.Popen(
            command, env=variables, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    ray = LocalRay(
        address=f"http://127.0.0.1:{dashboard}",
        data_port=data,
        pid=process.pid,
        started=processes.start_time(process.pid) or "",
        temp_dir=temp_dir,
        mark=mark,
    )
    _write_private(directory / RECORD, json.dumps(asdict(ray), indent=2))
    return ray, process


def _haproxy(temp_dir: str, stats: int, metrics: int, fallback: int, fallback_grpc: int) -> dict[str, str]:
    """HAProxy's files and ports, which Ray otherwise puts where every Ray of the machine puts them."""
    home = f"{temp_dir}/haproxy"
    return {
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": f"{home}/haproxy.cfg",
        "RAY_SERVE_HAPROXY_SOCKET_PATH": f"{home}/admin.sock",
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": f"{home}/metrics.sock",
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": home,
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": f"{home}/server-state",
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(metrics),
        "RAY_SERVE_HAPROXY_STATS_PORT": str(stats),
        # a log line per request, parsed by a Python process, which nothing here reads
        "RAY_SERVE_HAPROXY_METRICS_ENABLED": "0",
        "RAY_SERVE_HAPROXY_NBTHREAD": "2",
        "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(fallback),
        "RAY_SERVE_FALLBACK_PROXY_GRPC_PORT": str(fallback_grpc),
        # Ray keeps a leaving replica for 30 s so that load balancers elsewhere notice: there are none
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "2",
    }


def _await(ray: LocalRay, process: subprocess.Popen[bytes], directory: Path, deadline: float) -> None:
    """Return when the REST API answers; raise when the supervisor ends or the deadline passes."""
    import httpx

    headers = {"Authorization": f"Bearer {token(directory)}"}
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise _start_error(f"Ray ended with exit code {process.returncode}.", directory)
        try:
            reply = httpx.get(
                f"{ray.address}/api/serve/applications/", headers=headers, timeout=10.0, trust_env=False
            )
            if reply.status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.2)
    raise _start_error("Ray's REST API didn't answer in time.", directory)


def _start_error(what: str, directory: Path) -> LacError:
    log = directory / LOG
    try:
        lines = log.read_text(errors="replace").splitlines()[-15:]
    except OSError:
        lines = []
    return LacError(
        Diagnostic(
            "ray-start-failed",
            "the local Ray didn't start",
            "\n".join([what, *lines]),
            f"the whole log is in {log}",
        )
    )


def _require_ray() -> None:
    if importlib.util.find_spec("ray") is None:
        raise LacError(
            Diagnostic(
                "ray-missing",
                "Ray isn't installed",
                "`serve: local` starts a Ray on this machine, and the package `ray` can't be imported.",
                "pip install 'lifecycle-as-code[local]', or give `serve:` the address of a Ray cluster",
            )
        )


def _python_path() -> str:
    """PYTHONPATH for Ray's workers, with the place this package is imported from."""
    home = str(Path(__file__).resolve().parents[3])
    paths = [p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p]
    # site-packages is found anyway, and named here it would come before the standard library
    if home not in paths and home not in {*site.getsitepackages(), site.getusersitepackages()}:
        paths.insert(0, home)
    return os.pathsep.join(paths)


def _ports(*wishes: int) -> list[int]:
    """One free TCP port for each wish, all different: the wish itself if it is free, otherwise another.

    None is in the kernel's ephemeral range, from which a connection could take it before Ray does.
    """
    sockets: list[socket.socket] = []
    others = iter(random.sample(range(15_000, 30_000), 2_000))
    try:
        for port in wishes:
            candidates = chain([port] if port else [], others)
            free = next((s for candidate in candidates if (s := _bind(candidate))), None)
            if free is None:
                raise LacError(
                    Diagnostic("ray-start-failed", "the local Ray didn't start", "No TCP port is free.")
                )
            # open until all are bound, or the same port would be chosen twice
            sockets.append(free)
        return [s.getsockname()[1] for s in sockets]
    finally:
        for s in sockets:
            s.close()


def _bind(port: int) -> socket.socket | None:
    """A socket on every interface, as some of Ray's listeners bind; None where the port is taken."""
    s = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        s.bind(("0.0.0.0", port))
    except OSError:
        s.close()
        return None
    return s


def _read(directory: Path) -> LocalRay | None:
    try:
        return LocalRay(**json.loads((directory / RECORD).read_text()))
    except (OSError, ValueError, TypeError):
        return None


def _write_private(path: Path, text: str) -> None:
    """Replace `path` at once, readable by its owner alone."""
    partial = path.with_name(f"{path.name}.{os.getpid()}")
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as f:
        f.write(text)
    partial.replace(path)


@contextmanager
def _lock(directory: Path) -> Iterator[None]:
    with (directory / "ray.lock").open("w") as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        yield
