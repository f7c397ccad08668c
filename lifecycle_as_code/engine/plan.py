"""The pipeline that every plan goes through. It changes nothing:

open the stores → take the three snapshots → resolve → make the plan → review it
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from ..model.plan import Mode, Plan
from ..model.review import Review
from ..model.snapshot import Desired
from ..planning import planner
from ..planning.planner import PlanOptions
from ..planning.targeting import Selection, cut_desired
from .refresh import Snapshots, resolve_snapshots, take_snapshots
from .session import Session


def plan_changes(
    session: Session,
    *,
    destroy: bool = False,
    refresh: bool = True,
    selection: Selection = Selection(),
    allow: Collection[str] = (),
) -> Plan:
    """From live state to the manifests; with `destroy`, to nothing. `Stack.plan` describes the rest."""
    desired = Desired(lifecycles=session.desired.lifecycles) if destroy else session.desired
    session.connections.refuse_unreachable(cut_desired(desired, selection))
    snapshots = take_snapshots(session, desired, refresh=refresh, selection=selection)
    snapshots = resolve_snapshots(session, snapshots, selection)
    mode = Mode.DESTROY if destroy else Mode.NORMAL
    plan = make_plan(session, snapshots, PlanOptions(mode, frozenset(allow), selection))
    return review_plan(session, plan, snapshots)


def plan_refresh(session: Session, selection: Selection) -> Plan:
    """From our records to live state: changes records alone, and is judged by no policy."""
    snapshots = take_snapshots(session, Desired())
    return planner.make_refresh(
        snapshots.recorded,
        snapshots.live,
        stack=session.name,
        environment=session.environment,
        selection=selection,
    )


def make_plan(session: Session, snapshots: Snapshots, options: PlanOptions = PlanOptions()) -> Plan:
    """The plan from resolved snapshots, without a review. LacError with every obstacle."""
    return planner.make_plan(
        snapshots.desired,
        snapshots.recorded,
        snapshots.live,
        stack=session.name,
        environment=session.environment,
        checks=session.checks,
        options=replace(options, limits=session.settings.limits, principal=session.principal),
        origins=snapshots.origins,
    )


def review_plan(session: Session, plan: Plan, snapshots: Snapshots) -> Plan:
    """The plan with its evidence, its impacts and the verdicts of the manifests' policies."""
    rules = session.desired.rules
    if not plan.differences:
        return replace(plan, review=Review(choices=snapshots.desired.choices, rules=rules))
    # imported here: most plans have no differences
    from .review import review

    return review(session, plan, snapshots, rules)
