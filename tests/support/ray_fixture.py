"""One real Ray and a few real models for the whole session. `conftest.py` imports the fixtures."""

from __future__ import annotations

import threading
import time
import warnings
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from lifecycle_as_code.stores.ray import local
from lifecycle_as_code.stores.ray.client import Cluster
from lifecycle_as_code.stores.ray.local import LocalRay
from support.mlflow_fixture import SERVICES
from support.shared import marks

SECRET = "value-of-the-nodes-own-variable"

COLUMNS = ["sepal length (cm)", "sepal width (cm)", "petal length (cm)", "petal width (cm)"]
ROW = [5.1, 3.5, 1.4, 0.2]
SPLIT = {"dataframe_split": {"columns": COLUMNS, "data": [ROW]}}


@dataclass(frozen=True)
class RayForTests:
    """The running Ray, its directory and a handle on it."""

    ray: LocalRay
    directory: Path
    cluster: Cluster

    @property
    def token(self) -> str:
        return local.token(self.directory) or ""

    def url(self, endpoint: str, path: str = "invocations") -> str:
        return f"{self.ray.endpoint_url}/serving-endpoints/{endpoint}/{path}"


@pytest.fixture(scope="session")
def ray(tmp_path_factory: pytest.TempPathFactory) -> RayForTests:
    """A loopback Ray for all tests that need one."""
    directory = tmp_path_factory.mktemp("ray") / ".lac"
    running = local.up(directory, environment={"NODE_SECRET": SECRET, **marks()})
    until_done = SERVICES["ray"]
    until_done.callback(local.down, directory)
    cluster = until_done.enter_context(local.connect(directory, running))
    return RayForTests(running, directory, cluster)


class Load:
    """Two clients that ask while the block runs: some thirty times a second, where each pauses briefly."""

    def __init__(self, url: str, pause: float = 0.05) -> None:
        self.answered: Counter[tuple[str, str]] = Counter()
        self.failed: list[object] = []
        self.longest = 0.0
        self._url = url
        self._pause = pause
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(2)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        with httpx.Client(timeout=60, trust_env=False) as http:
            # a pause, so that what is under test gets the machine, too
            while not self._end.wait(self._pause):
                began = time.monotonic()
                try:
                    reply = http.post(self._url, json=SPLIT)
                except httpx.HTTPError as e:
                    self.failed.append(e)
                    continue
                self.longest = max(self.longest, time.monotonic() - began)
                if reply.status_code == 200:
                    which = (reply.headers["X-Served-Entity"], reply.headers["X-Served-Entity-Version"])
                    self.answered[which] += 1
                else:
                    self.failed.append((reply.status_code, reply.text))


@dataclass(frozen=True)
class Models:
    """Where the models lie: two classifiers for iris, and one that does as `params` tell it."""

    iris_1: str
    iris_2: str
    obedient: str


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    """Three small models, logged to a store of their own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _train(tmp_path_factory.mktemp("models"))


def _train(home: Path) -> Models:
    import mlflow
    import pandas as pd
    from mlflow.models import infer_signature
    from sklearn.datasets import load_iris
    from sklearn.linear_model import LogisticRegression

    class Obedient(mlflow.pyfunc.PythonModel):  # type: ignore[misc]  # mlflow is untyped
        def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]  # mlflow is untyped
            import os
            import time

            told = params or {}
            time.sleep(told["sleep"])
            if told["fail"]:
                raise ValueError("told to fail")
            if told["exit"]:
                raise SystemExit(1)
            return {"rows": [told["factor"] * len(model_input)], "secret": [os.environ.get("SECRET", "")]}

        def predict_stream(self, context, model_input, params=None):  # type: ignore[no-untyped-def]  # mlflow is untyped
            for number in range(3):
                yield {"number": number, "rows": len(model_input)}

    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{home}/mlflow.db")
    try:
        mlflow.set_experiment(experiment_id=mlflow.create_experiment("serving", f"{home}/artifacts"))
        data, target = load_iris(return_X_y=True, as_frame=True)
        # nobody installs them, and MLflow would load each model in a process of its own to find them out
        needs = {"pip_requirements": ["mlflow", "scikit-learn"]}
        uris = []
        for strength in (0.01, 1.0):
            model = LogisticRegression(C=strength, max_iter=500).fit(data, target)
            logged = mlflow.sklearn.log_model(model, name="iris", input_example=data.head(2), **needs)
            uris.append(logged.artifact_path)
        frame = pd.DataFrame({"a": [1.0]})
        signature = infer_signature(
            frame, frame, params={"sleep": 0.0, "factor": 1.0, "fail": False, "exit": False}
        )
        logged = mlflow.pyfunc.log_model(
            name="obedient", python_model=Obedient(), signature=signature, **needs
        )
        return Models(*uris, logged.artifact_path)
    finally:
        mlflow.set_tracking_uri(before)
