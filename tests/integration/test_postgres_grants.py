"""The GRANTs that the example lists are enough for every command, and the reading role can only read."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from mlflow import MlflowClient
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ProgrammingError
from support.command import Directory, models
from support.mlflow_fixture import drop_postgres, fresh_postgres, postgres_server
from support.shared import once

from lifecycle_as_code.kinds.base import Databases
from lifecycle_as_code.kinds.experiment import Experiment, Experiments
from lifecycle_as_code.kinds.registered_model import RegisteredModel, RegisteredModels
from lifecycle_as_code.model.plan import Change
from lifecycle_as_code.stack import Stack
from lifecycle_as_code.stores.mlflow import tables
from lifecycle_as_code.stores.sql.store import open_store, writing
from lifecycle_as_code.stores.state import lock

GRANTS = Path(__file__).parents[2] / "examples" / "postgresql" / "grants.sql"
ROLES = ("lac_plan", "lac_apply")

FIRST = """
registered_models:
  - name: fraud
    description: Scores payments.
    tags: {team: risk}
    versions:
      - {version: 1, source: s3://bucket/1, tags: {ok: "yes"}}
      - {version: 2, source: "models:/LOGGED"}
      - {version: 3, source: s3://bucket/3}
    aliases: {champion: 1, challenger: 2}
  - name: churn
experiments:
  - {name: nightly, description: Every night., tags: {team: risk}}
  - {name: weekly}
roles:
  - {name: analysts, description: Read., members: [ann]}
  - {name: ops, members: [ann]}
permissions:
  - {role: analysts, resource_type: registered_model, resource: fraud, level: READ}
  - {role: ops, resource_type: experiment, resource: nightly, level: EDIT}
"""
SECOND = """
registered_models:
  - name: fraud
    description: Scores card payments.
    tags: {tier: gold}
    versions:
      - {version: 1, source: s3://bucket/1, description: The first., stage: Production, tags: {ok: "no"}}
      - {version: 2, source: "models:/LOGGED"}
    aliases: {champion: 2}
experiments:
  - {name: nightly, tags: {team: fraud}}
roles:
  - {name: analysts, description: Read only., members: [bob]}
permissions:
  - {role: analysts, resource_type: registered_model, resource: fraud, level: EDIT}
"""


@dataclass(frozen=True, slots=True)
class Desk:
    """One database with its owner, and the same stack as seen by the two roles."""

    owner: Engine
    store: str
    reader: Directory
    writer: Directory

    def declare(self, manifest: str) -> None:
        for directory in (self.reader, self.writer):
            directory.declare(manifest)

    def as_role(self, role: str) -> str:
        return make_url(self.store).set(username=role, password=role).render_as_string(hide_password=False)


def _create_roles() -> str:
    """Roles are the server's, not a database's; this returns their names."""
    server = create_engine(postgres_server())
    with server.begin() as db:
        for role in ROLES:
            db.execute(text(f"CREATE ROLE {role} LOGIN PASSWORD '{role}'"))
    server.dispose()
    return " ".join(ROLES)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    store = fresh_postgres()
    client = MlflowClient(store, store)
    logged = client.create_logged_model("0", name="scorer").model_id
    once("postgresql-roles", _create_roles)
    owner = create_engine(store)
    with owner.begin() as db:
        db.execute(
            text(
                "INSERT INTO users (username, password_hash, is_admin)"
                " VALUES ('ann', 'x', false), ('bob', 'x', false)"
            )
        )
        db.exec_driver_sql(GRANTS.read_text())
    made = Desk(owner, store, Directory(tmp_path / "reader"), Directory(tmp_path / "writer"))
    for directory, role in ((made.reader, "lac_plan"), (made.writer, "lac_apply")):
        directory.settings(made.as_role(role), auth_store=made.as_role(role))
    made.declare(FIRST.replace("LOGGED", logged))
    yield made
    owner.dispose()
    drop_postgres(store)


def applied(directory: Directory, *, destroy: bool = False) -> list[Change]:
    """Plan and apply in this process; what changed."""
    stack = Stack.open(directory.path)
    plan = stack.plan(destroy=destroy)
    list(stack.apply(plan))
    return list(plan.differences)


def test_the_grants_are_enough_and_the_reader_only_reads(desk: Desk) -> None:
    # before there are any tables of ours
    assert "13 to create" in desk.reader.lac("plan", "--detailed-exitcode", expect=2).stdout
    desk.reader.lac("drift")
    assert len(applied(desk.writer)) == 13
    assert "No changes" in desk.reader.lac("plan", "--detailed-exitcode").stdout
    desk.reader.lac("drift")
    assert "model_alias.fraud/champion" in desk.reader.lac("state", "list").stdout
    assert "complete" in desk.reader.lac("history").stdout
    assert "name: fraud" in desk.reader.lac("show", "--at", "2999-01-01").stdout
    desk.reader.lac("show", "permission.ops/experiment/nightly")

    logged = re.findall(r"models:/[\w-]+", (desk.writer.path / "models.yaml").read_text())[0]
    desk.declare(SECOND.replace("models:/LOGGED", logged))
    assert desk.reader.lac("plan", "--detailed-exitcode", expect=2)
    refused = desk.reader.lac("apply", "--auto-approve", expect=1)
    assert "error[store-forbidden]" in refused.stderr
    assert "GRANT" in refused.stderr

    actions = {change.action.value for change in applied(desk.writer)}
    assert actions == {"update", "delete"}
    assert "No changes" in desk.reader.lac("plan", "--detailed-exitcode").stdout
    # a deleted experiment comes back, with its runs
    desk.declare(SECOND.replace("models:/LOGGED", logged).replace("roles:", "  - {name: weekly}\nroles:"))
    assert [str(change.address) for change in applied(desk.writer)] == ["experiment.weekly"]

    assert applied(desk.writer, destroy=True)
    with desk.owner.connect() as db:
        assert not db.scalar(text("SELECT count(*) FROM registered_models"))
        assert not db.scalar(text("SELECT count(*) FROM lac_records"))


def test_the_right_to_create_is_needed_once(desk: Desk) -> None:
    applied(desk.writer)
    with desk.owner.begin() as db:
        db.execute(text("REVOKE CREATE ON SCHEMA public FROM lac_apply"))
    desk.declare("registered_models: [{name: fraud}, {name: another}]")
    assert applied(desk.writer)
    assert "No changes" in desk.reader.lac("plan", "--detailed-exitcode").stdout


def test_the_reader_sees_drift_and_can_plan_a_rollback_and_a_file_that_the_writer_applies(desk: Desk) -> None:
    applied(desk.writer)
    client = MlflowClient(desk.store, desk.store)
    client.set_registered_model_alias("fraud", "champion", "2")
    assert "model_alias.fraud/champion" in desk.reader.lac("drift", expect=2).stdout
    file = str(desk.reader.path / "plan.json")
    desk.reader.lac("plan", "-o", file)
    desk.writer.lac("apply", file)
    desk.reader.lac("drift")
    desk.reader.lac("rollback", "model_alias.fraud/champion")
    refused = desk.reader.lac("force-unlock", "--force", "nonsense", expect=1)
    assert "error[no-such-lock]" in refused.stderr


def test_unlocking_needs_no_more(desk: Desk, tmp_path: Path) -> None:
    applied(desk.writer)
    with lock.hold(open_store(desk.store, role="tracking", base=tmp_path), "test", "a-lock"):
        refused = desk.reader.lac("force-unlock", "--force", "a-lock", expect=1)
        assert "error[store-forbidden]" in refused.stderr
        desk.writer.lac("force-unlock", "--force", "a-lock")


def test_tokens_need_no_more(desk: Desk) -> None:
    args = ("token", "create", "--user", "ann", "--expires", "1d")
    assert desk.writer.lac(*args).stdout.startswith("lac_")
    assert "active   ann  every endpoint" in desk.reader.lac("token", "list").stdout
    with desk.owner.connect() as db:
        token_id = db.scalar(text("SELECT token_id FROM lac_tokens"))
    for command in (args, ("token", "revoke", token_id)):
        assert "error[store-forbidden]" in desk.reader.lac(*command, expect=1).stderr
    desk.writer.lac("token", "revoke", token_id)
    assert "revoked  ann" in desk.reader.lac("token", "list", "--all").stdout


def test_importing_needs_no_more(desk: Desk) -> None:
    client = MlflowClient(desk.store, desk.store)
    client.create_registered_model("theirs", tags={"a": "b"})
    client.create_model_version("theirs", "s3://bucket/1")
    desk.declare("")
    desk.writer.lac("import", "--all")
    assert "No changes" in desk.writer.lac("plan", "--detailed-exitcode").stdout


def test_renaming_needs_no_more(desk: Desk) -> None:
    """What follows by foreign key is in tables that the same role may write."""
    applied(desk.writer)
    store = open_store(desk.as_role("lac_apply"), role="tracking", base=desk.writer.path)
    with writing(store) as connection:
        db = Databases(connection, connection)
        RegisteredModels().move(db, [(RegisteredModel(name="fraud"), RegisteredModel(name="scoring"))])
        Experiments().move(db, [(Experiment(name="nightly"), Experiment(name="daily"))])
    client = MlflowClient(desk.store, desk.store)
    assert client.get_model_version_by_alias("scoring", "champion").tags == {"ok": "yes"}
    assert client.get_experiment_by_name("daily").tags["team"] == "risk"


def test_statistics_are_renewed(desk: Desk) -> None:
    desk.declare(models(250))
    analyzed = "SELECT reltuples FROM pg_class WHERE relname = 'registered_models'"
    out = desk.writer.lac("apply", "--auto-approve")
    assert "not-analyzed" not in out.stdout + out.stderr
    with desk.owner.connect() as db:
        assert db.scalar(text(analyzed)) == 250


def test_statistics_that_may_not_be_renewed_are_told(desk: Desk) -> None:
    with desk.owner.begin() as db:
        db.execute(text("REVOKE MAINTAIN ON registered_models FROM lac_apply"))
    desk.declare(models(250))
    out = desk.writer.lac("apply", "--auto-approve")
    assert "not-analyzed" in out.stdout + out.stderr


def test_no_rights_at_all_are_not_an_empty_store(desk: Desk) -> None:
    applied(desk.writer)
    with desk.owner.begin() as db:
        db.execute(text("REVOKE ALL ON ALL TABLES IN SCHEMA public FROM lac_plan"))
    refused = desk.reader.lac("plan", expect=1)
    assert "error[store-forbidden]" in refused.stderr


def test_a_lock_that_another_role_holds_is_told(desk: Desk, tmp_path: Path) -> None:
    # the tables are its own, whoever else may write them
    applied(desk.writer)
    desk.declare(models(2))
    with lock.hold(open_store(desk.store, role="tracking", base=tmp_path), "test", "a lock"):
        refused = desk.writer.lac("apply", "--auto-approve", expect=1)
        assert "error[locked]" in refused.stderr
        assert f"pid {os.getpid()}" in refused.stderr


def test_nothing_is_granted_on_tables_that_we_do_not_know() -> None:
    named = {*re.findall(r"\b[a-z]+_?[a-z_]*\b", re.sub(r"--.*", "", GRANTS.read_text()))}
    ours = set(tables.metadata.tables) | {"alembic_version", "alembic_version_auth"}
    assert set(tables.metadata.tables) <= named
    assert ours <= named


def test_password_hashes_and_secrets_stay_unread(desk: Desk) -> None:
    for role in ROLES:
        engine = create_engine(desk.as_role(role))
        for column, table in (("password_hash", "users"), ("secret", "webhooks")):
            with pytest.raises(ProgrammingError, match="permission denied"), engine.connect() as db:
                db.execute(text(f"SELECT {column} FROM {table}"))
        engine.dispose()
