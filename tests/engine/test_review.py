"""A plan and what it is judged by: sealed with it, and asked again when it is applied. On real databases."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from planning.test_planfile import ORIGIN, SMALL
from pydantic import TypeAdapter, ValidationError
from sqlalchemy import create_engine, text
from support.bench import Bench, converge
from support.mlflow_fixture import fresh_sqlite
from support.sample_plans import HOSTILE, always, rich

from lifecycle_as_code.cli import run
from lifecycle_as_code.engine.apply.run import writing
from lifecycle_as_code.engine.refresh import Snapshots
from lifecycle_as_code.engine.review import make_impacts
from lifecycle_as_code.kinds import KINDS
from lifecycle_as_code.kinds.model_alias import ModelAlias
from lifecycle_as_code.kinds.model_version import ModelVersion
from lifecycle_as_code.kinds.permission import Permission
from lifecycle_as_code.kinds.registered_model import RegisteredModel, RegisteredModels
from lifecycle_as_code.kinds.role import Role
from lifecycle_as_code.model.diagnostics import LacError
from lifecycle_as_code.model.plan import Action, Change, Plan
from lifecycle_as_code.model.policy import Expression, Policy, PolicyWaiver, Rules
from lifecycle_as_code.model.review import Access, Impact, Outcome, Review, Traffic
from lifecycle_as_code.model.snapshot import Desired, Live, Recorded
from lifecycle_as_code.model.spec import Address
from lifecycle_as_code.planning import planfile
from lifecycle_as_code.planning.encoding import as_plain, plan_data
from lifecycle_as_code.stack import Stack

SPECS = {name: kind.spec for name, kind in KINDS.items()}
CHAMPION = Address("model_alias", ("fraud", "champion"))
ENDPOINT = Address("serving_endpoint", ("fraud",))
APPROVED = Policy(
    "approved",
    {"kind": "model_alias"},
    (Expression('after.tags.validation_status == "approved"'),),
    message="Ask the risk team.",
)


def waiver(days: int) -> PolicyWaiver:
    day = datetime.now(UTC).date() + timedelta(days=days)
    return PolicyWaiver("approved", str(CHAMPION), "An incident.", day.isoformat())


def stack(bench: Bench, champion: int | None, rules: Rules = Rules((APPROVED,))) -> Stack:
    """Two versions, whose tags somebody else sets, and an alias."""
    made: list[Any] = [RegisteredModel(name="fraud")]
    made += [ModelVersion(model="fraud", version=n, source=f"s3://m/{n}") for n in (1, 2)]
    made += [ModelAlias(model="fraud", alias="champion", version=champion)] if champion else []
    return bench.stack(made, rules=rules)


def approve(bench: Bench, version: int, status: str | None = "approved") -> None:
    """Somebody tags a version outside, or takes the tag away."""
    engine = create_engine(bench.store)
    with engine.begin() as db:
        db.execute(text("DELETE FROM model_version_tags WHERE version = :v"), {"v": version})
        if status:
            db.execute(
                text(
                    "INSERT INTO model_version_tags (workspace, name, version, key, value)"
                    " VALUES ('default', 'fraud', :v, 'validation_status', :s)"
                ),
                {"v": version, "s": status},
            )
    engine.dispose()


@pytest.fixture
def ready(tmp_path: Path) -> Bench:
    """The champion is version 1, and 2 is approved."""
    made = Bench(tmp_path, fresh_sqlite(tmp_path))
    converge(stack(made, 1, Rules()))
    approve(made, 2)
    return made


def champion(bench: Bench) -> int:
    return bench.live()[CHAMPION].spec.version  # type: ignore[attr-defined]  # it is an alias


def refused(work: Any) -> str:
    with pytest.raises(LacError) as caught:
        list(work())
    (problem,) = caught.value.diagnostics
    assert problem.code == "policy-denied"
    assert "Ask the risk team." in problem.detail
    return problem.detail


# --- verdicts decide, when it is applied


def test_a_plan_that_passes_is_applied_and_says_so(ready: Bench) -> None:
    plan = stack(ready, 2).plan()
    (verdict,) = plan.review.verdicts
    assert (verdict.policy, verdict.outcome) == ("approved", Outcome.PASSED)
    assert plan.review.rules == Rules((APPROVED,))
    list(stack(ready, 2).apply(plan))
    assert champion(ready) == 2


def test_a_denied_plan_is_refused_and_nothing_is_written(ready: Bench) -> None:
    approve(ready, 2, "rejected")
    made = stack(ready, 2)
    plan = made.plan()
    assert [v.outcome for v in plan.review.denied] == [Outcome.DENIED]
    assert 'validation_status = "rejected"' in refused(lambda: made.apply(plan))
    assert champion(ready) == 1
    assert len(made.history()) == 1


def test_what_has_changed_since_the_plan_was_saved_is_judged_again(ready: Bench) -> None:
    made = stack(ready, 2)
    data = made.save_plan(made.plan())
    approve(ready, 2, None)
    # the manifests have no policies any more: the plan brings its own
    later = stack(ready, None, Rules())
    plan = later.check_plan(later.read_plan(data))
    refused(lambda: later.apply(plan))
    assert champion(ready) == 1
    approve(ready, 2)
    list(later.apply(later.check_plan(later.read_plan(data))))
    assert champion(ready) == 2


def test_the_manifests_policies_are_asked_too_where_the_plan_has_none(ready: Bench) -> None:
    approve(ready, 2, "rejected")
    plan = stack(ready, 2, Rules()).plan()
    assert not plan.review.verdicts
    refused(lambda: stack(ready, 2).apply(plan))
    assert champion(ready) == 1


def test_a_waiver_that_only_the_plan_has_lets_nothing_through(ready: Bench) -> None:
    approve(ready, 2, None)
    plan = stack(ready, 2, Rules((APPROVED,), (waiver(0),))).plan()
    refused(lambda: stack(ready, 2).apply(plan))
    assert champion(ready) == 1


def test_what_happens_while_it_waits_for_the_lock_is_judged(ready: Bench) -> None:
    made = stack(ready, 2)
    events = made.apply(made.plan(), lock_timeout=60)
    with writing(stack(ready, 2)._session, "test"):
        assert "lock" in str(next(events))
        approve(ready, 2, None)
    refused(lambda: events)
    assert champion(ready) == 1


def test_a_plan_that_was_denied_when_it_was_reviewed_stays_denied(ready: Bench) -> None:
    approve(ready, 2, "rejected")
    made = stack(ready, 2)
    data = made.save_plan(made.plan())
    approve(ready, 2)
    refused(lambda: made.apply(made.check_plan(made.read_plan(data))))
    assert champion(ready) == 1


def test_a_waiver_lets_through_until_its_day_is_over(ready: Bench) -> None:
    approve(ready, 2, None)
    made = stack(ready, 2, Rules((APPROVED,), (waiver(0),)))
    plan = made.plan()
    (verdict,) = plan.review.verdicts
    assert verdict.outcome is Outcome.WAIVED
    assert verdict.waiver is not None
    assert verdict.waiver.reason == "An incident."
    expired = replace(plan.review, rules=Rules((APPROVED,), (waiver(-1),)))
    refused(lambda: made.apply(replace(plan, review=expired)))
    list(made.apply(plan))
    assert champion(ready) == 2


def test_an_expired_waiver_is_told(ready: Bench) -> None:
    plan = stack(ready, 2, Rules((APPROVED,), (waiver(-1),))).plan()
    assert "waiver-expired" in {found.code for found in plan.diagnostics}


def test_going_back_is_judged_too_unless_the_policy_is_about_promotions(ready: Bench) -> None:
    converge(stack(ready, 2))
    assert stack(ready, 2).rollback(str(CHAMPION)).plan.review.denied
    promotions = replace(APPROVED, when={"kind": "model_alias", "mode": "normal"})
    assert not stack(ready, 2, Rules((promotions,))).rollback(str(CHAMPION)).plan.review.verdicts


def test_nothing_is_asked_where_nothing_changes(ready: Bench) -> None:
    assert stack(ready, 1).plan().review == Review(rules=Rules((APPROVED,)))


def test_who_gains_access_is_told_where_there_is_an_auth_database(tmp_path: Path) -> None:
    bench = Bench(tmp_path, fresh_sqlite(tmp_path), fresh_sqlite(tmp_path, "auth"))
    engine = create_engine(bench.auth_store or "")
    with engine.begin() as db:
        db.execute(text("INSERT INTO users (username, password_hash, is_admin) VALUES ('ann', 'x', false)"))
    engine.dispose()
    grant = Permission(role="r", resource_type="registered_model", resource="fraud", level="EDIT")
    made = bench.stack([RegisteredModel(name="fraud"), Role(name="r", members=("ann",)), grant])
    rows = [row for impact in made.plan().review.impacts for row in impact.access]
    assert [(row.user, str(row.resource), row.after, row.gains) for row in rows] == [
        ("ann", "registered_model.fraud", "EDIT", True)
    ]


# --- the command


def test_the_command_shows_a_denied_plan_saves_it_and_ends_with_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("lac.yaml").write_text(f"name: payments\nstore: {fresh_sqlite(tmp_path)}\n")
    Path("models.yaml").write_text(
        "registered_models:\n  - name: fraud\n    tags: {a: b}\n"
        "policies:\n  - {name: owned, when: {kind: registered_model}, required_tags: [owner]}\n"
    )
    assert run(["plan", "-o", "p.plan", "--json"]) == 1
    told = capsys.readouterr()
    (verdict,) = json.loads(told.out)["review"]["verdicts"]
    assert verdict["outcome"] == "denied"
    assert verdict["at"] == {"file": "models.yaml", "line": 5, "column": 5}
    assert verdict["line"] == {"file": "models.yaml", "line": 2, "column": 5}
    assert "models.yaml:2:5: error[policy-denied]" in told.err
    assert run(["apply", "p.plan"]) == 1
    assert "error[policy-denied]" in capsys.readouterr().err
    assert run(["apply", "--auto-approve"]) == 1
    assert "1 denied" in capsys.readouterr().out
    assert run(["history"]) == 0
    assert "No applies yet." in capsys.readouterr().err


def test_a_plan_without_its_policies_meets_those_of_the_manifests(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(planfile.KEY_VARIABLE, raising=False)
    Path("lac.yaml").write_text(f"name: payments\nstore: {fresh_sqlite(tmp_path)}\n")
    Path("models.yaml").write_text("registered_models: [{name: fraud}]\n")
    Path("rules.yaml").write_text("policies: [{name: owned, required_tags: [owner]}]\n")
    assert run(["plan", "-o", "p.plan"]) == 1
    whole = planfile.load(Path("p.plan").read_bytes(), SPECS)
    Path("p.plan").write_bytes(planfile.dump(replace(whole.plan, review=Review()), whole.origin))
    assert run(["apply", "p.plan"]) == 1
    assert "policy `owned`, rules.yaml:1:12" in capsys.readouterr().err
    # without manifests there is nothing to hold it against, and that is said
    Path("rules.yaml").write_text("policies: nonsense\n")
    assert run(["apply", "p.plan"]) == 0
    assert "(rules.yaml:1:11): only the plan's own policies are checked" in capsys.readouterr().err


# --- in a file


# nothing has an empty name
@pytest.mark.parametrize(
    "said", [None, *filter(None, HOSTILE)], ids=lambda word: "usual" if word is None else "hostile"
)
def test_a_review_is_read_back_as_it_was(said: str | None) -> None:
    review = (rich() if said is None else rich(always(said))).review
    file = planfile.dump(replace(SMALL, review=review), ORIGIN)
    saved = planfile.load(file, SPECS)
    assert saved.plan.review == review
    assert planfile.dump(saved.plan, ORIGIN) == file


def test_whole_numbers_stay_whole_in_a_file() -> None:
    """JSON tells 90 from 90.0, and so does the seal."""
    reached = Traffic(Address("serving_endpoint", ("fraud",)), "champion", share=90)
    for share in (90, 90.0, 0.1 + 0.2, 1e22):
        review = Review(impacts=(Impact(CHAMPION, (replace(reached, share=share),)),))
        saved = planfile.load(planfile.dump(replace(SMALL, review=review), ORIGIN), SPECS)
        (impact,) = saved.plan.review.impacts
        assert repr(impact.traffic[0].share) == repr(share)


def _paths(data: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [path, *(found for key, value in inner for found in _paths(value, (*path, key)))]


def test_a_review_with_anything_of_another_type_is_no_review() -> None:
    written = json.dumps(plan_data(rich())["review"], default=as_plain)
    whole, adapter = json.loads(written), TypeAdapter(Review)
    free = {"when", "builtin", "inputs", "outputs", "params"}
    for path in _paths(whole):
        if not path or free & {*path}:
            continue
        data = json.loads(written)
        holder = data
        for step in path[:-1]:
            holder = holder[step]
        holder[path[-1]] = {"something": ["else"]} if not isinstance(holder[path[-1]], dict) else 5
        with pytest.raises(ValidationError):
            adapter.validate_json(json.dumps(data), strict=True, extra="forbid", context=SPECS)
    assert adapter.validate_json(written, strict=True, extra="forbid", context=SPECS) == rich().review


def test_a_plan_waits_for_models_files_as_long_as_lac_yaml_says(tmp_path: Path) -> None:
    bench = Bench(tmp_path, fresh_sqlite(tmp_path), evidence_seconds=1e-9)
    made = ModelVersion(model="fraud", version=1, source=str(tmp_path))
    (found,) = bench.stack([RegisteredModel(name="fraud"), made]).plan().review.evidence
    assert found.after
    assert "there was no answer within 1e-09 s" in found.after.missing[-1]


def test_a_change_has_what_it_reaches_and_whose_access_it_changes() -> None:
    one, two = ModelAlias(model="fraud", alias="champion", version=1), RegisteredModel(name="fraud")
    changes = [Change(spec.address, spec.store, Action.CREATE, "", None, spec) for spec in (two, one)]
    plan = Plan("payments", "", tuple(changes), ())
    rows = (Access("ana", two.address, "READ", "EDIT", "role analysts"),)
    snapshots = Snapshots(Desired(), Recorded(), Live())
    impacts = make_impacts(KINDS.values(), plan, snapshots, {CHAMPION: rows, ENDPOINT: rows})
    assert impacts == (Impact(CHAMPION, access=rows),)
    traffic = Traffic(ENDPOINT, "a")

    class Served(RegisteredModels):
        def impacts(self, plan: Plan, recorded: Recorded, live: Live) -> Iterator[Impact]:
            yield Impact(CHAMPION, (traffic,))

    impacts = make_impacts([Served(), Served()], plan, snapshots, {CHAMPION: rows})
    assert impacts == (Impact(CHAMPION, (traffic, traffic), (), rows),)
