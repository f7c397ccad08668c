"""A handle on one cluster's Ray Serve, through its REST API. Decides nothing about endpoints.

The one dangerous thing here is PUT: it replaces the whole set of declarative apps, deletes what its body leaves
out, and knows no ETag. So `merge` reads, carries over what isn't ours as it is, writes, and reads again until
ours and theirs both stand. A PUT's 200 means *accepted*: `wait` tells what came of it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from lifecycle_as_code.diagnostics import Diagnostic, LacError
from lifecycle_as_code.stores.ray_apps import AppConfig, Mark, mark, route

if TYPE_CHECKING:
    import httpx

APPLICATIONS = "/api/serve/applications/"
SETTLED = frozenset({"RUNNING", "DEPLOY_FAILED", "UNHEALTHY"})
# what a PUT must repeat, or Ray takes its own default for it
_INSTANCE = ("proxy_location", "http_options", "grpc_options", "target_capacity")
_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class Replica:
    """One replica as Ray tells it: STARTING, UPDATING, RUNNING, STOPPING, PENDING_MIGRATION or RECOVERING."""

    replica_id: str
    state: str
    pid: int | None
    node_id: str | None
    started: float | None


@dataclass(frozen=True, slots=True)
class Deployment:
    """One deployment of an app. `config` is the resolved one, with Ray's defaults filled in."""

    name: str
    status: str
    message: str
    target_replicas: int | None
    config: Mapping[str, Any]
    replicas: tuple[Replica, ...]


@dataclass(frozen=True, slots=True)
class Application:
    """One Serve app.

    `config` is what was last *requested* (a failed one too) and None for an imperative app; what serves is told
    by `status`, the replicas and a probe.
    """

    name: str
    status: str
    message: str
    source: str
    route_prefix: str | None
    config: AppConfig | None
    last_deployed: float
    deployments: Mapping[str, Deployment] = field(default_factory=dict)

    @property
    def mark(self) -> Mark | None:
        """Whose it is; None when it isn't ours."""
        return mark(self.config)

    @property
    def leaving(self) -> bool:
        """Whether it is being deleted."""
        return self.status in ("DELETING", "NOT_STARTED") and not self.config or self.status == "DELETING"

    @property
    def problem(self) -> str | None:
        """Ray's own words for what is wrong, without the frames of Ray's code; None when nothing is."""
        if self.status not in ("DEPLOY_FAILED", "UNHEALTHY"):
            return None
        told = [self.message, *(d.message for d in self.deployments.values())]
        return readable("\n".join(t for t in told if t)) or self.status


@dataclass(frozen=True, slots=True)
class Resources:
    """Logical CPUs and GPUs: what the living nodes have, and what of it isn't handed out."""

    cpus: float
    gpus: float
    free_cpus: float
    free_gpus: float


class Cluster:
    """One cluster, by its dashboard's URL. `data_address`: where endpoints answer, if Ray doesn't tell it right.

    `token` is sent as a bearer token and appears in no error. Times in seconds.
    """

    def __init__(
        self, address: str, token: str | None = None, *, timeout: float = 30.0, data_address: str | None = None
    ) -> None:
        self.address = address.rstrip("/")
        self._token = token
        self._timeout = timeout
        self._data_address = data_address.rstrip("/") if data_address else None
        self._http: httpx.Client | None = None

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; the next call opens new ones."""
        if self._http is not None:
            self._http.close()
            self._http = None

    def applications(self) -> dict[str, Application]:
        """Every Serve app of the cluster by name, ours or not; empty when Serve doesn't run yet."""
        return _applications(self._get(APPLICATIONS))

    def resources(self) -> Resources:
        """CPUs and GPUs of the living nodes, from the dashboard's node summary (`0.5/8.0 CPU` a node)."""
        nodes = self._get("/nodes?view=summary").get("data", {}).get("nodeLogicalResources") or {}
        used = {"CPU": 0.0, "GPU": 0.0}
        total = {"CPU": 0.0, "GPU": 0.0}
        for told in nodes.values():
            for taken, had, unit in re.findall(r"([\d.]+)/([\d.]+) (CPU|GPU)\b", str(told)):
                used[unit] += float(taken)
                total[unit] += float(had)
        return Resources(total["CPU"], total["GPU"], total["CPU"] - used["CPU"], total["GPU"] - used["GPU"])

    def merge(
        self,
        put: Mapping[str, AppConfig],
        remove: Iterable[str] = (),
        *,
        stack: str,
        http_options: Mapping[str, Any] | None = None,
    ) -> None:
        """Make `put` stand and `remove` go, and leave every other app as it is.

        `http_options` take effect only where Serve doesn't run yet. Returns when a read after the write shows
        both; Ray deploys in its own time (`wait`). Raises `ray-not-ours` before writing when a name belongs to
        someone else, `ray-refused` for what Ray rejects, `ray-contended` when others keep overwriting.
        """
        leaving = frozenset(remove)
        rescued: dict[str, AppConfig] = {}
        with _one_at_a_time(self.address):
            for _ in range(_ATTEMPTS):
                instance = self._get(APPLICATIONS)
                found = _applications(instance)
                _refuse_foreign(found, put, leaving, stack)
                body = _body(instance, put, leaving, rescued, http_options)
                sent = {a["name"]: a for a in body["applications"]}
                if not _differs(found, put, leaving) and not rescued.keys() - found.keys():
                    return
                self._put(body)
                after = self.applications()
                rescued = _lost(found, after, sent, leaving)
                if not rescued and not _differs(after, put, leaving):
                    return
        raise LacError(
            Diagnostic(
                "ray-contended",
                "other deployers keep overwriting Ray Serve's configuration",
                f"{self.address}: {_ATTEMPTS} writes in a row were undone by someone else's.",
                "let one deployer finish first, then apply again",
            )
        )

    def wait(
        self,
        names: Iterable[str],
        timeout: float,
        on_progress: Callable[[Application], None] = lambda _: None,
    ) -> dict[str, Application | None]:
        """Poll until each app is RUNNING or has failed, or `timeout` passes; the last that was seen of each.

        An app that fails doesn't end the wait for the others; its `problem` holds Ray's words. One that is
        still DEPLOYING after the timeout comes back so. None: it doesn't exist.
        """
        wanted = set(names)
        seen: dict[str, Application | None] = {}
        deadline = time.monotonic() + timeout
        pause = 0.1
        while True:
            found = self.applications()
            for name in sorted(wanted):
                app = found.get(name)
                before = seen.get(name)
                seen[name] = app
                if app is not None and (before is None or (before.status, before.message) != (app.status, app.message)):
                    on_progress(app)
            if all(a is not None and _settled(a) for a in seen.values()) or time.monotonic() > deadline:
                return seen
            time.sleep(pause)
            pause = min(pause * 1.5, 1.0)

    def gone(self, names: Iterable[str], timeout: float) -> frozenset[str]:
        """Poll until the apps are gone; those that are still there after `timeout`."""
        wanted = frozenset(names)
        deadline = time.monotonic() + timeout
        while remaining := wanted & self.applications().keys():
            if time.monotonic() > deadline:
                return remaining
            time.sleep(0.3)
        return frozenset()

    def data_address(self) -> str:
        """Where endpoints answer. From Serve's `http_options`, on the dashboard's host unless it binds another."""
        if self._data_address:
            return self._data_address
        options = self._get(APPLICATIONS).get("http_options") or {}
        host = options.get("host") or "0.0.0.0"  # noqa: S104 - compared, not bound
        here = urlsplit(self.address)
        if host in ("0.0.0.0", "::", "127.0.0.1", "localhost"):  # noqa: S104
            host = here.hostname or "127.0.0.1"
        return f"http://{host}:{options.get('port') or 8000}{(options.get('root_path') or '').rstrip('/')}"

    def probe(
        self, endpoint: str, *, entity: str | None = None, revision: str | None = None, timeout: float = 30.0
    ) -> str | None:
        """Ask the endpoint itself until it answers well; what was wrong last if `timeout` passes, else None.

        `entity`: a served entity's name, or its app's, which then must answer through the ingress at whatever
        weight. `revision`: what the ingress must report to work by (`ray_apps.revision`), several times in a row,
        since a request reaches one replica of several.
        """
        import httpx

        base = f"{self.data_address()}{route(endpoint)}"
        path = f"/served-entities/{quote(entity, safe='')}/ping" if entity else "/ping"
        deadline = time.monotonic() + timeout
        good = 0
        problem: str | None = None
        with httpx.Client(timeout=10.0, trust_env=False) as http:
            while good < (3 if revision else 1):
                if time.monotonic() > deadline:
                    return problem or "no answer in time"
                try:
                    reply = http.get(base + path)
                    told = reply.headers.get("X-Endpoint-Revision")
                    if reply.status_code != 200 and not (revision and told == revision):
                        problem = f"{path} answers {reply.status_code}"
                    elif revision and told != revision:
                        problem = "the ingress hasn't taken its new configuration"
                    else:
                        good, problem = good + 1, None
                        continue
                except httpx.HTTPError as e:
                    problem = f"{base}: {type(e).__name__}"
                good = 0
                time.sleep(0.1)
        return None

    def _client(self) -> httpx.Client:
        if self._http is None:
            import httpx

            headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
            # trust_env off: a proxy or a .netrc of the user's must not see the token
            self._http = httpx.Client(
                base_url=self.address, headers=headers, timeout=self._timeout, trust_env=False
            )
        return self._http

    def _get(self, path: str) -> dict[str, Any]:
        """GET JSON; reading is idempotent, so a transport error or 503 is tried again, three times in all."""
        import httpx

        for attempt in range(3):
            last = attempt == 2
            try:
                reply = self._client().get(path)
            except httpx.HTTPError as e:
                if last or isinstance(e, httpx.UnsupportedProtocol):
                    raise _unreachable(self.address, e) from None
            else:
                if reply.status_code == 200:
                    value: dict[str, Any] = reply.json()
                    return value
                if reply.status_code not in (500, 502, 503, 504) or last:
                    raise _refused(self.address, "GET", reply)
            time.sleep(0.5 * (attempt + 1))
        raise AssertionError

    def _put(self, body: Mapping[str, Any]) -> None:
        """PUT the whole set, once: whoever calls reads again to learn what came of a lost reply."""
        import httpx

        try:
            reply = self._client().put(APPLICATIONS, json=body)
        except (httpx.ReadError, httpx.ReadTimeout, httpx.RemoteProtocolError):
            return
        except httpx.HTTPError as e:
            raise _unreachable(self.address, e) from None
        if reply.status_code != 200:
            raise _refused(self.address, "PUT", reply)


def readable(message: str) -> str:
    """Ray's message without Python's frames: what is said, not where in Ray's and MLflow's code it was said."""
    kept: list[str] = []
    in_frame = False
    for line in re.sub(r"\x1b\[[0-9;]*m", "", message).splitlines():
        if line.startswith('  File "'):
            in_frame = True
        elif in_frame and line.startswith("    "):
            # the frame's source line, and the marks below it
            continue
        else:
            in_frame = False
            # an actor's name and address stand where a traceback of Ray's own begins
            text = "" if line.startswith("ray::") or line.endswith("Traceback (most recent call last):") else line
            if (text := text.rstrip()) and text not in kept:
                kept.append(text)
    return "\n".join(kept)


def _applications(instance: Mapping[str, Any]) -> dict[str, Application]:
    return {name: _application(name, told) for name, told in (instance.get("applications") or {}).items()}


def _application(name: str, told: Mapping[str, Any]) -> Application:
    return Application(
        name=name,
        status=str(told.get("status")),
        message=str(told.get("message") or ""),
        source=str(told.get("source") or "").lower(),
        route_prefix=told.get("route_prefix"),
        config=told.get("deployed_app_config"),
        last_deployed=float(told.get("last_deployed_time_s") or 0),
        deployments={n: _deployment(n, d) for n, d in (told.get("deployments") or {}).items()},
    )


def _deployment(name: str, told: Mapping[str, Any]) -> Deployment:
    return Deployment(
        name=name,
        status=str(told.get("status")),
        message=str(told.get("message") or ""),
        target_replicas=told.get("target_num_replicas"),
        config=told.get("deployment_config") or {},
        replicas=tuple(
            Replica(
                replica_id=str(r.get("replica_id")),
                state=str(r.get("state")),
                pid=r.get("pid"),
                node_id=r.get("node_id"),
                started=r.get("start_time_s"),
            )
            for r in told.get("replicas") or ()
        ),
    )


def _settled(app: Application) -> bool:
    if app.status == "RUNNING":
        # an update shows in the deployments before it shows in the app
        return all(d.status == "HEALTHY" for d in app.deployments.values())
    return app.status in SETTLED


def _refuse_foreign(
    found: Mapping[str, Application], put: Mapping[str, AppConfig], remove: frozenset[str], stack: str
) -> None:
    """Raise for every name that is another's: to write or to remove it would take it from them."""
    problems = []
    for name in sorted({*put, *remove} & found.keys()):
        app = found[name]
        if (owner := app.mark) is not None and owner.stack == stack:
            continue
        # a removed app whose config Ray no longer tells
        if app.config is None and app.leaving:
            continue
        whose = f"stack `{owner.stack}`" if owner else "someone else"
        problems.append(
            Diagnostic(
                "ray-not-ours",
                "a Ray Serve app of that name isn't ours",
                f"App `{name}` on the cluster belongs to {whose}.",
                "give the endpoint another name, or remove that app where it was made",
            )
        )
    routes = {a.route_prefix: a for a in found.values() if a.route_prefix and not a.leaving}
    for name, config in sorted(put.items()):
        other = routes.get(config.get("route_prefix"))
        if other is not None and other.name != name and other.name not in remove:
            problems.append(
                Diagnostic(
                    "ray-route-taken",
                    "another Ray Serve app holds that route",
                    f"Route `{config['route_prefix']}` of app `{name}` is held by app `{other.name}`.",
                    "give the endpoint another name, or remove that app where it was made",
                )
            )
    if problems:
        raise LacError(*problems)


def _body(
    instance: Mapping[str, Any],
    put: Mapping[str, AppConfig],
    remove: frozenset[str],
    rescued: Mapping[str, AppConfig],
    http_options: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """The whole set to PUT: theirs as they are, ours as wanted."""
    kept = {
        app.name: app.config
        for app in _applications(instance).values()
        if app.config is not None and app.source != "imperative" and not app.leaving
    }
    apps = {n: c for n, c in {**rescued, **kept}.items() if n not in remove} | dict(put)
    settings = {key: instance[key] for key in _INSTANCE if instance.get(key) is not None}
    if "http_options" not in settings and http_options:
        settings["http_options"] = dict(http_options)
    return {**settings, "applications": [apps[name] for name in sorted(apps)]}


def _differs(found: Mapping[str, Application], put: Mapping[str, AppConfig], remove: frozenset[str]) -> bool:
    """Whether something still has to be written."""
    there = any(not found[n].leaving for n in remove & found.keys())
    return there or any(
        n not in found or found[n].leaving or not _contains(found[n].config, wanted) for n, wanted in put.items()
    )


def _contains(told: Any, wanted: Any) -> bool:
    """Whether Ray tells all of `wanted`; it adds defaults of its own to what it was sent."""
    match told, wanted:
        case dict(), dict():
            return all(k in told and _contains(told[k], v) for k, v in wanted.items())
        case list(), list():
            return len(told) == len(wanted) and all(map(_contains, told, wanted))
        case _:
            return bool(told == wanted)


def _lost(
    before: Mapping[str, Application],
    after: Mapping[str, Application],
    sent: Mapping[str, AppConfig],
    remove: frozenset[str],
) -> dict[str, AppConfig]:
    """Declarative apps that our PUT must have dropped: made by others between our read and our write."""
    return {
        name: app.config
        for name, app in after.items()
        if app.leaving
        and app.config is not None
        and app.source != "imperative"
        and name not in sent
        and name not in remove
        and not (name in before and before[name].leaving)
    }


@contextmanager
def _one_at_a_time(address: str) -> Iterator[None]:
    """Hold back other writers of this user on this machine. Elsewhere nothing does: hence the reading again."""
    import fcntl
    import hashlib
    import os
    import tempfile

    name = f"lac-{os.getuid()}-{hashlib.sha256(address.encode()).hexdigest()[:12]}.lock"
    descriptor = os.open(os.path.join(tempfile.gettempdir(), name), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _unreachable(address: str, e: Exception) -> LacError:
    return LacError(
        Diagnostic(
            "ray-unreachable",
            "the Ray cluster doesn't answer",
            f"{address}: {type(e).__name__}: {e}",
            "check `serve:` in lac.yaml and that the cluster's dashboard runs; `lac up` starts a local Ray",
        )
    )


def _refused(address: str, method: str, reply: httpx.Response) -> LacError:
    what = readable(reply.text)[:2000]
    match reply.status_code:
        case 401 | 403:
            return LacError(
                Diagnostic(
                    "ray-unauthorized",
                    "the Ray cluster wants a valid token",
                    f"{address} answers {method} with {reply.status_code}.",
                    "set the cluster's token (RAY_AUTH_TOKEN) by reference beside `serve:`",
                )
            )
        case 404 | 501:
            return LacError(
                Diagnostic(
                    "ray-without-serve",
                    "this isn't a Ray cluster with Serve",
                    f"{address} answers {method} with {reply.status_code}: {what}",
                    "check the address; on the cluster, pip install 'lifecycle-as-code[serve]'",
                )
            )
        case status:
            return LacError(
                Diagnostic(
                    "ray-refused",
                    "Ray Serve refused the request",
                    f"{address} answers {method} with {status}:\n{what}",
                    "what Ray says above is the reason; nothing was changed",
                )
            )
