"""Small models of every flavor, saved as MLflow models, and requests of every shape for them.

Requests are generated from a seed. Most are plain; the others have one or two things wrong or unusual.
"""

from __future__ import annotations

import json
import random
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

_MIXED = ["float64", "float32", "int64", "int32", "bool", "float64"]
_SAVE = {"pip_requirements": []}


@dataclass(frozen=True)
class Flavor:
    """How one model is made. `fast`: whether plain requests never meet pandas."""

    save: Callable[[Path], None]
    fast: bool = True


def training_data(dtypes: list[str] | None = None, rows: int = 120, text: bool = False) -> tuple[Any, Any]:
    """A DataFrame whose columns have `dtypes`, and two classes to tell apart."""
    import pandas as pd

    noise = np.random.default_rng(7)
    table = {}
    for i, dtype in enumerate(dtypes or ["float64"] * 5):
        values = noise.normal(0, 2, rows)
        table[f"x {i}" if i == 1 else f"x{i}"] = (values > 0 if dtype == "bool" else values).astype(dtype)
    frame = pd.DataFrame(table)
    labels = (frame.iloc[:, 0] + frame.iloc[:, 1] > 0).astype(int)
    if text:
        frame.insert(1, "city", np.where(values > 0, "Ulm", "Köln"))
    return frame, labels


def _sklearn(
    make: Callable[[], Any], dtypes: list[str] | None = None, predict: str = "predict", labels: Any = None,
    text: bool = False, tensor: bool = False, example: bool = False,
) -> Callable[[Path], None]:  # fmt: skip
    def save(path: Path) -> None:
        import mlflow.sklearn
        from mlflow.models import infer_signature

        frame, y = training_data(dtypes, text=text)
        data = frame.to_numpy() if tensor else frame
        model = make().fit(data, y if labels is None else np.array(labels)[y])
        mlflow.sklearn.save_model(
            model, path, signature=infer_signature(data), pyfunc_predict_fn=predict,
            serialization_format="cloudpickle", input_example=frame.head(2) if example else None, **_SAVE,
        )  # fmt: skip

    return save


def _fine_integers(path: Path) -> None:
    """LightGBM over integers that differ by less than a float32 can tell."""
    import lightgbm
    import mlflow.lightgbm
    import pandas as pd
    from mlflow.models import infer_signature

    frame = pd.DataFrame({"x0": 2**24 + np.arange(120) % 2})
    options = {"objective": "regression", "min_data_in_bin": 1, "verbose": -1}
    model = lightgbm.train(options, lightgbm.Dataset(frame, frame["x0"] - 2**24), 5)
    mlflow.lightgbm.save_model(model, path, signature=infer_signature(frame), **_SAVE)


def _booster(flavor: str, sklearn_api: bool, dtypes: list[str] | None = None) -> Callable[[Path], None]:
    def save(path: Path) -> None:
        from mlflow.models import infer_signature

        frame, y = training_data(dtypes)
        if flavor == "xgboost":
            import mlflow.xgboost
            import xgboost

            if sklearn_api:
                model: Any = xgboost.XGBClassifier(n_estimators=5, max_depth=3).fit(frame, y)
            else:
                data = xgboost.DMatrix(frame, y)
                model = xgboost.train({"objective": "binary:logistic", "max_depth": 3}, data, 5)
            mlflow.xgboost.save_model(model, path, signature=infer_signature(frame), **_SAVE)
        else:
            import lightgbm
            import mlflow.lightgbm

            if sklearn_api:
                model = lightgbm.LGBMClassifier(n_estimators=5, verbose=-1).fit(frame, y)
            else:
                model = lightgbm.train({"objective": "binary", "verbose": -1}, lightgbm.Dataset(frame, y), 5)
            mlflow.lightgbm.save_model(model, path, signature=infer_signature(frame), **_SAVE)

    return save


def _onnx(classifier: bool, tensor: bool = False) -> Callable[[Path], None]:
    def save(path: Path) -> None:
        import mlflow.onnx
        from mlflow.models import infer_signature
        from skl2onnx import to_onnx
        from sklearn.linear_model import LinearRegression, LogisticRegression

        frame, y = training_data()
        data = frame.to_numpy(np.float32)
        model = (LogisticRegression() if classifier else LinearRegression()).fit(data, y)
        graph = to_onnx(model, data[:1], target_opset=15)
        mlflow.onnx.save_model(graph, path, signature=infer_signature(data if tensor else frame), **_SAVE)

    return save


def _python(path: Path) -> None:
    import mlflow.pyfunc
    from mlflow.models import infer_signature

    class Sum(mlflow.pyfunc.PythonModel):  # type: ignore[misc, name-defined]
        def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]  # mlflow is untyped
            if (model_input["x0"] > 4).any():
                raise ValueError(f"{dict(model_input.dtypes)}")
            numbers = model_input.drop(columns="city").to_numpy(float)
            return {
                "sum": numbers @ np.arange(1.0, 7.0),
                "city": model_input["city"].tolist(),
                "index": list(model_input.index),
                "types": [str(dtype) for dtype in model_input.dtypes],
            }

    frame, _ = training_data(_MIXED, text=True)
    mlflow.pyfunc.save_model(path, python_model=Sum(), signature=infer_signature(frame), **_SAVE)


def _pipelines() -> dict[str, Flavor]:
    from sklearn.compose import ColumnTransformer
    from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier, VotingClassifier
    from sklearn.linear_model import LinearRegression, LogisticRegression
    from sklearn.model_selection import GridSearchCV
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
    from sklearn.tree import DecisionTreeRegressor

    def by_name() -> Any:
        encode = ColumnTransformer([("city", OneHotEncoder(), ["city"])], remainder="passthrough")
        return make_pipeline(encode, LogisticRegression())

    def scaled_to_pandas() -> Any:
        return make_pipeline(StandardScaler().set_output(transform="pandas"), LogisticRegression())

    def voting() -> Any:
        return VotingClassifier([("a", LogisticRegression()), ("b", KNeighborsClassifier())])

    def search() -> Any:
        return GridSearchCV(
            make_pipeline(StandardScaler(), LogisticRegression()), {"logisticregression__C": [1, 2]}
        )

    def forest() -> Any:
        return RandomForestClassifier(5, random_state=0)

    return {
        "logistic regression": Flavor(_sklearn(LogisticRegression, example=True)),
        "probabilities": Flavor(_sklearn(forest, predict="predict_proba")),
        "linear, mixed types": Flavor(_sklearn(LinearRegression, _MIXED)),
        "tree, single precision": Flavor(_sklearn(DecisionTreeRegressor, ["float32"] * 4)),
        "linear, integers": Flavor(_sklearn(LinearRegression, ["int64"] * 4)),
        "text labels": Flavor(_sklearn(KNeighborsClassifier, labels=["Köln", 'U"lm'])),
        "search over a pipeline": Flavor(_sklearn(search)),
        "pipeline, mixed types": Flavor(
            _sklearn(
                lambda: make_pipeline(StandardScaler(), GradientBoostingClassifier(n_estimators=3)), _MIXED
            )
        ),
        "tensor": Flavor(_sklearn(LogisticRegression, tensor=True)),
        "columns by name": Flavor(_sklearn(by_name, text=True), fast=False),
        "pandas inside": Flavor(_sklearn(scaled_to_pandas), fast=False),
        "a function": Flavor(
            _sklearn(lambda: make_pipeline(FunctionTransformer(), LogisticRegression())), fast=False
        ),
        "voting": Flavor(_sklearn(voting), fast=False),
    }


def flavors() -> dict[str, Flavor]:
    """Every model, by a name for the test's id."""
    return {
        **_pipelines(),
        "xgboost": Flavor(_booster("xgboost", False)),
        "xgboost, classifier": Flavor(_booster("xgboost", True)),
        "xgboost, mixed types": Flavor(_booster("xgboost", False, _MIXED[:4])),
        "lightgbm": Flavor(_booster("lightgbm", False)),
        "lightgbm, classifier": Flavor(_booster("lightgbm", True)),
        "lightgbm, integers": Flavor(_booster("lightgbm", False, ["int64", "int32"])),
        "lightgbm, fine integers": Flavor(_fine_integers),
        "onnx": Flavor(_onnx(False)),
        "onnx, classifier": Flavor(_onnx(True)),
        "onnx, tensor": Flavor(_onnx(False, tensor=True)),
        "python": Flavor(_python, fast=False),
    }


def load(flavor: Flavor, path: Path) -> Any:
    """Save the model, and load it as MLflow's server does."""
    import mlflow.pyfunc

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        flavor.save(path)
        return mlflow.pyfunc.load_model(str(path))


def requests(model: Any, seed: int, count: int) -> Iterator[bytes]:
    """`count` bodies for the model's signature."""
    chance = random.Random(seed)
    schema = model.metadata.get_input_schema()
    if schema.is_tensor_spec():
        kinds = {str(i): "double" for i in range(schema.inputs[0].shape[1])}
    else:
        kinds = {spec.name: spec.type.name for spec in schema.inputs}
    for _ in range(count):
        yield _request(chance, kinds, schema.is_tensor_spec())


def _request(chance: random.Random, kinds: dict[str, str], tensor: bool) -> bytes:
    rows = chance.choice([1, 1, 1, 2, 3, 7, 0])
    names = list(kinds)
    data = [[_value(chance, kinds[name]) for name in names] for _ in range(rows)]
    oddities = chance.choice([0, 0, 0, 0, 1, 1, 2])
    for _ in range(oddities):
        _spoil_table(chance, names, data)
    form = chance.choice(
        ["instances", "inputs"] * (12 if tensor else 1) + ["split", "split", "records", "columns"]
    )
    records = [dict(zip(names, row, strict=False)) for row in data]
    body: dict[str, Any]
    match form:
        case "split":
            table = {"columns": names, "data": data}
            if chance.random() < 0.3:
                table["index"] = chance.choice(
                    [list(range(len(data))), list(range(len(data)))[::-1], [0], ["a"] * rows]
                )
            body = {"dataframe_split": table}
        case "records":
            body = {"dataframe_records": records}
        case "columns":
            key = chance.choice(["inputs", "instances"])
            body = {key: {n: [r.get(n) for r in records] for n in names}}
        case _:
            body = {form: data if tensor else records}
    if oddities and chance.random() < 0.3:
        body |= chance.choice(
            [{"params": {}}, {"params": None}, {"other": 1}, {"inputs": 1}, {"signature_name": "a"}]
        )
    text = json.dumps(body, ensure_ascii=chance.random() < 0.5)
    if oddities and chance.random() < 0.15:
        old, new = chance.choice(
            [("]", ""), ("0", "-0"), ("1", "1e2"), (".", "e"), (" ", "\n\t"), ("1", "11111111111111111111")]
        )
        text = text.replace(old, new, 1)
    return text.encode()


def _value(chance: random.Random, kind: str) -> Any:
    match kind:
        case "boolean":
            return chance.random() < 0.5
        case "long" | "integer":
            return chance.randrange(-9, 10)
        case "string":
            return chance.choice(["Ulm", "Köln"])
    return chance.choice(
        [chance.gauss(0, 2), chance.gauss(0, 2), float(chance.randrange(5)), chance.randrange(-3, 4), 1e-7]
    )


_ODD_VALUES = [
    *(None, None, True, False, 0, 1, 2, -1, 2**31, -(2**31), 2**53, 2**53 + 1, -(2**63), 2**63, 2**64),
    *(2.5, -0.0, 1e300, -1e-300, 5e-324, 16777217, 0.1, float("nan"), float("inf")),
    *("1.5", "a", "", "nan", [], [1.0], {}, {"a": 1}),
]


def _spoil_table(chance: random.Random, names: list[str], data: list[Any]) -> None:
    match chance.choice(["value", "value", "value", "column", "order", "name", "ragged", "extra", "row"]):
        case "value" if data and data[0]:
            row = chance.choice(data)
            if isinstance(row, list) and row:
                row[chance.randrange(len(row))] = chance.choice(_ODD_VALUES)
        case "column" if data:
            i, value = chance.randrange(len(names)), chance.choice(_ODD_VALUES)
            for row in data:
                if isinstance(row, list) and i < len(row):
                    row[i] = value
        case "order":
            order = list(range(len(names)))
            chance.shuffle(order)
            names[:] = [names[i] for i in order]
            for row in data:
                if isinstance(row, list) and len(row) == len(order):
                    row[:] = [row[i] for i in order]
        case "name":
            names[chance.randrange(len(names))] = chance.choice(["y", "x0", "", "X0"])
        case "ragged" if data and isinstance(data[-1], list) and data[-1]:
            data[-1].pop()
        case "extra":
            names.append("more")
            for row in data:
                if isinstance(row, list):
                    row.append(1.0)
        case "row" if data:
            data[chance.randrange(len(data))] = chance.choice([[], [1.0], "ab"])
