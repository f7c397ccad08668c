"""Why an object is changed, or isn't: which line, which record, which live value. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from ..model.diagnostics import Source
from ..model.diff import FieldChange, Path, diff, leaves, owned
from ..model.history import Apply, Line, of_address
from ..model.plan import Action, Change
from ..model.review import Choice
from ..model.snapshot import Observed, Record
from ..model.spec import Address, Spec


@dataclass(frozen=True, slots=True)
class Field:
    """One field from every side; None where that side doesn't say it. `at`: where the manifest does.

    `differs`: whether the plan changes it.
    """

    name: str
    declared: Any
    recorded: Any
    live: Any
    at: Source | None = None
    differs: bool = False


@dataclass(frozen=True, slots=True)
class Explanation:
    """`change`: what the plan does with the object; None for nothing. `why`: a sentence or two.

    `fields`: what the plan changes, or all that is declared where it changes nothing. `last`: what our
    history says of it last, with the apply. `choices`: what its version selectors mean now.
    """

    address: Address
    change: Change | None
    why: str
    fields: tuple[Field, ...] = ()
    at: Source | None = None
    last: tuple[Apply, Line] | None = None
    live: bool = False
    choices: tuple[Choice, ...] = ()


_WHY: Mapping[str, str] = MappingProxyType(
    {
        "declared": "It is declared, our records don't know it, and it isn't there: so it is made.",
        "deleted outside": "It is declared, and we made it; somebody deleted it since: so it is made again.",
        "interrupted apply": "An apply of ours began with it and never ended: so it is finished.",
        "manifest changed": "What is live is what we applied last; the manifest says something else by now.",
        "changed outside": "What is live isn't what we applied last: somebody changed it outside. The"
        " manifest's word counts.",
        "no longer declared": "We made it, and no manifest declares it any more: so it is deleted.",
        "granted outside": "Its resource's permissions are claimed whole, and nobody declared this one.",
        "already so": "What is live is what the manifest says already; only our record catches up.",
        "already gone": "It is neither declared nor there; only our record goes.",
        "imported": "An `import:` block takes it over.",
    }
)
"""A sentence for each reason of a change; `decide.py` has the table."""


def explained(
    address: Address,
    desired: Spec | None,
    recorded: Record | None,
    live: Observed | None,
    change: Change | None,
    applies: Sequence[Apply],
    *,
    at: Source | None = None,
    places: Mapping[Path, Source] = MappingProxyType({}),
    owner: str = "",
    ignored: Sequence[str] = (),
    choices: Sequence[Choice] = (),
) -> Explanation:
    """All that is to be said. `desired`: as it is planned. `owner`: the other stack that it belongs to.
    `ignored`: its `ignore_changes`."""
    exists = live is not None and not live.tombstone
    before = owned(live.spec, desired or live.spec, recorded.spec if recorded else None) if live else None
    lines = of_address(applies, address)
    return Explanation(
        address,
        change,
        _why(desired, recorded, before if exists else None, change, owner, ignored),
        tuple(
            _fields(desired, recorded.spec if recorded else None, before if exists else None, change, places)
        ),
        at,
        lines[0] if lines else None,
        exists,
        tuple(choice for choice in choices if choice.address == address),
    )


def paths(change: Change | None, desired: Spec | None) -> tuple[Path, ...]:
    """The fields that an explanation is about."""
    if change is not None and change.action in (Action.UPDATE, Action.MOVE) and change.fields:
        return tuple(field.path for field in change.fields)
    side = desired or (change.side if change else None)
    return tuple(field.path for field in leaves(side)) if side is not None else ()


def _fields(
    desired: Spec | None,
    recorded: Spec | None,
    live: Spec | None,
    change: Change | None,
    places: Mapping[Path, Source],
) -> list[Field]:
    declared_values, recorded_values, live_values = (_by_path(side) for side in (desired, recorded, live))
    every = paths(change, desired or recorded or live)
    changed_paths = {field.path for field in change.fields} if change else set()
    return [
        Field(
            FieldChange(path, None, None).name,
            declared_values.get(path),
            recorded_values.get(path),
            live_values.get(path),
            places.get(path),
            path in changed_paths or (change is not None and change.action in (Action.CREATE, Action.DELETE)),
        )
        for path in every
    ]


def _by_path(side: Spec | None) -> dict[Path, Any]:
    return {leaf.path: leaf.after for leaf in leaves(side)} if side is not None else {}


def _why(
    desired: Spec | None,
    recorded: Record | None,
    live: Spec | None,
    change: Change | None,
    owner: str,
    ignored: Sequence[str],
) -> str:
    if change is not None:
        if change.reason.startswith("follows "):
            return f"The manifest says what it said; it {change.reason}, and that alias moves."
        if change.reason.startswith("selected by "):
            return "What is live is what we applied last; the manifest selects another version by now."
        return _WHY.get(change.reason, f"{change.reason[:1].upper()}{change.reason[1:]}.")
    match desired is not None, recorded is not None, live is not None:
        case True, True, True if ignored and desired and live and diff(live, desired):
            return "Nothing is planned: the manifest's `ignore_changes` leaves what differs as it is."
        case True, True, True:
            return "Nothing is planned: declared, recorded and live agree."
        case False, False, True if owner:
            return f"Nothing is planned: it belongs to stack {owner}."
        case False, False, True:
            return "Nothing is planned: it is there, and neither declared nor ours, so it is never touched."
        case False, False, False:
            return "It is nowhere: not declared, not recorded, not live."
    return "Nothing is planned for it."
