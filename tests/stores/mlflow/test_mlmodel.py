"""MLmodel files: those that MLflow writes, and those that somebody made to hurt."""

from __future__ import annotations

import json
import time
import warnings
from pathlib import Path
from typing import Any

import pytest
import yaml

from lifecycle_as_code.model.signature import Signature
from lifecycle_as_code.stores.mlflow.mlmodel import MAX_BYTES, MlModel, read_mlmodel

WRITTEN = """
artifact_path: model
flavors:
  python_function:
    env: {conda: conda.yaml, virtualenv: python_env.yaml}
    loader_module: mlflow.sklearn
    model_path: model.pkl
    predict_fn: predict
    python_version: 3.10
  sklearn:
    code: null
    pickled_model: model.pkl
    serialization_format: cloudpickle
    sklearn_version: 1.5
mlflow_version: 2.9.2
model_id: m-0cfabcea9b2e42468cba3ed0e60f402b
model_size_bytes: 39462
model_uuid: 123e4567
run_id: 12345678901234567890123456789012
signature:
  inputs: '[{"type": "double", "name": "age", "required": true}]'
  outputs: '[{"type": "tensor", "tensor-spec": {"dtype": "int64", "shape": [-1]}}]'
  params: null
utc_time_created: '2026-11-24 07:49:31.345533'
"""


def read(text: str) -> MlModel:
    """What an MLmodel file with this text says."""
    return read_mlmodel(text.encode())


def test_every_fact_is_read_as_it_is_written() -> None:
    found = read(WRITTEN)
    assert found.problem == ""
    assert found.flavors == {"sklearn": "1.5"}
    # numbers to YAML, and none to us
    assert (found.python, found.mlflow, found.run_id) == ("3.10", "2.9.2", "12345678901234567890123456789012")
    assert (found.model_id, found.size) == ("m-0cfabcea9b2e42468cba3ed0e60f402b", 39462)
    assert found.signature is not None
    assert found.signature.inputs == ({"type": "double", "name": "age", "required": True},)
    assert found.signature.params is None


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of scikit-learn's and one of plain Python, saved by MLflow."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _saved(tmp_path_factory.mktemp("models"))


def _saved(directory: Path) -> Path:
    import mlflow.pyfunc
    import mlflow.sklearn
    from mlflow.models import infer_signature
    from pandas import DataFrame
    from sklearn.linear_model import LinearRegression

    class Echo(mlflow.pyfunc.PythonModel):  # type: ignore[misc]  # mlflow is untyped
        def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]  # mlflow is untyped
            return model_input

    table = DataFrame({"age": [1.5, 2.5], "zip": ["a", "b"]})
    signature = infer_signature(table, table[["age"]], params={"k": 1, "names": ["x"]})
    options: dict[str, Any] = {"pip_requirements": ["mlflow"], "signature": signature}
    mlflow.pyfunc.save_model(directory / "echo", python_model=Echo(), **options)
    fitted = LinearRegression().fit(table[["age"]].to_numpy(), [1, 2])
    mlflow.sklearn.save_model(
        fitted, directory / "line", serialization_format="cloudpickle", pip_requirements=[]
    )
    return directory


@pytest.mark.filterwarnings("ignore")
def test_what_mlflow_saves_is_read_as_mlflow_reads_it(saved: Path) -> None:
    import platform

    import mlflow
    import sklearn
    from mlflow.models import Model

    echo, line = (read_mlmodel((saved / name / "MLmodel").read_bytes()) for name in ("echo", "line"))
    assert (echo.problem, line.problem) == ("", "")
    assert echo.flavors == {"python_function": ""}
    assert line.flavors == {"sklearn": sklearn.__version__}
    assert {echo.python, line.python} == {platform.python_version()}
    assert {echo.mlflow, line.mlflow} == {mlflow.__version__}

    theirs = Model.load(str(saved / "echo"))
    assert echo.size == theirs.model_size_bytes
    assert echo.signature is not None
    assert list(echo.signature.inputs or ()) == theirs.signature.inputs.to_dict()
    assert list(echo.signature.outputs or ()) == theirs.signature.outputs.to_dict()
    assert list(echo.signature.params or ()) == json.loads(theirs.signature.params.to_json())
    assert line.signature is None


@pytest.mark.parametrize(
    ("flavor", "version"),
    [
        ("xgboost: {xgb_version: 2.0.3, model_class: Booster}", "2.0.3"),
        ("onnx: {onnx_version: 1.16.1, a_version: 3}", "1.16.1"),
        ("mine: {a_version: 1, b_version: 2}", ""),
        ("keras: {}", ""),
        ("keras: null", ""),
        ("keras: {keras_version: [3]}", ""),
    ],
)
def test_a_flavors_version_is_its_librarys(flavor: str, version: str) -> None:
    name = flavor.partition(":")[0]
    assert read(f"flavors:\n  {flavor}\n  python_function: {{}}").flavors == {name: version}


@pytest.mark.parametrize("size", ["-1", "1.5", "99999999999999999999", "null", "'12'", "[1]", "9" * 5_000])
def test_a_size_that_is_none_is_unknown(size: str) -> None:
    assert read(f"model_size_bytes: {size}") == MlModel()


@pytest.mark.parametrize(
    "text", ["flavors: {}", "flavors: [1]\nsignature: 1\nrun_id: null\nmlflow_version: {}"]
)
def test_what_is_not_said_is_empty(text: str) -> None:
    assert read(text) == MlModel()


def test_tags_in_metadata_do_not_hide_the_rest() -> None:
    found = read("metadata:\n  logo: !!binary aGVsbG8=\nmlflow_version: 3.17.2")
    assert found == MlModel(mlflow="3.17.2")


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join(['*' + inner] * 9)}]\n"
    for inner, name in zip("abcdefghi", "bcdefghij", strict=True)
)
UNREADABLE = {
    "empty": ("", "MLmodel isn't a mapping."),
    "a list": ("[1]", "MLmodel isn't a mapping."),
    "no YAML": ("flavors: [", "invalid YAML (MLmodel:2:1)"),
    "two documents": ("a: 1\n---\nb: 1", "more than one document"),
    "a key given twice": ("run_id: a\nrun_id: b", "`run_id` is already defined at MLmodel:1:1"),
    "a signature given twice": (
        """signature: {inputs: '[{"type": "long", "type": "long"}]'}""",
        "MLmodel has a signature that can't be read: it has a duplicate key.",
    ),
    "an alias bomb": (BOMB, "The aliases up to here expand to more than"),
    "an alias of what holds it": ("a: &a [*a]", "`*a` is inside `&a`"),
    "very deep": ("a: " + "[" * 100_000, "More than 64 levels"),
    "very many values": ("a: [" + "1," * 2_000_000 + "]", "More than 50,000 values"),
    "very long": ("#" * (MAX_BYTES + 1), "MLmodel has 4,194,305 bytes; 4,194,304 are read."),
    "a huge whole number in a signature": (
        f"signature: {{inputs: '[{'9' * 1_000_000}]'}}",
        "signature that can't be read: its inputs aren't valid JSON",
    ),
    "a deep signature": (f"signature: {{inputs: '{'[' * 1_000_000}'}}", "its inputs are nested too deeply"),
    "a signature that is a mapping": ("signature: {inputs: {a: 1}}", "its inputs aren't text"),
    "a signature that is a list": ("signature: {params: [1]}", "its params aren't text"),
    "a signature that is a number": ("signature: {params: 1}", "its params aren't text"),
}


@pytest.mark.parametrize(("text", "why"), UNREADABLE.values(), ids=UNREADABLE.keys())
def test_what_can_not_be_read_is_said_and_hurts_nobody(text: str, why: str) -> None:
    began = time.process_time()
    found = read(text)
    assert why in found.problem
    assert found.problem.endswith(".")
    assert found.signature is None
    assert len(found.problem) < 1_200
    assert time.process_time() - began < 3


@pytest.mark.parametrize(
    "data", [b"\xff\xfe", b"run_id: a\0b", b'run_id: "a\\0b"'], ids=["bytes", "NUL", "an escape"]
)
def test_what_is_no_text_is_no_mlmodel(data: bytes) -> None:
    found = read_mlmodel(data)
    assert found == MlModel(problem=found.problem)
    assert found.problem


def test_what_is_beside_a_bad_signature_is_kept() -> None:
    found = read(WRITTEN.replace('"type": "double"', '"type": 1'))
    assert (
        found.problem
        == "MLmodel has a signature that can't be read: its inputs can't be read: column 0 has no type."
    )
    assert (found.signature, found.flavors) == (None, {"sklearn": "1.5"})


def test_the_largest_file_is_read_in_time() -> None:
    columns = [{"type": "double", "name": f"column {n:05}", "required": True} for n in range(50_000)]
    text = yaml.dump({"signature": {"inputs": json.dumps(columns)}}, Dumper=yaml.CSafeDumper)
    assert MAX_BYTES * 0.7 < len(text) < MAX_BYTES
    began = time.process_time()
    found = read(text)
    assert time.process_time() - began < 3
    assert found.signature == Signature(inputs=tuple(columns))
