"""Version selectors, the fields that may hold one, and how a number replaces it. Pure."""

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

from .predicate import compile_condition
from .spec import Address, ByKey, Part, Spec, find_markers, shapes

WAYS: Final = ("latest", "run_id", "where", "alias")
"""The fields of which a selector has exactly one."""
MAX_CONDITION: Final = 2_000
"""The longest condition, in characters."""


def _true(flag: bool) -> bool:
    if not flag:
        raise ValueError("`false` selects nothing; remove it")
    return flag


def _condition(text: str) -> str:
    compile_condition(text)
    return text


_True = Annotated[bool, AfterValidator(_true), WithJsonSchema({"const": True})]


class VersionSelector(Part):
    """Selects a version, in place of its number, by exactly one of `latest`, `run_id`, `where` and `alias`.

    Every plan resolves it anew and contains the number. The candidates are the model's live versions, except
    deleted ones and those that the plan deletes, and the versions that the plan creates; each with the tags
    that it will have. `latest`, `run_id` and `where` select `READY` versions only. If no version fits, or
    several do, the plan fails and the error lists the candidates.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [{"required": [way]} for way in WAYS],
            "dependentRequired": {"newest": ["where"]},
        }
    )

    latest: _True | None = None
    """`true`: the version with the highest number."""
    run_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,32}$")] | None = None
    """The version that this run created."""
    where: Annotated[str, Field(max_length=MAX_CONDITION), AfterValidator(_condition)] | None = None
    """The version for which this CEL expression is true: over `tags`, `version`, `run_id`, `source`,
    `description`, `stage`, `status` and `created` (a time). A version without a tag that the expression reads
    doesn't fit, whatever the comparison; `has(tags.x)` tests whether the tag exists."""
    newest: _True | None = None
    """`true`, beside `where`: if several versions fit, the one with the highest number."""
    alias: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,256}$")] | None = None
    """The version that another alias of the model points at: once this plan is applied, if the same manifests
    declare that alias; otherwise its live version."""

    @model_validator(mode="after")
    def _one(self) -> VersionSelector:
        ways = [name for name in WAYS if getattr(self, name) is not None]
        if len(ways) != 1:
            problem = f"{' and '.join(ways)} are given" if ways else "none is given"
            raise ValueError(f"a selector has exactly one of {', '.join(WAYS)}, and {problem}")
        if self.newest and self.where is None:
            raise ValueError("`newest` is allowed only beside `where`")
        return self

    @model_serializer(mode="wrap")
    def _as_written(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in handler(self).items() if value is not None}

    def __str__(self) -> str:
        """Its text on one line, as people write it."""
        fields = self.model_dump().items()
        return f"{{{', '.join(f'{name}: {_scalar(name, value)}' for name, value in fields)}}}"


def _scalar(name: str, value: object) -> str:
    if value is True:
        return "true"
    text = str(value)
    return "'" + text.replace("'", "''") + "'" if name == "where" else text


@dataclass(frozen=True, slots=True)
class Selects:
    """Marks a field that may hold a selector in place of a version's number. `model`: the field beside it
    that names the registered model, of kind `model_kind`; `alias_kind`: that of its aliases."""

    model: str
    model_kind: str
    alias_kind: str


@dataclass(frozen=True, slots=True)
class Slot:
    """A selector in an object. `path`: as in a FieldChange. `loc`: the same with lists' indexes."""

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
    """The unresolved selectors of an object."""
    if _selectable(type(spec)):
        yield from _slots_in(spec, spec.address, (), ())


@cache
def _selectable(part: type[Part]) -> bool:
    inner = (inner for inner, _ in shapes(part).values() if inner is not None)
    return bool(find_markers(part, Selects)) or any(map(_selectable, inner))


def _slots_in(
    part: Part, address: Address, path: tuple[str, ...], loc: tuple[str | int, ...]
) -> Iterator[Slot]:
    for field, mark in find_markers(type(part), Selects):
        if isinstance(value := getattr(part, field), VersionSelector):
            yield Slot(address, (*path, field), (*loc, field), getattr(part, mark.model), value, mark)
    keys: Mapping[str, ByKey] = dict(find_markers(type(part), ByKey))
    for field, (inner, many) in shapes(type(part)).items():
        if inner is None or not _selectable(inner):
            continue
        value = getattr(part, field)
        for index, item in enumerate(value if many else ()):
            name = str(getattr(item, keys[field].field)) if field in keys else str(index)
            yield from _slots_in(item, address, (*path, field, name), (*loc, field, index))
        if isinstance(value, Part):
            yield from _slots_in(value, address, (*path, field), (*loc, field))


P = TypeVar("P", bound=Part)


def pin_version(part: P, loc: tuple[str | int, ...], version: int | str) -> P:
    """`part` with a number, or a text, in place of the selector at `loc`."""
    field, *rest = loc
    name = str(field)
    if not rest:
        return part.model_copy(update={name: version})
    value = getattr(part, name)
    if isinstance(value, tuple):
        at, *further = rest
        items = tuple(pin_version(i, tuple(further), version) if n == at else i for n, i in enumerate(value))
        return part.model_copy(update={name: items})
    return part.model_copy(update={name: pin_version(value, tuple(rest), version)})
