"""Effective levels and what decides them, in states made by hand; MLflow's own say is in integration."""

from __future__ import annotations

import pytest

from lifecycle_as_code.model.access import AccessState, Role
from lifecycle_as_code.review.access.effective import Effective
from lifecycle_as_code.serving.levels import Grant

ANN = frozenset({"ann"})


def role(*grants: str, name: str = "analysts", workspace: str = "default", own: bool = False) -> Role:
    """A role that Ann has; grants as `type pattern LEVEL`."""
    return Role(name, workspace, ANN, tuple(Grant(*grant.split()) for grant in grants), own)


def state(*roles: Role, default: str = "READ") -> AccessState:
    return AccessState({"ann": False, "root": True}, roles, default)


M, V = "registered_model", "registered_model_version"

LEVELS: dict[str, tuple[AccessState, str, str, str]] = {
    "no grant": (state(), f"{M} fraud", "READ", "default permission"),
    "no grant and nothing by default": (
        state(default="NO_PERMISSIONS"),
        f"{M} fraud",
        "NO_PERMISSIONS",
        "default permission",
    ),
    "a grant": (state(role(f"{M} fraud EDIT")), f"{M} fraud", "EDIT", "role analysts: EDIT"),
    "a grant on another one": (
        state(role(f"{M} churn EDIT")),
        f"{M} fraud",
        "READ",
        "default permission",
    ),
    "a grant on another type": (state(role("prompt fraud EDIT")), f"{M} fraud", "READ", "default permission"),
    "a grant on all": (state(role(f"{M} * EDIT")), f"{M} fraud", "EDIT", "role analysts: EDIT on *"),
    "no pattern but all": (state(role(f"{M} fr* EDIT")), f"{M} fraud", "READ", "default permission"),
    "the higher of two": (
        state(role(f"{M} fraud READ", f"{M} * MANAGE")),
        f"{M} fraud",
        "MANAGE",
        "role analysts: MANAGE on *",
    ),
    "one by name says more than one on all": (
        state(role(f"{M} fraud EDIT", f"{M} * EDIT")),
        f"{M} fraud",
        "EDIT",
        "role analysts: EDIT",
    ),
    "two roles with the same": (
        state(role(f"{M} fraud EDIT", name="b"), role(f"{M} fraud EDIT", name="a")),
        f"{M} fraud",
        "EDIT",
        "roles a, b: EDIT",
    ),
    "many roles with the same": (
        state(*(role(f"{M} fraud EDIT", name=name) for name in "edcba")),
        f"{M} fraud",
        "EDIT",
        "roles a, b, c and 2 more: EDIT",
    ),
    "a user's own grant": (
        state(role(f"{M} fraud USE", name="__user_3__", own=True)),
        f"{M} fraud",
        "USE",
        "own grant: USE",
    ),
    "a user's own grant and a role's": (
        state(role(f"{M} fraud USE", name="__user_3__", own=True), role(f"{M} fraud USE")),
        f"{M} fraud",
        "USE",
        "own grant and role analysts: USE",
    ),
    "DENY wins over more": (
        state(role(f"{M} fraud MANAGE"), role(f"{M} fraud DENY", name="barred")),
        f"{M} fraud",
        "DENY",
        "DENY by role barred",
    ),
    "DENY on all wins over one by name": (
        state(role(f"{M} fraud MANAGE", f"{M} * DENY")),
        f"{M} fraud",
        "DENY",
        "DENY on * by role analysts",
    ),
    "DENY isn't lifted to the default": (
        state(role(f"{M} fraud DENY"), default="MANAGE"),
        f"{M} fraud",
        "DENY",
        "DENY by role analysts",
    ),
    "a grant is lifted to the default": (
        state(role(f"{M} fraud READ"), default="EDIT"),
        f"{M} fraud",
        "EDIT",
        "default permission",
    ),
    "an older server's NO_PERMISSIONS isn't": (
        state(role(f"{M} fraud NO_PERMISSIONS")),
        f"{M} fraud",
        "NO_PERMISSIONS",
        "role analysts: NO_PERMISSIONS",
    ),
    "a level that MLflow doesn't know": (
        state(role(f"{M} fraud OWNER")),
        f"{M} fraud",
        "NO_PERMISSIONS",
        "role analysts: NO_PERMISSIONS",
    ),
    "a role of another workspace": (
        state(role(f"{M} fraud EDIT", workspace="team-a")),
        f"{M} fraud",
        "READ",
        "default permission",
    ),
    "a workspace's admin is above DENY": (
        state(role("workspace * MANAGE"), role(f"{M} fraud DENY", name="barred")),
        f"{M} fraud",
        "MANAGE",
        "role analysts: MANAGE on the workspace",
    ),
    "another workspace's admin isn't": (
        state(role("workspace * MANAGE", workspace="team-a")),
        f"{M} fraud",
        "READ",
        "default permission",
    ),
    "USE on the workspace says nothing about a model": (
        state(role("workspace * USE"), default="NO_PERMISSIONS"),
        f"{M} fraud",
        "NO_PERMISSIONS",
        "default permission",
    ),
    "the workspace itself": (
        state(role("workspace * USE")),
        "workspace *",
        "USE",
        "role analysts: USE on *",
    ),
    "the workspace has no default": (state(), "workspace *", "NO_PERMISSIONS", "no grant"),
    "versions go with their model": (
        state(role(f"{M} fraud EDIT")),
        f"{V} fraud",
        "EDIT",
        "role analysts: EDIT",
    ),
    "versions higher than their model": (
        state(role(f"{M} fraud READ", f"{V} * MANAGE")),
        f"{V} fraud",
        "MANAGE",
        "role analysts: MANAGE on *",
    ),
    "versions lower than their model": (
        state(role(f"{M} fraud MANAGE", f"{V} * READ")),
        f"{V} fraud",
        "READ",
        "role analysts: READ on *",
    ),
    "versions of a model that can't be read": (
        state(role(f"{V} * MANAGE"), default="NO_PERMISSIONS"),
        f"{V} fraud",
        "NO_PERMISSIONS",
        "default permission",
    ),
    "versions denied": (
        state(role(f"{M} fraud MANAGE", f"{V} * DENY")),
        f"{V} fraud",
        "DENY",
        "DENY on * by role analysts",
    ),
    "versions of a model denied": (
        state(role(f"{M} fraud DENY", f"{V} * MANAGE")),
        f"{V} fraud",
        "DENY",
        "DENY by role analysts",
    ),
    "an older server's NO_PERMISSIONS on versions is no veto": (
        state(role(f"{M} fraud MANAGE", f"{V} * NO_PERMISSIONS")),
        f"{V} fraud",
        "READ",
        "role analysts: MANAGE",
    ),
    "versions by their model's name do nothing": (
        state(role(f"{M} fraud READ", f"{V} fraud MANAGE")),
        f"{V} fraud",
        "READ",
        "role analysts: READ",
    ),
    "a run by its name does nothing": (
        state(role("run abc EDIT")),
        "run abc",
        "READ",
        "default permission",
    ),
    "an endpoint has no default": (state(), "serving_endpoint fraud", "NO_PERMISSIONS", "no grant"),
    "an endpoint": (
        state(role("serving_endpoint fraud USE", "serving_endpoint * READ"), default="MANAGE"),
        "serving_endpoint fraud",
        "USE",
        "role analysts: USE",
    ),
    "an endpoint that is denied": (
        state(role("serving_endpoint * DENY", "serving_endpoint fraud USE")),
        "serving_endpoint fraud",
        "DENY",
        "DENY on * by role analysts",
    ),
    "an endpoint and the workspace's admin": (
        state(role("serving_endpoint * DENY", "workspace * MANAGE")),
        "serving_endpoint fraud",
        "MANAGE",
        "role analysts: MANAGE on the workspace",
    ),
}


@pytest.mark.parametrize(("given", "resource", "expected", "because"), LEVELS.values(), ids=LEVELS)
def test_what_a_user_may_do(given: AccessState, resource: str, expected: str, because: str) -> None:
    kind, name = resource.split()
    assert Effective(given).decide("ann", kind, name) == (expected, because)


@pytest.mark.parametrize("resource", [f"{M} fraud", f"{V} fraud", "workspace *", "serving_endpoint fraud"])
def test_an_administrator_may_do_everything_and_a_stranger_nothing(resource: str) -> None:
    kind, name = resource.split()
    given = state(Role("barred", members=frozenset({"root", "stranger"}), grants=(Grant(kind, "*", "DENY"),)))
    assert Effective(given).decide("root", kind, name) == ("MANAGE", "administrator")
    assert Effective(given).decide("stranger", kind, name) == ("NO_PERMISSIONS", "no such user")


class TestAnotherWorkspace:
    """There are workspaces then, and MLflow gives nothing without a grant."""

    def test_its_roles_count_and_no_default_does(self) -> None:
        given = state(role(f"{M} fraud EDIT", workspace="team-a"), role(f"{M} churn EDIT"))
        assert Effective(given, "team-a").decide("ann", M, "fraud").level == "EDIT"
        assert Effective(given, "team-a").decide("ann", M, "churn").level == "NO_PERMISSIONS"

    def test_a_grant_is_lifted_to_the_default_all_the_same(self) -> None:
        given = state(role(f"{M} fraud READ", workspace="team-a"), default="EDIT")
        assert Effective(given, "team-a").decide("ann", M, "fraud").level == "EDIT"

    def test_an_endpoint_still_asks_the_default_one(self) -> None:
        given = state(
            role("serving_endpoint fraud USE"), role("serving_endpoint * MANAGE", workspace="team-a")
        )
        assert Effective(given, "team-a").decide("ann", "serving_endpoint", "fraud").level == "USE"
