"""Opening, checking and making MLflow's databases, on SQLite and PostgreSQL."""

from __future__ import annotations

import os
import sqlite3
import threading
import traceback
from base64 import b64encode
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import psycopg
import pytest
from psycopg.pq import Conninfo
from sqlalchemy import Engine, event, make_url, text
from sqlalchemy.exc import DBAPIError, OperationalError
from support.bench import Bench, converge
from support.mlflow_fixture import ADMIN, ADMIN_PASSWORD, MlflowServer, fresh_postgres, fresh_sqlite
from support.pooler import pooled

from lifecycle_as_code.kinds.registered_model import RegisteredModel
from lifecycle_as_code.model.diagnostics import LacError
from lifecycle_as_code.serving.access import open_read_only
from lifecycle_as_code.stack import Stack
from lifecycle_as_code.stores.mlflow import bootstrap
from lifecycle_as_code.stores.mlflow.artifact_root import artifact_root
from lifecycle_as_code.stores.mlflow.bootstrap import create_database
from lifecycle_as_code.stores.mlflow.schema_check import check_schema
from lifecycle_as_code.stores.sql import store as sql
from lifecycle_as_code.stores.sql.errors import diagnose
from lifecycle_as_code.stores.sql.store import Role, SqlStore, open_store, reading, writing

COUNT = text("SELECT count(*) FROM experiments")
ADD = text("INSERT INTO experiments (name, workspace) VALUES (:name, 'default')")


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> SqlStore:
    url = fresh_sqlite(tmp_path) if request.param == "sqlite" else fresh_postgres()
    return open_store(url, role="tracking", base=tmp_path)


def codes(error: pytest.ExceptionInfo[LacError]) -> list[str]:
    return [diagnostic.code for diagnostic in error.value.diagnostics]


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://localhost:5000", "REST"),
        ("https://mlflow.example", "REST"),
        ("databricks", "Databricks"),
        ("databricks-uc", "Databricks"),
        ("mysql://u:secret@h/d", "lac doesn't support it yet"),
        ("mssql+pyodbc://u:secret@h/d", "lac doesn't support it yet"),
        ("oracle://u:secret@h/d", "lac doesn't support this database"),
        ("sqlite://", "plain file"),
        ("sqlite:///:memory:", "plain file"),
        ("sqlite:///a.db?mode=ro", "plain file"),
        ("sqlite:///.", "is a directory. Name the database's file"),
        ("u:secret@h", "can't be parsed as a database address"),
    ],
)
@pytest.mark.parametrize("role", ["tracking", "auth"])
def test_a_store_that_we_cannot_drive_is_named_and_what_we_can_drive_too(
    url: str, why: str, role: Role, tmp_path: Path
) -> None:
    with pytest.raises(LacError) as error:
        open_store(url, role=role, base=tmp_path)
    assert codes(error) == ["unsupported-store"]
    assert why in str(error.value)
    assert "supported today: `sqlite:///" in str(error.value)
    assert "secret" not in str(error.value)


def test_a_password_is_in_no_text_of_a_store(tmp_path: Path) -> None:
    url = "postgres://u:secret@nowhere.invalid/d?password=hushhush"
    store = open_store(url, role="tracking", base=tmp_path)
    with pytest.raises(LacError) as error, reading(store):
        pass
    assert codes(error) == ["store-unreachable"]
    for shown in (repr(store), str(store), str(error.value)):
        assert "secret" not in shown
        assert "hushhush" not in shown
    assert "secret" in store.uri


def test_every_option_that_libpq_keeps_secret_is_hidden(tmp_path: Path) -> None:
    # libpq marks passwords with `*`, and what isn't for people with `D`
    marks = {option.keyword.decode(): option.dispchar for option in Conninfo.get_defaults()}
    secrets = [name for name, mark in marks.items() if mark == b"*" or name.startswith("scram_")]
    assert "sslpassword" in secrets
    for name in secrets:
        store = open_store(f"postgresql://h/d?{name}=hushhush", role="tracking", base=tmp_path)
        assert "hushhush" not in f"{store!r}{store}{store.shareable}"


def test_opening_and_reading_a_file_that_is_not_there_makes_none(tmp_path: Path) -> None:
    store = open_store("sqlite:///sub/mlflow.db", role="tracking", base=tmp_path)
    assert not store.exists
    assert store.path == tmp_path / "sub" / "mlflow.db"
    with pytest.raises(LacError) as error, reading(store):
        pass
    assert codes(error) == ["store-unreachable"]
    assert not list(tmp_path.iterdir())


def test_a_postgresql_reader_keeps_its_snapshot_while_others_write(postgres: str, tmp_path: Path) -> None:
    store = open_store(postgres, role="tracking", base=tmp_path)
    with reading(store) as reader:
        before = reader.scalar(COUNT)
        with writing(store) as writer:
            writer.execute(ADD, {"name": "meanwhile"})
        assert reader.scalar(COUNT) == before


def test_a_sqlite_writer_waits_for_readers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sql, "BUSY_SECONDS", 0.1)
    store = open_store(fresh_sqlite(tmp_path), role="tracking", base=tmp_path)
    with reading(store) as reader:
        reader.scalar(COUNT)
        with pytest.raises(LacError) as error:
            _add(store, "meanwhile")
    assert codes(error) == ["store-locked"]
    _add(store, "afterwards")


def _add(store: SqlStore, name: str, *, then: Exception | None = None) -> None:
    with writing(store) as db:
        db.execute(ADD, {"name": name})
        if then:
            raise then


def test_a_failed_write_leaves_nothing(store: SqlStore) -> None:
    with pytest.raises(ZeroDivisionError):
        _add(store, "half done", then=ZeroDivisionError())
    with reading(store) as db:
        assert db.scalar(COUNT) == 1


def test_a_store_opened_for_reading_cannot_be_written(store: SqlStore, tmp_path: Path) -> None:
    only = open_store(store.uri, role="tracking", base=tmp_path, read_only=True)
    with pytest.raises(Exception, match=r"read.?only"):
        _add(only, "no")


def test_a_second_writer_is_told_who_is_in_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sql, "BUSY_SECONDS", 0.1)
    store = open_store(fresh_sqlite(tmp_path), role="tracking", base=tmp_path)
    with writing(store), pytest.raises(LacError) as error, writing(store):
        pass
    assert codes(error) == ["store-locked"]


HUSH = "hush" * 3
"""A parameter that no error may repeat."""


def raising(sqlstate: str) -> str:
    """What makes PostgreSQL itself report that SQLSTATE."""
    return f"DO $$ BEGIN RAISE EXCEPTION 'said by the server' USING ERRCODE = '{sqlstate}'; END $$"


ERRORS = {
    "sqlite": [
        ("store-full", ["PRAGMA max_page_count = 1", "CREATE TABLE big AS SELECT randomblob(1000000)"]),
        ("store-read-only", ["PRAGMA query_only = ON", "DELETE FROM experiments"]),
        ("store-incomplete", ["SELECT :hush FROM nowhere"]),
        ("store-incomplete", ["SELECT absent, :hush FROM experiments"]),
        ("store-incomplete", ["INSERT INTO experiments (absent) VALUES (:hush)"]),
        ("write-conflict", ["INSERT INTO experiments (name, workspace) VALUES ('Default', 'default')"]),
        ("store-error", ["SELECT FROM WHERE :hush"]),
        ("store-error", ["SELECT CAST(x'ff' AS TEXT)"]),
    ],
    "postgresql": [
        ("store-read-only", ["SET TRANSACTION READ ONLY", "DELETE FROM experiments"]),
        ("store-incomplete", ["SELECT CAST(:hush AS TEXT) FROM nowhere"]),
        ("store-incomplete", ["SELECT absent, CAST(:hush AS TEXT) FROM experiments"]),
        ("write-conflict", ["INSERT INTO experiments (name, workspace) VALUES ('Default', 'default')"]),
        ("store-timeout", ["SET LOCAL statement_timeout = 20", "SELECT pg_sleep(60)"]),
        ("store-disconnected", ["SELECT pg_terminate_backend(pg_backend_pid())"]),
        ("store-refused-value", ["SELECT CAST(:hush AS INTEGER)"]),
        ("store-refused-value", ["SELECT CAST(:nul AS TEXT)"]),
        ("store-error", ["SELECT FROM WHERE :hush"]),
        ("store-full", [raising("53100")]),
        ("store-locked", [raising("55P03")]),
        ("store-locked", [raising("40P01")]),
        ("store-damaged", [raising("XX001")]),
        ("store-io-error", [raising("58030")]),
        ("store-unreachable", [raising("53300")]),
        ("store-forbidden", [raising("42501")]),
    ],
}


def run(store: SqlStore, statements: list[str]) -> None:
    with writing(store) as db:
        for statement in statements:
            parameters = {"hush": HUSH, "nul": "a\0b"}
            used = {name: value for name, value in parameters.items() if f":{name}" in statement}
            result = db.execute(text(statement), used)
            if result.returns_rows:
                result.all()


def read_everything(store: SqlStore) -> None:
    with reading(store) as db:
        for table in db.scalars(text("SELECT name FROM sqlite_master WHERE type = 'table'")).all():
            db.execute(text(f"SELECT * FROM {table}")).all()


def test_every_error_of_a_database_is_one_line_with_a_code_and_without_sql(store: SqlStore) -> None:
    for code, statements in ERRORS[store.dialect]:
        with pytest.raises(LacError) as error:
            run(store, statements)
        assert codes(error) == [code], statements
        (problem,) = error.value.diagnostics
        assert len(problem.detail.splitlines()) == 1
        assert problem.hint
        for secret in (HUSH, statements[-1], "[SQL", "sqlalche.me"):
            # the second is what LAC_DEBUG=1 prints
            assert secret not in str(error.value)
            assert secret not in "".join(traceback.format_exception(error.value))


def test_a_damaged_file_and_one_that_is_no_database_are_told_apart(tmp_path: Path) -> None:
    store = open_store(fresh_sqlite(tmp_path), role="tracking", base=tmp_path)
    assert store.path is not None
    data = store.path.read_bytes()
    wrong = {"store-damaged": data[:4096] + b"x" * 4096 * 20, "store-unreachable": b"x" * 4096}
    for code, content in wrong.items():
        store.path.write_bytes(content)
        with pytest.raises(LacError) as error:
            read_everything(store)
        assert codes(error) == [code]


def changed(url: str, **parts: str) -> str:
    return make_url(url).set(**parts).render_as_string(hide_password=False)


def wrong(url: str, **options: str) -> str:
    return make_url(url).update_query_dict(options).render_as_string(hide_password=False)


CONNECTING: dict[str, tuple[Callable[[str], str], str, str]] = {
    "database": (lambda url: changed(url, database="nope"), "store-unreachable", "create the database"),
    "user": (lambda url: changed(url, username="nope"), "store-login-failed", "create the role"),
    "unknown": (lambda url: wrong(url, pgbouncer="true"), "invalid-store-option", "remove the option"),
    "mistyped": (lambda url: wrong(url, sslmod="require"), "invalid-store-option", "did you mean `sslmode`?"),
    "psycopg's": (lambda url: wrong(url, prepare_threshold="0"), "invalid-store-option", "remove the option"),
    "value": (lambda url: wrong(url, connect_timeout="abc"), "invalid-store-option", "correct its value"),
    "port": (lambda url: wrong(url, port="abc"), "invalid-store-option", "correct its value"),
    "mode": (lambda url: wrong(url, sslmode="bogus"), "invalid-store-option", "correct its value"),
    "setting": (lambda url: wrong(url, options="-c no_such=1"), "invalid-store-option", "correct its value"),
}


@pytest.mark.parametrize(("change", "code", "hint"), CONNECTING.values(), ids=CONNECTING)
def test_what_is_wrong_with_an_address_is_told_while_connecting(
    change: Callable[[str], str], code: str, hint: str, postgres: str, tmp_path: Path
) -> None:
    with (
        pytest.raises(LacError) as error,
        reading(open_store(change(postgres), role="tracking", base=tmp_path)),
    ):
        pass
    assert codes(error) == [code]
    assert hint in error.value.diagnostics[0].hint


SSL_REQUIRED = ("store-unreachable", "sslmode=require")
NO_ENTRY = ("store-login-failed", "pg_hba.conf")


@pytest.mark.parametrize(
    ("said", "code", "hint"),
    [
        ('FATAL:  password authentication failed for user "ann"', "store-login-failed", "%40"),
        ("fe_sendauth: no password supplied", "store-login-failed", "%40"),
        (
            'FATAL:  no pg_hba.conf entry for host "::1", user "a", database "d", no encryption',
            "store-unreachable",
            "sslmode=require",
        ),
        (
            'FATAL:  no pg_hba.conf entry for host "::1", user "a", database "d", SSL encryption',
            "store-login-failed",
            "pg_hba.conf",
        ),
        ("server does not support SSL, but SSL was required", "store-unreachable", "sslmode=prefer"),
        ("FATAL:  sorry, too many clients already", "store-unreachable", "other connections"),
        ("FATAL:  remaining connection slots are reserved for roles with", "store-unreachable", "other conn"),
        ("FATAL:  no more connections allowed (max_client_conn)", "store-unreachable", "other connections"),
        ("FATAL:  no such user: ann", "store-login-failed", "%40"),
        ("SSL error: certificate verify failed", "store-unreachable", "sslrootcert"),
        ("FATAL:  unsupported startup parameter: options", "invalid-store-option", "pgbouncer.ini"),
        ("FATAL:  the database system is starting up", "store-unreachable", "server runs"),
    ],
)
def test_what_a_server_says_to_a_newcomer_has_a_code_and_a_way_out(said: str, code: str, hint: str) -> None:
    """As PostgreSQL 15 and PgBouncer 1.18 say it; the first line is of an address that was tried before."""
    refused = 'connection failed: connection to server at "::1", port 5432 failed: Connection refused\n'
    orig = psycopg.OperationalError(f"{refused}connection failed: {said}")
    problem = diagnose(OperationalError("connect", None, orig), "postgresql://u@h/d", connected=False)
    assert problem.code == code
    assert hint in problem.hint
    assert said.partition("FATAL:")[2] in problem.detail


@pytest.mark.parametrize(
    "password", ["p@hush", "p@hush/x", "p@hush:x", "p@hush#x", "p@hush?x", "p@hush?x=y", "p/@hush", "@hush"]
)
def test_a_password_with_an_at_sign_is_not_taken_for_a_host(password: str, tmp_path: Path) -> None:
    with pytest.raises(LacError) as error:
        open_store(f"postgresql://ann:{password}@db.example/mlflow", role="tracking", base=tmp_path)
    assert codes(error) == ["unsupported-store"]
    assert "write `@` as %40" in error.value.diagnostics[0].hint
    assert "hush" not in str(error.value)


@pytest.mark.parametrize("password", ["a/b", "a#b", "a:b", "a?b", "a/b:c#d?e", "a%40b"])
def test_other_characters_of_a_password_are_taken_as_they_are(password: str, tmp_path: Path) -> None:
    store = open_store(f"postgresql://ann:{password}@db.example:1/mlflow", role="tracking", base=tmp_path)
    assert (store.url.password, store.url.host) == (password.replace("%40", "@"), "db.example")
    assert store.display_address == "postgresql://ann:***@db.example:1/mlflow"


def test_an_at_sign_elsewhere_is_no_mistake(tmp_path: Path) -> None:
    azure = open_store("postgresql://ann@server:pw@db.example/mlflow", role="tracking", base=tmp_path)
    assert (azure.url.username, azure.url.host) == ("ann@server", "db.example")
    file = open_store("sqlite:///me@work/mlflow.db", role="tracking", base=tmp_path)
    assert file.path == tmp_path / "me@work" / "mlflow.db"


def _count_prepared(store: SqlStore) -> int:
    with writing(store) as db:
        for number in range(20):
            db.execute(ADD, {"name": f"e{number}"})
        db.execute(ADD, [{"name": f"many{number}"} for number in range(20)])
        return int(db.execute(text("SELECT count(*) FROM pg_prepared_statements")).scalar_one())


def test_repeated_statements_are_prepared_unless_a_pooler_stands_between(
    postgres: str, tmp_path: Path
) -> None:
    assert _count_prepared(open_store(postgres, role="tracking", base=tmp_path)) > 0
    with pooled(fresh_postgres()) as url:
        assert _count_prepared(open_store(url, role="tracking", base=tmp_path)) == 0


def test_an_apply_works_in_sessions_that_others_prepared_statements_in(postgres: str, tmp_path: Path) -> None:
    """As PgBouncer hands them out in transaction mode, with the names that psycopg gives."""

    def used(connection: Any, _: object) -> None:
        if hasattr(connection, "prepare_threshold"):
            connection.execute("; ".join(f"PREPARE _pg3_{number} AS SELECT 1" for number in range(100)))
            connection.commit()

    def stack(url: str, description: str) -> Stack:
        specs = [RegisteredModel(name=f"m{number}", description=description) for number in range(10)]
        return Bench(tmp_path, url, url).stack(specs)

    event.listen(Engine, "connect", used)
    try:
        with pooled(postgres) as url:
            for description in ("one", "two"):
                converge(stack(url, description))
    finally:
        event.remove(Engine, "connect", used)
    assert not stack(postgres, "two").plan().changes


def test_sqlite_cascades_and_compares_as_mlflow_has_it(tmp_path: Path) -> None:
    store = open_store(fresh_sqlite(tmp_path), role="tracking", base=tmp_path)
    with reading(store) as db:
        assert db.scalar(text("PRAGMA foreign_keys")) == 1
        assert db.scalar(text("SELECT 'a' LIKE 'A'")) == 0


@pytest.mark.parametrize("role", ["tracking", "auth"])
@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
def test_the_schema_of_this_mlflow_is_known(dialect: str, role: Role, tmp_path: Path) -> None:
    url = fresh_sqlite(tmp_path, role) if dialect == "sqlite" else fresh_postgres()
    with reading(open_store(url, role=role, base=tmp_path)) as db:
        schema = check_schema(db, role)
    assert not schema.empty
    assert not schema.diagnostics


@pytest.mark.parametrize(
    ("role", "statements", "hint"),
    [
        ("tracking", ["CREATE TABLE registered_models (name TEXT)"], "mlflow db upgrade"),
        ("tracking", ["CREATE TABLE experiments (name TEXT)"], "mlflow db upgrade"),
        ("auth", ["CREATE TABLE users (id INTEGER)"], "python -m mlflow.server.auth db upgrade --url"),
        (
            "auth",
            [
                "CREATE TABLE roles (workspace TEXT)",
                "CREATE TABLE alembic_version_auth (version_num TEXT)",
                "INSERT INTO alembic_version_auth VALUES ('c3d4e5f6a7b8')",
            ],
            "python -m mlflow.server.auth db upgrade --url",
        ),
    ],
)
def test_an_older_schema_is_refused_with_the_way_out(
    role: Role, statements: list[str], hint: str, tmp_path: Path
) -> None:
    with closing(sqlite3.connect(tmp_path / "old.db")) as old:
        for statement in statements:
            old.execute(statement)
        old.commit()
    store = open_store("sqlite:///old.db", role=role, base=tmp_path)
    with pytest.raises(LacError) as error, reading(store) as db:
        check_schema(db, role)
    assert codes(error) == ["store-too-old"]
    assert hint in str(error.value)


def test_a_newer_schema_is_warned_about(store: SqlStore) -> None:
    with writing(store) as db:
        db.execute(text("UPDATE alembic_version SET version_num = 'fedcba987654'"))
        (warning,) = check_schema(db, "tracking").diagnostics
    assert (warning.code, warning.severity) == ("unknown-store-revision", "warning")


def test_a_database_with_other_tables_only_is_empty(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "ours.db")) as db:
        db.execute("CREATE TABLE lac_meta (version INTEGER)")
    store = open_store("sqlite:///ours.db", role="tracking", base=tmp_path)
    with reading(store) as reader:
        assert check_schema(reader, "tracking").empty
        assert check_schema(reader, "auth").empty


def test_a_missing_database_is_made_whole_beside_nothing_else(tmp_path: Path) -> None:
    told: list[str] = []
    store = open_store("sqlite:///sub/my%20runs?.db".replace("?", "!"), role="tracking", base=tmp_path)
    create_database(store, tell=told.append)
    assert told == [f"creating MLflow's database at {store.display_address}"]
    assert store.path is not None
    assert [entry.name for entry in store.path.parent.iterdir()] == [store.path.name]
    with reading(store) as db:
        (row,) = db.execute(text("SELECT experiment_id, name, artifact_location FROM experiments"))
    # MLflow's own doing at a first start
    assert tuple(row) == (0, "Default", f"{store.path.parent}/mlruns/0")


def test_auth_may_live_in_the_same_file(tmp_path: Path) -> None:
    url = fresh_sqlite(tmp_path)
    auth = open_store(url, role="auth", base=tmp_path)
    with reading(auth) as db:
        assert check_schema(db, "auth").empty
    create_database(auth)
    with reading(auth) as db:
        assert not check_schema(db, "auth").empty
        assert not check_schema(db, "tracking").diagnostics


def test_two_who_make_the_same_database_get_one(tmp_path: Path) -> None:
    template = Path(fresh_sqlite(tmp_path, name="template.db").removeprefix("sqlite:///"))
    store = open_store("sqlite:///mlflow.db", role="tracking", base=tmp_path)
    assert store.path is not None
    drafts = [tmp_path / f"draft{n}" for n in range(2)]
    for draft in drafts:
        draft.write_bytes(template.read_bytes())
    makers = [threading.Thread(target=bootstrap._publish, args=(draft, store.path)) for draft in drafts]
    for maker in makers:
        maker.start()
    for maker in makers:
        maker.join()
    assert store.exists
    theirs = store.path.stat().st_ino
    assert theirs in {draft.stat().st_ino for draft in drafts}


@pytest.mark.parametrize(
    ("script", "code", "said"),
    [
        ("import sys; sys.exit(3)", "mlflow-missing", "pip install 'lifecycle-as-code[local]'"),
        ("raise SystemExit('disk full')", "store-not-created", "disk full"),
    ],
)
def test_a_database_that_cannot_be_made_leaves_nothing(
    script: str, code: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bootstrap, "_TRACKING", script)
    store = open_store("sqlite:///mlflow.db", role="tracking", base=tmp_path)
    with pytest.raises(LacError) as error:
        create_database(store)
    assert codes(error) == [code]
    assert said in str(error.value)
    assert not list(tmp_path.iterdir())


def test_a_link_to_a_missing_or_empty_database_stays_a_link(tmp_path: Path) -> None:
    template = Path(fresh_sqlite(tmp_path, name="template.db").removeprefix("sqlite:///"))
    volume = tmp_path / "volume"
    volume.mkdir()
    for name, content in (("missing.db", None), ("empty.db", b"")):
        target = volume / name
        if content is not None:
            target.write_bytes(content)
        link = tmp_path / name
        link.symlink_to(target)
        store = open_store(f"sqlite:///{name}", role="tracking", base=tmp_path)
        create_database(store)
        assert link.is_symlink()
        assert target.stat().st_size == template.stat().st_size


def test_a_database_is_never_made_in_place_of_a_device(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    store = open_store("sqlite:///pipe", role="tracking", base=tmp_path)
    with pytest.raises(LacError) as error:
        create_database(store)
    assert codes(error) == ["store-not-created"]
    assert "not a file" in str(error.value)
    assert pipe.is_fifo()


def test_where_no_file_can_be_made_migrations_are_not_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # MLflow would try again for two minutes
    monkeypatch.setattr(bootstrap, "_TRACKING", "raise SystemExit('tried')")
    store = open_store("sqlite:////proc/mlflow.db", role="tracking", base=tmp_path)
    with pytest.raises(LacError) as error:
        create_database(store)
    assert codes(error) == ["store-not-created"]
    assert "tried" not in str(error.value)


@pytest.mark.parametrize(
    ("configured", "locations", "root"),
    [
        ("/srv/runs", ["s3://b/{id}"], "/srv/runs"),
        ("s3://mine", ["s3://b/{id}"], "s3://mine"),
        ("./mlruns", ["s3://b/{id}"], "s3://b"),
        ("./mlruns", ["/srv/{id}", "s3://b/elsewhere"], "/srv"),
        ("", ["mlflow-artifacts:/{id}"], "mlflow-artifacts:/"),
        ("", ["mlflow-artifacts:/workspaces/default/{id}"], "mlflow-artifacts:/workspaces/default"),
    ],
)
def test_the_artifact_root_is_what_was_said_or_what_mlflow_used_last(
    configured: str, locations: list[str], root: str, store: SqlStore
) -> None:
    with writing(store) as db:
        for number, location in enumerate(locations, 1):
            db.execute(ADD, {"name": location})
            db.execute(
                text("UPDATE experiments SET artifact_location = :at WHERE experiment_id = :id"),
                {"at": location.format(id=number), "id": number},
            )
        assert artifact_root(db, "default", configured) == root


def test_a_server_with_sign_in_lets_its_admin_in_and_nobody_else(basic_auth_server: MlflowServer) -> None:
    def status(name: str, password: str) -> int:
        token = b64encode(f"{name}:{password}".encode()).decode()
        url = f"{basic_auth_server.url}/api/2.0/mlflow/experiments/get?experiment_id=0"
        try:
            with urlopen(Request(url, headers={"Authorization": f"Basic {token}"})) as answer:
                return int(answer.status)
        except HTTPError as error:
            error.close()
            return error.code

    assert status(ADMIN, ADMIN_PASSWORD) == 200
    assert status(ADMIN, "wrong") == 401
    assert status("stranger", ADMIN_PASSWORD) == 401


def test_an_endpoint_signs_in_through_a_pooler_without_preparing_or_writing(postgres: str) -> None:
    engine = open_read_only(postgres)
    with engine.connect() as db:
        for _ in range(20):
            db.execute(COUNT)
        assert not db.scalar(text("SELECT count(*) FROM pg_prepared_statements"))
        with pytest.raises(DBAPIError, match="read-only transaction"):
            db.execute(ADD, {"name": "no"})
    engine.dispose()


def test_why_migrations_failed_is_one_line_without_sql_and_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing = "error = DBAPIError('SELECT 1', {'a': 'b'}, ValueError('no room for p%40ss p@ss\\nmore'))"
    fail = "def fail(): raise error"
    monkeypatch.setattr(bootstrap, "_TRACKING", f"{failing}\n{fail}\nrun(fail)")
    store = open_store("postgresql://ann:p%40ss@127.0.0.1:1/d", role="tracking", base=tmp_path)
    with pytest.raises(LacError) as error:
        create_database(store)
    assert codes(error) == ["store-not-created"]
    assert error.value.diagnostics[0].detail.endswith(": no room for *** ***")
