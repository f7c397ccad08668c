"""Bearer tokens on a terminal. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...model.token import Token, TokenState
from ..text import PLAIN, Paint, Style, format_time, pad, safe

_STYLES: Mapping[TokenState, Style] = {"active": "green", "expired": "yellow", "revoked": "red"}


def tokens(items: Sequence[Token], paint: Paint = PLAIN) -> str:
    """Each token on two lines: its id, state and user with the endpoints; its times and its description."""
    users = max((len(safe(token.username)) for token in items), default=0)
    lines = []
    for token in items:
        state = paint(token.state, _STYLES[token.state]) + " " * (7 - len(token.state))
        user = pad(safe(token.username), users)
        lines.append(f"{paint(token.token_id, 'cyan')}  {state}  {paint(user, 'strong')}  {endpoints(token)}")
        lines.append(f"    {'; '.join(_facts(token))}")
    return "\n".join(lines)


def endpoints(token: Token) -> str:
    """The endpoints that a token is for, in words."""
    return "every endpoint" if token.endpoints is None else safe(", ".join(token.endpoints))


def _facts(token: Token) -> list[str]:
    used = "never used" if token.last_used_ms is None else f"last used {format_time(token.last_used_ms)}"
    end = f"expires {format_time(token.expires_ms)}"
    if token.revoked_ms is not None:
        end = f"revoked {format_time(token.revoked_ms)}"
    elif token.state == "expired":
        end = f"expired {format_time(token.expires_ms)}"
    created = f"created {format_time(token.created_ms)} by {safe(token.created_by)}"
    return [created, end, used, *filter(None, [safe(token.description)])]
