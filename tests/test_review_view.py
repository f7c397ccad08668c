"""What a reviewer judges by, as a terminal shows it."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from plans import HOSTILE, always, rich

from lifecycle_as_code.review import Capacity, Outcome
from lifecycle_as_code.spec import Address
from lifecycle_as_code.views import human
from lifecycle_as_code.views.evidence import number, size
from lifecycle_as_code.views.review import capacity
from lifecycle_as_code.views.text import Paint

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


@pytest.mark.parametrize(
    ("free", "fits", "said"),
    [(3, True, ", 3 free: fits"), (1, False, ", 1 free: does not fit"), (None, None, ": not known to fit")],
)
def test_room_on_the_cluster_is_told_also_where_it_is_not_known(
    free: float | None, fits: bool | None, said: str
) -> None:
    row = Capacity(Address("serving_endpoint", ("a",)), 1, 1, 2, 2, 0, 0, 2, 0, free, None, fits)
    told = capacity(row)
    assert told == f"serving_endpoint.a: replicas 1, CPUs 2, while both versions are up +2 CPUs{said}"
    assert "fit" not in capacity(replace(row, peak_cpus=0))


def test_colours_add_nothing_but_colours() -> None:
    painted, plain = (human.plan(rich(), paint, width=120) for paint in (Paint(True), Paint()))
    assert "\x1b[" in painted
    bare = COLOURS.sub("", painted).splitlines()
    assert [line.rstrip() for line in bare] == [line.rstrip() for line in plain.splitlines()]


@pytest.mark.parametrize("width", [40, 120])
def test_tables_fit_the_terminal(width: int) -> None:
    lines = human.plan(rich(), width=width).splitlines()
    heads = [place for place, line in enumerate(lines) if line.split()[:1] == ["metric"]]
    assert heads
    assert all(len(lines[place + 1]) <= width for place in heads)


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
