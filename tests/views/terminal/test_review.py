"""What a reviewer judges by, as a terminal shows it."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from math import inf, nan

import pytest
from support.sample_plans import ALIAS, HOSTILE, always, rich

from lifecycle_as_code.cli import output
from lifecycle_as_code.model.evidence import Evidence, Metric, MetricChange
from lifecycle_as_code.model.review import Access, Capacity, Impact, Outcome, Review
from lifecycle_as_code.model.signature import Signature, SignatureChange
from lifecycle_as_code.model.spec import Address
from lifecycle_as_code.review.evidence import compare
from lifecycle_as_code.views.terminal import evidence, review
from lifecycle_as_code.views.terminal import plan as human
from lifecycle_as_code.views.text import Paint, cells, wrapped
from lifecycle_as_code.views.versions import metric_rows, numbers, size

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
    told = review.capacity(row)
    assert told == f"replicas 1, CPUs 2, while both versions are up +2 CPUs{said}"
    assert "fit" not in review.capacity(replace(row, peak_cpus=0))
    assert ", when it comes up +2 CPUs" in review.capacity(replace(row, replicas_before=0))


def test_colours_add_nothing_but_colours() -> None:
    painted, plain = (human.plan(rich(), paint, width=120) for paint in (Paint(True), Paint()))
    assert "\x1b[" in painted
    bare = COLOURS.sub("", painted).splitlines()
    assert [line.rstrip() for line in bare] == [line.rstrip() for line in plain.splitlines()]


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
def test_however_narrow_it_is_no_number_is_cut(width: int) -> None:
    plan = rich()
    text = wrapped(human.plan(plan, width=width), width)
    for row in metric_rows(plan.review.evidence[0]):
        assert re.search(rf"{row.before or '–'} (→ )? *{row.after} *{re.escape(row.delta)}", text), row
    for line in text.splitlines():
        assert cells(line) <= width or " " not in line.strip(" │├└─~+-"), line


def test_where_there_is_room_metrics_are_a_table() -> None:
    lines = human.plan(rich(), width=80).splitlines()
    head = next(line for line in lines if line.split()[:1] == ["metric"])
    assert head.split() == ["metric", "data", "set", "before", "after", "change"]
    assert "        latency_p99_ms                        18.4       23.9     +5.5  ▼ worse" in lines


def test_what_a_change_reaches_is_a_tree_below_it() -> None:
    text = human.plan(rich())
    assert (
        "      reaches\n"
        "      ├─ serving_endpoint.fraud-scoring\n"
        "      │  └─ champion, 90 % of its traffic, follows @champion: version 3 → 4\n"
        "      └─ serving_endpoint.checkout of stack shop\n"
        "         └─ risk, 100 % of its traffic, follows @champion: version 3;"
        " stays until that stack is applied\n"
        "      ✗ denied by champion-must-be-better\n"
        "      ~ waived by soak-time\n"
    ) in text
    assert "passed by" not in text
    # of the endpoint itself, without its name
    assert (
        "      reaches\n"
        "      ├─ champion, 90 % of its traffic, follows @champion: version 3 → 4\n"
        "      └─ replicas 2 → 3, CPUs 2 → 3, while both versions are up +2 CPUs, 1.5 free: does not fit\n"
        "      ! warned by latency-budget\n"
    ) in text


def test_of_very_many_users_those_who_lose_are_told() -> None:
    model = Address("registered_model", ("fraud",))
    gains = [Access(f"u{n:02}", model, "READ", "EDIT") for n in range(20)]
    loses = Access("zoe", model, "EDIT", "READ")
    told = review.beneath(Review(impacts=(Impact(ALIAS, access=(*gains, loses)),)))
    assert told[1] == "      ├─ registered_model.fraud"
    assert told[2].endswith("├─ ▼ zoe: EDIT → READ")
    assert told[-1] == "      └─ and 9 more users"


@pytest.mark.parametrize(
    ("line", "below"),
    [
        ("  ~ model.a  (manifest changed)", ["  ~ model.a  (manifest", "    changed)"]),
        (
            "      run   one two three four five",
            ["      run   one two", "        three four five"],
        ),
        ("      └─ one two three four five", ["      └─ one two three", "         four five"]),
        ("      ├─ one two three four five", ["      ├─ one two three", "      │  four five"]),
        ("  - " + "w" * 30, ["  - " + "w" * 30]),
        ("w" * 30 + " x", ["w" * 30, "  x"]),
        ("fits", ["fits"]),
        ("", [""]),
    ],
)
def test_a_line_that_is_too_long_goes_on_below(line: str, below: list[str]) -> None:
    assert wrapped(line, 23).split("\n") == below
    painted = Paint(True)(line, "strong", "red")
    assert COLOURS.sub("", wrapped(painted, 23)).split("\n") == below


def test_only_a_terminal_has_its_lines_wrapped(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "23")
    output.tell("one two three four five six")
    assert capsys.readouterr().out == "one two three four five six\n"
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    output.tell("one two three four five six")
    assert capsys.readouterr().out == "one two three four five\n  six\n"


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
    assert line.split() == ["loss", *(each or "–" for each in shown), *trend.split()]


def test_a_version_that_takes_nobodys_place_has_nothing_to_be_measured_against() -> None:
    only = Evidence("m", 1, metrics=(Metric("loss", 0.5),))
    where = Address("serving_endpoint", ("a",))
    for sides, told in (((None, only), "–  0.5"), ((only, None), "0.5  –")):
        shown = compare(where, "m", *sides, entity="blue")
        (row,) = metric_rows(shown)
        assert row.trend == ""
        line = list(evidence.compared(shown, Paint(), 80, None))[2]
        assert line.split() == ["loss", *told.split()]
    (line,) = evidence.compared(replace(shown, entity="green"), Paint(), 80, where)
    assert line.strip() == "evidence  the same for served entity green"


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


def test_numbers_have_as_many_digits_as_tell_them_apart() -> None:
    assert numbers(None, 0.5) == ("", "0.5")
    assert numbers(0.9985321, 0.9985324) == ("0.9985321", "0.9985324")
    assert numbers(1_200_000.0, 1_200_000.0) == ("1,200,000", "1,200,000")


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (nan, nan, ("nan", "nan", "", False)),
        (nan, 1.0, ("nan", "1", "", True)),
        (1.0, inf, ("1", "inf", "", True)),
        (1e308, -1e308, ("1e+308", "-1e+308", "", True)),
        (0.5, 0.5, ("0.5", "0.5", "0", False)),
        (None, 0.5, ("", "0.5", "", True)),
    ],
)
def test_what_is_no_number_has_no_difference(
    before: float | None, after: float | None, told: tuple[str, str, str, bool]
) -> None:
    measured = replace(rich().review.evidence[0], metrics=(MetricChange("m", "", "", before, after, None),))
    (row,) = metric_rows(measured)
    assert (row.before, row.after, row.delta, row.moved) == told
