"""Version selectors as people write them, where they may stand, and how they are taken out again. Pure types:
which version one means is `choices`' to say.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Final, TypeVar

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    WithJsonSchema,
    model_serializer,
    model_validator,
)

from .predicate import compiled
from .spec import Address, ByKey, Part, Spec, marked, shapes

WAYS: Final = ("latest", "run_id", "where", "alias")
"""The fields of a selector of which each has exactly one."""
MAX_CONDITION: Final = 2_000
"""How long a condition may be, in characters."""


def _true(said: bool) -> bool:
    if not said:
        raise ValueError("`false` selects nothing; leave it out")
    return said


def _condition(text: str) -> str:
    compiled(text)
    return text


_True = Annotated[bool, AfterValidator(_true), WithJsonSchema({"const": True})]


class VersionSelector(Part):
    """Says which version is meant, in place of its number, by exactly one of `latest`, `run_id`, `where` and
    `alias`.

    It is resolved each time that a plan is made, and the plan has the number. Looked at are the model's
    versions that are there, without deleted ones and those that the plan deletes, and those that the plan
    makes; each with the tags that it will have. Only versions that are `READY` are selected by `latest`,
    `run_id` and `where`. None or several that fit is an error, which lists what there is.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [{"required": [way]} for way in WAYS],
            "dependentRequired": {"newest": ["where"]},
        }
    )

    latest: _True | None = None
    """`true`: the highest version number."""
    run_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,32}$")] | None = None
    """The version that this run made."""
    where: Annotated[str, Field(max_length=MAX_CONDITION), AfterValidator(_condition)] | None = None
    """The version for which this CEL expression is true: over `tags`, `version`, `run_id`, `source`,
    `description`, `stage`, `status` and `created` (a time). A version that lacks a tag that the expression
    asks for doesn't fit, whatever it is compared with; `has(tags.x)` asks whether there is one."""
    newest: _True | None = None
    """`true`, beside `where`: of several that fit, the highest version number."""
    alias: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,256}$")] | None = None
    """The version that another alias of the model points at: as it is declared in the same manifests (so once
    this plan is applied), or as it is where nobody declares it here."""

    @model_validator(mode="after")
    def _one(self) -> VersionSelector:
        given = [name for name in WAYS if getattr(self, name) is not None]
        if len(given) != 1:
            found = f"{' and '.join(given)} are given" if given else "none is given"
            raise ValueError(f"a selector has exactly one of {', '.join(WAYS)}, and {found}")
        if self.newest and self.where is None:
            raise ValueError("`newest` stands beside `where` only")
        return self

    @model_serializer(mode="wrap")
    def _as_written(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in handler(self).items() if value is not None}

    def __str__(self) -> str:
        """As people write it on one line."""
        said = self.model_dump().items()
        return f"{{{', '.join(f'{name}: {_scalar(name, value)}' for name, value in said)}}}"


def _scalar(name: str, value: object) -> str:
    if value is True:
        return "true"
    text = str(value)
    return "'" + text.replace("'", "''") + "'" if name == "where" else text


@dataclass(frozen=True, slots=True)
class Selects:
    """Marks a field in which a selector may stand for a version's number. `model`: the field beside it that
    names the registered model, of kind `model_kind`; `alias_kind`: that of its aliases."""

    model: str
    model_kind: str
    alias_kind: str


@dataclass(frozen=True, slots=True)
class Slot:
    """A selector in an object. `path` as in a FieldChange; `loc` has indexes in place of keys of lists."""

    address: Address
    path: tuple[str, ...]
    loc: tuple[str | int, ...]
    model: str
    selector: VersionSelector
    kinds: Selects

    @property
    def owner(self) -> Address:
        """The model whose versions the selector looks at."""
        return Address(self.kinds.model_kind, (self.model,))

    @property
    def alias(self) -> Address | None:
        """The alias that the selector names, if it does."""
        name = self.selector.alias
        return None if name is None else Address(self.kinds.alias_kind, (self.model, name))

    @property
    def field(self) -> str:
        """The path as people write it: `served_entities.champion.entity_version`."""
        return ".".join(self.path)


def slots(spec: Spec) -> Iterator[Slot]:
    """The selectors that an object has, unresolved."""
    if _selectable(type(spec)):
        for path, loc, model, selector, mark in _inside(spec):
            yield Slot(spec.address, path, loc, model, selector, mark)


@cache
def _selectable(part: type[Part]) -> bool:
    inner = (inner for inner, _ in shapes(part).values() if inner is not None)
    return bool(marked(part, Selects)) or any(map(_selectable, inner))


Found = tuple[tuple[str, ...], tuple[str | int, ...], str, VersionSelector, Selects]


def _inside(part: Part) -> Iterator[Found]:
    for field, mark in marked(type(part), Selects):
        if isinstance(held := getattr(part, field), VersionSelector):
            yield (field,), (field,), getattr(part, mark.model), held, mark
    keys: Mapping[str, ByKey] = dict(marked(type(part), ByKey))
    for field, (inner, many) in shapes(type(part)).items():
        if inner is None or not _selectable(inner):
            continue
        held = getattr(part, field)
        for index, item in enumerate(held if many else ()):
            name = str(getattr(item, keys[field].field)) if field in keys else str(index)
            yield from (
                ((field, name, *path), (field, index, *loc), model, selector, mark)
                for path, loc, model, selector, mark in _inside(item)
            )
        if isinstance(held, Part):
            yield from (
                ((field, *path), (field, *loc), model, selector, mark)
                for path, loc, model, selector, mark in _inside(held)
            )


P = TypeVar("P", bound=Part)


def pinned(part: P, loc: tuple[str | int, ...], version: int | str) -> P:
    """The same with a number, or another text, where a selector was."""
    field, *rest = loc
    name = str(field)
    if not rest:
        return part.model_copy(update={name: version})
    held = getattr(part, name)
    if isinstance(held, tuple):
        at, *further = rest
        items = tuple(pinned(i, tuple(further), version) if n == at else i for n, i in enumerate(held))
        return part.model_copy(update={name: items})
    return part.model_copy(update={name: pinned(held, tuple(rest), version)})
