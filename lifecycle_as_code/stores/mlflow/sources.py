"""Find out where a version's files are, as MLflow does when one is registered. Reads only.

| written | MLflow stores as source | storage_location | run_id, where none is given |
|---|---|---|---|
| `runs:/R/p`, a model logged by R under the name p | `models:/m-…` | its artifact location | R |
| `runs:/R/p`, files of R at p | `<R's artifacts>/p` | the same | R |
| `models:/m-…` | as written | its artifact location | the run that logged it |
| `models:/name/3` | as written | that version's | that version's |
| a path or URI | as written | the same | none |
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import Connection, select

from ..sql import rows
from .prompts import prompt_names
from .tables import DELETED, experiments, inputs, logged_models, model_versions, runs
from .uris import (
    Location,
    LoggedModel,
    RunPath,
    SourceAddress,
    Version,
    ends_with,
    host,
    is_below,
    is_proxied,
    join,
    local_path,
)


@dataclass(frozen=True, slots=True)
class ModelRow:
    """A row of `logged_models`."""

    model_id: str
    name: str
    run_id: str | None
    location: str


@dataclass(frozen=True, slots=True)
class Resolution:
    """What MLflow writes for a source. `run_id` is None where none is known."""

    source: str
    storage_location: str
    run_id: str | None


@dataclass(frozen=True, slots=True)
class Lookup:
    """What the tracking tables say about some sources."""

    artifacts: Mapping[str, str] = field(default_factory=dict)
    """Artifact address by run."""
    models: Mapping[str, ModelRow] = field(default_factory=dict)
    models_by_name: Mapping[tuple[str, str], list[ModelRow]] = field(default_factory=dict)
    """By run and name, the one logged at the highest step last."""
    versions: Mapping[tuple[str, int], Resolution] = field(default_factory=dict)
    """Versions that aren't deleted and aren't prompts', by name and number."""
    root: str = ""
    """MLflow's artifact root: the one host that its server connects to."""


def look_up(
    db: Connection,
    workspace: str,
    sources: Iterable[SourceAddress],
    run_ids: Iterable[str] = (),
    model_ids: Iterable[str] = (),
    *,
    root: str = "",
) -> Lookup:
    """Read what is needed to resolve `sources`, in a fixed number of queries."""
    sources = list(sources)
    named_runs = {*run_ids, *(s.run_id for s in sources if isinstance(s, RunPath))}
    named_models = {*model_ids, *(s.model_id for s in sources if isinstance(s, LoggedModel))}
    names = {s.name for s in sources if isinstance(s, Version)}
    ours = select(experiments.c.experiment_id).where(experiments.c.workspace == workspace)
    uris = select(runs.c.run_uuid, runs.c.artifact_uri).where(runs.c.experiment_id.in_(ours))
    artifacts = {run: uri or "" for run, uri in rows.within(db, uris, runs.c.run_uuid, named_runs)}
    query = select(
        logged_models.c.model_id,
        logged_models.c.name,
        logged_models.c.source_run_id,
        logged_models.c.artifact_location,
    ).where(logged_models.c.experiment_id.in_(ours), logged_models.c.lifecycle_stage == "active")
    by_run = [ModelRow(*row) for row in rows.within(db, query, logged_models.c.source_run_id, named_runs)]
    by_id = [ModelRow(*row) for row in rows.within(db, query, logged_models.c.model_id, named_models)]
    return Lookup(
        artifacts,
        {model.model_id: model for model in (*by_run, *by_id)},
        _by_step(db, by_run),
        _versions(db, workspace, names),
        root,
    )


def _by_step(db: Connection, models: list[ModelRow]) -> dict[tuple[str, str], list[ModelRow]]:
    groups: dict[tuple[str, str], list[ModelRow]] = defaultdict(list)
    for model in models:
        groups[model.run_id or "", model.name].append(model)
    ambiguous = {run for (run, _), group in groups.items() if len(group) > 1}
    query = select(inputs.c.source_id, inputs.c.destination_id, inputs.c.step).where(
        inputs.c.source_type == "RUN_OUTPUT", inputs.c.destination_type == "MODEL_OUTPUT"
    )
    steps = {
        (run, model): step or 0 for run, model, step in rows.within(db, query, inputs.c.source_id, ambiguous)
    }
    for (run, _), group in groups.items():
        group.sort(key=lambda model: steps.get((run, model.model_id), -1))
    return dict(groups)


def _versions(db: Connection, workspace: str, names: set[str]) -> dict[tuple[str, int], Resolution]:
    if not names:
        return {}
    columns = model_versions.c
    query = select(model_versions).where(columns.workspace == workspace, columns.current_stage != DELETED)
    prompts = prompt_names(db, workspace)
    return {
        (row.name, row.version): Resolution(row.source, row.storage_location or row.source, row.run_id)
        for row in rows.within(db, query, columns.name, names)
        if row.name not in prompts
    }


def resolve(source: SourceAddress, run_id: str | None, known: Lookup) -> Resolution | str:
    """What MLflow would store, or why it would refuse. `run_id`: the manifest's, if any."""
    match source:
        case RunPath():
            return _resolve_run(source, run_id, known)
        case LoggedModel():
            model = known.models.get(source.model_id)
            if model is None:
                return f"there is no logged model {source.model_id}"
            return Resolution(f"models:/{model.model_id}", model.location, run_id or model.run_id)
        case Version():
            version = known.versions.get((source.name, source.version))
            if version is None:
                return f"there is no version {source.version} of {source.name}"
            if run_id and run_id != version.run_id:
                return f"version {source.version} of {source.name} isn't from run {run_id}"
            here = f"models:/{source.name}/{source.version}"
            return Resolution(here, version.storage_location, version.run_id)
        case Location():
            problem = _check_location(source, run_id, known)
            return problem or Resolution(source.uri, source.uri, run_id)


def _resolve_run(source: RunPath, run_id: str | None, known: Lookup) -> Resolution | str:
    if run_id and run_id != source.run_id:
        return f"the source is from run {source.run_id}, but `run_id` is {run_id}"
    if source.run_id not in known.artifacts:
        return f"there is no run {source.run_id}"
    files = join(known.artifacts[source.run_id], source.path)
    here = local_path(known.artifacts[source.run_id])
    models = known.models_by_name.get((source.run_id, source.path))
    # MLflow looks for the run's own files first; we can where they are on this machine
    if here is not None and (Path(here) / source.path / "MLmodel").is_file():
        return Resolution(files, files, source.run_id)
    if models:
        return Resolution(f"models:/{models[-1].model_id}", models[-1].location, source.run_id)
    if here is not None and Path(here).is_dir():
        return f"run {source.run_id} has no model at `{source.path}`"
    return Resolution(files, files, source.run_id)


def _check_location(source: Location, run_id: str | None, known: Lookup) -> str | None:
    """MLflow's server: files on its own disk that are named together with a run, and those that it serves
    itself, must be among the run's; it connects to no other host. Any other run may be another server's."""
    if is_proxied(source.uri) or (run_id and source.local_path is not None):
        if run_id and run_id not in known.artifacts:
            return f"there is no run {run_id}"
        if not (run_id and is_below(source.uri, known.artifacts[run_id])):
            return f"`{source.uri}` isn't among the files of the run that `run_id` names"
    if (other := host(source.uri)) and other != host(known.root):
        return f"MLflow's server refuses to connect to {other}"
    return None


def same_source(written: SourceAddress, stored: str, run_id: str | None, known: Lookup) -> bool:
    """Whether a version stored with `stored` and `run_id` may have been registered as `written`.

    The name of a deleted logged model is unknown: then the run decides. The files of a deleted run, or of one
    whose files have moved, are unknown: then the path within the run decides.
    """
    match written:
        case RunPath(run, path):
            if stored.startswith("models:/"):
                model = known.models.get(stored.removeprefix("models:/"))
                return (model.run_id, model.name) == (run, path) if model else run_id == run
            root = known.artifacts.get(run, "")
            if root and stored == join(root, path):
                return True
            return run_id == run and not is_below(stored, root) and ends_with(stored, run, path)
        case LoggedModel(model_id):
            return stored == f"models:/{model_id}"
        case Version(name, version):
            return stored == f"models:/{name}/{version}"
        case Location(uri):
            return stored == uri
