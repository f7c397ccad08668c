"""Connections to a SQLite file; both databases are in `integration/test_sql_stores.py`."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import text
from support.mlflow_fixture import fresh_sqlite

from lifecycle_as_code.model.diagnostics import LacError
from lifecycle_as_code.stores.sql import store as sql
from lifecycle_as_code.stores.sql.store import SqlStore, open_store, reading


@pytest.fixture
def wal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SqlStore:
    """A store in WAL mode, in a directory that can't be written."""
    store = open_store(fresh_sqlite(tmp_path), role="tracking", base=tmp_path)
    assert store.path is not None
    with closing(sqlite3.connect(store.path)) as db:
        db.execute("PRAGMA journal_mode = WAL")
    # root may write everywhere
    monkeypatch.setattr(sql.os, "access", lambda *_: False)
    return store


def test_a_file_in_wal_mode_is_read_without_files_beside_it(wal: SqlStore) -> None:
    assert wal.path is not None
    with reading(wal) as db:
        assert db.scalar(text("SELECT count(*) FROM experiments")) == 1
        assert list(wal.path.parent.iterdir()) == [wal.path]


def test_a_file_that_changes_while_it_is_read_without_locks_is_reported(wal: SqlStore) -> None:
    assert wal.path is not None
    with pytest.raises(LacError, match="store-locked"), reading(wal):
        _empty(wal.path)


def _empty(file: Path) -> None:
    with closing(sqlite3.connect(file)) as db:
        db.execute("DELETE FROM experiments")
        db.commit()
