"""Aliases: rows of `registered_model_aliases`. No time column moves with them, as in MLflow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, Field
from sqlalchemy import select

from ..model.diagnostics import Diagnostic
from ..model.plan import Action
from ..model.selector import Selects, VersionSelector
from ..model.snapshot import Observed
from ..model.spec import Address, Hold, Key, Nest, Ref, Spec, Store, Trait
from ..planning.guards import PlanContext
from ..stores.mlflow import rules
from ..stores.mlflow.prompts import prompt_names
from ..stores.mlflow.tables import registered_model_aliases
from ..stores.sql import rows
from .base import Databases, Filter, Observation, SqlKind


class ModelAlias(Spec):
    """A movable name for one version, such as `champion`: `models:/<model>@<alias>`."""

    kind = "model_alias"
    section = "model_aliases"
    example = """\
model_aliases:
  - {model: fraud, alias: champion, version: 3}
"""
    store = Store.REGISTRY
    trait = Trait.ALIAS
    nests = (Nest("registered_models", "aliases", {"model": "name"}, map_to=("alias", "version")),)
    retired = False
    holds = {
        "model_version": Hold("version-in-use", taken_along=True),
        "registered_model": Hold("model-in-use", taken_along=True),
    }

    model: Annotated[str, Key(), Ref("registered_model")]
    """The registered model."""
    alias: Annotated[str, Key(), AfterValidator(rules.validator(rules.alias))]
    """Letters, digits, `_` and `-`; not `latest` or `v<number>`, which MLflow reserves."""
    version: Annotated[
        Annotated[int, Field(ge=1, le=rules.LAST_VERSION)] | VersionSelector,
        Ref("model_version", ("model", "version")),
        Selects("model", "registered_model", "model_alias"),
    ]
    """The version that the alias points at, or a selector for it. Change it to move the alias."""

    def stands_for(self) -> Mapping[str, Address | None]:
        """The version that it points at; nothing while a selector isn't resolved."""
        if not isinstance(self.version, int):
            return {}
        return {"": Address("model_version", (self.model, self.version))}


class ModelAliases(SqlKind[ModelAlias]):
    spec = ModelAlias
    tables = (registered_model_aliases,)

    def check(self, world: PlanContext) -> Iterator[Diagnostic]:
        """An alias that is a number may stay where MLflow has one, but isn't created."""
        for address, change in world.changes.items():
            if address.kind != ModelAlias.kind or change.action is not Action.CREATE:
                continue
            if problem := rules.new_alias(str(address.key[1])):
                yield Diagnostic(
                    "ambiguous-alias",
                    "the alias is ambiguous",
                    f"{address}: {problem}.",
                    hint="give it a name with a letter in it",
                    at=world.places.get(address),
                )

    def observe(self, db: Databases, scope: Filter) -> Observation:
        """Two queries: prompts' names, and the aliases."""
        names = scope.of("registered_model", "model_version", "model_alias")
        aliases = registered_model_aliases.c
        hidden = prompt_names(db.registry, db.workspace)
        query: Any = select(aliases.name, aliases.alias, aliases.version).where(
            aliases.workspace == db.workspace
        )
        return Observation(
            {
                Address("model_alias", (name, alias)): Observed(
                    ModelAlias.model_construct(model=name, alias=alias, version=version)
                )
                for name, alias, version in rows.among(db.registry, query, aliases.name, names)
                if name not in hidden
            }
        )

    def create(self, db: Databases, afters: Sequence[ModelAlias]) -> None:
        rows.add(db.registry, registered_model_aliases, [_row(db, after) for after in afters])

    def update(self, db: Databases, pairs: Sequence[tuple[ModelAlias, ModelAlias]]) -> None:
        rows.change(db.registry, registered_model_aliases, [_row(db, after) for _, after in pairs])

    def delete(self, db: Databases, befores: Sequence[ModelAlias]) -> None:
        rows.drop(
            db.registry,
            registered_model_aliases,
            [{"workspace": db.workspace, "name": before.model, "alias": before.alias} for before in befores],
        )


def _row(db: Databases, spec: ModelAlias) -> dict[str, Any]:
    return {"workspace": db.workspace, "name": spec.model, "alias": spec.alias, "version": spec.version}
