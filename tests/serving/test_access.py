"""Who gets in: MLflow's users, roles and rules, over a database that MLflow itself made."""

from __future__ import annotations

import asyncio
import base64
import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest
from support.endpoint_users import ENDPOINT, PASSWORD, make_auth_database

from lifecycle_as_code.serving import access
from lifecycle_as_code.serving.access import Gate


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_auth_database(tmp_path_factory.mktemp("auth") / "auth.db")


def basic(user: str, password: str = PASSWORD) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def settings(database: Path, **more: Any) -> dict[str, Any]:
    return {"mode": "basic", "database": f"sqlite:///{database}", "endpoint": ENDPOINT, "ttl": 30, **more}


def status(gate: Gate, authorization: str | None) -> int:
    answer = asyncio.run(gate.check(authorization))
    return 200 if answer is None else answer.status


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
    assert status(Gate({"mode": "none"}), None) == 200


def test_an_answer_is_remembered_for_thirty_seconds_and_no_longer(tmp_path: Path) -> None:
    path = make_auth_database(tmp_path / "auth.db")
    now = [0.0]
    gate = Gate(settings(path, ttl=3600), clock=lambda: now[0])

    async def ask(user: str) -> int:
        answer = await gate.check(basic(user))
        return 200 if answer is None else answer.status

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
        assert await gate.check(basic("user")) is None
        with sqlite3.connect(path) as db:
            db.execute("DELETE FROM role_permissions")
        at_once = []
        for now[0] in (16.0, 17.0):
            # no step of the loop passes: the answer is there
            step = gate.check(basic("user")).__await__()
            with pytest.raises(StopIteration) as end:
                next(step)
            at_once.append(end.value.value is None)
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

    def slow(user: str, password: str, former: str) -> Any:
        if password != PASSWORD:
            release.wait(60)
        return ask(user, password, former)

    monkeypatch.setattr(gate, "_ask", slow)

    async def story() -> tuple[Any, int, list[Any]]:
        assert await gate.check(basic("user")) is None
        now[0] = 31.0
        strangers = [asyncio.ensure_future(gate.check(basic("user", f"wrong-{n}"))) for n in range(100)]
        await asyncio.sleep(0)
        known = await gate.check(basic("user"))
        waiting = sum(not stranger.done() for stranger in strangers)
        release.set()
        return known, waiting, await asyncio.gather(*strangers)

    known, waiting, strangers = asyncio.run(story())
    assert known is None
    # a replica's places are never all theirs
    assert waiting == room
    # those who queue, and those for whom there is no more room
    assert {answer.status for answer in strangers} == {401, 503}


def test_a_password_is_compared_again_when_mlflows_hash_of_it_has_changed(tmp_path: Path) -> None:
    path = make_auth_database(tmp_path / "auth.db")
    gate = Gate(settings(path))
    entry = gate._ask("user", PASSWORD, "")
    assert entry.verdict == "allowed"
    assert gate._ask("user", "not compared", entry.password_hash).verdict == "allowed"
    with sqlite3.connect(path) as db:
        db.execute(
            "UPDATE users SET password_hash = (SELECT password_hash FROM users WHERE username = 'legacy')"
        )
    assert gate._ask("user", PASSWORD, entry.password_hash).verdict == "unknown"


def test_an_unreachable_database_is_not_remembered(tmp_path: Path) -> None:
    gate = Gate(settings(tmp_path / "auth.db"))
    assert status(gate, basic("user")) == 503
    make_auth_database(tmp_path / "auth.db")
    assert status(gate, basic("user")) == 200


def test_many_requests_at_once_ask_once(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(settings(database))
    asked: list[str] = []
    ask = gate._ask
    monkeypatch.setattr(gate, "_ask", lambda user, *rest: asked.append(user) or ask(user, *rest))

    async def flood() -> list[Any]:
        return await asyncio.gather(*(gate.check(basic("user")) for _ in range(50)))

    assert asyncio.run(flood()) == [None] * 50
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
    from sqlalchemy import text
    from sqlalchemy.exc import OperationalError

    with access.open_read_only(f"sqlite:///{database}").connect() as db, pytest.raises(OperationalError):
        db.execute(text("DELETE FROM users"))
