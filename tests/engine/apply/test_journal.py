"""What every command that writes leaves in history."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from support.bench import Bench, converge
from support.command import Directory, models
from support.endpoints import killed_after, served_fraud
from support.history import CHAMPION, FRAUD, MODEL, alias
from support.mlflow_fixture import fresh_sqlite
from support.saved_plans import applied, outside, tables

from lifecycle_as_code.model.diagnostics import LacError
from lifecycle_as_code.model.history import Apply


def last(bench: Bench, name: str = "test") -> Apply:
    return bench.stack(name=name).history()[-1]


def told(apply: Apply) -> list[tuple[str, str]]:
    return [(each.action, str(each.address)) for each in apply.lines]


@pytest.mark.any_store
def test_an_apply_tells_who_did_what_from_what_to_what(bench: Bench) -> None:
    bench = replace(bench, environ={**os.environ, "GITHUB_ACTOR": "octo"})
    converge(bench.stack([*MODEL, alias(1)]))
    plan, _ = converge(bench.stack([*MODEL, alias(2)]))
    first, second = bench.stack().history()
    assert (first.command, first.outcome, first.actor.ci) == ("apply", "complete", "octo")
    assert [action for action, _ in told(first)] == ["create"] * 4
    assert all(each.before is None for each in first.lines)
    (moved,) = second.lines
    assert (moved.action, moved.before, moved.after) == ("update", alias(1), alias(2))
    assert second.plan_digest == plan.plan_id
    assert second.plan_digest != first.plan_digest
    assert second.ended_ms is not None
    assert first.started_ms <= moved.at_ms <= second.ended_ms
    assert [each.apply_id for each in bench.stack().history(CHAMPION)] == [first.apply_id, second.apply_id]
    assert bench.stack().history(FRAUD.address)[0].lines == first.lines[:1]
    assert plan.differences


def _destroyed(bench: Bench) -> None:
    stack = bench.stack()
    list(stack.apply(stack.plan(destroy=True)))


def _forgotten(bench: Bench) -> None:
    bench.stack().forget([CHAMPION])


def _imported(bench: Bench) -> None:
    outside(
        bench,
        "INSERT INTO registered_model_aliases (name, alias, version, workspace)"
        " VALUES ('fraud', 'shadow', 1, 'default')",
    )
    bench.stack().import_objects(None)


def _rolled_back(bench: Bench) -> None:
    applied(bench.stack(), bench.stack().save_plan(bench.stack().rollback(str(CHAMPION)).plan))


def _refused(bench: Bench) -> None:
    stack = bench.stack([*MODEL, alias(2)])
    plan = stack.plan()
    outside(bench, "DELETE FROM registered_model_aliases")
    with pytest.raises(LacError, match="stale-plan"):
        list(stack.apply(plan))


def _failed(bench: Bench) -> None:
    stack = bench.stack([*MODEL, alias(2)])
    plan = stack.plan()
    outside(bench, "ALTER TABLE registered_model_aliases RENAME TO elsewhere")
    with pytest.raises(Exception, match="registered_model_aliases"):
        list(stack.apply(plan))
    outside(bench, "ALTER TABLE elsewhere RENAME TO registered_model_aliases")


def _stopped(bench: Bench) -> None:
    stack = bench.stack([*MODEL, alias(2)])
    looks = iter([False] * 100)
    # asked right before the first step
    events = stack.apply(stack.plan(), stop=lambda: next(looks, True) or asked)
    asked = False
    for event in events:
        asked = type(event).__name__ == "Locked"


COMMANDS: Mapping[str, tuple[Callable[[Bench], None], str, str, list[tuple[str, str]]]] = {
    "destroy": (
        _destroyed,
        "destroy",
        "complete",
        [
            ("delete", "model_alias.fraud/champion"),
            ("delete", "model_version.fraud/2"),
            ("delete", "model_version.fraud/1"),
            ("delete", "registered_model.fraud"),
        ],
    ),
    "state rm": (_forgotten, "state rm", "complete", [("forget", str(CHAMPION))]),
    "import": (_imported, "import", "complete", [("record", "model_alias.fraud/shadow")]),
    "rollback": (_rolled_back, "rollback", "complete", [("delete", str(CHAMPION))]),
    "a stale plan": (_refused, "apply", "refused", []),
    "a store that fails": (_failed, "apply", "failed", []),
    "one that was stopped": (_stopped, "apply", "stopped", []),
}


@pytest.mark.any_store
@pytest.mark.parametrize(("run", "command", "outcome", "lines"), COMMANDS.values(), ids=COMMANDS)
def test_every_command_that_writes_leaves_an_apply(
    bench: Bench, run: Callable[[Bench], None], command: str, outcome: str, lines: list[tuple[str, str]]
) -> None:
    converge(bench.stack([*MODEL, alias(1)]))
    known = len(bench.stack().history())
    run(bench)
    assert len(bench.stack().history()) == known + 1
    found = last(bench)
    assert (found.command, found.outcome) == (command, outcome)
    assert sorted(told(found)) == sorted(lines)
    assert found.ended_ms is not None
    assert found.actor.host


def test_reading_leaves_nothing(bench: Bench) -> None:
    converge(bench.stack([*MODEL, alias(1)]))
    before, known = tables(bench), bench.stack().history()
    stack = bench.stack([*MODEL, alias(2)])
    stack.save_plan(stack.plan())
    stack.drift()
    stack.rollback(str(CHAMPION))
    stack.records_at(2**53)
    assert tables(bench) == before
    assert bench.stack().history() == known


@pytest.mark.any_store
def test_a_take_over_is_told_in_both_histories(bench: Bench) -> None:
    converge(bench.stack([*MODEL, alias(1)], name="first"))
    bench.stack(name="second").import_objects([CHAMPION], take_over=True)
    (taken,) = (apply for apply in bench.stack(name="first").history() if apply.stack == "second")
    assert [(each.action, each.reason) for each in taken.lines] == [("forget", "taken over by stack second")]
    assert taken.lines[0].before == alias(1)
    (seen,) = bench.stack(name="second").history(CHAMPION)
    assert [(each.action, each.reason) for each in seen.lines] == [("record", "taken over from stack first")]
    assert CHAMPION not in bench.stack(name="first").records_at(2**53)
    assert bench.stack(name="second").records_at(2**53) == {CHAMPION: alias(1)}


def test_what_was_recorded_is_known_before_between_and_after_applies(bench: Bench) -> None:
    for champion in (1, 2):
        converge(bench.stack([*MODEL, alias(champion)]))
    _destroyed(bench)
    first, second, third = bench.stack().history()
    assert bench.stack().records_at(first.started_ms - 1) == {}
    assert bench.stack().records_at(second.started_ms - 1)[CHAMPION] == alias(1)
    assert bench.stack().records_at(third.started_ms - 1)[CHAMPION] == alias(2)
    assert len(bench.stack().records_at(third.started_ms - 1)) == 4
    assert bench.stack().records_at(2**53) == {}


@pytest.mark.any_store
def test_an_endpoints_way_is_told(
    paper: Any,  # noqa: ARG001 - the cluster it is about
    served: Bench,
) -> None:
    converge(served.stack(served_fraud(1)))
    converge(served.stack(served_fraud(2)))
    lines = {str(each.address): each for each in last(served).lines}
    assert set(lines) == {str(CHAMPION), "serving_endpoint.fraud"}
    assert lines["serving_endpoint.fraud"].reason == f"follows {CHAMPION}"
    converge(served.stack(served_fraud(3)))
    assert last(served).outcome == "partial"
    assert last(served).lines == ()


def test_one_that_was_killed_is_told_as_interrupted(
    paper: Any,
    served: Bench,
) -> None:
    converge(served.stack(served_fraud(1)))
    killed_after(paper, 1, served, served_fraud(2))
    # a kill runs nothing at the end; the double's exception does
    outside(
        served,
        f"UPDATE lac_applies SET ended_ms = NULL, outcome = NULL WHERE apply_id = '{last(served).apply_id}'",
    )
    assert (last(served).outcome, last(served).ended_ms) == ("", None)


def test_the_command_tells_of_a_killed_one(tmp_path: Path) -> None:
    stack = Directory(tmp_path / "stack").settings(fresh_sqlite(tmp_path)).declare(models(1))
    stack.lac("apply", "--auto-approve")
    # as a process that was killed after it began leaves it
    engine = create_engine(f"sqlite:///{tmp_path / 'tracking.db'}")
    with engine.begin() as db:
        db.execute(text("UPDATE lac_applies SET ended_ms = NULL, outcome = NULL"))
    engine.dispose()
    assert "interrupted, or in progress" in stack.lac("history").stdout
    (found,) = json.loads(stack.lac("history", "--json").stdout)["applies"]
    assert (found["outcome"], found["ended_ms"]) == ("", None)
