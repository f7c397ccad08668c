"""Our tables, brought up to date from those of earlier versions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sqlalchemy import create_engine, inspect, text
from support.bench import Bench, converge
from support.history import alias
from support.mlflow_fixture import fresh_postgres
from support.saved_plans import applied, declared, outside, saved, tables

from lifecycle_as_code.kinds.registered_model import RegisteredModel
from lifecycle_as_code.model.diagnostics import LacError
from lifecycle_as_code.model.spec import Address, plain
from lifecycle_as_code.stores.state import install, schema_version
from lifecycle_as_code.stores.state.tables import SCHEMA_VERSION
from lifecycle_as_code.stores.state.upgrades import UPGRADES

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
OURS = ("lac_meta", "lac_records", "lac_lock", "lac_applies", "lac_changes", "lac_tokens")


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
    assert not stack.drift().exists
    assert stack.history() == []
    assert stack.records_at(2**53) == {}
    assert len(stack.records()) == len(declared())
    stack.save_plan(stack.plan())
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


@pytest.mark.parametrize("version", range(1, SCHEMA_VERSION))
@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
def test_every_step_leads_to_the_tables_that_are_made_today(
    dialect: str, version: int, tmp_path: Path
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
            if statements:
                for number in range(1, version):
                    UPGRADES[number](db)
                db.execute(
                    text("UPDATE lac_meta SET value = :v WHERE key = 'schema_version'"), {"v": str(version)}
                )
                assert schema_version(db) == version
            install(db)
            assert schema_version(db) == SCHEMA_VERSION
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
    assert [(each.action, str(each.address)) for each in second.lines] == [
        ("create", "registered_model.second")
    ]
    assert {"registered_model.other"} == {
        str(each.address) for apply in old.stack(name="another").history() for each in apply.lines
    }
    assert old.stack(declared()).records_at(2**53).keys() == old.records().keys()
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
