"""Saved plans on real databases: what was reviewed is what is done, or nothing is."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from planning.test_planfile import sealed
from support.bench import Bench, converge
from support.command import Directory, models
from support.endpoints import ENDPOINT, served_fraud
from support.fake_cluster import Paper
from support.mlflow_fixture import fresh_sqlite
from support.saved_plans import (
    GRANT,
    Where,
    applied,
    codes,
    declared,
    done,
    outside,
    refusal,
    saved,
    tables,
)

from lifecycle_as_code.cli import run
from lifecycle_as_code.kinds.model_alias import ModelAlias
from lifecycle_as_code.kinds.model_version import ModelVersion
from lifecycle_as_code.kinds.registered_model import RegisteredModel
from lifecycle_as_code.kinds.role import Role
from lifecycle_as_code.model.diagnostics import LacError
from lifecycle_as_code.model.events import Event, Finished
from lifecycle_as_code.model.plan import GUARDS, Action, Limits, Mode
from lifecycle_as_code.model.snapshot import Claim, Lifecycle, Move
from lifecycle_as_code.model.spec import Address
from lifecycle_as_code.stack import Stack


def _begin(bench: Bench) -> Bench:
    for number, name in enumerate(("ann", "bob"), 1):
        user = f"({number}, '{name}', 'x', false)"
        outside(bench, f"INSERT INTO users (id, username, password_hash, is_admin) VALUES {user}", "auth")
    converge(bench.stack(declared()))
    return bench


@pytest.fixture
def begun(bench: Bench) -> Bench:
    """With all of it applied, and a version 4 that nobody declares."""
    return _begin(bench)


@pytest.fixture
def once(tmp_path: Path) -> Bench:
    """The same on SQLite alone: for what no database has a part in."""
    return _begin(Bench(tmp_path, fresh_sqlite(tmp_path), fresh_sqlite(tmp_path, "auth")))


# --- exactly that


def test_a_saved_plan_is_carried_out_as_it_was_reviewed(begun: Bench) -> None:
    stack = begun.stack(declared(later=True))
    plan = stack.plan()
    data = stack.save_plan(plan)
    # whatever the manifests say by now
    elsewhere = begun.stack()
    assert elsewhere.read_plan(data).plan == replace(plan, steps=elsewhere.read_plan(data).plan.steps)
    events = applied(elsewhere, data)
    assert done(events) == [f"{c.action} {c.address}" for step in plan.steps for c in step.changes]
    assert isinstance(events[-1], Finished)
    assert events[-1].complete
    assert begun.stack(declared(later=True)).plan().changes == ()


@pytest.mark.any_store
def test_it_is_done_once(begun: Bench) -> None:
    data = saved(begun.stack(declared(later=True)))
    applied(begun.stack(), data)
    before = tables(begun)
    error = refusal(begun.stack(), data)
    assert codes(error) == {"plan-already-applied"}
    last = begun.stack().history()[-1]
    assert last.apply_id in error.diagnostics[0].detail
    assert "applied it on 2" in error.diagnostics[0].detail
    assert tables(begun) == before


@pytest.mark.any_store
@pytest.mark.parametrize("undone", ["rolled back", "destroyed"])
def test_it_does_not_come_back_after_it_was_undone(begun: Bench, undone: str) -> None:
    stack = begun.stack(declared(later=True))
    data = saved(stack)
    applied(begun.stack(), data)
    if undone == "rolled back":
        list(stack.apply(stack.rollback(stack.history()[-1].apply_id, allow=GUARDS).plan))
    else:
        list(stack.apply(stack.plan(destroy=True, allow=GUARDS)))
    before = tables(begun)
    assert codes(refusal(begun.stack(), data)) == {"plan-already-applied"}
    assert tables(begun) == before


def test_a_plan_that_was_never_saved_does_not_come_back_either(once: Bench) -> None:
    stack = once.stack(declared(later=True))
    plan = stack.plan(targets=["model_alias.fraud/champion"])
    list(stack.apply(plan))
    list(stack.apply(stack.rollback("model_alias.fraud/champion").plan))
    before = tables(once)
    with pytest.raises(LacError) as raised:
        list(stack.apply(plan))
    assert codes(raised.value) == {"plan-already-applied"}
    assert tables(once) == before


def test_the_same_plan_made_anew_is_another_file(begun: Bench) -> None:
    stack = begun.stack(declared(later=True))
    targets = ["model_alias.fraud/champion"]
    applied(begun.stack(), saved(stack, targets=targets))
    list(stack.apply(stack.rollback(targets[0]).plan))
    assert done(applied(begun.stack(), saved(stack, targets=targets)))


def test_it_is_refused_under_the_lock_as_well(begun: Bench) -> None:
    data = saved(begun.stack(declared(later=True)), targets=["model_alias.fraud/champion"])
    stack = begun.stack()
    both = [stack.check_plan(stack.read_plan(data)) for _ in range(2)]
    list(stack.apply(both[0]))
    list(stack.apply(stack.rollback("model_alias.fraud/champion").plan))
    with pytest.raises(LacError) as raised:
        list(stack.apply(both[1]))
    assert codes(raised.value) == {"plan-already-applied"}


def test_an_apply_that_committed_nothing_leaves_the_plan_good(begun: Bench) -> None:
    data = saved(begun.stack(declared(later=True)))
    stack = begun.stack()
    events = list(stack.apply(stack.check_plan(stack.read_plan(data)), stop=lambda: True))
    assert isinstance(events[-1], Finished)
    assert events[-1].stopped
    assert done(applied(begun.stack(), data))


def test_what_the_grants_database_alone_committed_counts(once: Bench) -> None:
    """They are two databases here. The registry's half of an interrupted apply was restored from a backup."""
    data = saved(once.stack(declared(later=True)))
    applied(once.stack(), data)
    outside(once, "DELETE FROM lac_changes")
    outside(once, "DELETE FROM lac_applies")
    assert codes(refusal(once.stack(), data)) == {"plan-already-applied"}


@pytest.mark.any_store
def test_a_plan_of_nothing_is_a_plan(begun: Bench) -> None:
    data = saved(begun.stack(declared()))
    assert begun.stack().check_plan(begun.stack().read_plan(data)).changes == ()


def test_a_first_plan_is_carried_out_on_a_store_that_knows_nothing_of_us(bench: Bench) -> None:
    specs = declared()[:6]
    data = saved(bench.stack(specs))
    assert json.loads(data)["origin"]["stores"]["registry"]["id"] == ""
    applied(bench.stack(), data)
    assert bench.stack(specs).plan().changes == ()


def test_a_first_plan_is_carried_out_after_somebody_made_the_database(tmp_path: Path) -> None:
    bench = Bench(tmp_path, f"sqlite:///{tmp_path / 'tracking.db'}")
    specs = declared()[:6]
    data = saved(bench.stack(specs))
    fresh_sqlite(tmp_path)
    # and another stack applied to it
    converge(bench.stack([RegisteredModel(name="other")], name="another"))
    applied(bench.stack(), data)
    assert bench.stack(specs).plan().changes == ()


def test_a_first_plan_makes_the_database_that_is_missing(tmp_path: Path) -> None:
    bench = Bench(tmp_path, f"sqlite:///{tmp_path / 'tracking.db'}")
    data = saved(bench.stack([RegisteredModel(name="fraud")]))
    applied(bench.stack(), data)
    assert Address("registered_model", ("fraud",)) in bench.live()


MODES: Mapping[str, tuple[Callable[[Bench], Stack], dict[str, Any]]] = {
    "destroy": (lambda bench: bench.stack(declared()), {"destroy": True}),
    "target": (lambda bench: bench.stack(declared(later=True)), {"targets": ["model_alias.*"]}),
    "exclude": (lambda bench: bench.stack(declared(later=True)), {"excludes": ["permission.*", "role.*"]}),
    "not refreshed": (lambda bench: bench.stack(declared(later=True)), {"refresh": False}),
    "nothing declared": (
        lambda bench: bench.stack(),
        {"allow": ["nothing-declared", "last-manage", "mass-deletion"]},
    ),
    "a grant in a claimed scope": (
        lambda bench: bench.stack(
            [s for s in declared() if s != GRANT],
            scopes={Address("registered_model", ("fraud",)): Claim(exclusive=False)},
        ),
        {},
    ),
    "protected from now on": (
        lambda bench: bench.stack(
            declared(later=True),
            lifecycles={s.address: Lifecycle(prevent_destroy=True) for s in declared(later=True)},
        ),
        {},
    ),
}


@pytest.mark.any_store
@pytest.mark.parametrize(("make", "asked"), MODES.values(), ids=MODES)
def test_every_sort_of_plan_can_be_saved(
    begun: Bench, make: Callable[[Bench], Stack], asked: dict[str, Any]
) -> None:
    stack = make(begun)
    plan = stack.plan(**asked)
    assert plan.differences
    applied(begun.stack(), stack.save_plan(plan))
    again = stack.plan(**{name: value for name, value in asked.items() if name != "destroy"})
    assert asked.get("destroy") or again.changes == ()


@pytest.mark.any_store
def test_a_refresh_only_plan_can_be_saved(begun: Bench) -> None:
    outside(begun, "UPDATE registered_models SET description = 'By hand.'")
    outside(begun, "DELETE FROM registered_model_aliases WHERE alias = 'old'")
    plan = begun.stack().plan(refresh_only=True)
    assert plan.mode is Mode.REFRESH_ONLY
    assert [c.action for c in plan.changes] == [Action.FORGET, Action.RECORD]
    data = begun.stack().save_plan(plan)
    applied(begun.stack(), data)
    assert begun.stack().plan(refresh_only=True).changes == ()
    assert codes(refusal(begun.stack(), data)) == {"plan-already-applied"}


def test_a_rename_can_be_saved_and_is_done_once(begun: Bench) -> None:
    before, after = (Address("registered_model", (name,)) for name in ("fraud", "payments"))
    specs = [spec.renamed(before, after) for spec in declared()]
    stack = begun.stack(specs, moves=(Move(before, after),))
    plan = stack.plan()
    assert {c.action for c in plan.changes} == {Action.MOVE}
    data = stack.save_plan(plan)
    applied(begun.stack(), data)
    assert begun.stack(specs).plan().changes == ()
    rows = tables(begun)
    assert codes(refusal(begun.stack(), data)) == {"plan-already-applied"}
    assert tables(begun) == rows


@pytest.mark.any_store
def test_what_an_import_block_takes_over_can_be_saved(begun: Bench) -> None:
    begun.stack().forget([spec.address for spec in declared()])
    stack = begun.stack(declared(later=True), imports={spec.address: None for spec in declared()})
    applied(begun.stack(), stack.save_plan(stack.plan()))
    assert begun.records().keys() >= {spec.address for spec in declared(later=True)}


@pytest.mark.any_store
def test_what_a_removed_block_forgets_can_be_saved(begun: Bench) -> None:
    gone = Address("model_alias", ("fraud", "old"))
    specs = [spec for spec in declared() if spec.address != gone]
    stack = begun.stack(specs, removals={gone: None})
    applied(begun.stack(), stack.save_plan(stack.plan()))
    assert gone in begun.live()
    assert gone not in begun.records()


# --- of which stack and store


@pytest.mark.any_store
def test_another_stacks_plan_is_refused(begun: Bench) -> None:
    data = saved(begun.stack(declared(later=True)))
    error = refusal(begun.stack(name="another"), data)
    assert codes(error) == {"another-stacks-plan"}
    assert "stack `test`, and this is `another`" in str(error)


@pytest.mark.any_store
@pytest.mark.parametrize(
    ("setting", "value", "told"),
    [("environment", "prod", "environment `none`"), ("workspace", "other", "workspace `default`")],
)
def test_a_plan_for_another_place_is_refused(begun: Bench, setting: str, value: str, told: str) -> None:
    data = saved(begun.stack(declared(later=True)))
    outside(begun, "INSERT INTO workspaces (name) VALUES ('other')")
    stack = begun.stack()
    setattr(stack.settings, setting, value)
    error = refusal(stack, data)
    assert codes(error) == {"another-stacks-plan"}
    assert told in str(error)


def test_a_store_that_was_made_anew_in_the_same_place_is_another_one(tmp_path: Path) -> None:
    bench = Bench(tmp_path, fresh_sqlite(tmp_path), fresh_sqlite(tmp_path, "auth"))
    specs = declared()[:6]
    converge(bench.stack(specs))
    data = saved(bench.stack(declared(later=True)[:6]))
    fresh_sqlite(tmp_path)
    # no records at all, and then records of its own
    assert "another registry store" in str(refusal(bench.stack(), data))
    converge(bench.stack(specs))
    assert "another registry store" in str(refusal(bench.stack(), data))


@pytest.mark.any_store
@pytest.mark.parametrize("role", ["auth", "serve"])
def test_a_store_that_lac_yaml_no_longer_names_is_another_one(begun: Bench, role: str) -> None:
    data = json.loads(saved(begun.stack(declared(later=True))))
    if role == "serve":
        data["origin"]["stores"]["serve"] = {"address": "http://ray.example"}
        assert "another serve store" in str(refusal(begun.stack(), sealed(data)))
        return
    assert "another auth store" in str(refusal(replace(begun, auth_store=None).stack(), sealed(data)))


# --- out of date

STALE: Mapping[str, tuple[Where, str, str]] = {
    "a model's description": (
        "registry",
        "UPDATE registered_models SET description = 'By hand.'",
        "registered_model.fraud: description: 'Scores payments.' → 'By hand.'",
    ),
    "a model's tag": (
        "registry",
        "UPDATE registered_model_tags SET value = 'bronze' WHERE key = 'tier'",
        "registered_model.fraud: tags.tier: 'silver' → 'bronze'",
    ),
    "a model's tag is gone": (
        "registry",
        "DELETE FROM registered_model_tags WHERE key = 'tier'",
        "registered_model.fraud: tags.tier: 'silver' → None",
    ),
    "a version's tag": (
        "registry",
        "UPDATE model_version_tags SET value = 'maybe'",
        "model_version.fraud/3: tags.ok: 'no' → 'maybe'",
    ),
    "a version is gone": (
        "registry",
        "UPDATE model_versions SET current_stage = 'Deleted_Internal' WHERE version = 3",
        "model_version.fraud/3: it is gone",
    ),
    "an alias is moved": (
        "registry",
        "UPDATE registered_model_aliases SET version = 3 WHERE alias = 'champion'",
        "model_alias.fraud/champion: version: 1 → 3",
    ),
    "an alias is gone": (
        "registry",
        "DELETE FROM registered_model_aliases WHERE alias = 'champion'",
        "model_alias.fraud/champion: it is gone",
    ),
    "an alias is there": (
        "registry",
        "INSERT INTO registered_model_aliases (name, alias, version, workspace)"
        " VALUES ('fraud', 'new', 2, 'default')",
        "model_alias.fraud/new: it exists now",
    ),
    "an alias that goes is moved": (
        "registry",
        "UPDATE registered_model_aliases SET version = 3 WHERE alias = 'old'",
        "model_alias.fraud/old: version: 1 → 3",
    ),
    "an experiment's description": (
        "registry",
        "INSERT INTO experiment_tags (key, value, experiment_id) SELECT 'mlflow.note.content', 'By hand.',"
        " experiment_id FROM experiments WHERE name = 'nightly'",
        "experiment.nightly: description: '' → 'By hand.'",
    ),
    "an experiment is there": (
        "registry",
        "INSERT INTO experiments (name, artifact_location, lifecycle_stage, workspace)"
        " VALUES ('weekly', 's3://weekly', 'active', 'default')",
        "experiment.weekly: it exists now",
    ),
    "a role's description": (
        "auth",
        "UPDATE roles SET description = 'By hand.' WHERE name = 'analysts'",
        "role.analysts: description: '' → 'By hand.'",
    ),
    "a role's members": (
        "auth",
        "INSERT INTO user_role_assignments (user_id, role_id) SELECT 2, id FROM roles",
        "role.analysts: members: None → 'bob'",
    ),
    "a grant": (
        "auth",
        "UPDATE role_permissions SET permission = 'MANAGE'",
        "permission.analysts/registered_model/fraud: level: 'READ' → 'MANAGE'",
    ),
    "a grant is gone": (
        "auth",
        "DELETE FROM role_permissions",
        "permission.analysts/registered_model/fraud: it is gone",
    ),
}


@pytest.mark.any_store
@pytest.mark.parametrize(("where", "statement", "told"), STALE.values(), ids=STALE)
def test_what_moved_since_is_named_and_nothing_is_written(
    begun: Bench, where: Where, statement: str, told: str
) -> None:
    stack = begun.stack(declared(later=True))
    plan = stack.plan()
    data = stack.save_plan(plan)
    outside(begun, statement, where)
    before = tables(begun)
    # found before anything is begun, and again under the lock, should it move in the last moment
    for attempt in (lambda: applied(begun.stack(), data), lambda: list(begun.stack().apply(plan))):
        with pytest.raises(LacError) as caught:
            attempt()
        (problem,) = caught.value.diagnostics
        assert problem.code == "stale-plan"
        assert problem.detail.splitlines()[1:] == [told]
        assert tables(begun) == before
    assert begun.stack().history()[-1].outcome == "refused"


def test_what_mlflow_moves_is_seen(begun: Bench) -> None:
    data = saved(begun.stack(declared(later=True)))
    client = MlflowClient(begun.store, begun.store)
    client.set_registered_model_alias("fraud", "champion", "3")
    before = tables(begun)
    assert "model_alias.fraud/champion: version: 1 → 3" in str(refusal(begun.stack(), data))
    client.set_registered_model_alias("fraud", "champion", "1")
    client.delete_registered_model_alias("fraud", "old")
    assert "model_alias.fraud/old: it is gone" in str(refusal(begun.stack(), data))
    client.set_registered_model_alias("fraud", "old", "1")
    assert tables(begun) != before, "MLflow notes when"
    assert done(applied(begun.stack(), data))


@pytest.mark.any_store
def test_others_may_move_meanwhile(begun: Bench) -> None:
    data = saved(begun.stack(declared(later=True), name="test"), targets=["model_alias.fraud/champion"])
    outside(begun, "UPDATE registered_models SET description = 'By hand.'")
    outside(begun, "UPDATE role_permissions SET permission = 'MANAGE'", "auth")
    outside(begun, "DELETE FROM registered_model_aliases WHERE alias = 'old'")
    converge(begun.stack([RegisteredModel(name="other")], name="another"))
    assert done(applied(begun.stack(), data)) == ["update model_alias.fraud/champion"]


def test_of_two_plans_that_move_one_alias_the_second_is_refused(begun: Bench) -> None:
    mine, theirs = (
        saved(begun.stack([s if s != CHAMPION else s.model_copy(update={"version": v}) for s in declared()]))
        for v in (2, 3)
    )
    applied(begun.stack(), mine)
    before = tables(begun)
    assert "model_alias.fraud/champion: version: 1 → 2" in str(refusal(begun.stack(), theirs))
    assert tables(begun) == before


CHAMPION = ModelAlias(model="fraud", alias="champion", version=1)


@pytest.mark.any_store
@pytest.mark.parametrize("late", [False, True], ids=["before", "in the last moment"])
@pytest.mark.parametrize("taken", [False, True], ids=["forgotten", "taken over"])
def test_what_is_no_longer_this_stacks_is_left_alone(begun: Bench, taken: bool, late: bool) -> None:
    stack = begun.stack(declared(later=True))
    plan = stack.plan(targets=["model_alias.fraud/champion"])
    data = stack.save_plan(plan)
    if taken:
        begun.stack(name="another").import_objects([CHAMPION.address], take_over=True)
    else:
        begun.stack().forget([CHAMPION.address])
    before = tables(begun)
    with pytest.raises(LacError) as caught:
        _ = list(begun.stack().apply(plan)) if late else applied(begun.stack(), data)
    told = "stack `another` owns it now" if taken else "this stack has no record of it any more"
    assert f"model_alias.fraud/champion: {told}" in str(caught.value)
    assert codes(caught.value) == {"stale-plan"}
    assert tables(begun) == before


# --- altered, and sealed anew


def with_key(bench: Bench, key: str) -> Bench:
    return replace(bench, environ={"LAC_PLAN_KEY": key})


@pytest.mark.any_store
def test_with_a_key_an_edit_is_refused_and_without_one_a_consistent_edit_is_the_documented_limit(
    begun: Bench,
) -> None:
    stack = with_key(begun, "k").stack(declared(later=True))
    held = json.loads(saved(stack, targets=["model_alias.fraud/champion"]))
    (promotion,) = held["plan"]["changes"]
    promotion["after"]["version"] = promotion["fields"][0]["after"] = 3
    assert codes(refusal(with_key(begun, "k").stack(), sealed(held, b"a guess"))) == {"plan-altered"}
    assert codes(refusal(with_key(begun, "k").stack(), sealed(held))) == {"plan-unsigned"}
    assert codes(refusal(begun.stack(), sealed(held, b"a guess"))) == {"plan-key-missing"}
    assert done(applied(begun.stack(), sealed(held))) == ["update model_alias.fraud/champion"]


@pytest.mark.any_store
@pytest.mark.parametrize("key", ["k", "k\udcff"], ids=["text", "bytes"])
def test_a_signed_plan_is_carried_out_where_the_key_is(begun: Bench, key: str) -> None:
    data = saved(with_key(begun, key).stack(declared(later=True)))
    assert codes(refusal(begun.stack(), data)) == {"plan-key-missing"}
    assert codes(refusal(with_key(begun, "other").stack(), data)) == {"plan-altered"}
    assert done(applied(with_key(begun, key).stack(), data))


def forged(bench: Bench, edit: Callable[[dict[str, Any]], None], stack: Stack, **asked: Any) -> LacError:
    """The refusal of a plan that was edited such that its own parts agree; nothing is written."""
    held = json.loads(saved(stack, **asked))
    edit(held["plan"])
    plan = held["plan"]
    plan["summary"] = {
        **{action: sum(c["action"] == action for c in plan["changes"]) for action in Action},
        "difference": any(c["action"] not in ("record", "forget") for c in plan["changes"]),
    }
    before = tables(bench)
    error = refusal(bench.stack(), sealed(held))
    assert tables(bench) == before
    return error


def deletion(address: str, kind: str, before: Mapping[str, Any], **said: Any) -> dict[str, Any]:
    sides = {"before": dict(before), "after": None, "fields": [], "waits_for": [], "moved_from": None}
    return {
        "address": address,
        "kind": kind,
        "action": "delete",
        "reason": "no longer declared",
        **sides,
        "protected": False,
        "at": None,
        **said,
    }


def only(plan: dict[str, Any], *changes: dict[str, Any]) -> None:
    """One switch with just these changes."""
    plan["changes"] = list(changes)
    for step in plan["steps"]:
        step["changes"] = [change["address"] for change in changes]


OTHERS = [RegisteredModel(name="other"), ModelVersion(model="other", version=1, source="s3://other/1")]
STRANGE = ModelAlias(model="other", alias="live", version=1)


@pytest.fixture
def shared(begun: Bench) -> Bench:
    """With a model of another stack beside it, and an alias of nobody's."""
    converge(begun.stack(OTHERS, name="another"))
    outside(
        begun,
        "INSERT INTO registered_model_aliases (name, alias, version, workspace)"
        " VALUES ('other', 'live', 1, 'default')",
    )
    return begun


PART = {"targets": ["model_alias.fraud/champion"]}


@pytest.mark.any_store
def test_a_deletion_of_what_is_nobodys_does_not_follow(shared: Bench) -> None:
    gone = deletion(str(STRANGE.address), "model_alias", {"model": "other", "alias": "live", "version": 1})
    error = forged(shared, lambda plan: only(plan, gone), shared.stack(declared(later=True)), **PART)
    assert codes(error) <= {"plan-mismatch", "stale-plan"}
    assert str(STRANGE.address) in str(error)


@pytest.mark.any_store
def test_a_deletion_of_another_stacks_object_does_not_follow(shared: Bench) -> None:
    spec = {"model": "other", "version": 1, "source": "s3://other/1", "storage_location": "s3://other/1"}
    whole = {**spec, "run_id": None, "description": "", "tags": {}, "stage": "None"}
    gone = deletion("model_version.other/1", "model_version", whole)
    error = forged(shared, lambda plan: only(plan, gone), shared.stack(declared(later=True)), **PART)
    assert codes(error) == {"stale-plan"}
    assert "stack `another` owns it now" in str(error)


@pytest.mark.any_store
def test_an_update_of_another_stacks_object_does_not_follow(shared: Bench) -> None:
    def edit(plan: dict[str, Any]) -> None:
        (change,) = plan["changes"]
        change["address"] = "registered_model.other"
        change["kind"] = "registered_model"
        change["before"] = {"name": "other", "description": "", "tags": {}}
        change["after"] = {"name": "other", "description": "Mine.", "tags": {}}
        change["fields"] = [{"path": ["description"], "before": "", "after": "Mine."}]
        only(plan, change)

    error = forged(shared, edit, shared.stack(declared(later=True)), **PART)
    assert codes(error) == {"stale-plan"}
    assert "stack `another` owns it now" in str(error)


def test_a_before_that_is_not_live_is_out_of_date(once: Bench) -> None:
    def edit(plan: dict[str, Any]) -> None:
        change = plan["changes"][0]
        change["before"]["version"] = change["fields"][0]["before"] = 3

    error = forged(once, edit, once.stack(declared(later=True)), **PART)
    assert "model_alias.fraud/champion: version: 3 → 1" in str(error)


def test_a_version_that_is_not_the_next_one_does_not_follow(once: Bench) -> None:
    fourth = ModelVersion(model="fraud", version=4, source="s3://fraud/4")

    def edit(plan: dict[str, Any]) -> None:
        (change,) = plan["changes"]
        change["address"] = "model_version.fraud/9"
        change["after"]["version"] = 9
        only(plan, change)

    error = forged(once, edit, once.stack([*declared(), fourth]))
    assert codes(error) == {"not-the-next-version"}


def test_where_a_versions_files_are_follows_from_its_source(once: Bench) -> None:
    fourth = ModelVersion(model="fraud", version=4, source="s3://fraud/4")

    def edit(plan: dict[str, Any]) -> None:
        plan["changes"][0]["after"]["storage_location"] = "s3://elsewhere/4"

    error = forged(once, edit, once.stack([*declared(), fourth]))
    assert codes(error) == {"plan-mismatch"}
    assert "model_version.fraud/4" in str(error)


def test_a_reference_to_nothing_does_not_follow(once: Bench) -> None:
    def edit(plan: dict[str, Any]) -> None:
        change = plan["changes"][0]
        change["after"]["version"] = change["fields"][0]["after"] = 8

    assert codes(forged(once, edit, once.stack(declared(later=True)), **PART)) == {"missing-reference"}


def test_a_field_that_the_store_cannot_change_does_not_follow(once: Bench) -> None:
    def edit(plan: dict[str, Any]) -> None:
        (change,) = plan["changes"]
        change["after"]["source"] = "s3://elsewhere/3"
        change["fields"] = [
            {"path": ["source"], "before": "s3://fraud/3", "after": "s3://elsewhere/3"},
            *change["fields"],
        ]

    stack = once.stack(declared(later=True))
    error = forged(once, edit, stack, targets=["model_version.fraud/3"])
    assert codes(error) <= {"immutable-field", "source-not-found", "plan-mismatch"}


def test_a_destroy_that_makes_something_does_not_follow(once: Bench) -> None:
    def edit(plan: dict[str, Any]) -> None:
        plan["mode"] = "destroy"

    assert codes(forged(once, edit, once.stack(declared(later=True)), **PART)) == {"plan-mismatch"}


def test_protection_outlives_a_plan_that_was_altered(once: Bench) -> None:
    marked = {spec.address: Lifecycle(prevent_destroy=True) for spec in declared()}
    converge(once.stack(declared(), lifecycles=marked))
    stack = once.stack([s for s in declared() if s.address != OLD.address])
    with pytest.raises(LacError, match="--allow=protected"):
        stack.plan()

    def edit(plan: dict[str, Any]) -> None:
        plan["guards"] = []

    assert codes(forged(once, edit, stack, allow=["protected"])) == {"protected"}


OLD = ModelAlias(model="fraud", alias="old", version=1)


@pytest.mark.any_store
def test_the_limits_of_today_hold_for_a_plan_of_yesterday(begun: Bench) -> None:
    stack = begun.stack([s for s in declared() if s.address.kind != "model_alias"])
    data = saved(stack)
    before = tables(begun)
    strict = replace(begun, limits=Limits(share=0.0, count=1))
    assert codes(refusal(strict.stack(), data)) == {"mass-deletion"}
    assert tables(begun) == before
    assert done(applied(begun.stack(), data))


@pytest.mark.any_store
def test_a_guard_that_was_let_through_when_planning_stays_let_through(begun: Bench) -> None:
    strict = replace(begun, limits=Limits(share=0.0, count=1))
    stack = strict.stack([s for s in declared() if s.address.kind != "model_alias"])
    data = saved(stack, allow=["mass-deletion"])
    assert json.loads(data)["plan"]["guards"][0]["guard"] == "mass-deletion"
    assert done(applied(strict.stack(), data))


@pytest.mark.any_store
def test_the_last_manage_is_kept_from_a_plan_that_was_altered(begun: Bench) -> None:
    managed = [GRANT.model_copy(update={"level": "MANAGE"}) if s == GRANT else s for s in declared()]
    converge(begun.stack(managed))
    data = saved(begun.stack(declared()), allow=["last-manage"])
    held = json.loads(data)
    held["plan"]["guards"] = []
    before = tables(begun)
    assert codes(refusal(begun.stack(), sealed(held))) == {"last-manage"}
    assert tables(begun) == before
    assert done(applied(begun.stack(), data))


@pytest.mark.any_store
def test_who_became_the_last_to_manage_since_is_asked_again(begun: Bench) -> None:
    """Another role's grant went meanwhile: the plan didn't look like taking the last one."""
    second = GRANT.model_copy(update={"role": "ops", "level": "MANAGE"})
    both = [Role(name="ops", members=("bob",)), second]
    managed = [GRANT.model_copy(update={"level": "MANAGE"}) if s == GRANT else s for s in declared()]
    converge(begun.stack([*managed, *both]))
    data = saved(begun.stack([*declared(), *both]))
    outside(
        begun,
        "DELETE FROM role_permissions WHERE role_id = (SELECT id FROM roles WHERE name = 'ops')",
        "auth",
    )
    assert codes(refusal(begun.stack(), data)) == {"last-manage"}


def test_a_move_from_somewhere_else_does_not_follow(once: Bench) -> None:
    before, after = (Address("registered_model", (name,)) for name in ("fraud", "payments"))
    specs = [spec.renamed(before, after) for spec in declared()]

    def edit(plan: dict[str, Any]) -> None:
        plan["changes"] = [c for c in plan["changes"] if c["kind"] != "model_alias"]
        for change in plan["changes"]:
            change["waits_for"] = [name for name in change["waits_for"] if "model_alias" not in name]
        (step, *_) = plan["steps"]
        step["changes"] = [name for name in step["changes"] if "model_alias" not in name]

    error = forged(once, edit, once.stack(specs, moves=(Move(before, after),)))
    assert codes(error) == {"plan-mismatch"}
    assert "model_alias.payments/champion: not in the file, move now" in str(error)


# --- the command


def test_the_command_asks_nobody_and_does_exactly_what_was_saved(tmp_path: Path) -> None:
    stack = Directory(tmp_path / "stack").settings(fresh_sqlite(tmp_path)).declare(models(2))
    file = str(tmp_path / "a plan")
    assert "Saved the plan to" in stack.lac("plan", "-o", file).stderr
    stack.declare(models(3, text="Anew."))
    found = stack.lac("apply", file)
    assert "The manifests have changed" in found.stderr
    assert "Apply complete: 6 created" in found.stdout
    # broken manifests and no manifests at all are none of its business either
    for manifest in ("- [", None):
        (stack.path / "models.yaml").unlink() if manifest is None else stack.declare(manifest)
        assert "error[plan-already-applied]" in stack.lac("apply", file, expect=1).stderr
        assert "2 to create" not in stack.lac("show", file, "--json").stderr


@pytest.mark.parametrize(
    "option",
    [
        ["--destroy"],
        ["--target", "a.b"],
        ["--exclude", "a.b"],
        ["--allow", "protected"],
        ["--refresh-only"],
        ["--refresh=false"],
    ],
    ids=lambda option: option[0],
)
def test_no_other_option_goes_with_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: list[str]
) -> None:
    """Whether or not there is such a file: nothing is read for it."""
    assert run(["-C", str(tmp_path), "apply", "a.plan", *option]) == 1
    assert "error[usage]" in capsys.readouterr().err


def test_a_plan_names_its_environment(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = fresh_sqlite(tmp_path)
    (tmp_path / "lac.yaml").write_text(
        f"name: test\nstore: {store}\nenvironments: {{prod: {{}}, dev: {{}}}}\n"
    )
    (tmp_path / "models.yaml").write_text(models(1))
    here, file = ["-C", str(tmp_path)], str(tmp_path / "a.plan")
    assert run([*here, "plan", "-e", "prod", "-o", file]) == 0
    assert run([*here, "apply", "-e", "dev", file]) == 1
    assert "The plan is for environment `prod`, and this is `dev`." in capsys.readouterr().err
    assert run([*here, "apply", file, "--json"]) == 0
    first, *_, end = map(json.loads, capsys.readouterr().out.splitlines())
    assert first["plan"]["environment"] == "prod"
    assert (end["type"], end["complete"], end["done"]) == ("finished", True, 3)
    assert run([*here, "history", "-e", "prod"]) == 0
    assert " in prod" in capsys.readouterr().out
    # one that names none isn't for the environment that somebody chose meanwhile
    assert run([*here, "plan", "-o", file]) == 0
    assert run([*here, "apply", "-e", "prod", file]) == 1
    assert "The plan is for environment `none`" in capsys.readouterr().err


@pytest.mark.parametrize("what", ["nowhere", "a directory", "a FIFO", "nothing", "another file"])
def test_what_is_no_plan_is_refused_by_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], what: str
) -> None:
    (tmp_path / "lac.yaml").write_text(f"name: test\nstore: {fresh_sqlite(tmp_path)}\n")
    path = tmp_path / "a.plan"
    match what:
        case "a directory":
            path.mkdir()
        case "a FIFO":
            os.mkfifo(path)
        case "nothing":
            path.touch()
        case "another file":
            path = tmp_path / "lac.yaml"
    assert run(["-C", str(tmp_path), "apply", str(path)]) == 1
    code = "bad-plan-file" if what in ("nothing", "another file") else "unreadable-file"
    assert f"error[{code}]" in capsys.readouterr().err


MOMENTS = {
    "yesterday": False,
    "": False,
    "2026-13-01": False,
    "2026-11-24T25:00": False,
    "1": False,
    "2026-11-24 10:00 UTC": False,
    "0001-01-01T00:00:00+14:00": True,
    "9999-12-31T23:59:59-14:00": True,
    "2026-11-24": True,
    "2026-11-24T10:00Z": True,
    "2026-11-24T10:00+02:00": True,
}


@pytest.mark.parametrize(("moment", "good"), MOMENTS.items(), ids=repr)
def test_a_time_that_is_none_is_a_usage_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], moment: str, good: bool
) -> None:
    (tmp_path / "lac.yaml").write_text(f"name: test\nstore: {fresh_sqlite(tmp_path)}\n")
    assert run(["-C", str(tmp_path), "show", "--at", moment]) == 1
    assert ("error[usage]" in capsys.readouterr().err) is not good


# --- during a rollout


def moved_during(
    monkeypatch: pytest.MonkeyPatch,
    cluster: Paper,
    bench: Bench,
    statement: str,
    *,
    where: Where = "registry",
) -> None:
    """Somebody runs `statement` while the first probe of what comes up is answered."""
    probe = cluster.probe
    left = [statement]

    def probing(*args: Any, **said: Any) -> str | None:
        if left:
            outside(bench, left.pop(), where)
        return probe(*args, **said)

    monkeypatch.setattr(cluster, "probe", probing)


def test_a_move_during_the_rollout_is_refused_in_the_switch(
    monkeypatch: pytest.MonkeyPatch,
    paper: Paper,
    served: Bench,
) -> None:
    converge(served.stack(served_fraud(1)))
    apps = dict(paper.apps)
    fourth = ModelVersion(model="fraud", version=4, source="/good/4")
    stack = served.stack([*served_fraud(2), fourth])
    data = stack.save_plan(stack.plan())
    moved_during(
        monkeypatch,
        paper,
        served,
        "UPDATE registered_model_aliases SET version = 3 WHERE alias = 'champion'",
    )
    told: list[Event] = []
    elsewhere = served.stack()
    reviewed = elsewhere.check_plan(elsewhere.read_plan(data))
    with pytest.raises(LacError) as caught:
        told.extend(elsewhere.apply(reviewed))
    assert codes(caught.value) == {"stale-plan"}
    assert "model_alias.fraud/champion: version: 1 → 3" in str(caught.value)
    # what was prepared stays, is recorded, and was told
    assert done(told) == ["create model_version.fraud/4"]
    assert fourth.address in served.records()
    assert served.live()[CHAMPION.address].spec == CHAMPION.model_copy(update={"version": 3})
    # traffic is where it was, and nothing is left up
    assert paper.apps == apps
    assert served.records()[ENDPOINT].pending is None
    (last, *_) = reversed(served.stack().history())
    assert last.outcome == "partial"
    assert [str(line.address) for line in last.lines] == ["model_version.fraud/4"]
    left = {str(c.address): c.reason for c in served.stack([*served_fraud(2), fourth]).plan().changes}
    assert left == {
        "model_alias.fraud/champion": "changed outside",
        "serving_endpoint.fraud": "follows model_alias.fraud/champion",
    }


@pytest.mark.any_store
def test_what_an_endpoint_serves_follows_from_its_alias(
    paper: Paper,  # noqa: ARG001 - the cluster it is about
    served: Bench,
) -> None:
    converge(served.stack(served_fraud(1)))

    def edit(plan: dict[str, Any]) -> None:
        (endpoint,) = (c for c in plan["changes"] if c["kind"] == "serving_endpoint")
        entity = endpoint["after"]["served_entities"][0]
        entity["environment_vars"] = {}
        entity["location"] = "/bad/3"
        for field in endpoint["fields"]:
            if field["path"][-1] == "location":
                field["after"] = "/bad/3"

    error = forged(served, edit, served.stack(served_fraud(2)))
    assert codes(error) == {"plan-mismatch"}
    assert "serving_endpoint.fraud" in str(error)


@pytest.mark.any_store
def test_an_endpoint_that_changed_since_is_out_of_date(
    paper: Paper,
    served: Bench,
) -> None:
    converge(served.stack(served_fraud(1)))
    data = saved(served.stack(served_fraud(2)))
    paper.broken.add("lac.fraud")
    assert "serving_endpoint.fraud: " in str(refusal(served.stack(), data))
    paper.broken.clear()
    assert done(applied(served.stack(), data))
