"""The review of a plan: its evidence, its impacts, and the policies' verdicts. Reads only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from ..kinds.base import Kind
from ..model.diagnostics import refuse
from ..model.plan import Mode, Plan
from ..model.policy import Rules
from ..model.review import Access, Impact, Review
from ..model.spec import Address
from ..planning.revalidation import reconstruct_desired
from ..review.access.changes import list_access_changes, touches_access
from ..review.policy.judge import judge, list_denials, list_expired_waivers, require_valid_rules
from ..stores.mlflow.auth import find_names, read_access_state
from .actor import actor
from .evidence import gather_evidence
from .refresh import Snapshots, take_snapshots
from .session import Session


def review(session: Session, plan: Plan, snapshots: Snapshots, rules: Rules) -> Plan:
    """The plan, which has differences, with its review. LacError where a policy can't be read."""
    require_valid_rules(rules)
    evidence = gather_evidence(session, plan, snapshots, rules.directions)
    access = _compare_access(session, plan)
    impacts = make_impacts(session.kinds.values(), plan, snapshots, access)
    plan = replace(plan, review=Review(evidence, impacts, (), snapshots.desired.choices, rules))
    if not rules.policies:
        return plan
    now = datetime.now(UTC)
    verdicts = judge(plan, rules, actor=actor(session.settings.directory, session.environ), now=now)
    notes = list_expired_waivers(rules, now) if verdicts else ()
    judged = replace(plan.review, verdicts=verdicts)
    return replace(plan, review=judged, diagnostics=(*plan.diagnostics, *notes))


def refuse_denied(session: Session, plan: Plan) -> None:
    """Evaluate the policies once more, on live state: the plan's own, and those of the manifests, since the
    writer of a plan file can leave some out. LacError where one denies the plan."""
    if plan.mode is Mode.REFRESH_ONLY or not plan.differences:
        return
    rule_sets = [plan.review.rules]
    if session.desired.rules != plan.review.rules:
        rule_sets.append(session.desired.rules)
    if not any(rules.policies for rules in rule_sets):
        return
    snapshots = take_snapshots(session, reconstruct_desired(plan))
    for rules in rule_sets:
        if rules.policies:
            refuse(list_denials(review(session, plan, snapshots, rules)))


def make_impacts(
    kinds: Iterable[Kind[Any]],
    plan: Plan,
    snapshots: Snapshots,
    access: Mapping[Address, tuple[Access, ...]],
) -> tuple[Impact, ...]:
    """What each change reaches, and whose access it changes, in the plan's order; nothing for the others."""
    impacts: dict[Address, Impact] = {}
    for kind in kinds:
        for impact in kind.impacts(plan, snapshots.recorded, snapshots.live):
            mine = impacts.get(impact.address, Impact(impact.address))
            reach = mine.traffic + impact.traffic, mine.capacity + impact.capacity
            impacts[impact.address] = Impact(impact.address, *reach)
    for address, rows in access.items():
        impacts[address] = replace(impacts.get(address, Impact(address)), access=rows)
    return tuple(impacts[c.address] for c in plan.differences if c.address in impacts)


def _compare_access(session: Session, plan: Plan) -> Mapping[Address, tuple[Access, ...]]:
    """The users who gain or lose access by the plan; none without an auth database."""
    if session.settings.auth_store is None or not touches_access(plan):
        return {}
    with session.connections.reading() as (ledger, _), ledger.reading() as db:
        if db.auth is None:
            return {}
        state = read_access_state(
            db.auth, db.registry, db.workspace, default_permission=session.settings.default_permission
        )
        names = find_names(db.registry, state, db.workspace)
    return list_access_changes(plan, state, session.settings.workspace, names)
