"""Plans, changes and diagnostics as plain data that `json` can write: for files and for programs. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from ..model.diagnostics import Diagnostic, Source, in_file_order
from ..model.plan import Action, Change, Plan
from ..model.spec import Address, Part, plain


def plan_data(plan: Plan) -> dict[str, Any]:
    """A plan as plain data."""
    counts = {str(action): sum(c.action is action for c in plan.changes) for action in Action}
    return {
        "stack": plan.stack,
        "environment": plan.environment,
        "mode": plan.mode,
        "changes": [change_data(change) for change in plan.changes],
        "steps": [
            {"phase": step.phase, "store": step.store, "changes": [str(c.address) for c in step.changes]}
            for step in plan.steps
        ],
        "diagnostics": [diagnostic_data(d) for d in in_file_order(dict.fromkeys(plan.diagnostics))],
        "guards": [{"guard": allowed.guard, "detail": allowed.detail} for allowed in plan.allowed],
        "review": plan.review,
        "summary": {**counts, "difference": bool(plan.differences)},
    }


def change_data(change: Change) -> dict[str, Any]:
    """One change as plain data."""
    return {
        "address": str(change.address),
        "kind": change.address.kind,
        "action": change.action,
        "reason": change.reason,
        "before": change.before,
        "after": change.after,
        "fields": [{"path": list(f.path), "before": f.before, "after": f.after} for f in change.fields],
        "waits_for": sorted(map(str, change.waits_for)),
        "moved_from": None if change.moved_from is None else str(change.moved_from),
        "protected": change.protected,
        "at": place_data(change.at),
    }


def diagnostic_data(problem: Diagnostic) -> dict[str, Any]:
    """One problem as plain data."""
    return {
        "severity": problem.severity,
        "code": problem.code,
        "summary": problem.summary,
        "detail": problem.detail,
        "hint": problem.hint,
        "guard": problem.guard,
        "at": place_data(problem.at),
    }


def place_data(at: Source | None) -> dict[str, Any] | None:
    """A place as plain data."""
    return None if at is None else at._asdict()


def as_plain(item: Any) -> Any:
    """What `json` doesn't encode by itself: this package's types and read-only mappings."""
    if isinstance(item, Diagnostic):
        return diagnostic_data(item)
    if isinstance(item, Part):
        return plain(item)
    if isinstance(item, Mapping):
        return dict(item)
    if isinstance(item, set | frozenset):
        return sorted(item, key=str)
    if is_dataclass(item) and not isinstance(item, type):
        return fields_data(item)
    return str(item)


def fields_data(item: Any) -> dict[str, Any]:
    """A dataclass as a mapping; addresses as text and places as mappings, though both are tuples."""
    return {field.name: _encode_value(getattr(item, field.name)) for field in fields(item)}


def _encode_value(item: Any) -> Any:
    if isinstance(item, Address):
        return str(item)
    if isinstance(item, Source):
        return place_data(item)
    if type(item) is tuple:
        return [_encode_value(inner) for inner in item]
    return item
