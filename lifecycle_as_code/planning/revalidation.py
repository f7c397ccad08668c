"""Plan again what a saved plan says, from the stores as they are now, and hold the two against each other.
Pure.

What can be recomputed is: a file whose parts were altered together, so that they agree, still has to follow
from what is live and recorded. What can't (that the manifests asked for it) is what the signature is for.
"""

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


def wanted_again(plan: Plan) -> Desired:
    """What the manifests must have said for this plan, of the objects that it is about."""
    kept = {c.address: c for c in plan.changes if c.action not in (Action.DELETE, Action.FORGET)}
    return Desired(
        objects={address: c.after for address, c in kept.items() if c.after is not None},
        lifecycles={address: Lifecycle(c.protected) for address, c in kept.items()},
        moves=tuple(Move(before, after) for before, after in plan.moves),
        removals={c.address: None for c in plan.changes if c.action is Action.FORGET},
        imports={address: None for address, c in kept.items() if c.reason == IMPORTED},
    )


def replayed(
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
    """The saved plan, if it is what would be planned now; its warnings are today's.

    `desired` is resolved once more. The snapshots have what the plan renames under its new name; `origins`
    has the one until now. LacError where the plan doesn't follow from them; that an object isn't as the plan
    saw it was found before.
    """
    if plan.mode is Mode.REFRESH_ONLY:
        again = make_refresh(recorded, live, stack=plan.stack, environment=plan.environment)
        asked = {change.address for change in plan.changes}
        again = replace(again, changes=tuple(c for c in again.changes if c.address in asked))
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
    odd = _odd(plan, again, recorded)
    if plan.mode is Mode.DESTROY and desired.objects:
        odd.append("it destroys everything, and yet something is wanted")
    if [c.address for c in again.changes] != [c.address for c in plan.changes] and not odd:
        odd = ["the changes stand in another order"]
    if odd:
        raise LacError(
            Diagnostic(
                "plan-mismatch",
                "the plan doesn't follow from what is there",
                "\n".join(odd),
                hint="nothing was written; run `lac plan` again and review the new plan",
            )
        )
    # its own words, for history: why it was planned is nothing that could be looked up
    return plan


def _odd(plan: Plan, again: Plan, recorded: Recorded) -> list[str]:
    """One line for each object about which the two plans don't say the same."""
    mine = {change.address: change for change in again.changes}
    told = [
        f"{change.address}: {change.action} in the file, {_action(mine.get(change.address))} now"
        if _action(mine.get(change.address)) != change.action
        else f"{change.address}: not the same in the file and now"
        for change in plan.changes
        if _said(change) != _said(mine.get(change.address)) or _stray(change, plan, recorded)
    ]
    said = {change.address for change in plan.changes}
    return told + [
        f"{address}: not in the file, {c.action} now" for address, c in mine.items() if address not in said
    ]


def _stray(change: Change, plan: Plan, recorded: Recorded) -> bool:
    """A deletion of what was never ours: only grants on what is ours can be that, and what goes with
    others."""
    if change.action is not Action.DELETE or change.address in recorded.ours or change.before is None:
        return False
    scope = change.before.scope()
    ours = scope is not None and (scope in recorded.ours or any(c.address == scope for c in plan.changes))
    going = {c.address for c in plan.changes if c.action is Action.DELETE}
    goes_along = change.before.goes_with() in going or any(ref in going for ref in change.before.refs())
    return not (ours or goes_along)


def _action(change: Change | None) -> str:
    return "nothing" if change is None else str(change.action)


def _said(change: Change | None) -> object:
    if change is None:
        return None
    sides = [None if side is None else plain(side) for side in (change.before, change.after)]
    return change.action, sides, change.waits_for, change.moved_from, change.protected
