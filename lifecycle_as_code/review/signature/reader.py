"""A model's signature from MLmodel's JSON. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, Final

from ...model.signature import Signature
from .columns import NOT_FINITE, MalformedError, read_columns, read_parameters

MAX_DEPTH: Final = 128
"""How many levels a part may have, unread ones too: a saved plan holds the part, and has more levels."""


def parse_signature(data: Mapping[str, Any]) -> Signature:
    """MLmodel's `signature`, whose parts are JSON texts. MalformedError where MLflow can't read it either."""
    signature = Signature(*(_part(data, name) for name in ("inputs", "outputs", "params")))
    _check(signature)
    return signature


def _part(data: Mapping[str, Any], name: str) -> tuple[Mapping[str, Any], ...] | None:
    text = data.get(name)
    if text is None or text == "":
        return None
    if not isinstance(text, str):
        raise MalformedError(f"its {name} aren't text")
    try:
        items = json.loads(text, object_pairs_hook=_once, parse_constant=_number, parse_float=_number)
    except MalformedError:
        raise
    except RecursionError:
        raise MalformedError(f"its {name} are nested too deeply") from None
    except ValueError:
        # not the parser's own words: they can repeat the text
        raise MalformedError(f"its {name} aren't valid JSON") from None
    if not isinstance(items, list):
        raise MalformedError(f"its {name} aren't a list")
    if _is_deep(items, MAX_DEPTH):
        raise MalformedError(f"its {name} are nested too deeply")
    return tuple(items)


def _is_deep(item: Any, limit: int) -> bool:
    inner = item.values() if isinstance(item, dict) else item if isinstance(item, list) else ()
    return not limit or any(_is_deep(part, limit - 1) for part in inner)


def _number(text: str) -> float | dict[str, str]:
    """A number; one that JSON has no word for as a mapping, because a saved plan holds the part."""
    value = float(text)
    return value if math.isfinite(value) else {NOT_FINITE: str(value)}


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(mapping := dict(pairs)) < len(pairs):
        raise MalformedError("it has a duplicate key")
    return mapping


def _check(signature: Signature) -> None:
    for name, read in (("inputs", read_columns), ("outputs", read_columns), ("params", read_parameters)):
        part = getattr(signature, name)
        try:
            if part is not None:
                read(part)
        except MalformedError as error:
            raise MalformedError(f"its {name} can't be read: {error}") from None
