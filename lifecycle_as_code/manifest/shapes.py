"""The shapes of manifests: sections, fields, sugar, derived once from the classes. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, Literal

from ..model.spec import Nest, Spec
from .blocks.objects import LIFECYCLE
from .convert import Convert, converter, fields_of, required_of

EXCLUSIVE: Final = "exclusive"
"""A field next to a list that claims its scope: whether the claim includes hidden roles' grants."""
read_exclusive: Final[Convert] = converter(Literal["roles", "all"])


@dataclass(frozen=True)
class Shape:
    """One type of item: a section's, or the sugar's inside another section's item.

    `filled_in` are the fields that the place fills in, so they can't be written there.
    """

    spec: type[Spec]
    fields: Mapping[str, Convert]
    required: frozenset[str]
    nest: Nest | None = None
    filled_in: frozenset[str] = frozenset()
    nests: dict[str, Shape] = field(default_factory=dict)

    @property
    def what(self) -> str:
        """The item's name in problems."""
        return self.spec.kind

    @cached_property
    def known(self) -> list[str]:
        """All fields of such an item."""
        return [*self.fields, *self.nests, *([EXCLUSIVE] if self.claims else []), LIFECYCLE]

    @cached_property
    def claims(self) -> list[str]:
        """The fields of the lists in it that claim a scope."""
        return [name for name, inner in self.nests.items() if inner.nest and inner.nest.claims]


def shapes_of(specs: Mapping[str, type[Spec]]) -> dict[str, Shape]:
    """The shape of each section's items, by section."""
    sections = {spec.section: _shape(spec) for spec in specs.values()}
    inners: list[Shape] = []
    for spec in specs.values():
        for nest in spec.nests:
            if nest.section in sections:
                inner = _shape(spec, nest)
                inners.append(inner)
                sections[nest.section].nests[nest.field] = inner
    # an item inside a model may itself have sugar
    for inner in inners:
        inner.nests.update(sections[inner.spec.section].nests)
    return sections


def _shape(spec: type[Spec], nest: Nest | None = None) -> Shape:
    constants = frozenset((*nest.fills, *nest.constants)) if nest else frozenset()
    fields: dict[str, Any] = {name: read for name, read in fields_of(spec).items() if name not in constants}
    return Shape(spec, fields, required_of(spec) - constants, nest, constants)
