"""Edit manifests in place: replace a value, add or remove an entry; the rest stays byte for byte.

`patch` lists the changes, `index` finds the places of objects and fields, `document` edits one text through
`splices`, and `verify` reads the result back before the caller gets it. An edit that isn't safe is an error,
whose hint is the manual edit.
"""

from .index import places_of
from .patch import rewrite

__all__ = ["places_of", "rewrite"]
