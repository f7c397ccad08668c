"""History as data: what held at a time, and what happened to one object."""

from __future__ import annotations

import pytest
from support.history import CHAMPION, FRAUD, STORY, alias

from lifecycle_as_code.model.history import find_lines, find_state
from lifecycle_as_code.model.spec import Spec


@pytest.mark.parametrize(
    ("moment", "held"),
    [
        (0, []),
        (10_000, []),
        (10_001, [FRAUD]),
        (10_002, [FRAUD, alias(1)]),
        (19_999, [FRAUD, alias(1)]),
        (20_001, [FRAUD, alias(2)]),
        (29_999, [FRAUD, alias(2), alias(1, "old")]),
        (30_001, [FRAUD, alias(1, "old")]),
        (30_002, [FRAUD]),
        (99_999, [FRAUD, alias(3)]),
    ],
)
@pytest.mark.parametrize("turned", [False, True], ids=["in order", "in the opposite direction"])
def test_at_a_time_the_last_word_on_each_object_holds(moment: int, held: list[Spec], turned: bool) -> None:
    lines = [each for apply in STORY for each in apply.lines]
    found = find_state(reversed(lines) if turned else lines, moment)
    assert found == {spec.address: spec for spec in held}


def test_what_happened_to_an_object_is_told_the_latest_first() -> None:
    told = [(apply.started_ms, each.action) for apply, each in find_lines(STORY, CHAMPION)]
    assert told == [(40_000, "create"), (30_000, "delete"), (20_000, "update"), (10_000, "create")]
