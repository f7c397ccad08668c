"""The two Ray Serve apps of an endpoint, as builders: `ingress` answers HTTP, `entity` holds a model.

An ingress answers `/serving-endpoints/<name>/…`, checks access and limits, and picks an entity by weight. It
holds the model of one entity, the primary, in its own process: a request for that one takes no further hop.
A request for another entity goes to that entity's app, its bytes unparsed, or to the provider that runs the
model. Targets, weights and settings are the ingress' `user_config`, which changes without a restart.

An entity app is immutable: its name holds a hash of what it serves, and it has no route.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import ray
from ray import serve
from ray.serve.handle import DeploymentHandle

from lifecycle_as_code.serving import http, llm, references, routing
from lifecycle_as_code.serving.answer import EVENT_STREAM, JSON, Answer, error
from lifecycle_as_code.serving.exchange import Exchange
from lifecycle_as_code.serving.exchange import make_reply as _reply
from lifecycle_as_code.serving.front import Front
from lifecycle_as_code.serving.guardrails import Finding, refuse_answer, refuse_request
from lifecycle_as_code.serving.http import Reply, Request
from lifecycle_as_code.serving.llm import Outcome
from lifecycle_as_code.serving.metrics import Metrics
from lifecycle_as_code.serving.scoring import Scorer

if TYPE_CHECKING:
    from lifecycle_as_code.serving.guardrails import Guardrails
    from lifecycle_as_code.serving.language.model import LanguageModel
    from lifecycle_as_code.serving.limits import Refusal

_logger = logging.getLogger(__name__)

REVISION_HEADER = "X-Endpoint-Revision"

# how long new entities may take to answer their first ping before traffic is switched regardless, in seconds
_WARM_UP = 10.0
_PING = 10.0
_PING_AGE = 1.0
"""Seconds for which an entity's answer to a ping counts: whoever asks, it works no more often."""
_THREADS = 64
"""As many predictions run at once; `max_ongoing_requests` may be less."""
_RETRIES = 2
_EXCERPT = 300
_SHORT = 16 * 1024
_FALLBACK_STATUSES = frozenset((429, 500, 502, 503, 504))
"""Answers in whose place another entity is asked, where the endpoint falls back."""


def entity(args: dict[str, Any]) -> serve.Application:
    """The app of one served entity. `args`: `model_uri`, `environment_vars`, `tracking_uri`? and marks."""
    check_format(args)
    return serve.deployment(Entity, name="entity", max_constructor_retry_count=_RETRIES).bind(args)


def ingress(args: dict[str, Any]) -> serve.Application:
    """The app of one endpoint. `args`: `endpoint`, `stack`, and in `primary` those of the entity that it
    holds, with its `app`; the rest is its deployment's `user_config`."""
    check_format(args)
    return serve.deployment(Ingress, name="ingress", max_constructor_retry_count=_RETRIES).bind(args)


def check_format(args: dict[str, Any]) -> None:
    """RuntimeError for the config of another release, whose args may mean something else."""
    if args.get("lac") != routing.FORMAT:
        raise RuntimeError(
            "The cluster's nodes have another release of lac than the one that applies. "
            "Install the same one on both."
        )


class Model:
    """A model in this process, and the threads that predict with it. `args`: an entity's; with a `task` it
    is a language model."""

    def __init__(self, args: dict[str, Any]) -> None:
        # before mlflow is imported and the model's libraries read them
        variables = args.get("environment_vars") or {}
        os.environ.update(references.resolve_all(variables, os.environ, args.get("secrets")))
        if tracking_uri := args.get("tracking_uri"):
            os.environ["MLFLOW_TRACKING_URI"] = references.resolve(tracking_uri)
        self._scorer = _load(references.resolve(args["model_uri"]), args)
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="lac-predict")

    async def score(self, body: bytes, content_type: str | None) -> Answer:
        """Answer one request: at once what takes microseconds, in a thread what may take long."""
        answer = self._scorer.score_inline(body, content_type)
        if answer is not None:
            return answer
        cancelled, loop = threading.Event(), asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(
                self._threads, self._scorer.score, body, content_type, cancelled
            )
        finally:
            # after a timeout, or once the client has left, nobody waits for the answer
            cancelled.set()

    async def stream(self, body: bytes, content_type: str | None) -> AsyncIterator[Answer | bytes]:
        """The answer in parts: its head, with the whole body unless that is an event stream, then events."""
        if not self._scorer.streams(body):
            yield await self.score(body, content_type)
            return
        cancelled, loop = threading.Event(), asyncio.get_running_loop()
        try:
            outcome = await loop.run_in_executor(
                self._threads, self._scorer.stream, body, content_type, cancelled
            )
            if isinstance(outcome, Answer):
                yield outcome
                return
            yield Answer(200, EVENT_STREAM, b"")
            while (event := await loop.run_in_executor(self._threads, next, outcome, None)) is not None:
                yield event
        finally:
            cancelled.set()


def _load(location: str, args: dict[str, Any]) -> Scorer | LanguageModel:
    if not (task := args.get("task")):
        return Scorer.load(location)
    from lifecycle_as_code.serving.language.model import LanguageModel

    # without a version `entity_name` is a path on the node, which callers must not see
    name = str(args.get("entity_name") or "") if args.get("entity_version") else ""
    return LanguageModel.load(location, task, name)


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
    """A replica of an endpoint's front. One reference to an immutable `Front` is all its state."""

    def __init__(self, args: dict[str, Any]) -> None:
        self._endpoint = str(args["endpoint"])
        self._front = Front()
        # why the latest configuration isn't used; it names no secret, since none is resolved yet
        self._refusal = ""
        self._pings: dict[str, tuple[float, asyncio.Future[bool]]] = {}
        primary = args.get("primary")
        self._primary = str(primary["app"]) if primary else None
        self._model = Model(primary) if primary else None
        self._metrics = Metrics(self._endpoint, lambda: log.lost if (log := self._front.log) else 0)
        # former ones that requests still use come first
        self._fronts = [self._front]
        self._retirement: asyncio.Future[None] | None = None

    def __serve_build_asgi_app__(self) -> Callable[..., Awaitable[None]]:
        """The ASGI app of this replica, which Ray asks for after the constructor."""
        return http.app(self._answer, self._close)

    async def reconfigure(self, config: dict[str, Any]) -> None:
        """Take new targets, weights and settings. Never raises: Ray would remove a healthy replica.

        Handles to new apps are made and pinged first, and a store of limits is connected to; then the front
        is replaced in one step.
        """
        try:
            former = self._front
            # off the event loop: a provider's dialect may be imported
            front = await asyncio.to_thread(Front.read, self._endpoint, config, former, self._primary)
            fresh: list[Coroutine[Any, Any, object]] = [
                _ping(handle) for app, handle in front.handles.items() if app not in former.handles
            ]
            if front.limits is not None and front.limits is not former.limits:
                fresh.append(front.limits.open())
            if fresh:
                await asyncio.wait([asyncio.ensure_future(one) for one in fresh], timeout=_WARM_UP)
            self._front, self._refusal = front, ""
            self._fronts.append(front)
            if self._retirement is None or self._retirement.done():
                self._retirement = asyncio.ensure_future(self._retire())
        except Exception as e:
            self._refusal = f"it can't use its new configuration: {type(e).__name__}: {e}"[:_EXCERPT]
            _logger.exception(
                "Endpoint %s keeps its configuration: the new one can't be used", self._endpoint
            )

    async def _retire(self) -> None:
        """Close what former fronts alone use, each once its requests and all earlier ones are done."""
        while len(self._fronts) > 1:
            await self._fronts[0].users.wait()
            former = self._fronts.pop(0)
            await former.close(self._fronts[0])

    async def _close(self) -> None:
        """The end of the replica, whose requests are done: what isn't written yet is written."""
        for front in self._fronts:
            front.users.abandon()
        if self._retirement is not None:
            await self._retirement
        await self._front.close()
        await asyncio.to_thread(self._metrics.close)

    async def _answer(self, request: Request) -> Reply:
        """Answer one request below the endpoint's route."""
        match request.method, request.path.strip("/").split("/"):
            case "POST", ["invocations"]:
                return await self._invoke(request, None)
            case "POST", ["served-entities", name, "invocations"]:
                return await self._invoke(request, name)
            case "POST", ["v1", *route] if (task := llm.ROUTES.get("/".join(route))) is not None:
                return await self._invoke(request, None, task)
            case "GET" | "HEAD", ["v1", "models"]:
                return await self._list_models(request)
            case "GET" | "HEAD", ["ping" | "health"]:
                table = self._front.table
                answer = Answer(200 if table.serves else 404, JSON, b"\n")
                return Reply(answer, ((REVISION_HEADER, table.revision),))
            case "GET" | "HEAD", ["version"]:
                return Reply(Answer(200, JSON, _mlflow_version()))
            case "GET" | "HEAD", ["served-entities", name, "ping"]:
                if (target := self._front.table.find(name)) is None:
                    return _reply(_unavailable(self._refusal)) if self._refusal else http.NOT_FOUND
                return _reply(await self._ping(target), target)
            case _, ["invocations"] | ["served-entities", _, "invocations"]:
                return http.wrong_method("POST")
            case _, ["v1", *route] if "/".join(route) in llm.ROUTES:
                return http.wrong_method("POST")
            case _, ["ping" | "health" | "version"] | ["served-entities", _, "ping"] | ["v1", "models"]:
                return http.wrong_method("GET, HEAD")
        return http.NOT_FOUND

    async def _list_models(self, request: Request) -> Reply:
        """OpenAI's list of models, as some clients ask for first: the endpoint is the one that there is."""
        front = self._front
        caller = await front.gate.check(request.header(b"authorization"))
        if isinstance(caller, Answer):
            return _reply(caller)
        if not front.table.task:
            return http.NOT_FOUND
        model = {"id": self._endpoint, "object": "model", "created": 0, "owned_by": "lac"}
        return Reply(Answer(200, JSON, llm.write({"object": "list", "data": [model]})))

    async def _invoke(self, request: Request, name: str | None, task: str | None = None) -> Reply:
        """The answer of a served entity: the one called `name`, or one by weight. It is always recorded."""
        exchange = Exchange(request, self._endpoint, self._metrics, self._front)
        try:
            return await self._respond(exchange, request, name, task)
        except BaseException as e:
            exchange.abort(e)
            raise

    async def _respond(
        self, exchange: Exchange, request: Request, name: str | None, task: str | None
    ) -> Reply:
        """Access, limits, the body, and a served entity; then its answer."""
        front = exchange.front
        caller = await front.gate.check(request.header(b"authorization"))
        if isinstance(caller, Answer):
            return exchange.end(Outcome(caller))
        exchange.caller = caller
        if front.limits is not None and (refusal := await front.limits.take(caller)) is not None:
            self._metrics.count_limited()
            exchange.note("limit")
            return exchange.end(_refuse(refusal, front.table.task))
        body = await request.body()
        if isinstance(body, Reply):
            return exchange.end_with(body)
        # after the body: while it arrives, the traffic may be switched and an entity removed
        exchange.use(self._front)
        table = exchange.front.table
        target = table.pick() if name is None else table.find(name)
        if target is None:
            if name is not None:
                return exchange.end_with(http.NOT_FOUND)
            return exchange.end(Outcome(_unavailable("No served entity is available yet.")))
        if target.task:
            return await self._complete(exchange, target, body, task, fixed=name is not None)
        if task is not None:
            return exchange.end_with(http.NOT_FOUND)
        exchange.request_body = body
        content_type = request.header(b"content-type")
        streams = b'"stream"' in body
        return exchange.end(
            *await self._ask_in_turn(exchange, target, body, content_type, streams, fixed=name is not None)
        )

    async def _complete(
        self, exchange: Exchange, target: routing.Target, body: bytes, task: str | None, *, fixed: bool
    ) -> Reply:
        """The answer of a language model, between guardrails."""
        if task is not None and task != target.task:
            message = f"This endpoint's task is {target.task}; call its route."
            return exchange.end(Outcome(llm.error(400, "INVALID_PARAMETER_VALUE", message)))
        payload = llm.read_request(body)
        if isinstance(payload, Answer):
            return exchange.end(Outcome(payload))
        guard = exchange.front.guardrails
        if guard is not None:
            finding = await _check(guard.check_request, payload, len(body))
            if finding.blocked is not None:
                exchange.note("guardrail")
                return exchange.end(Outcome(refuse_request(finding)))
            if finding.masked:
                payload = finding.payload
                body = llm.write(payload)
        exchange.request_body = body
        streams = payload.get("stream") is True
        outcome, events = await self._ask_in_turn(exchange, target, body, JSON, streams, fixed=fixed)
        if guard is not None and outcome.answer.status == 200:
            if events is not None:
                events = guard.watch(events, lambda: exchange.note("guardrail"))
            else:
                outcome = await self._check_answer(guard, outcome, exchange)
        return exchange.end(outcome, events)

    async def _check_answer(self, guard: Guardrails, outcome: Outcome, exchange: Exchange) -> Outcome:
        tokens = llm.read_tokens(outcome.answer.body)
        body = outcome.answer.body
        finding = await _check(guard.check_answer, llm.read(body), len(body))
        if finding.blocked is not None:
            exchange.note("guardrail")
            exchange.tokens = tokens
            return Outcome(refuse_answer(finding))
        if finding.masked:
            return Outcome(Answer(200, JSON, llm.write(finding.payload)))
        return outcome

    async def _ask_in_turn(
        self,
        exchange: Exchange,
        target: routing.Target,
        body: bytes,
        content_type: str | None,
        streams: bool,
        *,
        fixed: bool,
    ) -> tuple[Outcome, AsyncGenerator[bytes, None] | None]:
        """The first good answer of `target` and, where the endpoint falls back and the caller named none, of
        the others in order; otherwise the last one's error."""
        front = exchange.front
        others = front.table.successors(target) if front.falls_back and not fixed else []
        answer = await self._ask(exchange, target, body, content_type, streams)
        for other in others:
            if answer[0].answer.status not in _FALLBACK_STATUSES:
                break
            exchange.note("fallback")
            answer = await self._ask(exchange, other, body, content_type, streams)
        return answer

    async def _ask(
        self,
        exchange: Exchange,
        target: routing.Target,
        body: bytes,
        content_type: str | None,
        streams: bool,
    ) -> tuple[Outcome, AsyncGenerator[bytes, None] | None]:
        """One entity's answer: whole, or its head and the events that follow."""
        front, exchange.target = exchange.front, target
        # its first item is the head, the others are events
        events: Any = None
        try:
            async with asyncio.timeout(target.timeout):
                if (proxy := front.proxies.get(target.app)) is not None:
                    if not streams:
                        return await proxy.answer(body, exchange.trace), None
                    events = proxy.stream(body, exchange.trace)
                    outcome = await anext(events)
                elif streams:
                    events = self._stream(front, target, body, content_type)
                    outcome = Outcome(Answer(*await anext(events)))
                elif self._model is not None and target.app == self._primary:
                    return Outcome(await self._model.score(body, content_type)), None
                else:
                    handle = front.handles[target.app]
                    return Outcome(Answer(*await handle.score.remote(body, content_type))), None
            if outcome.answer.media_type == EVENT_STREAM:
                return outcome, events
            await events.aclose()
            return outcome, None
        except TimeoutError:
            # MLflow's server: this text, under this media type
            answer = Answer(504, JSON, b"Request processing time exceeded limit")
            if target.task:
                answer = llm.error(504, "DEADLINE_EXCEEDED", "The model took too long to answer.")
        except Exception as e:
            _logger.warning("%s couldn't answer: %s", target.app, e)
            answer = _unavailable(f"Served entity {target.name} can't answer at the moment.")
        if events is not None:
            await events.aclose()
        return Outcome(answer), None

    async def _stream(
        self, front: Front, target: routing.Target, body: bytes, content_type: str | None
    ) -> AsyncGenerator[Any, None]:
        """The parts of an answer, from this process or from the entity's app."""
        if self._model is not None and target.app == self._primary:
            parts: AsyncIterator[Any] = self._model.stream(body, content_type)
            async for part in parts:
                yield part
            return
        response = front.handles[target.app].options(stream=True).stream.remote(body, content_type)
        try:
            async for part in response:
                yield part
        finally:
            response.cancel()

    async def _ping(self, target: routing.Target) -> Answer:
        """Whether an entity can answer. Only while it is on trial the answer says what is missing: anyone may
        ask."""
        if (proxy := self._front.proxies.get(target.app)) is None:
            return Answer(200 if await self._is_up(target.app) else 503, JSON, b"\n")
        try:
            await proxy.check()
        except Exception as e:
            _logger.warning("%s can't answer: %s", target.app, e)
            node = ray.get_runtime_context().get_node_id()[:8]
            reason = (
                f"{e.args[0]} (node {node})" if target.trial and isinstance(e, LookupError) else "not ready"
            )
            return error(503, "TEMPORARILY_UNAVAILABLE", reason)
        return Answer(200, JSON, b"\n")

    async def _is_up(self, app: str) -> bool:
        """Whether an entity answers; the last answer counts for a second, however many ask."""
        if app == self._primary:
            return True
        handles = self._front.handles
        asked, answer = self._pings.get(app, (0.0, None))
        if answer is None or time.monotonic() > asked + _PING_AGE:
            answer = asyncio.ensure_future(_ping(handles[app]))
            self._pings = {name: ping for name, ping in self._pings.items() if name in handles}
            self._pings[app] = time.monotonic(), answer
        return await asyncio.shield(answer)


async def _check(check: Callable[[Any], Finding], payload: dict[str, Any], size: int) -> Finding:
    """What a guard says: of a long text in a thread, which costs more than a short text's check."""
    return check(payload) if size <= _SHORT else await asyncio.to_thread(check, payload)


async def _ping(handle: DeploymentHandle[Any]) -> bool:
    try:
        async with asyncio.timeout(_PING):
            return bool(await handle.ping.remote())
    except Exception:
        return False


def _unavailable(message: str) -> Answer:
    return error(503, "TEMPORARILY_UNAVAILABLE", message)


def _refuse(refusal: Refusal, task: str) -> Outcome:
    code = "RESOURCE_EXHAUSTED" if refusal.status == 429 else "TEMPORARILY_UNAVAILABLE"
    make = llm.error if task else error
    return Outcome(make(refusal.status, code, refusal.message), refusal.retry_after)


def _mlflow_version() -> bytes:
    """What MLflow's `/version` answers, without importing it."""
    from importlib.metadata import PackageNotFoundError, version

    for package in ("mlflow", "mlflow-skinny"):
        try:
            return version(package).encode()
        except PackageNotFoundError:
            continue
    return b""
