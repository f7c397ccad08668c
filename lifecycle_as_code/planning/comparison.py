"""Compare two states of a stack: of environments, of times, of a saved plan, live. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from ..model.diff import diff
from ..model.plan import Action, Change
from ..model.spec import Address, Spec

States = Mapping[Address, Spec | None]
"""Objects by address; None for an object that is known to be absent."""


What = Literal["manifests", "recorded", "live", "at", "apply", "plan", "planned"]

_STATES: Mapping[str, What] = {
    "manifests": "manifests",
    "recorded": "recorded",
    "live": "live",
    "now": "live",
}


@dataclass(frozen=True, slots=True)
class Side:
    """One side of `lac diff A B`. `manifests`, `recorded`, `live`: of an environment (empty: the command's
    own). `at`, `apply`: recorded at a time, or after an apply. `plan`, `planned`: what a saved plan started
    from, or leads to. `name`: the environment, the apply's ID or the file."""

    what: What
    name: str = ""
    at_ms: int = 0

    def live(self) -> Side:
        """The live state of the same environment."""
        return Side("live", self.name if self.what in _STATES.values() else "")

    def __str__(self) -> str:
        match self.what:
            case "at":
                return datetime.fromtimestamp(self.at_ms / 1000, UTC).isoformat(timespec="seconds")
            case "apply":
                return f"after apply {self.name}"
            case "plan":
                return f"before plan {self.name}"
            case "planned":
                return f"after plan {self.name}"
        return f"{self.what} of {self.name}" if self.name else self.what


def parse_side(text: str, environments: frozenset[str], *, is_file: bool) -> Side:
    """Parse a side from the command line. ValueError if the text names none. A file comes first, then `live`,
    `recorded`, `manifests` (or `live:prod`), an environment, a time, and the ID of an apply."""
    if is_file:
        return Side("plan", text)
    if text.endswith(":after") and text != ":after":
        return Side("planned", text.removesuffix(":after"))
    word, colon, name = text.partition(":")
    if word in _STATES and (name in environments or not colon):
        return Side(_STATES[word], name)
    if text in environments:
        return Side("manifests", text)
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        if re.fullmatch(r"[0-9a-f]{6,8}(-[0-9a-f-]{0,27})?", text):
            return Side("apply", text)
        raise ValueError(f"`{text}` names nothing that can be compared") from None
    return Side("at", at_ms=int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000))


def compare_states(before: States, after: States) -> tuple[Change, ...]:
    """The changes that lead from `before` to `after`, in the order of addresses."""
    return tuple(
        change
        for address in sorted({*before, *after}, key=str)
        if (change := _change(address, before.get(address), after.get(address))) is not None
    )


def _change(address: Address, before: Spec | None, after: Spec | None) -> Change | None:
    match before, after:
        case None, Spec():
            return Change(address, after.store, Action.CREATE, "", after=after)
        case Spec(), None:
            return Change(address, before.store, Action.DELETE, "", before)
        case Spec(), Spec():
            fields = diff(before, after)
            return Change(address, after.store, Action.UPDATE, "", before, after, fields) if fields else None
    return None
