"""Whichever way an answer takes, it is the one of MLflow's server: status, media type and body."""

from __future__ import annotations

import asyncio
import json
import re
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from support import flavors
from support.mlflow_server import ask

from lifecycle_as_code.serving import native
from lifecycle_as_code.serving.answer import JSON
from lifecycle_as_code.serving.columns import Columns
from lifecycle_as_code.serving.scoring import Scorer

if TYPE_CHECKING:
    from pathlib import Path

MODELS = flavors.flavors()

pytestmark = pytest.mark.filterwarnings("ignore")


def without_time(text: bytes) -> bytes:
    """XGBoost puts the time of day into its errors."""
    return re.sub(rb"\[\d\d:\d\d:\d\d\]", b"", text)


@pytest.mark.parametrize("name", MODELS)
def test_generated_requests_get_the_answers_of_mlflows_server(
    name: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    from mlflow.pyfunc import scoring_server

    count = 600 if request.config.getoption("--everywhere") else 50
    model = flavors.load(MODELS[name], tmp_path / "model")
    bodies = list(flavors.requests(model, seed=zlib.crc32(name.encode()), count=count))
    theirs = asyncio.run(ask(scoring_server.init(model), bodies))

    scorer = Scorer(model)
    quick = 0
    for body, (status, media_type, content) in zip(bodies, theirs, strict=True):
        answer = scorer.score(body, JSON)
        if status == 500:
            # MLflow's server breaks there, and says no more
            assert answer.status == 500, body
            continue
        assert (answer.status, answer.media_type) == (status, media_type), body
        assert without_time(answer.body) == without_time(content), body
        if (direct := scorer._from_array(body, JSON)) is not None:
            assert direct == answer, body
            quick += 1
    assert (quick > 0.3 * count) if MODELS[name].fast else quick == 0


# tables that took other ways to differ: (model, form, rows)
TABLES = {
    "a tie that float64 rounds away": (
        "linear, mixed types",
        "split",
        [[0.5, 2**60 + 2**36 + 1, 1, 2, True, 0]],
    ),
    "records of 32 bits": ("tree, single precision", "inputs", [[1.5, 2.5, 0.5, 1.0]]),
    "integers as they are": ("lightgbm, fine integers", "split", [[2**24], [2**24 + 1]]),
    "a long cut short": ("linear, integers", "split", [[1, 2, 2.5, 3]]),
    "an integer of 32 bits that isn't": ("linear, mixed types", "split", [[0.5, 1, 1, 2**33, True, 0]]),
    "a boolean that isn't": ("linear, mixed types", "split", [[0.5, 1, 1, 2, 2, 0]]),
    "nothing in a long": ("linear, integers", "split", [[1, None, 2, 3]]),
    "nothing in a double": ("xgboost", "split", [[1, None, 2, 3, None]]),
    "the least of all integers": ("linear, integers", "split", [[1, -(2**63), 2, 3]]),
    "negative zero": ("onnx", "split", [[-0.0, 0, -0.0, 0, 0]]),
}


@pytest.mark.parametrize(("name", "form", "rows"), TABLES.values(), ids=TABLES)
def test_a_table_gets_the_answer_of_mlflows_server(
    name: str, form: str, rows: list[Any], tmp_path: Path
) -> None:
    from mlflow.pyfunc import scoring_server

    model = flavors.load(MODELS[name], tmp_path / "model")
    names = model.metadata.get_input_schema().input_names()
    split = {"dataframe_split": {"columns": names, "data": rows}}
    records = {form: [dict(zip(names, row, strict=True)) for row in rows]}
    body = json.dumps(split if form == "split" else records).encode()
    [reply] = asyncio.run(ask(scoring_server.init(model), [body]))
    assert Scorer(model).score(body, JSON) == reply


def outcome(predict: Any, x: Any) -> Any:
    """Every digit of the predictions, or the type of the error. `repr` tells -0.0 from 0.0."""
    try:
        return repr(predict(x).tolist())
    except Exception as e:
        return type(e)


def sklearn_tables(everywhere: bool) -> list[list[str]]:
    mixed = ["float64", "int64", "float32", "bool", "int32"]
    return [["float64"] * 12, ["float32"] * 4, ["int64"] * 3, mixed] if everywhere else [mixed]


@pytest.mark.filterwarnings("ignore")
def test_every_accepted_estimator_predicts_the_same_from_an_array(request: pytest.FixtureRequest) -> None:
    from sklearn.linear_model import LinearRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.utils import all_estimators

    everywhere = bool(request.config.getoption("--everywhere"))
    compared = set()
    for dtypes in sklearn_tables(everywhere):
        frame, labels = flavors.training_data(dtypes, rows=40)
        frame = frame.abs()
        table = Columns(list(frame), [np.dtype(dtype) for dtype in dtypes])
        for name, make in all_estimators():
            if "gaussian_process" in make.__module__ and not everywhere:
                continue
            try:
                estimator = make()
                if not native._reads_an_array(estimator):
                    continue
                if not hasattr(estimator, "predict"):
                    estimator = make_pipeline(estimator, LinearRegression())
                estimator.fit(frame, labels)
            except (TypeError, ValueError):
                # it needs arguments, or several outputs
                continue
            for method in ("predict", "predict_proba"):
                predict = native._sklearn(estimator, method) if hasattr(estimator, method) else None
                for rows in (1, 40) if predict else ():
                    part = frame.head(rows)
                    array = table.array([list(row) for row in part.itertuples(index=False)])
                    ours, theirs = outcome(predict, array), outcome(getattr(estimator, method), part)
                    assert ours == theirs, (name, method, rows, dtypes)
                    compared.add(name)
    assert len(compared) > 80
