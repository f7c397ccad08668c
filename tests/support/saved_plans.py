"""Plans as files, and the rows that an apply of one leaves, for tests of the engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import pytest
from sqlalchemy import create_engine, inspect, text

from lifecycle_as_code.kinds.experiment import Experiment
from lifecycle_as_code.kinds.model_alias import ModelAlias
from lifecycle_as_code.kinds.model_version import ModelVersion
from lifecycle_as_code.kinds.permission import Permission
from lifecycle_as_code.kinds.registered_model import RegisteredModel
from lifecycle_as_code.kinds.role import Role
from lifecycle_as_code.model.diagnostics import LacError
from lifecycle_as_code.model.events import Done, Event
from lifecycle_as_code.model.spec import Spec
from lifecycle_as_code.stack import Stack
from support.bench import Bench

Where = Literal["registry", "auth"]
Tables = Mapping[tuple[str, str], Sequence[str]]

TELLING = {"lac_lock", "lac_applies"}
"""Tables that may tell of a refusal: who held the lock, and what came of it."""


def engine_of(bench: Bench, where: Where) -> Any:
    return create_engine((bench.auth_store if where == "auth" else None) or bench.store)


def outside(bench: Bench, statement: str, where: Where = "registry") -> None:
    """What somebody does who knows MLflow's tables."""
    engine = engine_of(bench, where)
    with engine.begin() as db:
        db.execute(text(statement))
    engine.dispose()


def tables(bench: Bench) -> Tables:
    """Every row of every table, but for those that tell of a refusal."""
    found: dict[tuple[str, str], Sequence[str]] = {}
    for where in ("registry", "auth"):
        engine = engine_of(bench, where)
        with engine.connect() as db:
            for name in inspect(db).get_table_names():
                if name not in TELLING:
                    rows = db.execute(text(f'SELECT * FROM "{name}"')).all()
                    found[where, name] = sorted(map(repr, rows))
        engine.dispose()
    return found


def saved(stack: Stack, **asked: Any) -> bytes:
    return stack.save_plan(stack.plan(**asked))


def applied(stack: Stack, data: bytes) -> list[Event]:
    """As `lac apply FILE`."""
    return list(stack.apply(stack.check_plan(stack.read_plan(data))))


def done(events: Sequence[Event]) -> list[str]:
    return [f"{event.action} {event.address}" for event in events if isinstance(event, Done)]


def refusal(stack: Stack, data: bytes) -> LacError:
    with pytest.raises(LacError) as caught:
        applied(stack, data)
    return caught.value


def codes(error: LacError) -> set[str]:
    return {problem.code for problem in error.diagnostics}


GRANT = Permission(role="analysts", resource_type="registered_model", resource="fraud", level="READ")


def declared(*, later: bool = False) -> list[Spec]:
    """Every kind that is rows, before and after what the plan does."""
    return [
        RegisteredModel(
            name="fraud",
            description="Scores card payments." if later else "Scores payments.",
            tags={"team": "risk", "tier": "gold" if later else "silver"},
        ),
        *(ModelVersion(model="fraud", version=n, source=f"s3://fraud/{n}") for n in (1, 2)),
        ModelVersion(model="fraud", version=3, source="s3://fraud/3", tags={"ok": "yes" if later else "no"}),
        ModelAlias(model="fraud", alias="champion", version=2 if later else 1),
        ModelAlias(model="fraud", alias="new" if later else "old", version=1),
        Experiment(name="nightly", description="Every night." if later else ""),
        *([Experiment(name="weekly")] if later else []),
        Role(name="analysts", description="They read." if later else "", members=("ann",)),
        GRANT.model_copy(update={"level": "EDIT"}) if later else GRANT,
    ]
