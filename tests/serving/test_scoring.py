"""Answers and errors are those of MLflow's own scoring server, body by body."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from support.mlflow_server import ask

from lifecycle_as_code.serving.scoring import Scorer

if TYPE_CHECKING:
    from pathlib import Path

JSON = "application/json"
CSV = "text/csv"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A pyfunc model with a signature (a: double, b: long) and params, saved and loaded again."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _save(tmp_path_factory.mktemp("model") / "m")


def _save(path: Path) -> Any:
    import mlflow
    import pandas as pd
    from mlflow.models import infer_signature

    class Sum(mlflow.pyfunc.PythonModel):  # type: ignore[misc]  # mlflow is untyped
        def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]  # mlflow is untyped
            import numpy as np

            if params and params["fail"]:
                raise ValueError("told to fail")
            total = model_input["a"] + model_input["b"]
            return total.where(total < 1e6, np.nan) * (params or {"factor": 1})["factor"]

    frame = pd.DataFrame({"a": [1.5], "b": [2]})
    signature = infer_signature(frame, pd.Series([3.5]), params={"factor": 1.0, "fail": False})
    mlflow.pyfunc.save_model(path, python_model=Sum(), signature=signature)
    return mlflow.pyfunc.load_model(str(path))


@pytest.fixture(scope="module")
def theirs(model: Any) -> Any:
    """MLflow's server around the same model, in this process."""
    from mlflow.pyfunc import scoring_server

    return scoring_server.init(model)


def split(*rows: list[Any]) -> dict[str, Any]:
    return {"dataframe_split": {"columns": ["a", "b"], "data": list(rows)}}


BODIES: dict[str, tuple[bytes, str]] = {
    "split": (json.dumps(split([1.5, 2], [3.0, 4])).encode(), JSON),
    "split with charset": (json.dumps(split([1.5, 2])).encode(), f"{JSON}; charset=utf-8"),
    "records": (b'{"dataframe_records": [{"a": 1.5, "b": 2}]}', JSON),
    "instances": (b'{"instances": [{"a": 1.5, "b": 2}, {"a": 0.5, "b": 1}]}', JSON),
    "inputs": (b'{"inputs": {"a": [1.5], "b": [2]}}', JSON),
    "params": (json.dumps({**split([1.5, 2]), "params": {"factor": 3.0}}).encode(), JSON),
    "unknown params": (json.dumps({**split([1.5, 2]), "params": {"nobody": 3}}).encode(), JSON),
    "params of a wrong type": (json.dumps({**split([1.5, 2]), "params": {"factor": "x"}}).encode(), JSON),
    "a model that fails": (json.dumps({**split([1.5, 2]), "params": {"fail": True}}).encode(), JSON),
    "csv": (b"a,b\n1.5,2\n3.0,4\n", CSV),
    "csv with charset": (b"a,b\n1.5,2\n", f"{CSV}; charset=UTF-8"),
    "csv that isn't": (b"a,b\n1.5,x\n", CSV),
    "csv in latin-1": ("a,b\né,2\n".encode("latin-1"), CSV),
    "an answer that is not a number": (json.dumps(split([1e7, 2])).encode(), JSON),
    "NaN in": (b'{"dataframe_split": {"columns": ["a", "b"], "data": [[NaN, 2]]}}', JSON),
    "an integer beyond 64 bits": (b'{"instances": [{"a": 1.5, "b": 99999999999999999999}]}', JSON),
    "18446744073709551615": (b'{"instances": [{"a": 18446744073709551615, "b": 1}]}', JSON),
    "a lone surrogate": (b'{"instances": [{"a": "\\ud800", "b": 1}]}', JSON),
    "the same key twice": (b'{"inputs": {"a": [9.0], "b": [2]}, "inputs": {"a": [1.5], "b": [2]}}', JSON),
    "utf-16": (json.dumps(split([1.5, 2])).encode("utf-16"), JSON),
    "a byte order mark": (b"\xef\xbb\xbf" + json.dumps(split([1.5, 2])).encode(), JSON),
    "two formats at once": (b'{"instances": [1], "inputs": [1]}', JSON),
    "no format": (b'{"data": [1]}', JSON),
    "empty object": (b"{}", JSON),
    "a list": (b"[1, 2]", JSON),
    "a number": (b"3", JSON),
    "no json": (b"{", JSON),
    "nothing": (b"", JSON),
    "not utf-8": (b'{"a": "\xff"}', JSON),
    "a missing column": (b'{"dataframe_records": [{"a": 1.5}]}', JSON),
    "one column too many": (b'{"dataframe_records": [{"a": 1.5, "b": 2, "c": 3}]}', JSON),
    "a wrong type": (b'{"dataframe_records": [{"a": "x", "b": 2}]}', JSON),
    "a lossy type": (b'{"dataframe_records": [{"a": 1.5, "b": 2.5}]}', JSON),
    "split without data": (b'{"dataframe_split": {"columns": ["a"]}}', JSON),
    "messages": (b'{"messages": [{"role": "user", "content": "hi"}]}', JSON),
    "another content type": (b"x", "text/plain"),
    "another charset": (b"a,b\n1,2\n", f"{CSV}; charset=latin-1"),
    "another parameter": (b"{}", f"{JSON}; version=1"),
    "parquet that isn't": (b"PAR1", "application/vnd.apache.parquet"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("body", "content_type"), BODIES.values(), ids=BODIES)
def test_answers_as_mlflows_server_does(model: Any, theirs: Any, body: bytes, content_type: str) -> None:
    [reply] = asyncio.run(ask(theirs, [body], content_type))
    assert Scorer(model).score(body, content_type) == reply


@pytest.mark.filterwarnings("ignore")
def test_a_missing_content_type_is_refused_where_mlflow_breaks(model: Any) -> None:
    answer = Scorer(model).score(b"{}", None)
    assert answer.status == 415
    assert b"only supports the following content types" in answer.body


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("content_type", [CSV, "application/vnd.apache.parquet"])
def test_a_stack_trace_is_whole_under_rays_print(
    model: Any, theirs: Any, content_type: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ray.serve._private.logging_utils import redirected_print

    [reply] = asyncio.run(ask(theirs, [b"a,b\n1.5,x\n"], content_type))
    # as in a replica
    monkeypatch.setattr("builtins.print", redirected_print)
    answer = Scorer(model).score(b"a,b\n1.5,x\n", content_type)
    assert b"stack_trace" in answer.body
    assert answer == reply


class Leaving:
    """A pyfunc model that raises what would end its process."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def predict(self, data: Any) -> Any:
        raise self.error


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("leave", [SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError()], ids=repr)
def test_a_model_that_wants_to_end_the_process_gets_an_error(leave: BaseException) -> None:
    from mlflow.models import Model
    from mlflow.pyfunc import PyFuncModel

    metadata = Model(flavors={"python_function": {"loader_module": "nowhere"}})
    scorer = Scorer(PyFuncModel(metadata, Leaving(leave)))
    answer = scorer.score(b'{"inputs": [1.0]}', JSON)
    assert answer.status == 500
    assert json.loads(answer.body)["error_code"] == "INTERNAL_ERROR"
    assert type(leave).__name__ in json.loads(answer.body)["message"]


ROW = b'{"dataframe_split": {"columns": ["a", "b"], "data": [[1.5, 2]]}}'


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A linear model of (a: double, b: long), loaded."""
    import mlflow
    import pandas as pd
    from mlflow.models import infer_signature
    from sklearn.linear_model import LinearRegression

    frame = pd.DataFrame({"a": [0.5, 1.5, 3.0], "b": [1, 2, 4]})
    path = tmp_path_factory.mktemp("model") / "line"
    fit = LinearRegression().fit(frame, frame["a"])
    options = {"serialization_format": "cloudpickle", "pip_requirements": []}
    mlflow.sklearn.save_model(fit, path, signature=infer_signature(frame), **options)
    return mlflow.pyfunc.load_model(str(path))


def test_a_quick_model_answers_inline_what_a_thread_would(line: Any) -> None:
    scorer = Scorer(line)
    scorer._pace.add_cpu(len(ROW), 0.0001)
    assert scorer.score_inline(ROW, JSON) == scorer.score(ROW, JSON)


@pytest.mark.parametrize(
    ("body", "content_type"),
    [(ROW, CSV), (ROW, None), (ROW.replace(b"2]", b"2.5]"), JSON), (b"", JSON), (ROW * 9, JSON)],
)
def test_what_isnt_plain_or_of_a_known_size_isnt_answered_inline(
    line: Any, body: bytes, content_type: str | None
) -> None:
    scorer = Scorer(line)
    scorer._pace.add_cpu(len(ROW), 0.0001)
    assert scorer.score_inline(body, content_type) is None


def test_a_slow_model_isnt_answered_inline(line: Any) -> None:
    scorer = Scorer(line)
    for _ in range(30):
        scorer._pace.add_wall(len(ROW), 1.0)
    assert scorer.score_inline(ROW, JSON) is None


def test_one_slow_call_may_be_chance(line: Any) -> None:
    scorer = Scorer(line)
    scorer._pace.add_wall(len(ROW), 0.0001)
    scorer._pace.add_wall(len(ROW), 1.0)
    assert scorer.score_inline(ROW, JSON) is not None


def test_a_python_model_isnt_answered_inline(model: Any) -> None:
    assert Scorer(model).score_inline(ROW, JSON) is None


def test_a_model_that_predicts_otherwise_from_an_array_keeps_to_pyfunc(line: Any) -> None:
    import copy

    class ByType(type(line.get_raw_model())):  # type: ignore[misc]  # its class is known when it runs
        def predict(self, table: Any) -> Any:
            return super().predict(table) + hasattr(table, "columns")

    # a class of scikit-learn by its name, and not by what it does
    ByType.__module__ = type(line.get_raw_model()).__module__
    odd = copy.deepcopy(line)
    odd.get_raw_model().__class__ = ByType
    scorer = Scorer(odd)
    assert scorer._predict is None
    assert json.loads(scorer.score(ROW, JSON).body)["predictions"] == pytest.approx([2.5])


def test_many_digits_after_the_point_are_no_huge_integer() -> None:
    from lifecycle_as_code.serving import scoring

    assert isinstance(scoring._read_json(b'{"a": [0.00012345678901234567, 1234567890123456789.5]}'), dict)
    assert isinstance(scoring._read_json(b'{"a": [0.5,1234567890123456789]}'), bytes)
    assert isinstance(scoring._read_json(b'{"a": -123456789012345678901234567890}'), bytes)
