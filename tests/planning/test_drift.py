"""What changed outside, row by row; and what is only pending."""

from __future__ import annotations

from typing import Any

import pytest

from lifecycle_as_code.kinds.permission import Permission
from lifecycle_as_code.kinds.registered_model import RegisteredModel
from lifecycle_as_code.model.plan import Action, Change, Plan
from lifecycle_as_code.model.snapshot import Claim, Live, Observed, Pending, Record, Recorded
from lifecycle_as_code.model.spec import Address, Spec
from lifecycle_as_code.planning.drift import OUTSIDE, Drift, make_drift, pending_only

RISK = RegisteredModel(name="fraud", description="Of the risk team.", tags={"team": "risk"})
SHOP = RISK.model_copy(update={"description": "Of the shop."})
SEEN_BY = RISK.model_copy(update={"tags": {"team": "risk", "seen_by": "audit"}})
GRANT = Permission(role="analysts", resource_type="registered_model", resource="fraud", level="READ")
OTHERS = RegisteredModel(name="other")

CLAIM = {RISK.address: Claim(exclusive=False)}


def drift(
    record: Record | None,
    live: list[Spec | Observed],
    scopes: dict[Address, Claim] | None = None,
    others: dict[Address, str] | None = None,
) -> Plan:
    seen = [found if isinstance(found, Observed) else Observed(found) for found in live]
    return make_drift(
        Recorded({record.address: record} if record else {}, others or {}),
        Live({found.spec.address: found for found in seen}),
        scopes or {},
        stack="payments",
        environment="prod",
    )


def ours(spec: Spec | None = RISK, *, pending: bool = False) -> Record:
    return Record(RISK.address, RISK.store, spec, Pending("an-apply") if pending else None)


TABLE: dict[str, tuple[Record | None, list[Any], tuple[Action, str] | None]] = {
    "nothing changed": (ours(), [RISK], None),
    "changed": (ours(), [SHOP], (Action.UPDATE, "changed outside")),
    "deleted": (ours(), [], (Action.CREATE, "deleted outside")),
    "deleted, but the name is taken": (
        ours(),
        [Observed(RISK, tombstone=True)],
        (Action.CREATE, "deleted outside"),
    ),
    "a tag that a client added": (ours(), [SEEN_BY], None),
    "made by somebody else": (None, [OTHERS], None),
    "an apply that never ended": (ours(None, pending=True), [], (Action.UPDATE, "interrupted apply")),
    "an update that never ended": (ours(pending=True), [SHOP], (Action.UPDATE, "interrupted apply")),
    "a grant on what isn't claimed": (ours(), [RISK, GRANT], None),
}


@pytest.mark.parametrize(("record", "live", "expected"), TABLE.values(), ids=TABLE)
def test_what_changed_outside(
    record: Record | None, live: list[Any], expected: tuple[Action, str] | None
) -> None:
    found = drift(record, live)
    assert [(c.action, c.reason) for c in found.changes] == ([expected] if expected else [])
    assert all(change.reason in OUTSIDE for change in found.changes)
    assert Drift(found, None).exists == bool(expected)


def test_a_change_is_told_from_what_is_there_to_what_was_applied() -> None:
    (change,) = drift(ours(), [SHOP]).changes
    assert [(f.name, f.before, f.after) for f in change.fields] == [
        ("description", "Of the shop.", "Of the risk team.")
    ]


def test_a_grant_in_a_claimed_scope_is_drift_unless_it_is_another_stacks() -> None:
    (change,) = drift(ours(), [RISK, GRANT], CLAIM).changes
    assert (change.address, change.action, change.reason) == (GRANT.address, Action.DELETE, "granted outside")
    assert not drift(ours(), [RISK, GRANT], CLAIM, {GRANT.address: "shop"}).changes


def test_drift_knows_where_it_was_found() -> None:
    found = drift(ours(), [RISK])
    assert (found.stack, found.environment, found.steps) == ("payments", "prod", ())


def test_pending_is_what_the_manifests_ask_for() -> None:
    def change(reason: str, action: Action = Action.UPDATE) -> Change:
        address = Address("registered_model", (reason,))
        return Change(address, RISK.store, action, reason, RISK, SHOP)

    plan = Plan(
        "payments",
        "",
        (
            *(change(reason) for reason in sorted(OUTSIDE)),
            change("manifest changed"),
            change("declared"),
            change("already so", Action.RECORD),
        ),
        (),
    )
    assert [c.reason for c in pending_only(plan, Recorded()).changes] == ["manifest changed", "declared"]
