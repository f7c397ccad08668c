"""In which order changes go, in which step, and what holds what back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import permutations
from typing import Annotated, ClassVar

import pytest

from lifecycle_as_code.model.plan import Action, Change, Phase
from lifecycle_as_code.model.spec import Address, Key, Ref, Spec, Store
from lifecycle_as_code.planning.ordering import build_steps, link_changes, sort_changes


class Model(Spec):
    """A model."""

    kind: ClassVar[str] = "model"
    section: ClassVar[str] = "models"
    store: ClassVar[Store] = Store.REGISTRY
    prepared: ClassVar[bool] = True

    name: Annotated[str, Key()]


class Alias(Spec):
    """A pointer."""

    kind: ClassVar[str] = "alias"
    section: ClassVar[str] = "aliases"
    store: ClassVar[Store] = Store.REGISTRY
    retired: ClassVar[bool] = False

    name: Annotated[str, Key()]
    model: Annotated[str, Ref("model")]


class Grant(Spec):
    """A right."""

    kind: ClassVar[str] = "grant"
    section: ClassVar[str] = "grants"
    store: ClassVar[Store] = Store.AUTH
    retired: ClassVar[bool] = False

    model: Annotated[str, Key(), Ref("model")]


class Endpoint(Spec):
    """Answers, and follows an alias."""

    kind: ClassVar[str] = "endpoint"
    section: ClassVar[str] = "endpoints"
    store: ClassVar[Store] = Store.SERVE

    name: Annotated[str, Key()]
    model: Annotated[str, Ref("model")]
    alias: Annotated[str, Ref("alias")] = ""

    def follows(self) -> Iterator[Address]:
        if self.alias:
            yield Address("alias", (self.alias,))


FRAUD, CHURN = Model(name="fraud"), Model(name="churn")
CHAMPION = Alias(name="champion", model="fraud")
GRANT = Grant(model="fraud")
API = Endpoint(name="api", model="fraud", alias="champion")

CREATE, UPDATE, DELETE, MOVE, RECORD, FORGET = Action


def change(
    spec: Spec, action: Action, *, before: Spec | None = None, reason: str = "manifest changed"
) -> Change:
    made = action in (CREATE, UPDATE, RECORD)
    there = action in (UPDATE, DELETE, RECORD)
    return Change(
        spec.address,
        spec.store,
        action,
        reason,
        (before or spec) if there else None,
        spec if made else None,
    )


def by_address(*changes: Change) -> dict[Address, Change]:
    return {found.address: found for found in changes}


def waits(*changes: Change) -> dict[str, set[str]]:
    """What each change waits for, where it waits for anything."""
    found = {str(c.address): {str(a) for a in c.waits_for} for c in link_changes(by_address(*changes))}
    return {address: awaited for address, awaited in found.items() if awaited}


def test_what_is_referred_to_comes_first_however_it_was_declared() -> None:
    changes = [change(spec, CREATE) for spec in (FRAUD, CHURN, CHAMPION, GRANT, API)]
    orders = {tuple(str(found.address) for found in sort_changes(given)) for given in permutations(changes)}
    (order,) = orders
    assert order.index("model.fraud") < order.index("alias.champion") < order.index("endpoint.api")
    assert order.index("model.fraud") < order.index("grant.fraud")


def test_deletions_come_last_and_the_other_way_round() -> None:
    changes = [change(FRAUD, DELETE), change(CHAMPION, DELETE), change(CHURN, CREATE), change(GRANT, DELETE)]
    assert [str(found.address) for found in sort_changes(changes)] == [
        "model.churn",
        "grant.fraud",
        "alias.champion",
        "model.fraud",
    ]


def test_numbers_are_sorted_as_numbers() -> None:
    class Version(Spec):
        """A version."""

        kind: ClassVar[str] = "version"
        section: ClassVar[str] = "versions"
        store: ClassVar[Store] = Store.REGISTRY
        number: Annotated[int, Key()]

    changes = [change(Version(number=number), CREATE) for number in (10, 9, 2)]
    assert [found.address.key for found in sort_changes(changes)] == [(2,), (9,), (10,)]


WAITS = {
    "for its maker": ([change(FRAUD, CREATE), change(GRANT, CREATE)], {"grant.fraud": {"model.fraud"}}),
    "not for what is only updated": ([change(FRAUD, UPDATE), change(GRANT, CREATE)], {}),
    "not for what is there already": ([change(GRANT, CREATE)], {}),
    "a deletion for those that leave": (
        [change(FRAUD, DELETE), change(GRANT, DELETE)],
        {"model.fraud": {"grant.fraud"}},
    ),
    "a deletion for those that move away": (
        [change(FRAUD, DELETE), change(Alias(name="champion", model="churn"), UPDATE, before=CHAMPION)],
        {"model.fraud": {"alias.champion"}},
    ),
    "not for what is only recorded": ([change(FRAUD, DELETE), change(GRANT, RECORD)], {}),
    "an alias for the endpoints that follow it": (
        [change(CHAMPION, UPDATE), change(API, UPDATE)],
        {"alias.champion": {"endpoint.api"}},
    ),
    "never an endpoint for the alias that it follows": (
        [change(FRAUD, CREATE), change(CHAMPION, CREATE), change(API, CREATE)],
        {
            "alias.champion": {"model.fraud", "endpoint.api"},
            "endpoint.api": {"model.fraud"},
        },
    ),
}


@pytest.mark.parametrize(("changes", "expected"), WAITS.values(), ids=WAITS)
def test_a_change_waits(changes: list[Change], expected: dict[str, set[str]]) -> None:
    assert waits(*changes) == expected


def test_nothing_waits_for_itself_in_a_circle() -> None:
    changes = [change(spec, action) for spec in (FRAUD, CHAMPION, GRANT, API) for action in (CREATE,)]
    awaited = {found.address: found.waits_for for found in link_changes(by_address(*changes))}
    done: set[Address] = set()
    while left := [a for a in awaited if a not in done]:
        ready = [a for a in left if awaited[a] <= done]
        assert ready, f"nobody can begin: {left}"
        done.update(ready)


def test_an_endpoint_that_only_follows_says_so() -> None:
    several = "follows alias.challenger, alias.champion"
    moved = link_changes(by_address(change(CHAMPION, UPDATE), change(API, UPDATE, reason=several)))
    assert [found.reason for found in moved] == ["manifest changed", "follows alias.champion"]


def test_an_endpoint_that_was_changed_outside_keeps_its_reason() -> None:
    moved = link_changes(by_address(change(CHAMPION, UPDATE), change(API, UPDATE, reason="changed outside")))
    assert moved[1].reason == "changed outside"


def shape(*changes: Change) -> list[tuple[str, str, list[str]]]:
    made = build_steps(sort_changes(link_changes(by_address(*changes))))
    return [(step.phase.value, step.store.value, [c.address.kind for c in step.changes]) for step in made]


def test_without_an_endpoint_everything_is_one_switch_per_store() -> None:
    assert shape(
        change(FRAUD, CREATE), change(CHAMPION, UPDATE), change(GRANT, CREATE), change(CHURN, DELETE)
    ) == [
        ("switch", "registry", ["model", "alias", "model"]),
        ("switch", "auth", ["grant"]),
    ]


def test_with_an_endpoint_there_are_five_steps() -> None:
    assert shape(
        change(FRAUD, CREATE),
        change(CHAMPION, CREATE),
        change(GRANT, CREATE),
        change(API, CREATE),
        change(CHURN, DELETE),
    ) == [
        ("prepare", "registry", ["model"]),
        ("warm up", "serve", ["endpoint"]),
        ("switch", "registry", ["alias"]),
        ("switch", "auth", ["grant"]),
        ("cut over", "serve", ["endpoint"]),
        ("retire", "serve", ["endpoint"]),
        ("retire", "registry", ["model"]),
    ]


PLACES = {
    "a new model is prepared": (change(FRAUD, CREATE), [Phase.PREPARE]),
    "a changed one is switched": (change(FRAUD, UPDATE), [Phase.SWITCH]),
    "one that goes is retired": (change(FRAUD, DELETE), [Phase.RETIRE]),
    "one that is already so": (change(FRAUD, RECORD), [Phase.SWITCH]),
    "one that is already gone": (change(FRAUD, FORGET), [Phase.SWITCH]),
    "a new alias is switched": (change(CHAMPION, CREATE), [Phase.SWITCH]),
    "an alias that goes is switched": (change(CHAMPION, DELETE), [Phase.SWITCH]),
    "a grant that goes is switched": (change(GRANT, DELETE), [Phase.SWITCH]),
}


@pytest.mark.parametrize(("one", "phases"), PLACES.values(), ids=PLACES)
def test_each_change_has_its_place_beside_an_endpoint(one: Change, phases: list[Phase]) -> None:
    rollout = change(Endpoint(name="other", model="other"), UPDATE)
    made = build_steps([one, rollout])
    assert [step.phase for step in made if one in step.changes] == phases


def test_nothing_is_prepared_that_refers_to_what_is_renamed_in_the_switch() -> None:
    class Version(Spec):
        """A version."""

        kind: ClassVar[str] = "version"
        section: ClassVar[str] = "versions"
        store: ClassVar[Store] = Store.REGISTRY
        prepared: ClassVar[bool] = True
        model: Annotated[str, Key(), Ref("model")]

    renamed = replace(change(FRAUD, MOVE), before=FRAUD, after=FRAUD, moved_from=CHURN.address)
    made = change(Version(model="fraud"), CREATE)
    placed = {
        step.phase for step in build_steps([renamed, made, change(API, UPDATE)]) if made in step.changes
    }
    assert placed == {Phase.SWITCH}


def test_an_endpoint_that_goes_is_only_retired() -> None:
    assert shape(change(API, DELETE)) == [("retire", "serve", ["endpoint"])]


@pytest.mark.parametrize("action", [RECORD, FORGET], ids=str)
def test_an_endpoints_record_is_in_the_registry_and_makes_no_rollout(action: Action) -> None:
    ((phase, store, kinds),) = shape(change(API, action), change(FRAUD, CREATE))
    assert (phase, store, sorted(kinds)) == ("switch", "registry", ["endpoint", "model"])
