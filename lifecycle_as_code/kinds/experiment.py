"""Experiments: rows of `experiments` and `experiment_tags`. A deleted one keeps its name: it is restored.

Rows are as MLflow's handlers leave them (`stores.mlflow.tables`), but we never give a new experiment an id
that a grant still names. `mlflow gc` leaves a purged experiment's grants behind, and SQLite reuses the
highest id, as PostgreSQL does once its sequence was restored from a backup: the grant would then apply to the
new experiment.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from typing import Annotated, Any

from pydantic import AfterValidator
from sqlalchemy import bindparam, delete, exists, func, select, text, update

from ..model.diagnostics import Diagnostic
from ..model.plan import Action
from ..model.snapshot import Observed
from ..model.spec import Address, Computed, Immutable, Key, Labels, Spec, Store
from ..planning.guards import PlanContext
from ..serving.levels import ResourceType
from ..stores.mlflow import rules
from ..stores.mlflow.artifact_root import artifact_root
from ..stores.mlflow.auth import granted_ids
from ..stores.mlflow.renames import rename
from ..stores.mlflow.tables import assessments, experiment_tags, experiments, runs
from ..stores.mlflow.uris import host, join
from ..stores.sql import rows
from .base import Databases, Filter, Observation, SqlKind, StoredForms

TagKey = Annotated[str, AfterValidator(rules.validator(rules.experiment_tag_key))]
TagValue = Annotated[str, AfterValidator(rules.validator(rules.experiment_tag_value))]
Location = Annotated[str, AfterValidator(rules.validator(rules.artifact_location))]
NOTE = "mlflow.note.content"
"""The tag that MLflow's pages show as the description."""
ACTIVE, GONE = "active", "deleted"
DEFAULT_ID = 0
"""MLflow: every store has the experiment `Default`, whose id is 0."""


class Experiment(Spec):
    """A group of runs, addressed by its name. A new experiment never gets an id that a grant in the stack's
    auth database still names, so nobody inherits access to it from a purged experiment."""

    kind = "experiment"
    section = "experiments"
    example = """\
experiments:
  - name: nightly
    artifact_location: s3://experiments/nightly
    description: What trains every night.
    tags: {team: risk}
"""
    store = Store.REGISTRY
    grantable = ResourceType.EXPERIMENT
    prepared = True
    movable = True

    name: Annotated[str, AfterValidator(rules.validator(rules.experiment_name)), Key()]
    """Unique in the workspace, among deleted experiments too; at most 256 characters."""
    artifact_location: Annotated[
        Location | None,
        Computed(),
        Immutable("MLflow can't move an experiment's files: omit the field, or choose another name"),
    ] = None
    """Where runs store their files: an absolute path or a URI. Default: below MLflow's artifact root."""
    description: Annotated[str, AfterValidator(rules.validator(rules.experiment_tag_value))] = ""
    """Markdown that MLflow shows above the runs."""
    tags: Labels[TagKey, TagValue] = {}
    """Labels. The stack manages the declared keys and leaves all others alone."""


class Experiments(SqlKind[Experiment]):
    spec = Experiment
    keys = rows.Keys(experiments, ("name",))
    tables = (experiments, experiment_tags)

    def check(self, world: PlanContext) -> Iterator[Diagnostic]:
        """A deleted experiment is restored with its own artifact location."""
        for address, change in world.changes.items():
            observed = world.live.objects.get(address)
            before = observed.spec if observed else None
            if not (isinstance(change.after, Experiment) and isinstance(before, Experiment)):
                continue
            location = before.artifact_location
            if change.action is Action.CREATE and change.after.artifact_location not in (None, location):
                yield Diagnostic(
                    "restored-elsewhere",
                    "a deleted experiment can't be restored with another artifact location",
                    f"{address} was deleted and would be restored; its artifact location is {location}.",
                    hint="omit `artifact_location:`, or give the experiment another name",
                    at=world.places.get(address),
                )

    def observe(self, db: Databases, scope: Filter) -> Observation:
        """Two queries. Facts: `id`, which MLflow's grants name, `created` and `updated` in ms."""
        names = scope.of("experiment")
        columns = experiments.c
        query: Any = select(experiments).where(columns.workspace == db.workspace)
        matches = list(rows.among(db.registry, query, columns.name, names))
        tags = _tags(db, None if names is None else {row.experiment_id for row in matches})
        objects = {}
        for row in matches:
            labels = tags[row.experiment_id]
            spec = Experiment.model_construct(
                name=row.name,
                artifact_location=row.artifact_location or None,
                description=labels.pop(NOTE, ""),
                tags=labels,
            )
            objects[spec.address] = Observed(
                spec,
                {"id": row.experiment_id, "created": row.creation_time, "updated": row.last_update_time},
                tombstone=row.lifecycle_stage == GONE,
                builtin=row.experiment_id == DEFAULT_ID,
            )
        return Observation(objects)

    def settle(
        self, db: Databases, desired: Mapping[Address, Experiment], live: Mapping[Address, Observed]
    ) -> StoredForms:
        """No spec differs. Warns of new experiments whose files are on a host that MLflow's server may refuse
        (`rejected_host_addressed_scheme`): its settings aren't in its database."""
        hosts = {address: host(spec.artifact_location or "") for address, spec in desired.items()}
        if not any(hosts.values()):
            return
        own = host(artifact_root(db.registry, db.workspace, db.artifact_root))
        for address, other in hosts.items():
            if other and other != own and address not in live:
                yield address, _elsewhere(address, other)

    def create(self, db: Databases, afters: Sequence[Experiment]) -> None:
        """Create them, or restore deleted ones."""
        deleted = _ids(db, afters)
        new = [after for after in afters if after.name not in deleted]
        values = [
            {
                "name": after.name,
                "workspace": db.workspace,
                "artifact_location": after.artifact_location,
                "lifecycle_stage": ACTIVE,
                "creation_time": db.now_ms,
                "last_update_time": db.now_ms,
            }
            for after in new
        ]
        rows.add(db.registry, experiments, values)
        _renumber(db, new)
        ids = deleted | _ids(db, new)
        root = artifact_root(db.registry, db.workspace, db.artifact_root)
        unplaced = [ids[after.name] for after in new if after.artifact_location is None]
        locations = [{"experiment_id": i, "artifact_location": join(root, str(i))} for i in unplaced]
        rows.change(db.registry, experiments, locations)
        _set_lifecycle(db, sorted(deleted.values()), ACTIVE)
        tags = _tags(db, set(deleted.values()))
        notes = {number: {NOTE: labels[NOTE]} for number, labels in tags.items() if NOTE in labels}
        _retag(db, [(ids[after.name], notes.get(ids[after.name], {}), _labels(after)) for after in afters])

    def update(self, db: Databases, pairs: Sequence[tuple[Experiment, Experiment]]) -> None:
        ids = _ids(db, [after for _, after in pairs])
        _retag(db, [(ids[after.name], _labels(before), _labels(after)) for before, after in pairs])

    def move(self, db: Databases, pairs: Sequence[tuple[Experiment, Experiment]]) -> None:
        """MLflow: the update time changes. Runs, tags and grants go by the id; files stay."""
        names = {before.address: after.address for before, after in pairs}
        rename(db.registry, experiments, db.workspace, names, {"last_update_time": db.now_ms})

    def delete(self, db: Databases, befores: Sequence[Experiment]) -> None:
        """MLflow: the row and its runs stay, marked as deleted; the name stays taken."""
        ids = sorted(_ids(db, befores).values())
        _drop_assessments(db, ids)
        _set_lifecycle(db, ids, GONE)


def _retag(db: Databases, changes: Sequence[tuple[int, Mapping[str, str], Mapping[str, str]]]) -> None:
    tags = (({"experiment_id": number}, before, after) for number, before, after in changes)
    rows.retag(db.registry, experiment_tags, tags)


def _labels(spec: Experiment) -> dict[str, str]:
    """The rows of the tags, the description among them if the experiment has one."""
    return {**spec.tags, **({NOTE: spec.description} if spec.description else {})}


def _ids(db: Databases, specs: Sequence[Experiment]) -> dict[str, int]:
    query: Any = select(experiments.c.name, experiments.c.experiment_id).where(
        experiments.c.workspace == db.workspace
    )
    return dict(rows.within(db.registry, query, experiments.c.name, {spec.name for spec in specs}))


def _elsewhere(address: Address, other: str) -> Diagnostic:
    return Diagnostic(
        "other-artifact-host",
        "MLflow's server may refuse the artifact location",
        f"{address}: {other} isn't the host of MLflow's artifact root.",
        hint="MLflow connects to another host only where MLFLOW_ALLOWED_HOST_ADDRESSED_ARTIFACT_SCHEMES on"
        " its server allows the scheme",
        severity="warning",
    )


def _renumber(db: Databases, new: Sequence[Experiment]) -> None:
    """Give a new experiment another id where a grant names its own."""
    granted = granted_ids(db.auth, Experiment.kind) if db.auth is not None and new else ()
    while numbers := [number for number in _ids(db, new).values() if str(number) in granted]:
        highest = db.registry.scalar(select(func.max(experiments.c.experiment_id))) or 0
        free = (number for number in count(highest + 1) if str(number) not in granted)
        for number in sorted(numbers):
            # PostgreSQL's sequence would give a number again that it didn't give itself
            another: Any = text("DEFAULT") if db.registry.dialect.name == "postgresql" else next(free)
            this = experiments.c.experiment_id == number
            db.registry.execute(update(experiments).where(this).values(experiment_id=another))


def _tags(db: Databases, ids: set[int] | None) -> defaultdict[int, dict[str, str]]:
    labels = experiment_tags.c
    query: Any = select(labels.experiment_id, labels.key, labels.value)
    return rows.texts(rows.among(db.registry, query, labels.experiment_id, ids))


def _set_lifecycle(db: Databases, ids: Sequence[int], stage: str) -> None:
    """MLflow: all runs get the same stage, whatever stage each had."""
    if not ids:
        return
    marked = {"lifecycle_stage": stage, "last_update_time": db.now_ms}
    rows.change(db.registry, experiments, [{"experiment_id": i, **marked} for i in ids])
    db.registry.execute(
        update(runs)
        .where(runs.c.experiment_id == bindparam("experiment"))
        .values(lifecycle_stage=stage, deleted_time=db.now_ms if stage == GONE else None),
        [{"experiment": i} for i in ids],
    )


def _drop_assessments(db: Databases, ids: Sequence[int]) -> None:
    """MLflow: the assessments that these runs made are deleted too; only their metadata's JSON names the
    run."""
    if not ids:
        return
    mark = '%"mlflow.assessment.sourceRunId": "'
    named = assessments.c.assessment_metadata.like(mark + runs.c.run_uuid + '"%')
    of_run = exists().where(runs.c.experiment_id == bindparam("experiment"), named)
    db.registry.execute(delete(assessments).where(of_run), [{"experiment": i} for i in ids])
