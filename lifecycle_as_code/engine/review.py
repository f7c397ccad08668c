"""A plan with all that a reviewer judges it by: evidence, blast radius, the policies' verdicts.

It reads the stores and changes nothing. What is to be done is decided already: a verdict may refuse it, and
never changes it.
"""

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
from ..planning.revalidation import wanted_again
from ..review.access.changes import access_changes, touches_access
from ..review.policy.judge import denials, expired, judge, refuse_unready
from ..stores.mlflow.auth_state import names_there, read_access_state
from .actor import actor
from .evidence import gather
from .refresh import Snapshots
from .session import Core


def reviewed(core: Core, plan: Plan, seen: Snapshots, rules: Rules) -> Plan:
    """The plan, with its review. `seen`: what it was made from. LacError where a policy can't be read."""
    if plan.mode is Mode.REFRESH_ONLY or not plan.differences:
        return replace(plan, review=Review(choices=seen.desired.choices, rules=rules))
    refuse_unready(rules)
    evidence = gather(
        core.connections,
        core.kinds,
        plan,
        seen,
        directions=rules.directions,
        seconds=core.settings.evidence_seconds,
        environ=core.environ,
    )
    impacts = make_impacts(core.kinds.values(), plan, seen, _access(core, plan))
    plan = replace(plan, review=Review(evidence, impacts, (), seen.desired.choices, rules))
    return _judged(core, plan) if rules.policies else plan


def make_impacts(
    kinds: Iterable[Kind[Any]], plan: Plan, seen: Snapshots, access: Mapping[Address, tuple[Access, ...]]
) -> tuple[Impact, ...]:
    """What each change reaches, by every kind, and whose access it changes; in the plan's order. Changes that
    touch nothing else have no impact."""
    impacts: dict[Address, Impact] = {}
    for impact in (impact for kind in kinds for impact in kind.impacts(plan, seen.recorded, seen.live)):
        mine = impacts.get(impact.address, Impact(impact.address))
        impacts[impact.address] = Impact(
            impact.address, mine.traffic + impact.traffic, mine.capacity + impact.capacity
        )
    for address, rows in access.items():
        impacts[address] = replace(impacts.get(address, Impact(address)), access=rows)
    return tuple(impacts[c.address] for c in plan.differences if c.address in impacts)


def _judged(core: Core, plan: Plan) -> Plan:
    rules, now = plan.review.rules, datetime.now(UTC)
    verdicts = judge(plan, rules, actor=actor(core.settings.directory, core.environ), now=now)
    told = tuple(expired(rules, now)) if verdicts else ()
    review = replace(plan.review, verdicts=verdicts)
    return replace(plan, review=review, diagnostics=(*plan.diagnostics, *told))


def refuse_denied(core: Core, plan: Plan) -> None:
    """Ask the policies once more, of what is known now: the plan's own, and those of the manifests, for
    whoever can write a plan's file can leave some out. LacError where one denies it."""
    sealed, declared = plan.review.rules, core.manifest.desired.rules
    asked = [rules for rules in (sealed, declared) if rules.policies]
    if sealed == declared:
        del asked[1:]
    if not asked:
        return
    seen = core.camera.take(wanted_again(plan), resolved=False)
    for rules in asked:
        refuse(denials(reviewed(core, plan, seen, rules)))


def _access(core: Core, plan: Plan) -> Mapping[Address, tuple[Access, ...]]:
    """Who gains or loses by the plan; nothing where the stack has no auth database, or none yet."""
    if core.settings.auth_store is None or not touches_access(plan):
        return {}
    with core.connections.reading() as (ledger, _), ledger.reading() as db:
        if db.auth is None:
            return {}
        state = read_access_state(
            db.auth, db.registry, db.workspace, default_permission=core.settings.default_permission
        )
        there = names_there(db.registry, state, db.workspace)
    return access_changes(plan, state, core.settings.workspace, there)
