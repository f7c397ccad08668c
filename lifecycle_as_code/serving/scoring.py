"""One request to one model, by MLflow's scoring protocol: bytes in, status and bytes out.

Parsing, prediction, formatting and every error are MLflow's own (`mlflow.pyfunc.scoring_server`), so an
answer is what `mlflow models serve` would have given. What is added: orjson reads plain JSON bodies first,
since MLflow's function reads a JSON text twice and takes a dict as it is.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from mlflow.pyfunc import PyFuncModel

JSON = "application/json"

# integers beyond 64 bits become floats in orjson and stay integers in json
_HUGE_INTEGER = re.compile(rb"\d{19}")


class Answer(NamedTuple):
    """What goes back to the client. A plain tuple: it crosses from replica to replica with each request."""

    status: int
    media_type: str
    body: bytes


def error(status: int, code: str, message: str) -> Answer:
    """An error in the shape of MLflow's: `{"error_code": …, "message": …}`."""
    import orjson

    return Answer(status, JSON, orjson.dumps({"error_code": code, "message": message}))


class Scorer:
    """A loaded pyfunc model and its input schema. `score` may be called from several threads."""

    def __init__(self, model: PyFuncModel) -> None:
        self._model = model
        self._schema = model.metadata.get_input_schema()

    @classmethod
    def load(cls, model_uri: str) -> Scorer:
        """Load with `mlflow.pyfunc.load_model`, and raise what it raises."""
        import os

        import mlflow.pyfunc

        # as MLflow's own server does before it predicts: flavors look at it
        os.environ["_MLFLOW_IS_IN_SERVING_ENVIRONMENT"] = "true"
        return cls(mlflow.pyfunc.load_model(model_uri))

    def score_inline(self, body: bytes, content_type: str | None) -> Answer | None:
        """The answer, where it takes microseconds; None where `score` must find it, in a thread."""
        return None

    def score(self, body: bytes, content_type: str | None) -> Answer:
        """Answer one request. Raises nothing that a request can cause.

        A missing content type is 415 here; MLflow's server fails on it with a bare 500.
        """
        from mlflow.exceptions import MlflowException
        from mlflow.pyfunc import scoring_server

        kind = content_type or ""
        data: Any = _read_json(body) if kind.partition(";")[0].strip() == JSON else body
        try:
            reply = scoring_server.invocations(data, kind, self._model, self._schema)
        except MlflowException as e:
            return Answer(e.get_http_status_code(), JSON, e.serialize_as_json().encode())
        except Exception as e:
            return error(500, "INTERNAL_ERROR", f"{type(e).__name__}: {e}")
        return Answer(reply.status, reply.mimetype, reply.response.encode())


def _read_json(body: bytes) -> dict[str, Any] | bytes:
    """The object in `body`; `body` itself where MLflow must judge: no object, or not what orjson takes."""
    import orjson

    if _HUGE_INTEGER.search(body):
        return body
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return body
    return value if isinstance(value, dict) else body
