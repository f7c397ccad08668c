"""The only differ: which leaves differ between two specs of one kind, and which don't count."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifecycle_as_code.model.diff import diff, list_leaves, restrict_to_owned
from lifecycle_as_code.model.spec import (
    ByKey,
    Computed,
    Derived,
    Key,
    OwnedKeys,
    Part,
    Spec,
    Store,
    Unordered,
    WriteOnly,
)


class Route(Part):
    """A share."""

    entity: str
    percent: int


class Traffic(Part):
    """Shares."""

    routes: Annotated[tuple[Route, ...], ByKey("entity")] = ()
    policy: str = ""


class Thing(Spec):
    """One of everything."""

    kind: ClassVar[str] = "thing"
    section: ClassVar[str] = "things"
    store: ClassVar[Store] = Store.REGISTRY

    name: Annotated[str, Key()] = "thing"
    count: int = 0
    note: str | None = None
    tags: Annotated[Mapping[str, str], OwnedKeys()] = {}
    traffic: Traffic | None = None
    parts: Annotated[tuple[Route, ...], ByKey("entity")] = ()
    members: Annotated[tuple[str, ...], Unordered()] = ()
    order: tuple[str, ...] = ()
    secret: Annotated[str, WriteOnly()] = ""
    chosen: Annotated[str | None, Computed()] = None
    pinned: Annotated[int | None, Derived()] = None


def thing(**fields: Any) -> Thing:
    return Thing.model_construct(**fields)


def routes(*shares: tuple[str, int]) -> tuple[Route, ...]:
    return tuple(Route(entity=entity, percent=percent) for entity, percent in shares)


AB, BA = routes(("a", 90), ("b", 10)), routes(("b", 10), ("a", 90))

SAME = {
    "nothing": ({}, {}),
    "the key is who it is": ({"name": "one"}, {"name": "other"}),
    "what isn't read back": ({"secret": "old"}, {"secret": "new"}),
    "what the store may choose": ({"chosen": "s3://anywhere"}, {"chosen": None}),
    "the order of a list by key": ({"parts": AB}, {"parts": BA}),
    "the order inside a part": ({"traffic": Traffic(routes=AB)}, {"traffic": Traffic(routes=BA)}),
    "the order of a set": ({"members": ("a", "b")}, {"members": ("b", "a")}),
    "a list from JSON": ({"order": ["a"]}, {"order": ("a",)}),
    "a read-only mapping": ({"tags": {"a": "1"}}, {"tags": MappingProxyType({"a": "1"})}),
}


@pytest.mark.parametrize(("before", "after"), SAME.values(), ids=SAME)
def test_what_does_not_count(before: dict[str, Any], after: dict[str, Any]) -> None:
    assert diff(thing(**before), thing(**after)) == ()


DIFFERENT: dict[str, tuple[dict[str, Any], dict[str, Any], list[tuple[str, Any, Any]]]] = {
    "a number": ({"count": 1}, {"count": 2}, [("count", 1, 2)]),
    "something from nothing": ({}, {"note": "hi"}, [("note", None, "hi")]),
    "nothing from something": ({"note": "hi"}, {"note": None}, [("note", "hi", None)]),
    "what the store chose is asked otherwise": (
        {"chosen": "s3://a"},
        {"chosen": "s3://b"},
        [("chosen", "s3://a", "s3://b")],
    ),
    "what is derived": ({"pinned": 1}, {"pinned": 2}, [("pinned", 1, 2)]),
    "a tag that comes, one that goes, one that changes": (
        {"tags": {"a": "1", "b": "2"}},
        {"tags": {"b": "3", "c": "4"}},
        [("tags.a", "1", None), ("tags.b", "2", "3"), ("tags.c", None, "4")],
    ),
    "tags with nothing in common": (
        {"tags": {"a": "1"}},
        {"tags": {"b": "2", "c": "3"}},
        [("tags.a", "1", None), ("tags.b", None, "2"), ("tags.c", None, "3")],
    ),
    "a tag that looks private": (
        {"tags": {"__owner": "risk", "a": "1"}},
        {"tags": {"__owner": "shop", "a": "1"}},
        [("tags.__owner", "risk", "shop")],
    ),
    "a tag with a dot in its name": ({"tags": {}}, {"tags": {"a.b": "1"}}, [("tags.a.b", None, "1")]),
    "a share": (
        {"parts": AB},
        {"parts": routes(("b", 20), ("a", 80))},
        [("parts.a.percent", 90, 80), ("parts.b.percent", 10, 20)],
    ),
    "a share inside a part": (
        {"traffic": Traffic(routes=AB)},
        {"traffic": Traffic(routes=AB[:1])},
        [("traffic.routes.b", {"percent": 10}, None)],
    ),
    "a member": (
        {"members": ("a", "b")},
        {"members": ("b", "c")},
        [("members", "a", None), ("members", None, "c")],
    ),
    "the order of a list": (
        {"order": ("a", "b")},
        {"order": ("b", "a")},
        [("order.0", "a", "b"), ("order.1", "b", "a")],
    ),
    "several, in the order of the fields": (
        {"count": 1, "note": "x", "tags": {"a": "1"}},
        {"count": 2, "note": "y", "tags": {}},
        [("count", 1, 2), ("note", "x", "y"), ("tags.a", "1", None)],
    ),
    "true is not one": ({"count": True}, {"count": 2}, [("count", True, 2)]),
}


@pytest.mark.parametrize(("before", "after", "expected"), DIFFERENT.values(), ids=DIFFERENT)
def test_each_leaf_that_differs_is_told(
    before: dict[str, Any], after: dict[str, Any], expected: list[tuple[str, Any, Any]]
) -> None:
    found = diff(thing(**before), thing(**after))
    assert [(change.name, change.before, change.after) for change in found] == expected


OWNED = {
    "nobody's keys": ({"a": "1", "b": "2"}, [{}], {}),
    "ours": ({"a": "1", "b": "2"}, [{"a": "9"}], {"a": "1"}),
    "of either side": ({"a": "1", "b": "2", "c": "3"}, [{"a": ""}, {"b": ""}], {"a": "1", "b": "2"}),
    "not there": ({"a": "1"}, [{"b": "2"}], {}),
    "no side": ({"a": "1"}, [None], {}),
}


@pytest.mark.parametrize(("live", "sides", "kept"), OWNED.values(), ids=OWNED)
def test_of_live_only_owned_keys_are_compared(
    live: dict[str, str], sides: list[dict[str, str] | None], kept: dict[str, str]
) -> None:
    cut = restrict_to_owned(thing(tags=live), *(None if side is None else thing(tags=side) for side in sides))
    assert isinstance(cut, Thing)
    assert cut.tags == kept


def test_what_is_ours_entirely_is_not_copied() -> None:
    live = thing(tags={"a": "1"})
    assert restrict_to_owned(live, thing(tags={"a": "2"})) is live


def test_a_creation_shows_all_that_is_said() -> None:
    made = thing(count=3, tags={"team": "risk"}, traffic=Traffic(routes=AB), parts=AB, chosen=None, pinned=4)
    assert [(leaf.name, leaf.after) for leaf in list_leaves(made)] == [
        ("count", 3),
        ("tags.team", "risk"),
        ("traffic.routes.a.percent", 90),
        ("traffic.routes.b.percent", 10),
        ("parts.a.percent", 90),
        ("parts.b.percent", 10),
    ]


tags = st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=4)
names = st.lists(st.text(max_size=3), unique=True, max_size=4).map(tuple)
things = st.builds(thing, count=st.integers(), note=st.none() | st.text(), tags=tags, members=names)


@given(things)
def test_nothing_differs_from_itself(one: Thing) -> None:
    assert diff(one, one.model_copy()) == ()


@given(things, things)
def test_what_differs_is_the_same_seen_from_the_other_side(one: Thing, other: Thing) -> None:
    there = [(change.path, change.before, change.after) for change in diff(one, other)]
    back = [(change.path, change.after, change.before) for change in diff(other, one)]
    assert sorted(there, key=repr) == sorted(back, key=repr)


@given(tags, tags)
def test_the_changes_are_what_it_takes(before: dict[str, str], after: dict[str, str]) -> None:
    """Applied to what is there, they give what is wanted: however odd the keys."""
    held = dict(before)
    for change in diff(thing(tags=before), thing(tags=after)):
        field, key = change.path
        assert field == "tags"
        assert held.get(str(key)) == change.before
        if change.after is None:
            del held[str(key)]
        else:
            held[str(key)] = change.after
    assert held == after
