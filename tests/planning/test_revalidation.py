"""A saved plan is planned again: it follows from the present state, or is refused line by line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from support.snapshots import CHAMPION, FRAUD, OTHER, RISK, VERSION, plan, record

from lifecycle_as_code.model.diagnostics import LacError
from lifecycle_as_code.model.plan import Action, Limits, Mode, Plan
from lifecycle_as_code.model.snapshot import Lifecycle, Live, Move, Observed, Recorded
from lifecycle_as_code.model.spec import Spec
from lifecycle_as_code.planning.planner import PlanOptions
from lifecycle_as_code.planning.revalidation import reconstruct_desired, revalidate

THERE = (FRAUD, VERSION, CHAMPION)


def again(saved: Plan, live: Sequence[Spec] = THERE, ours: Sequence[Spec] = THERE) -> Plan:
    """The plan that is applied, where these objects are live and recorded."""
    return revalidate(
        saved,
        reconstruct_desired(saved),
        Recorded({spec.address: record(spec) for spec in ours}),
        Live({spec.address: Observed(spec) for spec in live}),
        checks=(),
        limits=Limits(),
    )


def mismatches(saved: Plan, live: Sequence[Spec] = THERE, ours: Sequence[Spec] = THERE) -> list[str]:
    with pytest.raises(LacError) as raised:
        again(saved, live, ours)
    (problem,) = raised.value.diagnostics
    assert problem.code == "plan-mismatch"
    return problem.detail.splitlines()


def destroy() -> Plan:
    return plan(recorded=THERE, live=THERE, options=PlanOptions(Mode.DESTROY))


def test_desired_state_follows_from_the_plan() -> None:
    saved = plan((RISK, VERSION), THERE, (FRAUD, VERSION, CHAMPION))
    desired = reconstruct_desired(saved)
    assert desired.objects == {RISK.address: RISK}
    assert desired.lifecycles == {RISK.address: Lifecycle(False)}
    forgotten = reconstruct_desired(plan(recorded=THERE, options=PlanOptions(Mode.DESTROY)))
    assert forgotten.objects == {}
    assert forgotten.removals.keys() == {spec.address for spec in THERE}


def test_a_rename_is_desired_again() -> None:
    after = FRAUD.model_copy(update={"name": "risk"})
    (change,) = plan([RISK], [FRAUD], [FRAUD]).changes
    moved = replace(change, address=after.address, action=Action.MOVE, after=after, moved_from=FRAUD.address)
    assert reconstruct_desired(Plan("payments", "", (moved,), ())).moves == (
        Move(FRAUD.address, after.address),
    )


@pytest.mark.parametrize("mode", ["update", "destroy"])
def test_a_plan_that_follows_is_applied_as_it_was_saved(mode: str) -> None:
    saved = destroy() if mode == "destroy" else plan((RISK, VERSION, CHAMPION), THERE, THERE)
    assert saved.changes
    assert again(saved) is saved


def test_an_object_that_is_in_place_already_does_not_follow() -> None:
    saved = plan((RISK, VERSION, CHAMPION), THERE, THERE)
    assert mismatches(saved, (RISK, VERSION, CHAMPION), (RISK, VERSION, CHAMPION)) == [
        "registered_model.fraud: update in the file, nothing now"
    ]


def test_a_side_that_differs_does_not_follow() -> None:
    saved = plan((RISK, VERSION, CHAMPION), THERE, THERE)
    (change,) = saved.changes
    forged = replace(saved, changes=(replace(change, before=RISK.model_copy(update={"tags": {"a": "b"}})),))
    assert mismatches(forged) == ["registered_model.fraud: differs between the file and now"]


def test_a_deletion_of_an_object_without_a_record_does_not_follow() -> None:
    saved = plan(recorded=[OTHER], live=[OTHER], options=PlanOptions(Mode.DESTROY))
    assert mismatches(saved, [OTHER], []) == ["registered_model.other: differs between the file and now"]


def test_a_destroy_that_creates_does_not_follow() -> None:
    saved = replace(plan([RISK], [FRAUD], [FRAUD]), mode=Mode.DESTROY)
    assert "the plan destroys everything, yet it contains desired objects" in mismatches(saved)


def test_changes_in_another_order_do_not_follow() -> None:
    saved = destroy()
    forged = replace(saved, changes=saved.changes[::-1])
    assert mismatches(forged) == ["the changes have another order"]
