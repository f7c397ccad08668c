"""Bearer tokens of MLflow's users for endpoints: made, listed, revoked."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from sqlalchemy import Connection, select

from ..model.diagnostics import Diagnostic, LacError, did_you_mean, refuse
from ..model.token import NewToken, Token
from ..stores import state
from ..stores.mlflow.auth import user_ids
from ..stores.mlflow.tables import users
from ..stores.sql import store as sql
from ..stores.state import tokens
from .actor import actor
from .session import Session

MAX_DAYS: Final = 366
"""The longest life of a token, in days: GitHub's for an organisation's tokens."""
_LONGEST: Final = 256
_ENDPOINT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")


def create_token(
    session: Session, user: str, seconds: float, endpoints: Sequence[str], description: str
) -> NewToken:
    """Make a token for an MLflow user; `Stack.create_token` describes the rest."""
    refuse(_endpoint_error(name) for name in endpoints if not _ENDPOINT.fullmatch(name))
    if not 1 <= seconds <= MAX_DAYS * 86400:
        raise LacError(
            Diagnostic(
                "invalid-expiry",
                "the token's lifetime is out of range",
                f"A token lives between 1 second and {MAX_DAYS} days.",
                hint="give a lifetime such as `30d` or `12h`",
            )
        )
    if len(description) > _LONGEST or not description.isprintable():
        raise LacError(
            Diagnostic(
                "invalid-description",
                "the token's description is not accepted",
                f"A description is one line of at most {_LONGEST} printable characters.",
                hint="shorten it, or remove invisible characters",
            )
        )
    with _writing(session) as db:
        ids = user_ids(db)
        if not user or user not in ids:
            raise LacError(
                Diagnostic(
                    "no-such-user",
                    "MLflow has no such user",
                    f"There is no user `{user}` in the auth database.",
                    hint=did_you_mean(user, ids) or "create the user with MLflow first",
                )
            )
        password_hash = None
        if db.dialect.name == "sqlite":
            password_hash = db.scalar(select(users.c.password_hash).where(users.c.id == ids[user]))
        return tokens.create(
            db,
            (ids[user], user),
            int(seconds * 1000),
            endpoints=endpoints or None,
            description=description,
            created_by=str(actor(session.settings.directory, session.environ)),
            password_hash=password_hash,
        )


def read_tokens(session: Session) -> tuple[Token, ...]:
    """Every token in the auth database."""
    _require_auth_store(session)
    with session.connections.reading() as (ledger, _):
        assert ledger.auth is not None, "it was just asked for"
        with sql.reading(ledger.auth) as db:
            return tuple(tokens.read(db))


def revoke_tokens(session: Session, ids: Sequence[str]) -> None:
    """Revoke these tokens, all or none. LacError if an ID is unknown."""
    known = {token.token_id for token in read_tokens(session)}
    refuse(
        Diagnostic(
            "no-such-token",
            "there is no token with this ID",
            f"The auth database has no token `{token_id}`.",
            hint="run `lac token list --all` to list the tokens",
        )
        for token_id in ids
        if token_id not in known
    )
    with _writing(session) as db:
        tokens.revoke(db, ids)


@contextmanager
def _writing(session: Session) -> Iterator[Connection]:
    """One transaction on the auth database, with our tables."""
    _require_auth_store(session)
    # checks that it is MLflow's, and a version that lac supports
    with session.connections.reading() as (ledger, _):
        auth = ledger.auth
    assert auth is not None, "it was just asked for"
    with sql.writing(auth) as db:
        state.install(db)
        yield db


def _require_auth_store(session: Session) -> None:
    if session.settings.auth_store is None:
        raise LacError(
            Diagnostic(
                "no-store",
                "the stack has no store for this object",
                "Tokens need `auth_store:`, which lac.yaml doesn't set.",
                hint="add `auth_store: sqlite:///basic_auth.db` to lac.yaml",
            )
        )


def _endpoint_error(name: str) -> Diagnostic:
    return Diagnostic(
        "invalid-endpoint",
        "no endpoint can have this name",
        f"`{name}`: letters, digits, `-` and `_`, at most 63, beginning with a letter or digit.",
        hint="give the endpoint's name, not its address",
    )
