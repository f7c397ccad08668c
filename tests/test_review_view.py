"""What a reviewer judges by, as a terminal shows it."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from plans import HOSTILE, always, rich

from lifecycle_as_code.evidence import Comparison, Evidence, Metric, MetricChange, compare
from lifecycle_as_code.review import Outcome
from lifecycle_as_code.signature import Signature, SignatureChange
from lifecycle_as_code.spec import Address
from lifecycle_as_code.views import evidence, human
from lifecycle_as_code.views.evidence import number, size
from lifecycle_as_code.views.text import Paint, cells
from lifecycle_as_code.views.versions import metric_rows

COLOURS = re.compile(r"\x1b\[[\d;]*m")


def test_a_rich_plan_tells_all_that_is_known() -> None:
    plan = rich()
    text = human.plan(plan, width=120)
    for comparison in plan.review.evidence:
        assert all(metric.name in text for metric in comparison.metrics)
        assert comparison.signature.verdict in text
    for verdict in plan.review.verdicts:
        assert verdict.policy in text
        assert all(failed in text for failed in verdict.failed)
    for impact in plan.review.impacts:
        assert all(str(row.endpoint) in text for row in (*impact.traffic, *impact.capacity))
        assert all(f"{row.user}: {row.before} → {row.after}" in text for row in impact.access)
    for choice in plan.review.choices:
        assert f"is version {choice.version}" in text
    counted = sum(v.outcome is Outcome.DENIED for v in plan.review.verdicts)
    assert counted
    assert re.search(rf"^Plan: .*, {counted} denied, ", text, re.MULTILINE)


def test_colours_add_nothing_but_colours() -> None:
    painted, plain = (human.plan(rich(), paint, width=120) for paint in (Paint(True), Paint()))
    assert "\x1b[" in painted
    bare = COLOURS.sub("", painted).splitlines()
    assert [line.rstrip() for line in bare] == [line.rstrip() for line in plain.splitlines()]


MEASURED = (
    MetricChange("auc", "", "", 0.983857, 0.998532, better=True),
    MetricChange("n" * 200, "holdout", "0123456789", -0.25, 1234.5, better=False),
    MetricChange("seen", "", "", None, 2.0),
)


@pytest.mark.parametrize("width", [40, 60, 120])
def test_no_name_takes_a_metrics_numbers_away(width: int) -> None:
    sides = (Evidence("m", 1), Evidence("m", 2))
    shown = Comparison(Address("model_alias", ("m", "a")), "m", *sides, MEASURED)
    lines = list(evidence.compared(shown, Paint(), width, None))
    assert all(cells(line) <= width for line in lines)
    text = "\n".join(lines)
    for told in ("auc", "0.983857", "0.998532", "+0.01467", "better", "-0.25", "+1235", "worse", "–"):
        assert told in text
    # the end of a long name is kept: it has the data set
    assert "4567)" in text


@pytest.mark.parametrize(
    ("before", "after", "shown", "trend"),
    [
        pytest.param([0.5], [None], ("0.5", "NaN"), "", id="no number any more"),
        pytest.param([None], [0.5], ("NaN", "0.5"), "", id="a number now"),
        pytest.param([None], [None], ("NaN", "NaN"), "", id="never one"),
        pytest.param([], [None], ("", "NaN"), "first measured", id="first"),
        pytest.param([None], [], ("NaN", ""), "gone", id="gone"),
        pytest.param([0.5], [], ("0.5", ""), "gone", id="a number that is gone"),
    ],
)
def test_what_is_no_number_is_not_what_was_not_measured(
    before: list[float | None], after: list[float | None], shown: tuple[str, str], trend: str
) -> None:
    sides = [Evidence("m", 1, metrics=tuple(Metric("loss", n) for n in side)) for side in (before, after)]
    found = compare(Address("model_alias", ("m", "a")), "m", *sides)
    (row,) = metric_rows(found)
    assert ((row.before, row.after), row.trend) == (shown, trend)
    line = list(evidence.compared(found, Paint(), 80, None))[2]
    assert line.split() == ["loss", *(each or "–" for each in shown)]


def test_an_unknown_signature_is_told_with_the_side_that_has_none() -> None:
    gone = ("the signature: the model was logged without one",)
    sides = (
        Evidence("m", 1, missing=gone),
        Evidence("m", 2, flavors={"sklearn": "1"}, signature=Signature()),
    )
    shown = compare(Address("model_alias", ("m", "a")), "m", *sides)
    told = "\n".join(evidence.compared(shown, Paint(), 80, None))
    assert "signature unknown\n        missing   version 1: the signature: the model was" in told
    assert "version 1: the" not in "\n".join(
        evidence.compared(replace(shown, signature=SignatureChange()), Paint(), 80, None)
    )


@pytest.mark.parametrize("word", HOSTILE)
def test_nothing_in_it_moves_a_cursor_or_is_markup(word: str) -> None:
    text = human.plan(rich(always(word)), Paint(True), width=120)
    assert not {char for char in COLOURS.sub("", text) if not char.isprintable() and char != "\n"}


def test_rich_markup_in_a_name_is_a_name() -> None:
    assert "[red]x[/red]" in human.plan(rich(always("[red]x[/red]")), width=200)


@pytest.mark.parametrize(
    ("count", "told"), [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (5 * 2**40, "5.0 TiB")]
)
def test_sizes(count: int, told: str) -> None:
    assert size(count) == told


def test_numbers() -> None:
    assert [number(None), number(0.5), number(123456.0)] == ["–", "0.5", "123456"]
