"""Manifests changed in place, byte for byte: a value is replaced, an entry comes or goes, all else stays.

`patch` says what is to change, `index` finds where objects and fields are written, `document` edits one text
through `splices`, and `verify` reads the result back before anybody gets it. What can't be edited safely is
refused, with what to write by hand.
"""

from .index import places_of
from .patch import rewrite

__all__ = ["places_of", "rewrite"]
