"""What is read of MLflow's auth database, of the tables that MLflow itself made."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, event, insert, select
from support.bench import Bench, converge

from lifecycle_as_code.kinds.experiment import Experiment
from lifecycle_as_code.model.access import AccessState, Role
from lifecycle_as_code.serving.levels import Grant
from lifecycle_as_code.stores.mlflow.auth_state import read_access_state
from lifecycle_as_code.stores.mlflow.sql import open_store, reading, writing
from lifecycle_as_code.stores.mlflow.tables import (
    experiments,
    role_permissions,
    roles,
    user_role_assignments,
    users,
)

HELD: dict[int, list[tuple[str, str, str]]] = {
    11: [("registered_model", "fraud", "READ"), ("experiment", "*", "USE"), ("experiment", "999", "EDIT")],
    12: [("registered_model", "fraud", "MANAGE")],
    13: [("registered_model", "churn", "DENY")],
    15: [("registered_model", "fraud", "EDIT")],
}
ROLES = [
    (11, "analysts", "default"),
    (12, "__user_1__", "default"),
    (13, "analysts", "team-a"),
    (14, "empty", "default"),
    (15, "analysts", "team-b"),
]


def filled(bench: Bench) -> None:
    """Two users, five roles, and an experiment that a grant names by its id."""
    converge(bench.stack([Experiment(name="nightly")]))
    with reading(open_store(bench.store, role="tracking", base=bench.directory)) as db:
        query = select(experiments.c.experiment_id).where(experiments.c.name == "nightly")
        number = str(db.scalars(query).one())
    assert bench.auth_store is not None
    with writing(open_store(bench.auth_store, role="auth", base=bench.directory)) as db:
        people = [(1, "ann", False), (2, "root", True)]
        db.execute(
            insert(users),
            [{"id": i, "username": n, "password_hash": "secret", "is_admin": a} for i, n, a in people],
        )
        db.execute(insert(roles), [{"id": i, "name": n, "workspace": w} for i, n, w in ROLES])
        held = {**HELD, 14: [("experiment", number, "READ")]}
        db.execute(
            insert(role_permissions),
            [
                {"role_id": i, "resource_type": t, "resource_pattern": p, "permission": level}
                for i, grants in held.items()
                for t, p, level in grants
            ],
        )
        pairs = [(1, 11), (2, 11), (1, 12), (1, 13), (1, 15)]
        db.execute(insert(user_role_assignments), [{"user_id": u, "role_id": r} for u, r in pairs])


@contextmanager
def statements(*connections: Connection) -> Iterator[list[str]]:
    """What these are asked, for as long as the block lasts."""
    asked: list[str] = []

    def note(_: object, __: object, statement: str, *___: object) -> None:
        asked.append(statement)

    for connection in connections:
        event.listen(connection, "before_cursor_execute", note)
    yield asked


def read(bench: Bench, workspace: str = "default") -> tuple[AccessState, list[str]]:
    assert bench.auth_store is not None
    stores = (
        open_store(bench.auth_store, role="auth", base=bench.directory),
        open_store(bench.store, role="tracking", base=bench.directory),
    )
    with reading(stores[0]) as auth, reading(stores[1]) as registry, statements(auth, registry) as asked:
        return read_access_state(auth, registry, workspace, default_permission="USE"), asked


def test_users_roles_members_and_grants_by_name(bench: Bench) -> None:
    filled(bench)
    state, _ = read(bench)
    assert state.users == {"ann": False, "root": True}
    assert state.default_permission == "USE"
    assert sorted(state.roles, key=lambda role: role.name) == [
        Role("__user_1__", members=frozenset({"ann"}), grants=(Grant(*HELD[12][0]),), own=True),
        Role("analysts", members=frozenset({"ann", "root"}), grants=tuple(Grant(*held) for held in HELD[11])),
        Role("empty", grants=(Grant("experiment", "nightly", "READ"),)),
    ]


def test_endpoints_ask_the_default_workspace_besides_one_s_own(bench: Bench) -> None:
    filled(bench)
    state, _ = read(bench, "team-a")
    assert {role.workspace for role in state.roles} == {"default", "team-a"}


def test_a_fixed_number_of_questions_and_none_about_passwords(bench: Bench) -> None:
    filled(bench)
    _, asked = read(bench)
    assert len(asked) == 5
    assert not any("password" in statement for statement in asked)


def test_a_database_with_nobody_in_it(bench: Bench) -> None:
    state, _ = read(bench)
    assert state == AccessState(default_permission="USE")
