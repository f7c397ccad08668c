"""A handle on one cluster's Ray Serve, through its REST API. Decides nothing about endpoints.

The one dangerous thing here is PUT: it replaces the whole set of declarative apps, deletes what its body
leaves out, and knows no ETag. So `merge` reads, carries over others' apps unchanged, writes, and reads again
until both ours and theirs exist. A PUT's 200 means *accepted*: `wait` reports the result.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from ...model.diagnostics import Diagnostic, LacError
from ...model.redaction import without_credentials
from ..proxies import is_loopback, proxy_of
from .apps import AppConfig, route
from .merge import body, differs, find_lost_apps, refuse_foreign
from .state import Application, Resources, applications, is_settled, readable

if TYPE_CHECKING:
    import httpx

APPLICATIONS = "/api/serve/applications/"
_ATTEMPTS = 5
_ANSWER_TIMEOUT = 5.0
"""Seconds for an endpoint that serves to say so."""
_ASKERS = 16
_LOOKS = 5
"""How often in a row an app must be missed until it counts as gone: a second or so."""


class Cluster:
    """One cluster, by its dashboard's URL.

    `token` is sent as a bearer token and appears in no error. `data_address`: where endpoints answer, if the
    address that Ray reports can't be reached from here. `http_options`: Serve's, if it doesn't run yet;
    afterwards Ray ignores them. Times in seconds.
    """

    def __init__(
        self,
        address: str,
        token: str | None = None,
        *,
        timeout: float = 30.0,
        data_address: str | None = None,
        http_options: Mapping[str, Any] | None = None,
    ) -> None:
        self.address = address.rstrip("/")
        self._display_address = _describe_address(self.address)
        self._token = token
        self._timeout = timeout
        self._data_address = data_address.rstrip("/") if data_address else None
        self._http_options = dict(http_options or {})
        self._http: httpx.Client | None = None
        self._permit: Callable[[], None] = _freely

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; the next call opens new ones."""
        if self._http is not None:
            self._http.close()
            self._http = None

    @contextmanager
    def asking(self, permit: Callable[[], None]) -> Iterator[None]:
        """Within the block, call `permit` before every write; an error that it raises prevents the write. Ray
        itself has no fence: this stops a writer that has lost its lock."""
        self._permit = permit
        try:
            yield
        finally:
            self._permit = _freely

    def applications(self) -> dict[str, Application]:
        """Every Serve app of the cluster by name, ours or not; empty when Serve doesn't run yet."""
        return applications(self._get(APPLICATIONS))

    def resources(self) -> Resources:
        """CPUs and GPUs of the living nodes, from the dashboard's node summary (`0.5/8.0 CPU` a node)."""
        nodes = self._get("/nodes?view=summary").get("data", {}).get("nodeLogicalResources") or {}
        total = {"CPU": 0.0, "GPU": 0.0}
        free = []
        for summary in nodes.values():
            free_here = dict.fromkeys(total, 0.0)
            for used, had, unit in re.findall(r"([\d.]+)/([\d.]+) (CPU|GPU)\b", str(summary)):
                total[unit] += float(had)
                free_here[unit] += float(had) - float(used)
            free.append((free_here["CPU"], free_here["GPU"]))
        cpus, gpus = (sum(node[unit] for node in free) for unit in (0, 1))
        return Resources(total["CPU"], total["GPU"], cpus, gpus, tuple(free))

    def merge(
        self,
        put: Mapping[str, AppConfig],
        remove: Iterable[str] = (),
        *,
        owner: str,
    ) -> None:
        """Deploy `put`, delete `remove`, and leave every other app as it is.

        Returns when a read after the write shows both; Ray deploys in its own time (`wait`). LacError
        `ray-not-ours` or `ray-route-taken` before anything is written when a name or a route belongs to
        another owner, `ray-refused` for what Ray rejects, `ray-contended` when others keep overwriting.
        """
        leaving = frozenset(remove)
        lost_apps: dict[str, AppConfig] = {}
        with _one_at_a_time(self.address):
            for _ in range(_ATTEMPTS):
                instance = self._get(APPLICATIONS)
                before = applications(instance)
                refuse_foreign(before, put, leaving, owner)
                request = body(instance, put, leaving, lost_apps, self._http_options)
                apps = {a["name"]: a for a in request["applications"]}
                if not differs(before, put, leaving) and not lost_apps:
                    return
                self._permit()
                self._put(request)
                after = self.applications()
                lost_apps = find_lost_apps(before, after, apps, leaving)
                if not lost_apps and not differs(after, put, leaving):
                    return
        raise LacError(
            Diagnostic(
                "ray-contended",
                "other deployers keep overwriting Ray Serve's configuration",
                f"{self._display_address}: {_ATTEMPTS} writes in a row were overwritten by another deployer.",
                "let one deployer finish first, then apply again",
            )
        )

    def wait(
        self,
        names: Iterable[str],
        timeout: float,
        on_progress: Callable[[Application], None] = lambda _: None,
        pulse: Callable[[], None] = lambda: None,
    ) -> dict[str, Application | None]:
        """Poll until each app is RUNNING or has failed, or `timeout` passes; the last state of each.

        An app that fails doesn't end the wait for the others; its `problem` holds Ray's words. One that is
        still DEPLOYING after the timeout is returned as such. None, or one that is leaving: it was deleted
        outside lac and stayed absent for several polls. `on_progress` is called with each app that changed,
        `pulse` at every poll, at least twice a second; their errors end the wait.
        """
        pending = set(names)
        latest: dict[str, Application | None] = {}
        away = dict.fromkeys(pending, 0)
        deadline = time.monotonic() + timeout
        pause = 0.1
        while True:
            apps = self.applications()
            for name in sorted(pending):
                app = apps.get(name)
                before = latest.get(name)
                latest[name] = app
                if app is not None and (
                    before is None or (before.status, before.message) != (app.status, app.message)
                ):
                    on_progress(app)
                away[name] = away[name] + 1 if app is None or app.leaving else 0
            is_done = (away[n] >= _LOOKS or (a is not None and is_settled(a)) for n, a in latest.items())
            if all(is_done) or time.monotonic() > deadline:
                return latest
            pulse()
            time.sleep(pause)
            pause = min(pause * 1.5, 0.5)

    def gone(
        self, names: Iterable[str], timeout: float, pulse: Callable[[], None] = lambda: None
    ) -> frozenset[str]:
        """Poll until the apps are gone; those that are still there after `timeout`."""
        leaving = frozenset(names)
        deadline = time.monotonic() + timeout
        while remaining := leaving & self.applications().keys():
            if time.monotonic() > deadline:
                return remaining
            pulse()
            time.sleep(0.3)
        return frozenset()

    def drain(self, names: Iterable[str], timeout: float, pulse: Callable[[], None] = lambda: None) -> None:
        """Poll until no replica of the apps is stopping, for at most `timeout`."""
        draining = frozenset(names)
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline and any(
            app.name in draining and app.is_draining for app in self.applications().values()
        ):
            pulse()
            time.sleep(0.3)

    def data_address(self) -> str:
        """Where endpoints answer: Serve's port, on the dashboard's host unless it binds another one."""
        if self._data_address:
            return self._data_address
        options = self._get(APPLICATIONS).get("http_options") or {}
        host = options.get("host") or "0.0.0.0"
        here = urlsplit(self.address)
        if host in ("0.0.0.0", "::", "127.0.0.1", "localhost"):
            host = here.hostname or "127.0.0.1"
        return f"http://{host}:{options.get('port') or 8000}{(options.get('root_path') or '').rstrip('/')}"

    def find_silent(self, endpoints: Iterable[str]) -> dict[str, str]:
        """Endpoints that don't answer where their callers ask, and what happens instead. One request each,
        side by side."""
        from concurrent.futures import ThreadPoolExecutor

        import httpx

        base = self.data_address()
        with httpx.Client(timeout=_ANSWER_TIMEOUT, trust_env=not is_loopback(base)) as http:

            def ask(endpoint: str) -> str | None:
                try:
                    reply = http.get(f"{base}{route(endpoint)}/ping")
                except httpx.HTTPError as e:
                    return f"{_describe_address(base)}: {type(e).__name__}"
                return (
                    None
                    if reply.status_code == 200
                    else f"{route(endpoint)}/ping answers {reply.status_code}"
                )

            names = sorted(endpoints)
            with ThreadPoolExecutor(_ASKERS) as threads:
                answers = dict(zip(names, threads.map(ask, names), strict=True))
        return {name: problem for name, problem in answers.items() if problem is not None}

    def probe(
        self,
        endpoint: str,
        *,
        entity: str | None = None,
        revision: str | None = None,
        timeout: float = 30.0,
        pulse: Callable[[], None] = lambda: None,
    ) -> str | None:
        """Ask the endpoint until it answers successfully: None, or the last problem once `timeout` has
        passed.

        `entity`: a served entity's name, or its app's, which then must answer through the ingress at whatever
        weight. `revision`: what the ingress must report to work by (`apps.revision`), several times in a row,
        since each request reaches one of several replicas.
        """
        import httpx

        base = f"{self.data_address()}{route(endpoint)}"
        path = f"/served-entities/{quote(entity, safe='')}/ping" if entity else "/ping"
        deadline = time.monotonic() + timeout
        good = 0
        problem: str | None = None
        with httpx.Client(timeout=10.0, trust_env=not is_loopback(base)) as http:
            while good < (3 if revision else 1):
                if time.monotonic() > deadline:
                    return problem or "no answer in time"
                try:
                    reply = http.get(base + path)
                    reported = reply.headers.get("X-Endpoint-Revision")
                    if reply.status_code != 200 and not (revision and reported == revision):
                        problem = f"{path} answers {reply.status_code}{_reason(reply)}"
                    elif revision and reported != revision:
                        problem = "the ingress doesn't use its new configuration yet"
                    else:
                        good, problem = good + 1, None
                        continue
                except httpx.HTTPError as e:
                    problem = f"{_describe_address(base)}: {type(e).__name__}"
                good = 0
                pulse()
                time.sleep(0.1)
        return None

    def _client(self) -> httpx.Client:
        if self._http is None:
            import httpx

            try:
                self._http = httpx.Client(
                    base_url=self.address,
                    # without a token, a user and a password in the address count
                    auth=self._sign if self._token else None,
                    timeout=self._timeout,
                    # proxies and certificates, as for everything else that leaves this machine
                    trust_env=not is_loopback(self.address),
                )
            except (ImportError, ValueError, httpx.InvalidURL) as e:
                # an invalid address of a proxy, or a type of proxy that needs another package
                raise _unreachable(self._display_address, e) from None
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
                    raise _unreachable(self._display_address, e) from None
            else:
                if reply.status_code == 200:
                    value: dict[str, Any] = reply.json()
                    return value
                if reply.status_code not in (500, 502, 503, 504) or last:
                    raise self._refusal("GET", reply)
            time.sleep(0.5 * (attempt + 1))
        raise AssertionError

    def _put(self, body: Mapping[str, Any]) -> None:
        """PUT the whole set, once. After a lost reply the caller must read again."""
        import httpx

        try:
            reply = self._client().put(APPLICATIONS, json=body)
        except (httpx.ReadError, httpx.ReadTimeout, httpx.RemoteProtocolError):
            return
        except httpx.HTTPError as e:
            raise _unreachable(self._display_address, e) from None
        if reply.status_code != 200:
            raise self._refusal("PUT", reply)

    def _sign(self, request: httpx.Request) -> httpx.Request:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request

    def _refusal(self, method: str, reply: httpx.Response) -> LacError:
        """The error without the token, which a gateway may repeat."""
        text = reply.text
        if secret := reply.request.headers.get("Authorization", "").partition(" ")[2]:
            text = text.replace(secret, "***")
        return _status_error(self._display_address, method, reply.status_code, readable(text)[:2000])


def _freely() -> None:
    """Permit every write."""


@contextmanager
def _one_at_a_time(address: str) -> Iterator[None]:
    """Lock out other writers of this user on this machine. Nothing locks out others."""
    import fcntl
    import hashlib
    import os
    import tempfile

    name = f"lac-{os.getuid()}-{hashlib.sha256(address.encode()).hexdigest()[:12]}.lock"
    descriptor = os.open(
        os.path.join(tempfile.gettempdir(), name), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600
    )
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _reason(reply: httpx.Response) -> str:
    """What an endpoint says of its error, in words."""
    try:
        message = reply.json()["message"]
    except (ValueError, TypeError, KeyError):
        return ""
    return f": {message}" if isinstance(message, str) else ""


def _describe_address(address: str) -> str:
    """A URL for people: without its password, with the proxy that it is reached through."""
    proxy = proxy_of(address)
    return without_credentials(address) + (f" (through the proxy {proxy})" if proxy else "")


def _unreachable(address: str, e: Exception) -> LacError:
    return LacError(
        Diagnostic(
            "ray-unreachable",
            "the Ray cluster doesn't answer",
            f"{address}: {type(e).__name__}: {e}",
            "check `serve:` in lac.yaml and that the cluster's dashboard runs; `lac up` starts a local Ray"
            + ("; `no_proxy` lists hosts to reach without a proxy" if "the proxy" in address else ""),
        )
    )


def _status_error(address: str, method: str, code: int, what: str) -> LacError:
    match code:
        case 401 | 403:
            return LacError(
                Diagnostic(
                    "ray-unauthorized",
                    "the Ray cluster requires a valid token",
                    f"{address} answers {method} with {code}.",
                    "set the cluster's token (RAY_AUTH_TOKEN) by reference beside `serve:`",
                )
            )
        case 404 | 501:
            return LacError(
                Diagnostic(
                    "ray-without-serve",
                    "the address isn't that of a Ray cluster with Serve",
                    f"{address} answers {method} with {code}: {what}",
                    "check the address; on the cluster, pip install 'lifecycle-as-code[serve]'",
                )
            )
        case status:
            return LacError(
                Diagnostic(
                    "ray-refused",
                    "Ray Serve refused the request",
                    f"{address} answers {method} with {status}:\n{what}",
                    "see Ray's message above"
                    + (
                        "; nothing was changed"
                        if 400 <= status < 500
                        else "; `lac plan` shows the current state"
                    ),
                )
            )
