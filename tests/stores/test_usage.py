"""What `lac usage` counts is what was written, whatever the store."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from support.mlflow_fixture import drop_postgres, fresh_postgres

from lifecycle_as_code.model.diagnostics import LacError
from lifecycle_as_code.model.usage import BY, By, Usage
from lifecycle_as_code.serving.spool import Losses
from lifecycle_as_code.serving.usage import Record, UsageLog
from lifecycle_as_code.serving.usage_store import USAGE, USAGE_COLUMNS, Table, open_store
from lifecycle_as_code.stores.usage import read_usage

HOUR = 3_600_000
START = 1_790_000_000_000 // (24 * HOUR) * 24 * HOUR


def records() -> list[Record]:
    """Two days of three endpoints."""
    draw = random.Random(7)
    made = []
    for number in range(997):
        endpoint = draw.choice(["fraud", "fraud", "spam", "chat"])
        status = draw.choice([200] * 8 + [400, 429, 503])
        record = Record(
            time_ms=START + draw.randrange(48) * HOUR + number,
            endpoint=endpoint,
            principal=draw.choice(["alice", "bob", ""]),
            entity="" if status == 429 else draw.choice(["champion", "challenger"]),
            entity_name=endpoint,
            entity_version=0 if endpoint == "chat" else draw.choice([3, 4]),
            status=status,
            latency_ms=draw.expovariate(1 / 20),
        )
        tokens = {"prompt_tokens": number % 7, "completion_tokens": number % 5}
        made.append(record._replace(**tokens) if endpoint == "chat" else record._replace(rows=number % 3))
    return made


RECORDS = records()
LOST = Losses(5, START + HOUR, START + 2 * HOUR)


@pytest.fixture(scope="module", params=["sqlite", "postgresql", "parquet"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    directory = tmp_path_factory.mktemp("usage")
    url = {
        "sqlite": f"sqlite:///{directory}/usage.db",
        "postgresql": fresh_postgres() if request.param == "postgresql" else "",
        "parquet": f"parquet://{directory}/files",
    }[request.param]
    for endpoint in ("fraud", "spam", "chat"):
        log = UsageLog({"store": url, "endpoint": endpoint, "usage": {}}, directory / endpoint)
        for record in RECORDS:
            if record.endpoint == endpoint:
                log.add(record)
        log.close()
    writer = open_store(url)
    for spool, losses in ((1, LOST), (2, LOST), (1, Losses(3, START, START)), (3, Losses(1, 1, 2))):
        # the number of a spool never falls; the last one was long ago
        writer.write_losses(Table(USAGE, USAGE_COLUMNS), "fraud", spool, losses)
    writer.close()
    yield url
    if request.param == "postgresql":
        drop_postgres(url)


def key_of(record: Record, by: By) -> str:
    match by:
        case "entity":
            return f"{record.endpoint}/{record.entity}" if record.entity else ""
        case "version":
            version = record.entity_version
            return f"{record.entity_name}/{version}" if version else record.entity_name
        case "day":
            return f"2026-09-{21 + (record.time_ms - START) // (24 * HOUR)}"
        case "hour":
            day, hour = divmod((record.time_ms - START) // HOUR, 24)
            return f"2026-09-{21 + day} {hour:02d}:00"
        case _:
            return str(getattr(record, by))


@pytest.mark.parametrize("by", BY)
def test_the_counts_are_those_of_the_records(store: str, tmp_path: Path, by: By) -> None:
    usage = read_usage(store, tmp_path, by=by, since_ms=START, until_ms=START + 48 * HOUR)
    groups: dict[str, list[Record]] = {}
    for record in RECORDS:
        groups.setdefault(key_of(record, by), []).append(record)
    assert {row.key for row in usage.rows} == groups.keys()
    order = [row.key if by in ("day", "hour") else -row.requests for row in usage.rows]
    assert order == sorted(order)
    for row in usage.rows:
        ours = groups[row.key]
        latencies = sorted(record.latency_ms for record in ours)
        assert row.requests == len(ours)
        assert row.client_errors == sum(400 <= r.status < 500 for r in ours)
        assert row.server_errors == sum(r.status >= 500 for r in ours)
        assert row.p50_ms == latencies[(len(ours) + 1) // 2 - 1]
        assert row.p95_ms == latencies[-(-len(ours) * 95 // 100) - 1]
        assert row.rows == sum(r.rows or 0 for r in ours)
        assert row.prompt_tokens == sum(r.prompt_tokens or 0 for r in ours)
        assert row.completion_tokens == sum(r.completion_tokens or 0 for r in ours)


def test_one_endpoint_and_a_part_of_the_time(store: str, tmp_path: Path) -> None:
    since, until = START + 5 * HOUR, START + 30 * HOUR
    usage = read_usage(store, tmp_path, by="status", since_ms=since, until_ms=until, endpoint="spam")
    ours = [r for r in RECORDS if r.endpoint == "spam" and since <= r.time_ms < until]
    assert sum(row.requests for row in usage.rows) == len(ours)
    assert usage.losses == ()


def test_losses_are_told_with_the_time(store: str, tmp_path: Path) -> None:
    usage = read_usage(store, tmp_path, by="endpoint", since_ms=START, until_ms=START + 48 * HOUR)
    [loss] = usage.losses
    assert (loss.endpoint, loss.table, loss.lost) == ("fraud", "lac_usage", 10)
    assert (loss.first_ms, loss.last_ms) == (START + HOUR, START + 2 * HOUR)


def empty(url: str, base: Path) -> Usage:
    return read_usage(url, base, by="endpoint", since_ms=0, until_ms=1)


def test_a_store_that_nobody_wrote_is_empty_and_stays_missing(tmp_path: Path) -> None:
    for url in ("sqlite:///none.db", f"parquet://{tmp_path}/none"):
        assert empty(url, tmp_path) == Usage("endpoint", 0, 1)
    assert list(tmp_path.iterdir()) == []


def test_another_programs_database_is_empty_too(tmp_path: Path) -> None:
    with create_engine(f"sqlite:///{tmp_path}/other.db").begin() as db:
        db.execute(text("CREATE TABLE something (x int)"))
    assert empty("sqlite:///other.db", tmp_path).rows == ()


def a_newer_release(directory: Path) -> str:
    log = UsageLog(
        {"store": f"sqlite:///{directory}/u.db", "endpoint": "e", "usage": {}}, directory / "spool"
    )
    log.add(Record(1))
    log.close()
    with create_engine(f"sqlite:///{directory}/u.db").begin() as db:
        db.execute(text("UPDATE lac_usage_schema SET version = 99"))
    return "sqlite:///u.db"


def a_broken_file(directory: Path) -> str:
    day = directory / "files" / "lac_usage" / "endpoint=e" / "date=2026-11-30"
    day.mkdir(parents=True)
    (day / "x.parquet").write_bytes(b"no parquet")
    return f"parquet://{directory}/files"


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (a_newer_release, "newer-schema"),
        (a_broken_file, "store-unreadable"),
        (lambda _: "mysql://u:s3cret@h/x", "unsupported-store"),
        (lambda _: "postgresql://u:s3cret@127.0.0.1:9/x", "store-unreachable"),
    ],
)
def test_a_store_that_cannot_be_read_is_an_error(tmp_path: Path, make: Any, code: str) -> None:
    with pytest.raises(LacError) as error:
        empty(make(tmp_path), tmp_path)
    [problem] = error.value.diagnostics
    assert problem.code == code
    assert "s3cret" not in json.dumps([problem.detail, problem.summary, problem.hint])
