"""The decision table row by row, why each change is there, and what a plan never does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from support.snapshots import (
    ANALYSTS,
    CHAMPION,
    CREATE,
    DELETE,
    FORGET,
    FRAUD,
    GRANT,
    HIDDEN,
    OTHER,
    RECORD,
    RISK,
    SHOP,
    UPDATE,
    VERSION,
    codes,
    plan,
    record,
)

from lifecycle_as_code.kinds.experiment import Experiment
from lifecycle_as_code.kinds.model_version import ModelVersion
from lifecycle_as_code.kinds.registered_model import RegisteredModel
from lifecycle_as_code.kinds.role import Role
from lifecycle_as_code.kinds.serving_endpoint import ServedEntity, ServingEndpoint
from lifecycle_as_code.model.diagnostics import Diagnostic, LacError, Source
from lifecycle_as_code.model.plan import Action, Change, Mode
from lifecycle_as_code.model.snapshot import (
    Claim,
    Desired,
    Lifecycle,
    Live,
    Observed,
    Record,
    Recorded,
)
from lifecycle_as_code.model.spec import Address, Spec, Store
from lifecycle_as_code.planning.guards import PlanContext
from lifecycle_as_code.planning.planner import PlanOptions, make_plan

# --- the table

TABLE = {
    "never seen": ([RISK], [], [], CREATE, "declared"),
    "deleted outside": ([RISK], [RISK], [], CREATE, "deleted outside"),
    "all the same": ([RISK], [RISK], [RISK], None, ""),
    "the manifest changed": ([SHOP], [RISK], [RISK], UPDATE, "manifest changed"),
    "changed outside": ([RISK], [RISK], [SHOP], UPDATE, "changed outside"),
    "both changed": ([FRAUD], [RISK], [SHOP], UPDATE, "changed outside"),
    "both changed to the same": ([SHOP], [RISK], [SHOP], RECORD, "already so"),
    "begun, never made": ([RISK], [record(None, of=RISK, pending=True)], [], CREATE, "interrupted apply"),
    "begun, made": ([RISK], [record(None, of=RISK, pending=True)], [RISK], RECORD, "already so"),
    "begun, half made": ([RISK], [record(RISK, pending=True)], [SHOP], UPDATE, "interrupted apply"),
    "begun, not changed yet": ([SHOP], [record(RISK, pending=True)], [RISK], UPDATE, "interrupted apply"),
    "no longer declared": ([OTHER], [OTHER, RISK], [OTHER, RISK], DELETE, "no longer declared"),
    "already gone": ([OTHER], [OTHER, RISK], [OTHER], FORGET, "already gone"),
    "begun, gone, not declared": (
        [OTHER],
        [OTHER, record(None, of=RISK, pending=True)],
        [OTHER],
        FORGET,
        "already gone",
    ),
    "nobody's": ([OTHER], [OTHER], [OTHER, RISK], None, ""),
}


@pytest.mark.parametrize(("desired", "recorded", "live", "action", "reason"), TABLE.values(), ids=TABLE)
def test_the_action_follows_from_the_three_snapshots(
    desired: list[Spec], recorded: list[Spec | Record], live: list[Spec], action: Action | None, reason: str
) -> None:
    made = plan(desired, recorded, live).changes
    assert [(c.address, c.action, c.reason) for c in made] == (
        [(FRAUD.address, action, reason)] if action else []
    )
    for change in made:
        assert (change.before is None) == (action in (CREATE, FORGET))
        assert (change.after is None) == (action in (DELETE, FORGET))
        assert bool(change.fields) == (action is UPDATE)
        assert change.action.is_difference == (action not in (RECORD, FORGET))


def test_an_update_says_what_changes_and_where_it_is_declared() -> None:
    at = Source("models.yaml", 3, 5)
    (change,) = plan([SHOP], [RISK], [RISK], places={RISK.address: at}).changes
    assert [(f.name, f.before, f.after) for f in change.fields] == [
        ("description", "Of the risk team.", "Of the shop.")
    ]
    assert change.at == at


def test_the_tally_counts_differences_only() -> None:
    made = plan([SHOP, OTHER], [RISK, record(VERSION)], [SHOP])
    assert made.tally() == {CREATE: 1, UPDATE: 0, DELETE: 0}
    assert len(made.changes) == 3
    assert [c.action for c in made.differences] == [CREATE]


# --- tags are owned key by key


def tagged(**tags: str) -> RegisteredModel:
    return RegisteredModel(name="fraud", tags=tags)


TAGS = {
    "a key that nobody declared": (tagged(a="1"), tagged(a="1"), tagged(a="1", b="2"), {}, ""),
    "a key that is taken over": (
        tagged(a="1", b="3"),
        tagged(a="1"),
        tagged(a="1", b="2"),
        {"tags.b": ("2", "3")},
        "manifest changed",
    ),
    "a key that is no longer declared": (
        tagged(),
        tagged(a="1"),
        tagged(a="1", b="2"),
        {"tags.a": ("1", None)},
        "manifest changed",
    ),
    "a key of ours that was removed": (
        tagged(a="1"),
        tagged(a="1"),
        tagged(b="2"),
        {"tags.a": (None, "1")},
        "changed outside",
    ),
    "a key of ours that was changed": (
        tagged(a="1"),
        tagged(a="1"),
        tagged(a="9", b="2"),
        {"tags.a": ("9", "1")},
        "changed outside",
    ),
}


@pytest.mark.parametrize(("desired", "recorded", "live", "fields", "reason"), TAGS.values(), ids=TAGS)
def test_tags_are_owned_key_by_key(
    desired: Spec, recorded: Spec, live: Spec, fields: dict[str, Any], reason: str
) -> None:
    made = plan([desired], [recorded], [live]).changes
    assert {f.name: (f.before, f.after) for change in made for f in change.fields} == fields
    assert [change.reason for change in made] == ([reason] if reason else [])


def test_a_deletion_shows_only_the_keys_that_are_ours() -> None:
    made = plan([OTHER], [OTHER, tagged(a="1")], [OTHER, tagged(a="1", b="2")]).changes
    assert [change.before for change in made] == [tagged(a="1")]


def test_what_is_removed_from_the_stack_shows_only_the_keys_that_are_ours() -> None:
    ours, there = tagged(a="1"), Observed(tagged(a="1", b="2"))
    made = make_plan(
        Desired({OTHER.address: OTHER}, removals={ours.address: None}),
        Recorded({spec.address: record(spec) for spec in (OTHER, ours)}),
        Live({OTHER.address: Observed(OTHER), ours.address: there}),
        stack="payments",
    )
    assert [(change.action, change.before) for change in made.changes] == [(FORGET, ours)]


def test_what_is_ignored_explains_no_change() -> None:
    """Its move outside isn't why something else is updated."""
    theirs = RISK.model_copy(update={"description": "Theirs."})
    made = make_plan(
        Desired(
            {RISK.address: RISK.model_copy(update={"tags": {"a": "1"}})},
            lifecycles={RISK.address: Lifecycle(ignore_changes=("description",))},
        ),
        Recorded({RISK.address: record(RISK)}),
        Live({RISK.address: Observed(theirs)}),
        stack="payments",
    )
    assert [(change.action, change.reason) for change in made.changes] == [(UPDATE, "manifest changed")]


# --- what is refused

STAYS = [FRAUD, VERSION]

REFUSED: dict[str, tuple[dict[str, Any], list[str]]] = {
    "not ours": ({"desired": [FRAUD], "live": [FRAUD]}, ["not-ours"]),
    "another stack's, there": (
        {"desired": [FRAUD], "live": [FRAUD], "others": [(FRAUD, "shop")]},
        ["owned-elsewhere"],
    ),
    "another stack's, deleted": ({"desired": [FRAUD], "others": [(FRAUD, "shop")]}, ["owned-elsewhere"]),
    "immutable": (
        {
            "desired": [FRAUD, ModelVersion(model="fraud", version=1, source="s3://models/2")],
            "recorded": STAYS,
            "live": STAYS,
        },
        ["immutable-field"],
    ),
    "a version that was deleted": (
        {"desired": STAYS, "recorded": STAYS, "live": [FRAUD, Observed(VERSION, tombstone=True)]},
        ["cannot-be-made-again"],
    ),
    "an alias without a version": ({"desired": [FRAUD, CHAMPION]}, ["missing-reference"]),
    "an alias without anything": ({"desired": [CHAMPION]}, ["missing-reference"] * 2),
    "an alias of a deleted version": (
        {"desired": [CHAMPION], "live": [FRAUD, Observed(VERSION, tombstone=True)]},
        ["missing-reference"],
    ),
    "an alias whose version goes": (
        {"desired": [FRAUD, CHAMPION], "recorded": [*STAYS, CHAMPION], "live": [*STAYS, CHAMPION]},
        ["missing-reference"],
    ),
    "a member that isn't there": (
        {"desired": [Role(name="analysts", members=("zoe",))]},
        ["missing-reference"],
    ),
    "a model with another's version": (
        {"desired": [OTHER], "recorded": [OTHER, FRAUD], "live": [OTHER, FRAUD, VERSION]},
        ["still-used"],
    ),
    "a version with another's alias": (
        {"desired": [FRAUD], "recorded": STAYS, "live": [*STAYS, CHAMPION]},
        ["still-used"],
    ),
    "nothing declared": ({"recorded": [FRAUD], "live": [FRAUD]}, ["nothing-declared"]),
    "nothing declared, and nothing there": ({"recorded": [FRAUD]}, ["nothing-declared"]),
}


@pytest.mark.parametrize(("world", "expected"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused(world: dict[str, Any], expected: list[str]) -> None:
    with pytest.raises(LacError) as caught:
        plan(**world)
    assert codes(caught.value) == expected
    assert all(found.hint for found in caught.value.diagnostics)


def test_every_obstacle_is_told_at_once_in_the_order_of_the_files() -> None:
    places = {CHAMPION.address: Source("a.yaml", 9, 1), OTHER.address: Source("a.yaml", 2, 1)}
    with pytest.raises(LacError) as caught:
        plan([CHAMPION, OTHER], [], [OTHER, FRAUD], places=places)
    assert codes(caught.value) == ["not-ours", "missing-reference"]


def test_an_error_brings_the_warnings_that_may_explain_it() -> None:
    """A pattern in `include` that matched nothing is why nothing is declared."""
    warning = Diagnostic("include-matches-nothing", "include matches no file", "", severity="warning")
    with pytest.raises(LacError) as caught:
        make_plan(
            Desired(warnings=(warning,)),
            Recorded({FRAUD.address: record(FRAUD)}),
            Live({FRAUD.address: Observed(FRAUD)}),
            stack="payments",
        )
    assert codes(caught.value) == ["include-matches-nothing", "nothing-declared"]


def test_a_kinds_own_rules_see_the_whole_plan() -> None:
    seen: list[PlanContext] = []

    def check(world: PlanContext) -> Iterator[Diagnostic]:
        seen.append(world)
        yield Diagnostic("odd", "is odd", str(FRAUD.address), severity="warning")

    made = plan([FRAUD], checks=[check])
    assert [note.code for note in made.diagnostics] == ["odd"]
    assert seen[0].changes[FRAUD.address].action is CREATE


# --- what is allowed

ALLOWED: dict[str, dict[str, Any]] = {
    "a version that a pipeline registered": {"desired": [CHAMPION], "live": [FRAUD, VERSION]},
    "an alias moved away from a version that goes": {
        "desired": [FRAUD, CHAMPION.model_copy(update={"version": 2})],
        "recorded": [*STAYS, CHAMPION],
        "live": [*STAYS, CHAMPION, VERSION.model_copy(update={"version": 2})],
    },
    "a model without its deleted versions": {
        "desired": [OTHER],
        "recorded": [OTHER, FRAUD],
        "live": [OTHER, FRAUD, Observed(VERSION, tombstone=True)],
    },
    "a user who is there": {
        "desired": [Role(name="analysts", members=("ann",))],
        "referents": [Address("user", ("ann",))],
    },
    "an experiment that was deleted": {
        "desired": [Experiment(name="nightly")],
        "recorded": [Experiment(name="nightly")],
        "live": [Observed(Experiment(name="nightly"), tombstone=True)],
    },
    "everything, on purpose": {"recorded": [FRAUD], "live": [FRAUD], "options": PlanOptions(Mode.DESTROY)},
    "nothing at all": {},
}


@pytest.mark.parametrize("world", ALLOWED.values(), ids=ALLOWED)
def test_what_is_allowed(world: dict[str, Any]) -> None:
    plan(**world)


# --- claimed scopes

CLAIM = {FRAUD.address: Claim(exclusive=False, at=Source("models.yaml", 5, 5))}
WHOLE = {FRAUD.address: Claim(exclusive=True)}
OURS = [FRAUD, ANALYSTS]
SEEN = Observed(HIDDEN, hidden="cyd")

SCOPES = {
    "not claimed": ({}, [GRANT, SEEN], [], []),
    "claimed": (CLAIM, [GRANT], [GRANT.address], []),
    "claimed, a hidden one": (CLAIM, [SEEN], [], ["hidden-grant"]),
    "claimed whole, a hidden one": (WHOLE, [SEEN], [HIDDEN.address], []),
    "claimed for another model": ({OTHER.address: Claim(exclusive=True)}, [GRANT, SEEN], [], []),
}


@pytest.mark.parametrize(("scopes", "grants", "gone", "notes"), SCOPES.values(), ids=SCOPES)
def test_a_grant_in_a_claimed_scope_that_nobody_declared_goes(
    scopes: dict[Address, Claim], grants: list[Any], gone: list[Address], notes: list[str]
) -> None:
    made = plan(OURS, OURS, [*OURS, *grants], scopes=scopes)
    assert [(c.address, c.action, c.reason) for c in made.changes] == [
        (address, DELETE, "granted outside") for address in gone
    ]
    assert [note.code for note in made.diagnostics] == notes


def test_a_grant_that_another_stack_recorded_is_never_revoked() -> None:
    assert not plan(OURS, OURS, [*OURS, GRANT], scopes=WHOLE, others=[(GRANT, "shop")]).changes


def test_what_mlflow_takes_along_is_shown_as_a_change() -> None:
    made = plan([OTHER], [OTHER, FRAUD], [OTHER, FRAUD, SEEN]).changes
    assert {(c.address, c.reason) for c in made} == {
        (FRAUD.address, "no longer declared"),
        (HIDDEN.address, f"goes with {FRAUD.address}"),
    }


def test_equal_worlds_give_equal_plans() -> None:
    desired: list[Spec] = [FRAUD, VERSION, CHAMPION, ANALYSTS, GRANT]
    assert plan(desired) == plan(reversed(desired))
    assert all(isinstance(change, Change) for change in plan(desired).changes)


def test_an_endpoint_follows_an_alias_that_nobody_here_declares() -> None:
    """A training job moved the alias; the manifest says what it always said."""
    version_one = ServingEndpoint(
        name="api",
        served_entities=(
            ServedEntity(name="main", entity_name="fraud", entity_version=1, follows="@champion"),
        ),
    )
    entity = version_one.served_entities[0].model_copy(update={"entity_version": 2})
    version_two = version_one.model_copy(update={"served_entities": (entity,)})
    address = version_one.address
    alias = Address("model_alias", ("fraud", "champion"))
    live = Live(
        {address: Observed(version_one)},
        referents=frozenset({alias, Address("model_version", ("fraud", 2))}),
    )
    recorded = Recorded({address: Record(address, Store.SERVE, version_one)})
    (change,) = make_plan(Desired({address: version_two}), recorded, live, stack="test").changes
    assert change.reason == "follows model_alias.fraud/champion"
