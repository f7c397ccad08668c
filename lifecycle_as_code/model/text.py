"""Texts for people: shortened, and without characters that nobody sees. Pure, and for every layer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final
from urllib.parse import quote, unquote


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


# --- characters that show, and percent-encoding for those that don't

HIDDEN: Final = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U0001d159\U000e0100-\U000e01ef]"
)
"""Printable to Unicode, and yet nothing is seen: joiners, fillers, blanks, variation selectors."""

_IDEOGRAPHIC_SPACE: Final = "\u3000"
"""As wide as it looks, and common in Japanese and Chinese texts."""

_MORE: Final = "%[89AB][0-9A-F]"
_CHARACTER: Final = f"[0-7][0-9A-F]|[CD][0-9A-F]{_MORE}|E[0-9A-F]{_MORE}{_MORE}|F[0-7]{_MORE}{_MORE}{_MORE}"
_ENCODED: Final = re.compile(f"%((?:25)*)({_CHARACTER})")
"""A percent-encoded character in UTF-8, as we write it: `%0A`; after `25`s where it is literal."""


def shows(char: str) -> bool:
    """Whether a person sees this character where it stands: it moves no cursor, turns nothing, has width."""
    return (char.isprintable() or char == _IDEOGRAPHIC_SPACE) and not HIDDEN.match(char)


def encode(text: str) -> str:
    """`text` with every character that doesn't show percent-encoded; all others stay, `%` too."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(char if shows(char) else quote(char, safe="", errors="surrogatepass") for char in text)


def encode_alone(text: str) -> str:
    """The same in a way that `decode_alone` undoes, for texts whose `%` has no meaning of its own: what looks
    like our encoding and isn't, such as a literal `%0A`, becomes `%250A`. `100%` and `a%20b` stay."""
    return encode(_ENCODED.sub(_mark_literal, text) if "%" in text else text)


def decode_alone(text: str) -> str:
    """What `encode_alone` was given."""
    return _ENCODED.sub(_read, text) if "%" in text else text


def _mark_literal(found: re.Match[str]) -> str:
    return found[0] if _plain(found) else f"%25{found[1]}{found[2]}"


def _read(found: re.Match[str]) -> str:
    if _plain(found):
        return found[0]
    return f"%{found[1][2:]}{found[2]}" if found[1] else _character(found)


def _plain(found: re.Match[str]) -> bool:
    """Whether it encodes something that we wouldn't encode."""
    char = _character(found)
    return len(char) != 1 or shows(char)


def _character(found: re.Match[str]) -> str:
    try:
        return unquote(f"%{found[2]}", errors="surrogatepass")
    except UnicodeDecodeError:
        return ""
