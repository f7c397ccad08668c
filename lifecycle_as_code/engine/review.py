"""The review of a plan: its evidence, its impacts, and the policies' verdicts.

It reads the stores and changes nothing. The changes are decided already: a verdict may refuse the plan, and
never changes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

from ..kinds.serving_endpoint.impact import make_impacts
from ..model.diagnostics import refuse
from ..model.plan import Mode, Plan
from ..model.policy import Rules
from ..model.review import Access, Review
from ..model.spec import Address
from ..planning.revalidation import wanted_again
from ..review.access.changes import access_changes, touches_access
from ..review.policy.judge import denials, expired, judge, refuse_unready
from ..stores.mlflow.auth_state import names_there, read_access_state
from .actor import actor
from .evidence import gather_evidence
from .refresh import Snapshots, take_snapshots
from .session import Session


def review(session: Session, plan: Plan, snapshots: Snapshots, rules: Rules) -> Plan:
    """The plan, which has differences, with its review. `snapshots`: those that it was made from. LacError
    where a policy can't be read."""
    refuse_unready(rules)
    evidence = gather_evidence(session, plan, snapshots, rules.directions)
    access = _compare_access(session, plan)
    impacts = make_impacts(plan, snapshots.recorded, snapshots.live, access=access)
    plan = replace(plan, review=Review(evidence, impacts, (), snapshots.desired.choices, rules))
    return _judge(session, plan) if rules.policies else plan


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
    snapshots = take_snapshots(session, wanted_again(plan))
    for rules in rule_sets:
        if rules.policies:
            refuse(denials(review(session, plan, snapshots, rules)))


def _judge(session: Session, plan: Plan) -> Plan:
    rules, now = plan.review.rules, datetime.now(UTC)
    verdicts = judge(plan, rules, actor=actor(session.settings.directory, session.environ), now=now)
    notes = expired(rules, now) if verdicts else ()
    review = replace(plan.review, verdicts=verdicts)
    return replace(plan, review=review, diagnostics=(*plan.diagnostics, *notes))


def _compare_access(session: Session, plan: Plan) -> Mapping[Address, tuple[Access, ...]]:
    """The users who gain or lose access by the plan; none where the stack has no auth database, or none
    yet."""
    if session.settings.auth_store is None or not touches_access(plan):
        return {}
    with session.connections.reading() as (ledger, _), ledger.reading() as db:
        if db.auth is None:
            return {}
        state = read_access_state(
            db.auth, db.registry, db.workspace, default_permission=session.settings.default_permission
        )
        names = names_there(db.registry, state, db.workspace)
    return access_changes(plan, state, session.settings.workspace, names)
