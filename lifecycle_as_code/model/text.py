"""Texts for people: shorten them, and encode invisible characters. Pure, for every layer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final
from urllib.parse import quote, unquote


def shorten(text: str, limit: int) -> str:
    """At most `limit` characters of a text; a shortened one ends in `…`."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def take_first(items: Sequence[str], limit: int) -> list[str]:
    """The first `limit` items, and the number of the others as one more item: `and 1,234 more`."""
    left = len(items) - limit
    return [*items[:limit], *([f"and {left:,} more"] if left > 0 else [])]


def join_first(names: Sequence[str], limit: int = 3) -> str:
    """`a, b, c and 2 more`."""
    left = len(names) - limit
    return ", ".join(names[:limit]) + (f" and {left:,} more" if left > 0 else "")


# --- invisible characters

HIDDEN: Final = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U0001d159\U000e0100-\U000e01ef]"
)
"""Printable to Unicode, and yet invisible: joiners, fillers, blanks, variation selectors."""

_IDEOGRAPHIC_SPACE: Final = "\u3000"
"""Visible by its width, and common in Japanese and Chinese texts."""

_MORE: Final = "%[89AB][0-9A-F]"
_CHARACTER: Final = f"[0-7][0-9A-F]|[CD][0-9A-F]{_MORE}|E[0-9A-F]{_MORE}{_MORE}|F[0-7]{_MORE}{_MORE}{_MORE}"
_ENCODED: Final = re.compile(f"%((?:25)*)({_CHARACTER})")
"""A percent-encoded character in UTF-8, as `encode` writes it: `%0A`; a literal one has `25`s before it."""


def is_visible(char: str) -> bool:
    """Whether a character is visible: it has width, and neither moves the cursor nor reverses the text."""
    return (char.isprintable() or char == _IDEOGRAPHIC_SPACE) and not HIDDEN.match(char)


def encode(text: str) -> str:
    """`text` with every invisible character percent-encoded; all others stay, `%` too."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        char if is_visible(char) else quote(char, safe="", errors="surrogatepass") for char in text
    )


def encode_alone(text: str) -> str:
    """Encode like `encode`, but reversibly by `decode_alone`, for texts in which `%` has no meaning of its
    own: a literal `%0A` becomes `%250A`; `100%` and `a%20b` stay."""
    return encode(_ENCODED.sub(_mark_literal, text) if "%" in text else text)


def decode_alone(text: str) -> str:
    """The original of what `encode_alone` returned."""
    return _ENCODED.sub(_read, text) if "%" in text else text


def _mark_literal(match: re.Match[str]) -> str:
    return match[0] if _plain(match) else f"%25{match[1]}{match[2]}"


def _read(match: re.Match[str]) -> str:
    if _plain(match):
        return match[0]
    return f"%{match[1][2:]}{match[2]}" if match[1] else _character(match)


def _plain(match: re.Match[str]) -> bool:
    """Whether it encodes a character that `encode` leaves alone."""
    char = _character(match)
    return len(char) != 1 or is_visible(char)


def _character(match: re.Match[str]) -> str:
    try:
        return unquote(f"%{match[2]}", errors="surrogatepass")
    except UnicodeDecodeError:
        return ""
