"""The executor: rows on MLflow's own schema, and endpoints with Ray's part on paper."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import pytest
import yaml
from sqlalchemy import text
from support.bench import Bench, converge
from support.endpoints import ENDPOINT, killed_after, served_fraud
from support.fake_cluster import Paper

from lifecycle_as_code.kinds.model_alias import ModelAlias
from lifecycle_as_code.kinds.model_version import ModelVersion
from lifecycle_as_code.kinds.registered_model import RegisteredModel
from lifecycle_as_code.kinds.serving_endpoint import ServingEndpoint
from lifecycle_as_code.model.diagnostics import LacError
from lifecycle_as_code.model.events import Event, Failed, Finished, Progress
from lifecycle_as_code.model.plan import Action
from lifecycle_as_code.model.spec import Spec
from lifecycle_as_code.stores.ray.state import Application
from lifecycle_as_code.stores.sql.store import writing


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
    assert not bench.stack(fraud()).drift().exists


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
    assert list(bench.stack().apply(plan))[-1].complete  # type: ignore[union-attr]  # the last event is `Finished`
    assert bench.live().keys() == {a for a in bench.live() if a.kind == "experiment"}
    assert bench.records() == {}


def test_another_stacks_object_is_named(bench: Bench) -> None:
    converge(bench.stack(fraud(), name="first"))
    with pytest.raises(LacError, match="managed by stack `first`"):
        bench.stack(fraud(), name="second").plan()


# --- endpoints


def reasons(bench: Bench, specs: list[Spec]) -> dict[str, str]:
    return {str(c.address): c.reason for c in bench.stack(specs).plan().changes}


def settles(paper: Paper, bench: Bench, specs: list[Spec]) -> None:
    """One apply converges, and nothing is left over."""
    _, events = converge(bench.stack(specs))
    # an apply of nothing tells nothing
    assert all(e.complete for e in events if isinstance(e, Finished))
    assert bench.stack(specs).plan().changes == ()
    assert len(paper.apps) == (1 if any(s.address == ENDPOINT for s in specs) else 0)


THENS = [1, 2, None]


@pytest.mark.any_store
@pytest.mark.parametrize(
    ("steps", "begun", "then"),
    [
        # each step from each start; what comes then in turn
        pytest.param(
            *(steps, begun, then),
            marks=() if THENS[(steps + bool(begun)) % 3] == then else pytest.mark.everywhere,
        )
        for steps in range(6)
        for begun in (None, 1)
        for then in THENS
    ],
)
def test_a_crash_anywhere_leaves_nothing_that_one_apply_does_not_mend(
    paper: Paper, served: Bench, begun: int | None, then: int | None, steps: int
) -> None:
    if begun:
        converge(served.stack(served_fraud(begun)))
    killed_after(paper, steps, served, served_fraud(2))
    told = reasons(served, served_fraud(2))
    assert told.get(str(ENDPOINT), "interrupted apply") in (
        "interrupted apply",
        "already so",
        "declared",
        "follows model_alias.fraud/champion",
    )
    settles(paper, served, served_fraud(then) if then else served_fraud(1)[:-1])


@pytest.mark.any_store
@pytest.mark.parametrize("steps", range(6))
def test_what_a_killed_first_apply_made_stays_ours_when_the_next_one_fails(
    paper: Paper, served: Bench, steps: int
) -> None:
    killed_after(paper, steps, served, served_fraud(1))
    _, events = converge(served.stack(served_fraud(3)))
    (failed,) = (e for e in events if isinstance(e, Failed))
    assert failed.diagnostic.code == "rollout-failed"
    settles(paper, served, served_fraud(1))


def test_a_first_rollout_that_fails_leaves_no_trace(paper: Paper, served: Bench) -> None:
    _, events = converge(served.stack(served_fraud(3)))
    assert [e.address for e in events if isinstance(e, Failed)] == [ENDPOINT]
    assert paper.apps == {}
    assert ENDPOINT not in served.records()
    assert reasons(served, served_fraud(3)) == {
        "model_alias.fraud/champion": "declared",
        "serving_endpoint.fraud": "declared",
    }
    settles(paper, served, served_fraud(2))


def test_a_switch_that_fails_takes_the_warm_up_back(paper: Paper, served: Bench) -> None:
    converge(served.stack(served_fraud(1)))
    before = dict(paper.apps)
    paper.deaf.add("fraud")
    _, events = converge(served.stack(served_fraud(2)))
    assert [str(e.address) for e in events if isinstance(e, Failed)] == [str(ENDPOINT)]
    assert paper.apps == before
    paper.deaf.clear()
    settles(paper, served, served_fraud(2))


def test_an_alias_that_is_moved_during_a_warm_up_stays_where_it_was_moved_to(
    paper: Paper, served: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    converge(served.stack(served_fraud(1)))
    before = dict(paper.apps)
    probe = paper.probe

    def move_meanwhile(endpoint: str, **options: Any) -> str | None:
        store = served.stack()._connections.ledger().registry
        with writing(store) as db:
            db.execute(text("UPDATE registered_model_aliases SET version = 3"))
        return probe(endpoint, **options)

    monkeypatch.setattr(paper, "probe", move_meanwhile)
    with pytest.raises(LacError, match="stale-plan"):
        converge(served.stack(served_fraud(2)))
    (alias,) = (found.spec for address, found in served.live().items() if address.kind == "model_alias")
    assert isinstance(alias, ModelAlias)
    assert alias.version == 3
    # what had come up for the plan is gone, and traffic was never moved
    assert paper.apps == before


@pytest.mark.any_store
@pytest.mark.parametrize("version", [1, 2], ids=["first", "next"])
@pytest.mark.parametrize("times", [2, 3])
def test_an_app_that_another_deployer_drops_is_put_again_and_not_for_ever(
    paper: Paper, served: Bench, monkeypatch: pytest.MonkeyPatch, version: int, times: int
) -> None:
    if version > 1:
        converge(served.stack(served_fraud(version - 1)))
    wait, left = Paper.wait, times

    def waited(cluster: Paper, names: Collection[str], *others: Any) -> dict[str, Application | None]:
        nonlocal left
        new = sorted(name for name in names if name != "lac.fraud" or version == 1)
        if left and new:
            left -= 1
            # as by a PUT of what was there before ours
            del cluster.apps[new[0]]
        return wait(cluster, names, *others)

    monkeypatch.setattr(Paper, "wait", waited)
    _, events = converge(served.stack(served_fraud(version)))
    failed = [e.diagnostic.detail for e in events if isinstance(e, Failed)]
    assert [("it was deleted outside lac" in text) for text in failed] == [True] * (times == 3)
    settles(paper, served, served_fraud(version))


@pytest.mark.any_store
@pytest.mark.parametrize("line", range(1, 6))
def test_who_stops_a_warm_up_finds_everything_as_it_was(paper: Paper, served: Bench, line: int) -> None:
    converge(served.stack(served_fraud(1)))
    before = dict(paper.apps)
    stack = served.stack(served_fraud(2))
    asked = _after(line)
    events: list[Event] = list(stack.apply(stack.plan(), stop=asked))
    (end,) = (e for e in events if isinstance(e, Finished))
    if end.stopped:
        assert paper.apps == before
        assert reasons(served, served_fraud(2))[str(ENDPOINT)] == "follows model_alias.fraud/champion"
    settles(paper, served, served_fraud(2))


def _after(times: int) -> Callable[[], bool]:
    """Asked to stop from the nth look on."""
    seen = iter(range(times))
    return lambda: next(seen, None) is None


def test_an_apply_tells_what_comes_up(served: Bench) -> None:
    converge(served.stack(served_fraud(1)))
    _, events = converge(served.stack(served_fraud(2)))
    told = [e.message for e in events if isinstance(e, Progress)]
    assert told == ["fraud: champion v2 is RUNNING", "fraud: switching traffic"]


def test_an_endpoint_that_is_taken_over_plans_as_empty_and_follows_its_alias_again(served: Bench) -> None:
    converge(served.stack(served_fraud(1)))
    served.stack().forget([ENDPOINT])
    with pytest.raises(LacError, match="not-ours"):
        served.stack(served_fraud(1)).plan()
    taken = served.stack(served_fraud(1)[:-1]).import_objects([ENDPOINT])
    (written,) = yaml.safe_load(taken.yaml)["serving_endpoints"]
    assert ServingEndpoint.model_validate(written, strict=False) == served_fraud(1)[-1]
    assert served.stack(served_fraud(1)).plan().changes == ()
    assert set(reasons(served, served_fraud(2)).values()) == {
        "manifest changed",
        "follows model_alias.fraud/champion",
    }
