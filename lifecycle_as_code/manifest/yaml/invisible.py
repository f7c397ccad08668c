"""Invisible characters, and the visible form of a text. Pure."""

from __future__ import annotations

from typing import Final

from ...model.text import HIDDEN

_INVISIBLE: Final = frozenset({"Cc", "Cf", "Cn", "Cs"})
"""Unicode's categories of control and format characters, unassigned ones and surrogates."""


def visible_form(text: str) -> str:
    """The visible form of `text`: without invisible characters, in one spelling of what Unicode treats as the
    same (NFKC). ASCII stays as it is."""
    if text.isascii():
        return text
    # imported here: most names don't need it
    import unicodedata

    visible = (char for char in HIDDEN.sub("", text) if unicodedata.category(char) not in _INVISIBLE)
    return unicodedata.normalize("NFKC", "".join(visible))
