"""Who gains or loses what by a plan, in plans made by hand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from pydantic import TypeAdapter

from lifecycle_as_code.kinds import KINDS
from lifecycle_as_code.kinds.permission import Permission
from lifecycle_as_code.kinds.registered_model import RegisteredModel
from lifecycle_as_code.kinds.role import Role
from lifecycle_as_code.model.access import AccessState
from lifecycle_as_code.model.access import Role as Held
from lifecycle_as_code.model.plan import Action, Change, Mode, Plan
from lifecycle_as_code.model.spec import Address, Spec, Store
from lifecycle_as_code.review.access.changes import MOST, MOST_IN_ALL, list_access_changes
from lifecycle_as_code.review.access.projection import project_state
from lifecycle_as_code.serving.levels import Grant


@dataclass(frozen=True)
class Side:
    """Models that are there, roles with their members, and grants as `role type name LEVEL`."""

    models: str = ""
    roles: Mapping[str, str] = field(default_factory=dict)
    grants: tuple[str, ...] = ()

    @property
    def specs(self) -> dict[Address, Spec]:
        made: list[Spec] = [RegisteredModel(name=name) for name in self.models.split()]
        made += [Role(name=name, members=tuple(members.split())) for name, members in self.roles.items()]
        for grant in self.grants:
            parts = zip(("role", "resource_type", "resource", "level"), grant.split(), strict=True)
            made.append(Permission.model_construct(**dict(parts)))
        return {spec.address: spec for spec in made}


def side(*grants: str, models: str = "fraud churn", **roles: str) -> Side:
    return Side(models, roles, grants)


def changed(address: Address, before: Spec | None, after: Spec | None, **more: Any) -> Change:
    action = Action.CREATE if before is None else Action.DELETE if after is None else Action.UPDATE
    return replace(Change(address, Store.AUTH, action, "", before, after), **more)


def plan(changes: Iterable[Change]) -> Plan:
    return Plan("payments", "", tuple(changes), ())


def between(before: Side, after: Side) -> Plan:
    """The plan from one to the other, in the order of `after` and then of what goes."""
    sides = before.specs, after.specs
    both = {**sides[1], **sides[0]}
    made = [changed(a, sides[0].get(a), sides[1].get(a)) for a in both]
    return plan(change for change in made if change.before != change.after)


def held(given: Side, default: str = "NO_PERMISSIONS", *more: Held) -> AccessState:
    """The database with just that in it. Ann, Bob and Cid are users, and root is an administrator."""
    nobody = AccessState({"ann": False, "bob": False, "cid": False, "root": True}, more, default)
    return project_state(nobody, [changed(a, None, spec) for a, spec in given.specs.items()], "default")


def told(found: Mapping[Address, Any]) -> dict[str, list[str]]:
    return {
        str(address): [f"{r.user} {r.resource}: {r.before} to {r.after}, {r.why}" for r in rows]
        for address, rows in found.items()
    }


M, V = "registered_model", "registered_model_version"
GRANT = f"permission.analysts/{M}/fraud"
ALL = f"permission.analysts/{M}/*"

CHANGES: dict[str, tuple[Side, Side, dict[str, list[str]]]] = {
    "a grant is made": (
        side(analysts="ann bob"),
        side(f"analysts {M} fraud READ", analysts="ann bob"),
        {
            GRANT: [
                f"ann {M}.fraud: NO_PERMISSIONS to READ, default permission → role analysts: READ",
                f"bob {M}.fraud: NO_PERMISSIONS to READ, default permission → role analysts: READ",
            ]
        },
    ),
    "a grant is lowered": (
        side(f"analysts {M} fraud EDIT", analysts="ann"),
        side(f"analysts {M} fraud READ", analysts="ann"),
        {GRANT: [f"ann {M}.fraud: EDIT to READ, role analysts: EDIT → role analysts: READ"]},
    ),
    "another role gives as much": (
        side(f"b {M} * EDIT", analysts="ann bob", b="bob"),
        side(f"analysts {M} fraud EDIT", f"b {M} * EDIT", analysts="ann bob", b="bob"),
        {GRANT: [f"ann {M}.fraud: NO_PERMISSIONS to EDIT, default permission → role analysts: EDIT"]},
    ),
    "a DENY is above it": (
        side(f"b {M} * DENY", analysts="ann", b="ann"),
        side(f"analysts {M} fraud EDIT", f"b {M} * DENY", analysts="ann", b="ann"),
        {},
    ),
    "a DENY for those who had nothing": (
        side(analysts="ann"),
        side(f"analysts {M} fraud DENY", analysts="ann"),
        {},
    ),
    "an administrator needs none": (
        side(analysts="root"),
        side(f"analysts {M} fraud EDIT", analysts="root"),
        {},
    ),
    "somebody joins a role": (
        side(f"analysts {M} fraud EDIT", "analysts experiment nightly READ", analysts="ann"),
        side(f"analysts {M} fraud EDIT", "analysts experiment nightly READ", analysts="ann bob"),
        {
            "role.analysts": [
                "bob experiment.nightly: NO_PERMISSIONS to READ, default permission → role analysts: READ",
                f"bob {M}.fraud: NO_PERMISSIONS to EDIT, default permission → role analysts: EDIT",
            ]
        },
    ),
    "a role goes with its grants": (
        side(f"analysts {M} fraud EDIT", analysts="ann"),
        side(),
        {
            "role.analysts": [
                f"ann {M}.fraud: EDIT to NO_PERMISSIONS, role analysts: EDIT → default permission"
            ]
        },
    ),
    "all of a type is told once": (
        side(f"b {M} fraud MANAGE", f"b {M} churn READ", analysts="ann bob", b="ann"),
        side(f"analysts {M} * EDIT", f"b {M} fraud MANAGE", f"b {M} churn READ", analysts="ann bob", b="ann"),
        {
            ALL: [
                f"ann {M}.*: NO_PERMISSIONS to EDIT, "
                "default permission → role analysts: EDIT on *; not on fraud",
                f"bob {M}.*: NO_PERMISSIONS to EDIT, default permission → role analysts: EDIT on *",
                f"ann {M}.churn: READ to EDIT, role b: READ → role analysts: EDIT on *",
            ]
        },
    ),
    "a role without grants": (side(ops=""), side(ops="ann"), {}),
    "versions fare otherwise": (
        side(f"b {V} * MANAGE", analysts="ann", b="ann"),
        side(f"analysts {M} fraud READ", f"b {V} * MANAGE", analysts="ann", b="ann"),
        {
            GRANT: [
                f"ann {M}.fraud: NO_PERMISSIONS to READ, default permission → role analysts: READ",
                f"ann {V}.fraud/*: NO_PERMISSIONS to MANAGE, default permission → role b: MANAGE on *",
            ]
        },
    ),
    "versions stay": (
        side(f"b {V} * READ", f"analysts {M} fraud READ", analysts="ann", b="ann"),
        side(f"b {V} * READ", f"analysts {M} fraud MANAGE", analysts="ann", b="ann"),
        {
            GRANT: [
                f"ann {M}.fraud: READ to MANAGE, "
                "role analysts: READ → role analysts: MANAGE; versions stay READ"
            ]
        },
    ),
    "a model is made with a grant on it": (
        side(models="", analysts="ann"),
        side(f"analysts {M} fraud READ", models="fraud", analysts="ann"),
        {GRANT: [f"ann {M}.fraud: NO_PERMISSIONS to READ, doesn't exist yet → role analysts: READ"]},
    ),
    "a model is made that a grant waits for": (
        side(f"analysts {M} fraud READ", models="", analysts="ann"),
        side(f"analysts {M} fraud READ", models="fraud", analysts="ann"),
        {f"{M}.fraud": [f"ann {M}.fraud: NO_PERMISSIONS to READ, doesn't exist yet → role analysts: READ"]},
    ),
    "a model is made that a grant on all reaches": (
        side(f"analysts {M} * READ", models="", analysts="ann"),
        side(f"analysts {M} * READ", models="fraud", analysts="ann"),
        {},
    ),
    "a model goes and a grant stays": (
        side(f"analysts {M} fraud READ", models="fraud", analysts="ann"),
        side(f"analysts {M} fraud READ", models="", analysts="ann"),
        {f"{M}.fraud": [f"ann {M}.fraud: READ to NO_PERMISSIONS, role analysts: READ → deleted"]},
    ),
    "the first of several that touch it": (
        side(f"b {M} fraud EDIT", analysts="ann", b=""),
        side(f"b {M} fraud EDIT", f"analysts {M} fraud READ", analysts="ann", b="ann"),
        {
            "role.b": [f"ann {M}.fraud: NO_PERMISSIONS to EDIT, default permission → role b: EDIT"],
        },
    ),
}


@pytest.mark.parametrize(("before", "after", "expected"), CHANGES.values(), ids=CHANGES)
def test_who_gains_or_loses(before: Side, after: Side, expected: dict[str, list[str]]) -> None:
    assert told(list_access_changes(between(before, after), held(before))) == expected


def test_a_saved_plan_reads_back_every_resource() -> None:
    specs = {name: kind.spec for name, kind in KINDS.items()}
    plans = [(before, between(before, after)) for before, after, _ in CHANGES.values()]
    changes = [list_access_changes(made, held(before)) for before, made in plans]
    resources = {str(row.resource) for rows in changes for some in rows.values() for row in some}
    assert f"{V}.fraud/*" in resources
    for text in resources:
        assert str(TypeAdapter(Address).validate_python(text, context=specs)) == text


def test_manage_on_the_workspace_reaches_every_type() -> None:
    before = side(f"b {M} fraud DENY", "b experiment nightly MANAGE", ops="ann", b="ann")
    after = replace(before, grants=(*before.grants, "ops workspace * MANAGE"))
    (rows,) = told(list_access_changes(between(before, after), held(before, "READ"))).values()
    admin = "role ops: MANAGE on the workspace"
    assert rows == [
        f"ann experiment.*: READ to MANAGE, default permission → {admin}; not on nightly",
        f"ann gateway_endpoint.*: READ to MANAGE, default permission → {admin}",
        f"ann prompt.*: READ to MANAGE, default permission → {admin}",
        f"ann {M}.*: READ to MANAGE, default permission → {admin}",
        f"ann {M}.fraud: DENY to MANAGE, DENY by role b → {admin}",
        f"ann serving_endpoint.*: NO_PERMISSIONS to MANAGE, no grant → {admin}",
        f"ann workspace.*: NO_PERMISSIONS to MANAGE, no grant → {admin}",
    ]


def test_where_everybody_may_read_a_grant_to_read_changes_nothing() -> None:
    before, after = side(analysts="ann"), side(f"analysts {M} fraud READ", analysts="ann")
    assert list_access_changes(between(before, after), held(before, "READ")) == {}


def test_a_user_s_own_grants_go_with_the_model() -> None:
    own = Held("__user_1__", members=frozenset({"ann"}), grants=(Grant(M, "fraud", "MANAGE"),), own=True)
    before, after = side(f"__user_1__ {M} fraud MANAGE", models="fraud"), side(models="")
    found = list_access_changes(between(before, after), held(side(models="fraud"), "READ", own))
    lost = f"ann {M}.fraud: MANAGE to NO_PERMISSIONS, own grant: MANAGE → deleted"
    assert told(found) == {f"permission.__user_1__/{M}/fraud": [lost]}


class TestRenames:
    """Every grant follows the model, ours or not."""

    MODEL = changed(
        Address(M, ("scam",)),
        RegisteredModel(name="scam"),
        RegisteredModel(name="scam"),
        action=Action.MOVE,
        moved_from=Address(M, ("fraud",)),
    )

    def test_nobody_gains_or_loses(self) -> None:
        before = side(f"analysts {M} fraud EDIT", f"b {M} fraud DENY", analysts="ann", b="bob")
        assert list_access_changes(plan([self.MODEL]), held(before)) == {}

    def test_but_by_a_grant_that_waits_for_the_name(self) -> None:
        before = side(f"analysts {M} fraud EDIT", f"b {M} scam DENY", analysts="ann", b="ann")
        assert told(list_access_changes(plan([self.MODEL]), held(before))) == {
            f"{M}.scam": [f"ann {M}.scam: EDIT to DENY, role analysts: EDIT → DENY by role b"]
        }

    def test_a_grant_that_changes_too_is_compared_across_the_rename(self) -> None:
        before = side(f"analysts {M} fraud EDIT", analysts="ann")
        given = Permission(role="analysts", resource_type=M, resource="scam", level="EDIT")
        taken = given.model_copy(update={"level": "READ"})
        former = Address("permission", ("analysts", M, "fraud"))
        grant = changed(given.address, given, taken, moved_from=former)
        assert told(list_access_changes(plan([self.MODEL, grant]), held(before))) == {
            f"permission.analysts/{M}/scam": [
                f"ann {M}.scam: EDIT to READ, role analysts: EDIT → role analysts: READ"
            ]
        }


def test_names_that_nothing_has_are_passed_over() -> None:
    before = side(f"analysts {M} fraud READ", f"analysts {M} lost READ", analysts="")
    after = replace(before, roles={"analysts": "ann"})
    made, role = between(before, after), Address("role", ("analysts",))
    whole = list_access_changes(made, held(before))
    assert [row.resource.name for row in whole[role]] == ["fraud", "lost"]
    part = list_access_changes(made, held(before), existing={M: ["fraud"]})
    assert [row.resource.name for row in part[role]] == ["fraud"]


@pytest.mark.parametrize(("before", "after", "expected"), CHANGES.values(), ids=CHANGES)
def test_what_is_there_or_comes_with_the_plan_is_told_of(
    before: Side, after: Side, expected: dict[str, list[str]]
) -> None:
    found = list_access_changes(between(before, after), held(before), existing={M: before.models.split()})
    assert told(found) == expected


def test_a_grant_of_the_plan_s_own_is_told_of_and_one_that_waits_beside_all_of_a_type_is_not() -> None:
    before = side(f"b {M} lost MANAGE", analysts="ann", b="ann")
    after = replace(before, grants=(*before.grants, f"analysts {M} * EDIT"))
    (row,) = list_access_changes(between(before, after), held(before), existing={M: ["fraud"]})[
        Address("permission", ("analysts", M, "*"))
    ]
    assert (str(row.resource), row.why) == (f"{M}.*", "default permission → role analysts: EDIT on *")
    revoked = list_access_changes(
        between(before, side(analysts="ann", b="ann")), held(before), existing={M: []}
    )
    assert [row.resource.name for rows in revoked.values() for row in rows] == ["lost"]


def test_a_plan_about_records_alone_changes_nothing_for_anybody() -> None:
    before, after = side(analysts="ann"), side(f"analysts {M} fraud READ", analysts="ann")
    made = between(before, after)
    assert list_access_changes(replace(made, mode=Mode.REFRESH_ONLY), held(before)) == {}
    recorded = [replace(change, action=Action.RECORD) for change in made.changes]
    assert list_access_changes(plan(recorded), held(before)) == {}


def test_of_very_many_the_weightiest_are_told_and_how_many_more_there_are() -> None:
    people = [f"user{number:04}" for number in range(3000)]
    role = Held("analysts", members=frozenset(people), grants=(Grant(M, "fraud", "READ"),))
    boss = Held("bosses", members=frozenset(people[2990:]), grants=(Grant(M, "fraud", "EDIT"),))
    state = AccessState(dict.fromkeys(people, False), (role, boss), "NO_PERMISSIONS")
    made = plan(
        [
            changed(Address("role", ("analysts",)), Role(name="analysts", members=tuple(people)), None),
            changed(Address("role", ("bosses",)), Role(name="bosses"), None),
        ]
    )
    found = list_access_changes(made, state)
    rows = found[Address("role", ("analysts",))]
    assert len(rows) == MOST
    assert [row.before for row in rows].count("EDIT") == 10
    assert [row.user for row in rows][-1] == "user2999"
    assert rows[-1].why.endswith(f"(and {3000 - MOST} more not listed)")
    assert not any("more" in row.why for row in rows[:-1])


def test_a_plan_of_very_many_changes_is_told_in_part() -> None:
    models = [f"m{number}" for number in range(100)]
    people = [f"user{number}" for number in range(100)]
    grants = tuple(Grant(M, name, "READ") for name in models)
    state = AccessState(
        dict.fromkeys(people, False), (Held("all", members=frozenset(people), grants=grants),)
    )
    specs = [RegisteredModel(name=name) for name in models]
    found = list_access_changes(plan(changed(spec.address, None, spec) for spec in specs), state)
    assert [len(rows) for rows in found.values()] == [MOST_IN_ALL // 100] * 100
    assert all(rows[-1].why.endswith("(and 80 more not listed)") for rows in found.values())
