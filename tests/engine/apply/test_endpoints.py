"""Endpoints through the whole engine, with Ray's part on paper: what is recorded, and what a crash leaves."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
import yaml
from sqlalchemy import text
from support.bench import Bench, converge
from support.fake_cluster import Killed, Paper, on_paper

from lifecycle_as_code.kinds.model_alias import ModelAlias
from lifecycle_as_code.kinds.model_version import ModelVersion
from lifecycle_as_code.kinds.registered_model import RegisteredModel
from lifecycle_as_code.kinds.serving_endpoint import ServedEntity, ServingEndpoint
from lifecycle_as_code.manifest.settings import Serve
from lifecycle_as_code.model.diagnostics import LacError
from lifecycle_as_code.model.events import Event, Failed, Finished, Progress
from lifecycle_as_code.model.spec import Address, Spec
from lifecycle_as_code.stores.mlflow.sql import writing
from lifecycle_as_code.stores.ray.state import Application

FRAUD = Address("serving_endpoint", ("fraud",))


@pytest.fixture
def paper(monkeypatch: pytest.MonkeyPatch) -> Paper:
    return on_paper(monkeypatch)


@pytest.fixture
def served(bench: Bench, paper: Paper) -> Bench:  # noqa: ARG001 - the cluster it is about
    return replace(bench, serve=Serve(local=False, address="http://paper"))


def world(champion: int, **options: str) -> list[Spec]:
    """Version 3 can't be loaded."""
    here = ServedEntity(name="champion", entity_name="fraud", entity_version="@champion")
    return [
        RegisteredModel(name="fraud"),
        *(
            ModelVersion(model="fraud", version=n, source=source)
            for n, source in enumerate(["/good/1", "/good/2", "/bad/3"], 1)
        ),
        ModelAlias(model="fraud", alias="champion", version=champion),
        ServingEndpoint.model_validate(
            {"name": "fraud", "served_entities": (here,), "auth": "none", **options}
        ),
    ]


def reasons(bench: Bench, specs: list[Spec]) -> dict[str, str]:
    return {str(c.address): c.reason for c in bench.stack(specs).plan().changes}


def killed_after(paper: Paper, steps: int, bench: Bench, specs: list[Spec]) -> None:
    paper.left = steps
    with suppress(Killed):
        converge(bench.stack(specs))
    paper.left = None


def settles(paper: Paper, bench: Bench, specs: list[Spec]) -> None:
    """One apply converges, and nothing is left over."""
    _, events = converge(bench.stack(specs))
    # an apply of nothing tells nothing
    assert all(e.complete for e in events if isinstance(e, Finished))
    assert bench.stack(specs).plan().changes == ()
    assert len(paper.apps) == (2 if any(s.address == FRAUD for s in specs) else 0)


@pytest.mark.any_store
@pytest.mark.parametrize("then", [1, 2, None])
@pytest.mark.parametrize("begun", [None, 1])
@pytest.mark.parametrize("steps", range(6))
def test_a_crash_anywhere_leaves_nothing_that_one_apply_does_not_mend(
    paper: Paper, served: Bench, begun: int | None, then: int | None, steps: int
) -> None:
    if begun:
        converge(served.stack(world(begun)))
    killed_after(paper, steps, served, world(2))
    told = reasons(served, world(2))
    assert told.get(str(FRAUD), "interrupted apply") in (
        "interrupted apply",
        "already so",
        "declared",
        "follows model_alias.fraud/champion",
    )
    settles(paper, served, world(then) if then else world(1)[:-1])


@pytest.mark.any_store
@pytest.mark.parametrize("steps", range(6))
def test_what_a_killed_first_apply_made_stays_ours_when_the_next_one_fails(
    paper: Paper, served: Bench, steps: int
) -> None:
    killed_after(paper, steps, served, world(1))
    _, events = converge(served.stack(world(3)))
    (failed,) = (e for e in events if isinstance(e, Failed))
    assert failed.diagnostic.code == "rollout-failed"
    settles(paper, served, world(1))


def test_a_first_rollout_that_fails_leaves_no_trace(paper: Paper, served: Bench) -> None:
    _, events = converge(served.stack(world(3)))
    assert [e.address for e in events if isinstance(e, Failed)] == [FRAUD]
    assert paper.apps == {}
    assert FRAUD not in served.records()
    assert reasons(served, world(3)) == {
        "model_alias.fraud/champion": "declared",
        "serving_endpoint.fraud": "declared",
    }
    settles(paper, served, world(2))


def test_a_switch_that_fails_takes_the_warm_up_back(paper: Paper, served: Bench) -> None:
    converge(served.stack(world(1)))
    before = dict(paper.apps)
    paper.deaf.add("fraud")
    _, events = converge(served.stack(world(2)))
    assert [str(e.address) for e in events if isinstance(e, Failed)] == [str(FRAUD)]
    assert paper.apps == before
    paper.deaf.clear()
    settles(paper, served, world(2))


def test_an_alias_that_is_moved_during_a_warm_up_stays_where_it_was_moved_to(
    paper: Paper, served: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    converge(served.stack(world(1)))
    before = dict(paper.apps)
    probe = paper.probe

    def move_meanwhile(endpoint: str, **options: Any) -> str | None:
        store = served.stack()._connections.ledger().registry
        with writing(store) as db:
            db.execute(text("UPDATE registered_model_aliases SET version = 3"))
        return probe(endpoint, **options)

    monkeypatch.setattr(paper, "probe", move_meanwhile)
    with pytest.raises(LacError, match="stale-plan"):
        converge(served.stack(world(2)))
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
        converge(served.stack(world(version - 1)))
    wait, left = Paper.wait, times

    def waited(cluster: Paper, names: Collection[str], *others: Any) -> dict[str, Application | None]:
        nonlocal left
        new = sorted(name for name in names if name != "lac.fraud")
        if left and new:
            left -= 1
            # as by a PUT of what was there before ours
            del cluster.apps[new[0]]
        return wait(cluster, names, *others)

    monkeypatch.setattr(Paper, "wait", waited)
    _, events = converge(served.stack(world(version)))
    failed = [e.diagnostic.detail for e in events if isinstance(e, Failed)]
    assert [("it was deleted outside lac" in text) for text in failed] == [True] * (times == 3)
    settles(paper, served, world(version))


@pytest.mark.any_store
@pytest.mark.parametrize("line", range(1, 6))
def test_who_stops_a_warm_up_finds_everything_as_it_was(paper: Paper, served: Bench, line: int) -> None:
    converge(served.stack(world(1)))
    before = dict(paper.apps)
    stack = served.stack(world(2))
    asked = _after(line)
    events: list[Event] = list(stack.apply(stack.plan(), stop=asked))
    (end,) = (e for e in events if isinstance(e, Finished))
    if end.stopped:
        assert paper.apps == before
        assert reasons(served, world(2))[str(FRAUD)] == "follows model_alias.fraud/champion"
    settles(paper, served, world(2))


def _after(times: int) -> Callable[[], bool]:
    """Asked to stop from the nth look on."""
    seen = iter(range(times))
    return lambda: next(seen, None) is None


def test_an_apply_tells_what_comes_up(served: Bench) -> None:
    _, events = converge(served.stack(world(1)))
    told = [e.message for e in events if isinstance(e, Progress)]
    assert told == [
        "fraud: champion v1 is RUNNING",
        "fraud: switching traffic",
    ]


def test_an_endpoint_that_is_taken_over_plans_as_empty_and_follows_its_alias_again(served: Bench) -> None:
    converge(served.stack(world(1)))
    served.stack().forget([FRAUD])
    with pytest.raises(LacError, match="not-ours"):
        served.stack(world(1)).plan()
    taken = served.stack(world(1)[:-1]).adopt([FRAUD])
    (written,) = yaml.safe_load(taken.yaml)["serving_endpoints"]
    assert ServingEndpoint.model_validate(written, strict=False) == world(1)[-1]
    assert served.stack(world(1)).plan().changes == ()
    assert set(reasons(served, world(2)).values()) == {
        "manifest changed",
        "follows model_alias.fraud/champion",
    }
