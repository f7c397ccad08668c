"""The vocabulary that describes a kind. Pure. A rule sits on its field, as a marker inside `Annotated`;
validation, JSON Schema, reference, address, order, diff and views follow from it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Self, TypeVar, cast, get_args, get_origin
from urllib.parse import unquote

from pydantic import AfterValidator, BaseModel, ConfigDict, GetCoreSchemaHandler, PlainSerializer
from pydantic_core import CoreSchema, core_schema

from ..serving.levels import ResourceType
from .text import decode_alone, encode, encode_alone

KeyPart = str | int


class Store(StrEnum):
    """Where a kind's objects live, and their records with them; those of SERVE are in REGISTRY."""

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
    """The address of one object, as plans, errors and commands spell it: `model_alias.fraud/champion`."""

    kind: str
    key: tuple[KeyPart, ...]

    def __str__(self) -> str:
        """One line that `parse_address` reads back; invisible characters are percent-encoded (`%0A`)."""
        return f"{self.kind}.{encode_alone(self.name) if len(self.key) == 1 else encode(self.name)}"

    @property
    def shell_word(self) -> str:
        """The address as one word of a shell command."""
        return "'" + str(self).replace("'", "'\"'\"'") + "'"

    @property
    def name(self) -> str:
        """The key as text, as stores keep it. `/` and `%` in one of several parts are percent-encoded."""
        if len(self.key) == 1:
            return str(self.key[0])
        return "/".join(str(part).replace("%", "%25").replace("/", "%2F") for part in self.key)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Validate an address from its text. The validation's context has the Spec classes by kind."""
        return core_schema.with_info_plain_validator_function(lambda text, info: _address(text, info.context))


class Key:
    """Marks a part of the object's key: another value means another object."""


@dataclass(frozen=True, slots=True)
class Immutable:
    """Marks a field that the store can't change in place; `way_out` says what to do instead."""

    way_out: str


class WriteOnly:
    """Marks a field that the store doesn't return, so it is never compared."""


class Derived:
    """Marks a field that planning fills in: absent from manifests and their schema."""


class Computed:
    """Marks a field whose value the store chooses where the spec has none. Terraform's term."""


class Health:
    """Marks a field about the object's health: never declared, and never part of the desired state."""


@dataclass(frozen=True, slots=True)
class ByKey:
    """Marks a list without order; `field` identifies its items: a field of theirs, or a property, which
    depends on the fields `covers`."""

    field: str
    covers: tuple[str, ...] = ()

    def name(self, item: Mapping[str, Any], part: type[Part]) -> str:
        """The identity of an item of this class, which is given as plain data."""
        is_field = self.field in part.model_fields
        return str(item[self.field] if is_field else getattr(construct(part, item), self.field))

    def rest(self, item: Mapping[str, Any]) -> dict[str, Any]:
        """What isn't part of an item's identity."""
        return {name: value for name, value in item.items() if name not in (self.field, *self.covers)}


class Unordered:
    """Marks a list of plain values without order, which is compared value by value."""


class Sensitive:
    """Marks a text that may be a secret: no error repeats it."""


class OwnedKeys:
    """Marks a mapping that is owned key by key: undeclared keys are left alone."""


@dataclass(frozen=True, slots=True)
class Ref:
    """Marks a field that names an object of another kind, which must exist first. `fields`: the fields of
    this spec that make up the other object's key; by default the marked one."""

    kind: str
    fields: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Nest:
    """A short form: objects of this kind may be written in `field` of another section's items. `fills` maps
    this spec's fields to the parent's; `constants` sets others. `map_to`: the two fields of a mapping's
    entries (`aliases: {champion: 3}`). `claims`: the manifest lists all such objects of the parent; others
    are drift."""

    section: str
    field: str
    fills: Mapping[str, str]
    constants: Mapping[str, str] = dataclasses.field(default_factory=dict)
    map_to: tuple[str, str] | None = None
    claims: bool = False


class Hold(NamedTuple):
    """How an object prevents the deletion of another that it refers to: the guard that refuses the deletion,
    and whether the object is deleted too once that guard is overridden."""

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
"""A read-only mapping of labels, with rules for keys and for values; undeclared keys are left alone."""

Tags = Labels[str, str]
"""Labels without further rules."""


class Part(BaseModel):
    """A part of a Spec, such as a served entity. Frozen, strict, without unknown fields."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", use_attribute_docstrings=True)

    way_outs: ClassVar[Mapping[str, str]] = MappingProxyType({})
    """Hints for fields that it doesn't have and that people bring along from elsewhere, and for values that a
    field doesn't have: `provider: palm`."""

    @classmethod
    def upgrade(cls, data: Mapping[str, Any]) -> Mapping[str, Any]:
        """Stored data in today's form, where an earlier lac wrote it in another."""
        return data


class Spec(Part):
    """What a person declares about one object."""

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
    """Created in the prepare step: a new object affects nobody until something refers to it."""
    retired: ClassVar[bool] = True
    """Deleted in the last step; if False (an alias, a grant), in the switch."""
    made_once: ClassVar[str] = ""
    """Non-empty if the store can't create an object again after a deletion: the way out."""
    holds: ClassVar[Mapping[str, Hold]] = MappingProxyType({})
    """By the kind of a referenced object: the guard that refuses its deletion while this object stays.
    Without an entry, the deletion is always refused."""
    movable: ClassVar[bool] = False
    """Whether the store can rename such an object in place, together with the objects that refer to it."""

    @property
    def address(self) -> Address:
        """The kind, and the fields marked `Key` in their order."""
        return Address(self.kind, tuple(getattr(self, field) for field in key_fields(type(self))))

    def refs(self) -> Iterator[Address]:
        """The objects that must exist for this one to exist: its `Ref` fields that are set."""
        for field, ref in find_markers(type(self), Ref):
            key = tuple(getattr(self, name) for name in ref.fields or (field,))
            # an unresolved version selector has no number yet
            if all(isinstance(part, str | int) and part != "" for part in key):
                yield Address(ref.kind, key)

    def follows(self) -> Iterator[Address]:
        """The `refs` through which this object's versions were resolved: an endpoint's aliases. Changes of
        those wait for this object's warm-up, not the other way round."""
        return iter(())

    def replica_values(self) -> Iterator[str]:
        """The values of environment variables that its replicas get, references among them."""
        return iter(())

    def stands_for(self) -> Mapping[str, Address | None]:
        """The model versions that callers reach through this object, by the part that refers to them: a
        served entity's name, or empty for the object itself. None for a version that isn't known yet."""
        return {}

    def renamed(self, before: Address, after: Address) -> Self:
        """This spec after the object at `before` is renamed to `after`: its own key and its references
        change. Each field of a `Ref` of several fields follows its own `Ref`: an alias of a renamed model
        still points at that model's version."""
        key_groups: list[tuple[str, ...]] = [key_fields(type(self))] if self.kind == before.kind else []
        key_groups += [
            ref.fields or (field,) for field, ref in find_markers(type(self), Ref) if ref.kind == before.kind
        ]
        changed: dict[str, KeyPart] = {}
        for fields in key_groups:
            if tuple(getattr(self, field) for field in fields) == before.key:
                changed |= zip(fields, after.key, strict=True)
        return self.model_copy(update=changed) if changed else self

    def written(self) -> dict[str, Any]:
        """The spec as a person would write it: without derived fields and without defaults."""
        return {
            name: value
            for name, value in plain(self).items()
            if name not in find_fields(type(self), Derived)
            and (name in key_fields(type(self)) or value != type(self).model_fields[name].default)
            and value not in (None, {}, (), [])
        }

    def goes_with(self) -> Address | None:
        """The object whose deletion in MLflow deletes this one too, as the plan shows. None: it is
        refused."""
        return None

    def queued(self) -> tuple[str, int] | None:
        """The queue in which such objects are created, and the place in it: lower places are created first.
        None if objects are independent of each other."""
        return None

    def scope(self) -> Address | None:
        """The resource whose list of such objects a manifest may claim as complete; None if there is none."""
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
def find_markers(spec: type[Part], marker: type[M]) -> tuple[tuple[str, M], ...]:
    """Fields of `spec` that carry `marker`, with it, in declaration order."""
    return tuple(
        (name, item)
        for name, field in spec.model_fields.items()
        for item in field.metadata
        if isinstance(item, marker)
    )


@cache
def find_fields(spec: type[Part], marker: type[object]) -> frozenset[str]:
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
    return tuple(name for name, _ in find_markers(spec, Key))


def plain(spec: Part) -> dict[str, Any]:
    """A spec as plain data, for comparisons, hashes and JSON; unvalidated specs are accepted."""
    return spec.model_dump(warnings="none")


def construct(part: type[P], data: Mapping[str, Any]) -> P:
    """A spec from stored data, without validation: a foreign row or an older record can't break a plan."""
    known = part.model_fields.keys()
    values = {name: value for name, value in part.upgrade(data).items() if name in known}
    for field_name, (inner, many) in shapes(part).items():
        value = values.get(field_name)
        if many and isinstance(value, list | tuple):
            # JSON has no tuples
            values[field_name] = tuple(construct(inner, item) if inner else item for item in value)
        elif inner and isinstance(value, Mapping):
            values[field_name] = construct(inner, value)
    for field_name, inner in _alternatives(part).items():
        if isinstance(value := values.get(field_name), Mapping):
            values[field_name] = construct(inner, value)
    return cast(P, part.model_construct(**values))


@cache
def _alternatives(part: type[Part]) -> Mapping[str, type[Part]]:
    """The fields that hold a word or, in its place, a Part: `auth: basic`, or its settings."""
    result: dict[str, type[Part]] = {}
    for name, info in part.model_fields.items():
        members = get_args(info.annotation)
        if any(get_origin(member) is Literal for member in members):
            result.update((name, member) for member in members if _is_part(member))
    return result


@cache
def shapes(part: type[Part]) -> Mapping[str, tuple[type[Part] | None, bool]]:
    """The fields that hold a Part (its class, False), a tuple of Parts (True), or another tuple (None, True).
    A field that may also hold a plain value isn't among them."""
    result: dict[str, tuple[type[Part] | None, bool]] = {}
    for name, info in part.model_fields.items():
        many = get_origin(info.annotation) is tuple
        inner = [i for i in (get_args(info.annotation) or (info.annotation,)) if i not in (type(None), ...)]
        parts = [i for i in inner if _is_part(i)]
        if many or (parts and parts == inner):
            result[name] = parts[0] if parts else None, many
    return result


def _is_part(annotation: object) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Part)


def parse_address(text: str, specs: Mapping[str, type[Spec]]) -> Address:
    """Parse `kind.key` as `Address.__str__` writes it. ValueError says what is wrong."""
    kind, dot, name = text.partition(".")
    if not dot or kind not in specs:
        raise ValueError(f"`{text}` doesn't start with a kind, such as `registered_model.`")
    return parse_name(kind, decode_alone(name) if len(key_fields(specs[kind])) == 1 else name, specs)


def parse_name(kind: str, name: str, specs: Mapping[str, type[Spec]]) -> Address:
    """The address in a kind with this `Address.name`. ValueError says what is wrong."""
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
        raise ValueError("an address must be a string")
    kind, dot, name = text.partition(".")
    if dot and name and kind not in specs:
        # a kind that manifests can't declare, such as a user or a prompt
        return Address(kind, (name,))
    return parse_address(text, specs)
