"""Characters that nobody sees, and what a text looks like to who reads it. Pure."""

from __future__ import annotations

from typing import Final

from ...model.text import HIDDEN

_UNSEEN: Final = frozenset({"Cc", "Cf", "Cn", "Cs"})
"""Unicode's categories of controls (of direction too), of characters without width, and of no characters."""


def looks(text: str) -> str:
    """What is seen of `text`: nothing that is hidden, and one spelling of what Unicode calls the same
    (NFKC), be it `é` in one piece or in two. ASCII looks like itself."""
    if text.isascii():
        return text
    # imported here: most names don't need it
    import unicodedata

    seen = (char for char in HIDDEN.sub("", text) if unicodedata.category(char) not in _UNSEEN)
    return unicodedata.normalize("NFKC", "".join(seen))
