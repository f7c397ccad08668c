"""What ties a version to the logged model, the run or the version that it was made from, as rows."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, select

from ..sql import rows
from .tables import logged_model_tags, logged_models, model_versions
from .uris import LoggedModel, SourceAddress, Version

LINK = "mlflow.modelVersions"
"""The tag of a logged model that lists the versions made from it. MLflow's handler writes it."""

Number = tuple[str, int]
"""A version: its model's name and its number."""


def find_null_runs(db: Connection, workspace: str, sources: Mapping[Number, SourceAddress]) -> set[Number]:
    """Which of these versions, none of which has a run, MLflow leaves with NULL there instead of "".

    MLflow: those from a logged model that has no run, and those copied from a version that has NULL.
    """
    null = {number for number, source in sources.items() if isinstance(source, LoggedModel)}
    copies = {n: (s.name, s.version) for n, s in sources.items() if isinstance(s, Version)}
    columns = model_versions.c
    query = select(columns.name, columns.version).where(
        columns.workspace == workspace, columns.run_id.is_(None)
    )
    origins = rows.within(db, query, columns.name, {name for name, _ in copies.values()})
    null_rows = {tuple(row) for row in origins}
    return null | {number for number, origin in copies.items() if origin in null_rows | null}


def note_versions(db: Connection, sources: Mapping[Number, SourceAddress]) -> None:
    """Note each new version on the logged model that it was made from, after those noted there.
    MLflow's handler does the same. (Its client's `register_model` then notes the version once more,
    with the number as a string; that is left out.)"""
    versions_by_model: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for (name, version), source in sources.items():
        if isinstance(source, LoggedModel):
            versions_by_model[source.model_id].append({"name": name, "version": version})
    models, tags = logged_models.c, logged_model_tags.c
    query = select(models.model_id, models.experiment_id, tags.tag_value).outerjoin(
        logged_model_tags, (tags.model_id == models.model_id) & (tags.tag_key == LINK)
    )
    values = []
    for model_id, home, text in rows.within(db, query, models.model_id, versions_by_model):
        notes = json.loads(text) if text else []
        notes += [version for version in versions_by_model[model_id] if version not in notes]
        row = {"model_id": model_id, "experiment_id": home, "tag_key": LINK, "tag_value": json.dumps(notes)}
        values.append(row)
    rows.put(db, logged_model_tags, values)
