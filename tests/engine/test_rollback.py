"""Rollbacks: plans that restore what was, on both stores, and manifests that agree with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.bench import Bench, converge
from support.endpoints import ENDPOINT, served_fraud
from support.history import CHAMPION, FRAUD, MODEL, alias
from support.mlflow_fixture import fresh_sqlite
from support.saved_plans import applied, done, outside, refusal, tables

from lifecycle_as_code.kinds.model_version import ModelVersion
from lifecycle_as_code.kinds.registered_model import RegisteredModel
from lifecycle_as_code.model.diagnostics import LacError
from lifecycle_as_code.model.plan import Limits, Mode
from lifecycle_as_code.model.snapshot import Lifecycle
from lifecycle_as_code.model.spec import Spec
from lifecycle_as_code.stack import Stack
from lifecycle_as_code.stores.ray.apps import primary_args


def rolled_back(bench: Bench, what: str, *, allow: Sequence[str] = ()) -> list[str]:
    """Plan it, save it, carry it out; then there is nothing left to roll back to."""
    stack = bench.stack()
    plan = stack.rollback(what, allow=allow).plan
    assert plan.mode is Mode.ROLLBACK
    # what only follows an alias follows it back
    assert all(c.reason.startswith(("as before apply ", "follows ")) for c in plan.differences)
    found = done(applied(stack, stack.save_plan(plan)))
    last = bench.stack().history()[-1]
    assert (last.command, last.outcome) == ("rollback", "complete")
    assert {line.reason for line in last.lines} == {change.reason for change in plan.changes}
    return found


def refused(bench: Bench, what: str, code: str) -> str:
    before = tables(bench)
    with pytest.raises(LacError) as caught:
        bench.stack().rollback(what)
    assert {problem.code for problem in caught.value.diagnostics} == {code}
    assert tables(bench) == before
    return str(caught.value)


def ids(bench: Bench) -> list[str]:
    return [apply.apply_id for apply in bench.stack().history()]


@pytest.fixture
def promoted(bench: Bench) -> Bench:
    """A model whose champion was moved from version 1 to version 2."""
    for champion in (1, 2):
        converge(bench.stack([*MODEL, alias(champion)]))
    return bench


@pytest.mark.any_store
@pytest.mark.parametrize("by", ["apply", "its first characters", "address"])
def test_a_promotion_is_undone(promoted: Bench, by: str) -> None:
    apply_id = ids(promoted)[-1]
    what = {"apply": apply_id, "its first characters": apply_id[:8]}.get(by, str(CHAMPION))
    assert rolled_back(promoted, what) == [f"update {CHAMPION}"]
    assert promoted.live()[CHAMPION].spec == alias(1)
    assert promoted.stack([*MODEL, alias(1)]).plan().changes == ()


def test_a_rollback_is_rolled_back(promoted: Bench) -> None:
    for version in (1, 2, 1):
        rolled_back(promoted, ids(promoted)[-1])
        assert promoted.live()[CHAMPION].spec == alias(version)


def test_tags_and_descriptions_come_back_and_others_stay(bench: Bench) -> None:
    before = RegisteredModel(
        name="fraud", description="Scores payments.", tags={"team": "risk", "tier": "gold"}
    )
    after = RegisteredModel(name="fraud", description="Scores cards.", tags={"team": "shop", "new": "yes"})
    converge(bench.stack([before]))
    outside(
        bench,
        "INSERT INTO registered_model_tags (name, key, value, workspace)"
        " VALUES ('fraud', 'theirs', 'x', 'default')",
    )
    converge(bench.stack([after]))
    assert rolled_back(bench, ids(bench)[-1]) == ["update registered_model.fraud"]
    live = bench.live()[FRAUD.address].spec
    assert live == before.model_copy(update={"tags": {**before.tags, "theirs": "x"}})
    assert bench.stack([before]).plan().changes == ()


def test_an_alias_that_was_deleted_is_made_again(promoted: Bench) -> None:
    converge(promoted.stack(MODEL))
    assert rolled_back(promoted, str(CHAMPION)) == [f"create {CHAMPION}"]
    assert promoted.live()[CHAMPION].spec == alias(2)
    assert promoted.stack([*MODEL, alias(2)]).plan().changes == ()


def test_what_was_made_is_deleted(bench: Bench) -> None:
    converge(bench.stack(MODEL))
    converge(bench.stack([*MODEL, alias(1), alias(2, "shadow")]))
    assert sorted(rolled_back(bench, ids(bench)[-1])) == [
        f"delete {CHAMPION}",
        "delete model_alias.fraud/shadow",
    ]
    assert bench.stack(MODEL).plan().changes == ()


@pytest.mark.any_store
def test_guards_stand_before_a_rollback_too(bench: Bench) -> None:
    bench = replace(bench, limits=Limits(share=0.0, count=1))
    converge(bench.stack(MODEL))
    marked = {CHAMPION: Lifecycle(prevent_destroy=True)}
    converge(bench.stack([*MODEL, alias(1), alias(2, "shadow")], lifecycles=marked))
    before = tables(bench)
    with pytest.raises(LacError) as caught:
        bench.stack().rollback(ids(bench)[-1])
    assert {problem.code for problem in caught.value.diagnostics} == {"protected", "mass-deletion"}
    assert tables(bench) == before
    assert len(rolled_back(bench, ids(bench)[-1], allow=["protected", "mass-deletion"])) == 2


@pytest.mark.any_store
def test_a_version_that_somebody_points_at_is_not_deleted(bench: Bench) -> None:
    converge(bench.stack(MODEL))
    third = ModelVersion(model="fraud", version=3, source="s3://fraud/3")
    converge(bench.stack([*MODEL, third]))
    outside(
        bench,
        "INSERT INTO registered_model_aliases (name, alias, version, workspace)"
        " VALUES ('fraud', 'theirs', 3, 'default')",
    )
    assert "model_alias.fraud/theirs" in refused(bench, ids(bench)[-1], "still-used")


@pytest.mark.any_store
def test_a_version_that_was_deleted_cannot_come_back(bench: Bench) -> None:
    converge(bench.stack(MODEL))
    converge(bench.stack(MODEL[:-1]))
    told = refused(bench, ids(bench)[-1], "cannot-be-made-again")
    assert "model_version.fraud/2" in told
    assert refused(bench, "model_version.fraud/2", "cannot-be-made-again")


@pytest.mark.any_store
def test_what_a_later_apply_changed_again_is_named(promoted: Bench) -> None:
    first, second = ids(promoted)
    told = refused(promoted, first, "changed-since")
    assert f"{CHAMPION}: by apply {second[:8]}" in told
    assert f"lac rollback '{CHAMPION}'" in told


@pytest.mark.any_store
def test_what_somebody_else_moved_since_is_shown_and_put_back(promoted: Bench) -> None:
    outside(promoted, "DELETE FROM registered_model_aliases")
    assert rolled_back(promoted, str(CHAMPION)) == [f"create {CHAMPION}"]
    assert promoted.live()[CHAMPION].spec == alias(1)


@pytest.mark.any_store
def test_what_is_so_already_is_only_recorded(promoted: Bench) -> None:
    outside(promoted, "UPDATE registered_model_aliases SET version = 1")
    assert rolled_back(promoted, str(CHAMPION)) == [f"record {CHAMPION}"]


@pytest.mark.any_store
@pytest.mark.parametrize("taken", [False, True], ids=["forgotten", "taken over"])
@pytest.mark.parametrize("by", ["apply", "address"])
def test_what_is_no_longer_this_stacks_is_not_deleted(bench: Bench, by: str, taken: bool) -> None:
    converge(bench.stack(MODEL))
    converge(bench.stack([*MODEL, alias(1)]))
    what = ids(bench)[-1] if by == "apply" else str(CHAMPION)
    if taken:
        bench.stack(name="another").import_objects([CHAMPION], take_over=True)
    else:
        bench.stack().forget([CHAMPION])
    assert str(CHAMPION) in refused(bench, what, "owned-elsewhere" if taken else "not-ours")


@pytest.mark.any_store
def test_a_rollback_that_was_saved_can_be_out_of_date(promoted: Bench) -> None:
    stack = promoted.stack()
    data = stack.save_plan(stack.rollback(str(CHAMPION)).plan)
    outside(promoted, "DELETE FROM registered_model_aliases")
    before = tables(promoted)
    assert f"{CHAMPION}: it is gone" in str(refusal(stack, data))
    assert tables(promoted) == before


@pytest.mark.any_store
def test_a_mark_of_protection_outlives_a_rollback(bench: Bench) -> None:
    marked = {CHAMPION: Lifecycle(prevent_destroy=True)}
    for champion in (1, 2):
        converge(bench.stack([*MODEL, alias(champion)], lifecycles=marked))
    rolled_back(bench, str(CHAMPION))
    assert bench.records()[CHAMPION].protected


@pytest.mark.any_store
@pytest.mark.parametrize("by", ["apply", "address"])
def test_an_endpoint_follows_back(
    paper: Any,
    served: Bench,
    by: str,
) -> None:
    converge(served.stack(served_fraud(1)))
    ingress = paper.apps["lac.fraud"]
    converge(served.stack(served_fraud(2)))
    assert primary_args(paper.apps["lac.fraud"])["entity_version"] == 2
    what = ids(served)[-1] if by == "apply" else str(CHAMPION)
    assert sorted(rolled_back(served, what)) == [f"update {CHAMPION}", f"update {ENDPOINT}"]
    assert paper.apps == {"lac.fraud": ingress}
    assert served.stack(served_fraud(1)).plan().changes == ()


@pytest.mark.any_store
def test_an_endpoint_that_a_rollback_cannot_bring_up_holds_the_alias_back(
    paper: Any,
    served: Bench,
) -> None:
    converge(served.stack(served_fraud(1)))
    first = primary_args(paper.apps["lac.fraud"])["app"]
    converge(served.stack(served_fraud(2)))
    now = dict(paper.apps)
    stack = served.stack()
    plan = stack.rollback(str(CHAMPION)).plan
    assert {c.address: c.waits_for for c in plan.changes}[CHAMPION] == {ENDPOINT}
    paper.deaf.add(first)
    assert done(applied(stack, stack.save_plan(plan))) == []
    assert paper.apps == now
    assert served.live()[CHAMPION].spec == alias(2)


# --- manifests that agree

MANIFEST = """\
# who may call it: ask the risk team
registered_models:
  - name: fraud  # the first one
    description: Scores payments.
    versions:
      - {version: 1, source: s3://fraud/1}
      - {version: 2, source: s3://fraud/2}
    # reviewed by two people
    aliases: {champion: CHAMPION}
    tags: {team: TEAM}
"""


def written(path: Path, champion: int, team: str = "risk") -> Stack:
    (path / "lac.yaml").write_text("name: test\nstore: sqlite:///tracking.db\n")
    text = MANIFEST.replace("CHAMPION", str(champion)).replace("TEAM", team)
    (path / "models.yaml").write_text(text)
    return Stack.open(path, environ={})


def write_back(stack: Stack, what: str) -> None:
    found = stack.rollback(what)
    for file, text in found.texts().items():
        Path(file).write_text(text)
    list(stack.apply(found.plan))


@pytest.mark.parametrize("by", ["apply", "address"])
def test_what_is_written_agrees_with_what_was_restored_and_keeps_its_comments(
    tmp_path: Path, by: str
) -> None:
    fresh_sqlite(tmp_path)
    converge(written(tmp_path, 1))
    before = (tmp_path / "models.yaml").read_text()
    stack = written(tmp_path, 2)
    converge(stack)
    write_back(stack, stack.history()[-1].apply_id if by == "apply" else str(CHAMPION))
    assert (tmp_path / "models.yaml").read_text() == before
    assert Stack.open(tmp_path, environ={}).plan().changes == ()


def test_an_object_that_was_removed_is_written_again_and_one_that_was_made_is_taken_out(
    tmp_path: Path,
) -> None:
    fresh_sqlite(tmp_path)
    converge(written(tmp_path, 1))
    path = tmp_path / "models.yaml"
    path.write_text(path.read_text().replace("champion: 1", "shadow: 2"))
    stack = Stack.open(tmp_path, environ={})
    converge(stack)
    write_back(stack, stack.history()[-1].apply_id)
    after = Stack.open(tmp_path, environ={})
    assert after.plan().changes == ()
    assert CHAMPION in after.desired.objects
    assert "# reviewed by two people" in path.read_text()
    # and back again
    write_back(after, after.history()[-1].apply_id)
    again = Stack.open(tmp_path, environ={})
    assert again.plan().changes == ()
    assert CHAMPION not in again.desired.objects


def test_a_rollback_whose_manifests_agree_writes_nothing(tmp_path: Path) -> None:
    fresh_sqlite(tmp_path)
    converge(written(tmp_path, 1))
    converge(written(tmp_path, 2, team="shop"))
    (promotion, *_) = (apply.apply_id for apply in reversed(written(tmp_path, 1).history()))
    assert written(tmp_path, 1).rollback(promotion).texts() == {}
    assert written(tmp_path, 1, team="shop").rollback(str(CHAMPION)).texts() == {}
    (text,) = written(tmp_path, 1, team="shop").rollback(promotion).texts().values()
    assert text == MANIFEST.replace("CHAMPION", "1").replace("TEAM", "risk")


@pytest.mark.any_store
def test_nothing_that_is_declared_is_touched_by_planning(promoted: Bench) -> None:
    specs: list[Spec] = [*MODEL, alias(2)]
    promoted.stack(specs).rollback(str(CHAMPION))
    assert promoted.stack(specs).plan().changes == ()
