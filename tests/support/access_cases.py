"""Users, roles and grants at random, as MLflow's auth database may hold them, and what to ask of each."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import Connection, select

from lifecycle_as_code.serving.levels import rank
from lifecycle_as_code.stores.mlflow.tables import role_permissions, roles, user_role_assignments, users
from support.auth_client import V2, V3
from support.mlflow_fixture import cheap_hash

PASSWORD = "cheap-to-check"
OTHER = "team-a"
MODEL, VERSION = "registered_model", "registered_model_version"


class Request(NamedTuple):
    """What is asked of the server, and from which level of which type on it is let through.

    Some of them change something that nobody looks at, the others fail behind the door: 403 is the door's
    answer alone.
    """

    method: str
    path: str
    body: Mapping[str, str]
    type: str
    needs: str


def requests(model: str) -> dict[str, Request]:
    """Every request by what it is about."""
    name, version = {"name": model}, {"name": model, "version": "1"}
    tag, absent = {"key": "k", "value": "v"}, {"key": "x"}
    # to a user whom nobody has heard of
    grant = {"username": "nobody", "permission": "READ", "resource_type": MODEL, "resource_id": model}
    models, versions = f"{V2}/registered-models", f"{V2}/model-versions"
    return {
        "read": Request("GET", f"{models}/get", name, MODEL, "READ"),
        "tag": Request("POST", f"{models}/set-tag", name | tag, MODEL, "EDIT"),
        "grant": Request("POST", f"{V3}/users/permissions/grant", grant, MODEL, "MANAGE"),
        "read version": Request("GET", f"{versions}/get", version, VERSION, "READ"),
        "tag version": Request("POST", f"{versions}/set-tag", version | tag, VERSION, "EDIT"),
        "untag version": Request("DELETE", f"{versions}/delete-tag", version | absent, VERSION, "MANAGE"),
    }


@dataclass
class Dice:
    """A reproducible source of cases about these models (and experiments, by id)."""

    random: random.Random
    models: Sequence[str]
    experiments: Sequence[str] = ("1",)

    def grants(self) -> dict[tuple[str, str], str]:
        """A role's grants: level by type and pattern."""
        made = [self._grant() for _ in range(self.random.choice([0, 1, 1, 2, 2, 3, 4]))]
        return {(kind, pattern): level for kind, pattern, level in made}

    def _grant(self) -> tuple[str, str, str]:
        pick = self.random.choice
        # NO_PERMISSIONS is what older servers wrote
        level = pick(["READ", "READ", "USE", "EDIT", "EDIT", "MANAGE", "MANAGE", "DENY", "NO_PERMISSIONS"])
        model = pick(self.models)
        weights = {
            (MODEL, model, level): 45,
            (MODEL, "*", level): 15,
            (VERSION, "*", level): 15,
            ("workspace", "*", pick(["USE", "USE", "MANAGE"])): 5,
            ("experiment", pick([*self.experiments, "*"]), level): 5,
            # none of these reaches a model
            (MODEL, f"{model[:3]}*", level): 3,
            (MODEL, f"{model}x", level): 3,
            (VERSION, model, level): 3,
            ("prompt", "*", level): 2,
            ("serving_endpoint", "*", level): 2,
            ("workspace", model, "MANAGE"): 2,
        }
        return self.random.choices([*weights], [*weights.values()])[0]

    def fill(self, auth: Connection, prefix: str, *, people: int, kinds_of_people: int) -> list[str]:
        """Write that many users, and roles to share among them; their names begin with `prefix`."""
        chance = self.random.random
        names = [f"{prefix}{number}" for number in range(people)]
        secret = cheap_hash(PASSWORD)
        auth.execute(
            users.insert(),
            [{"username": name, "password_hash": secret, "is_admin": chance() < 0.03} for name in names],
        )
        query = select(users.c.username, users.c.id).where(users.c.username.in_(names))
        ids = {row.username: row.id for row in auth.execute(query)}
        given = [
            {"name": f"{prefix}role{number}", "workspace": OTHER if chance() < 0.2 else "default"}
            for number in range(kinds_of_people)
        ]
        own = [{"name": f"__user_{ids[name]}__", "workspace": "default"} for name in names if chance() < 0.25]
        auth.execute(roles.insert(), [*given, *own])
        wanted = {row["name"] for row in (*given, *own)}
        query = select(roles.c.name, roles.c.id).where(roles.c.name.in_(wanted))
        role_ids = {row.name: row.id for row in auth.execute(query)}
        auth.execute(
            role_permissions.insert(),
            [
                {"role_id": number, "resource_type": kind, "resource_pattern": pattern, "permission": level}
                for number in role_ids.values()
                for (kind, pattern), level in self.grants().items()
            ],
        )
        shared = [role_ids[row["name"]] for row in given]
        pairs: list[dict[str, Any]] = []
        for name in names:
            some = self.random.sample(shared, self.random.choice([0, 1, 1, 2, 2, 3]))
            mine = [role_ids[hidden] for hidden in (f"__user_{ids[name]}__",) if hidden in role_ids]
            pairs += [{"user_id": ids[name], "role_id": number} for number in (*some, *mine)]
        auth.execute(user_role_assignments.insert(), pairs)
        return names


def lets_through(level: str, needs: str) -> bool:
    """Whether a level is enough; MLflow's are a ladder."""
    return rank(level) >= rank(needs)
