"""Small snapshots of the three sorts, and the plan that they give."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from lifecycle_as_code.kinds.model_alias import ModelAlias
from lifecycle_as_code.kinds.model_version import ModelVersion
from lifecycle_as_code.kinds.permission import Permission
from lifecycle_as_code.kinds.registered_model import RegisteredModel
from lifecycle_as_code.kinds.role import Role
from lifecycle_as_code.model.diagnostics import LacError, Source
from lifecycle_as_code.model.plan import Action, Plan
from lifecycle_as_code.model.snapshot import (
    Claim,
    Desired,
    Live,
    Observed,
    Pending,
    Record,
    Recorded,
)
from lifecycle_as_code.model.spec import Address, Spec
from lifecycle_as_code.planning.planner import make_plan

FRAUD = RegisteredModel(name="fraud")
RISK = RegisteredModel(name="fraud", description="Of the risk team.")
SHOP = RegisteredModel(name="fraud", description="Of the shop.")
OTHER = RegisteredModel(name="other")
VERSION = ModelVersion(model="fraud", version=1, source="s3://models/1")
CHAMPION = ModelAlias(model="fraud", alias="champion", version=1)
ANALYSTS = Role(name="analysts")
GRANT = Permission(role="analysts", resource_type="registered_model", resource="fraud", level="READ")
HIDDEN = Permission.model_construct(
    role="__user_3__", resource_type="registered_model", resource="fraud", level="EDIT"
)

CREATE, UPDATE, DELETE, MOVE, RECORD, FORGET = Action


def record(spec: Spec | None, *, of: Spec | None = None, pending: bool = False) -> Record:
    named = of or spec
    assert named is not None
    return Record(named.address, named.store, spec, Pending("an-apply") if pending else None)


def plan(
    desired: Iterable[Spec] = (),
    recorded: Iterable[Spec | Record] = (),
    live: Iterable[Spec | Observed] = (),
    *,
    others: Iterable[tuple[Spec, str]] = (),
    scopes: Mapping[Address, Claim] | None = None,
    referents: Iterable[Address] = (),
    places: Mapping[Address, Source] | None = None,
    **options: Any,
) -> Plan:
    """A plan of these three snapshots."""
    records = [spec if isinstance(spec, Record) else record(spec) for spec in recorded]
    seen = [found if isinstance(found, Observed) else Observed(found) for found in live]
    return make_plan(
        Desired({spec.address: spec for spec in desired}, places or {}, scopes or {}),
        Recorded(
            {r.address: r for r in records},
            {spec.address: owner for spec, owner in others},
        ),
        Live({found.spec.address: found for found in seen}, frozenset(referents)),
        stack="payments",
        **options,
    )


def codes(error: LacError) -> list[str]:
    return [found.code for found in error.diagnostics]
