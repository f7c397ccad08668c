"""Bearer tokens for endpoints, without their values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

TokenState = Literal["active", "expired", "revoked"]


@dataclass(frozen=True, slots=True)
class Token:
    """A token as it is stored. `endpoints` None: every endpoint that the user may use. `created_by`: the
    actor. Times in ms since 1970 by the auth database's clock; None for what never happened."""

    token_id: str
    username: str
    endpoints: tuple[str, ...] | None
    description: str
    created_by: str
    created_ms: int
    expires_ms: int
    revoked_ms: int | None
    last_used_ms: int | None
    state: TokenState


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token that was just made, and its value, which is stored nowhere and in no repr."""

    token: Token
    value: str = field(repr=False)
