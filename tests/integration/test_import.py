"""A registry that people filled by hand is taken over whole, and the next plan is empty."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Metric
from mlflow.entities.model_registry import ModelVersion
from sqlalchemy import MetaData, Table, create_engine, insert, select, text
from support.command import Directory, tracked_at
from support.mlflow_fixture import fresh_postgres, fresh_sqlite

from lifecycle_as_code.stores.mlflow import tables

NAMES = [
    "fraud", "two words", " leads", "trails ", "Größe", "模型", "модель", "🚀 rocket", "e\u0301 combining",
    "it's", 'say "hi"', "a@b", "a@champion", "1st", "1.10", "1e3", "0755", "0x1f", "12345e6", "1_000", "-1",
    "no", "yes", "on", "y", "N", "null", "~", "true", "nan", ".inf", "2024-01-01", "#x", "a #b",
    "- x", "-", "? x", "a, b", "[a]", "{a}", "{{ x }}", "{% if %}", "{# c #}", "&anchor", "*alias", "!tag",
    "| pipe", "> fold", "%percent", "100%", "a%2Fb", "`tick`", "back\\slash", "a\\nb", "<<", "=", "x" * 250,
    "$HOME", "a\u00a0b", "\u200bzero width", "\u202ertl", "model_version.x", "tab\there", "line\nbreak",
]  # fmt: skip
TEXTS = [
    "", "plain", "Two\nlines", "ends with a newline\n", "\n\nstarts with two", "trailing space ",
    "trailing \nspaces \n", "\ttab", "a\ttab", "key: value", "- item\n- item", "{{ not_a_variable }}",
    "{% raw %}\n{{ x }}", "{# comment #}", "'single' \"double\"", "CRLF\r\nline\r\n", "lone\rCR",
    "# heading\n\ntext",
    "---\nfoo", "...", "  indented\n    more", "ünï → 🚀 \U0001f9ea", "\u0085next line", "\u2028separator",
    "no", "null", "1.0", "\\escape\\n", "100% of {", "}} closed", "{{", "%}", "x" * 4990, "word " * 600,
    "long line " * 100 + "\nshort", "| a | table |\n|---|---|\n", "ends with colon:", "\ufeffbom",
    "é vs e\u0301",
]  # fmt: skip
TAG_KEYS = [
    "team",
    "no",
    "1.10",
    "null",
    "a.b/c d",
    "Größe",
    "has: colon",
    "- x",
    "y",
    "1e3",
    "a_b-c",
    "0755",
    "true",
]
ALIASES = ["champion", "no", "null", "v_1", "Größe", "模型", "1st", "y", "on", "v1x", "true"]
RUNS = 3


def fill(client: MlflowClient) -> int:
    """Models of every odd sort; how many objects that may be declared there are at least."""
    runs, logged = tracked(client)
    client.register_prompt("a-prompt", "Say {{ what }}.")
    objects = 0
    for number, name in enumerate(NAMES):
        client.create_registered_model(
            name,
            tags={
                TAG_KEYS[(number + i) % len(TAG_KEYS)]: TEXTS[(number * 3 + i) % len(TEXTS)] for i in range(3)
            },
            description=TEXTS[number % len(TEXTS)],
        )
        versions = [
            client.create_model_version(
                name, source, run_id=run, description=TEXTS[(number + 7) % len(TEXTS)]
            )
            for source, run in (
                (f"runs:/{runs[number % RUNS]}/model", runs[number % RUNS]),
                (f"models:/{logged[number % len(logged)]}", None),
                (f"/srv/models/{number}", None),
                (f"s3://bucket/{number}", runs[number % RUNS]),
            )[: 1 + number % 4]
        ]
        if number % 5 == 2:
            versions.append(client.create_model_version(name, f"models:/{NAMES[0]}/1"))
        decorate(client, versions, number)
        objects += 1 + len(versions)
    return objects


def tracked(client: MlflowClient) -> tuple[list[str], list[str]]:
    """Experiments, a deleted one among them, runs and logged models."""
    for number, name in enumerate(["nightly", "/Users/a@b.c/x", "no", "1.10", "{{ x }}", "模型 #1", "gone"]):
        made = client.create_experiment(name, tags={TAG_KEYS[number]: TEXTS[number * 2]})
        client.set_experiment_tag(made, "mlflow.note.content", TEXTS[number * 3])
        if name == "gone":
            client.delete_experiment(made)
    runs = [client.create_run("0") for _ in range(RUNS)]
    for run in runs:
        client.log_batch(run.info.run_id, metrics=[Metric("auc", 0.9, 0, 0)])
    logged: list[Any] = [
        client.create_logged_model("0", name="scorer", source_run_id=run.info.run_id) for run in runs
    ]
    logged.append(client.create_logged_model("0", name="without a run"))
    return [run.info.run_id for run in runs], [model.model_id for model in logged]


def decorate(client: MlflowClient, versions: list[ModelVersion], number: int) -> None:
    """Tags, stages, aliases and deletions."""
    name = versions[0].name
    for version in versions:
        key = TAG_KEYS[(number + int(version.version)) % len(TAG_KEYS)]
        client.set_model_version_tag(name, version.version, key, TEXTS[(number * 5) % len(TEXTS)])
    client.set_registered_model_alias(name, ALIASES[number % len(ALIASES)], versions[-1].version)
    client.set_registered_model_alias(name, "second", versions[-1].version)
    if number % 4 == 1:
        stage = ["Staging", "Production", "Archived"][number % 3]
        client.transition_model_version_stage(name, versions[0].version, stage)
    if number % 6 == 3:
        client.delete_model_version(name, versions[0].version)


def grant(auth_store: str) -> None:
    """Roles with members and grants, as MLflow's basic-auth keeps them."""
    engine = create_engine(auth_store)
    with engine.begin() as db:
        db.execute(
            text("INSERT INTO users (id, username, password_hash, is_admin) VALUES (1, 'ann', 'x', false)")
        )
        for number, name in enumerate(["analysts", "no", "{{ x }}", "模型 readers"], 1):
            values = {"id": number, "name": name, "text": TEXTS[number]}
            db.execute(
                text(
                    "INSERT INTO roles (id, name, workspace, description)"
                    " VALUES (:id, :name, 'default', :text)"
                ),
                values,
            )
            db.execute(text("INSERT INTO user_role_assignments (user_id, role_id) VALUES (1, :id)"), values)
            for kind, pattern, level in [
                ("registered_model", NAMES[number * 7], "READ"),
                ("registered_model", NAMES[number * 11], "EDIT"),
                ("experiment", "0", "MANAGE"),
                ("registered_model", "*", "USE"),
            ]:
                db.execute(
                    text(
                        "INSERT INTO role_permissions (role_id, resource_type, resource_pattern, permission)"
                        " VALUES (:role, :kind, :pattern, :level)"
                    ),
                    {"role": number, "kind": kind, "pattern": pattern, "level": level},
                )
    engine.dispose()


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
def test_a_registry_made_by_hand_is_taken_over_whole(tmp_path: Path, dialect: str) -> None:
    if dialect == "sqlite":
        store, auth_store = fresh_sqlite(tmp_path), fresh_sqlite(tmp_path, "auth")
    else:
        store = auth_store = fresh_postgres()
    with tracked_at(store):
        count = fill(MlflowClient(store, store))
    grant(auth_store)
    stack = Directory(tmp_path / "stack").settings(store, auth_store=auth_store)

    before = rows(store)

    taken = stack.lac("import", "--all")
    assert taken.stderr.count("imported ") > count
    plan = stack.lac("plan", "--detailed-exitcode")
    assert "No changes" in plan.stdout
    assert "warning" not in plan.stderr + plan.stdout
    assert "warning" not in taken.stderr, taken.stderr
    assert stack.lac("drift").returncode == 0
    assert "every object is managed by a stack" in stack.lac("import", "--all").stderr
    assert rows(store) == before
    assert "a-prompt" not in (stack.path / "imported.yaml").read_text()


ODD_NAMES = ["good", "nul\0", "x" * 300, "", " ", "..", "a/b", "zerowidth", "zero\u200bwidth"]
ODD_ALIASES = ["latest", "v3", "7", "nul\0", "", "a" * 300, "inv\u200bisible", "champion"]
ODD_TAGS = {
    "fine": "yes",
    "nul": "a\0b",
    "k\0": "x",
    "": "x",
    "null": None,
    "huge": "y" * 200_000,
    "odd?": "x",
}
ODD_VERSIONS: list[dict[str, Any]] = [
    {"source": "s3://b/1"},
    {"source": None, "current_stage": None},
    {"source": "s3://b/" + "x" * 600},
    {"source": "s3://b/4", "current_stage": "Odd"},
    {"source": "s3://b/5", "run_id": "no run!"},
    {"source": "s3://b/6", "description": "d\0"},
    {"source": "s3://b/-1", "version": -1},
    {"source": "s3://b/0", "version": 2**40},
]
ODD_LOCATIONS = ["/x", None, "relative", "/" + "x" * 300, "/x#y", "/nul\0"]
ODD_USERS = ["ann", "nul\0", None, "", "u" * 400]
ODD_GRANTS = [
    ("registered_model", "good", "READ"), ("registered_model", "gone", "READ"), ("workspace", "*", "DENY"),
    ("registered_model", "nul\0", "READ"), ("registered_model", "zero\u200bwidth", "READ"),
    ("scorer", "1/judge", "READ"), ("mcp_server", "search", "USE"), ("experiment", "10", "ODD"),
    ("experiment", "777", "READ"), ("registered_model", "", "READ"), ("nonsense", "*", "READ"),
]  # fmt: skip


def fill_with_odd_rows(store: str, auth_store: str) -> None:
    """Rows that no REST handler would write."""
    good = {"name": "good"}
    put(store, tables.registered_models, [{"name": name} for name in ODD_NAMES])
    put(store, tables.registered_models, [{"name": "odd text", "description": "x\0" * 3000}])
    put(store, tables.registered_model_tags, [{**good, "key": k, "value": v} for k, v in ODD_TAGS.items()])
    put(store, tables.model_versions, [{**good, "version": n, **v} for n, v in enumerate(ODD_VERSIONS, 1)])
    put(
        store, tables.model_versions, [{"name": n, "version": 1, "source": "s3://b/1"} for n in ODD_NAMES[1:]]
    )
    put(
        store,
        tables.model_version_tags,
        [{**good, "version": 1, "key": k, "value": v} for k, v in ODD_TAGS.items()],
    )
    put(
        store,
        tables.registered_model_aliases,
        [{**good, "alias": alias, "version": 1} for alias in ODD_ALIASES]
        + [{**good, "alias": "dangling", "version": 99}]
        + [{"name": name, "alias": "champion", "version": 1} for name in ODD_NAMES[1:]],
    )
    put(
        store,
        tables.experiments,
        [
            {"experiment_id": 10 + n, "name": f"e{n}", "artifact_location": at, "lifecycle_stage": "active"}
            for n, at in enumerate(ODD_LOCATIONS)
        ],
    )
    put(
        store,
        tables.experiment_tags,
        [{"experiment_id": 10, "key": k, "value": v} for k, v in ODD_TAGS.items()],
    )
    put(auth_store, tables.users, [{"id": n, "username": name} for n, name in enumerate(ODD_USERS, 1)])
    put(auth_store, tables.roles, [{"id": n, "name": f"role {n}"} for n in range(1, 6)])
    put(auth_store, tables.roles, [{"id": 6, "name": "nul\0"}, {"id": 7, "name": ""}])
    put(auth_store, tables.user_role_assignments, [{"user_id": n, "role_id": n} for n in range(1, 6)])
    put(
        auth_store,
        tables.role_permissions,
        [
            {"role_id": role, "resource_type": kind, "resource_pattern": on, "permission": level}
            for role in (1, 2, 6, 7)
            for kind, on, level in ODD_GRANTS
        ],
    )


def put(store: str, table: Table, values: list[dict[str, Any]]) -> None:
    """INSERT them, each by itself: their columns differ."""
    where = {"workspace": "default"} if "workspace" in table.c else {}
    engine = create_engine(store)
    with engine.begin() as db:
        for row in values:
            db.execute(insert(table).values({**where, **row}))
    engine.dispose()


def test_whatever_is_in_a_store_the_rest_of_it_is_taken_over(tmp_path: Path) -> None:
    store, auth_store = fresh_sqlite(tmp_path), fresh_sqlite(tmp_path, "auth")
    fill_with_odd_rows(store, auth_store)
    before = rows(store)
    stack = Directory(tmp_path / "stack").settings(store, auth_store=auth_store)
    told = stack.lac("import", "--all").stderr
    ours = set(stack.lac("state", "list").stdout.split("\n")[:-1])
    assert {name for name in ours if "xxx" not in name} == {
        *("registered_model.good", "registered_model.zerowidth", "experiment.e0", "experiment.e1"),
        *(f"model_version.{name}/1" for name in ("good", "zerowidth", " ", "..", "a%2Fb")),
        *(f"model_alias.{name}/champion" for name in ("good", "zerowidth", " ", "..", "a%2Fb")),
        *("model_alias.good/7", "role.role 1", "role.role 3", "role.role 4", "role.role 5"),
        *("permission.role 1/registered_model/good", "permission.role 2/registered_model/good"),
    }
    for left in (
        "role.role 2",
        "model_alias.good/latest",
        "registered_model.good, tags.nul",
        "experiment.e3",
    ):
        assert f"  {left}: " in told
    assert "registered_model.zero%E2%80%8Bwidth looks like registered_model.zerowidth" in told
    assert "No changes" in stack.lac("plan", "--detailed-exitcode").stdout
    assert rows(store) == before
    again = stack.lac("import", "--all").stderr
    assert "none of the objects that no stack manages can be declared" in again
    refused = stack.lac("import", "role.role 2", expect=1)
    assert "error[cannot-be-declared]" in refused.stderr

    # what was left stands in the way, and no guard has no flag
    blocked = stack.lac("destroy", "--auto-approve", expect=1).stderr
    guards = set(re.findall("--allow=([a-z-]+)", blocked))
    assert blocked.count("error[still-used]") == blocked.count("--allow=")
    stack.lac("destroy", "--auto-approve", *(f"--allow={guard}" for guard in guards))
    assert stack.lac("state", "list").stdout == ""


def rows(store: str) -> dict[str, list[str]]:
    """Everything in MLflow's tables."""
    engine = create_engine(store)
    held = MetaData()
    held.reflect(engine)
    with engine.connect() as db:
        found = {
            name: sorted(map(repr, db.execute(select(table))))
            for name, table in held.tables.items()
            if not name.startswith("lac_")
        }
    engine.dispose()
    return found


@pytest.fixture
def shelf(tmp_path: Path) -> Directory:
    """A stack that declares nothing yet, over a registry with two models."""
    store = fresh_sqlite(tmp_path)
    client = MlflowClient(store, store)
    for name in ("fraud", "a of b"):
        client.create_registered_model(name, tags={"team": "risk", "mlflow.internal": "1"})
        client.create_model_version(name, "s3://bucket/1")
        client.set_registered_model_alias(name, "champion", "1")
    return Directory(tmp_path / "stack").settings(store)


def test_single_objects_are_taken_over(shelf: Directory) -> None:
    taken = shelf.lac("import", "registered_model.fraud", "model_alias.a of b/champion", "--out", "-")
    assert taken.stdout == (
        "registered_models:\n  - name: fraud\n    tags:\n      team: risk\n\n"
        "model_aliases:\n  - model: a of b\n    alias: champion\n    version: 1\n"
    )
    shelf.declare(taken.stdout)
    assert "No changes" in shelf.lac("plan", "--detailed-exitcode").stdout
    assert shelf.lac("state", "list").stdout.split("\n")[:-1] == [
        "model_alias.a of b/champion",
        "registered_model.fraud",
    ]


def test_what_is_taken_over_may_be_changed_and_given_up(shelf: Directory) -> None:
    shelf.lac("import", "registered_model.fraud", "model_version.fraud/1")
    written = shelf.path / "imported.yaml"
    written.write_text(written.read_text().replace("team: risk", "team: payments"))
    assert "risk" in shelf.lac("plan", "--detailed-exitcode", expect=2).stdout
    shelf.lac("apply", "--auto-approve")
    assert "No changes" in shelf.lac("plan").stdout
    # tags of MLflow's own were not taken over, and are still there
    store = (shelf.path / "lac.yaml").read_text().split('"')[1]
    assert MlflowClient(store, store).get_registered_model("fraud").tags == {
        "team": "payments",
        "mlflow.internal": "1",
    }


def test_importing_twice_changes_nothing(shelf: Directory) -> None:
    shelf.lac("import", "registered_model.fraud")
    again = shelf.lac("import", "registered_model.fraud")
    assert "already declared in the manifests" in again.stdout
    assert [file.name for file in sorted(shelf.path.glob("*.yaml"))] == ["imported.yaml", "lac.yaml"]
    assert "No changes" in shelf.lac("plan", "--detailed-exitcode").stdout


def test_another_stacks_objects_stay_its_own(shelf: Directory, tmp_path: Path) -> None:
    shelf.lac("import", "registered_model.fraud")
    store = (shelf.path / "lac.yaml").read_text().split('"')[1]
    other = Directory(tmp_path / "other").settings(store, name="other")
    refused = other.lac("import", "registered_model.fraud", expect=1)
    assert "error[owned-elsewhere]" in refused.stderr
    assert "stack `test`" in refused.stderr
    assert not list(other.path.glob("imported*"))
    # the rest is free
    other.lac("import", "--all")
    assert "registered_model.fraud" not in other.lac("state", "list").stdout.split()
    assert "No changes" in other.lac("plan", "--detailed-exitcode").stdout


def test_what_is_not_there_is_refused(shelf: Directory) -> None:
    refused = shelf.lac("import", "registered_model.fraud", "model_version.fraud/9", expect=1)
    assert "error[nothing-to-import]" in refused.stderr
    assert shelf.lac("state", "list").stdout.strip() == ""
