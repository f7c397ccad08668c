"""Every guard: what it refuses, what it says would be lost, and that its own flag alone lets it through."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from support.snapshots import (
    ANALYSTS,
    CHAMPION,
    FRAUD,
    GRANT,
    HIDDEN,
    OTHER,
    VERSION,
    codes,
    plan,
    record,
)

from lifecycle_as_code.kinds.experiment import Experiment
from lifecycle_as_code.kinds.model_alias import ModelAlias
from lifecycle_as_code.kinds.permission import Permission
from lifecycle_as_code.kinds.registered_model import RegisteredModel
from lifecycle_as_code.kinds.serving_endpoint import ServedEntity, ServingEndpoint
from lifecycle_as_code.model.diagnostics import LacError
from lifecycle_as_code.model.plan import GUARDS, Action, Limits, Mode
from lifecycle_as_code.model.snapshot import Desired, Lifecycle, Live, Observed, Record, Recorded
from lifecycle_as_code.model.spec import Spec
from lifecycle_as_code.planning.planner import PlanOptions, make_plan

TWO = VERSION.model_copy(update={"version": 2})
SECOND = ModelAlias(model="fraud", alias="second", version=2)
API = ServingEndpoint(
    name="api", served_entities=(ServedEntity(name="main", entity_name="fraud", entity_version=1),)
)
NIGHTLY = Experiment(name="nightly")
ON_NIGHTLY = Permission(role="analysts", resource_type="experiment", resource="nightly", level="EDIT")
HIDDEN_ON = Observed(ON_NIGHTLY.model_copy(update={"role": "__user_3__"}), hidden="cyd")
UNDECLARABLE = Permission.model_construct(
    role="analysts", resource_type="scorer", resource="1/judge", level="USE"
)


def models(count: int) -> list[Spec]:
    return [RegisteredModel(name=f"m{number:02}") for number in range(count)]


def marked(spec: Spec) -> Record:
    return Record(spec.address, spec.store, spec, protected=True)


WORLDS: dict[str, tuple[str, dict[str, Any], set[str], list[str]]] = {
    "most of a kind": (
        "mass-deletion",
        {"desired": models(5), "recorded": models(20), "live": models(20)},
        {str(spec.address) for spec in models(20)[5:]},
        [str(spec.address) for spec in models(20)[5:]],
    ),
    "a version that an alias uses": (
        "version-in-use",
        {"desired": [FRAUD], "recorded": [FRAUD, VERSION], "live": [FRAUD, VERSION, CHAMPION]},
        {"model_version.fraud/1", "model_alias.fraud/champion"},
        ["model_version.fraud/1", "model_alias.fraud/champion"],
    ),
    "a version that an endpoint uses": (
        "version-in-use",
        {"desired": [FRAUD], "recorded": [FRAUD, VERSION], "live": [FRAUD, VERSION, API]},
        {"model_version.fraud/1"},
        ["model_version.fraud/1", "serving_endpoint.api"],
    ),
    "a version that another stack's endpoint uses": (
        "version-in-use",
        {
            "desired": [FRAUD],
            "recorded": [FRAUD, VERSION],
            "live": [FRAUD, VERSION, API],
            "others": [(API, "shop")],
        },
        {"model_version.fraud/1"},
        ["model_version.fraud/1", "serving_endpoint.api", "stack `shop`"],
    ),
    "a model with versions and aliases that nobody manages": (
        "model-in-use",
        {
            "desired": [OTHER],
            "recorded": [OTHER, FRAUD],
            "live": [OTHER, FRAUD, VERSION, TWO, Observed(HIDDEN, hidden="cyd")],
        },
        {
            "registered_model.fraud",
            "model_version.fraud/1",
            "model_version.fraud/2",
            str(HIDDEN.address),
        },
        ["registered_model.fraud", "model_version.fraud/1", "model_version.fraud/2"],
    ),
    "a role with a grant that nobody manages": (
        "still-granted",
        {"desired": [OTHER], "recorded": [OTHER, ANALYSTS], "live": [OTHER, ANALYSTS, UNDECLARABLE]},
        {"role.analysts", str(UNDECLARABLE.address)},
        ["role.analysts", str(UNDECLARABLE.address)],
    ),
    "a model with a grant that nobody manages": (
        "still-granted",
        {"desired": [OTHER], "recorded": [OTHER, FRAUD], "live": [OTHER, FRAUD, GRANT]},
        {"registered_model.fraud", str(GRANT.address)},
        ["registered_model.fraud", str(GRANT.address)],
    ),
    "an experiment with a grant that nobody manages": (
        "still-granted",
        {"desired": [OTHER], "recorded": [OTHER, NIGHTLY], "live": [OTHER, NIGHTLY, ON_NIGHTLY, HIDDEN_ON]},
        {"experiment.nightly", str(ON_NIGHTLY.address)},
        ["experiment.nightly", str(ON_NIGHTLY.address)],
    ),
    "what is protected": (
        "protected",
        {"desired": [OTHER], "recorded": [OTHER, marked(FRAUD)], "live": [OTHER, FRAUD]},
        {"registered_model.fraud"},
        ["registered_model.fraud"],
    ),
    "everything": (
        "nothing-declared",
        {"recorded": [OTHER, FRAUD], "live": [OTHER, FRAUD]},
        {"registered_model.fraud", "registered_model.other"},
        ["registered_model.fraud", "registered_model.other"],
    ),
}


@pytest.mark.parametrize(("guard", "world", "gone", "named"), WORLDS.values(), ids=WORLDS)
def test_a_guard_refuses_says_what_is_lost_and_is_let_through_by_its_flag(
    guard: str, world: dict[str, Any], gone: set[str], named: list[str]
) -> None:
    others = frozenset(GUARDS) - {guard}
    with pytest.raises(LacError) as caught:
        plan(**world, options=PlanOptions(allow=others))
    found = caught.value.diagnostics
    assert {d.guard for d in found} == {guard}
    assert all(d.hint.endswith(f"`--allow={guard}`") for d in found)
    assert all(name in "\n".join(d.detail for d in found) for name in named)

    made = plan(**world, options=PlanOptions(allow=frozenset({guard})))
    assert {str(c.address) for c in made.changes if c.action is Action.DELETE} == gone
    assert {v.guard for v in made.allowed} == {guard}
    assert {v.detail for v in made.allowed} >= {d.detail for d in found}


def test_a_flag_that_nothing_needs_leaves_no_verdict() -> None:
    made = plan([OTHER], [OTHER, FRAUD], [OTHER, FRAUD], options=PlanOptions(allow=frozenset(GUARDS)))
    assert made.allowed == ()


@pytest.mark.parametrize("owned", [VERSION, CHAMPION], ids=["a version", "an alias"])
def test_what_another_stack_owns_goes_along_with_no_flag(owned: Spec) -> None:
    with pytest.raises(LacError) as caught:
        plan(
            [OTHER],
            [OTHER, FRAUD],
            [OTHER, FRAUD, VERSION, CHAMPION],
            others=[(owned, "shop")],
            options=PlanOptions(allow=frozenset(GUARDS)),
        )
    assert codes(caught.value)[0] == "still-used"
    assert any("stack `shop`" in d.detail and not d.guard for d in caught.value.diagnostics)


def test_a_model_let_go_takes_its_versions_and_their_aliases_but_no_version_in_use() -> None:
    """Two guards stand before it, and each has its own flag."""
    world: dict[str, Any] = {
        "desired": [OTHER],
        "recorded": [OTHER, FRAUD],
        "live": [OTHER, FRAUD, VERSION, TWO, CHAMPION, SECOND, API],
    }
    with pytest.raises(LacError) as caught:
        plan(**world, options=PlanOptions(allow=frozenset({"model-in-use"})))
    assert {d.guard for d in caught.value.diagnostics} == {"version-in-use"}
    made = plan(**world, options=PlanOptions(allow=frozenset({"model-in-use", "version-in-use"})))
    reasons = {str(c.address): c.reason for c in made.changes}
    assert reasons.keys() == {
        *("registered_model.fraud", "model_version.fraud/1", "model_version.fraud/2"),
        *("model_alias.fraud/champion", "model_alias.fraud/second"),
    }
    assert all(
        reason.startswith("goes with ")
        for name, reason in reasons.items()
        if name != "registered_model.fraud"
    )


def test_a_users_own_grants_stand_in_nobodys_way() -> None:
    made = plan([OTHER], [OTHER, NIGHTLY], [OTHER, NIGHTLY, HIDDEN_ON])
    assert [str(c.address) for c in made.changes] == ["experiment.nightly"]


def test_what_goes_along_may_be_protected_itself() -> None:
    world: dict[str, Any] = {
        "desired": [FRAUD, VERSION],
        "recorded": [FRAUD, VERSION, TWO, marked(SECOND)],
        "live": [FRAUD, VERSION, TWO, SECOND],
    }
    with pytest.raises(LacError) as caught:
        plan(**world, options=PlanOptions(allow=frozenset({"version-in-use"})))
    assert codes(caught.value) == ["protected"]


# --- how much is too much

ENOUGH: dict[str, tuple[Limits, int, int, bool]] = {
    "below both": (Limits(0.3, 10), 20, 9, False),
    "at the count": (Limits(0.3, 10), 20, 10, False),
    "above the count": (Limits(0.3, 10), 20, 11, True),
    "at the share": (Limits(0.3, 10), 50, 15, False),
    "above the share": (Limits(0.3, 10), 50, 16, True),
    "a share that has no exact binary form": (Limits(0.29, 0), 100, 29, False),
    "one more than that": (Limits(0.29, 0), 100, 30, True),
    "none at all": (Limits(0.0, 0), 50, 1, True),
    "all, where that is said": (Limits(1.0, 0), 20, 19, False),
    "a few of a few": (Limits(0.3, 10), 3, 2, False),
}


@pytest.mark.parametrize(("limits", "held", "gone", "refused"), ENOUGH.values(), ids=ENOUGH)
def test_a_share_or_a_count_whichever_is_more(limits: Limits, held: int, gone: int, refused: bool) -> None:
    world = models(held)[gone:], models(held), models(held)
    if not refused:
        assert len(plan(*world, options=PlanOptions(limits=limits)).changes) == gone
        return
    with pytest.raises(LacError) as caught:
        plan(*world, options=PlanOptions(limits=limits))
    assert codes(caught.value) == ["mass-deletion"]
    assert f"{gone} of {held} of kind registered_model" in caught.value.diagnostics[0].detail


def test_what_goes_along_and_is_not_ours_counts_for_nothing() -> None:
    """Its own guard was let through; the limits are a share of what is recorded."""
    versions = [VERSION.model_copy(update={"version": n}) for n in range(1, 31)]
    options = PlanOptions(allow=frozenset({"model-in-use"}))
    made = plan([OTHER], [OTHER, FRAUD], [OTHER, FRAUD, *versions], options=options)
    assert len(made.changes) == 31


def test_each_kind_is_counted_by_itself() -> None:
    versions = [VERSION.model_copy(update={"model": "m00", "version": n}) for n in range(1, 8)]
    world = [OTHER, *models(7), *versions]
    assert len(plan([OTHER], world, world).changes) == 14


def test_what_is_gone_already_or_only_forgotten_counts_for_nothing() -> None:
    assert len(plan([OTHER], [OTHER, *models(20)], [OTHER]).changes) == 20
    removed = {spec.address: None for spec in models(20)}
    records = {spec.address: record(spec) for spec in [OTHER, *models(20)]}
    live = {spec.address: Observed(spec) for spec in [OTHER, *models(20)]}
    made = make_plan(
        Desired({OTHER.address: OTHER}, removals=removed), Recorded(records), Live(live), stack="payments"
    )
    assert {c.action for c in made.changes} == {Action.FORGET}


def test_what_is_lost_is_listed_and_of_very_many_the_first() -> None:
    with pytest.raises(LacError) as caught:
        plan([OTHER], [OTHER, *models(60)], [OTHER, *models(60)])
    assert "registered_model.m39 and 20 more" in caught.value.diagnostics[0].detail


# --- the mark

SAID: dict[str, tuple[bool, bool | None, bool]] = {
    "nothing was ever said": (False, None, False),
    "recorded, and no longer declared": (True, None, True),
    "said just now, of what goes": (False, True, True),
    "unsaid, and not applied yet": (True, False, True),
    "never recorded, and unsaid": (False, False, False),
}


@pytest.mark.parametrize(("recorded", "said", "refused"), SAID.values(), ids=SAID)
@pytest.mark.parametrize("mode", [Mode.NORMAL, Mode.DESTROY, Mode.ROLLBACK])
def test_the_mark_is_what_was_applied_or_what_is_said(
    mode: Mode, recorded: bool, said: bool | None, refused: bool
) -> None:
    held: Sequence[Record] = [record(OTHER), marked(FRAUD) if recorded else record(FRAUD)]
    desired = Desired(
        {} if mode is Mode.DESTROY else {OTHER.address: OTHER},
        lifecycles={} if said is None else {FRAUD.address: Lifecycle(said)},
    )
    live = Live({spec.address: Observed(spec) for spec in (OTHER, FRAUD)})
    world = desired, Recorded({r.address: r for r in held}), live
    if not refused:
        made = make_plan(*world, stack="s", options=PlanOptions(mode))
        assert FRAUD.address in {c.address for c in made.changes}
        return
    with pytest.raises(LacError) as caught:
        make_plan(*world, stack="s", options=PlanOptions(mode))
    assert codes(caught.value) == ["protected"]


MARKS = {
    "a new mark": (False, True, True, "protected from now on"),
    "a mark that goes": (True, False, False, "no longer protected"),
    "a mark that stays without its block": (True, None, None, ""),
    "the same again": (True, True, None, ""),
}


@pytest.mark.parametrize(("recorded", "said", "kept", "reason"), MARKS.values(), ids=MARKS)
def test_a_mark_is_a_change_of_our_record(
    recorded: bool, said: bool | None, kept: bool | None, reason: str
) -> None:
    made = make_plan(
        Desired({FRAUD.address: FRAUD}, lifecycles={FRAUD.address: Lifecycle(said)}),
        Recorded({FRAUD.address: marked(FRAUD) if recorded else record(FRAUD)}),
        Live({FRAUD.address: Observed(FRAUD)}),
        stack="s",
    )
    assert [(c.action, c.protected, c.reason) for c in made.changes] == (
        [] if kept is None else [(Action.RECORD, kept, reason)]
    )


# --- destroying on purpose


def test_destroying_is_stopped_by_no_amount() -> None:
    world: dict[str, Any] = {"recorded": models(50), "live": models(50)}
    made = plan(**world, options=PlanOptions(Mode.DESTROY))
    assert len(made.changes) == 50
    assert made.allowed == ()


def test_what_goes_along_with_a_destroyed_stack_is_told_as_that() -> None:
    options = PlanOptions(Mode.DESTROY, allow=frozenset({"still-granted"}))
    made = plan(recorded=[ANALYSTS], live=[ANALYSTS, UNDECLARABLE], options=options)
    assert {str(c.address): c.reason for c in made.changes} == {
        "role.analysts": "destroyed with its stack",
        str(UNDECLARABLE.address): "goes with role.analysts",
    }
    assert {v.guard for v in made.allowed} == {"still-granted"}


def test_destroying_is_stopped_by_what_is_not_ours_too() -> None:
    with pytest.raises(LacError) as caught:
        plan(recorded=[FRAUD], live=[FRAUD, VERSION], options=PlanOptions(Mode.DESTROY))
    assert [d.guard for d in caught.value.diagnostics] == ["model-in-use"]
