"""The two Ray Serve apps of an endpoint, as builders: `ingress` answers HTTP, `entity` holds a model.

An ingress answers `/serving-endpoints/<name>/…`, checks access and picks an entity by weight. It holds the
model of one entity, the primary, in its own process: a request for that one takes no further hop. A request
for another entity goes to that entity's app, its bytes unparsed. Targets, weights and access settings are
the ingress' `user_config`, which changes without a restart.

An entity app is immutable: its name holds a hash of what it serves, and it has no route.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ray import serve
from ray.serve.handle import DeploymentHandle

from lifecycle_as_code.serving import http, references, routing
from lifecycle_as_code.serving.access import CHALLENGES, Gate
from lifecycle_as_code.serving.http import Reply, Request
from lifecycle_as_code.serving.scoring import EVENT_STREAM, JSON, Answer, Scorer, error

_logger = logging.getLogger(__name__)

ENTITY_HEADER = "X-Served-Entity"
VERSION_HEADER = "X-Served-Entity-Version"
REVISION_HEADER = "X-Endpoint-Revision"

# how long new entities may take to answer their first ping before traffic is switched regardless, in seconds
_WARM_UP = 10.0
_PING = 10.0
_PING_AGE = 1.0
"""Seconds for which an entity's answer to a ping counts: whoever asks, it works no more often."""
_THREADS = 64
"""As many predictions run at once; `max_ongoing_requests` may be less."""
_RETRIES = 2


def entity(args: dict[str, Any]) -> serve.Application:
    """The app of one served entity. `args`: `model_uri`, `environment_vars`, `tracking_uri`? and marks."""
    _check_format(args)
    return serve.deployment(Entity, name="entity", max_constructor_retry_count=_RETRIES).bind(args)


def ingress(args: dict[str, Any]) -> serve.Application:
    """The app of one endpoint. `args`: `endpoint`, `stack`, and in `primary` those of the entity that it
    holds, with its `app`; the rest is its deployment's `user_config`."""
    _check_format(args)
    return serve.deployment(Ingress, name="ingress", max_constructor_retry_count=_RETRIES).bind(args)


def _check_format(args: dict[str, Any]) -> None:
    if args.get("lac") != routing.FORMAT:
        raise RuntimeError(
            "The cluster's nodes have another release of lac than the one that applies. "
            "Install the same one on both."
        )


class Model:
    """A model in this process, and the threads that predict with it."""

    def __init__(self, args: dict[str, Any]) -> None:
        # before mlflow is imported and the model's libraries read them
        os.environ.update(references.resolve_all(args.get("environment_vars") or {}))
        if tracking_uri := args.get("tracking_uri"):
            os.environ["MLFLOW_TRACKING_URI"] = references.resolve(tracking_uri)
        self._scorer = Scorer.load(references.resolve(args["model_uri"]))
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="lac-predict")

    async def score(self, body: bytes, content_type: str | None) -> Answer:
        """Answer one request: at once what takes microseconds, in a thread what may take long."""
        answer = self._scorer.score_inline(body, content_type)
        if answer is not None:
            return answer
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._scorer.score, body, content_type)

    async def stream(self, body: bytes, content_type: str | None) -> AsyncIterator[Answer | bytes]:
        """The answer in parts: its head, with the whole body unless that is an event stream, then events."""
        if not self._scorer.streams(body):
            yield await self.score(body, content_type)
            return
        loop = asyncio.get_running_loop()
        outcome = await loop.run_in_executor(self._threads, self._scorer.stream, body, content_type)
        if isinstance(outcome, Answer):
            yield outcome
            return
        yield Answer(200, EVENT_STREAM, b"")
        while (event := await loop.run_in_executor(self._threads, next, outcome, None)) is not None:
            yield event


class Entity:
    """A replica of one model.

    It has no `__call__`: under HAProxy Ray gives each replica of an app's first deployment an HTTP port of
    its own, and a request that comes in there hasn't passed the ingress' access check.
    """

    def __init__(self, args: dict[str, Any]) -> None:
        self._model = Model(args)

    async def score(self, body: bytes, content_type: str | None) -> tuple[int, str, bytes]:
        """Answer one request: (status, media type, body)."""
        return await self._model.score(body, content_type)

    async def stream(
        self, body: bytes, content_type: str | None
    ) -> AsyncIterator[tuple[int, str, bytes] | bytes]:
        """Answer one request in parts, as `Model.stream` does."""
        async for part in self._model.stream(body, content_type):
            yield part

    async def ping(self) -> bool:
        """True: a replica that can answer this has loaded its model."""
        return True


@serve.ingress()
class Ingress:
    """A replica of an endpoint's front. One reference to an immutable routing table is all its state."""

    def __init__(self, args: dict[str, Any]) -> None:
        self._endpoint = str(args["endpoint"])
        self._table = routing.Table()
        self._gate = Gate({})
        self._auth: dict[str, Any] = {}
        self._handles: dict[str, DeploymentHandle[Any]] = {}
        self._pings: dict[str, tuple[float, asyncio.Future[bool]]] = {}
        primary = args.get("primary")
        self._primary = str(primary["app"]) if primary else None
        self._model = Model(primary) if primary else None

    def __serve_build_asgi_app__(self) -> Callable[..., Awaitable[None]]:
        """The ASGI app of this replica, which Ray asks for after the constructor."""
        return http.app(self._answer)

    async def reconfigure(self, config: dict[str, Any]) -> None:
        """Take new targets, weights and access settings. Never raises: Ray would remove a healthy replica.

        Handles to new apps are made and pinged first; then table and gate are replaced in one step.
        """
        try:
            table = routing.read(config)
            handles = {
                t.app: self._handles.get(t.app) or DeploymentHandle("entity", t.app)
                for t in table.targets
                if t.app != self._primary
            }
            fresh = [handle for app, handle in handles.items() if app not in self._handles]
            if fresh:
                await asyncio.wait([asyncio.ensure_future(_ping(h)) for h in fresh], timeout=_WARM_UP)
            auth = dict(config.get("auth") or {})
            gate = self._gate if auth == self._auth else Gate(auth)
            self._handles, self._table, self._gate, self._auth = handles, table, gate, auth
        except Exception:
            _logger.exception(
                "Endpoint %s keeps its configuration: the new one can't be used", self._endpoint
            )

    async def _answer(self, request: Request) -> Reply:
        """Answer one request below the endpoint's route."""
        match request.method, request.path.strip("/").split("/"):
            case "POST", ["invocations"]:
                return await self._invoke(request, None)
            case "POST", ["served-entities", name, "invocations"]:
                return await self._invoke(request, name)
            case "GET" | "HEAD", ["ping" | "health"]:
                table = self._table
                answer = Answer(200 if table.serves else 404, JSON, b"\n")
                return Reply(answer, ((REVISION_HEADER, table.revision),))
            case "GET" | "HEAD", ["version"]:
                return Reply(Answer(200, JSON, _mlflow_version()))
            case "GET" | "HEAD", ["served-entities", name, "ping"]:
                if (target := self._table.find(name)) is None:
                    return http.NOT_FOUND
                return _reply(Answer(200 if await self._is_up(target.app) else 503, JSON, b"\n"), target)
            case _, ["invocations"] | ["served-entities", _, "invocations"]:
                return http.wrong_method("POST")
            case _, ["ping" | "health" | "version"] | ["served-entities", _, "ping"]:
                return http.wrong_method("GET, HEAD")
        return http.NOT_FOUND

    async def _invoke(self, request: Request, name: str | None) -> Reply:
        caller = await self._gate.check(request.header(b"authorization"))
        if isinstance(caller, Answer):
            return _reply(caller)
        body = await request.body()
        if isinstance(body, Reply):
            return body
        # after the body: while it arrives, the traffic may be switched and an entity removed
        target = self._table.pick() if name is None else self._table.find(name)
        if target is None:
            if name is not None:
                return http.NOT_FOUND
            return _reply(_unavailable("No served entity is available yet."))
        content_type = request.header(b"content-type")
        events = None
        try:
            async with asyncio.timeout(target.timeout):
                if b'"stream"' in body:
                    events = self._stream(target, body, content_type)
                    answer = Answer(*await anext(events))
                elif self._model is not None and target.app == self._primary:
                    answer = await self._model.score(body, content_type)
                else:
                    handle = self._handles[target.app]
                    answer = Answer(*await handle.score.remote(body, content_type))
        except TimeoutError:
            # MLflow's server: this text, under this media type
            answer = Answer(504, JSON, b"Request processing time exceeded limit")
        except Exception as e:
            _logger.warning("%s couldn't answer: %s", target.app, e)
            answer = _unavailable(f"Served entity {target.name} can't answer at the moment.")
        reply = _reply(answer, target)
        return reply._replace(events=events) if answer.media_type == EVENT_STREAM else reply

    def _stream(self, target: routing.Target, body: bytes, content_type: str | None) -> AsyncIterator[Any]:
        """The parts of an answer, from this process or from the entity's app."""
        if self._model is not None and target.app == self._primary:
            return self._model.stream(body, content_type)
        handle = self._handles[target.app].options(stream=True)
        parts: AsyncIterator[Any] = handle.stream.remote(body, content_type)
        return aiter(parts)

    async def _is_up(self, app: str) -> bool:
        """Whether an entity answers; the last answer counts for a second, however many ask."""
        if app == self._primary:
            return True
        asked, answer = self._pings.get(app, (0.0, None))
        if answer is None or time.monotonic() > asked + _PING_AGE:
            answer = asyncio.ensure_future(_ping(self._handles[app]))
            self._pings = {name: ping for name, ping in self._pings.items() if name in self._handles}
            self._pings[app] = time.monotonic(), answer
        return await asyncio.shield(answer)


async def _ping(handle: DeploymentHandle[Any]) -> bool:
    try:
        async with asyncio.timeout(_PING):
            return bool(await handle.ping.remote())
    except Exception:
        return False


def _unavailable(message: str) -> Answer:
    return error(503, "TEMPORARILY_UNAVAILABLE", message)


def _reply(answer: Answer, target: routing.Target | None = None) -> Reply:
    headers: list[tuple[str, str]] = []
    if target is not None:
        headers = [(ENTITY_HEADER, target.name), (VERSION_HEADER, str(target.entity_version))]
    if answer.status == 401:
        headers.extend(CHALLENGES)
    if answer.status == 503:
        headers.append(("Retry-After", "1"))
    return Reply(answer, tuple(headers))


def _mlflow_version() -> bytes:
    """What MLflow's `/version` answers, without importing it."""
    from importlib.metadata import PackageNotFoundError, version

    for package in ("mlflow", "mlflow-skinny"):
        try:
            return version(package).encode()
        except PackageNotFoundError:
            continue
    return b""
