"""Model versions: rows of `model_versions` and `model_version_tags`, and the mark on the logged model, as
MLflow's handlers leave them (`stores.mlflow.tables`)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field
from sqlalchemy import select, update

from ..model.diagnostics import Diagnostic, refuse
from ..model.plan import Action, Change
from ..model.snapshot import Live, Observed
from ..model.spec import (
    Address,
    Computed,
    Derived,
    Hold,
    Immutable,
    Key,
    KeyPart,
    Labels,
    Nest,
    Ref,
    Spec,
    Store,
    Trait,
)
from ..planning.guards import PlanContext
from ..stores.mlflow import rules
from ..stores.mlflow.artifact_root import artifact_root
from ..stores.mlflow.lineage import find_null_runs, note_versions
from ..stores.mlflow.prompts import prompt_names
from ..stores.mlflow.sources import Lookup, Resolution, look_up, resolve, same_source
from ..stores.mlflow.tables import (
    DELETED,
    model_version_tags,
    model_versions,
    registered_model_aliases,
    registered_models,
)
from ..stores.mlflow.uris import RunPath, SourceAddress, Version, read_source
from ..stores.sql import rows
from ..stores.state import history
from .base import Databases, Filter, Observation, Replacement, SqlKind, StoredForms, report_use

TagKey = Annotated[str, AfterValidator(rules.validator(rules.model_tag_key))]
TagValue = Annotated[str, AfterValidator(rules.validator(rules.version_tag_value))]
RunId = Annotated[str, AfterValidator(rules.validator(rules.run_id))]
MODELS = "models:/"
ANOTHER = "a version's files never change: declare the next version number"


class ModelVersion(Spec):
    """One version of a registered model: its files, description and tags."""

    kind = "model_version"
    section = "model_versions"
    example = """\
model_versions:
  - model: fraud
    version: 3
    source: runs:/0123456789abcdef0123456789abcdef/model
    run_id: 0123456789abcdef0123456789abcdef
    description: Trained in May.
    tags: {validation: approved}
    stage: Archived
"""
    store = Store.REGISTRY
    trait = Trait.VERSION
    nests = (Nest("registered_models", "versions", {"model": "name"}),)
    prepared = True
    holds = {"registered_model": Hold("model-in-use", taken_along=True)}
    made_once = "MLflow never reuses a version's number: remove this version and declare the next number"

    model: Annotated[str, Key(), Ref("registered_model")]
    """The registered model."""
    version: Annotated[int, Key(), Field(ge=1, le=rules.LAST_VERSION)]
    """The version's number. MLflow assigns the next one: the highest that ever existed, plus one."""
    source: Annotated[str, AfterValidator(rules.validator(rules.source)), Immutable(ANOTHER)]
    """Where the files are: `runs:/<run id>/<path>`, `models:/<model id>`, `models:/<name>/<version>`, an
    absolute path or a URI. A `runs:/` source is resolved once and stored as the logged model or the address
    of the files, as `mlflow.register_model` does; `MlflowClient.create_model_version` stores it as written.
    Later changes of the run have no effect."""
    run_id: Annotated[RunId | None, Computed(), Immutable(ANOTHER)] = None
    """The run that produced the version. Omit it where the source names it (`runs:/`, `models:/`). It may be
    a run of another server, unless the source is a local path or an `mlflow-artifacts:` URI, which MLflow
    resolves by the run's files."""
    description: Annotated[str, AfterValidator(rules.validator(rules.description))] = ""
    """Markdown that MLflow shows on the version's page; at most 5000 characters."""
    tags: Labels[TagKey, TagValue] = {}
    """Labels. The stack manages the declared keys and leaves all others alone."""
    stage: Literal["None", "Staging", "Production", "Archived"] = "None"
    """MLflow's stage. Other versions keep their stages. MLflow recommends aliases instead."""
    storage_location: Annotated[str | None, Computed(), Derived()] = None
    """The location that MLflow downloads the files from: `source`, resolved."""

    def stands_for(self) -> Mapping[str, Address | None]:
        """Itself."""
        return {"": self.address}

    def queued(self) -> tuple[str, int]:
        """MLflow numbers the versions of a model."""
        return self.model, self.version


class ModelVersions(SqlKind[ModelVersion]):
    spec = ModelVersion
    keys = rows.Keys(model_versions, ("name", "version"))
    tables = (model_versions, model_version_tags)

    def check(self, world: PlanContext) -> Iterator[Diagnostic]:
        """MLflow numbers versions: the highest plus one, deleted ones included; from 1 in a new model."""
        made = _numbers(a for a, change in world.changes.items() if change.action is Action.CREATE)
        numbers = _numbers(world.live.objects if made else ())
        for model, versions in made.items():
            for due, version in enumerate(sorted(versions), max(numbers[model], default=0) + 1):
                if version != due:
                    address = Address(ModelVersion.kind, (model, version))
                    yield Diagnostic(
                        "not-the-next-version",
                        "MLflow would assign another number to the new version",
                        f"{address} doesn't exist, and the next version of `{model}` is {due}.",
                        hint=f"declare it as version {due}",
                        at=world.places.get(address),
                    )
                    break

    def versions_put_in_place(self, changes: Sequence[Change], live: Live) -> Iterator[Replacement]:
        """A new version takes the place of the highest one below it. A change of an existing version (its
        tags, its description) replaces nothing."""
        made = [change.address for change in changes if change.action is Action.CREATE]
        if not made:
            return
        numbers = _numbers(address for address in live.objects if live.present(address))
        for address in made:
            model, version = address.key
            below = max((number for number in numbers[model] if number < int(version)), default=None)
            before = None if below is None else Address(ModelVersion.kind, (model, below))
            yield Replacement(address, "", before, address)

    def observe(self, db: Databases, scope: Filter) -> Observation:
        """Three queries: prompts' names, tags, versions. Deleted versions are tombstones. Facts: `created`
        and `updated` in ms, `status` and `status_message`."""
        names = scope.of("registered_model", "model_version", "model_alias")
        hidden = prompt_names(db.registry, db.workspace)
        labels, versions = model_version_tags.c, model_versions.c
        query: Any = select(labels.name, labels.version, labels.key, labels.value).where(
            labels.workspace == db.workspace
        )
        tags = rows.texts(
            ((name, number), *tag)
            for name, number, *tag in rows.among(db.registry, query, labels.name, names)
        )
        query = select(model_versions).where(versions.workspace == db.workspace)
        objects: dict[Address, Observed] = {}
        for row in rows.among(db.registry, query, versions.name, names):
            if row.name in hidden:
                continue
            spec = ModelVersion.model_construct(
                model=row.name,
                version=row.version,
                source=row.source or "",
                run_id=row.run_id or None,
                description=row.description or "",
                tags=tags[row.name, row.version],
                stage=row.current_stage or "None",
                storage_location=row.storage_location or row.source,
            )
            objects[spec.address] = Observed(
                spec,
                {
                    "created": row.creation_time,
                    "updated": row.last_updated_time,
                    "status": row.status,
                    "status_message": row.status_message,
                },
                tombstone=row.current_stage == DELETED,
            )
        return Observation(objects)

    def settle(
        self, db: Databases, desired: Mapping[Address, ModelVersion], live: Mapping[Address, Observed]
    ) -> StoredForms:
        """Sources as MLflow stores them, with the run and the storage location that follow from them. A live
        version keeps its stored form, if that means the same."""
        versions = {a: version for a in desired if (version := _live_version(live.get(a)))}
        unresolved = {a: spec for a, spec in desired.items() if not _matches(spec, versions.get(a))}
        sources = {a: read_source(spec.source) for a, spec in unresolved.items()}
        # a logged model names its own run; any other source is resolved as written
        logged = {
            a: v.source.removeprefix(MODELS) for a, v in versions.items() if v.source.startswith(MODELS)
        }
        known = look_up(
            db.registry,
            db.workspace,
            [source for a, source in sources.items() if a not in logged],
            {spec.run_id for spec in unresolved.values() if spec.run_id},
            {logged[a] for a in unresolved if a in logged},
            root=artifact_root(db.registry, db.workspace, db.artifact_root),
        )
        for address, stored in versions.items():
            if address not in unresolved or same_source(
                sources[address], stored.source, stored.run_id, known
            ):
                spec = desired[address]
                # a declared run stays, to be compared
                run_id = spec.run_id or stored.run_id
                form = {"source": stored.source, "storage_location": stored.storage_location}
                yield address, spec.model_copy(update={**form, "run_id": run_id})
        new = {a: spec for a, spec in unresolved.items() if a not in live}
        yield from _resolve_new(db, new, sources, known)

    def create(self, db: Databases, afters: Sequence[ModelVersion]) -> None:
        """Rows for specs as `settle` returns them; it has reported every problem with them."""
        afters = sorted(afters, key=lambda after: (after.model, after.version))
        sources = {(after.model, after.version): read_source(after.source) for after in afters}
        runless = {(after.model, after.version) for after in afters if after.run_id is None}
        null = find_null_runs(db.registry, db.workspace, {key: sources[key] for key in runless})
        values = [
            {
                **_key(db, after),
                "creation_time": db.now_ms,
                "last_updated_time": db.now_ms,
                "description": after.description,
                "user_id": None,
                "current_stage": after.stage,
                "source": after.source,
                "storage_location": after.storage_location or after.source,
                "run_id": after.run_id or (None if (after.model, after.version) in null else ""),
                "run_link": "",
                "status": "READY",
                "status_message": None,
            }
            for after in afters
        ]
        rows.add(db.registry, model_versions, values)
        self._tag(db, [({}, after) for after in afters])
        _touch_models(db, afters)
        note_versions(db.registry, sources)

    def update(self, db: Databases, pairs: Sequence[tuple[ModelVersion, ModelVersion]]) -> None:
        described = [after for before, after in pairs if before.description != after.description]
        staged = [after for before, after in pairs if before.stage != after.stage]
        time = {"last_updated_time": db.now_ms}
        for values in (
            [{**_key(db, spec), "description": spec.description, **time} for spec in described],
            [{**_key(db, spec), "current_stage": spec.stage, **time} for spec in staged],
        ):
            rows.change(db.registry, model_versions, values)
        _touch_models(db, staged)
        self._tag(db, [(before.tags, after) for before, after in pairs])

    def delete(self, db: Databases, befores: Sequence[ModelVersion]) -> None:
        """MLflow: the row stays as a tombstone without its source and run; tags and location stay; aliases
        go. LacError where an alias was created since the plan."""
        versions = {(before.model, before.version) for before in befores}
        aliases = registered_model_aliases.c
        query: Any = select(aliases.name, aliases.version, aliases.alias).where(
            aliases.workspace == db.workspace
        )
        refuse(
            report_use(
                f"model_alias.{row.name}/{row.alias} points at a version that the plan deletes; it was"
                " created after the plan."
            )
            for row in rows.within(db.registry, query, aliases.name, {name for name, _ in versions})
            if (row.name, row.version) in versions
        )
        gone = {
            "current_stage": DELETED,
            "last_updated_time": db.now_ms,
            "description": None,
            "user_id": None,
            "source": "REDACTED-SOURCE-PATH",
            "run_id": "REDACTED-RUN-ID",
            "run_link": "REDACTED-RUN-LINK",
            "status_message": None,
        }
        rows.change(db.registry, model_versions, [{**_key(db, before), **gone} for before in befores])
        _touch_models(db, befores)

    def _tag(self, db: Databases, pairs: Sequence[tuple[Mapping[str, str], ModelVersion]]) -> None:
        tags = ((_key(db, after), before, after.tags) for before, after in pairs)
        rows.retag(db.registry, model_version_tags, tags)


def _key(db: Databases, spec: ModelVersion) -> dict[str, Any]:
    return {"workspace": db.workspace, "name": spec.model, "version": spec.version}


def _numbers(addresses: Iterable[Address]) -> defaultdict[KeyPart, list[int]]:
    """The versions among them, by model."""
    numbers: defaultdict[KeyPart, list[int]] = defaultdict(list)
    for address in addresses:
        if address.kind == ModelVersion.kind:
            model, version = address.key
            numbers[model].append(int(version))
    return numbers


def _touch_models(db: Databases, specs: Iterable[ModelVersion]) -> None:
    models = registered_models.c
    for names in rows.portions({spec.model for spec in specs}):
        here = models.workspace == db.workspace, models.name.in_(names)
        db.registry.execute(update(registered_models).where(*here).values(last_updated_time=db.now_ms))


def _live_version(observed: Observed | None) -> ModelVersion | None:
    """The live version; None for a tombstone too."""
    spec = observed.spec if observed and not observed.tombstone else None
    return spec if isinstance(spec, ModelVersion) else None


def _matches(spec: ModelVersion, stored: ModelVersion | None) -> bool:
    """Whether the source and the run are stored as written, so that nothing has to be resolved."""
    return stored is not None and spec.source == stored.source and spec.run_id in (None, stored.run_id)


def _resolve_new(
    db: Databases,
    waiting: Mapping[Address, ModelVersion],
    sources: Mapping[Address, SourceAddress],
    known: Lookup,
) -> StoredForms:
    """Specs of versions that the plan creates. One may point at another that the plan creates too."""
    versions = dict(known.versions)
    known = replace(known, versions=versions)
    todo = dict(waiting)
    while todo:
        ready = [
            address
            for address in todo
            if not isinstance(source := sources[address], Version)
            or Address(ModelVersion.kind, (source.name, source.version)) not in todo
        ]
        for address in ready or list(todo):
            spec = todo.pop(address)
            outcome = rules.new_source(spec.source) or resolve(sources[address], spec.run_id, known)
            if isinstance(outcome, str):
                outcome = _recall(db, spec, sources[address], known) or outcome
            if isinstance(outcome, str):
                yield (
                    address,
                    Diagnostic(
                        "source-not-found",
                        "a version's source can't be resolved",
                        f"{address}: {outcome}.",
                        hint="check `source:` and `run_id:` against MLflow's tracking store",
                    ),
                )
                continue
            versions[spec.model, spec.version] = outcome
            yield address, spec.model_copy(update=asdict(outcome))


def _recall(db: Databases, spec: ModelVersion, source: SourceAddress, known: Lookup) -> Resolution | None:
    """The stored form of a source whose run is gone, if an apply created that version before."""
    run = source.run_id if isinstance(source, RunPath) else spec.run_id
    if run is None or run in known.artifacts:
        return None
    lines = history.of(db.registry, db.workspace, {ModelVersion.kind: ModelVersion}, {spec.address})
    for line in reversed(lines.get(spec.address, [])):
        stored = line.after or line.before
        if isinstance(stored, ModelVersion):
            same = stored.run_id == run and same_source(source, stored.source, run, known)
            location = stored.storage_location or stored.source
            return Resolution(stored.source, location, run) if same else None
    return None
