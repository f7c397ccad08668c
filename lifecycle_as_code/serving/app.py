"""The two Ray Serve apps of an endpoint, as builders: `entity` holds a model, `ingress` directs the traffic.

An entity app is immutable: its name holds a hash of what it serves, and it has no route. An ingress app
answers `/serving-endpoints/<name>/…`, checks access, picks an entity by weight and passes bytes through
unparsed; its targets, weights and access settings are its `user_config`, which changes without a restart.
"""

from __future__ import annotations

import asyncio
import logging
import os
from typing import Any

from ray import serve
from ray.serve.handle import DeploymentHandle
from starlette.requests import Request
from starlette.responses import Response

from lifecycle_as_code.serving import references, routing
from lifecycle_as_code.serving.access import Gate
from lifecycle_as_code.serving.scoring import JSON, Answer, Scorer, error

_logger = logging.getLogger(__name__)

ENTITY_HEADER = "X-Served-Entity"
VERSION_HEADER = "X-Served-Entity-Version"
REVISION_HEADER = "X-Endpoint-Revision"

# how long new entities may take to answer their first ping before traffic is switched regardless, in seconds
_WARM_UP = 10.0
_PING = 10.0


def entity(args: dict[str, Any]) -> serve.Application:
    """The app of one served entity. `args`: `model_uri`, `environment_vars`, `tracking_uri`? and marks."""
    return serve.deployment(Entity, name="entity", max_constructor_retry_count=2).bind(args)


def ingress(args: dict[str, Any]) -> serve.Application:
    """The app of one endpoint: `{"endpoint", "stack"}`; the rest is its deployment's `user_config`."""
    return serve.deployment(Ingress, name="ingress").bind(args)


class Entity:
    """A replica of one model.

    It has no `__call__`: under HAProxy Ray gives each replica of an app's first deployment an HTTP port of
    its own, and a request that comes in there hasn't passed the ingress' access check.
    """

    def __init__(self, args: dict[str, Any]) -> None:
        # before mlflow is imported and the model's libraries read them
        os.environ.update(references.resolve_all(args.get("environment_vars") or {}))
        if tracking_uri := args.get("tracking_uri"):
            os.environ["MLFLOW_TRACKING_URI"] = references.resolve(tracking_uri)
        self._scorer = Scorer.load(references.resolve(args["model_uri"]))

    async def score(self, body: bytes, content_type: str | None) -> tuple[int, str, bytes]:
        """Answer one request: (status, media type, body). In a thread, as MLflow's server does it."""
        return await asyncio.to_thread(self._scorer.score, body, content_type)

    async def ping(self) -> bool:
        """True: a replica that can answer this has loaded its model."""
        return True


class Ingress:
    """A replica of an endpoint's front. One reference to an immutable routing table is all its state."""

    def __init__(self, args: dict[str, Any]) -> None:
        self._endpoint = str(args["endpoint"])
        self._table = routing.Table()
        self._gate = Gate({})
        self._auth: dict[str, Any] = {}
        self._handles: dict[str, DeploymentHandle[Any]] = {}

    async def reconfigure(self, config: dict[str, Any]) -> None:
        """Take new targets, weights and access settings. Never raises: Ray would remove a healthy replica.

        Handles to new apps are made and pinged first; then table and gate are replaced in one step.
        """
        try:
            table = routing.read(config)
            handles = {
                t.app: self._handles.get(t.app) or DeploymentHandle("entity", t.app) for t in table.targets
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

    async def __call__(self, request: Request) -> Response:
        """Answer one request below the endpoint's route."""
        gate = self._gate
        path = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
        match request.method, path.strip("/").split("/"):
            case "GET", ["ping" | "health"]:
                table = self._table
                return Response("\n", 200 if table.serves else 404, {REVISION_HEADER: table.revision}, JSON)
            case "GET", ["version"]:
                return Response(_mlflow_version(), 200, media_type=JSON)
            case "GET", ["served-entities", name, "ping"] if target := self._table.find(name):
                answers = await _ping(self._handles[target.app])
                return _response(Answer(200 if answers else 503, JSON, b"\n"), target)
            case "POST", ["invocations"] | ["served-entities", _, "invocations"] as parts:
                if refusal := await gate.check(request.headers.get("authorization")):
                    return _response(refusal)
                body = await request.body()
                # after the body: while it arrives, the traffic may be switched and an entity removed
                target = self._table.pick() if len(parts) == 1 else self._table.find(parts[1])
                if target is None:
                    return _response(
                        error(503, "TEMPORARILY_UNAVAILABLE", "No served entity is available yet.")
                    )
                content_type = request.headers.get("content-type")
                return await _invoke(body, content_type, self._handles[target.app], target)
            case _, ["invocations" | "ping" | "health" | "version"]:
                return Response(b'{"detail":"Method Not Allowed"}', 405, media_type=JSON)
        return Response(b'{"detail":"Not Found"}', 404, media_type=JSON)


async def _invoke(
    body: bytes, content_type: str | None, handle: DeploymentHandle[Any], target: routing.Target
) -> Response:
    try:
        async with asyncio.timeout(target.timeout):
            answer = Answer(*await handle.score.remote(body, content_type))
    except TimeoutError:
        # MLflow's server: this text, under this media type
        answer = Answer(504, JSON, b"Request processing time exceeded limit")
    except Exception as e:
        _logger.warning("%s couldn't answer: %s", target.app, e)
        answer = error(
            503, "TEMPORARILY_UNAVAILABLE", f"Served entity {target.name} can't answer at the moment."
        )
    return _response(answer, target)


async def _ping(handle: DeploymentHandle[Any]) -> bool:
    try:
        async with asyncio.timeout(_PING):
            return bool(await handle.ping.remote())
    except Exception:
        return False


def _response(answer: Answer, target: routing.Target | None = None) -> Response:
    headers = {}
    if target is not None:
        headers = {ENTITY_HEADER: target.name, VERSION_HEADER: str(target.entity_version)}
    if answer.status == 401:
        headers["WWW-Authenticate"] = 'Basic realm="mlflow"'
    return Response(answer.body, answer.status, headers, answer.media_type)


def _mlflow_version() -> str:
    """What MLflow's `/version` answers, without importing it."""
    from importlib.metadata import PackageNotFoundError, version

    for package in ("mlflow", "mlflow-skinny"):
        try:
            return version(package)
        except PackageNotFoundError:
            continue
    return ""
