"""Why an object is planned as it is: a sentence for each row of the decision table, and what they rest on."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from support.bench import Bench, converge
from support.mlflow_fixture import fresh_sqlite

from lifecycle_as_code.kinds.model_alias import ModelAlias
from lifecycle_as_code.kinds.model_version import ModelVersion
from lifecycle_as_code.kinds.registered_model import RegisteredModel
from lifecycle_as_code.model.diagnostics import Diagnostic
from lifecycle_as_code.model.plan import Change
from lifecycle_as_code.model.review import Choice
from lifecycle_as_code.model.selector import VersionSelector
from lifecycle_as_code.model.snapshot import Desired, Lifecycle, Live, Observed, Pending, Record, Recorded
from lifecycle_as_code.model.spec import Address, Spec
from lifecycle_as_code.planning.decision import decide
from lifecycle_as_code.planning.explanation import explain_change
from lifecycle_as_code.planning.planner import make_plan

RISK = RegisteredModel(name="fraud", description="Of the risk team.")
SHOP = RegisteredModel(name="fraud", description="Of the shop.")
FRAUD = RISK.address
APPLYING = Pending("an-apply")


@pytest.mark.parametrize(
    ("wanted", "last", "pending", "there", "why"),
    [
        (RISK, None, None, None, "It is declared, not recorded and not live, so it is created"),
        (RISK, RISK, None, None, "deleted outside lac, so it is created again"),
        (RISK, None, APPLYING, None, "An apply was interrupted while changing it"),
        (RISK, SHOP, None, SHOP, "the manifest has changed since"),
        (RISK, RISK, None, SHOP, "it was changed outside lac"),
        (RISK, SHOP, APPLYING, SHOP, "An apply was interrupted while changing it"),
        (RISK, SHOP, None, RISK, "only lac's record is updated"),
        (RISK, RISK, None, RISK, "desired, recorded and live state are equal"),
        (None, RISK, None, RISK, "no manifest declares it any more, so it is deleted"),
        (None, RISK, None, None, "neither declared nor live; only lac's record is removed"),
        (None, None, None, RISK, "neither declared nor recorded, so lac leaves it alone"),
        (None, None, None, None, "It doesn't exist: not declared, not recorded, not live"),
    ],
)
def test_each_row_of_the_table_has_its_sentence(
    wanted: Spec | None, last: Spec | None, pending: Pending | None, there: Spec | None, why: str
) -> None:
    record = Record(FRAUD, RISK.store, last, pending) if last or pending else None
    seen = Observed(there) if there else None
    change = None
    if wanted or record:
        desired = Desired({FRAUD: wanted} if wanted else {})
        recorded = Recorded({FRAUD: record} if record else {})
        change = decide(FRAUD, desired, recorded, Live({FRAUD: seen} if seen else {}))
        assert not isinstance(change, Diagnostic)
    assert why in explain_change(FRAUD, wanted, record, seen, change, ()).why


def test_a_field_differs_where_the_plan_changes_it() -> None:
    for before, after in ((None, RISK), (RISK, None)):
        record = Record(FRAUD, RISK.store, before) if before else None
        seen = Observed(before) if before else None
        change = decide(
            FRAUD,
            Desired({FRAUD: after} if after else {}),
            Recorded({FRAUD: record} if record else {}),
            Live({FRAUD: seen} if seen else {}),
        )
        assert isinstance(change, Change)
        assert [f.differs for f in explain_change(FRAUD, after, record, seen, change, ()).fields] == [True]
    settled = explain_change(FRAUD, RISK, Record(FRAUD, RISK.store, RISK), Observed(RISK), None, ())
    assert [f.differs for f in settled.fields] == [False]


def test_what_is_deleted_is_not_live_though_its_name_is_taken() -> None:
    found = explain_change(FRAUD, RISK, None, Observed(SHOP, tombstone=True), None, ())
    assert not found.live
    assert [f.live for f in found.fields] == [None]


def test_what_the_manifest_leaves_as_it_is_is_not_said_to_agree() -> None:
    record, seen = Record(FRAUD, RISK.store, RISK), Observed(SHOP)
    told = explain_change(FRAUD, RISK, record, seen, None, (), ignored=("description",)).why
    assert told == "Nothing is planned: the manifest's `ignore_changes` covers all differences."
    agreeing = explain_change(FRAUD, RISK, record, Observed(RISK), None, (), ignored=("description",)).why
    assert agreeing == "Nothing is planned: desired, recorded and live state are equal."


def test_a_selector_is_told_apart_from_an_edit() -> None:
    before, after = (ModelAlias(model="fraud", alias="champion", version=v) for v in (1, 2))
    here = after.address
    choice = Choice(here, "version", "{latest: true}", 2, ((1, "older than 2"),))
    record, seen = Record(here, before.store, before), Observed(before)
    versions = [ModelVersion(model="fraud", version=v, source=f"/m/{v}") for v in (1, 2)]
    live = Live({s.address: Observed(s) for s in (RISK, *versions)} | {here: seen})
    plan = make_plan(Desired({here: after}, choices=(choice,)), Recorded({here: record}), live, stack="test")
    (change,) = plan.changes
    found = explain_change(here, after, record, seen, change, (), choices=(choice,))
    assert "selector now chooses another version" in found.why
    assert found.choices == (choice,)
    assert explain_change(FRAUD, RISK, None, None, None, (), choices=(choice,)).choices == ()


def test_a_stack_looks_for_what_nobody_declared_and_knows_what_is_selected_and_ignored(
    tmp_path: Path,
) -> None:
    bench = Bench(tmp_path, fresh_sqlite(tmp_path))
    champion = ModelAlias(model="fraud", alias="champion", version=VersionSelector(latest=True))
    version = ModelVersion(model="fraud", version=1, source="/m/1")
    stack = bench.stack([RISK, version, champion])
    converge(stack)
    with closing(sqlite3.connect(tmp_path / "tracking.db")) as db, db:
        db.execute("INSERT INTO registered_models (name, workspace) VALUES ('churn', 'default')")
    assert "so lac leaves it alone" in stack.explain(Address("registered_model", ("churn",))).why
    assert "It doesn't exist" in stack.explain(Address("registered_model", ("shop",))).why
    (choice,) = stack.explain(champion.address).choices
    assert (choice.selector, choice.version) == ("{latest: true}", 1)
    leaving = bench.stack([SHOP, version, champion], lifecycles={FRAUD: Lifecycle(None, ("description",))})
    assert "ignore_changes" in leaving.explain(FRAUD).why
