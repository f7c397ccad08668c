"""The vocabulary a kind is described in: its fields, what they refer to, and how each may change.

A rule sits on the field it is about, as a marker inside `Annotated`; validation, JSON Schema,
reference, address, order, diff and views are derived from there. Pure.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, NamedTuple, Self, TypeVar, cast, get_args, get_origin
from urllib.parse import unquote

from pydantic import AfterValidator, BaseModel, ConfigDict, GetCoreSchemaHandler, PlainSerializer
from pydantic_core import CoreSchema, core_schema

from ..serving.levels import ResourceType
from .text import decode_alone, encode, encode_alone

KeyPart = str | int


class Store(StrEnum):
    """Where a kind's objects live; also where their records are kept, but for SERVE (REGISTRY's)."""

    REGISTRY = "registry"
    AUTH = "auth"
    SERVE = "serve"


class Trait(StrEnum):
    """What objects of a kind are to the parts that don't know kinds by name. No two kinds share one."""

    MODEL = "a registered model"
    VERSION = "a version of a model"
    ALIAS = "a movable name for a version"
    ENDPOINT = "serves versions"
    GRANT = "a grant to a holder of grants"
    HOLDER = "a holder of grants"


class Address(NamedTuple):
    """The name of one object, as plans, errors and commands spell it: `model_alias.fraud/champion`."""

    kind: str
    key: tuple[KeyPart, ...]

    def __str__(self) -> str:
        """One line that `parse_address` reads back: what doesn't show is percent-encoded (`%0A`)."""
        return f"{self.kind}.{encode_alone(self.name) if len(self.key) == 1 else encode(self.name)}"

    @property
    def quoted(self) -> str:
        """The address as one word of a shell's command."""
        return "'" + str(self).replace("'", "'\"'\"'") + "'"

    @property
    def name(self) -> str:
        """The key as text, as stores keep it. Parts of a longer key have `/` and `%` percent-encoded, a lone
        one not."""
        if len(self.key) == 1:
            return str(self.key[0])
        return "/".join(str(part).replace("%", "%25").replace("/", "%2F") for part in self.key)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Read from its text. The validation's context has the Spec classes by kind."""
        return core_schema.with_info_plain_validator_function(lambda text, info: _address(text, info.context))


@dataclass(frozen=True, slots=True)
class Key:
    """Part of the object's name: a different value is a different object."""


@dataclass(frozen=True, slots=True)
class Immutable:
    """The store can't change it in place; `way_out` says what to do instead."""

    way_out: str


@dataclass(frozen=True, slots=True)
class WriteOnly:
    """The store doesn't give it back, so it is never compared."""


@dataclass(frozen=True, slots=True)
class Derived:
    """Filled in while planning, never written by a person: absent from manifests and their schema."""


@dataclass(frozen=True, slots=True)
class Computed:
    """Left out (None), the store chooses a value, and whatever it chose is right. Terraform's word."""


@dataclass(frozen=True, slots=True)
class Health:
    """What the store says about how the object fares: never declared, and never taken for what is wanted."""


@dataclass(frozen=True, slots=True)
class ByKey:
    """A list whose order means nothing; `field` tells its items apart."""

    field: str


@dataclass(frozen=True, slots=True)
class Unordered:
    """A list of plain values whose order means nothing; compared value by value."""


@dataclass(frozen=True, slots=True)
class OwnedKeys:
    """A mapping owned key by key: what nobody declares is left alone."""


@dataclass(frozen=True, slots=True)
class Ref:
    """Names an object of another kind, which must exist first.

    `fields` are the fields of this spec that make up the other's key; by default the marked one.
    """

    kind: str
    fields: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Nest:
    """Sugar: objects of this kind may be written in `field` of another section's items.

    `fills` maps this spec's fields to the parent's; `constants` sets others. `map_to` names two
    fields when the sugar is a mapping (`aliases: {champion: 3}`). `claims`: listing the field
    claims the whole list, so what isn't in it is drift.
    """

    section: str
    field: str
    fills: Mapping[str, str]
    constants: Mapping[str, str] = dataclasses.field(default_factory=dict)
    map_to: tuple[str, str] | None = None
    claims: bool = False


class Hold(NamedTuple):
    """How an object keeps one that it refers to from being deleted: the guard that says so, and whether the
    store takes the object along once that guard is let through."""

    guard: str
    taken_along: bool


LabelKey = TypeVar("LabelKey", bound=str)
LabelValue = TypeVar("LabelValue", bound=str)

Labels = Annotated[
    Mapping[LabelKey, LabelValue],
    AfterValidator(MappingProxyType),
    PlainSerializer(dict, return_type=dict),
    OwnedKeys(),
]
"""A read-only mapping of labels, each side by its own rules; declared keys are ours, others left alone."""

Tags = Labels[str, str]
"""Labels without rules of their own."""


class Part(BaseModel):
    """A piece of a Spec, such as a served entity. Frozen, strict, closed to unknown fields."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", use_attribute_docstrings=True)


class Spec(Part):
    """What a person writes about one object."""

    kind: ClassVar[str]
    """As in addresses: `model_alias`."""
    section: ClassVar[str]
    """As in manifests: `model_aliases`."""
    store: ClassVar[Store]
    example: ClassVar[str] = ""
    """A manifest that declares one such object, and in which every field is written: for docs and tests."""
    trait: ClassVar[Trait | None] = None
    grantable: ClassVar[ResourceType | None] = None
    """MLflow's type of the grants that may name such an object; None where no grant can."""
    nests: ClassVar[tuple[Nest, ...]] = ()
    prepared: ClassVar[bool] = False
    """Made in the prepare step: until something points at it, making it changes nothing for anybody."""
    retired: ClassVar[bool] = True
    """Removed in the last step; where False (an alias, a grant) removal is part of the switch."""
    made_once: ClassVar[str] = ""
    """Non-empty where the store can't make an object again once it was deleted: the way out."""
    holds: ClassVar[Mapping[str, Hold]] = MappingProxyType({})
    """By the kind of what it refers to: which guard stands before a deletion of that while this object stays.
    A kind that isn't named can't be deleted then at all."""
    movable: ClassVar[bool] = False
    """Whether the store can rename such an object in place, and all that hangs on it with it."""

    @property
    def address(self) -> Address:
        """Made of the fields marked `Key`, in their order."""
        return Address(self.kind, tuple(getattr(self, field) for field in key_fields(type(self))))

    def refs(self) -> Iterator[Address]:
        """What must exist for this object to exist: its `Ref` fields, where they are set."""
        for field, ref in marked(type(self), Ref):
            key = tuple(getattr(self, name) for name in ref.fields or (field,))
            # a version that is still selected by something else has no number
            if all(isinstance(part, str | int) and part != "" for part in key):
                yield Address(ref.kind, key)

    def follows(self) -> Iterator[Address]:
        """Those of `refs` that this object was resolved through, and is pinned apart from: an endpoint's
        aliases. Their moves wait for this object's warm-up instead of the other way round."""
        return iter(())

    def stands_for(self) -> Mapping[str, Address | None]:
        """The model versions that callers reach through this object, by the part of it that leads there: a
        served entity's name, or nothing for the object itself. None where it can't be told yet which."""
        return {}

    def renamed(self, before: Address, after: Address) -> Self:
        """This spec once the object at `before` is called `after`: under that name if it is that object, and
        naming it so where it refers to it. The same spec where the two have nothing to do with each other.

        A `Ref` of several fields follows by each field's own `Ref`: an alias whose model is renamed still
        points at that model's version.
        """
        held: list[tuple[str, ...]] = [key_fields(type(self))] if self.kind == before.kind else []
        held += [ref.fields or (field,) for field, ref in marked(type(self), Ref) if ref.kind == before.kind]
        changed: dict[str, KeyPart] = {}
        for fields in held:
            if tuple(getattr(self, field) for field in fields) == before.key:
                changed |= zip(fields, after.key, strict=True)
        return self.model_copy(update=changed) if changed else self

    def written(self) -> dict[str, Any]:
        """The spec as a person would write it: nothing derived, nothing that is the default."""
        return {
            name: value
            for name, value in plain(self).items()
            if name not in fields_marked(type(self), Derived)
            and (name in key_fields(type(self)) or value != type(self).model_fields[name].default)
            and value not in (None, {}, (), [])
        }

    def goes_with(self) -> Address | None:
        """What takes this object along when it is deleted, whoever made it: MLflow's own doing. The plan
        shows it as a change; None where a deletion that would touch this object is refused instead."""
        return None

    def queued(self) -> tuple[str, int] | None:
        """The queue in which new objects like this one are made, and its place there: nothing is made before
        what has a lower one. None where each is made by itself."""
        return None

    def scope(self) -> Address | None:
        """The resource whose list of such objects a manifest may claim whole; None where there is none."""
        return None


def spec_with(trait: Trait, specs: Mapping[str, type[Spec]]) -> type[Spec]:
    """The Spec class that has this trait. LookupError where none has."""
    for spec in specs.values():
        if spec.trait is trait:
            return spec
    raise LookupError(f"no kind is {trait}")


M = TypeVar("M")
P = TypeVar("P", bound=Part)


@cache
def marked(spec: type[Part], marker: type[M]) -> tuple[tuple[str, M], ...]:
    """Fields of `spec` that carry `marker`, with it, in declaration order."""
    return tuple(
        (name, item)
        for name, field in spec.model_fields.items()
        for item in field.metadata
        if isinstance(item, marker)
    )


@cache
def fields_marked(spec: type[Part], marker: type[object]) -> frozenset[str]:
    """Names of the fields of `spec` that carry `marker`, a marker class."""
    return frozenset(
        name for name, field in spec.model_fields.items() if marker in {type(item) for item in field.metadata}
    )


@cache
def _key_types(spec: type[Spec]) -> tuple[Any, ...]:
    return tuple(spec.model_fields[name].annotation for name in key_fields(spec))


@cache
def key_fields(spec: type[Spec]) -> tuple[str, ...]:
    """The fields that make up the address, in order."""
    return tuple(name for name, _ in marked(spec, Key))


def plain(spec: Part) -> dict[str, Any]:
    """A spec as plain data, for comparing, hashing and JSON. Takes unvalidated specs as they are."""
    return spec.model_dump(warnings="none")


def construct(part: type[P], data: Mapping[str, Any]) -> P:
    """A spec from stored data, taken as it is: a foreign row or an older record can't break a plan."""
    known = part.model_fields.keys()
    values = {name: value for name, value in data.items() if name in known}
    for field_name, (inner, many) in shapes(part).items():
        held = values.get(field_name)
        if many and isinstance(held, list | tuple):
            # JSON has no tuples
            values[field_name] = tuple(construct(inner, item) if inner else item for item in held)
        elif inner and isinstance(held, Mapping):
            values[field_name] = construct(inner, held)
    return cast(P, part.model_construct(**values))


@cache
def shapes(part: type[Part]) -> Mapping[str, tuple[type[Part] | None, bool]]:
    """Fields that hold a Part (its class, False), a tuple of them (True), or any other tuple (None, True). A
    field that may hold a plain value in place of a Part is none of these."""
    found: dict[str, tuple[type[Part] | None, bool]] = {}
    for name, info in part.model_fields.items():
        many = get_origin(info.annotation) is tuple
        held = [i for i in (get_args(info.annotation) or (info.annotation,)) if i not in (type(None), ...)]
        parts = [i for i in held if _is_part(i)]
        if many or (parts and parts == held):
            found[name] = parts[0] if parts else None, many
    return found


def _is_part(annotation: object) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Part)


def parse_address(text: str, specs: Mapping[str, type[Spec]]) -> Address:
    """`kind.key` as `Address.__str__` writes it. ValueError says what is wrong with it."""
    kind, dot, name = text.partition(".")
    if not dot or kind not in specs:
        raise ValueError(f"`{text}` doesn't start with a kind, such as `registered_model.`")
    return named(kind, decode_alone(name) if len(key_fields(specs[kind])) == 1 else name, specs)


def named(kind: str, name: str, specs: Mapping[str, type[Spec]]) -> Address:
    """The object of a kind with this `Address.name`. ValueError says what is wrong with it."""
    text = f"{kind}.{name}"
    types = _key_types(specs[kind])
    parts = [name] if len(types) == 1 else [unquote(part) for part in name.split("/")]
    if len(parts) != len(types) or not all(parts):
        fields = "/".join(f"<{field}>" for field in key_fields(specs[kind]))
        raise ValueError(f"`{text}` should be `{kind}.{fields}`")
    try:
        return Address(kind, tuple([int(p) if t is int else p for t, p in zip(types, parts, strict=True)]))
    except ValueError:
        raise ValueError(f"`{text}`: `{parts[-1]}` is not a number") from None


def _address(text: Any, specs: Mapping[str, type[Spec]]) -> Address:
    if not isinstance(text, str):
        raise ValueError("an address is a text")
    kind, dot, name = text.partition(".")
    if dot and name and kind not in specs:
        # of a kind that no manifest knows, such as a user or a prompt
        return Address(kind, (name,))
    return parse_address(text, specs)
