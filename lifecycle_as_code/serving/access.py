"""Who may use an endpoint: MLflow's users, by password, by a token of lac's or by an OIDC issuer's; `USE` by
MLflow's resolution of roles.

`levels.resolve` is the decision and pure. `Gate` asks MLflow's auth database and remembers each answer for
at most `ttl` seconds. While the database can't be read the answer is 503: an endpoint never opens by
accident. For `grace` seconds, by default none, an earlier "allowed" goes on counting then. A caller who was
let in before never waits for strangers: for them a thread of their own asks, in time before their answer
expires, and compares no password again while MLflow's hash of it is the same.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import json
import logging
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

from lifecycle_as_code.serving.answer import Answer, error
from lifecycle_as_code.serving.caller import ANONYMOUS, Caller
from lifecycle_as_code.serving.clock import milliseconds
from lifecycle_as_code.serving.levels import HIDDEN_ROLE, WORKSPACE, Grant, may_use, resolve
from lifecycle_as_code.serving.oidc import MAX_TOKEN, Issuer, Refusal
from lifecycle_as_code.serving.references import resolve as resolve_references
from lifecycle_as_code.serving.tokens import PREFIX, hash_token, is_token, mark_user

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine, Row

_logger = logging.getLogger(__name__)

CHALLENGES = (
    ("WWW-Authenticate", 'Basic realm="mlflow"'),
    ("WWW-Authenticate", 'Bearer realm="mlflow"'),
)
"""The headers of every 401 (RFC 9110, 11.6.1)."""

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
# seconds after a failure of the database in which nobody who is known asks it again
_PAUSE = 1.0
# seconds for which a failure counts for those in their grace, longer than an attempt takes: none waits for it
_FAILURE = 10.0
# seconds in which uses of tokens are gathered, and the least time between two that are written
_BATCH = 1.0
_MINUTE_MS = 60_000

_NEVER = float("-inf")
_ALWAYS = float("inf")


def credentials(header: str | None) -> tuple[str, str] | None:
    """User and password of an `Authorization: Basic` header; None without one (RFC 7617, UTF-8)."""
    scheme, _, value = (header or "").strip().partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, colon, password = base64.b64decode(value.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    # PostgreSQL has no text with it, so it would look like a failure of the database
    return (user, password) if colon and "\0" not in user else None


def _sign_in(message: str = "send an MLflow user and password, or a bearer token.") -> Answer:
    return error(401, "UNAUTHENTICATED", f"You are not authenticated: {message}")


_SIGN_IN = _sign_in()
_FORBIDDEN = error(403, "PERMISSION_DENIED", "Permission denied")
_UNREACHABLE = error(503, "TEMPORARILY_UNAVAILABLE", "Permissions can't be checked at the moment.")
_UNUSABLE = error(503, "TEMPORARILY_UNAVAILABLE", "The endpoint's access settings can't be used.")


class _Password(NamedTuple):
    user: str
    password: str

    def __repr__(self) -> str:
        return "a password"


class _Token(NamedTuple):
    """`lac_…`."""

    value: str

    def __repr__(self) -> str:
        return "a token"


class _Jwt(NamedTuple):
    """An issuer's."""

    value: str

    def __repr__(self) -> str:
        return "a token"


_Credential = _Password | _Token | _Jwt


class _Entry(NamedTuple):
    """An answer: who it is, or why not. `until`: how long it counts; `renewal`: from when on the next one is
    asked for; `end`: when the credential itself ends, whatever anybody answers. `password_hash`: MLflow's,
    which the password matched. `use`: the token's id, where its use is to be recorded."""

    outcome: Caller | Answer
    until: float = _NEVER
    renewal: float = _ALWAYS
    end: float = _ALWAYS
    password_hash: str = ""
    use: str = ""


class _Account(NamedTuple):
    """MLflow's user. `grants`: of their roles in the endpoint's workspace, hidden ones included."""

    username: str
    password_hash: str | None
    is_admin: bool
    groups: frozenset[str]
    grants: Sequence[Grant]


class Gate:
    """The access check of one endpoint.

    `settings`: `{"mode": "none"}` lets everyone in; `{"mode": "basic", "database", "endpoint", "ttl"}` asks
    the database, a SQLAlchemy URL that may hold `{{ env.NAME }}`. Anything else lets nobody in. `grace`: how
    many seconds after `ttl` an "allowed" goes on counting while the database can't be read. `waiting`: how
    many strangers may wait at once. `oidc`: an issuer whose tokens count too; see `oidc.Issuer`.
    """

    def __init__(self, settings: dict[str, Any], clock: Callable[[], float] = time.monotonic) -> None:
        self._mode = settings.get("mode")
        self._database = str(settings.get("database") or "")
        self._endpoint = str(settings.get("endpoint") or "")
        self._ttl = min(float(settings.get("ttl", MAX_TTL)), MAX_TTL)
        self._grace = float(settings.get("grace") or 0)
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
        self._tokens = ThreadPoolExecutor(1, thread_name_prefix="lac-access-tokens")
        self._engine: Engine | None = None
        # when the database couldn't be read the last time, for somebody who is known
        self._failure = _NEVER
        self._issuer = _make_issuer(settings.get("oidc"), clock, self._endpoint)
        self._uses = _Uses(self._database, self._endpoint)

    async def check(self, authorization: str | None) -> Caller | Answer:
        """Who sends the request where it may go on, otherwise the answer to give (401, 403, 503)."""
        if self._mode == "none":
            return ANONYMOUS
        if self._mode != "basic" or not self._endpoint:
            return _UNUSABLE
        scheme, _, value = (authorization or "").strip().partition(" ")
        credential: _Credential
        if scheme.lower() == "bearer":
            value = value.strip()
            if value.startswith(PREFIX):
                credential = _Token(value)
            elif self._issuer is None or len(value) > MAX_TOKEN or value.count(".") != 2:
                return _SIGN_IN
            elif isinstance(self._issuer, Answer):
                return self._issuer
            else:
                credential = _Jwt(value)
            # no password has this key: before its user stands a number
            secret = b"bearer " + value.encode()
        else:
            pair = credentials(authorization)
            if pair is None:
                return _SIGN_IN
            credential = _Password(*pair)
            secret = b"%d:%s%s" % (len(pair[0]), pair[0].encode(), pair[1].encode())
        # HMAC with a key of this process: neither the cache nor a dump of it holds a secret to try out
        return await self._find_outcome(hmac.digest(self._key, secret, "sha256"), credential)

    async def _find_outcome(self, key: bytes, credential: _Credential) -> Caller | Answer:
        now = self._clock()
        known = self._good.get(key)
        if known is not None:
            if known.until > now:
                if known.renewal <= now:
                    self._question(key, credential, known)
                return known.outcome
            if self._is_in_grace(known, now) and now - self._failure < _FAILURE:
                self._question(key, credential, known)
                return known.outcome
        elif (entry := self._bad.get(key)) and entry.until > now:
            return entry.outcome
        elif isinstance(credential, _Token) and not is_token(credential.value):
            return _sign_in("the token is not one of lac's, or not a whole one.")
        question = self._question(key, credential, known)
        # one client that goes away must not cancel the answer that others wait for
        outcome = _UNREACHABLE if question is None else (await asyncio.shield(question)).outcome
        if outcome is _UNREACHABLE and known is not None and self._is_in_grace(known, self._clock()):
            return known.outcome
        return outcome

    def _is_in_grace(self, known: _Entry, now: float) -> bool:
        return now < min(known.until + self._grace, known.end)

    def _question(
        self, key: bytes, credential: _Credential, known: _Entry | None
    ) -> asyncio.Future[_Entry] | None:
        """The answer that is being asked for. None where too many strangers wait, or the database has just
        failed."""
        if (question := self._asking.get(key)) is None:
            threads, room = self._strangers, self._waiting
            if known is not None:
                threads = self._known
                room = 0 if self._is_failing() else len(self._asking) + 1
            elif isinstance(credential, _Jwt) and isinstance(self._issuer, Issuer):
                # they may wait for the issuer: others neither wait with them nor find all places taken
                threads, room = self._issuer.threads, max(self._waiting // 2, 1)
            elif isinstance(credential, _Token):
                # a look at a row, which needn't wait for passwords' hashes
                threads, room = self._tokens, 2 * self._waiting
            if len(self._asking) >= room:
                return None
            loop = asyncio.get_running_loop()
            # a password's hash takes some 100 ms of CPU: never on the event loop
            question = asyncio.ensure_future(loop.run_in_executor(threads, self._ask, credential, known))
            question.add_done_callback(lambda future: self._remember(key, future))
            self._asking[key] = question
        return question

    def _remember(self, key: bytes, future: asyncio.Future[_Entry]) -> None:
        self._asking.pop(key, None)
        if future.cancelled():
            return
        entry = future.result()
        if isinstance(entry.outcome, Answer) and entry.outcome.status == 503:
            return
        self._good.pop(key, None)
        cache = self._good if isinstance(entry.outcome, Caller) else self._bad
        cache[key] = entry
        cache.move_to_end(key)
        while len(cache) > _CACHE_SIZE:
            cache.popitem(last=False)
        if entry.use:
            self._uses.add(entry.use)

    def _is_failing(self) -> bool:
        return self._clock() - self._failure < _PAUSE

    def _ask(self, credential: _Credential, known: _Entry | None) -> _Entry:
        """Ask the database, in a thread. Never raises, and logs no secret. `known`: the answer to the same
        credential before."""
        if known is not None and self._is_failing():
            # those who waited in the queue while another one failed
            return _Entry(_UNREACHABLE)
        # before the database answers: what is revoked right after it ends in time, too
        now = self._clock()
        try:
            match credential:
                case _Token(value):
                    entry = self._ask_token(value, now)
                case _Jwt(value):
                    entry = self._ask_jwt(value, now, known)
                case _:
                    entry = self._ask_password(credential, known)
        except Exception as e:
            _logger.error(
                "The auth database of endpoint %s can't be read: %s", self._endpoint, type(e).__name__
            )
            # a stranger may have sent what the database fails on: that must not count for others
            if known is not None:
                self._failure = self._clock()
            return _Entry(_UNREACHABLE)
        until = min(now + self._ttl, entry.until if entry.until != _NEVER else _ALWAYS, entry.end)
        return entry._replace(until=until, renewal=now + self._ttl * (1 - _RENEWAL))

    def _ask_password(self, credential: _Password, known: _Entry | None) -> _Entry:
        from werkzeug.security import check_password_hash

        with self._connect() as db:
            account = _read_account(db, "username", credential.user)
        self._failure = _NEVER
        stored = (account.password_hash or _NOBODY) if account else _NOBODY
        matches = known is not None and account is not None and stored == known.password_hash
        matches = matches or check_password_hash(stored, credential.password)
        if not matches or account is None:
            return _Entry(_SIGN_IN)
        if account.is_admin and credential.password == _LEGACY_ADMIN_PASSWORD:
            return _Entry(_SIGN_IN)
        return _Entry(self._authorize(account), password_hash=stored)

    def _ask_token(self, value: str, now: float) -> _Entry:
        with self._connect() as db:
            row = _read_token(db, hash_token(value))
            account = None if row is None else _read_account(db, "id", row.user_id)
        self._failure = _NEVER
        if row is None:
            return _Entry(_sign_in("the token is unknown."))
        if row.revoked_ms is not None:
            return _Entry(_sign_in("the token was revoked."))
        if row.expires_ms <= row.now_ms:
            return _Entry(_sign_in("the token has expired."))
        end = now + (row.expires_ms - row.now_ms) / 1000
        # a user who was deleted and made anew has another id, or on SQLite another hash
        mark = row.user_mark
        if account is None or account.username != row.username:
            return _Entry(_sign_in("the token's user was deleted."))
        if mark is not None and mark != mark_user(account.password_hash):
            return _Entry(_sign_in("the token's user was deleted, or has changed the password."))
        if row.endpoints is not None and self._endpoint not in json.loads(row.endpoints):
            return _Entry(error(403, "PERMISSION_DENIED", "The token is for other endpoints."), end=end)
        outcome = self._authorize(account)
        is_due = row.last_used_ms is None or row.now_ms - row.last_used_ms >= _MINUTE_MS
        use = row.token_id if is_due and isinstance(outcome, Caller) else ""
        return _Entry(outcome, end=end, use=use)

    def _ask_jwt(self, value: str, now: float, known: _Entry | None) -> _Entry:
        assert isinstance(self._issuer, Issuer), "without one there is no such credential"
        identity = self._issuer.read(value, may_fetch=known is None)
        if isinstance(identity, Refusal):
            return _Entry(identity.answer, until=now + identity.seconds)
        with self._connect() as db:
            account = _read_account(db, "username", identity.username)
        self._failure = _NEVER
        end = now + identity.seconds
        if account is None:
            message = f"The token is valid, but MLflow has no user `{identity.username}`."
            return _Entry(error(403, "PERMISSION_DENIED", message), end=end)
        return _Entry(self._authorize(account), end=end)

    def _authorize(self, account: _Account) -> Caller | Answer:
        if account.is_admin or may_use(resolve(account.grants, self._endpoint)):
            return Caller(account.username, account.groups)
        return _FORBIDDEN

    def _connect(self) -> Connection:
        self._engine = self._engine or open_read_only(resolve_references(self._database))
        return self._engine.connect()


class _Uses:
    """When tokens were used: written in batches, by a thread and over a connection of its own, which may
    fail. `add` is called on the event loop."""

    def __init__(self, database: str, endpoint: str) -> None:
        self._database = database
        self._endpoint = endpoint
        self._batch: set[str] = set()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="lac-access-uses")
        self._engine: Engine | None = None
        self._has_failed = False

    def add(self, token_id: str) -> None:
        """Record that a token was used just now."""
        if not self._batch:
            asyncio.get_running_loop().call_later(_BATCH, self._submit)
        self._batch.add(token_id)

    def _submit(self) -> None:
        batch, self._batch = self._batch, set()
        self._thread.submit(self._write, sorted(batch))

    def _write(self, batch: Sequence[str]) -> None:
        from sqlalchemy import bindparam, text

        try:
            self._engine = self._engine or _open(resolve_references(self._database), writes=True)
            now = milliseconds(self._engine.dialect.name)
            # another replica may have written it
            statement = text(
                f"UPDATE lac_tokens SET last_used_ms = {now} WHERE token_id IN :batch"
                f" AND (last_used_ms IS NULL OR last_used_ms <= {now} - {_MINUTE_MS})"
            ).bindparams(bindparam("batch", expanding=True))
            with self._engine.begin() as db:
                db.execute(statement, {"batch": batch})
        except Exception as e:
            if not self._has_failed:
                _logger.warning(
                    "Endpoint %s can't record when tokens were last used: %s. The database user of its"
                    " replicas needs UPDATE on `lac_tokens`.",
                    self._endpoint,
                    type(e).__name__,
                )
            self._has_failed = True


def _make_issuer(settings: Any, clock: Callable[[], float], endpoint: str) -> Issuer | Answer | None:
    """The issuer; None without one, and the answer to its tokens where the settings can't be used."""
    if not settings:
        return None
    try:
        return Issuer(settings, clock)
    except Exception as e:
        _logger.error("The OIDC settings of endpoint %s can't be used: %s", endpoint, e)
        return _UNUSABLE


def _read_account(db: Connection, key: str, value: str | int) -> _Account | None:
    """A user by `username` or `id`, with the roles and grants in the one workspace that counts: roles of
    others don't (MLflow, list_grants)."""
    from sqlalchemy import text

    user = db.execute(
        text(f"SELECT id, username, password_hash, is_admin FROM users WHERE {key} = :value"),
        {"value": value},
    ).one_or_none()
    if user is None:
        return None
    rows = db.execute(
        text(
            "SELECT r.name, p.resource_type, p.resource_pattern, p.permission FROM user_role_assignments a"
            " JOIN roles r ON r.id = a.role_id LEFT JOIN role_permissions p ON p.role_id = r.id"
            " AND p.resource_type IN ('workspace', 'serving_endpoint')"
            " WHERE a.user_id = :id AND r.workspace = :workspace"
        ),
        {"id": user.id, "workspace": WORKSPACE},
    ).all()
    groups = frozenset(name for name, *_ in rows if not HIDDEN_ROLE.fullmatch(name))
    grants = [Grant(*grant) for _, *grant in rows if grant[0] is not None]
    return _Account(user.username, user.password_hash, bool(user.is_admin), groups, grants)


def _read_token(db: Connection, token_hash: str) -> Row[Any] | None:
    """A token's row with the database's time; None without one. Before the first token there is no table."""
    from sqlalchemy import inspect, text
    from sqlalchemy.exc import DBAPIError

    try:
        return db.execute(
            text(
                "SELECT token_id, user_id, username, user_mark, endpoints, expires_ms, revoked_ms,"
                f" last_used_ms, {milliseconds(db.dialect.name)} AS now_ms"
                " FROM lac_tokens WHERE token_hash = :hash"
            ),
            {"hash": token_hash},
        ).one_or_none()
    except DBAPIError:
        db.rollback()
        if inspect(db).has_table("lac_tokens"):
            raise
        return None


def open_read_only(url: str) -> Engine:
    """An engine that can't write, and that doesn't create a SQLite file that isn't there."""
    return _open(url, writes=False)


def _open(url: str, *, writes: bool) -> Engine:
    from sqlalchemy import create_engine, event, make_url
    from sqlalchemy.pool import NullPool

    address = make_url(url)
    match address.get_backend_name():
        case "sqlite":
            import sqlite3
            from pathlib import Path

            path = f"{Path(address.database or '').resolve().as_uri()}?mode={'rw' if writes else 'ro'}"
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
                execution_options={} if writes else {"postgresql_readonly": True},
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
