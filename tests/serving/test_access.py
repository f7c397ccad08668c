"""Who gets in: MLflow's users, roles and rules, over a database that MLflow itself made."""

from __future__ import annotations

import asyncio
import base64
import logging
import re
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url
from support.endpoint_users import (
    ENDPOINT,
    PASSWORD,
    add_token,
    make_auth_database,
    make_postgres_auth_database,
)
from support.mlflow_fixture import drop_postgres
from support.oidc import AUDIENCE, LoopbackIssuer, ec_key, rsa_key, serving_issuer

from lifecycle_as_code.serving import access, oidc
from lifecycle_as_code.serving.access import Gate
from lifecycle_as_code.serving.answer import Answer
from lifecycle_as_code.serving.caller import ANONYMOUS, Caller


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_auth_database(tmp_path_factory.mktemp("auth") / "auth.db")


def basic(user: str, password: str = PASSWORD) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def settings(database: Path, **more: Any) -> dict[str, Any]:
    return {"mode": "basic", "database": f"sqlite:///{database}", "endpoint": ENDPOINT, "ttl": 30, **more}


def status(gate: Gate, authorization: str | None) -> int:
    return code(asyncio.run(gate.check(authorization)))


def code(outcome: Caller | Answer) -> int:
    return 200 if isinstance(outcome, Caller) else outcome.status


REQUESTS: dict[str, tuple[str | None, int]] = {
    "no credentials": (None, 401),
    "not basic": ("Bearer abc", 401),
    "not base64": ("Basic ???", 401),
    "no colon": ("Basic " + base64.b64encode(b"user").decode(), 401),
    "wrong password": (basic("user", "wrong"), 401),
    "empty password": (basic("user", ""), 401),
    "unknown user": (basic("stranger"), 401),
    "an admin with the password MLflow once shipped": (basic("legacy", "password1234"), 401),
    "no role": (basic("nobody"), 403),
    "read only": (basic("reader"), 403),
    "denied": (basic("denied"), 403),
    "a role of another workspace": (basic("elsewhere"), 403),
    "use": (basic("user"), 200),
    "use by the user's hidden role": (basic("hidden"), 200),
    "admin": (basic("admin"), 200),
    "the scheme in small letters": (basic("user").replace("Basic", "basic"), 200),
}


@pytest.mark.parametrize(("authorization", "expected"), REQUESTS.values(), ids=REQUESTS)
def test_a_request_is_let_in_or_not(database: Path, authorization: str | None, expected: int) -> None:
    assert status(Gate(settings(database)), authorization) == expected


UNUSABLE: dict[str, dict[str, Any]] = {
    "no settings": {},
    "another mode": {"mode": "oauth", "endpoint": ENDPOINT},
    "no endpoint": {"mode": "basic", "database": "sqlite:///x"},
    "a database that isn't there": settings(Path("/nonexistent/auth.db")),
    "a server that doesn't answer": {
        **settings(Path("x")),
        "database": "postgresql+psycopg://u@127.0.0.1:9/x",
    },
    "no url": {**settings(Path("x")), "database": "what"},
    "a variable that isn't set": {**settings(Path("x")), "database": "{{ env.LAC_NOT_SET }}"},
}


@pytest.mark.parametrize("unusable", UNUSABLE.values(), ids=UNUSABLE)
def test_what_cannot_be_checked_is_never_open(unusable: dict[str, Any]) -> None:
    assert status(Gate(unusable), basic("admin")) == 503


def test_asking_creates_no_database(tmp_path: Path) -> None:
    assert status(Gate(settings(tmp_path / "auth.db")), basic("admin")) == 503
    assert list(tmp_path.iterdir()) == []


def test_open_means_that_it_says_so() -> None:
    assert asyncio.run(Gate({"mode": "none"}).check(None)) == ANONYMOUS


def test_an_answer_is_remembered_for_thirty_seconds_and_no_longer(tmp_path: Path) -> None:
    path = make_auth_database(tmp_path / "auth.db")
    now = [0.0]
    gate = Gate(settings(path, ttl=3600), clock=lambda: now[0])

    async def ask(user: str) -> int:
        return code(await gate.check(basic(user)))

    async def story() -> list[int]:
        statuses = [await ask("user"), await ask("nobody")]
        with sqlite3.connect(path) as db:
            db.execute("DELETE FROM role_permissions")
            db.execute("UPDATE users SET is_admin = 1 WHERE username = 'nobody'")
        for now[0] in (14.9, 30.1):
            statuses += [await ask("user"), await ask("nobody")]
        return statuses

    assert asyncio.run(story()) == [200, 403, 200, 403, 403, 200]


def test_who_calls_again_and_again_never_waits_for_the_database(tmp_path: Path) -> None:
    path = make_auth_database(tmp_path / "auth.db")
    now = [0.0]
    gate = Gate(settings(path), clock=lambda: now[0])

    async def story() -> list[bool]:
        assert code(await gate.check(basic("user"))) == 200
        with sqlite3.connect(path) as db:
            db.execute("DELETE FROM role_permissions")
        at_once = []
        for now[0] in (16.0, 17.0):
            # no step of the loop passes: the answer is there
            step = gate.check(basic("user")).__await__()
            with pytest.raises(StopIteration) as end:
                next(step)
            at_once.append(code(end.value.value) == 200)
            await asyncio.gather(*gate._asking.values())
            await asyncio.sleep(0)
        return at_once

    # the second one knows what the first one asked for
    assert asyncio.run(story()) == [True, False]


@pytest.mark.parametrize(("more", "room"), [({}, 32), ({"waiting": 4}, 4)])
def test_a_known_caller_does_not_queue_behind_strangers(
    database: Path, monkeypatch: pytest.MonkeyPatch, more: dict[str, int], room: int
) -> None:
    now = [0.0]
    gate = Gate(settings(database, **more), clock=lambda: now[0])
    ask, release = gate._ask, threading.Event()

    def slow(credential: Any, known: Any) -> Any:
        if credential.password != PASSWORD:
            release.wait(60)
        return ask(credential, known)

    monkeypatch.setattr(gate, "_ask", slow)

    async def story() -> tuple[Any, int, list[Any]]:
        assert code(await gate.check(basic("user"))) == 200
        now[0] = 31.0
        strangers = [asyncio.ensure_future(gate.check(basic("user", f"wrong-{n}"))) for n in range(100)]
        await asyncio.sleep(0)
        known = await gate.check(basic("user"))
        waiting = sum(not stranger.done() for stranger in strangers)
        release.set()
        return known, waiting, await asyncio.gather(*strangers)

    known, waiting, strangers = asyncio.run(story())
    assert code(known) == 200
    # a replica's places are never all theirs
    assert waiting == room
    # those who queue, and those for whom there is no more room
    assert {answer.status for answer in strangers} == {401, 503}


def test_a_token_that_is_new_does_not_queue_behind_passwords(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(settings(database))
    token = f"Bearer {add_token(f'sqlite:///{database}', 'user')}"
    ask, release = gate._ask, threading.Event()

    def slow(credential: Any, known: Any) -> Any:
        if hasattr(credential, "password"):
            release.wait(60)
        return ask(credential, known)

    monkeypatch.setattr(gate, "_ask", slow)

    async def story() -> Any:
        strangers = [asyncio.ensure_future(gate.check(basic("user", f"wrong-{n}"))) for n in range(100)]
        await asyncio.sleep(0)
        outcome = await gate.check(token)
        release.set()
        await asyncio.gather(*strangers)
        return outcome

    assert code(asyncio.run(story())) == 200


def test_a_password_is_compared_again_when_mlflows_hash_of_it_has_changed(tmp_path: Path) -> None:
    path = make_auth_database(tmp_path / "auth.db")
    gate = Gate(settings(path))
    entry = gate._ask(access._Password("user", PASSWORD), None)
    assert code(entry.outcome) == 200
    assert code(gate._ask(access._Password("user", "not compared"), entry).outcome) == 200
    with sqlite3.connect(path) as db:
        db.execute(
            "UPDATE users SET password_hash = (SELECT password_hash FROM users WHERE username = 'legacy')"
        )
    assert code(gate._ask(access._Password("user", PASSWORD), entry).outcome) == 401


def test_an_unreachable_database_is_not_remembered(tmp_path: Path) -> None:
    gate = Gate(settings(tmp_path / "auth.db"))
    assert status(gate, basic("user")) == 503
    make_auth_database(tmp_path / "auth.db")
    assert status(gate, basic("user")) == 200


def test_many_requests_at_once_ask_once(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(settings(database))
    asked: list[str] = []
    ask = gate._ask
    monkeypatch.setattr(gate, "_ask", lambda who, known: asked.append(who.user) or ask(who, known))

    async def flood() -> list[Any]:
        return await asyncio.gather(*(gate.check(basic("user")) for _ in range(50)))

    assert [*map(code, asyncio.run(flood()))] == [200] * 50
    assert asked == ["user"]


def test_wrong_passwords_dont_push_out_the_right_one_and_no_password_is_kept(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access, "_CACHE_SIZE", 3)
    gate = Gate(settings(database))
    assert status(gate, basic("user")) == 200
    for i in range(5):
        assert status(gate, basic("user", f"wrong-{i}")) == 401
    assert len(gate._good) == 1
    assert len(gate._bad) == 3
    kept = repr([gate._good, gate._bad, gate._asking])
    assert PASSWORD not in kept
    assert "wrong" not in kept


def test_the_gate_cannot_write(database: Path) -> None:
    from sqlalchemy.exc import OperationalError

    with access.open_read_only(f"sqlite:///{database}").connect() as db, pytest.raises(OperationalError):
        db.execute(text("DELETE FROM users"))


# --- bearer tokens of lac's


def bearer(value: str) -> str:
    return f"Bearer {value}"


def gate_on(url: str, clock: Callable[[], float] = time.monotonic, **more: Any) -> Gate:
    return Gate({**settings(Path("x")), "database": url, **more}, clock)


def execute(url: str, *statements: str) -> list[Any]:
    """Run statements; the rows of the last one, where it has any."""
    engine = create_engine(url)
    with engine.begin() as db:
        for statement in statements:
            result = db.execute(text(statement))
        rows = [tuple(row) for row in result] if result.returns_rows else []
    engine.dispose()
    return rows


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def users_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    directory = tmp_path_factory.mktemp("users")
    if request.param == "sqlite":
        yield f"sqlite:///{make_auth_database(directory / 'auth.db')}"
        return
    url = make_postgres_auth_database(directory)
    yield url
    drop_postgres(url)


TOKENS: dict[str, tuple[str, dict[str, Any], int]] = {
    "use": ("user", {}, 200),
    "use by the user's hidden role": ("hidden", {}, 200),
    "admin": ("admin", {}, 200),
    "this endpoint's": ("user", {"endpoints": [ENDPOINT, "churn"]}, 200),
    "another endpoint's": ("user", {"endpoints": ["churn"]}, 403),
    "an admin's for another endpoint": ("admin", {"endpoints": ["churn"]}, 403),
    "no role": ("nobody", {}, 403),
    "read only": ("reader", {}, 403),
    "denied": ("denied", {}, 403),
    "a role of another workspace": ("elsewhere", {}, 403),
    "expired": ("user", {"sql": "expires_ms = created_ms"}, 401),
    "revoked": ("user", {"sql": "revoked_ms = created_ms"}, 401),
    "the user has another id": ("user", {"sql": "user_id = user_id + 1000"}, 401),
    "the id has another name": ("user", {"sql": "username = 'ann'"}, 401),
    "nobody's hash": ("user", {"sql": "token_hash = 'x'"}, 401),
}


@pytest.mark.parametrize(("user", "more", "expected"), TOKENS.values(), ids=TOKENS)
def test_a_token_is_let_in_or_not(users_url: str, user: str, more: dict[str, Any], expected: int) -> None:
    value = add_token(users_url, user, **more)
    assert status(gate_on(users_url), bearer(value)) == expected


def test_who_is_let_in_has_a_name_and_the_names_of_roles(users_url: str) -> None:
    def callers(user: str) -> list[Caller | Answer]:
        gate = gate_on(users_url)
        headers = basic(user), bearer(add_token(users_url, user)), f"bearer  {add_token(users_url, user)} "
        return [asyncio.run(gate.check(header)) for header in headers]

    assert callers("user") == [Caller("user", frozenset({"role of user"}))] * 3
    assert callers("hidden") == [Caller("hidden")] * 3
    assert callers("admin") == [Caller("admin")] * 3


MALFORMED: dict[str, Callable[[str], str]] = {
    "cut": lambda value: value[:-1],
    "another checksum": lambda value: value[:-1] + chr(ord(value[-1]) ^ 1),
    "another beginning": lambda value: value[:4] + chr(ord(value[4]) ^ 1) + value[5:],
    "more": lambda value: value + "0",
    "the prefix alone": lambda value: value[:4],
    "other characters": lambda value: value[:4] + "é" * 36,
    "a zero": lambda value: value.replace("_", "_\0"),
}


@pytest.mark.parametrize("change", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_token_is_refused_without_a_database(change: Callable[[str], str]) -> None:
    from lifecycle_as_code.serving.tokens import make_token

    # 503 if it were asked
    gate = gate_on("sqlite:////nonexistent/auth.db")
    assert status(gate, bearer(change(make_token()))) == 401


def test_before_the_first_token_every_token_is_unknown_and_no_table_is_made(tmp_path: Path) -> None:
    from lifecycle_as_code.serving.tokens import make_token

    path = make_auth_database(tmp_path / "auth.db")
    assert status(Gate(settings(path)), bearer(make_token())) == 401
    assert execute(f"sqlite:///{path}", "SELECT 1 FROM sqlite_master WHERE name LIKE 'lac_%'") == []
    # where MLflow's tables are missing, too, nobody can tell
    url = f"sqlite:///{tmp_path / 'empty.db'}"
    execute(url, "CREATE TABLE lac_tokens (id INTEGER)")
    assert status(gate_on(url), bearer(make_token())) == 503


def test_a_user_who_is_made_again_inherits_no_token(users_url: str) -> None:
    value = add_token(users_url, "legacy")
    assert status(gate_on(users_url), bearer(value)) == 200
    (former,) = execute(users_url, "SELECT id FROM users WHERE username = 'legacy'")
    execute(users_url, "DELETE FROM users WHERE username = 'legacy'")
    assert status(gate_on(users_url), bearer(value)) == 401
    # the same password's hash has another salt
    make = "INSERT INTO users (username, password_hash, is_admin) VALUES ('legacy', 'scrypt:again', true)"
    execute(users_url, make)
    # SQLite gives the highest id again
    (latter,) = execute(users_url, "SELECT id FROM users WHERE username = 'legacy'")
    assert (former == latter) is users_url.startswith("sqlite")
    assert status(gate_on(users_url), bearer(value)) == 401


def test_a_token_ends_exactly_at_its_time_and_a_revoked_one_with_its_answer(tmp_path: Path) -> None:
    url = f"sqlite:///{make_auth_database(tmp_path / 'auth.db')}"
    now = [0.0]
    gate = gate_on(url, lambda: now[0])
    short, revoked = add_token(url, "user", seconds=10), add_token(url, "user")

    async def at_once(value: str) -> int | None:
        """The status, where the answer was there; None where the database is asked."""
        step = gate.check(bearer(value)).__await__()
        try:
            next(step)
        except StopIteration as end:
            return code(end.value)
        step.close()
        await asyncio.gather(*gate._asking.values())
        await asyncio.sleep(0)
        return None

    async def story() -> list[int | None]:
        statuses = [await at_once(short), await at_once(revoked)]
        execute(url, "UPDATE lac_tokens SET revoked_ms = 1", "UPDATE lac_tokens SET expires_ms = 1")
        for now[0] in (9.0, 10.1):
            statuses.append(await at_once(short))
        statuses.append(await at_once(short))
        for now[0] in (14.0, 30.1):
            statuses.append(await at_once(revoked))
        statuses.append(await at_once(revoked))
        return statuses

    assert asyncio.run(story()) == [None, None, 200, None, 401, 200, None, 401]


def test_a_known_token_is_renewed_in_the_background(tmp_path: Path) -> None:
    url = f"sqlite:///{make_auth_database(tmp_path / 'auth.db')}"
    now = [0.0]
    gate = gate_on(url, lambda: now[0])
    header = bearer(add_token(url, "user"))

    async def story() -> list[int]:
        statuses = [code(await gate.check(header))]
        for now[0] in (16.0, 45.0):
            statuses.append(code(await gate.check(header)))
            await asyncio.gather(*gate._asking.values())
            await asyncio.sleep(0)
            execute(url, "UPDATE lac_tokens SET revoked_ms = 1")
        statuses.append(code(await gate.check(header)))
        return statuses

    # at 45 the answer of 16 counts; the one that it asks for is the last
    assert asyncio.run(story()) == [200, 200, 200, 401]


# --- the last use


def last_uses(url: str) -> list[int | None]:
    return [row[0] for row in execute(url, "SELECT last_used_ms FROM lac_tokens ORDER BY created_ms")]


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "_BATCH", 0.0)


async def use(gate: Gate, *headers: str) -> list[int]:
    """Check all at once, and wait until uses are written."""
    statuses = [*map(code, await asyncio.gather(*map(gate.check, headers)))]
    await asyncio.sleep(0.01)
    gate._uses._thread.shutdown()
    return statuses


@pytest.mark.usefixtures("at_once")
def test_the_last_use_is_recorded_at_most_once_a_minute(users_url: str) -> None:
    # those of other tests, if they made the table
    add_token(users_url, "user")
    execute(users_url, "DELETE FROM lac_tokens")
    headers = [bearer(add_token(users_url, user)) for user in ("user", "hidden", "denied")]
    assert last_uses(users_url) == [None] * 3
    assert asyncio.run(use(gate_on(users_url), *headers)) == [200, 200, 403]
    first = last_uses(users_url)
    assert first[2] is None
    (created,) = execute(users_url, "SELECT max(created_ms) FROM lac_tokens")
    assert all(used is not None and used >= created[0] - 1 for used in first[:2])
    # another replica, in the same minute: it has nothing to write, and would not overwrite
    other = gate_on(users_url)
    value = headers[0].removeprefix("Bearer ")
    assert other._ask(access._Token(value), None).use == ""
    (token_id,) = execute(users_url, "SELECT token_id FROM lac_tokens WHERE last_used_ms IS NOT NULL")[:1]
    other._uses._write([*token_id])
    assert last_uses(users_url) == first
    execute(users_url, "UPDATE lac_tokens SET last_used_ms = last_used_ms - 60000")
    asyncio.run(use(gate_on(users_url), *headers))
    assert all(now >= before for now, before in zip(last_uses(users_url)[:2], first[:2], strict=True))


def test_a_reader_lets_in_and_records_no_use_until_it_may_as_the_example_grants(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access, "_BATCH", 0.0)
    url = make_postgres_auth_database(tmp_path)
    values = [add_token(url, user) for user in ("user", "hidden")]
    role = "lac_serve_test"
    reader = make_url(url).set(username=role, password="x").render_as_string(hide_password=False)
    example = Path(__file__).parents[2] / "examples" / "postgresql" / "grants.sql"
    grants = re.findall(r"--   (GRANT .* TO) lac_serve;", example.read_text())
    assert len(grants) == 2
    reads = (f"{grant.replace(', UPDATE (last_used_ms)', '')} {role}" for grant in grants)
    execute(url, f"DROP ROLE IF EXISTS {role}", f"CREATE ROLE {role} LOGIN PASSWORD 'x'", *reads)

    async def story(gate: Gate) -> list[int]:
        statuses = []
        for value in values:
            statuses.append(code(await gate.check(bearer(value))))
            await asyncio.sleep(0.01)
        gate._uses._thread.shutdown()
        return statuses

    assert asyncio.run(story(gate_on(reader))) == [200, 200]
    assert last_uses(url) == [None, None]
    # said once
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "needs UPDATE on `lac_tokens`" in caplog.text
    execute(url, *(f"{grant} {role}" for grant in grants))
    assert asyncio.run(story(gate_on(reader))) == [200, 200]
    assert None not in last_uses(url)
    drop_postgres(url)


# --- grace


def test_grace_is_none_unless_stated(tmp_path: Path) -> None:
    assert graced(tmp_path, {}, (29.0, 30.1)) == [200, 200, 503]


def test_in_its_grace_an_allowed_answer_counts_while_the_database_is_away(tmp_path: Path) -> None:
    times = (30.1, 30.2, 50.0, 89.9, 90.1)
    assert graced(tmp_path, {"grace": 60}, times) == [200, 200, 200, 200, 200, 503]


def test_no_grace_outlives_a_token(tmp_path: Path) -> None:
    assert graced(tmp_path, {"grace": 60}, (39.9, 40.1), seconds=40) == [200, 200, 503]


def test_grace_ends_when_the_database_can_be_read(tmp_path: Path) -> None:
    revoke = "UPDATE lac_tokens SET revoked_ms = 1"
    statuses = graced(tmp_path, {"grace": 600}, (30.1, 31.5, 300.0), back_at=300.0, sql=revoke)
    assert statuses == [200, 200, 200, 401]


def test_a_stranger_has_no_grace(tmp_path: Path) -> None:
    gate = Gate(settings(tmp_path / "auth.db", grace=600))
    assert status(gate, basic("user")) == 503


def graced(
    directory: Path,
    more: dict[str, Any],
    times: tuple[float, ...],
    *,
    seconds: float = 3600.0,
    back_at: float = float("inf"),
    sql: str = "",
) -> list[int]:
    """The statuses of one token: with the database, and then at these times without it, until `back_at`.
    `sql`: what happens to the database meanwhile."""
    path = make_auth_database(directory / "auth.db")
    away = directory / "away.db"
    now = [0.0]
    gate = Gate(settings(path, **more), clock=lambda: now[0])
    header = bearer(add_token(f"sqlite:///{path}", "user", seconds=seconds))

    async def story() -> list[int]:
        statuses = [code(await gate.check(header))]
        execute(f"sqlite:///{path}", *filter(None, [sql]), "SELECT 1")
        path.rename(away)
        for now[0] in times:
            if now[0] >= back_at:
                away.rename(path)
            statuses.append(code(await gate.check(header)))
            # what was asked for in the background
            await asyncio.gather(*gate._asking.values())
            await asyncio.sleep(0)
        return statuses

    return asyncio.run(story())


def test_while_the_database_hangs_nobody_in_their_grace_waits(tmp_path: Path) -> None:
    path = make_auth_database(tmp_path / "auth.db")
    now = [0.0]
    gate = Gate(settings(path, grace=60), clock=lambda: now[0])
    release = threading.Event()

    async def story() -> tuple[bool, int]:
        assert code(await gate.check(basic("user"))) == 200
        path.unlink()
        now[0] = 31.0
        # this one finds out
        assert code(await gate.check(basic("user"))) == 200
        connect = gate._connect
        gate._connect = lambda: (release.wait(60), connect())[1]  # type: ignore[method-assign]  # a slow one
        now[0] = 33.0
        step = gate.check(basic("user")).__await__()
        with pytest.raises(StopIteration) as end:
            next(step)
        pending = bool(gate._asking)
        release.set()
        await asyncio.gather(*gate._asking.values())
        return pending, code(end.value.value)

    assert asyncio.run(story()) == (True, 200)


def test_what_a_stranger_sends_never_counts_as_a_failure_for_others(tmp_path: Path) -> None:
    url = make_postgres_auth_database(tmp_path)
    gate = gate_on(url)
    assert status(gate, basic("us\0er")) == 401
    assert gate._failure == float("-inf")
    drop_postgres(url)
    # whatever else it may be
    away = Gate(settings(tmp_path / "away.db"))
    assert status(away, basic("user")) == 503
    assert away._failure == float("-inf")


# --- an OIDC issuer's tokens


@pytest.fixture(scope="module")
def issuer() -> Iterator[LoopbackIssuer]:
    with serving_issuer() as issuer:
        yield issuer


@pytest.fixture
def own_issuer() -> Iterator[LoopbackIssuer]:
    with serving_issuer() as issuer:
        yield issuer


Sign = Callable[[LoopbackIssuer], str]
NOW = int(time.time())

JWTS: dict[str, tuple[Sign, int]] = {
    "good": (lambda i: i.sign("user"), 200),
    "good, on a curve": (lambda i: i.sign("user", kid="ec"), 200),
    "another algorithm of the same key": (lambda i: i.sign("user", algorithm="PS384"), 200),
    "several audiences": (lambda i: i.sign("user", aud=["other", AUDIENCE]), 200),
    "an admin": (lambda i: i.sign("admin"), 200),
    "no grant": (lambda i: i.sign("nobody"), 403),
    "denied": (lambda i: i.sign("denied"), 403),
    "no MLflow user": (lambda i: i.sign("stranger"), 403),
    "no name": (lambda i: i.sign("user", email=None), 403),
    "a name that is no text": (lambda i: i.sign("user", email=["user"]), 403),
    "a name that no database takes": (lambda i: i.sign("us\0er\ud800"), 403),
    "an email that nobody verified": (lambda i: i.sign("user", email_verified=False), 403),
    "a verified email": (lambda i: i.sign("user", email_verified=True), 200),
    "wrong issuer": (lambda i: i.sign("user", iss="https://other.example"), 401),
    "the issuer with a slash": (lambda i: i.sign("user", iss=i.url + "/"), 401),
    "wrong audience": (lambda i: i.sign("user", aud="other"), 401),
    "no audience": (lambda i: i.sign("user", aud=None), 401),
    "expired": (lambda i: i.sign("user", exp=NOW - 60), 401),
    # the leeway is for `nbf` alone
    "expired a moment ago": (lambda i: i.sign("user", exp=int(time.time()) - 1), 401),
    "without end": (lambda i: i.sign("user", exp=None), 401),
    "an end that is no number": (lambda i: i.sign("user", exp=float("inf")), 401),
    "not valid yet": (lambda i: i.sign("user", nbf=NOW + 3600), 401),
    "valid in a moment": (lambda i: i.sign("user", nbf=int(time.time()) + 2), 200),
    "alg none": (lambda i: unsigned(i), 401),
    "HS256 with the public key": (lambda i: i.sign_with_public_key("user"), 401),
    "HS256 with a secret": (lambda i: i.sign("user", key="s" * 32, algorithm="HS256"), 401),
    "another key under a known id": (lambda i: i.sign("user", key=rsa_key(1)), 401),
    "a curve's key under an RSA key's id": (lambda i: i.sign("user", key=ec_key()), 401),
    "unknown key": (lambda i: i.sign("user", kid="other", key=rsa_key(1)), 401),
    "no id where there are two keys": (lambda i: i.sign("user", kid=None), 401),
    "a changed name": (lambda i: swap_payload(i.sign("nobody"), i.sign("admin")), 401),
    "no signature": (lambda i: i.sign("user").rpartition(".")[0] + ".", 401),
    "no claims": (lambda _: "e30.e30.e30", 401),
    "too long": (lambda i: i.sign("user", more="x" * 20000), 401),
    "not three parts": (lambda i: i.sign("user") + ".x", 401),
}


def unsigned(issuer: LoopbackIssuer) -> str:
    import jwt

    return jwt.encode(issuer.claims("user"), None, "none", {"kid": "rsa"})


def swap_payload(token: str, other: str) -> str:
    head, _, signature = token.split(".")
    return f"{head}.{other.split('.')[1]}.{signature}"


@pytest.mark.parametrize(("sign", "expected"), JWTS.values(), ids=JWTS)
def test_an_issuers_token_is_let_in_or_not(
    database: Path, issuer: LoopbackIssuer, sign: Sign, expected: int
) -> None:
    gate = Gate(settings(database, oidc=issuer.settings))
    assert status(gate, bearer(sign(issuer))) == expected


def test_without_an_issuer_its_tokens_are_nobodys(database: Path, issuer: LoopbackIssuer) -> None:
    assert status(Gate(settings(database)), bearer(issuer.sign("user"))) == 401


def test_the_claim_and_the_address_of_the_keys_can_be_given(
    database: Path, own_issuer: LoopbackIssuer
) -> None:
    more = {"username_claim": "preferred_username", "jwks_url": f"{own_issuer.url}/keys"}
    gate = Gate(settings(database, oidc={**own_issuer.settings, **more}))
    assert status(gate, bearer(own_issuer.sign("x", preferred_username="user"))) == 200
    assert [*own_issuer.requests] == ["/keys"]


def test_password_and_tokens_of_lac_count_beside_an_issuers(tmp_path: Path, issuer: LoopbackIssuer) -> None:
    path = make_auth_database(tmp_path / "auth.db")
    gate = Gate(settings(path, oidc=issuer.settings))
    token = add_token(f"sqlite:///{path}", "user")
    assert [status(gate, h) for h in (basic("user"), bearer(token), bearer(issuer.sign("user")))] == [200] * 3


def test_what_cannot_be_good_makes_nobody_ask_the_issuer(database: Path, own_issuer: LoopbackIssuer) -> None:
    gate = Gate(settings(database, oidc=own_issuer.settings))
    for token in (unsigned(own_issuer), own_issuer.sign_with_public_key("user"), "a.b.c", "x" * 20000):
        assert status(gate, bearer(token)) == 401
    assert not own_issuer.requests


def test_while_the_issuer_hangs_other_strangers_are_let_in(
    database: Path, own_issuer: LoopbackIssuer
) -> None:
    gate = Gate(settings(database, oidc=own_issuer.settings, waiting=4))
    own_issuer.answers.clear()

    async def story() -> tuple[int, int, list[int]]:
        tokens = [own_issuer.sign("user", jti=str(number)) for number in range(5)]
        waiting = [asyncio.ensure_future(gate.check(bearer(token))) for token in tokens]
        await asyncio.sleep(0)
        stranger = code(await gate.check(basic("user")))
        pending = sum(not each.done() for each in waiting)
        own_issuer.answers.set()
        return stranger, pending, sorted(map(code, await asyncio.gather(*waiting)))

    assert asyncio.run(story()) == (200, 2, [200, 200, 503, 503, 503])


def test_a_new_key_is_found_and_an_old_one_ends(database: Path, own_issuer: LoopbackIssuer) -> None:
    now = [0.0]
    gate = Gate(settings(database, oidc=own_issuer.settings), clock=lambda: now[0])
    old = own_issuer.sign("user")
    assert status(gate, bearer(old)) == 200
    own_issuer.keys = {"new": rsa_key(1)}
    # too soon to ask the issuer again, which strangers could make us do for ever
    new = [bearer(own_issuer.sign("user", kid="new", jti=str(n))) for n in range(5)]
    assert [status(gate, header) for header in new] == [401] * 5
    assert own_issuer.requests["/keys"] == 1
    now[0] = 10.0
    # those that were refused for this reason aren't remembered as bad
    assert status(gate, new[0]) == 200
    assert own_issuer.requests["/keys"] == 2
    now[0] = 31.0
    assert status(gate, bearer(old)) == 401


def test_keys_are_fetched_again_in_time_and_nobody_waits(own_issuer: LoopbackIssuer) -> None:
    now = [0.0]
    reader = oidc.Issuer(own_issuer.settings, lambda: now[0])
    token = own_issuer.sign("user")
    reader.read(token, may_fetch=True)
    own_issuer.keys = {"ec": ec_key()}
    now[0] = 301.0
    assert isinstance(reader.read(token, may_fetch=False), oidc.Identity)
    reader.threads.shutdown()
    assert own_issuer.requests["/keys"] == 2
    assert isinstance(reader.read(token, may_fetch=False), oidc.Refusal)


def test_known_keys_go_on_while_the_issuer_is_away_and_unknown_ones_wait(
    database: Path, own_issuer: LoopbackIssuer
) -> None:
    now = [0.0]
    gate = Gate(settings(database, oidc=own_issuer.settings), clock=lambda: now[0])
    own_issuer.is_up = False
    assert status(gate, bearer(own_issuer.sign("user"))) == 503
    own_issuer.is_up = True
    now[0] = 10.0
    assert status(gate, bearer(own_issuer.sign("user"))) == 200
    own_issuer.is_up = False
    now[0] = 1000.0
    assert status(gate, bearer(own_issuer.sign("user", jti="2"))) == 200
    assert status(gate, bearer(own_issuer.sign("user", kid="other", key=rsa_key(1)))) == 503


def test_an_issuers_token_counts_until_it_expires_and_no_longer(
    database: Path, issuer: LoopbackIssuer
) -> None:
    now = [0.0]
    gate = Gate(settings(database, oidc=issuer.settings, grace=600), clock=lambda: now[0])
    token = issuer.sign("user", exp=int(time.time()) + 20)
    assert status(gate, bearer(token)) == 200
    (entry,) = gate._good.values()
    assert entry.until == entry.end <= 20.0
    now[0] = 20.1
    assert not gate._is_in_grace(entry, now[0])


def test_a_document_of_another_issuer_counts_for_nothing(database: Path, own_issuer: LoopbackIssuer) -> None:
    own_issuer.named = "https://other.example"
    gate = Gate(settings(database, oidc=own_issuer.settings))
    assert status(gate, bearer(own_issuer.sign("user"))) == 503
    assert own_issuer.requests["/keys"] == 0


@pytest.mark.parametrize(
    ("url", "is_good"),
    [
        ("https://login.example/tenant", True),
        ("https://login.example/", True),
        ("http://127.0.0.1:8080/realms/a", True),
        ("http://[::1]:8080", True),
        ("http://localhost", True),
        ("http://login.example", False),
        ("http://127.0.0.1.example", False),
        ("ftp://login.example", False),
        ("file:///etc/passwd", False),
        ("login.example", False),
        ("https://", False),
        ("https://ann:secret@login.example", False),
        ("https://login.example?a=b", False),
        ("https://login.example:port", False),
        ("https://[", False),
    ],
)
def test_an_issuer_needs_https_except_on_loopback(url: str, is_good: bool) -> None:
    assert (oidc.check_url(url) == "") is is_good


def test_unusable_settings_of_an_issuer_close_its_tokens_alone(
    database: Path, issuer: LoopbackIssuer
) -> None:
    gate = Gate(settings(database, oidc={"issuer": "http://login.example", "audience": AUDIENCE}))
    assert status(gate, bearer(issuer.sign("user"))) == 503
    assert status(gate, basic("user")) == 200


# --- secrets


def test_a_secret_is_in_no_log_repr_answer_or_database(
    tmp_path: Path, issuer: LoopbackIssuer, caplog: pytest.LogCaptureFixture
) -> None:
    path, away = make_auth_database(tmp_path / "auth.db"), tmp_path / "away.db"
    now = [0.0]
    gate = Gate(settings(path, oidc=issuer.settings, grace=5), clock=lambda: now[0])
    value, token = add_token(f"sqlite:///{path}", "user"), issuer.sign("user")
    wrong = value[:-1] + chr(ord(value[-1]) ^ 1)
    headers = [*map(bearer, (value, wrong, token, token[:-8])), basic("user"), basic("user", value)]
    caplog.set_level(logging.DEBUG)

    def look() -> str:
        return repr([vars(gate), gate._asking, gate._good, gate._bad, vars(gate._uses)])

    async def story() -> list[Any]:
        seen: list[Any] = []
        # allowed; in the grace; after it
        for now[0] in (0.0, 31.0, 100.0):
            pending = [asyncio.ensure_future(gate.check(header)) for header in headers]
            await asyncio.sleep(0)
            seen += [look(), *await asyncio.gather(*pending), look()]
            if path.exists():
                path.rename(away)
        return seen

    seen = asyncio.run(story())
    assert {code(each) for each in seen if not isinstance(each, str)} == {200, 401, 503}
    seen += [access._Token(value), access._Jwt(token), access._Password("user", PASSWORD)]
    everything = repr(seen) + caplog.text
    assert "can't be read" in caplog.text
    for secret in (value, value[4:34], wrong, token, token.split(".")[2], PASSWORD):
        assert secret not in everything
        assert secret.encode() not in away.read_bytes()
