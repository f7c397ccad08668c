"""How a model of a known flavor predicts from an array, as it would from MLflow's DataFrame.

An estimator is taken only if it turns its input into an array before it looks at it. `Scorer` compares the
two ways on generated rows besides, before it uses this one.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from lifecycle_as_code.serving.columns import Array, Columns, Tensor

if TYPE_CHECKING:
    from mlflow.pyfunc import PyFuncModel

Predict = Callable[[Array], Any]

FLAVORS = ("mlflow.sklearn", "mlflow.xgboost", "mlflow.lightgbm", "mlflow.onnx")

# of these packages of scikit-learn every estimator validates its input into an array first …
_ARRAY_PACKAGES = {
    "cluster",
    "covariance",
    "cross_decomposition",
    "decomposition",
    "discriminant_analysis",
    "gaussian_process",
    "kernel_approximation",
    "kernel_ridge",
    "linear_model",
    "mixture",
    "naive_bayes",
    "neighbors",
    "neural_network",
    "random_projection",
    "svm",
    "tree",
}
# … and of others these do
_ARRAY_CLASSES = {
    *("RandomForestClassifier", "RandomForestRegressor", "ExtraTreesClassifier", "ExtraTreesRegressor"),
    *("GradientBoostingClassifier", "GradientBoostingRegressor", "IsolationForest"),
    *("StandardScaler", "MinMaxScaler", "MaxAbsScaler", "RobustScaler", "Normalizer", "Binarizer"),
    *("PolynomialFeatures", "QuantileTransformer", "PowerTransformer", "SplineTransformer"),
    *("SimpleImputer", "KNNImputer"),
    *("VarianceThreshold", "SelectKBest", "SelectPercentile"),
}


def find_predictor(model: PyFuncModel, table: Columns | Tensor) -> Predict | None:
    """What predicts from `table.array(…)`: an ndarray, or what JSON can hold. None where only pyfunc can."""
    if model.loader_module not in FLAVORS or model.metadata.get_params_schema() is not None:
        return None
    name = model.metadata.flavors["python_function"].get("predict_fn", "predict")
    if isinstance(table, Tensor):
        # MLflow itself hands the flavor an array
        predict: Predict = getattr(model._model_impl, name)
        return predict
    if table.common is None:
        return None
    raw = model.get_raw_model()
    if model.loader_module == "mlflow.sklearn":
        return _sklearn(raw, name)
    # pandas makes objects of columns with booleans among them
    if name != "predict" or table.has_booleans:
        return None
    match model.loader_module:
        case "mlflow.xgboost":
            return _xgboost(raw)
        case "mlflow.lightgbm":
            return _lightgbm(raw, np.result_type(table.common, np.float32))
    return _onnx(raw)


def _sklearn(estimator: Any, name: str) -> Predict | None:
    from sklearn import get_config
    from sklearn.model_selection import GridSearchCV, RandomizedSearchCV
    from sklearn.pipeline import Pipeline

    if isinstance(estimator, GridSearchCV | RandomizedSearchCV):
        estimator = estimator.best_estimator_
    # the steps behind the first get its output, which is the same either way
    first = estimator.steps[0][1] if type(estimator) is Pipeline else estimator
    if not _reads_an_array(first) or hasattr(first, "_sklearn_output_config"):
        return None
    if get_config()["transform_output"] != "default":
        return None
    first = copy.copy(first)
    # an array has no names: checked at load, and warned of at each call otherwise
    vars(first).pop("feature_names_in_", None)
    if type(estimator) is Pipeline:
        estimator = copy.copy(estimator)
        estimator.steps = [(estimator.steps[0][0], first), *estimator.steps[1:]]
    else:
        estimator = first
    predict: Predict | None = getattr(estimator, name, None)
    return predict


def _reads_an_array(estimator: Any) -> bool:
    root, _, rest = type(estimator).__module__.partition(".")
    known = rest.split(".")[0] in _ARRAY_PACKAGES or type(estimator).__name__ in _ARRAY_CLASSES
    return root == "sklearn" and known


def _xgboost(model: Any) -> Predict | None:
    import xgboost

    booster = model if isinstance(model, xgboost.Booster) else model.get_booster()
    if "c" in (booster.feature_types or ()):
        return None
    if model is booster:
        return lambda x: booster.predict(xgboost.DMatrix(x), validate_features=False)
    if not type(model).__module__.startswith("xgboost."):
        return None
    return lambda x: model.predict(x, validate_features=False)


def _lightgbm(model: Any, dtype: np.dtype[Any]) -> Predict | None:
    import lightgbm

    booster = model if isinstance(model, lightgbm.Booster) else model.booster_
    if booster.pandas_categorical:
        return None
    if model is not booster:
        if not type(model).__module__.startswith("lightgbm."):
            return None
        model = copy.copy(model)
        model._fitted_with_feature_names = False
    return lambda x: model.predict(x.astype(dtype, copy=False))


def _onnx(session: Any) -> Predict | None:
    """MLflow's wrapper makes a DataFrame of the outputs, and the server makes records of that."""
    if len(session.get_inputs()) != 1:
        return None
    [source] = session.get_inputs()
    names = [output.name for output in session.get_outputs()]

    def predict(x: Array) -> list[dict[str, Any]]:
        if source.type == "tensor(float)" and x.dtype == np.float64:
            x = x.astype(np.float32)
        outputs = [np.asarray(output).reshape(-1).tolist() for output in session.run(names, {source.name: x})]
        return [dict(zip(names, row, strict=True)) for row in zip(*outputs, strict=True)]

    return predict
