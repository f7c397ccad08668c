"""A stack's databases: MLflow's rows, and our records and history beside them. Reads only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from sqlalchemy import Connection

from ..kinds.base import Databases
from ..model.diagnostics import Diagnostic, LacError
from ..model.history import Apply, Line
from ..model.plan import Plan
from ..model.snapshot import Recorded
from ..model.spec import Address, Spec, Store
from ..stores import state
from ..stores.sql.store import SqlStore, reading
from ..stores.state import history


@dataclass(frozen=True, slots=True)
class Ledger:
    """Where a stack's rows and records are. `auth` is `registry` where both are one database."""

    stack: str
    registry: SqlStore
    auth: SqlStore | None = None
    workspace: str = "default"
    artifact_root: str = "./mlruns"

    @property
    def together(self) -> bool:
        """Whether the registry and the grants are one database, and so one transaction."""
        return self.auth is not None and self.auth.url == self.registry.url

    @contextmanager
    def reading(self) -> Iterator[Databases]:
        """One snapshot of each store."""
        with ExitStack() as connections:
            registry: Connection = connections.enter_context(reading(self.registry))
            auth: Connection | None = None
            if self.auth is not None:
                auth = registry if self.together else connections.enter_context(reading(self.auth))
            yield Databases(registry, auth, self.workspace, 0, self.artifact_root)

    def read_ids(self, db: Databases) -> dict[str, str]:
        """The databases' own ids by role, as they are kept in them; empty where our tables aren't there."""
        ids = {"registry": state.store_id(db.registry)}
        return ids if db.auth is None else {**ids, "auth": state.store_id(db.auth)}

    def read_records(self, db: Databases, specs: Mapping[str, type[Spec]]) -> Recorded:
        """This stack's records, and the other stacks' objects, in every open database."""
        part = state.load(db.registry, self.stack, specs, self.workspace, (Store.REGISTRY, Store.SERVE))
        if db.auth is None:
            return part
        grants = state.load(db.auth, self.stack, specs, self.workspace, (Store.AUTH,))
        return Recorded(
            {**part.ours, **grants.ours},
            {**part.others, **grants.others},
            part.protected_elsewhere | grants.protected_elsewhere,
            {**part.elsewhere, **grants.elsewhere},
        )

    def read_history(
        self, db: Databases, specs: Mapping[str, type[Spec]], address: Address | None = None
    ) -> list[Apply]:
        """The stack's applies, the first one first; with `address`, those that changed it. The registry has
        how an apply ended; its lines come from both databases."""
        mine = (self.stack, self.workspace, specs)
        if db.auth is None or db.auth is db.registry:
            return history.read(db.registry, *mine, address)
        in_auth = history.read(db.auth, *mine, address)
        beside = {apply.apply_id: apply.lines for apply in in_auth}
        in_registry = history.read(db.registry, *mine, None if beside else address)
        applies = [
            replace(a, lines=(*_about(a.lines, address), *beside.get(a.apply_id, ()))) for a in in_registry
        ]
        # an apply that only the auth database has ended there, too: its upgrade
        applies += [a for a in in_auth if a.ended_ms is not None]
        applies.sort(key=lambda apply: (apply.started_ms, apply.apply_id))
        return [apply for apply in applies if address is None or apply.lines]

    def refuse_second_apply(self, db: Databases, plan: Plan) -> None:
        """LacError `plan-already-applied` where an apply has committed any change of this plan: it must not
        bring back what was undone since. An apply that committed nothing leaves it good."""
        applies = [
            apply
            for connection in dict.fromkeys((db.registry, db.auth))
            if connection is not None
            for apply in history.of_plan(connection, self.stack, self.workspace, plan.plan_id)
        ]
        if not applies:
            return
        last = max(applies, key=lambda apply: apply.started_ms)
        part = "it" if last.outcome == "complete" else "a part of it"
        when = datetime.fromtimestamp(last.started_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        raise LacError(
            Diagnostic(
                "plan-already-applied",
                "the plan was already applied",
                f"Apply {last.apply_id} by {last.actor} applied {part} on {when}.",
                hint="nothing was written; run `lac plan` again and review the new plan",
            )
        )


def _about(lines: Sequence[Line], address: Address | None) -> Iterator[Line]:
    return (line for line in lines if address in (None, line.address))
