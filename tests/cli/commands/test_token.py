"""`lac token`: bearer tokens that endpoints take, from the command line to the gate."""

from __future__ import annotations

import asyncio
import json
import re
import sqlite3
from pathlib import Path

import pytest
from support.endpoint_users import ENDPOINT, make_auth_database

from lifecycle_as_code.cli import run
from lifecycle_as_code.model.redaction import secret_shape
from lifecycle_as_code.serving.access import Gate
from lifecycle_as_code.serving.caller import Caller
from lifecycle_as_code.serving.tokens import PATTERN, hash_token, is_token, make_token

Said = pytest.CaptureFixture[str]


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    make_auth_database(tmp_path / "basic_auth.db")
    (tmp_path / "lac.yaml").write_text("name: payments\nauth_store: sqlite:///basic_auth.db\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def create(said: Said, *args: str) -> str:
    """The value of a new token, which is all that stdout has."""
    assert run(["token", "create", "--user", "user", "--expires", "30d", *args]) == 0
    return said.readouterr().out.removesuffix("\n")


def listed(said: Said, *args: str) -> list[dict[str, object]]:
    assert run(["token", "list", "--json", *args]) == 0
    tokens: list[dict[str, object]] = json.loads(said.readouterr().out)["tokens"]
    return tokens


def status(stack: Path, value: str) -> int:
    database = f"sqlite:///{stack / 'basic_auth.db'}"
    gate = Gate({"mode": "basic", "database": database, "endpoint": ENDPOINT})
    outcome = asyncio.run(gate.check(f"Bearer {value}"))
    return 200 if isinstance(outcome, Caller) else outcome.status


def test_a_token_has_the_documented_form_and_a_checksum() -> None:
    value = make_token()
    assert re.fullmatch(PATTERN, value)
    assert re.search(PATTERN, f'TOKEN="{value}"')
    assert is_token(value)
    assert secret_shape(f"Bearer {value}") == "a token of lac"
    # the form is a contract with scanners, and old tokens must stay valid
    assert is_token("lac_0123456789ABCDEFGHIJKLMNOPQRST4WFMBx") is False
    assert is_token("lac_lA1mRbFqgRa24MM0xKffHsO9AvEk7Q2KCy5D")


def test_a_token_is_printed_once_lets_its_user_in_and_is_stored_as_a_hash(stack: Path, capsys: Said) -> None:
    value = create(capsys, "--description", "nightly job")
    assert re.fullmatch(PATTERN, value)
    assert status(stack, value) == 200
    for file in stack.rglob("*"):
        assert not file.is_file() or value.encode() not in file.read_bytes()
    with sqlite3.connect(stack / "basic_auth.db") as db:
        assert db.execute("SELECT token_hash FROM lac_tokens").fetchall() == [(hash_token(value),)]
    (token,) = listed(capsys)
    assert token["username"] == "user"
    assert token["endpoints"] is None
    assert token["description"] == "nightly job"
    assert token["expires_ms"] == int(str(token["created_ms"])) + 30 * 86400 * 1000
    assert not {"value", "token_hash", "user_mark"} & token.keys()


@pytest.mark.usefixtures("stack")
def test_the_note_beside_a_token_names_its_id_user_endpoints_and_end(capsys: Said) -> None:
    args = ["--user", "user", "--expires", "12h", "--endpoint", "fraud", "--endpoint", "churn"]
    assert run(["token", "create", *args]) == 0
    said = capsys.readouterr()
    (token,) = listed(capsys)
    assert said.err.startswith(f"Token {token['token_id']} of user, for churn, fraud, expires 20")
    assert said.out.strip() not in said.err


@pytest.mark.usefixtures("stack")
def test_json_has_the_token_and_its_value(capsys: Said) -> None:
    document = json.loads(create(capsys, "--json"))
    assert is_token(document["value"])
    assert document["token"]["username"] == "user"


def test_a_token_for_another_endpoint_is_of_no_use_here(stack: Path, capsys: Said) -> None:
    assert status(stack, create(capsys, "--endpoint", ENDPOINT)) == 200
    assert status(stack, create(capsys, "--endpoint", "churn")) == 403


def test_a_revoked_token_is_refused_and_listed_on_request_only(stack: Path, capsys: Said) -> None:
    first, second = create(capsys), create(capsys)
    ids = [str(token["token_id"]) for token in listed(capsys)]
    assert run(["token", "revoke", ids[0]]) == 0
    assert capsys.readouterr().out == f"revoked {ids[0]}\n"
    assert [status(stack, first), status(stack, second)] == [401, 200]
    assert [token["token_id"] for token in listed(capsys)] == [ids[1]]
    (revoked, _) = listed(capsys, "--all")
    assert revoked["state"] == "revoked"
    # once more changes nothing
    assert run(["token", "revoke", ids[0]]) == 0
    capsys.readouterr()
    assert listed(capsys, "--all")[0] == revoked


@pytest.mark.usefixtures("stack")
def test_tokens_are_revoked_all_or_none(capsys: Said) -> None:
    create(capsys)
    (token,) = listed(capsys)
    assert run(["token", "revoke", str(token["token_id"]), "beef"]) == 1
    assert "no-such-token" in capsys.readouterr().err
    assert listed(capsys) == [token]


def test_the_list_is_for_people(stack: Path, capsys: Said) -> None:
    create(capsys, "--endpoint", "fraud", "--description", "CI")
    with sqlite3.connect(stack / "basic_auth.db") as db:
        # another program's doing
        db.execute("UPDATE lac_tokens SET description = 'CI' || char(27) || '[2J'")
    assert run(["token", "list"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"[0-9a-f]{12}  active   user  fraud", first)
    assert re.fullmatch(r"    created 20.* UTC by .+; expires 20.* UTC; never used; CI\\x1b\[2J", second)
    with sqlite3.connect(stack / "basic_auth.db") as db:
        db.execute("UPDATE lac_tokens SET expires_ms = created_ms, last_used_ms = created_ms")
    assert run(["token", "list"]) == 0
    assert capsys.readouterr().err == "No active tokens; `--all` lists the others.\n"
    assert run(["token", "list", "--all"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert "  expired  user" in first
    assert "; expired 20" in second
    assert "; last used 20" in second


REFUSALS: dict[str, tuple[list[str], str, str]] = {
    "no such user": (["--user", "usre", "--expires", "1d"], "no-such-user", "did you mean `user`?"),
    "no user": (["--user", "", "--expires", "1d"], "no-such-user", ""),
    "never": (["--user", "user", "--expires", "never"], "usage", "every token expires"),
    "no expiry": (["--user", "user"], "usage", "--expires"),
    "no duration": (["--user", "user", "--expires", "soon"], "usage", "30d"),
    "too long": (["--user", "user", "--expires", "367d"], "invalid-expiry", "366 days"),
    "nothing": (["--user", "user", "--expires", "0"], "invalid-expiry", "366 days"),
    "a description that is no text": (
        ["--user", "user", "--expires", "1d", "--description", "a\udcff"],
        "invalid-description",
        "printable",
    ),
    "a description of two lines": (
        ["--user", "user", "--expires", "1d", "--description", "a\nb"],
        "invalid-description",
        "one line",
    ),
    "a long description": (
        ["--user", "user", "--expires", "1d", "--description", "x" * 257],
        "invalid-description",
        "256",
    ),
    "a user that is no text": (["--user", "a\udcff", "--expires", "1d"], "no-such-user", "known: admin"),
    "an address for an endpoint": (
        ["--user", "user", "--expires", "1d", "--endpoint", "http://x/fraud"],
        "invalid-endpoint",
        "not its address",
    ),
}


@pytest.mark.parametrize(("args", "code", "words"), REFUSALS.values(), ids=REFUSALS)
def test_what_makes_no_token(stack: Path, capsys: Said, args: list[str], code: str, words: str) -> None:
    before = (stack / "basic_auth.db").read_bytes()
    assert run(["token", "create", *args]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert f"error[{code}]" in said.err
    assert words in said.err
    assert (stack / "basic_auth.db").read_bytes() == before


def test_listing_creates_nothing(stack: Path, capsys: Said) -> None:
    before = (stack / "basic_auth.db").read_bytes()
    assert run(["token", "list"]) == 0
    assert capsys.readouterr().err == "No tokens.\n"
    assert run(["token", "revoke", "beef"]) == 1
    assert (stack / "basic_auth.db").read_bytes() == before


@pytest.mark.parametrize(
    "args", [["create", "--user", "a", "--expires", "1d"], ["list"], ["revoke", "beef"]], ids=lambda a: a[0]
)
def test_without_an_auth_store_there_are_no_tokens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Said, args: list[str]
) -> None:
    (tmp_path / "lac.yaml").write_text("name: payments\n")
    monkeypatch.chdir(tmp_path)
    assert run(["token", *args]) == 1
    assert "error[no-store]" in capsys.readouterr().err


def test_an_auth_database_that_is_not_there_has_no_users_and_is_not_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Said
) -> None:
    (tmp_path / "lac.yaml").write_text("name: payments\nauth_store: sqlite:///basic_auth.db\n")
    monkeypatch.chdir(tmp_path)
    assert run(["token", "create", "--user", "a", "--expires", "1d"]) == 1
    assert "error[no-such-user]" in capsys.readouterr().err
    assert [*tmp_path.iterdir()] == [tmp_path / "lac.yaml"]
