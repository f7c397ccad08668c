"""Characters that nobody sees, and what a text looks like to who reads it. Pure."""

from __future__ import annotations

import re
from typing import Final

HIDDEN: Final = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U0001d159\U000e0100-\U000e01ef]"
)
"""Printable to Unicode, and yet nothing is seen: joiners, fillers, blanks, variation selectors."""

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
