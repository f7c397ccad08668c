"""What grants let a user do with an endpoint."""

from __future__ import annotations

import itertools

import pytest
from support.endpoint_users import ENDPOINT

from lifecycle_as_code.serving import levels
from lifecycle_as_code.serving.levels import Grant, Level, resolve


def grant(permission: str, pattern: str = ENDPOINT, kind: str = levels.RESOURCE_TYPE) -> Grant:
    return Grant(kind, pattern, permission)


RULES: dict[str, tuple[list[Grant], Level]] = {
    "nothing": ([], "NO_PERMISSIONS"),
    "use": ([grant("USE")], "USE"),
    "read is not use": ([grant("READ")], "READ"),
    "by wildcard": ([grant("USE", "*")], "USE"),
    "another endpoint": ([grant("USE", "other")], "NO_PERMISSIONS"),
    "a pattern is no glob": ([grant("USE", "fra*")], "NO_PERMISSIONS"),
    "another resource type": ([grant("MANAGE", kind="gateway_endpoint")], "NO_PERMISSIONS"),
    "the highest of several": ([grant("READ"), grant("EDIT", "*")], "EDIT"),
    "deny wins": ([grant("MANAGE"), grant("DENY")], "DENY"),
    "deny by wildcard wins": ([grant("MANAGE"), grant("DENY", "*")], "DENY"),
    "deny elsewhere doesn't": ([grant("USE"), grant("DENY", "other")], "USE"),
    "use of the workspace says nothing": ([grant("USE", "*", "workspace")], "NO_PERMISSIONS"),
    "a workspace admin": ([grant("MANAGE", "*", "workspace")], "MANAGE"),
    "deny doesn't bind a workspace admin": ([grant("DENY"), grant("MANAGE", "*", "workspace")], "MANAGE"),
    "a level nobody knows": ([grant("SUPERUSE")], "NO_PERMISSIONS"),
    "MLflow's legacy level": ([grant("NO_PERMISSIONS"), grant("USE")], "USE"),
}


@pytest.mark.parametrize(("grants", "level"), RULES.values(), ids=RULES)
def test_grants_resolve_to_a_level(grants: list[Grant], level: Level) -> None:
    assert resolve(grants, ENDPOINT) == level
    assert resolve(reversed(grants), ENDPOINT) == level


@pytest.mark.filterwarnings("ignore")
def test_every_small_set_of_grants_resolves_as_mlflow_resolves_it() -> None:
    """Against MLflow's functions, for a type of its own: ours isn't in its table."""
    from mlflow.server.auth.permissions import GrantLoadKey
    from mlflow.server.auth.requirements import fold_grants_for_key, is_workspace_admin_grant
    from mlflow.server.auth.sqlalchemy_store import RoleGrantRow

    levels = ["READ", "USE", "EDIT", "MANAGE", "DENY"]
    rows = [grant(level, pattern) for level in levels for pattern in (ENDPOINT, "*", "other")]
    rows += [
        grant("USE", "*", "workspace"),
        grant("MANAGE", "*", "workspace"),
        grant("MANAGE", kind="experiment"),
    ]
    for grants in itertools.chain.from_iterable(itertools.combinations(rows, n) for n in range(4)):
        theirs = [RoleGrantRow(_their_type(g), g.pattern, g.permission) for g in grants]
        if any(map(is_workspace_admin_grant, theirs)):
            expected = "MANAGE"
        else:
            folded = fold_grants_for_key(theirs, GrantLoadKey("gateway_endpoint", ENDPOINT))
            expected = folded.name if folded else "NO_PERMISSIONS"
        assert resolve(grants, ENDPOINT) == expected, grants


def _their_type(g: Grant) -> str:
    return "gateway_endpoint" if g.resource_type == levels.RESOURCE_TYPE else g.resource_type
