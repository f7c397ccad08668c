"""How our tables keep a spec: as JSON, which older and newer versions of its class can read."""

from __future__ import annotations

import json
from typing import Final

from ...model.spec import P, Part, construct, plain

_ENCODER: Final = json.JSONEncoder(sort_keys=True)


def as_text(spec: Part | None) -> str | None:
    """The column's text; None, its NULL, where there is nothing."""
    return None if spec is None else _ENCODER.encode(plain(spec))


def from_text(kind: type[P], text: str | None) -> P | None:
    """The spec in a column, taken as it is."""
    return construct(kind, json.loads(text)) if text else None
