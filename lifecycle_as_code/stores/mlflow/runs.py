"""What MLflow's tracking tables say about runs. Reads only, in a fixed number of queries."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Connection, and_, select

from ...model.evidence import NOTHING, Dataset, Metric, Run
from ...model.redaction import without_credentials
from ..sql import rows
from .tables import (
    datasets,
    experiments,
    input_tags,
    inputs,
    latest_metrics,
    logged_model_metrics,
    params,
    run_tags,
    runs,
)

SYSTEM: Final = "system/"
"""The prefix of metrics that MLflow measures by itself (CPU, memory). They say nothing about the model."""

COMMIT: Final = "mlflow.source.git.commit"
SOURCE: Final = "mlflow.source.name"
NAME: Final = "mlflow.runName"
USER: Final = "mlflow.user"


@dataclass(frozen=True, slots=True)
class RunFacts:
    """A run and what it logged. `artifacts`: the address of its files. `model_metrics`: those whose last
    value was measured of one of the models that it logged; they aren't among `metrics`."""

    run: Run
    artifacts: str
    metrics: Sequence[Metric] = ()
    model_metrics: Sequence[Metric] = ()
    params: Mapping[str, str] = field(default_factory=lambda: NOTHING)
    datasets: Sequence[Dataset] = ()


def read(db: Connection, workspace: str, run_ids: Collection[str]) -> dict[str, RunFacts]:
    """The runs that exist, deleted ones included."""
    runs_by_id = _runs(db, workspace, run_ids)
    metrics, of_models = _metrics(db, runs_by_id)
    query: Any = select(params.c.run_uuid, params.c.key, params.c.value)
    params_by_run = rows.texts(rows.within(db, query, params.c.run_uuid, runs_by_id))
    datasets_by_run = _datasets(db, runs_by_id)
    return {
        run_id: RunFacts(
            run,
            artifacts,
            metrics.get(run_id, ()),
            of_models.get(run_id, ()),
            params_by_run.get(run_id, NOTHING),
            datasets_by_run.get(run_id, ()),
        )
        for run_id, (run, artifacts) in runs_by_id.items()
    }


def _runs(db: Connection, workspace: str, run_ids: Collection[str]) -> dict[str, tuple[Run, str]]:
    """Each run, and the address of its artifacts."""
    t, c = run_tags.c, runs.c
    query: Any = select(t.run_uuid, t.key, t.value).where(t.key.in_((COMMIT, SOURCE, NAME, USER)))
    tags = rows.texts(rows.within(db, query, t.run_uuid, run_ids))
    query = (
        select(runs, experiments.c.name.label("experiment_name"))
        .join(experiments, experiments.c.experiment_id == c.experiment_id)
        .where(experiments.c.workspace == workspace)
    )
    by_id = {}
    for row in rows.within(db, query, c.run_uuid, run_ids):
        values = tags[row.run_uuid]
        run = Run(
            row.run_uuid,
            name=row.name or values.get(NAME, ""),
            experiment=row.experiment_name or "",
            status=row.status or "",
            user=row.user_id or values.get(USER, ""),
            commit=values.get(COMMIT, ""),
            # an MLflow project's is a repository's address
            source=without_credentials(values.get(SOURCE, "")),
            started_ms=row.start_time,
            ended_ms=row.end_time,
            deleted=row.lifecycle_stage == "deleted",
            link=f"#/experiments/{row.experiment_id}/runs/{row.run_uuid}",
        )
        by_id[row.run_uuid] = run, row.artifact_uri or ""
    return by_id


def _metrics(db: Connection, run_ids: Collection[str]) -> tuple[dict[str, list[Metric]], ...]:
    """Each run's own, and those that are linked to a model of it."""
    c, m = latest_metrics.c, logged_model_metrics.c
    # by its whole key: there is no index on the run alone
    is_of_model = (
        select(m.model_id)
        .join_from(inputs, logged_model_metrics, m.model_id == inputs.c.destination_id)
        .where(
            inputs.c.source_type == "RUN_OUTPUT",
            inputs.c.source_id == c.run_uuid,
            inputs.c.destination_type == "MODEL_OUTPUT",
            m.metric_name == c.key,
            m.metric_timestamp_ms == c.timestamp,
            m.metric_step == c.step,
            m.run_id == c.run_uuid,
            m.metric_value == c.value,
        )
        .exists()
    )
    query: Any = select(c.run_uuid, c.key, c.value, c.is_nan, is_of_model.label("is_of_model"))
    own: defaultdict[str, list[Metric]] = defaultdict(list)
    of_models: defaultdict[str, list[Metric]] = defaultdict(list)
    for run_id, name, value, is_nan, of_model in rows.within(db, query, c.run_uuid, run_ids):
        if not name.startswith(SYSTEM):
            (of_models if of_model else own)[run_id].append(Metric(name, None if is_nan else value))
    return own, of_models


def _datasets(db: Connection, run_ids: Collection[str]) -> dict[str, list[Dataset]]:
    context = and_(input_tags.c.input_uuid == inputs.c.input_uuid, input_tags.c.name == "mlflow.data.context")
    query: Any = (
        select(inputs.c.destination_id, datasets.c.name, datasets.c.digest, input_tags.c.value)
        .join_from(inputs, datasets, datasets.c.dataset_uuid == inputs.c.source_id)
        .outerjoin(input_tags, context)
        .where(inputs.c.source_type == "DATASET", inputs.c.destination_type == "RUN")
    )
    by_run: defaultdict[str, list[Dataset]] = defaultdict(list)
    for run_id, name, digest, use in rows.within(db, query, inputs.c.destination_id, run_ids):
        by_run[run_id].append(Dataset(name, digest, use or ""))
    return by_run
