"""Who did what, when: told by every command that writes, and what follows from it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from engine.apply.test_endpoints import killed_after, paper, served, world  # noqa: F401 - fixtures are found by name
from engine.test_saved_plans import applied, declared, outside, saved, tables
from sqlalchemy import create_engine, inspect, text
from support.bench import Bench, converge
from support.command import Directory, models
from support.mlflow_fixture import fresh_postgres, fresh_sqlite

from lifecycle_as_code.engine.actor import actor, commit_warning
from lifecycle_as_code.kinds.model_alias import ModelAlias
from lifecycle_as_code.kinds.model_version import ModelVersion
from lifecycle_as_code.kinds.registered_model import RegisteredModel
from lifecycle_as_code.model.diagnostics import LacError
from lifecycle_as_code.model.events import Warned
from lifecycle_as_code.model.history import Actor, Apply, Line, at, of_address
from lifecycle_as_code.model.spec import Address, Spec, parse_address, plain
from lifecycle_as_code.planning.rollback import undone
from lifecycle_as_code.stores.state import install, installed
from lifecycle_as_code.stores.state.tables import SCHEMA_VERSION
from lifecycle_as_code.stores.state.upgrades import UPGRADES

FRAUD = RegisteredModel(name="fraud")
CHAMPION = Address("model_alias", ("fraud", "champion"))


def alias(version: int, name: str = "champion") -> ModelAlias:
    return ModelAlias(model="fraud", alias=name, version=version)


def line(
    action: str, before: Spec | None, after: Spec | None, at_ms: int = 0, *, of: Address | None = None
) -> Line:
    side = after or before
    address = of or (side.address if side else CHAMPION)
    return Line("", 0, "test", address, action, "declared", before, after, at_ms)


def an_apply(number: int, *lines: Line) -> Apply:
    """The number-th, ten seconds after the one before."""
    apply_id = f"{number:08}-of-{number}"
    started = number * 10_000
    numbered = [
        replace(each, apply_id=apply_id, number=n, at_ms=each.at_ms or started + n)
        for n, each in enumerate(lines, 1)
    ]
    return Apply(
        apply_id, "test", "", "apply", started, started + 900, "complete", Actor(), "", tuple(numbered)
    )


# --- what was recorded at a time

STORY = [
    an_apply(1, line("create", None, FRAUD), line("create", None, alias(1))),
    an_apply(2, line("update", alias(1), alias(2)), line("record", None, alias(1, "old"))),
    an_apply(3, line("delete", alias(2), None), line("forget", alias(1, "old"), None)),
    an_apply(4, line("create", None, alias(3))),
]


@pytest.mark.parametrize(
    ("moment", "held"),
    [
        (0, []),
        (10_000, []),
        (10_001, [FRAUD]),
        (10_002, [FRAUD, alias(1)]),
        (19_999, [FRAUD, alias(1)]),
        (20_001, [FRAUD, alias(2)]),
        (29_999, [FRAUD, alias(2), alias(1, "old")]),
        (30_001, [FRAUD, alias(1, "old")]),
        (30_002, [FRAUD]),
        (99_999, [FRAUD, alias(3)]),
    ],
)
@pytest.mark.parametrize("turned", [False, True], ids=["in order", "the other way round"])
def test_at_a_time_the_last_word_on_each_object_holds(moment: int, held: list[Spec], turned: bool) -> None:
    lines = [each for apply in STORY for each in apply.lines]
    found = at(reversed(lines) if turned else lines, moment)
    assert found == {spec.address: spec for spec in held}


def test_what_happened_to_an_object_is_told_the_latest_first() -> None:
    told = [(apply.started_ms, each.action) for apply, each in of_address(STORY, CHAMPION)]
    assert told == [(40_000, "create"), (30_000, "delete"), (20_000, "update"), (10_000, "create")]


# --- what has to be wanted again


def parse(text_: str) -> Address:
    return parse_address(text_, {"model_alias": ModelAlias, "registered_model": RegisteredModel})


TWICE = [
    an_apply(5, line("create", None, alias(1)), line("update", alias(1), alias(2))),
    an_apply(6, line("record", alias(2), alias(2)), line("forget", None, None, of=FRAUD.address)),
    an_apply(7, line("move", FRAUD, FRAUD)),
]
UNDONE: Mapping[str, tuple[str, Sequence[Apply], Mapping[Address, Spec | None]]] = {
    "a creation": ("00000004", STORY, {CHAMPION: None}),
    "a deletion": ("00000003", STORY[:3], {CHAMPION: alias(2)}),
    "an update": ("00000002", STORY[:2], {CHAMPION: alias(1)}),
    "the whole id": ("00000004-of-4", STORY, {CHAMPION: None}),
    "several objects": ("00000001", STORY[:1], {FRAUD.address: None, CHAMPION: None}),
    "an object alone": (str(CHAMPION), STORY, {CHAMPION: None}),
    "an object before": (str(CHAMPION), STORY[:3], {CHAMPION: alias(2)}),
    "an object twice in one apply": ("00000005", TWICE, {CHAMPION: None}),
    "what only records did since": (str(CHAMPION), TWICE, {CHAMPION: alias(1)}),
}


@pytest.mark.parametrize(("what", "applies", "wanted"), UNDONE.values(), ids=UNDONE)
def test_what_is_wanted_again_is_what_was_before(
    what: str, applies: Sequence[Apply], wanted: Mapping[Address, Spec | None]
) -> None:
    back = undone(what, applies, parse)
    assert back.wanted == wanted
    assert back.because.startswith("as before apply 0000000")


REFUSED: Mapping[str, tuple[str, Sequence[Apply], str, str]] = {
    "superseded": ("00000001", STORY, "changed-since", "champion: by apply 00000002, 00000003, 00000004"),
    "no such apply": ("12345678", STORY, "no-such-apply", "is none of this stack's"),
    "too short": ("00000", STORY, "no-such-apply", "is none of this stack's"),
    "of several": ("000000", STORY, "no-such-apply", "is the beginning of several"),
    "nothing at all": ("", STORY, "no-such-apply", ""),
    "only records": ("00000006", TWICE, "nothing-to-roll-back", "changed no object"),
    "a rename": ("00000007", TWICE, "nothing-to-roll-back", "renamed something"),
    "a renamed object": (str(FRAUD.address), TWICE, "nothing-to-roll-back", "the other way round"),
    "an object that nothing changed": ("model_alias.a/b", STORY, "nothing-to-roll-back", "No apply"),
}


@pytest.mark.parametrize(("what", "applies", "code", "told"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_undone_says_why(what: str, applies: Sequence[Apply], code: str, told: str) -> None:
    with pytest.raises(LacError) as caught:
        undone(what, applies, parse)
    (problem,) = caught.value.diagnostics
    assert problem.code == code
    assert told in str(problem)


# --- who


def git(directory: Path, *args: str) -> str:
    who = ["-c", "user.name=ann", "-c", "user.email=ann@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", *who, *args], cwd=directory, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_the_commit_and_the_remote_are_known_without_its_password(tmp_path: Path) -> None:
    (tmp_path / "lac.yaml").write_text("name: test\n")
    git(tmp_path, "init", "-q")
    git(tmp_path, "remote", "add", "origin", "https://ann:hunter2@git.example/infra.git?token=hunter2")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "First.")
    found = actor(tmp_path, os.environ)
    assert found.commit == git(tmp_path, "rev-parse", "HEAD")
    assert found.remote == "https://git.example/infra.git"
    assert not found.dirty
    (tmp_path / "lac.yaml").write_text("name: other\n")
    assert actor(tmp_path, os.environ).dirty


def test_without_a_repository_nothing_is_known_of_one(tmp_path: Path) -> None:
    environ = {"PATH": os.environ["PATH"], "GIT_CEILING_DIRECTORIES": str(tmp_path.parent)}
    found = actor(tmp_path, environ)
    assert (found.commit, found.remote, found.dirty) == ("", "", False)
    assert commit_warning(tmp_path, environ) is None
    assert actor(tmp_path, {"PATH": ""}).commit == ""


SHA = "4f0c1d2e" * 5

COMMITS: dict[str, tuple[Mapping[str, str], str]] = {
    "GitHub": (
        {"GITHUB_SHA": SHA, "GITHUB_SERVER_URL": "https://github.com", "GITHUB_REPOSITORY": "ann/infra"},
        "https://github.com/ann/infra",
    ),
    "GitLab": (
        {"CI_COMMIT_SHA": SHA, "CI_PROJECT_URL": "https://git.example/infra"},
        "https://git.example/infra",
    ),
    "Buildkite": (
        {"BUILDKITE_COMMIT": SHA, "BUILDKITE_REPO": "https://ann:hunter2@git.example/infra.git"},
        "https://git.example/infra.git",
    ),
}


@pytest.fixture
def refused(tmp_path: Path) -> Mapping[str, str]:
    """The environment in which git refuses the checkout at `tmp_path`, as it does another user's."""
    git(tmp_path, "init", "-q")
    git(tmp_path, "commit", "-q", "--allow-empty", "-m", "First.")
    names = {
        "GIT_TEST_ASSUME_DIFFERENT_OWNER": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_CONFIG_NOSYSTEM": "1",
    }
    return {"PATH": os.environ["PATH"], **names}


@pytest.mark.parametrize(("named", "remote"), COMMITS.values(), ids=COMMITS)
def test_where_git_refuses_the_ci_jobs_commit_counts(
    named: Mapping[str, str], remote: str, refused: Mapping[str, str], tmp_path: Path
) -> None:
    found = actor(tmp_path, {**refused, **named})
    assert (found.commit, found.remote) == (SHA, remote)
    assert commit_warning(tmp_path, {**refused, **named}) is None


@pytest.mark.parametrize("named", [{}, {"GITHUB_SHA": "main"}], ids=["none", "no commit's"])
def test_where_git_refuses_and_no_job_names_a_commit_it_is_said(
    named: Mapping[str, str], refused: Mapping[str, str], tmp_path: Path
) -> None:
    assert actor(tmp_path, {**refused, **named}).commit == ""
    warning = commit_warning(tmp_path, {**refused, **named})
    assert warning is not None
    assert "dubious ownership" in warning.detail
    assert "safe.directory" in warning.hint


def test_an_apply_says_that_history_knows_no_commit(refused: Mapping[str, str], tmp_path: Path) -> None:
    bench = Bench(tmp_path, fresh_sqlite(tmp_path), environ=refused)
    _, events = converge(bench.stack([RegisteredModel(name="fraud")]))
    assert [e.diagnostic.code for e in events if isinstance(e, Warned)] == ["commit-not-recorded"]


def test_without_git_a_checkout_has_no_commit_and_it_is_said(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    assert actor(tmp_path, {"PATH": "", **COMMITS["GitLab"][0]}).commit == SHA
    assert commit_warning(tmp_path, {"PATH": ""}) is not None


CI: Mapping[str, tuple[Mapping[str, str], str, str]] = {
    "GitHub": (
        {
            "GITHUB_ACTOR": "octo",
            "GITHUB_SERVER_URL": "https://github.com",
            "GITHUB_REPOSITORY": "shop/infra",
            "GITHUB_RUN_ID": "7",
        },
        "octo",
        "https://github.com/shop/infra/actions/runs/7",
    ),
    "GitLab": (
        {"GITLAB_USER_LOGIN": "tanuki", "CI_JOB_URL": "https://git.example/-/jobs/7"},
        "tanuki",
        "https://git.example/-/jobs/7",
    ),
    "Jenkins": ({"BUILD_URL": "https://ci.example/7/"}, "", "https://ci.example/7/"),
    "none": ({}, "", ""),
}


@pytest.mark.parametrize(("environ", "who", "run"), CI.values(), ids=CI)
def test_who_set_a_job_off_is_known(environ: Mapping[str, str], who: str, run: str, tmp_path: Path) -> None:
    found = actor(tmp_path, environ)
    assert (found.ci, found.run) == (who, run)
    assert str(found).startswith(who or found.user)


def test_an_actor_of_another_lac_is_read() -> None:
    assert Actor.of({"user": "ann", "badge": 7}) == Actor(user="ann")
    assert str(Actor()) == "somebody"


# --- what each command leaves


def last(bench: Bench, name: str = "test") -> Apply:
    return bench.stack(name=name).history()[-1]


def told(apply: Apply) -> list[tuple[str, str]]:
    return [(each.action, str(each.address)) for each in apply.lines]


MODEL = [FRAUD, *(ModelVersion(model="fraud", version=n, source=f"s3://fraud/{n}") for n in (1, 2))]


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
    assert second.plan_digest.startswith("sha256:")
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
    bench.stack().adopt(None)


def _rolled_back(bench: Bench) -> None:
    applied(bench.stack(), bench.stack().saved(bench.stack().rollback(str(CHAMPION)).plan))


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
    stack.saved(stack.plan())
    stack.drift()
    stack.rollback(str(CHAMPION))
    stack.at(2**53)
    assert tables(bench) == before
    assert bench.stack().history() == known


@pytest.mark.any_store
def test_a_take_over_is_told_in_both_histories(bench: Bench) -> None:
    converge(bench.stack([*MODEL, alias(1)], name="first"))
    bench.stack(name="second").adopt([CHAMPION], take_over=True)
    (taken,) = (apply for apply in bench.stack(name="first").history() if apply.stack == "second")
    assert [(each.action, each.reason) for each in taken.lines] == [("forget", "taken over by stack second")]
    assert taken.lines[0].before == alias(1)
    (seen,) = bench.stack(name="second").history(CHAMPION)
    assert [(each.action, each.reason) for each in seen.lines] == [("record", "taken over from stack first")]
    assert CHAMPION not in bench.stack(name="first").at(2**53)
    assert bench.stack(name="second").at(2**53) == {CHAMPION: alias(1)}


def test_what_was_recorded_is_known_before_between_and_after_applies(bench: Bench) -> None:
    for champion in (1, 2):
        converge(bench.stack([*MODEL, alias(champion)]))
    _destroyed(bench)
    first, second, third = bench.stack().history()
    assert bench.stack().at(first.started_ms - 1) == {}
    assert bench.stack().at(second.started_ms - 1)[CHAMPION] == alias(1)
    assert bench.stack().at(third.started_ms - 1)[CHAMPION] == alias(2)
    assert len(bench.stack().at(third.started_ms - 1)) == 4
    assert bench.stack().at(2**53) == {}


@pytest.mark.any_store
def test_an_endpoints_way_is_told(
    paper: Any,  # noqa: F811, ARG001 - the cluster it is about
    served: Bench,  # noqa: F811
) -> None:
    converge(served.stack(world(1)))
    converge(served.stack(world(2)))
    lines = {str(each.address): each for each in last(served).lines}
    assert set(lines) == {str(CHAMPION), "serving_endpoint.fraud"}
    assert lines["serving_endpoint.fraud"].reason == f"follows {CHAMPION}"
    converge(served.stack(world(3)))
    assert last(served).outcome == "partial"
    assert last(served).lines == ()


def test_one_that_was_killed_is_told_as_interrupted(
    paper: Any,  # noqa: F811
    served: Bench,  # noqa: F811
) -> None:
    converge(served.stack(world(1)))
    killed_after(paper, 1, served, world(2))
    # a kill runs nothing at the end; the double's exception does
    outside(
        served,
        f"UPDATE lac_applies SET ended_ms = NULL, outcome = NULL WHERE apply_id = '{last(served).apply_id}'",
    )
    assert (last(served).outcome, last(served).ended_ms) == ("", None)


# --- tables of version 1

VERSION_1 = (
    "CREATE TABLE lac_meta (key VARCHAR(64) NOT NULL PRIMARY KEY, value TEXT NOT NULL)",
    "CREATE TABLE lac_records (workspace VARCHAR(63) NOT NULL, kind VARCHAR(64) NOT NULL,"
    " name VARCHAR(1024) NOT NULL, stack VARCHAR(63) NOT NULL, applied TEXT, pending TEXT,"
    " apply_id VARCHAR(36) NOT NULL, updated_ms BIGINT NOT NULL, PRIMARY KEY (workspace, kind, name))",
    "CREATE INDEX ix_lac_records_stack ON lac_records (stack)",
    "CREATE TABLE lac_lock (name VARCHAR(128) NOT NULL PRIMARY KEY, holder VARCHAR(256) NOT NULL,"
    " token VARCHAR(36) NOT NULL, fence INTEGER NOT NULL, since INTEGER NOT NULL, expires INTEGER NOT NULL)",
    "INSERT INTO lac_meta (key, value) VALUES ('schema_version', '1')",
)
OURS = ("lac_meta", "lac_records", "lac_lock", "lac_applies", "lac_changes")


def aged(bench: Bench) -> None:
    """Our tables as the first version made them, with the same records; one first apply is pending."""
    for where in ("registry", "auth"):
        url = (bench.auth_store or bench.store) if where == "auth" else bench.store
        engine = create_engine(url)
        if where == "auth" and bench.auth_store == bench.store:
            continue
        with engine.begin() as db:
            if not inspect(db).has_table("lac_records"):
                continue
            query = (
                "SELECT workspace, kind, name, stack, applied, pending, apply_id, updated_ms FROM lac_records"
            )
            rows = [dict(row) for row in db.execute(text(query)).mappings()]
            for name in OURS:
                db.execute(text(f"DROP TABLE {name}"))
            for statement in VERSION_1:
                db.execute(text(statement))
            for row in rows:
                names = ", ".join(row)
                values = ", ".join(f":{name}" for name in row)
                db.execute(text(f"INSERT INTO lac_records ({names}) VALUES ({values})"), row)
            db.execute(text("INSERT INTO lac_lock VALUES ('test', '', '', 7, 1, 2)"))
        engine.dispose()


@pytest.fixture
def old(bench: Bench) -> Bench:
    outside(
        bench,
        "INSERT INTO users (id, username, password_hash, is_admin) VALUES (1, 'ann', 'x', false)",
        "auth",
    )
    converge(bench.stack(declared()))
    converge(bench.stack([RegisteredModel(name="other")], name="another"))
    aged(bench)
    return bench


def test_reading_works_on_tables_of_version_1_and_leaves_them(old: Bench) -> None:
    before = tables(old)
    stack = old.stack(declared(later=True))
    assert {c.reason for c in stack.plan().changes} == {"declared", "manifest changed", "no longer declared"}
    assert not stack.drift().found
    assert stack.history() == []
    assert stack.at(2**53) == {}
    assert len(stack.records()) == len(declared())
    stack.saved(stack.plan())
    with pytest.raises(LacError, match="no-such-apply"):
        stack.rollback("12345678")
    assert tables(old) == before


def shape(url: str) -> dict[str, object]:
    """Our tables' columns and indexes as the database tells of them, whatever the order."""
    engine = create_engine(url)
    found: dict[str, object] = {}
    with engine.connect() as db:
        look = inspect(db)
        for table in sorted(name for name in look.get_table_names() if name.startswith("lac_")):
            for column in look.get_columns(table):
                # SQLite's integers have no width
                sqlite = url.startswith("sqlite") and str(column["type"]) in ("INTEGER", "BIGINT")
                kind = "INTEGER" if sqlite else str(column["type"])
                default = str(column["default"] or "").lower().replace("false", "0")
                found[f"{table}.{column['name']}"] = (kind, column["nullable"], default)
            found[f"{table} key"] = look.get_pk_constraint(table)["constrained_columns"]
            found[f"{table} indexes"] = sorted(
                (str(index["name"]), index["column_names"]) for index in look.get_indexes(table)
            )
    engine.dispose()
    return found


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
def test_every_step_from_version_1_leads_to_the_tables_that_are_made_today(
    dialect: str, tmp_path: Path
) -> None:
    """Fails when a table changes and no step leads there: a step never looks at today's tables."""
    assert [*UPGRADES] == [*range(1, SCHEMA_VERSION)]
    urls = [f"sqlite:///{tmp_path}/{name}.db" for name in ("old", "fresh")]
    if dialect == "postgresql":
        urls = [fresh_postgres(), fresh_postgres()]
    for url, statements in zip(urls, (VERSION_1, ()), strict=True):
        engine = create_engine(url)
        with engine.begin() as db:
            for statement in statements:
                db.execute(text(statement))
            install(db)
            assert installed(db) == SCHEMA_VERSION
        engine.dispose()
    assert shape(urls[0]) == shape(urls[1])


def test_an_upgrade_keeps_the_records_and_begins_history_with_them(old: Bench) -> None:
    records = old.records()
    converge(old.stack([*declared(), RegisteredModel(name="second")]))
    assert {
        a: r for a, r in old.records().items() if a != Address("registered_model", ("second",))
    } == records
    # one a database
    began = [apply for apply in old.stack().history() if apply.command == "upgrade"]
    (second,) = (apply for apply in old.stack().history() if apply not in began)
    assert {apply.outcome for apply in began} == {"complete"}
    lines = [each for apply in began for each in apply.lines]
    assert {each.address: each.after for each in lines} == {a: r.spec for a, r in records.items()}
    assert {each.reason for each in lines} == {"history begins"}
    assert told(second) == [("create", "registered_model.second")]
    assert {"registered_model.other"} == {
        str(each.address) for apply in old.stack(name="another").history() for each in apply.lines
    }
    assert old.stack(declared()).at(2**53).keys() == old.records().keys()
    # a fence never counts from one again
    engine = create_engine(old.store)
    with engine.connect() as db:
        assert db.execute(text("SELECT fence FROM lac_lock WHERE name = 'test'")).scalar_one() > 7
    engine.dispose()


def test_a_plan_that_was_saved_on_tables_of_version_1_is_carried_out(old: Bench) -> None:
    data = saved(old.stack(declared(later=True)))
    applied(old.stack(), data)
    assert old.stack(declared(later=True)).plan().changes == ()


def test_records_as_they_were_written_are_the_same_json(old: Bench) -> None:
    engine = create_engine(old.store)
    with engine.connect() as db:
        held = db.execute(
            text("SELECT applied FROM lac_records WHERE kind = 'model_alias' AND name LIKE '%old'")
        )
        assert json.loads(held.scalar_one()) == plain(alias(1, "old"))
    engine.dispose()


# --- the command


def test_the_command_tells_of_a_killed_one(tmp_path: Path) -> None:
    stack = Directory(tmp_path / "stack").settings(fresh_sqlite(tmp_path)).declare(models(1))
    stack.lac("apply", "--auto-approve")
    # as a process that was killed after it began leaves it
    engine = create_engine(f"sqlite:///{tmp_path / 'tracking.db'}")
    with engine.begin() as db:
        db.execute(text("UPDATE lac_applies SET ended_ms = NULL, outcome = NULL"))
    engine.dispose()
    assert "interrupted, or at work" in stack.lac("history").stdout
    (found,) = json.loads(stack.lac("history", "--json").stdout)["applies"]
    assert (found["outcome"], found["ended_ms"]) == ("", None)
