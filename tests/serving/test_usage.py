"""What is sent is what is stored, once: on SQLite, PostgreSQL and Parquet, with killed processes and stores
that are away."""

from __future__ import annotations

import json
import logging
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
import pytest
from sqlalchemy import create_engine, make_url, text
from support.mlflow_fixture import drop_postgres, fresh_postgres

from lifecycle_as_code.serving import spool, usage
from lifecycle_as_code.serving.usage import Record, UsageLog, exclude_columns

NOW = int(time.time() * 1000)
DAY = 86_400_000


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    url = fresh_postgres()
    yield url
    drop_postgres(url)


@pytest.fixture(params=["sqlite", "postgresql", "parquet"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgresql":
        url: str = request.getfixturevalue("database")
        with connect(url) as db:
            for name in ("lac_usage", "lac_payloads", "lac_usage_losses", "lac_usage_schema"):
                db.execute(text(f"DROP TABLE IF EXISTS {name}"))
        return url
    return f"sqlite:///{tmp_path}/usage.db" if request.param == "sqlite" else f"parquet://{tmp_path}/files"


def connect(url: str) -> Any:
    address = make_url(url)
    name = "postgresql+psycopg" if address.get_backend_name() == "postgresql" else address.drivername
    return create_engine(address.set(drivername=name)).begin()


def rows(url: str, table: str = "lac_usage", *, by: str = "seq") -> list[dict[str, Any]]:
    if url.startswith("parquet:"):
        folder = url.removeprefix("parquet://")
        if table == "lac_usage_losses":
            found = [json.loads(file.read_text()) for file in Path(folder, table).glob("*.json")]
        else:
            found = ds.dataset(f"{folder}/{table}", format="parquet").to_table().to_pylist()
        return sorted(found, key=lambda row: row[by])
    with connect(url) as db:
        return [dict(row) for row in db.execute(text(f"SELECT * FROM {table} ORDER BY {by}")).mappings()]


def record(number: int = 0, **values: Any) -> Record:
    return Record(NOW + number, f"r{number}", "alice", "fraud", "champion", "fraud", 3, **values)


def open_log(url: str, directory: Path, **more: Any) -> UsageLog:
    return UsageLog({"store": url, "endpoint": "fraud", "usage": {}, **more}, directory / "spool")


def leftovers(directory: Path) -> list[str]:
    return sorted(path.name for path in (directory / "spool").glob("[!.]*"))


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "nothing came of it"
        time.sleep(0.02)


def test_what_is_added_is_stored_after_close(store: str, tmp_path: Path) -> None:
    log = open_log(store, tmp_path)
    # more than a segment
    for number in range(10_000):
        log.add(record(number))
    log.add(Record(NOW, "x", "böb", "fraud", "c", "gpt", 0, 429, 1.5, None, 7, 9, "t", "limit fallback"))
    log.close()
    found = rows(store)
    assert [row["request_id"] for row in found] == [*(f"r{n}" for n in range(10_000)), "x"]
    last = {name: value for name, value in found[-1].items() if name not in ("spool", "date")}
    assert last == {
        "seq": 10_001,
        **dict(zip(usage.USAGE_COLUMNS, (NOW, "x", "böb", "fraud", "c", "gpt", 0), strict=False)),
        "status": 429,
        "latency_ms": 1.5,
        "rows": None,
        "prompt_tokens": 7,
        "completion_tokens": 9,
        "trace_id": "t",
        "outcome": "limit fallback",
    }
    assert leftovers(tmp_path) == []
    assert log.lost == 0


_ADDS = """
import os, sys
from pathlib import Path
from lifecycle_as_code.serving.usage import Record, UsageLog
url, directory, count, last = sys.argv[1:]
log = UsageLog({"store": url, "endpoint": "fraud", "usage": {}}, Path(directory))
for number in range(int(count)):
    log.add(Record(1_790_000_000_000 + number, f"{os.getpid()}-{number}", endpoint="fraud"))
if last == "close":
    log.close(60)
print("done", flush=True)
sys.stdin.read()
"""


def adder(url: str, directory: Path, count: int, last: str = "") -> subprocess.Popen[str]:
    command = [sys.executable, "-c", _ADDS, url, str(directory / "spool"), str(count), last]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def kill(process: subprocess.Popen[str]) -> None:
    assert process.stdout
    assert process.stdin
    assert process.stdout.readline() == "done\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdin.close()
    process.stdout.close()


def test_a_killed_process_loses_nothing_and_the_next_one_writes_it_once(store: str, tmp_path: Path) -> None:
    # one whose store is away, and one that may be killed in the middle of writing
    killed = [adder("sqlite:////proc/none/x.db", tmp_path, 6_000), adder(store, tmp_path, 9_000)]
    for process in killed:
        kill(process)
    for _ in range(2):
        # the second finds nothing
        log = open_log(store, tmp_path)
        log.add(record())
        log.close()
    expected = [f"{p.pid}-{n}" for p, count in zip(killed, (6_000, 9_000), strict=True) for n in range(count)]
    assert sorted(row["request_id"] for row in rows(store)) == sorted([*expected, "r0", "r0"])
    assert leftovers(tmp_path) == []
    assert store_losses(store) == []


def store_losses(url: str) -> list[dict[str, Any]]:
    return rows(url, "lac_usage_losses", by="lost")


def test_what_killed_processes_left_is_written_without_a_front(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # on the replica's node the variable isn't set
    process = adder("{{ env.USAGE_STORE }}", tmp_path, 10)
    wait_for((tmp_path / "spool" / ".settings.json").exists)
    kill(process)
    monkeypatch.setenv("USAGE_STORE", f"sqlite:///{tmp_path}/usage.db")
    for _ in range(2):
        usage.write_leftovers(tmp_path)
    expected = [f"{process.pid}-{n}" for n in range(10)]
    assert [row["request_id"] for row in rows(f"sqlite:///{tmp_path}/usage.db")] == expected
    assert leftovers(tmp_path) == []
    assert b"usage.db" not in (tmp_path / "spool" / ".settings.json").read_bytes()


def test_lines_that_are_written_again_after_a_crash_are_kept_once(store: str, tmp_path: Path) -> None:
    log = open_log(store, tmp_path)
    for number in range(3):
        log.add(record(number))
    log.close()
    [identity] = {row["spool"] for row in rows(store)}
    # the process was killed after the store had the lines and before the segment was removed
    base = tmp_path / "spool" / f"{identity:016x}.usage"
    base.write_bytes(b"")
    lines = [[n + 1, *record(n)] for n in range(4)]
    base.with_name(f"{base.name}.00000001").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    open_log(store, tmp_path).close()
    assert [row["request_id"] for row in rows(store)] == ["r0", "r1", "r2", "r3"]
    assert store_losses(store) == []
    assert leftovers(tmp_path) == []


def test_a_line_that_was_cut_off_is_counted(store: str, tmp_path: Path) -> None:
    identity = 77
    base = tmp_path / "spool" / f"{identity:016x}.usage"
    base.parent.mkdir(mode=0o700)
    base.write_bytes(b"")
    whole, torn = (json.dumps([n, *record(n)]).encode() + b"\n" for n in (1, 2))
    base.with_name(f"{base.name}.00000001").write_bytes(whole + torn[:-9] + bytes(500))
    open_log(store, tmp_path).close()
    assert [row["request_id"] for row in rows(store)] == ["r1"]
    [loss] = store_losses(store)
    assert (loss["spool"], loss["endpoint"], loss["lost"]) == (identity, "fraud", 1)


def test_lines_of_another_release_and_strange_files_hold_nothing_up(store: str, tmp_path: Path) -> None:
    directory = tmp_path / "spool"
    directory.mkdir(mode=0o700)
    (directory / "notes.usage").write_text("not ours")
    base = directory / f"{7:016x}.usage"
    base.write_bytes(b"")
    older, newer = [1, *record(1)][:6], [2, *record(2), "more"]
    base.with_name(f"{base.name}.00000001").write_text(f"{json.dumps(older)}\n{json.dumps(newer)}\n")
    open_log(store, tmp_path).close()
    assert [(row["request_id"], row["status"]) for row in rows(store)] == [("r1", None), ("r2", 200)]
    assert leftovers(tmp_path) == ["notes.usage"]


def test_several_processes_write_one_store_at_once(store: str, tmp_path: Path) -> None:
    # the tables aren't there yet: all of them make them
    processes = [adder(store, tmp_path, 1_000, "close") for _ in range(3)]
    for process in processes:
        kill(process)
    found = [row["request_id"] for row in rows(store)]
    assert sorted(found) == sorted(f"{p.pid}-{n}" for p in processes for n in range(1_000))


def test_requests_go_on_while_the_store_is_away_and_a_full_spools_loss_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    away = tmp_path / "away"
    away.write_text("a file where a directory should be")
    url = f"sqlite:///{away}/usage.db"
    log = open_log(url, tmp_path, spool_bytes=2 * spool.SEGMENT)
    for number in range(40_000):
        log.add(record(number))
    kept = 40_000 - log.lost
    assert 0 < log.lost < 40_000
    wait_for(lambda: "can't be written" in caplog.text)
    away.unlink()
    # of two full segments the last one stays
    wait_for(lambda: len(leftovers(tmp_path)) == 2)
    wait_for(lambda: len(rows(url)) == kept)
    log.add(record(40_000))
    log.close()
    found = [row["request_id"] for row in rows(url)]
    assert found == [*(f"r{n}" for n in range(kept)), "r40000"]
    [loss] = store_losses(url)
    assert (loss["name"], loss["lost"]) == ("lac_usage", 40_000 - kept)
    assert loss["first_ms"] <= loss["last_ms"]
    assert leftovers(tmp_path) == []


def test_a_log_names_the_fault_once_a_minute_and_no_credentials(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("USAGE_PASSWORD", "s3cret-canary")
    now = [time.time()]
    settings = {
        "store": "postgresql://u:{{ env.USAGE_PASSWORD }}@127.0.0.1:9/x",
        "usage": {},
        "endpoint": "e",
    }
    log = UsageLog(settings, tmp_path / "spool", clock=lambda: now[0])
    log.add(record())
    for _ in range(3):
        log._wake.set()
        wait_for(lambda: "can't be written" in caplog.text)
    log.close()
    missing = {**settings, "store": "postgresql://u:{{ env.LAC_NOT_SET }}@h/x"}
    UsageLog(missing, tmp_path / "spool").close()
    messages = [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR]
    assert len(messages) == 2
    assert "OperationalError" in messages[0]
    assert "LAC_NOT_SET is not set" in messages[1]
    assert "s3cret-canary" not in caplog.text
    assert len([name for name in leftovers(tmp_path) if name.endswith(".usage")]) == 1


def test_losses_that_no_store_was_told_of_outlive_the_process(tmp_path: Path) -> None:
    log = open_log("sqlite:////proc/none/x.db", tmp_path, spool_bytes=10)
    for number in range(7):
        log.add(record(number))
    log.close()
    store = f"sqlite:///{tmp_path}/usage.db"
    open_log(store, tmp_path).close()
    assert [loss["lost"] for loss in store_losses(store)] == [7]
    assert leftovers(tmp_path) == []


def test_one_row_that_the_store_refuses_holds_up_no_other(tmp_path: Path, database: str) -> None:
    with connect(database) as db:
        for name in ("lac_usage", "lac_usage_losses"):
            db.execute(text(f"DROP TABLE IF EXISTS {name}"))
    log = open_log(database, tmp_path)
    for number in range(100):
        # PostgreSQL's text has no NUL
        log.add(record(number, trace_id="\0" if number == 42 else ""))
    log.close()
    assert [row["request_id"] for row in rows(database)] == [f"r{n}" for n in range(100) if n != 42]
    assert [loss["lost"] for loss in store_losses(database)] == [1]


def test_what_no_json_can_hold_is_lost_and_nothing_raises(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path}/usage.db"
    log = open_log(store, tmp_path)
    log.add(record(0, rows=2**70))
    log.add(record(1))
    log.close()
    assert [row["request_id"] for row in rows(store)] == ["r1"]
    assert [loss["lost"] for loss in store_losses(store)] == [1]


def test_a_spool_that_cannot_be_made_at_first_is_made_later(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path}/usage.db"
    (tmp_path / "spool").write_text("no directory")
    log = open_log(store, tmp_path)
    log.add(record(0))
    (tmp_path / "spool").unlink()
    wait_for(lambda: (tmp_path / "spool").is_dir() and leftovers(tmp_path) != [])
    log.add(record(1))
    assert (tmp_path / "spool").stat().st_mode & 0o777 == 0o700
    log.close()
    assert [row["request_id"] for row in rows(store)] == ["r1"]
    assert [loss["lost"] for loss in store_losses(store)] == [1]


def test_rows_older_than_the_retention_go(store: str, tmp_path: Path) -> None:
    log = open_log(store, tmp_path)
    for number in range(1_500):
        log.add(Record(NOW - 3 * DAY + number, f"old{number}", endpoint="fraud"))
    log.add(Record(NOW, "new", endpoint="fraud"))
    log.close()
    other = UsageLog({"store": store, "endpoint": "other", "usage": {}}, tmp_path / "other")
    other.add(Record(NOW - 3 * DAY, "other's", endpoint="other"))
    other.close()
    log = open_log(store, tmp_path, usage={"retention_days": 1})
    wait_for(lambda: log._next_retention > 0)
    log.close()
    assert {row["request_id"] for row in rows(store)} == {"new", "other's"}


def payload_log(url: str, directory: Path, **settings: Any) -> UsageLog:
    more = {"store": url, "endpoint": "fraud", "payloads": settings}
    return UsageLog(more, directory / "spool")


def test_requests_and_responses_are_kept_beside_the_record(store: str, tmp_path: Path) -> None:
    log = payload_log(store, tmp_path, max_bytes=20)
    log.add(record(0, latency_ms=1.5), b'{"inputs": "\xc3\xb6"}', b"\xff\x00")
    log.add(record(1), b"x" * 19 + b"\xc3\xb6", None)
    log.close()
    first, second = rows(store, "lac_payloads")
    assert (first["request"], first["response"], first["truncated"]) == ('{"inputs": "ö"}', "��", "")
    assert (first["principal"], first["latency_ms"], first["sampling_fraction"]) == ("alice", 1.5, 1.0)
    assert (second["request"], second["response"], second["truncated"]) == ("x" * 19, None, "request")


def test_a_sample_is_of_the_size_that_it_says(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path}/usage.db"
    log = UsageLog(
        {"store": store, "endpoint": "fraud", "usage": {}, "payloads": {"sampling_fraction": 0.25}},
        tmp_path / "spool",
    )
    for number in range(4_000):
        log.add(record(number), b"{}", b"{}")
    log.close()
    kept = rows(store, "lac_payloads")
    assert len(rows(store)) == 4_000
    # 12 standard deviations
    assert 670 < len(kept) < 1_330
    assert {row["sampling_fraction"] for row in kept} == {0.25}


def test_a_payload_table_has_its_prefix_and_its_schema(database: str, tmp_path: Path) -> None:
    log = payload_log(database, tmp_path, table_name_prefix="Fraud:1", schema_name="ml logs")
    log.add(record(), b"{}", b"{}")
    log.close()
    with connect(database) as db:
        found = db.execute(text('SELECT request FROM "ml logs"."Fraud\\:1_payload"')).scalars().all()
    assert found == ["{}"]


EXCLUDED: dict[str, tuple[Any, Any]] = {
    "split": (
        {"dataframe_split": {"columns": ["a", "ssn", "b"], "data": [[1, "x", 2], [3, "y", 4]]}},
        {"dataframe_split": {"columns": ["a", "b"], "data": [[1, 2], [3, 4]]}},
    ),
    "split with an index": (
        {"dataframe_split": {"index": [0], "columns": ["ssn"], "data": [["x"]]}, "params": {"k": 1}},
        {"dataframe_split": {"index": [0], "columns": [], "data": [[]]}, "params": {"k": 1}},
    ),
    "records": (
        {"dataframe_records": [{"a": 1, "ssn": "x"}, {"b": 2}]},
        {"dataframe_records": [{"a": 1}, {"b": 2}]},
    ),
    "instances": ({"instances": [{"a": 1, "ssn": "x"}, 5]}, {"instances": [{"a": 1}, 5]}),
    "named inputs": ({"inputs": {"a": [1], "ssn": ["x"]}}, {"inputs": {"a": [1]}}),
    "a list of inputs": ({"inputs": [{"ssn": "x"}]}, {"inputs": [{}]}),
    "an array": ({"inputs": [[1, 2]]}, {"inputs": [[1, 2]]}),
    "a chat": ({"messages": [{"role": "user"}]}, {"messages": [{"role": "user"}]}),
    "rows that are too short": ({"dataframe_split": {"columns": ["a", "ssn"], "data": [[]]}}, None),
    "no table": ({"dataframe_split": [1]}, None),
    "no object": ([{"ssn": "x"}], None),
}


@pytest.mark.parametrize(("request_", "expected"), EXCLUDED.values(), ids=EXCLUDED)
def test_excluded_columns_are_removed_or_the_request_is_not_kept(request_: Any, expected: Any) -> None:
    text = exclude_columns(json.dumps(request_).encode(), frozenset({"ssn"}))
    assert (None if text is None else json.loads(text)) == expected


def test_what_is_excluded_never_reaches_the_disk(tmp_path: Path) -> None:
    store = "sqlite:////proc/none/x.db"
    log = payload_log(store, tmp_path, exclude_columns=["ssn"], max_bytes=60)
    for body in (
        b'{"inputs": {"ssn": "canary"}}',
        b"a,ssn\n1,canary\n",
        b'{"inputs": {"a": "' + b"x" * 60 + b'", "ssn": "canary"}}',
    ):
        log.add(record(), body, b"{}")
    # MLflow's errors repeat the row in words
    log.add(record(status=400), b"{}", b'{"message": "Failed to predict data \'ssn 0 canary\'"}')
    log.close()
    content = b"".join((tmp_path / "spool" / name).read_bytes() for name in leftovers(tmp_path))
    assert b"canary" not in content
    lines = [json.loads(line) for line in content[24:].rstrip(b"\0").splitlines()]
    assert [line[-4:-1] for line in lines] == [
        ['{"inputs":{}}', "{}", ""],
        *[[None, "{}", "request"]] * 2,
        ["{}", None, "response"],
    ]


def test_a_store_of_a_newer_release_is_left_alone(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "usage.db") as db:
        db.execute("CREATE TABLE lac_usage_schema (version bigint)")
        db.execute("INSERT INTO lac_usage_schema VALUES (99)")
    log = open_log(f"sqlite:///{tmp_path}/usage.db", tmp_path)
    log.add(record())
    log.close()
    with sqlite3.connect(tmp_path / "usage.db") as db:
        assert [name for (name,) in db.execute("SELECT name FROM sqlite_master")] == ["lac_usage_schema"]
    assert len(leftovers(tmp_path)) == 2


def test_a_database_that_is_removed_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "usage.db"
    log = open_log(f"sqlite:///{path}", tmp_path)
    log.add(record(0))
    wait_for(lambda: path.exists() and count_rows(path) == 1)
    for file in tmp_path.glob("usage.db*"):
        file.unlink()
    log.add(record(1))
    log.close()
    assert [row["request_id"] for row in rows(f"sqlite:///{path}")] == ["r1"]


def count_rows(path: Path) -> int:
    with sqlite3.connect(path) as db:
        try:
            (number,) = db.execute("SELECT count(*) FROM lac_usage").fetchone()
        except sqlite3.OperationalError:
            return 0
    db.close()
    return int(number)


def test_a_database_of_ours_is_private(tmp_path: Path) -> None:
    log = open_log(f"sqlite:///{tmp_path}/new/usage.db", tmp_path)
    log.add(record())
    log.close()
    assert os.stat(tmp_path / "new" / "usage.db").st_mode & 0o077 == 0


IDS = {"3f1b-7a7e": True, None: False, "": False, "a\nb": False, "x" * 129: False, "ö": False}


@pytest.mark.parametrize(("given", "kept"), IDS.items())
def test_a_clients_id_is_kept_only_if_it_looks_like_one(given: str | None, kept: bool) -> None:
    made = usage.make_request_id(given)
    assert (made == given) == kept
    assert kept or len(made) == 32


TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACES = {
    f"00-{TRACE}-00f067aa0ba902b7-01": TRACE,
    f"01-{TRACE}-00f067aa0ba902b7-01-more": TRACE,
    f"ff-{TRACE}-00f067aa0ba902b7-01": "",
    f"00-{'0' * 32}-00f067aa0ba902b7-01": "",
    f"00-{TRACE.upper()}-00f067aa0ba902b7-01": "",
    f"00-{TRACE}": "",
    None: "",
}


@pytest.mark.parametrize(("header", "expected"), TRACES.items())
def test_a_trace_is_known_by_its_id(header: str | None, expected: str) -> None:
    assert usage.read_trace_id(header) == expected


ANSWERS = {
    b'{"predictions": [1, 2, 3]}': 3,
    b'{"predictions": {"a": [1]}}': None,
    b'{"predictions": [1': None,
    b'{"error_code": "x"}': None,
}


@pytest.mark.parametrize(("answer", "rows"), ANSWERS.items())
def test_rows_are_counted_in_the_answer(answer: bytes, rows: int | None) -> None:
    assert usage.count_rows(answer) == rows


def test_a_directory_below_somebody_elses_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    public = tmp_path / "tmp"
    public.mkdir()
    public.chmod(0o1777)
    (public / "theirs" / "ours").mkdir(parents=True)
    spool.make_private(public / "theirs" / "ours")
    uid = os.geteuid()
    monkeypatch.setattr(spool.os, "geteuid", lambda: uid + 1)
    with pytest.raises(PermissionError):
        spool.make_private(public / "theirs" / "ours")
    monkeypatch.undo()
    if uid == 0:
        os.chown(public / "theirs", 12345, 12345)
        with pytest.raises(PermissionError):
            spool.make_private(public / "theirs" / "ours")


def test_each_endpoint_has_a_place_of_its_own() -> None:
    environ = {"LAC_SPOOL_DIR": "/var/spool/lac"}
    assert usage.find_directory("payments", "fraud", environ) == Path("/var/spool/lac/payments/fraud")
    assert usage.find_directory("a/..", "b", environ) == Path("/var/spool/lac/a%2F../b")
    assert usage.find_directory("a", "b", {}).parts[-3:] == (f"lac-spool-{os.geteuid()}", "a", "b")
