"""What changed outside lac since the last apply. Pure; never reads the manifests."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from ..model.diagnostics import Diagnostic
from ..model.diff import FieldChange, carry_fields, diff, is_marked, restrict_to_owned
from ..model.plan import Action, Change, Plan
from ..model.snapshot import HEALTH, Claim, Desired, Lifecycle, Live, Record, Recorded
from ..model.spec import Address, Health
from .decision import MANIFEST, in_scope
from .targeting import matches

DEGRADED = "endpoint degraded"
OUTSIDE = frozenset({"changed outside", "deleted outside", "granted outside", "interrupted apply", DEGRADED})
"""Reasons that come from outside, not from the manifests."""


@dataclass(frozen=True, slots=True)
class Drift:
    """`outside`: the changes that would revert the drift. `pending`: the others that the manifests call for;
    None if planning fails, for `problems`. `updated`: when an object was last written, in ms since 1970."""

    outside: Plan
    pending: Plan | None
    problems: tuple[Diagnostic, ...] = ()
    updated: Mapping[Address, int] = field(default_factory=dict)

    @property
    def exists(self) -> bool:
        """Whether anything changed outside lac."""
        return bool(self.outside.changes)


def make_drift(
    recorded: Recorded,
    live: Live,
    scopes: Mapping[Address, Claim],
    lifecycles: Mapping[Address, Lifecycle] = MappingProxyType({}),
    *,
    ignore: Collection[str] = (),
    stack: str,
    environment: str,
) -> Plan:
    """Compare records with live state: objects changed, deleted or granted outside, degraded endpoints, and
    interrupted applies. `ignore`: addresses or patterns. Fields that a lifecycle ignores are no drift."""
    desired = Desired(scopes=scopes)
    changes = [_compare_record(record, live, lifecycles.get(a)) for a, record in recorded.ours.items()]
    for address in in_scope(desired, recorded, live):
        spec = live.objects[address].spec
        changes.append(Change(address, spec.store, Action.DELETE, "granted outside", spec))
    rest = [change for change in changes if change and not matches(change.address, ignore)]
    ordering = sorted(rest, key=lambda change: str(change.address))
    return Plan(stack, environment, tuple(ordering), (), live.diagnostics)


def _compare_record(record: Record, live: Live, lifecycle: Lifecycle | None) -> Change | None:
    address, observed = record.address, live.present(record.address)
    if record.pending is not None:
        spec, before = record.spec, observed.spec if observed else None
        fields = diff(before, spec) if before and spec else ()
        return Change(address, record.store, Action.UPDATE, "interrupted apply", before, spec, fields)
    assert record.spec is not None
    if observed is None:
        return Change(address, record.store, Action.CREATE, "deleted outside", None, record.spec)
    before = restrict_to_owned(observed.spec, record.spec)
    after = carry_fields(record.spec, before, lifecycle.ignore_changes if lifecycle else ())
    if not (fields := diff(before, after)):
        if (illness := observed.facts.get(HEALTH)) is None:
            return None
        fields = (FieldChange((HEALTH,), illness, None),)
        return Change(address, record.store, Action.UPDATE, DEGRADED, before, after, fields)
    ill = all(is_marked(type(after), field.path, Health) for field in fields)
    reason = DEGRADED if ill else "changed outside"
    return Change(address, record.store, Action.UPDATE, reason, before, after, fields)


def pending_only(
    plan: Plan,
    recorded: Recorded,
    lifecycles: Mapping[Address, Lifecycle] = MappingProxyType({}),
) -> Plan:
    """The part of a plan that the manifests call for, including objects that changed outside as well."""
    changes = []
    for c in plan.differences:
        if c.reason not in OUTSIDE:
            changes.append(c)
        elif _is_pending_too(c, recorded.ours.get(c.address), lifecycles.get(c.address)):
            changes.append(replace(c, reason=MANIFEST))
    return replace(plan, changes=tuple(changes))


def _is_pending_too(change: Change, record: Record | None, lifecycle: Lifecycle | None) -> bool:
    """Whether the manifest changed since it was last applied."""
    if record is None or record.spec is None or change.after is None:
        return False
    applied = record.spec
    if change.before is not None:
        applied = carry_fields(applied, change.before, lifecycle.ignore_changes if lifecycle else ())
    return applied.written() != change.after.written()
