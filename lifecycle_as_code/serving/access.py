"""Who may use an endpoint: HTTP Basic against MLflow's users, `USE` by MLflow's resolution of roles.

`levels.resolve` is the decision and pure. `Gate` asks MLflow's auth database and remembers each answer for
at most `ttl` seconds. While the database can't be read the answer is 503: an endpoint never opens by
accident. A caller who was let in before never waits for strangers: for them a thread of their own asks, in
time before their answer expires, and compares no password again while MLflow's hash of it is the same.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import logging
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from lifecycle_as_code.serving.levels import Grant, may_use, resolve
from lifecycle_as_code.serving.references import resolve as resolve_references
from lifecycle_as_code.serving.scoring import Answer, error

if TYPE_CHECKING:
    from sqlalchemy import Engine

_logger = logging.getLogger(__name__)

Verdict = Literal["allowed", "forbidden", "unknown", "unreachable"]

MAX_TTL = 30.0
# the last part of an answer's time, in which the next one is asked for
_RENEWAL = 0.5
# MLflow refuses the password that it once shipped for admins (_is_disabled_legacy_admin_login)
_LEGACY_ADMIN_PASSWORD = "password1234"
_CACHE_SIZE = 4096
# how many strangers may wait, where the settings don't say it: they hold places of the replica's
# `max_ongoing_requests`, 64 by default, and those who are known need the rest
_QUEUE_SIZE = 32
# the hash of no known password: refusing an unknown user takes as long as refusing a known one
_NOBODY = "scrypt:32768:8:1$lNqGlMuGbEbUsAxj$" + "0" * 128


def credentials(header: str | None) -> tuple[str, str] | None:
    """User and password of an `Authorization: Basic` header; None without one (RFC 7617, UTF-8)."""
    scheme, _, value = (header or "").strip().partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, colon, password = base64.b64decode(value.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return (user, password) if colon else None


class _Entry(NamedTuple):
    """An answer, the time until which it counts, and MLflow's hash that the password matched."""

    verdict: Verdict
    until: float
    password_hash: str = ""


class Gate:
    """The access check of one endpoint.

    `settings`: `{"mode": "none"}` lets everyone in; `{"mode": "basic", "database", "endpoint", "ttl"}` asks
    the database, a SQLAlchemy URL that may hold `{{ env.NAME }}`. Anything else lets nobody in. `waiting`:
    how many strangers may wait at once.
    """

    def __init__(self, settings: dict[str, Any], clock: Callable[[], float] = time.monotonic) -> None:
        self._mode = settings.get("mode")
        self._database = str(settings.get("database") or "")
        self._endpoint = str(settings.get("endpoint") or "")
        self._ttl = min(float(settings.get("ttl", MAX_TTL)), MAX_TTL)
        self._waiting = int(settings.get("waiting", _QUEUE_SIZE))
        self._clock = clock
        self._key = secrets.token_bytes(32)
        # separate, so that a flood of wrong passwords doesn't evict the right ones; good ones stay beyond
        # their time: they are known
        self._good: OrderedDict[bytes, _Entry] = OrderedDict()
        self._bad: OrderedDict[bytes, _Entry] = OrderedDict()
        self._asking: dict[bytes, asyncio.Future[_Entry]] = {}
        self._known = ThreadPoolExecutor(1, thread_name_prefix="lac-access-known")
        self._strangers = ThreadPoolExecutor(1, thread_name_prefix="lac-access")
        self._engine: Engine | None = None

    async def check(self, authorization: str | None) -> Answer | None:
        """None where the request may go on, otherwise the answer to give (401, 403, 503)."""
        if self._mode == "none":
            return None
        if self._mode != "basic" or not self._endpoint:
            return error(503, "TEMPORARILY_UNAVAILABLE", "The endpoint's access settings can't be used.")
        sign_in = credentials(authorization)
        if sign_in is None:
            return _sign_in_answer()
        match await self._verdict(*sign_in):
            case "allowed":
                return None
            case "unknown":
                return _sign_in_answer()
            case "forbidden":
                return error(403, "PERMISSION_DENIED", "Permission denied")
            case _:
                return error(503, "TEMPORARILY_UNAVAILABLE", "Permissions can't be checked at the moment.")

    async def _verdict(self, user: str, password: str) -> Verdict:
        # HMAC with a key of this process: neither the cache nor a dump of it holds a password to try out
        secret = b"%d:%s%s" % (len(user), user.encode(), password.encode())
        key = hmac.digest(self._key, secret, hashlib.sha256)
        now = self._clock()
        known = self._good.get(key)
        if known and known.until > now:
            if known.until - now < self._ttl * _RENEWAL:
                self._question(key, user, password, known)
            return known.verdict
        if (entry := self._bad.get(key)) and entry.until > now:
            return entry.verdict
        question = self._question(key, user, password, known)
        # one client that goes away must not cancel the answer that others wait for
        return "unreachable" if question is None else (await asyncio.shield(question)).verdict

    def _question(
        self, key: bytes, user: str, password: str, known: _Entry | None
    ) -> asyncio.Future[_Entry] | None:
        """The answer that is being asked for. None where too many strangers wait."""
        if (question := self._asking.get(key)) is None:
            if known is None and len(self._asking) >= self._waiting:
                return None
            threads = self._strangers if known is None else self._known
            former = known.password_hash if known else ""
            loop = asyncio.get_running_loop()
            # a password's hash takes some 100 ms of CPU: never on the event loop
            question = asyncio.ensure_future(loop.run_in_executor(threads, self._ask, user, password, former))
            question.add_done_callback(lambda future: self._remember(key, future))
            self._asking[key] = question
        return question

    def _remember(self, key: bytes, future: asyncio.Future[_Entry]) -> None:
        self._asking.pop(key, None)
        if future.cancelled() or (entry := future.result()).verdict == "unreachable":
            return
        self._good.pop(key, None)
        cache = self._good if entry.verdict == "allowed" else self._bad
        cache[key] = entry._replace(until=self._clock() + self._ttl)
        cache.move_to_end(key)
        while len(cache) > _CACHE_SIZE:
            cache.popitem(last=False)

    def _ask(self, user: str, password: str, former: str) -> _Entry:
        """Ask the database, in a thread. Never raises, and logs no secret. `former`: the hash that the same
        password matched before."""
        from werkzeug.security import check_password_hash

        try:
            account, grants = self._read(user)
        except Exception as e:
            _logger.error(
                "The auth database of endpoint %s can't be read: %s", self._endpoint, type(e).__name__
            )
            return _Entry("unreachable", 0.0)
        stored, is_admin = account or (_NOBODY, False)
        matches = (account is not None and stored == former) or check_password_hash(stored, password)
        if not matches or account is None or (is_admin and password == _LEGACY_ADMIN_PASSWORD):
            return _Entry("unknown", 0.0)
        may = is_admin or may_use(resolve(grants, self._endpoint))
        return _Entry("allowed" if may else "forbidden", 0.0, stored)

    def _read(self, user: str) -> tuple[tuple[str, bool] | None, list[Grant]]:
        """A user's password hash and admin flag, and the grants of their roles in the default workspace.

        Roles of other workspaces don't count (MLflow, list_grants); hidden `__user_<id>__` roles do.
        """
        from sqlalchemy import text

        self._engine = self._engine or open_read_only(resolve_references(self._database))
        with self._engine.connect() as db:
            user_row = db.execute(
                text("SELECT id, password_hash, is_admin FROM users WHERE username = :user"), {"user": user}
            ).one_or_none()
            if user_row is None:
                return None, []
            rows = db.execute(
                text(
                    "SELECT p.resource_type, p.resource_pattern, p.permission FROM role_permissions p"
                    " JOIN roles r ON r.id = p.role_id JOIN user_role_assignments a ON a.role_id = r.id"
                    " WHERE a.user_id = :id AND r.workspace = 'default'"
                    " AND p.resource_type IN ('workspace', 'serving_endpoint')"
                ),
                {"id": user_row.id},
            ).all()
        return (user_row.password_hash, bool(user_row.is_admin)), [Grant(*grant_row) for grant_row in rows]


def open_read_only(url: str) -> Engine:
    """An engine that can't write, and that doesn't create a SQLite file that isn't there."""
    from sqlalchemy import create_engine, event, make_url
    from sqlalchemy.pool import NullPool

    address = make_url(url)
    match address.get_backend_name():
        case "sqlite":
            import sqlite3
            from pathlib import Path

            path = f"{Path(address.database or '').resolve().as_uri()}?mode=ro"
            return create_engine(
                "sqlite://", creator=lambda: sqlite3.connect(path, uri=True, timeout=5), poolclass=NullPool
            )
        case "postgresql":
            engine = create_engine(
                address,
                pool_size=2,
                pool_pre_ping=True,
                pool_timeout=5,
                connect_args={"connect_timeout": 5},
                execution_options={"postgresql_readonly": True},
            )
            # a pooler such as PgBouncer refuses settings at the start of a connection, and hands each
            # transaction to another session, where a statement that was prepared before isn't known
            if engine.dialect.driver == "psycopg":
                event.listen(engine, "connect", _prepare_nothing)
            return engine
        case _:
            return create_engine(address, pool_size=2, pool_pre_ping=True, pool_timeout=5)


def _prepare_nothing(connection: Any, _: object) -> None:
    connection.prepare_threshold = None


def _sign_in_answer() -> Answer:
    return error(401, "UNAUTHENTICATED", "You are not authenticated: send an MLflow user and password.")
