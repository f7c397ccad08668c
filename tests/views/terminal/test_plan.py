"""What plans, applies and drift look like, and that nothing printed can repaint a terminal."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated, ClassVar

import pytest
from pydantic import Field

from lifecycle_as_code.model.diagnostics import Diagnostic, Source
from lifecycle_as_code.model.diff import diff
from lifecycle_as_code.model.events import (
    Done,
    Event,
    Failed,
    Finished,
    HeldBack,
    Locked,
    Progress,
    StepStarted,
    Warned,
)
from lifecycle_as_code.model.plan import Action, Allowed, Change, Mode, Phase, Plan
from lifecycle_as_code.model.snapshot import Observed, Pending, Record
from lifecycle_as_code.model.spec import Address, ByKey, Immutable, Key, Part, Ref, Spec, Store, Tags
from lifecycle_as_code.planning.ordering import in_order, linked, steps
from lifecycle_as_code.views import json as json_view
from lifecycle_as_code.views.terminal import drift as drift_view
from lifecycle_as_code.views.terminal import events as events_view
from lifecycle_as_code.views.terminal import plan as human
from lifecycle_as_code.views.terminal import reference
from lifecycle_as_code.views.terminal import show as show_view
from lifecycle_as_code.views.terminal.problems import diagnostic, problems
from lifecycle_as_code.views.text import Paint, cells, safe, shorten_middle, shorten_pair, value


class Model(Spec):
    """A model.

    More about it.
    """

    kind: ClassVar[str] = "model"
    section: ClassVar[str] = "models"
    store: ClassVar[Store] = Store.REGISTRY
    name: Annotated[str, Key()]
    """Its name."""
    description: str = ""
    """Words about it."""
    tags: Tags = Field(default_factory=dict)
    """Labels."""


class Alias(Spec):
    """A name for a version."""

    kind: ClassVar[str] = "alias"
    section: ClassVar[str] = "aliases"
    store: ClassVar[Store] = Store.REGISTRY
    name: Annotated[str, Key(), Ref("model")]
    """The model."""
    version: Annotated[int, Immutable("declare another")]
    """The version."""


class Entity(Part):
    """A part of an endpoint."""

    name: str
    version: str
    replicas: int = 1
    """How many."""


class Endpoint(Spec):
    """Serves models."""

    kind: ClassVar[str] = "endpoint"
    section: ClassVar[str] = "endpoints"
    store: ClassVar[Store] = Store.SERVE
    name: Annotated[str, Key()]
    """Its name."""
    entities: Annotated[tuple[Entity, ...], ByKey("name")] = ()
    """What it serves."""

    def refs(self) -> Iterator[Address]:
        return iter([Address("alias", (self.name,))])

    def follows(self) -> Iterator[Address]:
        return self.refs()


def changed(
    before: Spec | None, after: Spec | None, reason: str = "", action: Action | None = None
) -> Change:
    """A change with action, reason and fields as planning would give them."""
    side = after or before
    assert side is not None
    if before is None:
        return Change(side.address, side.store, Action.CREATE, reason or "declared", None, after)
    if after is None:
        return Change(side.address, side.store, Action.DELETE, reason or "no longer declared", before, None)
    return Change(
        side.address,
        side.store,
        action or Action.UPDATE,
        reason or "manifest changed",
        before,
        after,
        diff(before, after),
    )


def planned(*changes: Change, **settings: object) -> Plan:
    ordered = in_order(linked({change.address: change for change in changes}))
    return replace(Plan("payments", "prod", tuple(ordered), steps(ordered)), **settings)  # type: ignore[arg-type]


WARNING = Diagnostic(
    "open-endpoint",
    "it answers everybody",
    "`fraud` has no permissions.",
    hint="list some",
    at=Source("fraud.yaml", 3, 5),
    severity="warning",
)


# --- a plan


def test_a_plan_reads_from_warnings_to_tally() -> None:
    plan = planned(
        changed(None, Model(name="churn", description="Who leaves.", tags={"team": "crm", "cost": "12"})),
        changed(Alias(name="fraud", version=3), Alias(name="fraud", version=4)),
        changed(
            Endpoint(name="fraud", entities=(Entity(name="champion", version="3"),)),
            Endpoint(name="fraud", entities=(Entity(name="champion", version="4", replicas=2),)),
            "follows alias.fraud",
        ),
        changed(Model(name="gone"), None),
        changed(Alias(name="so", version=1), Alias(name="so", version=1), "already so", Action.RECORD),
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


MOVABLE = type("Movable", (Model,), {"movable": True, "__doc__": "One that can be renamed."})


def moved(spec: Spec, origin: Address, action: Action = Action.MOVE, before: Spec | None = None) -> Change:
    reason = f"moved from {origin}" if action is Action.MOVE else "manifest changed"
    return replace(changed(before or spec, spec, reason, action), moved_from=origin)


def test_a_rename_is_shown_with_what_goes_along() -> None:
    names = [Alias(name="m", version=1)]
    plan = planned(
        moved(MOVABLE(name="m"), Address("model", ("old",))),
        *(moved(spec, Address("alias", ("old",))) for spec in names),
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
    change = moved(MOVABLE(name="m", description="b"), Address("model", ("old",)), Action.UPDATE, before)
    assert human.plan(planned(change)).splitlines()[2:4] == [
        "  ~ model.m  (moved from model.old, manifest changed)",
        "      ~ description  a → b",
    ]


def test_what_is_protected_says_so() -> None:
    change = replace(changed(None, Model(name="m")), protected=True)
    assert human.headline(change) == "  + model.m  (declared)  [protected]"


def test_what_was_let_through_is_shown_with_what_is_lost() -> None:
    verdicts = (Allowed("mass-deletion", "2 of 2: \x1b[2J\nand more."), Allowed("protected", "model.m."))
    shown = human.plan(planned(changed(Model(name="m"), None), allowed=verdicts))
    assert shown.splitlines()[4:8] == [
        "Overridden guards:",
        r"  ! mass-deletion  2 of 2: \x1b[2J",
        "    and more.",
        "  ! protected  model.m.",
    ]


def refreshing(*changes: Change) -> Plan:
    return planned(*changes, mode=Mode.REFRESH_ONLY)


def test_a_plan_about_records_shows_each_from_record_to_live() -> None:
    now = Model(name="m", description="b")
    fields = diff(Model(name="m", description="a"), now)
    gone = Change(Address("alias", ("x",)), Store.REGISTRY, Action.FORGET, "deleted outside", None, None)
    change = replace(changed(now, now, "changed outside", Action.RECORD), fields=fields)
    plan = refreshing(change, gone)
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
    assert human.plan(refreshing()) == "No changes. The records match live state."


def test_a_mark_that_changes_is_told_by_its_own_word() -> None:
    spec = Model(name="m")
    shown = human.plan(planned(changed(spec, spec, "protected from now on", Action.RECORD)))
    assert shown.splitlines()[1] == "1 object protected from now on: model.m"


def test_the_end_of_an_apply_counts_moves_and_records_where_there_is_nothing_else() -> None:
    end = Finished("id", 2, 0, 0)
    model, alias = Address("model", ("m",)), Address("alias", ("m",))
    renamed: list[Event] = [Done(model, Action.MOVE), Done(alias, Action.RECORD), end]
    assert events_view.closing(renamed) == "Apply complete: 0 created, 0 updated, 0 deleted, 1 moved."
    told: list[Event] = [Done(model, Action.RECORD), Done(alias, Action.FORGET), end]
    assert events_view.closing(told) == "Apply complete: 1 recorded, 1 forgotten."


def test_a_plan_without_a_difference_says_so_on_one_line() -> None:
    assert human.plan(planned()) == "No changes. Live state matches the manifests."


def test_what_touches_only_records_is_one_line_however_many() -> None:
    found = [Alias(name=f"a{n}", version=1) for n in range(5)]
    shown = human.plan(planned(*(changed(spec, spec, "already so", Action.RECORD) for spec in found)))
    assert shown.splitlines() == [
        "No changes. Live state matches the manifests.",
        "5 objects already so (only updates the record): alias.a0, alias.a1, alias.a2 and 2 more",
    ]


def test_steps_are_shown_only_where_there_is_a_rollout() -> None:
    assert "Steps" not in human.plan(planned(changed(None, Model(name="m"))))


def test_tags_that_come_and_go_have_signs_of_their_own() -> None:
    before = Model(name="m", tags={"a": "x", "gone": "x"})
    after = Model(name="m", tags={"a": "y", "added": ""})
    assert human.change(changed(before, after)).splitlines()[1:] == [
        "      ~ tags.a      x → y",
        '      + tags.added  ""',
        "      - tags.gone   x",
    ]


def test_a_long_pair_takes_two_lines_and_shows_where_it_parts() -> None:
    long = "Scores payments by card, and says for each how likely it is that somebody else made it, "
    before, after = Model(name="m", description=long + "daily"), Model(name="m", description=long + "hourly")
    first, second = human.change(changed(before, after), width=80).splitlines()[1:]
    assert first.endswith("daily")
    assert second.endswith("hourly")
    assert first.index("…") == second.index("…") == second.index("→") + 2
    assert max(len(first), len(second)) <= 80


def test_of_texts_of_many_lines_only_what_differs_is_shown() -> None:
    before = Model(name="m", description="\n".join(f"line {n}" for n in range(9)))
    after = Model(name="m", description="\n".join(f"line {n}" if n != 4 else "line four" for n in range(9)))
    assert human.change(changed(before, after)).splitlines()[1:] == [
        "      ~ description",
        "          | line 3",
        "          - line 4",
        "          + line four",
        "          | line 5",
    ]


def test_texts_that_differ_only_in_their_end_are_quoted() -> None:
    shown = human.change(changed(Model(name="m", description="a\nb"), Model(name="m", description="a\nb\n")))
    assert r'"a\nb" → "a\nb\n"' in shown


def test_a_new_text_of_many_lines_is_cut() -> None:
    shown = human.change(changed(None, Model(name="m", description="\n".join("abcdefghijklmnop"))))
    assert shown.splitlines()[-1].strip() == "… 4 more lines"


def test_colours_are_codes_around_the_same_text() -> None:
    plan = planned(changed(Alias(name="a", version=1), Alias(name="a", version=2)), diagnostics=(WARNING,))
    coloured = human.plan(plan, Paint(True))
    assert "\x1b[33m~\x1b[0m" in coloured
    assert strip(coloured) == human.plan(plan)


def strip(text: str) -> str:
    return re.sub(r"\x1b\[[\d;]*m", "", text)


# --- nothing repaints a terminal

NASTY = [
    "\x1b[2J",
    "\x1b]0;title\x07",
    "a\rb",
    "a\x08b",
    "\x9b31m",
    "\u202edesrever",
    "\u2066isolated",
    "zero\u200bwidth",
    "joined\u200dup",
    "\ufeffmark",
    "soft\u00adhyphen",
    "filler\u3164",
    "variation\ufe0f",
    "tag\U000e0041",
    "line\u2028separator",
    "lone\ud800surrogate",
    "del\x7f",
    "tab\tbed",
]


@pytest.mark.parametrize("text", NASTY, ids=ascii)
def test_nothing_that_moves_turns_or_hides_is_printed(text: str) -> None:
    spec = Model(name="m").model_copy(update={"name": text, "description": text, "tags": {text: text}})
    plain = Model(name="m").model_copy(update={"name": text})
    problem = Diagnostic(text, text, text, text, Source(text, 1, 1), "warning")
    plan = planned(changed(None, spec), diagnostics=(problem,), stack=text, environment=text)
    address = spec.address
    printed = [
        human.plan(plan),
        human.plan(planned(changed(plain, spec, text))),
        human.plan(planned(changed(spec, spec, text, Action.RECORD))),
        drift_view.drift(plan, plan),
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


def test_other_scripts_are_left_as_they_are() -> None:
    for text in ("カード\u3000決済", "Zażółć", "наука", "שלום", "🚀 naïve"):
        assert safe(text) == text


def test_wide_characters_are_counted_as_the_terminal_counts_them() -> None:
    assert cells("決済") == 4
    assert cells(shorten_middle("決済" * 20, 20)) <= 20
    first = human.change(changed(None, Model(name="m", tags={"決": "a", "zz": "b"}))).splitlines()[1:]
    assert {cells(line) for line in first} == {cells(first[0])}


# --- values


@pytest.mark.parametrize(
    ("item", "shown"),
    [
        ("champion", "champion"),
        ("runs:/4f0c/model", "runs:/4f0c/model"),
        ("3", '"3"'),
        (3, "3"),
        ("1.10", '"1.10"'),
        ("no", '"no"'),
        (False, "false"),
        ("", '""'),
        (" x", '" x"'),
        ("a → b", '"a → b"'),
        ("2024-01-01", '"2024-01-01"'),
        ({"a": "é"}, '{"a": "é"}'),
        (("a", 1), '["a", 1]'),
        (None, "null"),
    ],
    ids=repr,
)
def test_a_string_that_could_be_something_else_is_quoted(item: object, shown: str) -> None:
    assert value(item) == shown


def test_both_ends_of_a_long_value_are_kept() -> None:
    text = shorten_middle("mlflow-artifacts:/1/models/m-0123456789abcdef/artifacts/MLmodel", 40)
    assert text.startswith("mlflow-artifacts:/")
    assert text.endswith("/MLmodel")
    assert len(text) == 40


def test_a_pair_that_parts_late_is_shown_from_shortly_before() -> None:
    before, after = shorten_pair("x" * 100 + "before", "x" * 100 + "after", 30)
    assert before.startswith("…")
    assert before.endswith("before")
    assert after.endswith("after")


# --- problems


def test_a_problem_reads_as_it_spells_itself() -> None:
    assert diagnostic(WARNING) == str(WARNING)


def test_problems_are_in_file_order_and_told_once() -> None:
    elsewhere = replace(WARNING, at=Source("a.yaml", 1, 1))
    told = problems([WARNING, elsewhere, WARNING])
    assert [line.split(":")[0] for line in told.splitlines()[::3]] == ["a.yaml", "fraud.yaml"]


# --- drift


def test_drift_is_told_apart_from_what_is_pending() -> None:
    outside = planned(
        changed(Alias(name="fraud", version=4), Alias(name="fraud", version=3), "changed outside")
    )
    pending = planned(changed(None, Model(name="new")))
    shown = drift_view.drift(outside, pending)
    assert shown == (
        """\
Changed outside lac: live → last applied

  ~ alias.fraud  (changed outside)
      ~ version  4 → 3

Pending: in the manifests, not applied yet
  + model.new  (declared)

Drift: 1 object changed outside lac. Run `lac apply` to revert it, or update the manifest to keep it.
Pending: 1 to create, 0 to update, 0 to delete."""
    )


def test_no_drift_says_so_even_when_the_manifests_cannot_be_planned() -> None:
    shown = drift_view.drift(planned(), None, [WARNING])
    assert "No drift." in shown
    assert "warning[open-endpoint]" in shown
    assert shown.endswith("Pending: unknown, because the manifests can't be planned.")
    assert json.loads(json_view.drift(planned(), None, [WARNING]))["pending"] is None


# --- an apply

FRAUD = Address("endpoint", ("fraud",))
CHAMPION = Address("alias", ("fraud",))
ERROR = Diagnostic(
    "rollout-failed", "the endpoint didn't come up", "Ray says: no such file.", hint="look there"
)
PARTLY: list[Event] = [
    Locked("id"),
    StepStarted(Phase.WARM_UP, 1),
    Progress("a replica comes up", FRAUD),
    Failed(FRAUD, ERROR),
    StepStarted(Phase.SWITCH, 2),
    HeldBack(CHAMPION, FRAUD),
    Done(Address("model", ("churn",)), Action.CREATE),
    Done(Address("model", ("so",)), Action.RECORD),
    Finished("id", 2, 1, 1),
]


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


# --- JSON


def test_a_plan_as_json_has_what_the_plan_has() -> None:
    change = replace(
        changed(Alias(name="fraud", version=3), Alias(name="fraud", version=4)), at=Source("f.yaml", 9, 5)
    )
    verdict = Allowed("protected", "alias.gone is marked.")
    document = json.loads(json_view.plan(planned(change, diagnostics=(WARNING,), allowed=(verdict,))))
    assert document == {
        "format_version": "1.2",
        "stack": "payments",
        "environment": "prod",
        "mode": "normal",
        "changes": [
            {
                "address": "alias.fraud",
                "kind": "alias",
                "action": "update",
                "reason": "manifest changed",
                "before": {"name": "fraud", "version": 3},
                "after": {"name": "fraud", "version": 4},
                "fields": [{"path": ["version"], "before": 3, "after": 4}],
                "waits_for": [],
                "moved_from": None,
                "protected": False,
                "at": {"file": "f.yaml", "line": 9, "column": 5},
            }
        ],
        "steps": [{"phase": "switch", "store": "registry", "changes": ["alias.fraud"]}],
        "diagnostics": [
            {
                "severity": "warning",
                "code": "open-endpoint",
                "summary": "it answers everybody",
                "detail": "`fraud` has no permissions.",
                "hint": "list some",
                "guard": "",
                "at": {"file": "fraud.yaml", "line": 3, "column": 5},
            }
        ],
        "guards": [{"guard": "protected", "detail": "alias.gone is marked."}],
        "review": {
            "evidence": [],
            "impacts": [],
            "verdicts": [],
            "choices": [],
            "rules": {"policies": [], "waivers": [], "directions": [], "teams": []},
        },
        "summary": {
            "create": 0,
            "update": 1,
            "delete": 0,
            "move": 0,
            "record": 0,
            "forget": 0,
            "difference": True,
        },
    }


def test_every_event_is_one_line_with_type_and_version() -> None:
    lines = [json_view.event(event) for event in [*PARTLY, Warned(WARNING)]]
    documents = [json.loads(line) for line in lines]
    assert not any("\n" in line for line in lines)
    assert {document["format_version"] for document in documents} == {"1.2"}
    assert [document["type"] for document in documents] == [
        "locked",
        "step_started",
        "progress",
        "failed",
        "step_started",
        "held_back",
        "done",
        "done",
        "finished",
        "warned",
    ]
    assert documents[2]["address"] == "endpoint.fraud"
    assert documents[3]["diagnostic"]["code"] == "rollout-failed"
    assert documents[5] == {
        "format_version": "1.2",
        "type": "held_back",
        "address": "alias.fraud",
        "because": "endpoint.fraud",
    }
    assert documents[8]["complete"] is False


def test_what_is_nested_read_only_or_unvalidated_is_json_too() -> None:
    spec = Model.model_construct(name="m", description=None, tags={"a": 1})  # type: ignore[arg-type]
    endpoint = Endpoint(name="e", entities=(Entity(name="c", version="1"),))
    documents = json.loads(json_view.plan(planned(changed(None, spec), changed(None, endpoint))))
    assert [change["after"] for change in documents["changes"]] == [
        {"name": "e", "entities": [{"name": "c", "version": "1", "replicas": 1}]},
        {"name": "m", "description": None, "tags": {"a": 1}},
    ]
    record = Record(endpoint.address, endpoint.store, endpoint, Pending("id", ("app",)))
    document = json.loads(json_view.records([record]))
    assert document["records"][0]["address"] == "endpoint.e"
    assert document["records"][0]["pending"] == {"apply_id": "id", "names": ["app"]}


# --- one object


def test_an_object_shows_where_its_sides_part() -> None:
    declared, live = Alias(name="fraud", version=4), Alias(name="fraud", version=3)
    record = Record(live.address, live.store, live)
    shown = show_view.snapshots(
        live.address, declared, record, Observed(live, {"created": 5}), at=Source("f.yaml", 9, 5)
    )
    assert shown == (
        """\
alias.fraud
  declared  at f.yaml:9:5
  recorded  yes
  live      yes

Fields
  version
    declared  4
    recorded  3
    live      3

Facts
  created  5"""
    )


def test_an_object_that_is_nowhere_says_so_three_times() -> None:
    shown = show_view.snapshots(CHAMPION, None, None, None)
    assert [line.split() for line in shown.splitlines()[1:]] == [
        ["declared", "no"],
        ["recorded", "no"],
        ["live", "no"],
    ]


# --- reference


def test_kinds_are_listed_with_their_sections() -> None:
    assert reference.kinds([Model, Endpoint]) == (
        "model     models:     A model.\n"  #
        "endpoint  endpoints:  Serves models."
    )


def test_a_kind_tells_every_field_with_its_rules() -> None:
    assert reference.kind(Alias) == (
        """\
alias
  A name for a version.

  section  aliases:
  address  alias.<name>

  name  string, key, refers to model
      The model.
  version  integer, required, can't be changed in place (declare another)
      The version."""
    )
    nested = reference.kind(Endpoint)
    assert "entities  list of object" in nested
    assert "      replicas  integer, default 1\n          How many." in nested
