"""Two versions held against each other: which metric got better, and what differs."""

from __future__ import annotations

import pytest

from lifecycle_as_code.model.evidence import Better, Comparison, Direction, Evidence, Metric
from lifecycle_as_code.model.spec import Address
from lifecycle_as_code.review.evidence import compare

HIGHER, LOWER = Better.HIGHER, Better.LOWER


def compared(before: Evidence | None, after: Evidence | None, *directions: Direction) -> Comparison:
    return compare(Address("model_alias", ("fraud", "champion")), "fraud", before, after, directions)


@pytest.mark.parametrize(
    ("before", "after", "directions", "better"),
    [
        pytest.param(0.1, 0.2, [], None, id="nobody said"),
        pytest.param(0.1, 0.2, [Direction("auc", HIGHER)], True, id="higher, as wanted"),
        pytest.param(0.2, 0.1, [Direction("auc", HIGHER)], False, id="lower, as not wanted"),
        pytest.param(0.2, 0.1, [Direction("auc", LOWER)], True, id="lower, as wanted"),
        pytest.param(0.1, 0.2, [Direction("auc", LOWER)], False, id="higher, as not wanted"),
        pytest.param(0.1, 0.1, [Direction("auc", LOWER)], None, id="as before"),
        pytest.param(None, 0.1, [Direction("auc", LOWER)], None, id="no number before"),
        pytest.param(0.1, None, [Direction("auc", HIGHER)], None, id="no number after"),
        pytest.param(0.1, 0.2, [Direction("AUC", HIGHER)], None, id="another name"),
        pytest.param(0.1, 0.2, [Direction("a*", LOWER), Direction("auc", HIGHER)], True, id="the last one"),
        pytest.param(0.1, 0.2, [Direction("auc", HIGHER), Direction("a*", LOWER)], False, id="of any form"),
        pytest.param(
            0.1,
            0.2,
            [Direction("auc", HIGHER, "fr*"), Direction("auc", LOWER, "churn")],
            True,
            id="of this model",
        ),
    ],
)
def test_which_way_is_better(
    before: float | None, after: float | None, directions: list[Direction], better: bool | None
) -> None:
    sides = (Evidence("fraud", n, metrics=(Metric("auc", value),)) for n, value in enumerate((before, after)))
    (found,) = compared(*sides, *directions).metrics
    assert found.better is better


def test_a_metric_on_other_data_is_another_one() -> None:
    before, after = (Evidence("fraud", 1, metrics=(Metric("auc", 0.5, "holdout", d),)) for d in ("d1", "d2"))
    found = compared(before, after).metrics
    assert [(m.digest, m.before, m.after) for m in found] == [("d1", 0.5, None), ("d2", None, 0.5)]


def test_parameters_differ_only_between_two_versions() -> None:
    before, after = (
        Evidence("fraud", params={"a": "1", "b": "2", "c": "3"}),
        Evidence("fraud", params={"c": "4", "b": "2"}),
    )
    assert list(compared(before, after).params) == [("a", "1", None), ("c", "3", "4")]
    assert list(compared(None, after).params) == list(compared(before, None).params) == []
