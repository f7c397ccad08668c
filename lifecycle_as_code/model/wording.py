"""Texts for people, kept short: a long word, a long list. Pure, and for every layer."""

from __future__ import annotations

from collections.abc import Sequence


def shorten(text: str, limit: int) -> str:
    """At most `limit` characters; the last one is `…` where something was cut off."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def take_first(items: Sequence[str], limit: int) -> list[str]:
    """The first `limit` items, and as one more item how many are left: `and 1,234 more`."""
    left = len(items) - limit
    return [*items[:limit], *([f"and {left:,} more"] if left > 0 else [])]


def join_first(names: Sequence[str], limit: int = 3) -> str:
    """`a, b, c and 2 more`."""
    left = len(names) - limit
    return ", ".join(names[:limit]) + (f" and {left:,} more" if left > 0 else "")
