"""What MLflow's tables say about model versions: what they were made from, and what was measured.

Reads only, in a number of queries that doesn't grow with the versions (but for thousands of them, which are
read in portions). Opens no files: `location` is their address.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, Final, TypeVar

from sqlalchemy import Connection, select

from ...model.evidence import Dataset, Evidence, Metric
from ...model.redaction import without_credentials
from ..sql import rows
from . import logged_models, runs
from .lineage import Number
from .logged_models import ModelFacts
from .runs import RunFacts
from .tables import DELETED, model_version_tags, model_versions, registered_model_aliases
from .uris import LoggedModel, RunPath, Version, join, read_source

MOST: Final = 1000
"""How many metrics, parameters or data sets of one version are given; of more, the first ones by name."""

HOPS: Final = 4
"""The longest chain of copies that is followed."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Registration:
    """A version in the registry, or one to be registered. `location`: its `storage_location`, if any."""

    source: str
    location: str
    run_id: str | None
    deleted: bool = False
    tags: Mapping[str, str] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class VersionFacts:
    """Everything about a version except what its files say. `location`: the address of the files, empty if
    unknown; it may hold a password and must not be printed."""

    evidence: Evidence
    location: str = ""


def read(
    db: Connection, workspace: str, numbers: Collection[Number], made: Mapping[Number, Registration]
) -> dict[Number, VersionFacts]:
    """The facts of all `numbers`. `made`: those among them that will be registered."""
    registrations = {**_read_registrations(db, workspace, numbers), **made}
    origins = _origins(db, workspace, registrations)
    complete = {number: _follow_copies(number, origins) for number in numbers if number in registrations}
    alive = {number: version for number, version in complete.items() if not version.deleted}
    by_run = runs.read(db, workspace, {v.run_id for v in alive.values() if v.run_id})
    by_version = logged_models.read(
        db, workspace, {n: (read_source(v.source), v.run_id, v.location) for n, v in alive.items()}
    )
    return {n: _combine(n, registrations.get(n), complete.get(n), by_run, by_version.get(n)) for n in numbers}


# --- the registry


def _read_registrations(
    db: Connection, workspace: str, numbers: Collection[Number]
) -> dict[Number, Registration]:
    names = {name for name, _ in numbers}
    versions = _versions(db, workspace, names)
    c = model_version_tags.c
    query: Any = select(c.name, c.version, c.key, c.value).where(c.workspace == workspace)
    tags = rows.texts(
        ((name, version), *tag)
        for name, version, *tag in rows.within(db, query, c.name, names)
        if (name, version) in numbers
    )
    aliases: defaultdict[Number, list[str]] = defaultdict(list)
    a = registered_model_aliases.c
    query = select(a.name, a.version, a.alias).where(a.workspace == workspace)
    for name, version, alias in rows.within(db, query, a.name, names):
        aliases[name, version].append(alias)
    return {
        number: replace(version, tags=tags[number], aliases=tuple(sorted(aliases[number])))
        for number, version in versions.items()
        if number in numbers
    }


def _versions(db: Connection, workspace: str, names: Collection[str]) -> dict[Number, Registration]:
    c = model_versions.c
    query: Any = select(c.name, c.version, c.source, c.storage_location, c.run_id, c.current_stage).where(
        c.workspace == workspace
    )
    return {
        (name, version): Registration(source or "", location or "", run_id or None, stage == DELETED)
        for name, version, source, location, run_id, stage in rows.within(db, query, c.name, names)
    }


def _origins(
    db: Connection, workspace: str, registrations: Mapping[Number, Registration]
) -> dict[Number, Registration]:
    """`registrations`, and what copies among them were made from."""
    known = dict(registrations)
    for _ in range(HOPS):
        missing = {n for v in known.values() if (n := _origin_of(v)) and n not in known}
        if not missing:
            break
        origins = _versions(db, workspace, {name for name, _ in missing})
        # a missing version is looked up once
        known |= {n: origins.get(n, Registration("", "", None)) for n in missing}
    return known


def _origin_of(version: Registration) -> Number | None:
    source = read_source(version.source)
    return (source.name, source.version) if isinstance(source, Version) else None


def _follow_copies(number: Number, known: Mapping[Number, Registration]) -> Registration:
    """The version with the source, the run and the place of what it is a copy of, where it lacks them."""
    version = result = known[number]
    for _ in range(HOPS):
        origin = known.get(number_before) if (number_before := _origin_of(result)) else None
        if origin is None or origin.deleted or not origin.source:
            break
        result = replace(
            version,
            source=origin.source,
            run_id=version.run_id or result.run_id or origin.run_id,
            location=version.location or result.location or origin.location,
        )
    source = read_source(result.source)
    if result.run_id is None and isinstance(source, RunPath):
        return replace(result, run_id=source.run_id)
    return result


# --- together


def _combine(
    number: Number,
    registration: Registration | None,
    whole: Registration | None,
    by_run: Mapping[str, RunFacts],
    model: ModelFacts | None,
) -> VersionFacts:
    if registration is None or whole is None:
        why = "the version: MLflow has no version with this number"
        return VersionFacts(Evidence(*number, artifact=False, missing=(why,)))
    evidence = Evidence(*number, tags=registration.tags, aliases=registration.aliases)
    if registration.deleted:
        why = "the version: it was deleted in MLflow, which doesn't keep its source or run"
        return VersionFacts(replace(evidence, artifact=False, missing=(why,)))
    run = by_run.get(whole.run_id) if whole.run_id else None
    missing = [*_list_missing(whole, run, model)]
    of_run, of_model = run.metrics if run else (), model.metrics if model else ()
    if run and model is None:
        of_run = (*of_run, *run.model_metrics)
    names = {metric.name for metric in of_model}
    metrics = [*of_model, *(metric for metric in of_run if metric.name not in names)]
    metrics.sort(key=lambda metric: (metric.name, metric.dataset, metric.digest))
    params = {**(run.params if run else {}), **(model.params if model else {})}
    datasets = _list_datasets(run.datasets if run else (), of_model)
    return VersionFacts(
        replace(
            evidence,
            source=without_credentials(registration.source),
            run=run.run if run else None,
            metrics=tuple(_first(metrics, "metrics", missing)),
            params=dict(_first(sorted(params.items()), "parameters", missing)),
            datasets=tuple(_first(datasets, "data sets", missing)),
            missing=tuple(missing),
        ),
        _location(whole, run, model),
    )


def _list_missing(version: Registration, run: RunFacts | None, model: ModelFacts | None) -> Iterator[str]:
    if not version.run_id:
        yield "the run: the version doesn't name one"
    elif run is None:
        yield f"the run: {version.run_id} isn't in this MLflow workspace"
    elif run.run.deleted:
        yield f"the run: {version.run_id} was deleted in MLflow"
    source = read_source(version.source)
    if isinstance(source, LoggedModel) and model is None:
        yield f"the logged model: {source.model_id} isn't in this MLflow workspace, or was deleted"


def _list_datasets(of_run: Sequence[Dataset], metrics: Sequence[Metric]) -> list[Dataset]:
    """The run's data sets, and those that the model was measured on besides."""
    known = {(d.name, d.digest) for d in of_run}
    measured_on = {(m.dataset, m.digest) for m in metrics if m.dataset} - known
    return sorted(
        {*of_run, *(Dataset(*each) for each in measured_on)}, key=lambda d: (d.name, d.digest, d.context)
    )


def _first(items: Sequence[T], what: str, missing: list[str]) -> Iterator[T]:
    if len(items) > MOST:
        missing.append(f"{what}: there are {len(items)}, and only the first {MOST} by name are listed")
    return islice(items, MOST)


def _location(version: Registration, run: RunFacts | None, model: ModelFacts | None) -> str:
    """Where the files are. Versions from before MLflow 2.9 have no place of their own, but a source."""
    address = version.location or version.source
    match read_source(address):
        case RunPath(_, path):
            return join(run.artifacts, path) if run and run.artifacts else ""
        case LoggedModel():
            return model.location if model else ""
        case Version():
            return ""
    return address
