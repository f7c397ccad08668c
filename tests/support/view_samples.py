"""Kinds, changes and plans for tests of views: small, and independent of the real kinds."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated, Any, ClassVar

from pydantic import Field

from lifecycle_as_code.model.diagnostics import Diagnostic, Source
from lifecycle_as_code.model.diff import diff
from lifecycle_as_code.model.events import (
    Done,
    Event,
    Failed,
    Finished,
    HeldBack,
    Locked,
    Progress,
    StepStarted,
)
from lifecycle_as_code.model.plan import Action, Change, Mode, Phase, Plan
from lifecycle_as_code.model.spec import Address, ByKey, Immutable, Key, Part, Ref, Spec, Store, Tags
from lifecycle_as_code.planning.ordering import build_steps, link_changes, sort_changes


class Model(Spec):
    """A model.

    More about it.
    """

    kind: ClassVar[str] = "model"
    section: ClassVar[str] = "models"
    store: ClassVar[Store] = Store.REGISTRY
    name: Annotated[str, Key()]
    """Its name."""
    description: str = ""
    """Words about it."""
    tags: Tags = Field(default_factory=dict)
    """Labels."""


class Alias(Spec):
    """A name for a version."""

    kind: ClassVar[str] = "alias"
    section: ClassVar[str] = "aliases"
    store: ClassVar[Store] = Store.REGISTRY
    name: Annotated[str, Key(), Ref("model")]
    """The model."""
    version: Annotated[int, Immutable("declare another")]
    """The version."""


class Entity(Part):
    """A part of an endpoint."""

    name: str
    version: str
    replicas: int = 1
    """How many."""


class Endpoint(Spec):
    """Serves models."""

    kind: ClassVar[str] = "endpoint"
    section: ClassVar[str] = "endpoints"
    store: ClassVar[Store] = Store.SERVE
    name: Annotated[str, Key()]
    """Its name."""
    entities: Annotated[tuple[Entity, ...], ByKey("name")] = ()
    """What it serves."""

    def refs(self) -> Iterator[Address]:
        return iter([Address("alias", (self.name,))])

    def follows(self) -> Iterator[Address]:
        return self.refs()


def make_change(
    before: Spec | None, after: Spec | None, reason: str = "", action: Action | None = None
) -> Change:
    """A change with action, reason and fields as planning would give them."""
    side = after or before
    assert side is not None
    if before is None:
        return Change(side.address, side.store, Action.CREATE, reason or "declared", None, after)
    if after is None:
        return Change(side.address, side.store, Action.DELETE, reason or "no longer declared", before, None)
    return Change(
        side.address,
        side.store,
        action or Action.UPDATE,
        reason or "manifest changed",
        before,
        after,
        diff(before, after),
    )


def make_plan(*changes: Change, **settings: Any) -> Plan:
    ordered = sort_changes(link_changes({change.address: change for change in changes}))
    return replace(Plan("payments", "prod", tuple(ordered), build_steps(ordered)), **settings)


WARNING = Diagnostic(
    "open-endpoint",
    "it answers everybody",
    "`fraud` has no permissions.",
    hint="list some",
    at=Source("fraud.yaml", 3, 5),
    severity="warning",
)


MOVABLE = type("Movable", (Model,), {"movable": True, "__doc__": "One that can be renamed."})


def make_move(
    spec: Spec, origin: Address, action: Action = Action.MOVE, before: Spec | None = None
) -> Change:
    reason = f"moved from {origin}" if action is Action.MOVE else "manifest changed"
    return replace(make_change(before or spec, spec, reason, action), moved_from=origin)


def make_refresh_plan(*changes: Change) -> Plan:
    return make_plan(*changes, mode=Mode.REFRESH_ONLY)


def strip(text: str) -> str:
    return re.sub(r"\x1b\[[\d;]*m", "", text)


NASTY = [
    "\x1b[2J",
    "\x1b]0;title\x07",
    "a\rb",
    "a\x08b",
    "\x9b31m",
    "\u202edesrever",
    "\u2066isolated",
    "zero\u200bwidth",
    "joined\u200dup",
    "\ufeffmark",
    "soft\u00adhyphen",
    "filler\u3164",
    "variation\ufe0f",
    "tag\U000e0041",
    "line\u2028separator",
    "lone\ud800surrogate",
    "del\x7f",
    "tab\tbed",
]


FRAUD = Address("endpoint", ("fraud",))


CHAMPION = Address("alias", ("fraud",))


ERROR = Diagnostic(
    "rollout-failed", "the endpoint didn't come up", "Ray says: no such file.", hint="look there"
)


PARTLY: list[Event] = [
    Locked("id"),
    StepStarted(Phase.WARM_UP, 1),
    Progress("a replica comes up", FRAUD),
    Failed(FRAUD, ERROR),
    StepStarted(Phase.SWITCH, 2),
    HeldBack(CHAMPION, FRAUD),
    Done(Address("model", ("churn",)), Action.CREATE),
    Done(Address("model", ("so",)), Action.RECORD),
    Finished("id", 2, 1, 1),
]
