"""Bearer tokens in the auth database, `lac_tokens`. Endpoints read them, and write when they were used."""

from __future__ import annotations

import json
import secrets
from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from ...model.token import NewToken, Token, TokenState
from ...serving.tokens import hash_token, make_token, mark_user
from ..sql.clock import clock_ms
from .tables import schema_version, tokens

_NO_SECRET = tuple(column for column in tokens.c if column.name not in ("token_hash", "user_mark"))


def create(
    db: Connection,
    user: tuple[int, str],
    lifetime_ms: int,
    *,
    endpoints: Sequence[str] | None,
    description: str,
    created_by: str,
    password_hash: str | None = None,
) -> NewToken:
    """Add a token for the user with this id and name. `password_hash`: MLflow's, on SQLite alone, where a
    deleted user's id may come back; there a token ends with a change of the password, too."""
    value = make_token()
    now = clock_ms(db)
    row = {
        "token_id": secrets.token_hex(6),
        "token_hash": hash_token(value),
        "user_id": user[0],
        "username": user[1],
        "user_mark": mark_user(password_hash) if db.dialect.name == "sqlite" else None,
        "endpoints": None if endpoints is None else json.dumps(sorted({*endpoints})),
        "description": description,
        "created_by": created_by[:256],
        "created_ms": now,
        "expires_ms": now + lifetime_ms,
    }
    db.execute(insert(tokens).values(row))
    made = db.execute(select(*_NO_SECRET).where(tokens.c.token_id == row["token_id"])).one()
    return NewToken(_token(made, now), value)


def read(db: Connection) -> list[Token]:
    """Every token, the first one first. Empty where no lac of this version has written yet."""
    if schema_version(db) < 3:
        return []
    now = clock_ms(db)
    rows = db.execute(select(*_NO_SECRET).order_by(tokens.c.created_ms, tokens.c.token_id))
    return [_token(row, now) for row in rows]


def revoke(db: Connection, ids: Collection[str]) -> None:
    """Revoke these tokens; one that was revoked before keeps its time."""
    ours = tokens.c.token_id.in_(ids) & tokens.c.revoked_ms.is_(None)
    db.execute(update(tokens).where(ours).values(revoked_ms=clock_ms(db)))


def _token(row: Row[Any], now: int) -> Token:
    state: TokenState = "active"
    if row.revoked_ms is not None:
        state = "revoked"
    elif row.expires_ms <= now:
        state = "expired"
    return Token(
        row.token_id,
        row.username,
        None if row.endpoints is None else tuple(json.loads(row.endpoints)),
        row.description,
        row.created_by,
        row.created_ms,
        row.expires_ms,
        row.revoked_ms,
        row.last_used_ms,
        state,
    )
