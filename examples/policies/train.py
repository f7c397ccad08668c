"""Register three versions of a model with their runs, as a training pipeline leaves them in MLflow.

    python train.py

Version 2 is better than version 1. Version 3 is worse, and was trained without one of the columns.
"""

from __future__ import annotations

import mlflow
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, Schema
from sklearn.dummy import DummyClassifier

COLUMNS = ("amount", "country_risk", "hour")

# what a model predicts doesn't matter to policies: they compare metrics and signatures
MODEL = DummyClassifier().fit([[0.0]], [0.0])


def register(version: int, auc: float, columns: tuple[str, ...]) -> None:
    """Log a run with its metric and its model, and register the model."""
    inputs = Schema([ColSpec("double", column) for column in columns])
    signature = ModelSignature(inputs, Schema([ColSpec("double")]))
    with mlflow.start_run(run_name=f"fraud-{version}") as run:
        mlflow.log_metric("auc", auc)
        model = mlflow.sklearn.log_model(
            MODEL, name="fraud", signature=signature, pip_requirements=["scikit-learn", "skops"]
        )
    tags = {"validation_status": "approved"}
    client.create_model_version("fraud", model.model_uri, run.info.run_id, tags=tags)
    print(f"registered fraud version {version}, auc {auc}")


mlflow.set_tracking_uri("sqlite:///mlflow.db")
client = mlflow.MlflowClient()
client.create_registered_model("fraud")
register(1, 0.91, COLUMNS)
register(2, 0.94, COLUMNS)
register(3, 0.92, COLUMNS[:-1])
