"""What people call the resources that MLflow's grants hold an id of. Reads only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from sqlalchemy import Column, Connection, Table, select

from ...serving.levels import ResourceType
from .tables import endpoints, experiments, role_permissions

BY_ID: Final[Mapping[str, tuple[Table, Column[Any]]]] = {
    ResourceType.EXPERIMENT: (experiments, experiments.c.experiment_id),
    ResourceType.GATEWAY_ENDPOINT: (endpoints, endpoints.c.endpoint_id),
}
"""Types whose grants hold an id, and where it becomes a name. Deleted experiments keep theirs."""


def granted_ids(auth: Connection, resource_type: str) -> frozenset[str]:
    """The ids of one type that grants name, in any workspace and whether or not something has them."""
    grants = role_permissions.c
    query = select(grants.resource_pattern).where(grants.resource_type == resource_type)
    return frozenset(auth.scalars(query))


@dataclass(frozen=True, slots=True)
class GrantNames:
    """Both ways between a type's ids and its names; None where the id is the name."""

    id_of: Mapping[str, str] | None = None
    name_of: Mapping[str, str] | None = None

    @classmethod
    def read(cls, registry: Connection, resource_type: str, workspace: str) -> Self:
        """Those of one type in one workspace: at most one query."""
        if resource_type not in BY_ID:
            return cls()
        table, key = BY_ID[resource_type]
        found = registry.execute(select(key, table.c.name).where(table.c.workspace == workspace))
        # what is called `*` can't be told from all of the type: it goes by its id
        name_of = {str(key): name for key, name in found if name and name != "*"}
        return cls({name: key for key, name in name_of.items()}, name_of)

    def name(self, pattern: str) -> str | None:
        """What people call it. The id itself where it names nothing, and None where another thing has that
        id for a name: nothing then tells the two apart, and the one without a thing does nothing."""
        if self.name_of is None or self.id_of is None:
            return pattern
        return self.name_of.get(pattern) or (None if pattern in self.id_of else pattern)

    def pattern(self, name: str) -> str | None:
        """What MLflow keeps; None where nothing has this name."""
        return name if self.id_of is None or name == "*" else self.id_of.get(name)


def read_names(registry: Connection, types: Iterable[str], workspace: str) -> dict[str, GrantNames]:
    """Those of each type: at most one query for each."""
    return {each: GrantNames.read(registry, each, workspace) for each in types}
