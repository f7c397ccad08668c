"""Which changes a policy applies to: its `when` compared with a change. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...model.pattern import matches
from ...model.plan import Change, Plan
from ...model.spec import Spec
from .facts import MISSING, fields_of, look_up


def concerns(when: Mapping[str, Any], change: Change, plan: Plan) -> bool:
    """Whether a policy applies to a change: all conditions match one of its sides. Both sides count, so that
    a change can't escape the policy that judges it."""
    about = {
        "kind": change.address.kind,
        "action": str(change.action),
        "environment": plan.environment,
        "mode": str(plan.mode),
        "address": str(change.address),
    }
    if not all(matches(about[name], patterns) for name, patterns in when.items() if name in about):
        return False
    fields = {name: patterns for name, patterns in when.items() if name not in about}
    sides = [side for side in (change.after, change.before) if side is not None]
    return not fields or any(_fits(side, fields) for side in sides)


def _fits(spec: Spec, fields: Mapping[str, Any]) -> bool:
    values = fields_of(spec)
    # a field, or a key of a mapping: `tags.team`; the key may hold dots
    return all(_field_fits(look_up(values, name.split(".", 1)), it) for name, it in fields.items())


def _field_fits(value: Any, patterns: Any) -> bool:
    if value is MISSING:
        return False
    if isinstance(value, list):
        return any(_field_fits(item, patterns) for item in value)
    each = patterns if isinstance(patterns, list | tuple) else [patterns]
    return any(one is None if value is None else matches(_text(value), _text(one)) for one in each)


def _text(value: Any) -> str:
    return ("true" if value else "false") if isinstance(value, bool) else str(value)
