"""An apply's events and its end, on a terminal."""

from __future__ import annotations

import pytest
from support.view_samples import (
    ERROR,
    PARTLY,
)

from lifecycle_as_code.model.events import (
    Done,
    Event,
    Finished,
    Locked,
)
from lifecycle_as_code.model.plan import Action
from lifecycle_as_code.model.spec import Address
from lifecycle_as_code.views.terminal import events as events_view


def test_the_end_of_an_apply_counts_moves_and_records_where_there_is_nothing_else() -> None:
    end = Finished("id", 2, 0, 0)
    model, alias = Address("model", ("m",)), Address("alias", ("m",))
    renamed: list[Event] = [Done(model, Action.MOVE), Done(alias, Action.RECORD), end]
    assert events_view.closing(renamed) == "Apply complete: 0 created, 0 updated, 0 deleted, 1 moved."
    told: list[Event] = [Done(model, Action.RECORD), Done(alias, Action.FORGET), end]
    assert events_view.closing(told) == "Apply complete: 1 recorded, 1 forgotten."


def test_an_apply_is_a_line_an_event() -> None:
    assert [line for event in PARTLY if (line := events_view.line(event))] == [
        "Warm up (1 change)",
        "  … endpoint.fraud: a replica comes up",
        "  ✗ endpoint.fraud failed: the endpoint didn't come up",
        "Switch (2 changes)",
        "  ! alias.fraud skipped: endpoint.fraud was not applied",
        "  ✓ model.churn created",
    ]


def test_an_apply_that_failed_ends_with_why_and_the_way_out() -> None:
    closing = events_view.closing(PARTLY)
    assert closing.startswith(str(ERROR))
    assert "Apply incomplete: 1 created, 0 updated, 0 deleted; 1 failed, 1 skipped." in closing
    assert "Fix the errors above, then run `lac apply` again." in closing


@pytest.mark.parametrize(
    ("events", "first"),
    [
        ([Finished("id", 0, 0, 0)], "Apply complete: 0 created, 0 updated, 0 deleted."),
        (
            [Finished("id", 0, 0, 0, stopped=True)],
            "Apply incomplete: 0 created, 0 updated, 0 deleted; stopped on request.",
        ),
        ([Locked("id")], "Apply ended early: 0 created, 0 updated, 0 deleted."),
        ([], "Apply ended early: 0 created, 0 updated, 0 deleted."),
    ],
    ids=["complete", "stopped", "cut off", "never begun"],
)
def test_the_end_of_an_apply_is_named(events: list[Event], first: str) -> None:
    assert events_view.closing(events).splitlines()[0] == first
