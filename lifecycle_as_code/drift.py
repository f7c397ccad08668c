"""What changed outside since we last applied. Pure; never looks at the manifests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from .change import Action, Change, Plan
from .diagnostics import Diagnostic
from .diff import diff, owned
from .plan import in_scope
from .snapshot import Claim, Desired, Live, Record, Recorded
from .spec import Address

OUTSIDE = frozenset({"changed outside", "deleted outside", "granted outside", "interrupted apply"})
"""Reasons that come from the world, not from the manifests."""


@dataclass(frozen=True, slots=True)
class Drift:
    """`outside`: as the changes that would put it back. `pending`: what the manifests would change
    besides; None where no plan can be made, and `problems` says why."""

    outside: Plan
    pending: Plan | None
    problems: tuple[Diagnostic, ...] = ()

    @property
    def found(self) -> bool:
        """Whether anything changed outside."""
        return bool(self.outside.changes)


def make_drift(
    recorded: Recorded, live: Live, scopes: Mapping[Address, Claim], *, stack: str, environment: str
) -> Plan:
    """Records against live: changed, deleted and granted outside, and applies that never ended."""
    desired = Desired(scopes=scopes)
    changes = [
        *(change for record in recorded.ours.values() if (change := _drifted(record, live))),
        *(
            Change(
                a, live.objects[a].spec.store, Action.DELETE, "granted outside", live.objects[a].spec, None
            )
            for a in in_scope(desired, recorded, live)
        ),
    ]
    ordered = sorted(changes, key=lambda change: str(change.address))
    return Plan(stack, environment, tuple(ordered), (), live.diagnostics)


def _drifted(record: Record, live: Live) -> Change | None:
    address, found = record.address, live.present(record.address)
    if record.pending is not None:
        reason, spec = "interrupted apply", record.spec
        before = found.spec if found is not None else None
        fields = diff(before, spec) if before is not None and spec is not None else ()
        return Change(address, record.store, Action.UPDATE, reason, before, spec, fields)
    assert record.spec is not None
    if found is None:
        return Change(address, record.store, Action.CREATE, "deleted outside", None, record.spec)
    before = owned(found.spec, record.spec)
    if not (fields := diff(before, record.spec)):
        return None
    return Change(address, record.store, Action.UPDATE, "changed outside", before, record.spec, fields)


def pending_only(plan: Plan) -> Plan:
    """The part of a plan that the manifests ask for."""
    asked = [c for c in plan.differences if c.reason not in OUTSIDE]
    return replace(plan, changes=tuple(asked))
