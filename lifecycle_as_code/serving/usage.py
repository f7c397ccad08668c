"""Who used an endpoint, when, and what it answered: one record for each request, and its bodies if wanted.

`add` copies a line into a spool on this node's disk; a thread writes the lines to the store. Requests never
wait for the store: while it is away the spool grows, up to a limit, and what is lost then is counted, and
told to the store as soon as it answers. What a killed process left, another one of that endpoint on its node
writes.
"""

from __future__ import annotations

import logging
import os
import random
import re
import secrets
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import orjson

from lifecycle_as_code.serving import references
from lifecycle_as_code.serving.spool import LIMIT, Losses, Orphan, Spool, adopt
from lifecycle_as_code.serving.usage_store import (
    PAYLOAD_COLUMNS,
    PAYLOADS,
    USAGE,
    USAGE_COLUMNS,
    RowError,
    Store,
    Table,
    open_store,
)

_logger = logging.getLogger(__name__)

RETENTION_DAYS = 90
MAX_BYTES = 64 * 1024
"""Bytes of a request, and of a response, that are kept where the settings don't say it."""

SPOOL_DIRECTORY = "LAC_SPOOL_DIR"
"""The variable with the directory below which endpoints keep what isn't in the store yet."""

CLOSE_SECONDS = 5.0
_ADOPTION_SECONDS = 15.0
_RETENTION_SECONDS = 3600.0
_LONGEST_PAUSE = 30.0
_LOG_SECONDS = 60.0
_SETTINGS = ".settings.json"
# what a client may send as an id
_MAX_ID = 128
_TRACE = re.compile(r"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?")


class Record(NamedTuple):
    """One request. `time_ms`: when it came, since 1970. `entity`: the served entity's name, empty where none
    was asked. `entity_version`: 0 for an external model. `outcome`: marks such as `fallback`, `guardrail` and
    `limit`, separated by spaces."""

    time_ms: int
    request_id: str = ""
    principal: str = ""
    endpoint: str = ""
    entity: str = ""
    entity_name: str = ""
    entity_version: int = 0
    status: int = 200
    latency_ms: float = 0.0
    rows: int | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    trace_id: str = ""
    outcome: str = ""


class UsageLog:
    """The usage of one endpoint as one of its fronts sees it.

    `settings`: {"store": URL, may hold references; "endpoint": name; "usage": {"retention_days"}?;
    "payloads": {"table_name_prefix", "schema_name", "sampling_fraction", "max_bytes", "exclude_columns",
    "retention_days"}?; "spool_bytes"?}. Without `usage` and `payloads` it keeps nothing. `directory`: on a
    local disk, and this endpoint's alone. Never raises.
    """

    def __init__(
        self,
        settings: Mapping[str, Any],
        directory: str | Path,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.endpoint = str(settings.get("endpoint") or "")
        self._address = str(settings.get("store") or "")
        self._directory = Path(directory)
        # as given: what it refers to stays in the environment
        self._settings = orjson.dumps(dict(settings))
        self._clock = clock
        self._store: Store | None = None
        self._next_adoption = self._next_retention = self._next_message = 0.0
        self._told: dict[int, int] = {}
        limit = int(settings.get("spool_bytes") or LIMIT)
        usage, payloads = settings.get("usage"), settings.get("payloads")
        self._usage = self._payloads = None
        self._logs: list[_Log] = []
        if usage is not None:
            table = Table(USAGE, USAGE_COLUMNS)
            self._usage = _Log(table, _days(usage), Spool(self._directory, "usage", limit))
            self._logs.append(self._usage)
        if payloads is not None:
            prefix = str(payloads.get("table_name_prefix") or "")
            name = f"{prefix}_payload" if prefix else PAYLOADS
            table = Table(name, PAYLOAD_COLUMNS, str(payloads.get("schema_name") or ""))
            spool = Spool(self._directory, "payloads", limit)
            self._payloads = _Log(table, _days(payloads), spool)
            self._logs.append(self._payloads)
        self._bodies = Bodies(payloads or {})
        self._wake = threading.Event()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="lac-usage", daemon=True)
        if self._logs:
            self._thread.start()

    @property
    def lost(self) -> int:
        """The records and payloads that this front has lost."""
        return sum(log.spool.losses.number for log in self._logs)

    def add(self, record: Record, request: bytes | None = None, response: bytes | None = None) -> None:
        """Keep a record, and the bodies if the sample takes them. Takes microseconds, on any thread."""
        if self._usage is not None:
            self._usage.spool.append(record)
        if self._payloads is not None and self._bodies.draw():
            r = record
            head = (
                r.time_ms,
                r.request_id,
                r.principal,
                r.endpoint,
                r.entity,
                r.entity_name,
                r.entity_version,
            )
            kept = self._bodies.keep(request, response, is_good=r.status == 200)
            self._payloads.spool.append((*head, r.status, r.latency_ms, *kept, r.trace_id))

    def close(self, timeout: float = CLOSE_SECONDS) -> None:
        """Write what is spooled, for at most `timeout` seconds; the rest stays for the next front. Blocks."""
        if not self._logs:
            return
        self._closing = True
        self._wake.set()
        self._thread.join(timeout)
        if self._thread.is_alive():
            # the lock stays with the process: nobody writes the same lines beside the thread
            return
        for log in self._logs:
            log.spool.close(told=self._told.get(log.spool.id, 0) >= log.spool.losses.number)
        if self._store is not None:
            self._store.close()

    # --- in the thread

    def _run(self) -> None:
        pause = backoff = 0.5
        while True:
            # the first turn comes at once: what killed processes left waits already
            try:
                self._work()
                pause, backoff = self._store.pause if self._store else 1.0, 0.5
            except Exception as e:
                self._complain(e)
                pause, backoff = backoff, min(backoff * 2, _LONGEST_PAUSE)
            if self._closing and self._wake.is_set():
                self._wake.clear()
                continue
            if self._closing:
                return
            self._wake.wait(pause)

    def _work(self) -> None:
        for log in self._logs:
            log.spool.open()
        self._leave_settings()
        store = self._store = self._store or open_store(references.resolve(self._address))
        for log in self._logs:
            self._drain(store, log.table, log.spool)
        now = self._clock()
        # at the end, too: it may be the last front of its endpoint
        if now >= self._next_adoption or self._closing:
            for log in self._logs:
                for orphan in adopt(self._directory, log.spool.kind):
                    self._drain(store, log.table, orphan)
                    orphan.remove()
                log.spool.count_others()
            self._next_adoption = now + _ADOPTION_SECONDS
        if now >= self._next_retention and not self._closing:
            for log in self._logs:
                if log.days:
                    store.delete(log.table, self.endpoint, int((now - log.days * 86_400) * 1000))
            self._next_retention = now + _RETENTION_SECONDS
        for log in self._logs:
            if log.spool.problem:
                self._complain(log.spool.problem)

    def _leave_settings(self) -> None:
        """For `write_leftovers`, beside the spools."""
        path = self._directory / _SETTINGS
        with suppress(OSError):
            if self._settings and not (path.exists() and path.read_bytes() == self._settings):
                temporary = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
                temporary.write_bytes(self._settings)
                temporary.rename(path)
            self._settings = b""

    def _drain(self, store: Store, table: Table, spool: Spool | Orphan) -> None:
        self._tell(store, table, spool.id, spool.losses)
        while lines := spool.read(store.batch):
            lost = self._write(store, table, spool.id, lines)
            if lost:
                spool.lose(lost)
            spool.advance(len(lines))
        self._tell(store, table, spool.id, spool.losses)

    def _write(self, store: Store, table: Table, spool: int, lines: bytes) -> int:
        """Write lines; the number of those that the store doesn't take, each tried alone."""
        try:
            store.write(table, self.endpoint, spool, lines)
            return 0
        except RowError as e:
            rows = lines.splitlines(keepends=True)
            if len(rows) == 1:
                self._complain(e)
                return 1
        half = len(rows) // 2
        return sum(self._write(store, table, spool, b"".join(part)) for part in (rows[:half], rows[half:]))

    def _tell(self, store: Store, table: Table, spool: int, losses: Losses) -> None:
        if losses.number > self._told.get(spool, 0):
            store.write_losses(table, self.endpoint, spool, losses)
            self._told[spool] = losses.number

    def _complain(self, error: Exception) -> None:
        """One line a minute, without the store's address: it may hold a password."""
        now = self._clock()
        if now < self._next_message:
            return
        self._next_message = now + _LOG_SECONDS
        _logger.error(
            "The usage of endpoint %s can't be written at the moment, and waits on this node (%d lost): %s",
            self.endpoint,
            self.lost,
            _describe(error),
        )


class _Log(NamedTuple):
    """`days`: how long rows are kept; 0 for ever."""

    table: Table
    days: float
    spool: Spool


def _days(settings: Mapping[str, Any]) -> float:
    days = settings.get("retention_days")
    return RETENTION_DAYS if days is None else float(days)


def _describe(error: Exception) -> str:
    """An error in words that hold no address, statement or row."""
    import sqlite3

    cause = getattr(error, "orig", None) or error
    # LookupError: a reference that doesn't resolve, told by its name
    safe = isinstance(cause, (sqlite3.Error, LookupError, OSError, ModuleNotFoundError))
    state = getattr(cause, "sqlstate", None)
    text = str(cause) if safe else f"SQLSTATE {state}" if state else ""
    return f"{type(cause).__name__}: {text}" if text else type(cause).__name__


class Bodies:
    """What is kept of requests' and responses' bodies, by an `inference_table_config` (see `UsageLog`)."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        fraction = settings.get("sampling_fraction")
        self._fraction = 1.0 if fraction is None else float(fraction)
        self._max_bytes = int(settings.get("max_bytes") or MAX_BYTES)
        self._excluded = frozenset(map(str, settings.get("exclude_columns") or ()))

    def draw(self) -> bool:
        """Whether the sample takes this request."""
        return self._fraction >= 1.0 or random.random() < self._fraction

    def keep(
        self, request: bytes | None, response: bytes | None, *, is_good: bool = True
    ) -> tuple[float, str | None, str | None, str]:
        """The sampled fraction, both bodies as text, and which of them are cut off: `request`, `response`.
        `is_good`: the response isn't an error."""
        marks = []
        asked = answered = None
        if request is not None and self._excluded:
            # never cut: what must not be kept may stand anywhere in it
            fits = len(request) <= self._max_bytes
            asked = exclude_columns(request, self._excluded) if fits else None
            if asked is None:
                marks.append("request")
        elif request is not None:
            asked, cut = self._cut(request)
            marks += ["request"] * cut
        if response is not None and self._excluded and not is_good:
            # MLflow's errors repeat the rows that they are about, in words
            marks.append("response")
        elif response is not None:
            answered, cut = self._cut(response)
            marks += ["response"] * cut
        return self._fraction, asked, answered, " ".join(marks)

    def _cut(self, body: bytes) -> tuple[str, bool]:
        cut = len(body) > self._max_bytes
        # PostgreSQL's text has no NUL; where the cut divides a character, its half is dropped
        text = body[: self._max_bytes].decode(errors="ignore" if cut else "replace")
        return text.replace("\0", "�"), cut


def exclude_columns(body: bytes, names: frozenset[str]) -> str | None:
    """A JSON request of MLflow's scoring protocol without these columns; None where it isn't one, so that
    nobody can say what it holds. Values of a chat or of `params` aren't columns and stay."""
    try:
        request = orjson.loads(body)
        if not isinstance(request, dict):
            return None
        for key, value in request.items():
            if key == "dataframe_split":
                value = _exclude_from_split(value, names)
            elif key in ("dataframe_records", "instances", "inputs"):
                value = _exclude_from_records(value, names)
            request[key] = value
        return orjson.dumps(request).decode()
    except (ValueError, TypeError, KeyError, AttributeError, IndexError):
        return None


def _exclude_from_split(table: dict[str, Any], names: frozenset[str]) -> dict[str, Any]:
    columns = table["columns"]
    kept = [n for n, column in enumerate(columns) if column not in names]
    if len(kept) == len(columns):
        return table
    data = [[row[n] for n in kept] for row in table["data"]]
    return {**table, "columns": [columns[n] for n in kept], "data": data}


def _exclude_from_records(value: Any, names: frozenset[str]) -> Any:
    """Of a list of records, a map of columns, or one record; a plain array has no names."""
    if isinstance(value, list):
        return [_exclude_from_records(item, names) if isinstance(item, dict) else item for item in value]
    if isinstance(value, dict):
        return {name: item for name, item in value.items() if name not in names}
    return value


def write_leftovers(directory: Path, timeout: float = CLOSE_SECONDS) -> None:
    """Write what the ended processes of endpoints with a place below `directory` have left, for at most
    `timeout` seconds for each endpoint. What can't be written stays. For a process that isn't a front."""
    for path in sorted(directory.rglob(_SETTINGS)):
        if any(path.parent.glob("[!.]*")):
            UsageLog(orjson.loads(path.read_bytes()), path.parent).close(timeout)


def find_directory(stack: str, endpoint: str, environ: Mapping[str, str] = os.environ) -> Path:
    """Where an endpoint's spools lie on this node: below `LAC_SPOOL_DIR`, or this user's place in the
    directory for temporary files."""
    base = environ.get(SPOOL_DIRECTORY) or f"{tempfile.gettempdir()}/lac-spool-{os.geteuid()}"
    return Path(base, quote(stack, safe=""), quote(endpoint, safe=""))


def make_request_id(header: str | None) -> str:
    """A request's id: the client's `X-Request-Id` where that is printable and short, otherwise a new one."""
    if header and len(header) <= _MAX_ID and header.isascii() and header.isprintable():
        return header
    return secrets.token_hex(16)


def read_trace_id(traceparent: str | None) -> str:
    """The trace's id in a `traceparent` header (https://www.w3.org/TR/trace-context/); empty without one."""
    match = _TRACE.fullmatch(traceparent) if traceparent else None
    return match[1] if match and match[1] != "0" * 32 else ""


def count_rows(answer: bytes) -> int | None:
    """The predictions in an answer of MLflow's scoring protocol; None where it isn't a list of them."""
    if not answer.startswith(b'{"predictions"'):
        return None
    try:
        predictions = orjson.loads(answer)["predictions"]
    except ValueError:
        return None
    return len(predictions) if isinstance(predictions, list) else None
