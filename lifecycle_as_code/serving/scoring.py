"""One request to one model, by MLflow's scoring protocol: bytes in, status and bytes out.

An answer is what `mlflow models serve` would have given, by one of three ways:

- from an array: a plain request to a model of a known flavor never meets pandas (`columns`, `native`);
- from a DataFrame that already is what schema enforcement would make of it, for other models;
- by MLflow's own parsing, enforcement and errors (`mlflow.pyfunc.scoring_server`), for everything else.
"""

from __future__ import annotations

import json
import logging
import re
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from lifecycle_as_code.serving.answer import JSON, Answer, error

if TYPE_CHECKING:
    from mlflow.pyfunc import PyFuncModel

    from lifecycle_as_code.serving.columns import Columns, Tensor
    from lifecycle_as_code.serving.native import Predict

_logger = logging.getLogger(__name__)

# how long an answer may take on the event loop, in seconds
INLINE_LIMIT = 0.002

# bytes of a wrong answer that an error repeats
_EXCERPT = 500

_JSON_TYPES = {JSON, f"{JSON}; charset=utf-8", f"{JSON};charset=utf-8"}
_MANY_DIGITS = re.compile(rb"\d{19,}")


class Scorer:
    """A loaded pyfunc model. `score` and `stream` block, and may be called from several threads.

    On an event loop: `scorer.score_inline(…) or await asyncio.to_thread(scorer.score, …)`.
    """

    def __init__(self, model: PyFuncModel) -> None:
        self._model = model
        self._schema = model.metadata.get_input_schema()
        self._pace = _Pace()
        self._table: Columns | Tensor | None = None
        self._predict: Predict | None = None
        self._enforced: PyFuncModel | None = None
        try:
            self._table, self._predict, self._enforced = _find_ways(model, self._schema)
            if self._table and self._predict and not self._agrees(self._table):
                self._predict = None
        except Exception as e:
            # a flavor of another version: what MLflow does with it is still right
            _logger.warning("Requests take MLflow's own way: %s: %s", type(e).__name__, e)
            self._predict = self._enforced = None

    @classmethod
    def load(cls, model_uri: str) -> Scorer:
        """Load with `mlflow.pyfunc.load_model`, and raise what it raises.

        A model that was logged with an input example must answer it: RuntimeError with its answer otherwise.
        """
        import os

        import mlflow.artifacts
        import mlflow.pyfunc

        # as MLflow's own server does before it predicts: flavors look at it
        os.environ["_MLFLOW_IS_IN_SERVING_ENVIRONMENT"] = "true"
        path = mlflow.artifacts.download_artifacts(artifact_uri=model_uri)
        model = mlflow.pyfunc.load_model(path)
        scorer = cls(model)
        if example := model.metadata.get_serving_input(path):
            answer = scorer.score(example.encode(), JSON)
            if answer.status != 200:
                raise RuntimeError(
                    f"The model answers its own input example with {answer.status}: "
                    f"{answer.body[:_EXCERPT].decode(errors='replace')}"
                )
        return scorer

    def score(
        self, body: bytes, content_type: str | None, cancelled: threading.Event | None = None
    ) -> Answer:
        """Answer one request. Raises nothing that a request or the model can cause.

        `cancelled` is for models that can stop on the way; a pyfunc model can't.
        A missing content type is 415 here; MLflow's server fails on it with a bare 500.
        """
        start = time.thread_time()
        if answer := self._from_array(body, content_type):
            self._pace.add_cpu(len(body), time.thread_time() - start)
            return answer
        return self._by_pyfunc(body, content_type or "")

    def score_inline(self, body: bytes, content_type: str | None) -> Answer | None:
        """Answer one request at once, if that takes less than `INLINE_LIMIT` by the calls before it.

        None: call `score` in a thread.
        """
        if self._predict is None or self._pace.estimate(len(body)) > INLINE_LIMIT:
            return None
        start = time.perf_counter()
        if answer := self._from_array(body, content_type):
            self._pace.add_wall(len(body), time.perf_counter() - start)
        return answer

    def _from_array(self, body: bytes, content_type: str | None) -> Answer | None:
        import orjson

        if self._predict is None or self._table is None or content_type not in _JSON_TYPES:
            return None
        try:
            rows = self._table.rows(orjson.loads(body))
            x = self._table.array(rows) if rows else None
            if x is None:
                return None
            predictions = self._predict(x)
            # json and not orjson: MLflow's spaces, exponents and NaN
            return Answer(200, JSON, json.dumps({"predictions": _plain(predictions)}).encode())
        except Exception:
            # whether it is an error, and which, is MLflow's to say
            return None

    def _by_pyfunc(self, body: bytes, content_type: str) -> Answer:
        from mlflow.exceptions import MlflowException
        from mlflow.pyfunc import scoring_server

        data: Any = body
        model, schema = self._model, self._schema
        if content_type.partition(";")[0].strip() == JSON:
            if (prepared := self._prepare(body)) is not None:
                data, model, schema = prepared, self._enforced, None
            else:
                data = _read_json(body)
        try:
            reply = scoring_server.invocations(data, content_type, model, schema)
        except MlflowException as e:
            return _refusal(e)
        # a model may raise SystemExit, KeyboardInterrupt or CancelledError: no reason to end the replica
        except BaseException as e:
            return error(500, "INTERNAL_ERROR", f"{type(e).__name__}: {e}")
        return Answer(reply.status, reply.mimetype, reply.response.encode())

    def _prepare(self, body: bytes) -> dict[str, Any] | None:
        """The request with its table as a DataFrame, free of huge integers, that needs no enforcement."""
        import orjson

        if self._enforced is None:
            return None
        try:
            request = orjson.loads(body)
            params = {"params": request.pop("params")} if "params" in request else {}
            frame = self._table.frame(request)  # type: ignore[union-attr]  # `_enforced` has a table
        except Exception:
            return None
        if frame is None or (params and _has_huge_integer(body)):
            return None
        return {"dataframe_split": {"data": frame}, **params}

    def _agrees(self, table: Columns | Tensor) -> bool:
        """Whether both ways give the same answers to generated rows and to the model's input example."""
        same = 0
        for body in _sample_requests(self._model, table):
            self._from_array(body, JSON)
            start = time.thread_time()
            answer = self._from_array(body, JSON)
            seconds = time.thread_time() - start
            if answer is None:
                continue
            if answer != self._by_pyfunc(body, JSON):
                return False
            self._pace.add_cpu(len(body), seconds)
            same += 1
        return same > 0

    def streams(self, body: bytes) -> bool:
        """Whether the request says `"stream": true` and the model can. Then call `stream`."""
        if not self._model.metadata.flavors["python_function"].get("streamable") or b'"stream"' not in body:
            return False
        request = _read_json(body)
        return isinstance(request, dict) and request.get("stream") is True

    def stream(
        self, body: bytes, content_type: str | None, cancelled: threading.Event | None = None
    ) -> Answer | Iterator[bytes]:
        """The server-sent events of the model's `predict_stream`, by the protocol of MLflow's agent server.

        `data: {…}` for each chunk, `data: {"error": …}` where the model fails on the way, and `data: [DONE]`
        last. What fails before the first event is an Answer with a status of its own.
        """
        from mlflow.exceptions import MlflowException
        from mlflow.pyfunc import scoring_server

        if (content_type or "").partition(";")[0].strip() != JSON:
            return self.score(body, content_type)
        try:
            request = scoring_server._parse_json_data(_read_json(body), self._model.metadata, self._schema)
            chunks = iter(self._model.predict_stream(request.data, params=request.params))
            first = _event(next(chunks, None))
        except MlflowException as e:
            return _refusal(e)
        except BaseException as e:
            return error(500, "INTERNAL_ERROR", f"{type(e).__name__}: {e}")
        return _events(first, chunks)


class _Pace:
    """How many seconds an answer takes, by the size of its request: a number for each power of two.

    What a thread measures is its CPU alone, since it waits for others; it counts until a call on the event
    loop was measured by the clock. One slow call there may be chance, so that its number rises slowly.
    """

    def __init__(self) -> None:
        self._cpu: dict[int, float] = {}
        self._wall: dict[int, float] = {}

    def estimate(self, size: int) -> float:
        """Seconds; infinity for a size that was never measured."""
        bucket = size.bit_length()
        return self._wall.get(bucket) or self._cpu.get(bucket, float("inf"))

    def add_cpu(self, size: int, seconds: float) -> None:
        bucket = size.bit_length()
        self._cpu[bucket] = min(seconds, self._cpu.get(bucket, seconds))

    def add_wall(self, size: int, seconds: float) -> None:
        self._wall[size.bit_length()] = min(seconds, self.estimate(size) * 1.25)


def _find_ways(
    model: PyFuncModel, schema: Any
) -> tuple[Columns | Tensor | None, Predict | None, PyFuncModel | None]:
    """How a plain request is read, what predicts from an array, and the model without enforcement."""
    from lifecycle_as_code.serving import columns, native

    table = columns.Columns.of(schema) or columns.Tensor.of(schema)
    metadata = model.metadata
    if table is None or metadata._is_signature_from_type_hint() or metadata._is_type_hint_from_example():
        return None, None, None
    predict = native.find_predictor(model, table)
    return table, predict, _without_enforcement(model) if isinstance(table, columns.Columns) else None


def _without_enforcement(model: PyFuncModel) -> PyFuncModel:
    """`model` with a signature that keeps its params and has no inputs. Only for what is exact already."""
    import copy

    from mlflow.models import ModelSignature
    from mlflow.pyfunc import PyFuncModel

    metadata, flavor = copy.copy(model.metadata), model.metadata.flavors["python_function"]
    params = metadata.get_params_schema()
    metadata.signature = ModelSignature(params=params) if params else None
    return PyFuncModel(
        metadata, model._model_impl, flavor.get("predict_fn", "predict"), model_id=model.model_id
    )


def _sample_requests(model: PyFuncModel, table: Columns | Tensor) -> Iterator[bytes]:
    import orjson

    if to_json := getattr(model.input_example, "to_json", None):
        yield f'{{"dataframe_split": {to_json(orient="split")}}}'.encode()
    for rows in (1, 8):
        yield orjson.dumps(table.sample(rows))


def _plain(predictions: Any) -> Any:
    """Predictions as MLflow's encoder writes them. TypeError where that takes pandas."""
    import numpy as np

    if type(predictions) is np.ndarray:
        return predictions.tolist()
    if type(predictions) is dict:
        return {name: _plain(values) for name, values in predictions.items()}
    if type(predictions) is list:
        return predictions
    raise TypeError(type(predictions).__name__)


def _read_json(body: bytes) -> dict[str, Any] | bytes:
    """The object in `body`; `body` itself where MLflow must judge: no object, or not what orjson takes."""
    import orjson

    if _has_huge_integer(body):
        return body
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return body
    return value if isinstance(value, dict) else body


def _has_huge_integer(body: bytes) -> bool:
    """Whether orjson might make a float of what stays an integer in json: one beyond 64 bits."""
    return any(
        body[m.start() - 1 : m.start()] != b"." and body[m.end() : m.end() + 1] not in (b".", b"e", b"E")
        for m in _MANY_DIGITS.finditer(body)
    )


def _refusal(e: Any) -> Answer:
    """What MLflow's server makes of an MlflowException."""
    import traceback

    if "stack_trace" in e.json_kwargs and e.__context__ is not None:
        # anew: Ray's `print` in a replica writes a tuple into the text that MLflow's `print_exc` makes
        e.json_kwargs["stack_trace"] = "".join(traceback.format_exception(e.__context__))
    return Answer(e.get_http_status_code(), JSON, e.serialize_as_json().encode())


def _event(chunk: Any) -> bytes:
    from mlflow.pyfunc import scoring_server

    text = json.dumps(scoring_server._get_jsonable_obj(chunk), cls=scoring_server.NumpyEncoder)
    return f"data: {text}\n\n".encode()


def _events(first: bytes, chunks: Iterator[Any]) -> Iterator[bytes]:
    yield first
    try:
        for chunk in chunks:
            yield _event(chunk)
    except GeneratorExit:
        raise
    except BaseException as e:
        yield _event({"error": str(e)})
    yield b"data: [DONE]\n\n"
