"""The usage that endpoints have written: counted by the database, whether SQL or Parquet files.

Parquet files are loaded into a SQLite in memory, so that one query counts them all.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from sqlalchemy import Connection, create_engine, inspect, text

from ..model.diagnostics import Diagnostic, LacError
from ..model.usage import By, Usage, UsageLoss, UsageRow
from ..serving.usage_store import (
    LOSSES,
    PARQUET,
    SCHEMA_VERSION,
    USAGE,
    USAGE_COLUMNS,
    day_of,
    folder,
)
from .sql.store import open_store, reading

_HOUR_MS = 3_600_000

_KEYS: Final[Mapping[By, str]] = {
    "endpoint": "endpoint",
    "entity": "CASE WHEN entity = '' THEN '' ELSE endpoint || '/' || entity END",
    "version": (
        "CASE WHEN entity_version = 0 THEN entity_name"
        " ELSE entity_name || '/' || CAST(entity_version AS text) END"
    ),
    "principal": "principal",
    "status": "CAST(status AS text)",
    "day": f"time_ms / {24 * _HOUR_MS}",
    "hour": f"time_ms / {_HOUR_MS}",
}

# percentiles by nearest rank: neither database needs an extension for it
_COUNT: Final = """
WITH ranked AS (
  SELECT {key} AS key, status, latency_ms, rows, prompt_tokens, completion_tokens,
    ROW_NUMBER() OVER (PARTITION BY {key} ORDER BY latency_ms) AS rank,
    COUNT(*) OVER (PARTITION BY {key}) AS n
  FROM lac_usage WHERE time_ms >= :since AND time_ms < :until{where}
)
SELECT key, COUNT(*) AS requests,
  SUM(CASE WHEN status BETWEEN 400 AND 499 THEN 1 ELSE 0 END) AS client_errors,
  SUM(CASE WHEN status >= 500 THEN 1 ELSE 0 END) AS server_errors,
  MAX(CASE WHEN rank = (n + 1) / 2 THEN latency_ms END) AS p50_ms,
  MAX(CASE WHEN rank = (n * 95 + 99) / 100 THEN latency_ms END) AS p95_ms,
  SUM(rows) AS rows, SUM(prompt_tokens) AS prompt_tokens, SUM(completion_tokens) AS completion_tokens
FROM ranked GROUP BY key ORDER BY {order}
"""


def read_usage(url: str, base: Path, *, by: By, since_ms: int, until_ms: int, endpoint: str = "") -> Usage:
    """The usage from `since_ms` until `until_ms` in the store at `url`; of one endpoint if named. Empty where
    nothing was ever written. LacError where the store can't be read."""
    with _open(url, base, since_ms) as db:
        if db is None:
            return Usage(by, since_ms, until_ms, endpoint)
        values = {"since": since_ms, "until": until_ms, "endpoint": endpoint}
        where = " AND endpoint = :endpoint" if endpoint else ""
        order = "key" if by in ("day", "hour") else "requests DESC, key"
        statement = _COUNT.format(key=_KEYS[by], where=where, order=order)
        groups = db.execute(text(statement), values).mappings().all()
        losses = db.execute(
            text(
                "SELECT endpoint, name, SUM(lost), MIN(first_ms), MAX(last_ms)"
                f" FROM {LOSSES} WHERE last_ms >= :since AND first_ms < :until{where}"
                " GROUP BY endpoint, name ORDER BY endpoint, name"
            ),
            values,
        ).all()
    return Usage(
        by,
        since_ms,
        until_ms,
        endpoint,
        tuple(_read_row(group, by) for group in groups),
        tuple(UsageLoss(row[0], row[1], *map(int, row[2:])) for row in losses),
    )


def _read_row(group: Mapping[Any, Any], by: By) -> UsageRow:
    key = group["key"]
    if by in ("day", "hour"):
        ms = int(key) * _HOUR_MS * (24 if by == "day" else 1)
        key = datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d" if by == "day" else "%Y-%m-%d %H:00")
    names = ("requests", "client_errors", "server_errors")
    sums = ("rows", "prompt_tokens", "completion_tokens")
    return UsageRow(
        key=str(key),
        p50_ms=float(group["p50_ms"] or 0),
        p95_ms=float(group["p95_ms"] or 0),
        # PostgreSQL's sums are decimals, and NULL where all is NULL
        **{name: int(group[name] or 0) for name in (*names, *sums)},
    )


@contextmanager
def _open(url: str, base: Path, since_ms: int) -> Iterator[Connection | None]:
    """A connection to the tables; None where there are none."""
    if urlsplit(url).scheme in PARQUET:
        with create_engine("sqlite://").connect() as db:
            yield db if _load(db, folder(url), since_ms) else None
        return
    store = open_store(url, role="usage", base=base, read_only=True)
    if not store.exists:
        yield None
        return
    with reading(store) as db:
        tables = inspect(db)
        if not tables.has_table(USAGE) and not tables.has_table(LOSSES):
            yield None
            return
        version = db.execute(text("SELECT max(version) FROM lac_usage_schema")).scalar()
        if version is not None and version > SCHEMA_VERSION:
            raise LacError(
                Diagnostic(
                    "newer-schema",
                    "the usage store was written by a newer release of lac",
                    f"{store.display_address} has version {version} of the tables; this lac reads version"
                    f" {SCHEMA_VERSION}.",
                    hint="upgrade lac on this machine",
                )
            )
        yield db


def _load(db: Connection, place: Path, since_ms: int) -> bool:
    """Load the rows and losses of a folder; False where there are none."""
    if not (place / USAGE).is_dir() and not (place / LOSSES).is_dir():
        return False
    columns = ", ".join(f"{name} {kind}" for name, kind in USAGE_COLUMNS.items())
    db.execute(text(f"CREATE TABLE {USAGE} ({columns})"))
    db.execute(
        text(
            f"CREATE TABLE {LOSSES} (name text, endpoint text, lost bigint, first_ms bigint, last_ms bigint)"
        )
    )
    insert = f"INSERT INTO {USAGE} VALUES ({', '.join('?' * len(USAGE_COLUMNS))})"
    first_day = f"date={day_of(since_ms)}"
    days = (place / USAGE).glob("endpoint=*/date=*")
    for file in (file for day in days if day.name >= first_day for file in sorted(day.glob("*.parquet"))):
        for rows in _read_file(file):
            db.exec_driver_sql(insert, rows)
    for file in (place / LOSSES).glob("*.json"):
        db.execute(
            text(f"INSERT INTO {LOSSES} VALUES (:name, :endpoint, :lost, :first_ms, :last_ms)"),
            json.loads(file.read_text()),
        )
    return True


def _read_file(file: Path) -> Iterator[list[tuple[Any, ...]]]:
    try:
        import pyarrow.parquet as pq
    except ModuleNotFoundError:
        raise LacError(
            Diagnostic(
                "missing-package",
                "pyarrow isn't installed",
                "The usage store is a folder of Parquet files, which this Python can't read.",
                hint="pip install pyarrow",
            )
        ) from None
    try:
        # as one file: as a dataset it would take `endpoint=…` in its path for a column, too
        for batch in pq.ParquetFile(file).iter_batches(columns=[*USAGE_COLUMNS]):
            yield list(zip(*(column.to_pylist() for column in batch.columns), strict=True))
    except FileNotFoundError:
        # retention removed it in between
        return
    except (OSError, ValueError) as e:
        raise LacError(
            Diagnostic("store-unreadable", "a file of the usage store can't be read", f"{file}: {e}.")
        ) from None
