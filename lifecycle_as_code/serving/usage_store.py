"""Where usage and payloads are kept: tables of a SQL database, or Parquet files in a folder.

Rows come as lines of JSON arrays, each with its number in its spool, and are kept once however often they are
written: a line that was written before a crash comes again after it. A SQL database reads the JSON itself, so
that writing takes hardly any time of Python's.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol
from urllib.parse import quote, unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection, Engine

    from lifecycle_as_code.serving.spool import Losses

SCHEMA_VERSION = 1
LOSSES = "lac_usage_losses"
USAGE = "lac_usage"
PAYLOADS = "lac_payloads"
PARQUET = ("parquet", "file")
"""The schemes of a folder's address."""

Type = Literal["bigint", "double precision", "text"]

_BATCH = 1000
_DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Table:
    """A table by its columns. Beside them it has `spool` and `seq`, its key. `schema`: PostgreSQL's."""

    name: str
    columns: Mapping[str, Type]
    schema: str = ""


_REQUEST: Mapping[str, Type] = {
    "time_ms": "bigint",
    "request_id": "text",
    "principal": "text",
    "endpoint": "text",
    "entity": "text",
    "entity_name": "text",
    "entity_version": "bigint",
    "status": "bigint",
    "latency_ms": "double precision",
}
USAGE_COLUMNS: Mapping[str, Type] = {
    **_REQUEST,
    "rows": "bigint",
    "prompt_tokens": "bigint",
    "completion_tokens": "bigint",
    "trace_id": "text",
    "outcome": "text",
}
PAYLOAD_COLUMNS: Mapping[str, Type] = {
    **_REQUEST,
    "sampling_fraction": "double precision",
    "request": "text",
    "response": "text",
    "truncated": "text",
    "trace_id": "text",
}


class RowError(Exception):
    """The store is fine and doesn't take these rows."""


class Store(Protocol):
    """`pause`: seconds between two writings; `batch`: bytes of one."""

    pause: float
    batch: int

    def write(self, table: Table, endpoint: str, spool: int, lines: bytes) -> None:
        """Keep these lines of a spool. RowError where one of them can't be kept; nothing is kept then."""

    def write_losses(self, table: Table, endpoint: str, spool: int, losses: Losses) -> None:
        """Keep how many lines of a spool were lost so far."""

    def delete(self, table: Table, endpoint: str, before_ms: int) -> None:
        """Delete an endpoint's rows that are older."""

    def close(self) -> None:
        """Close connections."""


def open_store(url: str) -> Store:
    """The store at `sqlite:///…`, `postgresql://…`, `parquet:///…` or `file:///…`. Connects to nothing yet.
    ValueError for another one."""
    if urlsplit(url).scheme in PARQUET:
        return ParquetStore(folder(url))
    return SqlStore(url)


def folder(url: str) -> Path:
    """The folder of a Parquet store's address."""
    return Path(unquote(urlsplit(url).path))


class SqlStore:
    """SQLite or PostgreSQL. Makes its tables; several processes may do so at once."""

    pause = 1.0
    batch = 512 * 1024

    def __init__(self, url: str) -> None:
        from sqlalchemy import make_url

        address = make_url(url)
        self._backend = address.get_backend_name()
        if self._backend not in ("sqlite", "postgresql"):
            raise ValueError(f"usage can't be stored in {self._backend}")
        self._address = address
        self._engine: Engine | None = None
        self._ready: set[str] = set()
        self._inode = 0

    @contextmanager
    def _transaction(self, table: Table) -> Iterator[Connection]:
        if self._engine is not None and self._inode != self._find_inode():
            # somebody removed or replaced the file: what is written to the open one would be lost
            self.close()
        if self._engine is None:
            self._engine = self._open()
        name = self._quote(table)
        try:
            with self._engine.begin() as db:
                if name not in self._ready:
                    self._make(db, table)
                yield db
        except BaseException:
            # the next one looks whether they are still there
            self._ready.discard(name)
            raise
        self._ready.add(name)

    def _open(self) -> Engine:
        from sqlalchemy import create_engine, event
        from sqlalchemy.pool import QueuePool

        # one connection that stays open: closing SQLite's last one copies its whole log into the file
        pool: dict[str, Any] = {"pool_size": 1, "max_overflow": 0, "pool_pre_ping": True}
        if self._backend == "sqlite":
            # rows name people: for this user alone, as SQLite's other files then are
            path = Path(self._address.database or "")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600)
            self._inode = self._find_inode()
            options = {"timeout": 20, "check_same_thread": False}
            engine = create_engine(self._address, connect_args=options, poolclass=QueuePool, **pool)
            event.listen(engine, "connect", _prepare_sqlite)
            event.listen(engine, "begin", lambda db: db.exec_driver_sql("BEGIN IMMEDIATE"))
            return engine
        return create_engine(
            self._address.set(drivername="postgresql+psycopg"),
            # a pooler hands each transaction to another session
            connect_args={"connect_timeout": 5, "prepare_threshold": None},
            **pool,
        )

    def _find_inode(self) -> int:
        """Which file SQLite's is; 0 where there is none."""
        if self._backend != "sqlite":
            return 0
        try:
            return os.stat(self._address.database or "").st_ino
        except OSError:
            return 0

    def _make(self, db: Connection, table: Table) -> None:
        from sqlalchemy import text

        if self._backend == "postgresql":
            # `IF NOT EXISTS` alone fails where two make a table at once. The number: "lac" and this purpose
            db.execute(text("SELECT pg_advisory_xact_lock(7102563, 1)"))
        db.execute(text("CREATE TABLE IF NOT EXISTS lac_usage_schema (version bigint PRIMARY KEY)"))
        version = db.execute(text("SELECT max(version) FROM lac_usage_schema")).scalar()
        if version is None:
            db.execute(text("INSERT INTO lac_usage_schema VALUES (:version)"), {"version": SCHEMA_VERSION})
        elif version > SCHEMA_VERSION:
            raise RuntimeError(f"the store has tables of a newer release of lac (version {version})")
        db.execute(
            text(
                f"CREATE TABLE IF NOT EXISTS {LOSSES} (spool bigint PRIMARY KEY, name text NOT NULL,"
                " endpoint text NOT NULL, lost bigint NOT NULL, first_ms bigint NOT NULL,"
                " last_ms bigint NOT NULL)"
            )
        )
        columns = ", ".join(f"{name} {kind}" for name, kind in table.columns.items())
        name = self._quote(table)
        if table.schema:
            db.execute(text(f"CREATE SCHEMA IF NOT EXISTS {self._quote_name(table.schema)}"))
        db.execute(
            text(
                f"CREATE TABLE IF NOT EXISTS {name} (spool bigint NOT NULL, seq bigint NOT NULL, {columns},"
                " PRIMARY KEY (spool, seq))"
            )
        )
        index = self._quote_name(f"{table.name}_by_time")
        db.execute(text(f"CREATE INDEX IF NOT EXISTS {index} ON {name} (endpoint, time_ms)"))

    def _quote(self, table: Table) -> str:
        name = self._quote_name(table.name)
        return f"{self._quote_name(table.schema)}.{name}" if table.schema else name

    def _quote_name(self, name: str) -> str:
        return '"' + name.replace('"', '""').replace(":", "\\:") + '"'

    def write(self, table: Table, endpoint: str, spool: int, lines: bytes) -> None:
        """One transaction of one statement."""
        from sqlalchemy import text
        from sqlalchemy.exc import DataError, IntegrityError

        names = ", ".join(table.columns)
        kinds = ["bigint", *table.columns.values()]
        if self._backend == "sqlite":
            values = ", ".join(f"json_extract(value, '$[{n}]')" for n in range(len(kinds)))
            source = f"SELECT :spool, {values} FROM json_each(:rows)"
        else:
            values = ", ".join(f"CAST(v ->> {n} AS {kind})" for n, kind in enumerate(kinds))
            source = f"SELECT :spool, {values} FROM json_array_elements(CAST(:rows AS json)) AS v"
        statement = (
            f"INSERT INTO {self._quote(table)} (spool, seq, {names}) {source}"
            # SQLite would take ON for a join's without a WHERE
            " WHERE true ON CONFLICT DO NOTHING"
        )
        rows = "[" + lines.rstrip(b"\n").replace(b"\n", b",").decode() + "]"
        try:
            with self._transaction(table) as db:
                db.execute(text(statement), {"spool": spool, "rows": rows})
        except (DataError, IntegrityError) as e:
            raise RowError(type(e.orig).__name__) from None

    def write_losses(self, table: Table, endpoint: str, spool: int, losses: Losses) -> None:
        """The larger number stays: they are written again after a crash."""
        from sqlalchemy import text

        statement = (
            f"INSERT INTO {LOSSES} (spool, name, endpoint, lost, first_ms, last_ms)"
            " VALUES (:spool, :name, :endpoint, :lost, :first, :last) ON CONFLICT (spool) DO UPDATE"
            f" SET lost = excluded.lost, last_ms = excluded.last_ms WHERE excluded.lost > {LOSSES}.lost"
        )
        row = {"spool": spool, "name": table.name, "endpoint": endpoint}
        with self._transaction(table) as db:
            db.execute(
                text(statement),
                {**row, "lost": losses.number, "first": losses.first_ms, "last": losses.last_ms},
            )

    def delete(self, table: Table, endpoint: str, before_ms: int) -> None:
        """In short transactions: others write meanwhile."""
        from sqlalchemy import text

        name = self._quote(table)
        statement = text(
            f"DELETE FROM {name} WHERE (spool, seq) IN (SELECT spool, seq FROM {name}"
            f" WHERE endpoint = :endpoint AND time_ms < :before LIMIT {_BATCH})"
        )
        while True:
            with self._transaction(table) as db:
                count = db.execute(statement, {"endpoint": endpoint, "before": before_ms}).rowcount
            if count < _BATCH:
                return
            time.sleep(0.05)

    def close(self) -> None:
        """Close connections."""
        if self._engine is not None:
            self._engine.dispose()
        self._engine = None
        self._ready.clear()


def _prepare_sqlite(connection: Any, _: object) -> None:
    # ours says where a transaction begins
    connection.isolation_level = None
    # readers and writers don't wait for each other; no fsync for each transaction
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")


class ParquetStore:
    """`<folder>/<table>/endpoint=<name>/date=<UTC day>/<spool>-<first>-<last>.parquet`.

    A file has its name only when it is complete. The numbers in the names say which lines of a spool a day's
    files hold.
    """

    # as many files as there are writings
    pause = 60.0
    batch = 16 * 1024 * 1024
    _chunk = 512 * 1024

    def __init__(self, directory: Path) -> None:
        self._folder = directory
        # spools whose last writing succeeded: what comes next is in no file
        self._known: set[tuple[str, int]] = set()

    def _place(self, table: Table, endpoint: str) -> Path:
        return self._folder / table.schema / table.name / f"endpoint={quote(endpoint, safe='')}"

    def write(self, table: Table, endpoint: str, spool: int, lines: bytes) -> None:
        """A file for each day."""
        import orjson
        import pyarrow as pa

        place = self._place(table, endpoint)
        days: dict[str, list[pa.RecordBatch]] = {}
        written = self._find(place, spool)
        schema = pa.schema(
            [("spool", pa.int64()), ("seq", pa.int64()), *((n, _arrow(t)) for n, t in table.columns.items())]
        )
        first = last = 0
        for start in _cuts(lines, self._chunk):
            rows = orjson.loads(b"[" + lines[start].rstrip(b"\n").replace(b"\n", b",") + b"]")
            first, last = first or rows[0][0], rows[-1][0]
            by_day: dict[str, list[Any]] = {}
            for row in rows:
                by_day.setdefault(day_of(row[1]), []).append(row)
            for day, chosen in by_day.items():
                ranges = written.get(day, ())
                fresh = [row for row in chosen if not any(a <= row[0] <= b for a, b in ranges)]
                if fresh:
                    # another release of lac may have spooled more or fewer values
                    width = len(table.columns) + 1
                    values = [[*row, *[None] * (width - len(row))][:width] for row in fresh]
                    columns = [[spool] * len(fresh), *map(list, zip(*values, strict=True))]
                    try:
                        batch = pa.record_batch(columns, schema=schema)
                    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as e:
                        raise RowError(type(e).__name__) from None
                    days.setdefault(day, []).append(batch)
        # if one of the files fails, the next writing looks for the others
        self._known.discard((str(place), spool))
        for day, batches in days.items():
            self._save(place / f"date={day}", f"{spool:016x}-{first}-{last}", pa.Table.from_batches(batches))
        self._known.add((str(place), spool))

    def _find(self, place: Path, spool: int) -> dict[str, list[tuple[int, int]]]:
        """The numbers of a spool's lines that each day's files hold."""
        if (str(place), spool) in self._known:
            return {}
        ranges: dict[str, list[tuple[int, int]]] = {}
        for file in place.glob(f"date=*/{spool:016x}-*.parquet"):
            _, first, last = file.stem.split("-")
            ranges.setdefault(file.parent.name.removeprefix("date="), []).append((int(first), int(last)))
        return ranges

    def _save(self, place: Path, name: str, table: Any) -> None:
        import pyarrow.parquet as pq

        place.mkdir(parents=True, exist_ok=True)
        # readers of datasets skip names that begin with a dot
        temporary = place / f".{name}.{os.getpid()}"
        try:
            pq.write_table(table, temporary, compression="zstd")
            temporary.rename(place / f"{name}.parquet")
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise

    def write_losses(self, table: Table, endpoint: str, spool: int, losses: Losses) -> None:
        """One small file a spool."""
        import orjson

        place = self._folder / LOSSES
        place.mkdir(parents=True, exist_ok=True)
        path = place / f"{spool:016x}.json"
        if path.exists() and orjson.loads(path.read_bytes())["lost"] >= losses.number:
            return
        row = {"spool": spool, "name": table.name, "endpoint": endpoint, "lost": losses.number}
        temporary = place / f".{path.name}.{os.getpid()}"
        temporary.write_bytes(orjson.dumps({**row, "first_ms": losses.first_ms, "last_ms": losses.last_ms}))
        temporary.rename(path)

    def delete(self, table: Table, endpoint: str, before_ms: int) -> None:
        """Whole days."""
        import shutil

        last_day = day_of(before_ms)
        for day in self._place(table, endpoint).glob("date=*"):
            if day.name.removeprefix("date=") < last_day:
                shutil.rmtree(day, ignore_errors=True)

    def close(self) -> None:
        """Nothing is open."""


def day_of(time_ms: int) -> str:
    """The day of a time in UTC: `2026-11-30`."""
    return datetime.fromtimestamp(time_ms // _DAY_MS * _DAY_MS / 1000, UTC).strftime("%Y-%m-%d")


def _arrow(kind: Type) -> Any:
    import pyarrow as pa

    return {"bigint": pa.int64(), "double precision": pa.float64(), "text": pa.string()}[kind]


def _cuts(lines: bytes, size: int) -> Sequence[slice]:
    """Where to cut lines into pieces of about `size` bytes: none holds the interpreter for long."""
    cuts, start = [], 0
    while start < len(lines):
        end = lines.find(b"\n", min(start + size, len(lines) - 1)) + 1 or len(lines)
        cuts.append(slice(start, end))
        start = end
    return cuts
