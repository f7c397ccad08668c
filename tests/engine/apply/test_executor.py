"""Plans carried out on MLflow's own schema."""

from __future__ import annotations

import pytest
from support.bench import Bench, converge

from lifecycle_as_code.kinds.model_alias import ModelAlias
from lifecycle_as_code.kinds.model_version import ModelVersion
from lifecycle_as_code.kinds.registered_model import RegisteredModel
from lifecycle_as_code.model.diagnostics import LacError
from lifecycle_as_code.model.events import Finished
from lifecycle_as_code.model.plan import Action
from lifecycle_as_code.model.spec import Spec


def fraud(champion: int = 1) -> list[Spec]:
    return [
        RegisteredModel(name="fraud", description="Scores card payments.", tags={"team": "risk"}),
        ModelVersion(model="fraud", version=1, source="s3://bucket/1"),
        ModelVersion(model="fraud", version=2, source="s3://bucket/2"),
        ModelAlias(model="fraud", alias="champion", version=champion),
    ]


def test_what_was_applied_plans_as_empty(bench: Bench) -> None:
    plan, events = converge(bench.stack(fraud()))
    assert [c.action for c in plan.changes] == [Action.CREATE] * 4
    assert isinstance(events[-1], Finished)
    assert events[-1].done == 4
    assert events[-1].complete
    assert bench.stack(fraud()).plan().changes == ()
    assert not bench.stack(fraud()).drift().found


def test_moving_an_alias_is_one_update(bench: Bench) -> None:
    converge(bench.stack(fraud()))
    plan, _ = converge(bench.stack(fraud(champion=2)))
    assert [(str(c.address), c.reason) for c in plan.changes] == [
        ("model_alias.fraud/champion", "manifest changed")
    ]
    assert bench.stack(fraud(champion=2)).plan().changes == ()


def test_a_second_plan_of_the_same_move_is_stale(bench: Bench) -> None:
    converge(bench.stack(fraud()))
    stack = bench.stack(fraud(champion=2))
    reviewed = stack.plan()
    converge(bench.stack(fraud(champion=2)))
    with pytest.raises(LacError, match=r"model_alias\.fraud/champion: version: 1 → 2") as refusal:
        list(stack.apply(reviewed))
    assert refusal.value.diagnostics[0].code == "stale-plan"


def test_nothing_declared_is_refused_but_destroy_is_not(bench: Bench) -> None:
    converge(bench.stack(fraud()))
    with pytest.raises(LacError, match="nothing-declared"):
        bench.stack().plan()
    plan = bench.stack().plan(destroy=True)
    assert list(bench.stack().apply(plan))[-1].complete  # type: ignore[union-attr]
    assert bench.live().keys() == {a for a in bench.live() if a.kind == "experiment"}
    assert bench.records() == {}


def test_another_stacks_object_is_named(bench: Bench) -> None:
    converge(bench.stack(fraud(), name="first"))
    with pytest.raises(LacError, match="managed by stack `first`"):
        bench.stack(fraud(), name="second").plan()
