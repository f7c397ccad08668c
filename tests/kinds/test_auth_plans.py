"""Roles and grants through the whole engine: planned, applied, found changed, revoked."""

from __future__ import annotations

import pytest
from sqlalchemy import text
from support.bench import Bench, converge

from lifecycle_as_code.kinds.experiment import Experiment
from lifecycle_as_code.kinds.permission import Permission
from lifecycle_as_code.kinds.registered_model import RegisteredModel
from lifecycle_as_code.kinds.role import Role
from lifecycle_as_code.model.diagnostics import LacError
from lifecycle_as_code.model.plan import Action
from lifecycle_as_code.model.snapshot import Claim
from lifecycle_as_code.model.spec import Address, Spec
from lifecycle_as_code.stores.sql.store import open_store, writing

MODEL = Address("registered_model", ("fraud",))
CLAIMED = {MODEL: Claim(exclusive=False)}


def governed() -> list[Spec]:
    def grant(resource_type: str, resource: str, level: str) -> Permission:
        return Permission.model_validate(
            {"role": "analysts", "resource_type": resource_type, "resource": resource, "level": level}
        )

    return [
        Role(name="analysts", description="Look, don't touch.", members=("bob", "ann")),
        RegisteredModel(name="fraud"),
        Experiment(name="churn"),
        grant("registered_model", "fraud", "READ"),
        grant("experiment", "churn", "EDIT"),
        grant("workspace", "*", "USE"),
    ]


def outside(bench: Bench, *statements: str) -> None:
    """What somebody else does to MLflow's auth database."""
    assert bench.auth_store
    store = open_store(bench.auth_store, role="auth", base=bench.directory)
    with writing(store) as db:
        for statement in statements:
            db.execute(text(statement))


@pytest.fixture
def staffed(bench: Bench) -> Bench:
    for name in ("ann", "bob"):
        outside(bench, f"INSERT INTO users (username, password_hash, is_admin) VALUES ('{name}', 'x', false)")
    return bench


def test_what_was_applied_plans_as_empty(staffed: Bench) -> None:
    converge(staffed.stack(governed()))
    assert staffed.stack(governed()).plan().changes == ()
    assert not staffed.stack(governed()).drift().exists


def test_a_grant_comes_after_what_it_is_about_and_goes_before_it(staffed: Bench) -> None:
    made, _ = converge(staffed.stack(governed()))
    gone, _ = converge(staffed.stack([RegisteredModel(name="other")]))
    for plan, action, first in ((made, Action.CREATE, 0), (gone, Action.DELETE, 1)):
        order = [change.address for change in plan.changes if change.action is action]
        for change in plan.changes:
            for ref in change.side.refs() if change.side else ():
                if ref in order and change.address in order:
                    pair = sorted((order.index(ref), order.index(change.address)))
                    assert order[pair[first]] == ref
    assert set(staffed.live()) & {spec.address for spec in governed()} == set()


def test_who_left_a_role_and_who_was_let_in_is_drift(staffed: Bench) -> None:
    converge(staffed.stack(governed(), scopes=CLAIMED))
    outside(
        staffed,
        "DELETE FROM user_role_assignments WHERE user_id = 1",
        "INSERT INTO roles (name, workspace) VALUES ('guests', 'default')",
        "INSERT INTO role_permissions (role_id, resource_type, resource_pattern, permission)"
        " SELECT id, 'registered_model', 'fraud', 'MANAGE' FROM roles WHERE name = 'guests'",
    )
    plan, _ = converge(staffed.stack(governed(), scopes=CLAIMED))
    assert {(str(c.address), c.action, c.reason) for c in plan.changes} == {
        ("role.analysts", Action.UPDATE, "changed outside"),
        ("permission.guests/registered_model/fraud", Action.DELETE, "granted outside"),
    }
    assert staffed.stack(governed(), scopes=CLAIMED).plan().changes == ()


def test_a_role_that_others_use_is_not_deleted(staffed: Bench) -> None:
    converge(staffed.stack(governed()))
    outside(
        staffed,
        "INSERT INTO role_permissions (role_id, resource_type, resource_pattern, permission)"
        " SELECT id, 'scorer', '*', 'READ' FROM roles WHERE name = 'analysts'",
    )
    with pytest.raises(LacError, match=r"permission\.analysts/scorer/\*, which isn't managed here"):
        staffed.stack([RegisteredModel(name="fraud")]).plan()


def managed(level: str = "MANAGE") -> list[Spec]:
    """One role with one member, and its grant on the model."""
    grant = {"role": "owners", "resource_type": "registered_model", "resource": "fraud", "level": level}
    return [
        Role(name="owners", members=("ann",)),
        RegisteredModel(name="fraud"),
        Permission.model_validate(grant),
    ]


def granted(bench: Bench, role: str, resource: str, level: str = "MANAGE") -> None:
    """Somebody else makes a role and gives it to `bob`."""
    outside(
        bench,
        f"INSERT INTO roles (name, workspace) VALUES ('{role}', 'default')",
        f"INSERT INTO user_role_assignments (user_id, role_id) SELECT 2, id FROM roles WHERE name = '{role}'",
        "INSERT INTO role_permissions (role_id, resource_type, resource_pattern, permission)"
        f" SELECT id, 'registered_model', '{resource}', '{level}' FROM roles WHERE name = '{role}'",
    )


def test_the_last_manage_is_not_taken_away(staffed: Bench) -> None:
    converge(staffed.stack(managed()))
    for taken in (managed("READ"), managed()[1:2], [Role(name="owners"), *managed()[1:]]):
        with pytest.raises(LacError, match=r"last-manage[^$]*registered_model `fraud`[^$]*`ann` loses it"):
            staffed.stack(taken).plan()


@pytest.mark.parametrize(
    ("role", "resource"),
    [("guests", "*"), ("guests", "fraud"), ("__user_2__", "fraud"), ("__user_2__", "*")],
)
def test_whoever_else_may_manage_it_counts_declared_or_not(staffed: Bench, role: str, resource: str) -> None:
    converge(staffed.stack(managed()))
    granted(staffed, role, resource)
    converge(staffed.stack(managed("READ")))


def test_who_is_denied_it_elsewhere_doesnt_count(staffed: Bench) -> None:
    converge(staffed.stack(managed()))
    granted(staffed, "guests", "fraud")
    granted(staffed, "barred", "*", "DENY")
    with pytest.raises(LacError, match="last-manage"):
        staffed.stack(managed("READ")).plan()


def test_a_model_and_its_grants_go_together(staffed: Bench) -> None:
    converge(staffed.stack(managed()))
    converge(staffed.stack([Role(name="owners", members=("ann",))]))


def test_names_that_lead_nowhere_are_told_all_at_once(staffed: Bench) -> None:
    grant = Permission(role="nobody", resource_type="prompt", resource="ask", level="READ")
    with pytest.raises(LacError) as refusal:
        staffed.stack([Role(name="r", members=("zoe",)), grant]).plan()
    told = [found.detail for found in refusal.value.diagnostics]
    assert [text.split(" refers to ")[1].split(",")[0] for text in told] == [
        "user.zoe",
        "role.nobody",
        "prompt.ask",
    ]
