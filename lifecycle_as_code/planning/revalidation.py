"""Plan a saved plan again from the present state of the stores, and compare the two. Pure. A forged file must
still follow from that; only the signature proves that the manifests called for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from ..model.diagnostics import Diagnostic, LacError
from ..model.plan import Action, Change, Limits, Mode, Plan
from ..model.snapshot import Desired, Lifecycle, Live, Move, Recorded
from ..model.spec import Address, plain
from .decision import IMPORTED
from .guards import Check
from .planner import PlanOptions, make_plan, make_refresh


def reconstruct_desired(plan: Plan) -> Desired:
    """The desired state of the plan's objects, reconstructed from the plan."""
    entries = {c.address: c for c in plan.changes if c.action not in (Action.DELETE, Action.FORGET)}
    return Desired(
        objects={address: c.after for address, c in entries.items() if c.after is not None},
        lifecycles={address: Lifecycle(c.protected) for address, c in entries.items()},
        moves=tuple(Move(before, after) for before, after in plan.moves),
        removals={c.address: None for c in plan.changes if c.action is Action.FORGET},
        imports={address: None for address, c in entries.items() if c.reason == IMPORTED},
    )


def revalidate(
    plan: Plan,
    desired: Desired,
    recorded: Recorded,
    live: Live,
    *,
    checks: Sequence[Check],
    limits: Limits,
    origins: Mapping[Address, Address] = MappingProxyType({}),
    principal: str = "",
) -> Plan:
    """The saved plan, if planning again gives the same changes. LacError if not. `desired` is resolved anew;
    `origins`: the present addresses of renamed objects. Every object is known to equal its `before`."""
    if plan.mode is Mode.REFRESH_ONLY:
        again = make_refresh(recorded, live, stack=plan.stack, environment=plan.environment)
        addresses = {change.address for change in plan.changes}
        again = replace(again, changes=tuple(c for c in again.changes if c.address in addresses))
    else:
        options = PlanOptions(
            mode=plan.mode,
            allow=frozenset(allowed.guard for allowed in plan.allowed),
            limits=limits,
            principal=principal,
            only=frozenset(change.address for change in plan.changes),
        )
        again = make_plan(
            desired,
            recorded,
            live,
            stack=plan.stack,
            environment=plan.environment,
            checks=checks,
            options=options,
            origins=origins,
        )
    odd = _list_mismatches(plan, again, recorded)
    if plan.mode is Mode.DESTROY and desired.objects:
        odd.append("the plan destroys everything, yet it contains desired objects")
    if [c.address for c in again.changes] != [c.address for c in plan.changes] and not odd:
        odd = ["the changes have another order"]
    if odd:
        raise LacError(
            Diagnostic(
                "plan-mismatch",
                "the saved plan no longer matches the current state",
                "\n".join(odd),
                hint="nothing was written; run `lac plan` again and review the new plan",
            )
        )
    # the saved plan keeps its own reasons for history: they can't be recomputed
    return plan


def _list_mismatches(plan: Plan, again: Plan, recorded: Recorded) -> list[str]:
    """One line for each object on which the two plans differ."""
    mine = {change.address: change for change in again.changes}
    lines = [
        f"{change.address}: {change.action} in the file, {_action(mine.get(change.address))} now"
        if _action(mine.get(change.address)) != change.action
        else f"{change.address}: differs between the file and now"
        for change in plan.changes
        if _essence(change) != _essence(mine.get(change.address)) or _is_stray(change, plan, recorded)
    ]
    planned = {change.address for change in plan.changes}
    return lines + [
        f"{address}: not in the file, {c.action} now" for address, c in mine.items() if address not in planned
    ]


def _is_stray(change: Change, plan: Plan, recorded: Recorded) -> bool:
    """Whether it deletes an object without a record, other than our resources' grants and cascades."""
    if change.action is not Action.DELETE or change.address in recorded.ours or change.before is None:
        return False
    scope = change.before.scope()
    ours = scope is not None and (scope in recorded.ours or any(c.address == scope for c in plan.changes))
    deletions = {c.address for c in plan.changes if c.action is Action.DELETE}
    goes_along = change.before.goes_with() in deletions or any(
        ref in deletions for ref in change.before.refs()
    )
    return not (ours or goes_along)


def _action(change: Change | None) -> str:
    return "nothing" if change is None else str(change.action)


def _essence(change: Change | None) -> object:
    if change is None:
        return None
    sides = [None if side is None else plain(side) for side in (change.before, change.after)]
    return change.action, sides, change.waits_for, change.moved_from, change.protected
