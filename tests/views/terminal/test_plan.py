"""What a plan looks like on a terminal, and that nothing printed can repaint it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from support.view_samples import (
    MOVABLE,
    NASTY,
    WARNING,
    Alias,
    Endpoint,
    Entity,
    Model,
    make_change,
    make_move,
    make_plan,
    make_refresh_plan,
    strip,
)

from lifecycle_as_code.model.diagnostics import Diagnostic, Source
from lifecycle_as_code.model.diff import diff
from lifecycle_as_code.model.events import (
    Done,
    Failed,
    HeldBack,
    Progress,
    Warned,
)
from lifecycle_as_code.model.plan import Action, Change, Override
from lifecycle_as_code.model.snapshot import Observed, Pending, Record
from lifecycle_as_code.model.spec import Address, Store
from lifecycle_as_code.planning.drift import Drift
from lifecycle_as_code.views import json as json_view
from lifecycle_as_code.views.terminal import drift as drift_view
from lifecycle_as_code.views.terminal import events as events_view
from lifecycle_as_code.views.terminal import plan as human
from lifecycle_as_code.views.terminal import show as show_view
from lifecycle_as_code.views.text import Paint, cells, shorten_middle


def test_a_plan_reads_from_warnings_to_tally() -> None:
    plan = make_plan(
        make_change(None, Model(name="churn", description="Who leaves.", tags={"team": "crm", "cost": "12"})),
        make_change(Alias(name="fraud", version=3), Alias(name="fraud", version=4)),
        make_change(
            Endpoint(name="fraud", entities=(Entity(name="champion", version="3"),)),
            Endpoint(name="fraud", entities=(Entity(name="champion", version="4", replicas=2),)),
            "follows alias.fraud",
        ),
        make_change(Model(name="gone"), None),
        make_change(Alias(name="so", version=1), Alias(name="so", version=1), "already so", Action.RECORD),
        diagnostics=(WARNING,),
    )
    assert human.plan(plan) == (
        """\
fraud.yaml:3:5: warning[open-endpoint]: it answers everybody
  `fraud` has no permissions.
  hint: list some

Stack payments, environment prod:

  ~ alias.fraud  (manifest changed)
      ~ version  3 → 4

  + model.churn  (declared)
      description  Who leaves.
      tags.team    crm
      tags.cost    "12"

  ~ endpoint.fraud  (follows alias.fraud)
      ~ entities.champion.replicas  1   → 2
      ~ entities.champion.version   "3" → "4"

  - model.gone  (no longer declared)

Steps
  1. warm up   Ray Serve  endpoint.fraud
  2. switch    MLflow     alias.fraud, model.churn
  3. cut over  Ray Serve  endpoint.fraud
  4. retire    Ray Serve  endpoint.fraud
  5. retire    MLflow     model.gone

Plan: 1 to create, 2 to update, 1 to delete.
1 object already so (only updates the record): alias.so"""
    )


def test_a_rename_is_shown_with_what_goes_along() -> None:
    names = [Alias(name="m", version=1)]
    plan = make_plan(
        make_move(MOVABLE(name="m"), Address("model", ("old",))),
        *(make_move(spec, Address("alias", ("old",))) for spec in names),
    )
    assert human.plan(plan).splitlines() == [
        "Stack payments, environment prod:",
        "",
        "  > model.m  (moved from model.old)",
        "      with alias.m",
        "",
        "Plan: 0 to create, 0 to update, 0 to delete, 2 to move.",
    ]


def test_a_rename_that_changes_more_says_both() -> None:
    before = MOVABLE(name="m", description="a")
    change = make_move(MOVABLE(name="m", description="b"), Address("model", ("old",)), Action.UPDATE, before)
    assert human.plan(make_plan(change)).splitlines()[2:4] == [
        "  ~ model.m  (moved from model.old, manifest changed)",
        "      ~ description  a → b",
    ]


def test_what_is_protected_says_so() -> None:
    change = replace(make_change(None, Model(name="m")), protected=True)
    assert human.headline(change) == "  + model.m  (declared)  [protected]"


def test_what_was_let_through_is_shown_with_what_is_lost() -> None:
    verdicts = (Override("mass-deletion", "2 of 2: \x1b[2J\nand more."), Override("protected", "model.m."))
    shown = human.plan(make_plan(make_change(Model(name="m"), None), allowed=verdicts))
    assert shown.splitlines()[4:8] == [
        "Overridden guards:",
        r"  ! mass-deletion  2 of 2: \x1b[2J",
        "    and more.",
        "  ! protected  model.m.",
    ]


def test_a_plan_about_records_shows_each_from_record_to_live() -> None:
    now = Model(name="m", description="b")
    fields = diff(Model(name="m", description="a"), now)
    gone = Change(Address("alias", ("x",)), Store.REGISTRY, Action.FORGET, "deleted outside", None, None)
    change = replace(make_change(now, now, "changed outside", Action.RECORD), fields=fields)
    plan = make_refresh_plan(change, gone)
    assert plan.differences == plan.changes
    assert human.plan(plan).splitlines() == [
        "Stack payments, environment prod, records only (recorded → live):",
        "",
        "  = alias.x  (deleted outside)",
        "",
        "  = model.m  (changed outside)",
        "      ~ description  a → b",
        "",
        "Plan: 1 record to update, 1 to remove. No resources change.",
    ]
    assert json.loads(json_view.plan(plan))["summary"]["difference"] is True


def test_a_plan_about_records_that_are_right_says_so() -> None:
    assert human.plan(make_refresh_plan()) == "No changes. The records match live state."


def test_a_mark_that_changes_is_told_by_its_own_word() -> None:
    spec = Model(name="m")
    shown = human.plan(make_plan(make_change(spec, spec, "protected from now on", Action.RECORD)))
    assert shown.splitlines()[1] == "1 object protected from now on: model.m"


def test_a_plan_without_a_difference_says_so_on_one_line() -> None:
    assert human.plan(make_plan()) == "No changes. Live state matches the manifests."


def test_what_touches_only_records_is_one_line_however_many() -> None:
    found = [Alias(name=f"a{n}", version=1) for n in range(5)]
    shown = human.plan(make_plan(*(make_change(spec, spec, "already so", Action.RECORD) for spec in found)))
    assert shown.splitlines() == [
        "No changes. Live state matches the manifests.",
        "5 objects already so (only updates the record): alias.a0, alias.a1, alias.a2 and 2 more",
    ]


def test_steps_are_shown_only_where_there_is_a_rollout() -> None:
    assert "Steps" not in human.plan(make_plan(make_change(None, Model(name="m"))))


def test_tags_that_come_and_go_have_signs_of_their_own() -> None:
    before = Model(name="m", tags={"a": "x", "gone": "x"})
    after = Model(name="m", tags={"a": "y", "added": ""})
    assert human.change(make_change(before, after)).splitlines()[1:] == [
        "      ~ tags.a      x → y",
        '      + tags.added  ""',
        "      - tags.gone   x",
    ]


def test_a_long_pair_takes_two_lines_and_shows_where_it_parts() -> None:
    long = "Scores payments by card, and says for each how likely it is that somebody else made it, "
    before, after = Model(name="m", description=long + "daily"), Model(name="m", description=long + "hourly")
    first, second = human.change(make_change(before, after), width=80).splitlines()[1:]
    assert first.endswith("daily")
    assert second.endswith("hourly")
    assert first.index("…") == second.index("…") == second.index("→") + 2
    assert max(len(first), len(second)) <= 80


def test_of_texts_of_many_lines_only_what_differs_is_shown() -> None:
    before = Model(name="m", description="\n".join(f"line {n}" for n in range(9)))
    after = Model(name="m", description="\n".join(f"line {n}" if n != 4 else "line four" for n in range(9)))
    assert human.change(make_change(before, after)).splitlines()[1:] == [
        "      ~ description",
        "          | line 3",
        "          - line 4",
        "          + line four",
        "          | line 5",
    ]


def test_texts_that_differ_only_in_their_end_are_quoted() -> None:
    shown = human.change(
        make_change(Model(name="m", description="a\nb"), Model(name="m", description="a\nb\n"))
    )
    assert r'"a\nb" → "a\nb\n"' in shown


def test_a_new_text_of_many_lines_is_cut() -> None:
    shown = human.change(make_change(None, Model(name="m", description="\n".join("abcdefghijklmnop"))))
    assert shown.splitlines()[-1].strip() == "… 4 more lines"


def test_colours_are_codes_around_the_same_text() -> None:
    plan = make_plan(
        make_change(Alias(name="a", version=1), Alias(name="a", version=2)), diagnostics=(WARNING,)
    )
    coloured = human.plan(plan, Paint(True))
    assert "\x1b[33m~\x1b[0m" in coloured
    assert strip(coloured) == human.plan(plan)


@pytest.mark.parametrize("text", NASTY, ids=ascii)
def test_nothing_that_moves_turns_or_hides_is_printed(text: str) -> None:
    spec = Model(name="m").model_copy(update={"name": text, "description": text, "tags": {text: text}})
    plain = Model(name="m").model_copy(update={"name": text})
    problem = Diagnostic(text, text, text, text, Source(text, 1, 1), "warning")
    plan = make_plan(make_change(None, spec), diagnostics=(problem,), stack=text, environment=text)
    address = spec.address
    printed = [
        human.plan(plan),
        human.plan(make_plan(make_change(plain, spec, text))),
        human.plan(make_plan(make_change(spec, spec, text, Action.RECORD))),
        drift_view.drift(Drift(plan, plan)),
        show_view.snapshots(address, spec, Record(address, spec.store, spec), Observed(spec, {text: text})),
        show_view.record(Record(address, spec.store, spec, Pending(text, (text,)))),
        *(events_view.line(event) or "" for event in (Done(address, Action.CREATE), Progress(text, address))),
        events_view.closing([Failed(address, problem), HeldBack(address, address)]),
        *(json_view.event(event) for event in (Failed(address, problem), Warned(problem))),
        json_view.plan(plan),
        json_view.problems([problem]),
    ]
    for whole in printed:
        for line in whole.split("\n"):
            assert all(char.isprintable() for char in line), ascii(line)
            assert not {"\u3164", "\ufe0f"} & set(line)


def test_wide_characters_are_counted_as_the_terminal_counts_them() -> None:
    assert cells("決済") == 4
    assert cells(shorten_middle("決済" * 20, 20)) <= 20
    first = human.change(make_change(None, Model(name="m", tags={"決": "a", "zz": "b"}))).splitlines()[1:]
    assert {cells(line) for line in first} == {cells(first[0])}
