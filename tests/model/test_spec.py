"""The vocabulary that kinds are described in: addresses, markers, and specs from stored data."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lifecycle_as_code.model.spec import (
    Address,
    ByKey,
    Derived,
    Key,
    OwnedKeys,
    Part,
    Ref,
    Spec,
    Store,
    construct,
    find_fields,
    find_markers,
    key_fields,
    parse_address,
    parse_name,
    plain,
)
from lifecycle_as_code.views.text import safe


class Entity(Part):
    """A part."""

    name: str
    version: int | str
    labels: tuple[str, ...] = ()


class Traffic(Part):
    """A part that holds parts."""

    routes: tuple[Entity, ...] = ()


class Model(Spec):
    """A model."""

    kind: ClassVar[str] = "model"
    section: ClassVar[str] = "models"
    store: ClassVar[Store] = Store.REGISTRY

    name: Annotated[str, Key()]
    description: str = ""
    tags: Annotated[Mapping[str, str], OwnedKeys()] = {}


class Alias(Spec):
    """A pointer."""

    kind: ClassVar[str] = "alias"
    section: ClassVar[str] = "aliases"
    store: ClassVar[Store] = Store.REGISTRY

    model: Annotated[str, Key(), Ref("model")]
    alias: Annotated[str, Key()]
    version: Annotated[int | None, Ref("version", ("model", "version"))] = None


class Version(Spec):
    """A number."""

    kind: ClassVar[str] = "version"
    section: ClassVar[str] = "versions"
    store: ClassVar[Store] = Store.REGISTRY

    model: Annotated[str, Key(), Ref("model")]
    version: Annotated[int, Key()]


class Endpoint(Spec):
    """Parts in every shape."""

    kind: ClassVar[str] = "endpoint"
    section: ClassVar[str] = "endpoints"
    store: ClassVar[Store] = Store.SERVE

    name: Annotated[str, Key()]
    entities: Annotated[tuple[Entity, ...], ByKey("name")] = ()
    traffic: Traffic | None = None
    members: tuple[str, ...] = ()
    pinned: Annotated[int | None, Derived()] = None


SPECS: dict[str, type[Spec]] = {spec.kind: spec for spec in (Model, Alias, Version, Endpoint)}

ADDRESSES = {
    "model.fraud": Address("model", ("fraud",)),
    "model.a/b": Address("model", ("a/b",)),
    "model.50%": Address("model", ("50%",)),
    "model.a.b": Address("model", ("a.b",)),
    "model. ": Address("model", (" ",)),
    "alias.fraud/champion": Address("alias", ("fraud", "champion")),
    "alias.a%2Fb/c%25d": Address("alias", ("a/b", "c%d")),
    "version.fraud/3": Address("version", ("fraud", 3)),
}


@pytest.mark.parametrize(("text", "address"), ADDRESSES.items(), ids=ADDRESSES)
def test_an_address_is_spelled_and_read(text: str, address: Address) -> None:
    assert str(address) == text
    assert parse_address(text, SPECS) == address


AWKWARD = "e%0A\n\r\x1b\u200b\u202e\ufe0f\xa0é\u3000%25 '$%C2%A0/"


@given(st.text(st.sampled_from(AWKWARD) | st.characters(codec="utf-8"), min_size=1))
@example("e\n2")
@example("e%0A2")
@example("e%250A2")
@example("%\n%25\n%2525")
def test_an_address_is_printed_so_that_it_reads_back(name: str) -> None:
    for address in (Address("model", (name,)), Address("alias", (name, "a"))):
        printed = str(address)
        assert parse_address(printed, SPECS) == address
        assert safe(printed) == printed
        assert shlex.split(address.shell_word) == [printed]


@pytest.mark.parametrize("name", ["100%", "a%20b", "caf%C3%A9", "%2F", "50%25", "%zz", "%0a", "%"])
def test_a_lone_name_with_a_percent_sign_is_printed_as_it_is(name: str) -> None:
    assert str(Address("model", (name,))) == f"model.{name}"
    assert parse_address(f"model.{name}", SPECS) == Address("model", (name,))


def test_records_of_names_that_look_encoded_stay_what_they_are() -> None:
    assert parse_name("model", "a%0Ab", SPECS) == Address("model", ("a%0Ab",))
    assert parse_name("model", "a\nb", SPECS) == Address("model", ("a\nb",))


NOT_ADDRESSES = {
    "": "doesn't start with a kind",
    "fraud": "doesn't start with a kind",
    "modle.fraud": "doesn't start with a kind",
    "model": "doesn't start with a kind",
    "model.": "should be `model.<name>`",
    "alias.fraud": "should be `alias.<model>/<alias>`",
    "alias.fraud/": "should be `alias.<model>/<alias>`",
    "alias.a/b/c": "should be `alias.<model>/<alias>`",
    "version.fraud/three": "`three` is not a number",
    "version.fraud/3.0": "`3.0` is not a number",
}


@pytest.mark.parametrize(("text", "why"), NOT_ADDRESSES.items(), ids=NOT_ADDRESSES)
def test_what_is_no_address_is_told_why(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why.replace("`", ".")):
        parse_address(text, SPECS)


def test_markers_are_found_in_the_order_of_the_fields() -> None:
    assert key_fields(Alias) == ("model", "alias")
    assert [name for name, _ in find_markers(Alias, Ref)] == ["model", "version"]
    assert find_fields(Endpoint, Derived) == {"pinned"}
    assert find_fields(Model, Ref) == frozenset()


REFS: dict[str, tuple[Spec, list[str]]] = {
    "a field": (Alias(model="fraud", alias="c"), ["model.fraud"]),
    "several fields": (Alias(model="fraud", alias="c", version=3), ["model.fraud", "version.fraud/3"]),
    "nothing": (Model(name="fraud"), []),
}


@pytest.mark.parametrize(("spec", "expected"), REFS.values(), ids=REFS)
def test_a_spec_refers_to_what_its_fields_name(spec: Spec, expected: list[str]) -> None:
    assert [str(ref) for ref in spec.refs()] == expected


RENAMED: dict[str, tuple[Spec, str, str, Spec]] = {
    "the object itself": (
        Model(name="a", description="x"),
        "model.a",
        "model.b",
        Model(name="b", description="x"),
    ),
    "what names it": (Version(model="a", version=3), "model.a", "model.b", Version(model="b", version=3)),
    "all that names it": (
        Alias(model="a", alias="c", version=3),
        "model.a",
        "model.b",
        Alias(model="b", alias="c", version=3),
    ),
    "a reference of several fields": (
        Alias(model="a", alias="c", version=3),
        "version.a/3",
        "version.a/4",
        Alias(model="a", alias="c", version=4),
    ),
    "what was never validated": (
        Alias.model_construct(model="a/b", alias=3, version="x"),
        "model.a/b",
        "model. ",
        Alias.model_construct(model=" ", alias=3, version="x"),
    ),
}


@pytest.mark.parametrize(("spec", "before", "after", "expected"), RENAMED.values(), ids=RENAMED)
def test_a_spec_follows_a_rename(spec: Spec, before: str, after: str, expected: Spec) -> None:
    assert spec.renamed(parse_address(before, SPECS), parse_address(after, SPECS)) == expected


@pytest.mark.parametrize(
    ("spec", "before", "after"),
    [
        (Model(name="a"), "model.b", "model.c"),
        (Model(name="a"), "endpoint.a", "endpoint.b"),
        (Alias(model="b", alias="a"), "model.a", "model.c"),
        (Alias(model="a", alias="c"), "version.a/3", "version.a/4"),
    ],
)
def test_a_spec_that_is_not_concerned_stays_the_same(spec: Spec, before: str, after: str) -> None:
    assert spec.renamed(parse_address(before, SPECS), parse_address(after, SPECS)) is spec


WRITTEN: dict[str, tuple[Spec, dict[str, Any]]] = {
    "the key alone": (Model(name="fraud"), {"name": "fraud"}),
    "what was said": (
        Model(name="fraud", description="x", tags={"a": ""}),
        {"name": "fraud", "description": "x", "tags": {"a": ""}},
    ),
    "nothing derived": (Endpoint(name="api", pinned=3), {"name": "api"}),
}


@pytest.mark.parametrize(("spec", "expected"), WRITTEN.values(), ids=WRITTEN)
def test_a_spec_is_written_without_what_goes_without_saying(spec: Spec, expected: dict[str, Any]) -> None:
    assert spec.written() == expected


def test_stored_data_becomes_the_same_spec_parts_and_all() -> None:
    spec = Endpoint(
        name="api",
        entities=(Entity(name="a", version="@champion", labels=("x",)), Entity(name="b", version=3)),
        traffic=Traffic(routes=(Entity(name="a", version=1),)),
        members=("ann",),
    )
    data = {
        "name": "api",
        "entities": [{"name": "a", "version": "@champion", "labels": ["x"]}, {"name": "b", "version": 3}],
        "traffic": {"routes": [{"name": "a", "version": 1}]},
        "members": ["ann"],
    }
    made = construct(Endpoint, data)
    assert made == spec
    assert plain(made) == plain(spec)
    assert isinstance(made.entities[0], Entity)
    assert isinstance(made.traffic, Traffic)


@pytest.mark.parametrize(
    "data",
    [{"name": 3}, {"name": "x" * 1000, "description": None}, {"name": "", "tags": {"a": 1}, "unheard": "of"}],
    ids=["a number", "far too long", "another age"],
)
def test_stored_data_is_taken_as_it_is(data: dict[str, Any]) -> None:
    made = construct(Model, data)
    assert made.name == data["name"]
    assert not hasattr(made, "unheard")


def test_specs_are_closed_strict_and_frozen() -> None:
    with pytest.raises(ValueError, match="extra"):
        Model(name="fraud", descripton="x")  # type: ignore[call-arg]  # what pydantic is to refuse
    with pytest.raises(ValueError, match="valid integer"):
        Version(model="fraud", version="3")  # type: ignore[arg-type]  # what pydantic is to refuse
    with pytest.raises(ValueError, match="frozen"):
        Model(name="fraud").name = "other"  # type: ignore[misc]  # what pydantic is to refuse
