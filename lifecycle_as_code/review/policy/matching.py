"""Which changes a policy is about: its `when` against a change of a plan. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ...model.pattern import matches
from ...model.plan import Change, Plan
from ...model.spec import Spec
from .facts import fields_of

_MISSING: Final = object()


def concerns(when: Mapping[str, Any], change: Change, plan: Plan) -> bool:
    """Whether a policy is about a change: all conditions fit one of its sides. Both count, so that nothing
    gets out of a policy's reach by the very change that it is there to judge."""
    about = {
        "kind": change.address.kind,
        "action": str(change.action),
        "environment": plan.environment,
        "mode": str(plan.mode),
        "address": str(change.address),
    }
    if not all(matches(about[name], wanted) for name, wanted in when.items() if name in about):
        return False
    fields = {name: wanted for name, wanted in when.items() if name not in about}
    sides = [side for side in (change.after, change.before) if side is not None]
    return not fields or any(_fits(side, fields) for side in sides)


def _fits(spec: Spec, fields: Mapping[str, Any]) -> bool:
    held = fields_of(spec)
    return all(_field_fits(_at(held, name), wanted) for name, wanted in fields.items())


def _at(held: Mapping[str, Any], name: str) -> Any:
    """A field, or a key of a mapping: `tags.team`, whatever dots the key has."""
    field, dot, key = name.partition(".")
    value = held.get(field, _MISSING)
    if not dot:
        return value
    return value.get(key, _MISSING) if isinstance(value, Mapping) else _MISSING


def _field_fits(value: Any, wanted: Any) -> bool:
    if value is _MISSING:
        return False
    if isinstance(value, list):
        return any(_field_fits(item, wanted) for item in value)
    each = wanted if isinstance(wanted, list | tuple) else [wanted]
    return any(one is None if value is None else matches(_text(value), _text(one)) for one in each)


def _text(value: Any) -> str:
    return ("true" if value else "false") if isinstance(value, bool) else str(value)
