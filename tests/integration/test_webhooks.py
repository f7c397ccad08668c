"""MLflow's webhooks don't fire for SQL: the plan names those that REST would have called."""

from __future__ import annotations

import pytest
from mlflow.entities.webhook import WebhookEvent
from mlflow.tracking import MlflowClient
from support.bench import Bench

from lifecycle_as_code.kinds.model_alias import ModelAlias
from lifecycle_as_code.kinds.model_version import ModelVersion
from lifecycle_as_code.kinds.registered_model import RegisteredModel
from lifecycle_as_code.model.spec import Spec

MODEL: list[Spec] = [
    RegisteredModel(name="fraud"),
    ModelVersion(model="fraud", version=1, source="s3://bucket/1"),
]


def told(bench: Bench, specs: list[Spec]) -> list[str]:
    return [d.detail for d in bench.stack(specs).plan().diagnostics if d.code == "webhooks-stay-silent"]


def test_the_plan_names_webhooks_that_wait_for_its_changes(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    # nothing is called: MLflow only wants an address that it may call
    monkeypatch.setenv("MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS", "true")
    client = MlflowClient(bench.store)
    for name, event in (
        ("on-alias", "model_version_alias.created"),
        ("on-model", "registered_model.created"),
    ):
        client.create_webhook(name, "https://127.0.0.1/", [WebhookEvent.from_str(event)])
    assert told(bench, MODEL) == [
        "MLflow calls webhooks for changes by its REST API only, so not these: on-model."
    ]
    list(bench.stack(MODEL).apply(bench.stack(MODEL).plan()))
    assert told(bench, MODEL) == []
    (detail,) = told(bench, [*MODEL, ModelAlias(model="fraud", alias="champion", version=1)])
    assert detail.endswith(": on-alias.")
