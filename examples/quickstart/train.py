"""Train two classifiers on the Wisconsin breast cancer data and log them to MLflow.

As a training pipeline would, it writes `versions.yaml`: which run made which version. That file is part
of the pull request.
"""

from __future__ import annotations

from pathlib import Path

import mlflow
from mlflow.models import infer_signature
from sklearn.base import ClassifierMixin
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

HEADER = "# yaml-language-server: $schema=../../schemas/manifest.schema.json\n# written by train.py\n"

mlflow.set_tracking_uri("sqlite:///mlflow.db")
mlflow.set_experiment("breast-cancer")
# MLflow advises against integer columns in signatures: they can hold no missing values
table = load_breast_cancer(as_frame=True).frame.astype("float64")
train, test = train_test_split(table, test_size=0.25, random_state=7, stratify=table["target"])


def logged(name: str, model: ClassifierMixin) -> str:
    """Fit, measure and log; the URI of the logged model."""
    features = train.drop(columns="target")
    with mlflow.start_run(run_name=name) as run:
        dataset = mlflow.data.from_pandas(train, targets="target", name="breast-cancer-train")
        mlflow.log_input(dataset, context="training")
        model.fit(features, train["target"])
        scores = model.predict_proba(test.drop(columns="target"))[:, 1]
        mlflow.log_metric("auc", float(roc_auc_score(test["target"], scores)))
        mlflow.log_metric("accuracy", float(accuracy_score(test["target"], scores > 0.5)))
        signature = infer_signature(features, model.predict(features))
        mlflow.sklearn.log_model(model, name="model", signature=signature, input_example=features.head(2))
        print(f"{name}: auc {mlflow.get_run(run.info.run_id).data.metrics['auc']:.4f}")
        return f"runs:/{run.info.run_id}/model"


sources = {
    "naive Bayes classifier": logged("naive Bayes classifier", GaussianNB()),
    "logistic regression": logged(
        "logistic regression", make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    ),
}
lines = [f"{HEADER}model_versions:"]
for version, (name, source) in enumerate(sources.items(), 1):
    lines += [
        "  - model: breast-cancer",
        f"    version: {version}",
        f"    source: {source}",
        f"    description: A {name}.",
        "    tags: {validation_status: approved}",
    ]
Path("versions.yaml").write_text("\n".join(lines) + "\n")
