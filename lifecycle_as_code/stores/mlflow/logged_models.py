"""The logged models that versions were made from, and what was logged for them. Reads only, in a fixed number
of queries."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, func, select

from ...model.evidence import NOTHING, Metric
from ..sql import rows
from .lineage import Number
from .tables import experiments, inputs, logged_model_metrics, logged_model_params, logged_models, metrics
from .uris import LoggedModel, SourceAddress

Origin = tuple[SourceAddress, str | None, str]
"""A version's source, run and, if known, the place of its files."""


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """A logged model. `params` holds the run's as well: MLflow copies them."""

    model_id: str
    location: str
    metrics: Sequence[Metric] = ()
    params: Mapping[str, str] = field(default_factory=lambda: NOTHING)


def read(db: Connection, workspace: str, versions: Mapping[Number, Origin]) -> dict[Number, ModelFacts]:
    """The logged model of each version that was made from one which isn't deleted."""
    places = _find_models(db, workspace, versions)
    ids = {model_id for model_id, _ in places.values()}
    p = logged_model_params.c
    query: Any = select(p.model_id, p.param_key, p.param_value)
    metrics_by_id, params_by_id = _metrics(db, ids), rows.texts(rows.within(db, query, p.model_id, ids))
    return {
        number: ModelFacts(
            model_id, location, metrics_by_id.get(model_id, ()), params_by_id.get(model_id, NOTHING)
        )
        for number, (model_id, location) in places.items()
    }


def _find_models(
    db: Connection, workspace: str, versions: Mapping[Number, Origin]
) -> dict[Number, tuple[str, str]]:
    """By the source that names it; else by the run, if it logged this place or one model only; else by the
    place."""
    c = logged_models.c
    ours = select(experiments.c.experiment_id).where(experiments.c.workspace == workspace)
    query: Any = select(c.model_id, c.artifact_location).where(
        c.experiment_id.in_(ours), c.lifecycle_stage == "active"
    )
    ids = {n: s.model_id for n, (s, _, _) in versions.items() if isinstance(s, LoggedModel)}
    by_id = {row.model_id: tuple(row) for row in rows.within(db, query, c.model_id, {*ids.values()})}
    models_by_version = {number: by_id[model_id] for number, model_id in ids.items() if model_id in by_id}
    rest = {n: (run_id, location) for n, (_, run_id, location) in versions.items() if n not in ids}
    by_run = _models_of_runs(db, query, {run_id for run_id, _ in rest.values() if run_id})
    for number, (run_id, location) in rest.items():
        models = by_run.get(run_id or "", [])
        here = [model for model in models if model[1] == location]
        if len(here or models) == 1:
            models_by_version[number] = (here or models)[0]
    places = {
        number: place for number, (_, place) in rest.items() if place and number not in models_by_version
    }
    by_place = {row[1]: tuple(row) for row in rows.within(db, query, c.artifact_location, {*places.values()})}
    return models_by_version | {
        number: by_place[place] for number, place in places.items() if place in by_place
    }


def _models_of_runs(db: Connection, query: Any, run_ids: Collection[str]) -> dict[str, list[tuple[str, str]]]:
    outputs = (
        query.add_columns(inputs.c.source_id)
        .join(inputs, inputs.c.destination_id == logged_models.c.model_id)
        .where(inputs.c.source_type == "RUN_OUTPUT", inputs.c.destination_type == "MODEL_OUTPUT")
    )
    by_run: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
    for model_id, location, run_id in rows.within(db, outputs, inputs.c.source_id, run_ids):
        by_run[run_id].append((model_id, location))
    return by_run


def _metrics(db: Connection, model_ids: Collection[str]) -> dict[str, list[Metric]]:
    """The last value on each data set; MLflow: that of the highest step, then time, then value."""
    c = logged_model_metrics.c
    latest = (
        func.row_number()
        .over(
            partition_by=(c.model_id, c.metric_name, c.dataset_name, c.dataset_digest),
            order_by=(c.metric_step.desc(), c.metric_timestamp_ms.desc(), c.metric_value.desc()),
        )
        .label("latest")
    )
    by_model: defaultdict[str, list[Metric]] = defaultdict(list)
    for chunk in rows.portions(model_ids):
        ranks = select(logged_model_metrics, latest).where(c.model_id.in_(chunk)).subquery()
        m = metrics.c
        # NaN is 0 here: only the run's own row marks it
        nan = (
            select(m.key)
            .where(
                m.run_uuid == ranks.c.run_id,
                m.key == ranks.c.metric_name,
                m.timestamp == ranks.c.metric_timestamp_ms,
                m.step == ranks.c.metric_step,
                m.is_nan,
            )
            .exists()
        )
        for row in db.execute(select(ranks, nan.label("nan")).where(ranks.c.latest == 1)):
            number = None if row.nan and not row.metric_value else row.metric_value
            metric = Metric(row.metric_name, number, row.dataset_name or "", row.dataset_digest or "")
            by_model[row.model_id].append(metric)
    return by_model
