"""Version selectors: read at their places, resolved from what is live and declared, pinned in the plan."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from mlflow import MlflowClient
from support.bench import Bench, converge
from support.fake_cluster import Paper, on_paper
from support.mlflow_fixture import fresh_sqlite

from lifecycle_as_code.engine.refresh import take_snapshots
from lifecycle_as_code.kinds import KINDS
from lifecycle_as_code.kinds.model_alias import ModelAlias
from lifecycle_as_code.kinds.model_version import ModelVersion
from lifecycle_as_code.kinds.registered_model import RegisteredModel
from lifecycle_as_code.kinds.serving_endpoint import ServedEntity, ServingEndpoint
from lifecycle_as_code.manifest.edit import rewrite
from lifecycle_as_code.manifest.load import load
from lifecycle_as_code.manifest.schema import manifest_schema
from lifecycle_as_code.manifest.settings import Serve
from lifecycle_as_code.model import predicate as conditions
from lifecycle_as_code.model.diagnostics import Diagnostic, LacError, Source
from lifecycle_as_code.model.review import Choice
from lifecycle_as_code.model.selector import VersionSelector
from lifecycle_as_code.model.snapshot import Desired, Lifecycle, Live, Observed, Record, Recorded
from lifecycle_as_code.model.spec import Address, Spec, shapes
from lifecycle_as_code.planning.selection import MOST, check_cycles, choose_versions
from lifecycle_as_code.stack import Stack

SPECS = {name: kind.spec for name, kind in KINDS.items()}
APPROVED = 'tags.validation_status == "approved"'
BEST = {"where": APPROVED, "newest": True}


def selector(**said: Any) -> VersionSelector:
    return VersionSelector.model_validate(said)


def alias(name: str, version: int | Mapping[str, Any], model: str = "fraud") -> ModelAlias:
    at = version if isinstance(version, int) else selector(**version)
    return ModelAlias(model=model, alias=name, version=at)


def made(number: int, *, run: str | None = None, description: str = "", **tags: str) -> ModelVersion:
    return ModelVersion(
        model="fraud", version=number, source=f"/m/{number}", run_id=run, description=description, tags=tags
    )


def seen(spec: Spec, status: str = "READY", **facts: Any) -> Observed:
    return Observed(spec, {"status": status, "created": 1_790_000_000_000, **facts})


def live(*objects: Observed) -> Live:
    return Live({found.spec.address: found for found in objects})


def desired(*specs: Spec, **too: Any) -> Desired:
    places = {spec.address: Source("m.yaml", line, 1) for line, spec in enumerate(specs, 1)}
    return Desired({spec.address: spec for spec in specs}, places, **too)


def ours(*specs: Spec) -> Recorded:
    return Recorded({spec.address: Record(spec.address, spec.store, spec) for spec in specs})


def one(said: Mapping[str, Any], there: Live, *declared: Spec, **too: Any) -> Choice | Diagnostic:
    """What a selector of `champion` means, or why it means nothing."""
    recorded = too.pop("recorded", Recorded())
    found = choose_versions(desired(alias("champion", said), *declared, **too), recorded, there)
    if found.problems:
        return found.problems[0][1]
    (choice,) = [c for c in found.desired.choices if c.address.key == ("fraud", "champion")]
    assert found.desired.objects[choice.address].model_dump()["version"] == choice.version
    return choice


# --- what they mean

THREE = live(
    seen(made(1, run="r1", validation_status="approved")),
    seen(made(2, run="r2", validation_status="approved", team="risk"), created=1_795_000_000_000),
    seen(made(3, run="r2")),
)
OLD = [(2, "older than 3"), (1, "older than 3")]


@pytest.mark.parametrize(
    ("said", "version", "losers"),
    [
        ({"latest": True}, 3, OLD),
        ({"run_id": "r1"}, 1, [(3, "of run r2"), (2, "of run r2")]),
        (
            BEST,
            2,
            [(3, '`where` has no value: Key not found in map : "validation_status"'), (1, "older than 2")],
        ),
        ({"where": "version == 1"}, 1, [(3, "`where` is false"), (2, "`where` is false")]),
        ({"where": 'run_id == "r2" && source.endsWith("3")'}, 3, []),
        ({"where": '!has(tags.validation_status) && status == "READY"'}, 3, []),
        ({"where": 'created > timestamp("2026-11-01T00:00:00Z")'}, 2, []),
        ({"where": 'description == "" && stage == "None"', "newest": True}, 3, OLD),
    ],
    ids=str,
)
def test_what_a_selector_means(said: dict[str, Any], version: int, losers: list[tuple[int, str]]) -> None:
    choice = one(said, THREE)
    assert isinstance(choice, Choice)
    assert (choice.version, choice.field) == (version, "version")
    assert choice.selector == str(selector(**said))
    if losers:
        assert list(choice.losers) == losers


@pytest.mark.parametrize("said", [{"latest": True}, {"where": "version > 0", "newest": True}], ids=str)
@pytest.mark.parametrize(
    ("newest", "why"),
    [
        (seen(made(4), status="PENDING_REGISTRATION"), "its status is PENDING_REGISTRATION"),
        (seen(made(4), status="FAILED_REGISTRATION"), "its status is FAILED_REGISTRATION"),
        (seen(made(4), status=""), "its status is unknown"),
        (replace(seen(made(4)), tombstone=True), None),
    ],
    ids=["pending", "failed", "unknown", "deleted"],
)
def test_a_version_that_is_not_ready_is_not_selected_and_says_why(
    said: dict[str, Any], newest: Observed, why: str | None
) -> None:
    there = replace(THREE, objects={**THREE.objects, newest.spec.address: newest})
    choice = one(said, there)
    assert isinstance(choice, Choice)
    assert choice.version == 3
    assert dict(choice.losers).get(4) == why


def test_a_version_that_the_plan_deletes_is_not_selected() -> None:
    choice = one({"latest": True}, THREE, recorded=ours(made(3)))
    assert isinstance(choice, Choice)
    assert choice.version == 2
    assert choice.losers[0] == (3, "it is no longer declared, and will be deleted")
    kept = one({"latest": True}, THREE, recorded=ours(made(3)), removals={made(3).address: None})
    assert isinstance(kept, Choice)
    assert kept.version == 3


def test_a_version_that_the_plan_makes_is_a_candidate_with_its_tags() -> None:
    choice = one(BEST, THREE, made(4, validation_status="approved"))
    assert isinstance(choice, Choice)
    assert choice.version == 4
    waiting = one({"where": 'created > timestamp("2000-01-01T00:00:00Z")', "newest": True}, THREE, made(4))
    assert isinstance(waiting, Choice)
    assert (waiting.version, waiting.losers[0]) == (
        3,
        (4, '`where` has no value: No value with name "created"'),
    )


@pytest.mark.parametrize(
    ("declared", "recorded", "lifecycle", "version"),
    [
        (made(3, validation_status="approved"), made(3), None, 3),
        (made(2, validation_status="rejected"), made(2), None, 1),
        # a key that was ours and is declared no more will be gone
        (made(2), made(2, validation_status="approved"), None, 1),
        # nobody's key stays
        (made(2, team="fraud"), made(2, team="risk"), None, 2),
        (made(2, validation_status="no"), made(2), Lifecycle(None, ("tags.validation_status",)), 2),
        (made(2), made(2, validation_status="approved"), Lifecycle(None, ("tags",)), 2),
    ],
    ids=["added", "changed", "taken away", "left alone", "one ignored", "all ignored"],
)
def test_tags_are_those_that_the_plan_leaves(
    declared: ModelVersion, recorded: ModelVersion, lifecycle: Lifecycle | None, version: int
) -> None:
    lifecycles = {declared.address: lifecycle} if lifecycle else {}
    choice = one(BEST, THREE, declared, recorded=ours(recorded), lifecycles=lifecycles)
    assert isinstance(choice, Choice)
    assert choice.version == version


# --- aliases

CHALLENGER = seen(alias("challenger", 1))


def test_an_alias_points_where_the_manifests_have_it() -> None:
    there = replace(THREE, objects={**THREE.objects, CHALLENGER.spec.address: CHALLENGER})
    declared = one({"alias": "challenger"}, there, alias("challenger", 2))
    elsewhere = one({"alias": "challenger"}, there)
    selected = one({"alias": "challenger"}, there, alias("challenger", {"latest": True}))
    assert [c.version for c in (declared, elsewhere, selected) if isinstance(c, Choice)] == [2, 1, 3]


def test_an_alias_that_is_left_where_it_is_points_there() -> None:
    there = replace(THREE, objects={**THREE.objects, CHALLENGER.spec.address: CHALLENGER})
    left = {CHALLENGER.spec.address: Lifecycle(None, ("version",))}
    for wanted in (alias("challenger", 2), alias("challenger", {"latest": True})):
        choice = one({"alias": "challenger"}, there, wanted, lifecycles=left)
        assert isinstance(choice, Choice)
        assert choice.version == 1


def test_a_long_chain_is_followed_in_whatever_order_it_is_declared() -> None:
    chain = [alias(f"a{n}", {"alias": f"a{n + 1}"}) for n in range(3000)]
    for specs in (chain, chain[::-1]):
        found = choose_versions(desired(*specs, alias("a3000", {"run_id": "r1"})), Recorded(), THREE)
        assert not found.problems
        assert {spec.model_dump()["version"] for spec in found.desired.objects.values()} == {1}


@pytest.mark.parametrize(
    ("links", "loop"),
    [
        ({"a": "a"}, ["a", "a"]),
        ({"a": "b", "b": "a"}, ["a", "b", "a"]),
        ({"x": "a", "a": "b", "b": "c", "c": "a"}, ["a", "b", "c", "a"]),
    ],
    ids=["itself", "two", "three and one that leads there"],
)
def test_a_loop_is_named_once_and_for_all_that_lead_into_it(links: dict[str, str], loop: list[str]) -> None:
    found = choose_versions(desired(*(alias(a, {"alias": b}) for a, b in links.items())), Recorded(), THREE)
    assert {address.key[1] for address, _ in found.problems} == links.keys()
    (problem,) = {problem for _, problem in found.problems}
    assert problem.code == "selector-cycle"
    assert problem.detail == " → ".join(f"model_alias.fraud/{name}" for name in loop) + "."


# --- none or many


@pytest.mark.parametrize(
    ("said", "there", "code", "told"),
    [
        ({"run_id": "r2"}, THREE, "selector-ambiguous", "3: fits (run r2)"),
        ({"where": APPROVED}, THREE, "selector-ambiguous", "1: fits (run r1, validation_status=approved)"),
        (
            {"run_id": "r9"},
            THREE,
            "selector-matches-nothing",
            "1: of run r1 (validation_status=approved)",
        ),
        ({"where": "version > 3"}, THREE, "selector-matches-nothing", "3: `where` is false (run r2)"),
        ({"latest": True}, live(), "selector-matches-nothing", "Model `fraud` has no version."),
        (
            {"latest": True},
            live(seen(made(1), "PENDING_REGISTRATION")),
            "selector-matches-nothing",
            "PENDING",
        ),
        ({"alias": "x"}, THREE, "selector-matches-nothing", "Model `fraud` has no alias `x`."),
    ],
    ids=["runs", "where", "no run", "nowhere", "no version", "not ready", "no alias"],
)
def test_none_or_many_is_an_error_that_lists_what_there_is(
    said: dict[str, Any], there: Live, code: str, told: str
) -> None:
    problem = one(said, there)
    assert isinstance(problem, Diagnostic)
    assert (problem.code, problem.at) == (code, Source("m.yaml", 1, 1))
    assert f"`version: {selector(**said)}`" in problem.detail
    assert told in problem.detail
    assert str(selector(**said)) not in problem.summary


def test_an_alias_that_goes_away_is_nothing_to_follow() -> None:
    there = replace(THREE, objects={**THREE.objects, CHALLENGER.spec.address: CHALLENGER})
    problem = one({"alias": "challenger"}, there, recorded=ours(CHALLENGER.spec))
    assert isinstance(problem, Diagnostic)
    assert "model_alias.fraud/challenger is no longer declared, and will be deleted" in problem.detail
    assert "1" in problem.hint
    # what is only no longer managed stays
    left = {CHALLENGER.spec.address: None}
    found = one({"alias": "challenger"}, there, recorded=ours(CHALLENGER.spec), removals=left)
    assert isinstance(found, Choice)
    assert found.version == 1


def test_an_alias_is_not_offered_in_its_own_place() -> None:
    problem = one({"alias": "champio"}, THREE, alias("champs", 1))
    assert isinstance(problem, Diagnostic)
    assert problem.hint == "did you mean `champs`?"


def test_what_is_listed_is_bounded() -> None:
    many = live(*(seen(made(n, **{f"k{i}": "v" * 5000 for i in range(9)})) for n in range(1, 501)))
    problem = one({"run_id": "r"}, many)
    assert isinstance(problem, Diagnostic)
    lines = problem.detail.splitlines()
    assert len(lines) == MOST + 2
    assert lines[1].startswith("500: ")
    assert lines[1].endswith(", 3 more tags)")
    assert lines[-1] == "and 480 older ones"
    assert max(map(len, lines)) < 600
    choice = one({"latest": True}, many)
    assert isinstance(choice, Choice)
    assert [number for number, _ in choice.losers] == list(range(499, 499 - MOST, -1))


@pytest.mark.parametrize("created", [10**20, -(10**20), None], ids=str)
def test_a_foreign_time_breaks_nothing(created: int | None) -> None:
    there = live(seen(made(1), created=created))
    problem = one({"where": 'created < timestamp("2026-01-01T00:00:00Z")'}, there)
    assert isinstance(problem, Diagnostic)
    assert 'No value with name "created"' in problem.detail


# --- against a naive reference

VERSIONS = st.dictionaries(
    st.integers(1, 6),
    st.tuples(
        st.sampled_from(["READY", "READY", "READY", "PENDING_REGISTRATION"]),
        st.sampled_from(["r1", "r2", None]),
        st.sampled_from(["approved", "rejected", None]),
        # live alone; live and declared; declared alone; live, recorded and going; deleted
        st.sampled_from(["live", "both", "declared", "going", "deleted"]),
    ),
)
SAID: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    [{"latest": True}, {"run_id": "r1"}, {"where": APPROVED}, BEST, {"alias": "challenger"}]
)


@settings(max_examples=150)
@given(VERSIONS, SAID, SAID)
def test_resolution_is_what_anybody_would_work_out_by_hand(
    versions: dict[int, tuple[str, str | None, str | None, str]],
    said: dict[str, Any],
    challenger: dict[str, Any],
) -> None:
    there: list[Observed] = []
    declared: list[Spec] = []
    recorded: list[Spec] = []
    eligible: dict[int, tuple[str | None, str | None]] = {}
    for number, (status, run, tag, where) in versions.items():
        spec = made(number, run=run, **({"validation_status": tag} if tag else {}))
        if where != "declared":
            there.append(replace(seen(spec, status), tombstone=where == "deleted"))
        if where in ("both", "declared"):
            declared.append(spec)
        if where in ("both", "going"):
            recorded.append(spec)
        if where == "declared" or (where in ("live", "both") and status == "READY"):
            eligible[number] = run, tag

    def by_hand(wanted: dict[str, Any]) -> int | None:
        if wanted.get("alias"):
            return None if challenger.get("alias") else by_hand(challenger)
        fits = [n for n, (run, _) in eligible.items() if "run_id" not in wanted or run == wanted["run_id"]]
        if "where" in wanted:
            fits = [n for n in fits if eligible[n][1] == "approved"]
        if wanted.get("latest") or wanted.get("newest"):
            fits = sorted(fits)[-1:]
        return fits[0] if len(fits) == 1 else None

    specs = [alias("champion", said), alias("challenger", challenger), *declared]
    found = choose_versions(desired(*specs), ours(*recorded), live(*there)).desired.objects
    for name, wanted in (("champion", said), ("challenger", challenger)):
        held = found[Address("model_alias", ("fraud", name))].model_dump()["version"]
        assert (held if isinstance(held, int) else None) == by_hand(wanted)


# --- as they are written


def read(directory: Path, text: str) -> Desired:
    (directory / "lac.yaml").write_text("name: payments\n")
    (directory / "m.yaml").write_text(text)
    return load(directory, SPECS, checks=[check_cycles]).desired


MODEL = "registered_models:\n  - name: fraud\n    aliases:\n      champion: "
SERVED = """serving_endpoints:
  - name: e
    served_entities:
      - {name: a, entity_name: fraud, entity_version: 1}
      - name: b
        entity_name: fraud
        entity_version: {latest: true}
    traffic_config:
      routes:
        - {served_entity_name: a, traffic_percentage: 50}
        - {served_entity_name: b, traffic_percentage: 50}
"""


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        ("{latest: true}", selector(latest=True)),
        ("{run_id: r1}", selector(run_id="r1")),
        (f"{{where: '{APPROVED}', newest: true}}", selector(where=APPROVED, newest=True)),
        ("{alias: challenger}", selector(alias="challenger")),
        ("3", 3),
    ],
    ids=str,
)
def test_it_may_stand_where_a_version_stands(tmp_path: Path, said: str, wanted: object) -> None:
    sugar = read(tmp_path, MODEL + said)
    section = read(tmp_path, f"model_aliases: [{{model: fraud, alias: champion, version: {said}}}]")
    here = Address("model_alias", ("fraud", "champion"))
    assert getattr(sugar.objects[here], "version") == getattr(section.objects[here], "version") == wanted  # noqa: B009
    places = [d.selected_at.get((here, ("version",))) for d in (sugar, section)]
    if not isinstance(wanted, int):
        assert [(p.line, p.column) for p in places if p] == [(4, 17), (1, 58)]


def test_in_an_endpoint_its_place_is_its_own(tmp_path: Path) -> None:
    found = read(tmp_path, SERVED)
    here = Address("serving_endpoint", ("e",))
    place = found.selected_at[here, ("served_entities", "b", "entity_version")]
    assert (place.line, place.column) == (7, 25)
    # an alias is followed, however it is written
    written = read(tmp_path, SERVED.replace("latest: true", "alias: champion")).objects[here].written()
    assert [e["entity_version"] for e in written["served_entities"]] == [1, "@champion"]


@pytest.mark.parametrize(
    ("said", "column", "told"),
    [
        ("{latest: false}", 26, "`version.latest`: `false` selects nothing; remove it."),
        ("{latest: 1}", 26, "`latest` is `1`; expected `true` or `false`."),
        (
            "{latest: true, run_id: r}",
            17,
            "exactly one of latest, run_id, where, alias, and latest and run_id",
        ),
        ("{}", 17, "exactly one of latest, run_id, where, alias, and none is given"),
        ("{latest: true, newest: true}", 17, "`newest` is allowed only beside `where`"),
        ("{latst: true}", 18, "`latst` is not a field of version selector."),
        ("{run_id: 'a b'}", 26, "`version.run_id`: `a b` should match"),
        (f"{{run_id: {'a' * 33}}}", 26, "should match"),
        ("{alias: ''}", 25, "should match"),
        (
            "{where: 'tagz.a == \"b\"'}",
            25,
            "Undeclared reference to 'tagz.a', at character 1 (did you mean `tags`?).",
        ),
        ("{where: 'version == \"3\"'}", 25, "int"),
        ("{where: 'version'}", 25, "true"),
        ("{where: 'version >'}", 25, "`version.where`"),
        ("{where: ''}", 25, "`version.where`"),
        (f"{{where: '{'(' * 200}true{')' * 200}'}}", 25, "`version.where`"),
        (f"{{where: '{'true && ' * 300}true'}}", 25, "at most 2000 characters"),
        ("[1]", 17, "`version` is a list; expected a whole number or a mapping."),
        ("0", 17, "`version`: `0` should be greater than or equal to 1."),
    ],
    ids=str,
)
def test_what_is_wrong_is_told_where_it_stands(tmp_path: Path, said: str, column: int, told: str) -> None:
    with pytest.raises(LacError) as caught:
        read(tmp_path, MODEL + said)
    (problem,) = caught.value.diagnostics
    assert problem.at is not None
    assert problem.at[1:] == (4, column)
    assert told in problem.detail


def test_without_an_engine_only_conditions_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cel_expr_python", None)
    conditions._engine.cache_clear()
    assert read(tmp_path, MODEL + "{latest: true}").objects
    with pytest.raises(LacError, match=r"pip install 'lifecycle-as-code\[policy\]'"):
        read(tmp_path, MODEL + "{where: 'version == 1'}")


def test_a_loop_is_found_without_any_store(tmp_path: Path) -> None:
    with pytest.raises(LacError) as caught:
        read(tmp_path, MODEL + "{alias: shadow}\n      shadow: {alias: champion}")
    (problem,) = caught.value.diagnostics
    assert (problem.code, problem.at) == ("selector-cycle", Source(str(tmp_path / "m.yaml"), 4, 17))


@pytest.mark.parametrize(
    ("said", "accepted"),
    [
        ("{latest: true}", True),
        ("{where: 'x', newest: true}", True),
        ("{run_id: r1}", True),
        ("{alias: challenger}", True),
        ("'{{ var.version }}'", True),
        ("3", True),
        ("{latest: false}", False),
        ("{latest: true, alias: a}", False),
        ("{latest: true, newest: true}", False),
        ("{}", False),
        ("{latst: true}", False),
        ("{alias: 'a b'}", False),
        ("'3'", False),
    ],
    ids=str,
)
def test_the_schema_takes_what_reading_takes(said: str, accepted: bool) -> None:
    checks = Draft202012Validator(manifest_schema(SPECS))
    entity = f"{{name: a, entity_name: fraud, entity_version: {said}}}"
    texts = [MODEL + said, f"model_aliases: [{{model: fraud, alias: a, version: {said}}}]"]
    if said != "'3'":
        texts.append(f"serving_endpoints: [{{name: e, served_entities: [{entity}]}}]")
    for text in texts:
        assert checks.is_valid(yaml.safe_load(text)) == accepted


def test_a_field_that_may_be_selected_is_a_plain_value_to_all_else() -> None:
    """Policies may ask for it by its number, and records read it back as it is."""
    assert "version" not in shapes(ModelAlias)
    assert "entity_version" not in shapes(ServedEntity)


@pytest.mark.parametrize(
    ("text", "edit"),
    [
        (MODEL + "{latest: true} # why\n", MODEL + "7 # why\n"),
        (
            "model_aliases:\n  - model: fraud\n    alias: champion\n    version:\n      where: >-\n"
            "        version\n        > 1\n      newest: true\n  # the end\n",
            "model_aliases:\n  - model: fraud\n    alias: champion\n    version: 7\n  # the end\n",
        ),
    ],
    ids=["in line", "in blocks"],
)
def test_an_edit_puts_the_number_in_the_selectors_place(tmp_path: Path, text: str, edit: str) -> None:
    """As `lac rollback --write` does."""
    read(tmp_path, text)
    file = str(tmp_path / "m.yaml")
    changed = rewrite(load(tmp_path, SPECS), {alias("champion", 7).address: alias("champion", 7)}, SPECS)
    assert changed == {file: edit}


# --- planned and applied


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path, fresh_sqlite(tmp_path), fresh_sqlite(tmp_path, "auth"))


def world(*aliases: Spec, versions: Iterable[int] = (1, 2)) -> list[Spec]:
    return [RegisteredModel(name="fraud"), *map(made, versions), *aliases]


def versions_of(stack: Stack) -> dict[str, Any]:
    """Where the plan moves aliases, with why."""
    return {
        str(change.address.key[1]): (change.after.model_dump()["version"], change.reason)
        for change in stack.plan().changes
        if change.after is not None and change.address.kind == "model_alias"
    }


def registered(bench: Bench, **tags: str) -> int:
    """A training pipeline's new version."""
    client = MlflowClient(bench.store, bench.store)
    return int(client.create_model_version("fraud", "/m/outside", tags=tags).version)


def test_what_is_selected_moves_with_the_world_and_else_stays(bench: Bench) -> None:
    aliases = [alias("champion", BEST), alias("challenger", {"latest": True}), alias("shadow", 1)]
    specs = [*world(*aliases), made(3, validation_status="approved")]
    plan, _ = converge(bench.stack(specs))
    # a version that the same plan makes comes before the alias
    assert plan.changes[-1].address.kind == "model_alias"
    assert bench.stack(specs).plan().changes == ()
    assert {
        str(a.key[1]): r.spec.model_dump()["version"]
        for a, r in bench.records().items()
        if r.spec and a.kind == "model_alias"
    } == {
        "champion": 3,
        "challenger": 3,
        "shadow": 1,
    }
    assert registered(bench) == 4
    assert versions_of(bench.stack(specs)) == {"challenger": (4, "selected by {latest: true}")}
    drift = bench.stack(specs).drift()
    assert not drift.exists
    assert drift.pending
    assert [str(c.address) for c in drift.pending.changes] == ["model_alias.fraud/challenger"]
    converge(bench.stack(specs))
    assert bench.stack(specs).plan().changes == ()
    MlflowClient(bench.store, bench.store).set_model_version_tag(
        "fraud", "4", "validation_status", "approved"
    )
    assert versions_of(bench.stack(specs)).keys() == {"champion"}


def test_what_moved_outside_is_drift_whatever_selects_it(bench: Bench) -> None:
    specs = world(alias("champion", {"latest": True}))
    converge(bench.stack(specs))
    MlflowClient(bench.store, bench.store).set_registered_model_alias("fraud", "champion", "1")
    assert versions_of(bench.stack(specs)) == {"champion": (2, "changed outside")}
    drift = bench.stack(specs).drift()
    assert [c.reason for c in drift.outside.changes] == ["changed outside"]
    assert drift.pending is not None
    assert drift.pending.changes == ()


def test_a_selector_that_fits_nothing_leaves_drift_to_be_seen(bench: Bench) -> None:
    converge(bench.stack(world(alias("champion", 2))))
    MlflowClient(bench.store, bench.store).set_registered_model_alias("fraud", "champion", "1")
    drift = bench.stack(world(alias("champion", BEST))).drift()
    assert [c.reason for c in drift.outside.changes] == ["changed outside"]
    assert [p.code for p in drift.problems] == ["selector-matches-nothing"]


def test_a_saved_plan_keeps_the_version_that_was_reviewed(bench: Bench) -> None:
    converge(bench.stack(world(versions=(1, 2, 3))))
    moving = bench.stack(world(alias("champion", {"latest": True}), versions=(1, 2, 3)))
    saved = moving.save_plan(moving.plan())
    # between the review and the apply
    assert registered(bench) == 4
    plan = moving.check_plan(moving.read_plan(saved))
    assert [c.after.model_dump()["version"] for c in plan.changes if c.after] == [3]
    list(moving.apply(plan))
    assert bench.live()[alias("champion", 3).address].spec.model_dump()["version"] == 3


def test_a_part_of_a_plan_brings_the_version_that_is_selected(bench: Bench) -> None:
    """And what is wrong elsewhere doesn't matter to it."""
    specs = world(alias("champion", {"latest": True}), alias("lost", BEST))
    plan = bench.stack(specs).plan(targets=["model_alias.fraud/champion"])
    assert "model_version.fraud/2" in {str(c.address) for c in plan.changes}
    assert "model_alias.fraud/lost" not in {str(c.address) for c in plan.changes}
    with pytest.raises(LacError) as caught:
        bench.stack(specs).plan()
    assert [p.code for p in caught.value.diagnostics] == ["selector-matches-nothing"]


def test_a_run_is_known_of_a_version_that_is_still_to_be_made(bench: Bench) -> None:
    client = MlflowClient(bench.store, bench.store)
    run = client.create_run("0").info.run_id
    source = ModelVersion(model="fraud", version=1, source=f"runs:/{run}/model")
    specs = [RegisteredModel(name="fraud"), source, alias("champion", {"run_id": run})]
    with pytest.raises(LacError) as caught:
        bench.stack([*specs[:1], made(1), specs[2]]).plan()
    assert "1: of no run" in str(caught.value)
    converge(bench.stack(specs))
    assert bench.stack(specs).plan().changes == ()
    assert client.get_model_version_by_alias("fraud", "champion").run_id == run


def test_plans_are_resolved_from_records_where_nobody_looks(bench: Bench) -> None:
    specs = world(alias("champion", {"latest": True}))
    converge(bench.stack(specs))
    assert bench.stack(specs).plan(refresh=False).changes == ()


def test_choices_are_there_to_be_shown(bench: Bench) -> None:
    specs = world(alias("champion", {"latest": True}))
    converge(bench.stack(specs))
    session = bench.stack(specs)._session
    choices = take_snapshots(session, session.desired).desired.choices
    here = alias("champion", 1).address
    assert choices == (Choice(here, "version", "{latest: true}", 2, ((1, "older than 2"),)),)


@pytest.fixture
def paper(monkeypatch: pytest.MonkeyPatch) -> Paper:
    return on_paper(monkeypatch)


def endpoint(**said: Any) -> ServingEndpoint:
    here = ServedEntity(name="main", entity_name="fraud", entity_version=selector(**said))
    return ServingEndpoint(name="fraud", served_entities=(here,), auth="none")


def test_an_endpoint_serves_what_is_selected(bench: Bench, paper: Paper) -> None:
    served = replace(bench, serve=Serve(local=False, address="http://paper"))
    specs = [RegisteredModel(name="fraud"), ModelVersion(model="fraud", version=1, source="/good/1")]
    converge(served.stack([*specs, endpoint(latest=True)]))
    assert served.stack([*specs, endpoint(latest=True)]).plan().changes == ()
    client = MlflowClient(bench.store, bench.store)
    client.create_model_version("fraud", "/good/2")
    stack = served.stack([*specs, endpoint(latest=True)])
    (change,) = stack.plan().changes
    assert change.reason == "selected by {latest: true}"
    assert [f.name for f in change.fields] == [
        "served_entities.main.entity_version",
        "served_entities.main.location",
    ]
    converge(stack)
    assert "/good/2" in str(paper.apps)
    assert served.stack([*specs, endpoint(latest=True)]).plan().changes == ()
    with pytest.raises(LacError) as caught:
        served.stack([*specs, endpoint(run_id="r9")]).plan()
    assert "`served_entities.main.entity_version: {run_id: r9}` fits nothing" in str(caught.value)


def test_an_endpoint_follows_an_alias_that_selects(bench: Bench, paper: Paper) -> None:  # noqa: ARG001
    served = replace(bench, serve=Serve(local=False, address="http://paper"))
    specs: list[Spec] = [
        RegisteredModel(name="fraud"),
        ModelVersion(model="fraud", version=1, source="/good/1"),
        alias("champion", {"latest": True}),
        endpoint(alias="champion"),
    ]
    converge(served.stack(specs))
    MlflowClient(bench.store, bench.store).create_model_version("fraud", "/good/2")
    reasons = {str(c.address): c.reason for c in served.stack(specs).plan().changes}
    assert reasons == {
        "model_alias.fraud/champion": "selected by {latest: true}",
        "serving_endpoint.fraud": "follows model_alias.fraud/champion",
    }
