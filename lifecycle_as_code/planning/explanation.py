"""Why a plan changes an object or leaves it alone: its line, its record, its live value. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from ..model.diagnostics import Source
from ..model.diff import FieldChange, Path, diff, list_leaves, restrict_to_owned
from ..model.history import Apply, Line, find_lines
from ..model.plan import Action, Change
from ..model.review import Choice
from ..model.snapshot import Observed, Record
from ..model.spec import Address, Spec


@dataclass(frozen=True, slots=True)
class Field:
    """One field on every side; None if a side doesn't have it. `differs`: whether the plan changes it."""

    name: str
    declared: Any
    recorded: Any
    live: Any
    at: Source | None = None
    differs: bool = False


@dataclass(frozen=True, slots=True)
class Explanation:
    """`why`: a sentence or two. `fields`: those that the plan changes; without a change, all that are
    declared. `last`: the last line of history about the object. `live`: whether the object exists."""

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
        "declared": "It is declared, not recorded and not live, so it is created.",
        "deleted outside": "It is declared, but it was deleted outside lac, so it is created again.",
        "interrupted apply": "An apply was interrupted while changing it, so the change is completed.",
        "manifest changed": "Live state matches the last apply; the manifest has changed since.",
        "changed outside": "Live state differs from the last apply: it was changed outside lac. The plan"
        " reverts it to the manifest.",
        "no longer declared": "lac created it, and no manifest declares it any more, so it is deleted.",
        "granted outside": "The manifest lists all permissions of its resource, but not this one.",
        "already so": "Live state already matches the manifest; only lac's record is updated.",
        "already gone": "It is neither declared nor live; only lac's record is removed.",
        "imported": "An `import:` block takes it over.",
    }
)
"""A sentence for each reason of a change; `decision` has the table."""


def explain_change(
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
    """Explain one object. `desired`: resolved. `owner`: another stack. `ignored`: its `ignore_changes`."""
    record = recorded.spec if recorded else None
    exists = live is not None and not live.tombstone
    before = restrict_to_owned(live.spec, desired or live.spec, record) if live and exists else None
    lines = find_lines(applies, address)
    return Explanation(
        address,
        change,
        _why(desired, recorded, before, change, owner, ignored),
        tuple(_fields(desired, record, before, change, places)),
        at,
        lines[0] if lines else None,
        exists,
        tuple(choice for choice in choices if choice.address == address),
    )


def paths(change: Change | None, desired: Spec | None) -> tuple[Path, ...]:
    """The paths of the fields that an explanation shows."""
    if change is not None and change.action in (Action.UPDATE, Action.MOVE) and change.fields:
        return tuple(field.path for field in change.fields)
    side = desired or (change.side if change else None)
    return tuple(field.path for field in list_leaves(side)) if side is not None else ()


def _fields(
    desired: Spec | None,
    recorded: Spec | None,
    live: Spec | None,
    change: Change | None,
    places: Mapping[Path, Source],
) -> list[Field]:
    declared, applied, now = (
        {leaf.path: leaf.after for leaf in list_leaves(side)} if side is not None else {}
        for side in (desired, recorded, live)
    )
    every = paths(change, desired or recorded or live)
    changed_paths = {field.path for field in change.fields} if change else set()
    is_whole = change is not None and change.action in (Action.CREATE, Action.DELETE)
    return [
        Field(
            FieldChange(path, None, None).name,
            declared.get(path),
            applied.get(path),
            now.get(path),
            places.get(path),
            is_whole or path in changed_paths,
        )
        for path in every
    ]


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
            return f"The manifest is unchanged; it {change.reason}, and that alias changes."
        if change.reason.startswith("selected by "):
            return "Live state matches the last apply; the manifest's selector now chooses another version."
        return _WHY.get(change.reason, f"{change.reason[:1].upper()}{change.reason[1:]}.")
    match desired is not None, recorded is not None, live is not None:
        case True, True, True if ignored and desired and live and diff(live, desired):
            return "Nothing is planned: the manifest's `ignore_changes` covers all differences."
        case True, True, True:
            return "Nothing is planned: desired, recorded and live state are equal."
        case False, False, True if owner:
            return f"Nothing is planned: stack {owner} owns it."
        case False, False, True:
            return (
                "Nothing is planned: it is live, but neither declared nor recorded, so lac leaves it alone."
            )
        case False, False, False:
            return "It doesn't exist: not declared, not recorded, not live."
    return "Nothing is planned for it."
