"""Train classifiers on the Wisconsin breast cancer data and log them to MLflow.

    python train.py                             two of them: versions 1 and 2
    python train.py --without "worst texture"   one more, that never sees that column: version 3

As a training pipeline would, it writes `versions.yaml`: which run made which version. That file is part
of the pull request.
"""

from __future__ import annotations

import sys
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


def logged(name: str, model: ClassifierMixin, without: tuple[str, ...] = ()) -> str:
    """Fit, measure and log; the URI of the logged model."""
    seen, held_back = (part.drop(columns=["target", *without]) for part in (train, test))
    with mlflow.start_run(run_name=name) as run:
        dataset = mlflow.data.from_pandas(
            train.drop(columns=[*without]), targets="target", name="breast-cancer-train"
        )
        mlflow.log_input(dataset, context="training")
        mlflow.log_param("columns", seen.shape[1])
        model.fit(seen, train["target"])
        scores = model.predict_proba(held_back)[:, 1]
        mlflow.log_metric("auc", float(roc_auc_score(test["target"], scores)))
        mlflow.log_metric("accuracy", float(accuracy_score(test["target"], scores > 0.5)))
        signature = infer_signature(seen, model.predict(seen))
        mlflow.sklearn.log_model(model, name="model", signature=signature, input_example=seen.head(2))
        print(f"{name}: auc {mlflow.get_run(run.info.run_id).data.metrics['auc']:.4f}")
        return f"runs:/{run.info.run_id}/model"


def declared(version: int, name: str, source: str) -> str:
    """The version as the manifest says it."""
    lines = [
        "  - model: breast-cancer",
        f"    version: {version}",
        f"    source: {source}",
        f"    description: A {name}.",
        "    tags: {validation_status: approved}",
    ]
    return "\n".join(lines) + "\n"


def regression() -> ClassifierMixin:
    """A logistic regression over scaled columns."""
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))


manifest = Path("versions.yaml")
match sys.argv[1:]:
    case []:
        made = [("naive Bayes classifier", GaussianNB()), ("logistic regression", regression())]
        entries = [declared(n, name, logged(name, model)) for n, (name, model) in enumerate(made, 1)]
        manifest.write_text(f"{HEADER}model_versions:\n{''.join(entries)}")
    case ["--without", column]:
        name = f"logistic regression without {column}"
        manifest.write_text(manifest.read_text() + declared(3, name, logged(name, regression(), (column,))))
    case _:
        sys.exit(__doc__)
