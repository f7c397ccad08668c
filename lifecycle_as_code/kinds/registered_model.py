"""Registered models: rows of `registered_models` and `registered_model_tags`, as MLflow's handlers leave them
(`stores.mlflow.tables`). Prompts are left out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

from pydantic import AfterValidator
from sqlalchemy import select

from ..model.diagnostics import Diagnostic, refuse
from ..model.plan import Action, Change
from ..model.snapshot import Observed
from ..model.spec import Address, Key, Labels, Spec, Store, Trait
from ..planning.guards import PlanContext
from ..serving.levels import ResourceType
from ..stores.mlflow import rules
from ..stores.mlflow.prompts import PROMPT_TAG
from ..stores.mlflow.renames import rename, rename_grants
from ..stores.mlflow.tables import (
    DELETED,
    model_version_tags,
    model_versions,
    registered_model_aliases,
    registered_model_tags,
    registered_models,
)
from ..stores.mlflow.webhooks import find_webhooks
from ..stores.sql import rows
from .base import Databases, Filter, Observation, SqlKind, report_use

Name = Annotated[str, AfterValidator(rules.validator(rules.model_name))]
TagKey = Annotated[str, AfterValidator(rules.validator(rules.model_tag_key))]
TagValue = Annotated[str, AfterValidator(rules.validator(rules.model_tag_value))]


class RegisteredModel(Spec):
    """A named model. Its versions and aliases are objects of their own."""

    kind = "registered_model"
    section = "registered_models"
    example = """\
registered_models:
  - name: fraud
    description: Scores card payments.
    tags: {team: risk}
"""
    store = Store.REGISTRY
    trait = Trait.MODEL
    grantable = ResourceType.REGISTERED_MODEL
    prepared = True
    movable = True

    name: Annotated[Name, Key()]
    """Unique in the workspace. No `/` or `:`; at most 256 characters."""
    description: Annotated[str, AfterValidator(rules.validator(rules.description))] = ""
    """Markdown that MLflow shows on the model's page; at most 5000 characters."""
    tags: Labels[TagKey, TagValue] = {}
    """Labels. The stack manages the declared keys and leaves all others alone."""


class RegisteredModels(SqlKind[RegisteredModel]):
    spec = RegisteredModel
    keys = rows.Keys(registered_models, ("name",))
    tables = (registered_models, registered_model_tags)

    def check(self, world: PlanContext) -> Iterator[Diagnostic]:
        """A prompt's name is taken: MLflow stores prompts as models."""
        for address, change in world.changes.items():
            is_prompt = Address("prompt", address.key) in world.live.referents
            is_new = change.action is Action.CREATE or change.moved_from is not None
            if is_new and address.kind == RegisteredModel.kind and is_prompt:
                yield Diagnostic(
                    "is-a-prompt",
                    "a prompt has this name",
                    f"`{address.name}` is a prompt in MLflow, and a model can't have a prompt's name.",
                    hint="give the model another name",
                    at=world.places.get(address),
                )
        yield from _silent_webhooks(world)

    def observe(self, db: Databases, scope: Filter) -> Observation:
        """Four queries. Facts: `created` and `updated`, in ms; of the store, its `webhooks`. Referents: the
        prompts among the names."""
        names = scope.of("registered_model", "model_version", "model_alias", "prompt")
        models, labels = registered_models.c, registered_model_tags.c
        query: Any = select(labels.name, labels.key, labels.value).where(labels.workspace == db.workspace)
        tags = rows.texts(rows.among(db.registry, query, labels.name, names))
        query = select(registered_models).where(models.workspace == db.workspace)
        objects: dict[Address, Observed] = {}
        prompts: set[Address] = set()
        for row in rows.among(db.registry, query, models.name, names):
            labels_here = tags[row.name]
            if labels_here.get(PROMPT_TAG, "").lower() == "true":
                prompts.add(Address("prompt", (row.name,)))
                continue
            spec = RegisteredModel.model_construct(
                name=row.name, description=row.description or "", tags=labels_here
            )
            objects[spec.address] = Observed(
                spec, {"created": row.creation_time, "updated": row.last_updated_time}
            )
        return Observation(
            objects, frozenset(prompts), facts={"webhooks": find_webhooks(db.registry, db.workspace)}
        )

    def create(self, db: Databases, afters: Sequence[RegisteredModel]) -> None:
        values = [
            {
                "workspace": db.workspace,
                "name": after.name,
                "creation_time": db.now_ms,
                "last_updated_time": db.now_ms,
                "description": after.description,
            }
            for after in afters
        ]
        rows.add(db.registry, registered_models, values)
        self._tag(db, [({}, after) for after in afters])

    def update(self, db: Databases, pairs: Sequence[tuple[RegisteredModel, RegisteredModel]]) -> None:
        values = [
            {
                "workspace": db.workspace,
                "name": after.name,
                "description": after.description,
                "last_updated_time": db.now_ms,
            }
            for before, after in pairs
            if before.description != after.description
        ]
        rows.change(db.registry, registered_models, values)
        self._tag(db, [(before.tags, after) for before, after in pairs])

    def move(self, db: Databases, pairs: Sequence[tuple[RegisteredModel, RegisteredModel]]) -> None:
        """MLflow: versions, tags and aliases follow by foreign key; the model's update time changes and that
        of every version, deleted ones too. Sources of other versions (`models:/<name>/<version>`) and the
        tags of logged models keep the former name.

        MLflow renames users' own grants on the model and leaves the grants of other roles behind. We rename
        all grants: a rename must not change who may do what.
        """
        names = {before.address: after.address for before, after in pairs}
        times = {"last_updated_time": db.now_ms}
        rename(db.registry, registered_models, db.workspace, names, times)
        values = [{"workspace": db.workspace, "name": after.name, **times} for _, after in pairs]
        rows.change(db.registry, model_versions, values, ("workspace", "name"))
        if db.auth is not None:
            rename_grants(db.auth, db.workspace, names)

    def delete(self, db: Databases, befores: Sequence[RegisteredModel]) -> None:
        """MLflow: with all versions, deleted ones too, and all tags and aliases; its foreign keys don't
        cascade on deletion. LacError where a version or an alias was created since the plan."""
        names = {before.name for before in befores}
        versions, aliases = model_versions.c, registered_model_aliases.c
        living: Any = select(versions.name, versions.version).where(
            versions.workspace == db.workspace, versions.current_stage != DELETED
        )
        named: Any = select(aliases.name, aliases.alias).where(aliases.workspace == db.workspace)
        refuse(
            report_use(
                f"{Address(kind, tuple(row))} belongs to a model that the plan deletes; it was created after"
                " the plan."
            )
            for kind, query, column in (
                ("model_version", living, versions.name),
                ("model_alias", named, aliases.name),
            )
            for row in rows.within(db.registry, query, column, names)
        )
        models = [{"workspace": db.workspace, "name": before.name} for before in befores]
        for table in (
            model_version_tags,
            registered_model_aliases,
            registered_model_tags,
            model_versions,
            registered_models,
        ):
            rows.drop(db.registry, table, models)

    def _tag(self, db: Databases, pairs: Sequence[tuple[Mapping[str, str], RegisteredModel]]) -> None:
        here = {"workspace": db.workspace}
        tags = (({**here, "name": after.name}, before, after.tags) for before, after in pairs)
        rows.retag(db.registry, registered_model_tags, tags)


def _silent_webhooks(world: PlanContext) -> Iterator[Diagnostic]:
    """The webhooks that MLflow would have called for the same changes by REST."""
    silent = world.live.facts.get("webhooks", {})
    if not silent:
        return
    missed = {
        name for change in world.changes.values() for e in _events(change) for name in silent.get(e, ())
    }
    if missed:
        yield Diagnostic(
            "webhooks-stay-silent",
            "webhooks don't fire for these changes",
            f"MLflow calls webhooks for changes by its REST API only, so not these: {', '.join(missed)}.",
            hint="notify their consumers another way, such as from the job that runs `lac apply`",
            severity="warning",
        )


def _events(change: Change) -> set[tuple[str, str]]:
    """The events that MLflow's handlers would have sent for a change, as (entity, action)."""
    match change.address.kind, change.action:
        case ("registered_model" | "model_version") as entity, Action.CREATE:
            return {(entity, "created")}
        case "model_alias", (Action.CREATE | Action.UPDATE):
            return {("model_version_alias", "created")}
        case "model_alias", Action.DELETE:
            return {("model_version_alias", "deleted")}
        case "model_version", Action.UPDATE:
            tags = [field for field in change.fields if field.path[0] == "tags"]
            return {("model_version_tag", "deleted" if f.after is None else "set") for f in tags}
    return set()
