"""The writer of one apply: fenced by its lock, kept in history, and certain of its commits.

Rows, records and lines of history go into one transaction a store. A commit whose answer was lost is looked
up by the apply's id, so that a lost answer never passes for a lost write.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace

from sqlalchemy import Connection

from ...kinds.base import Databases
from ...model.diagnostics import LacError
from ...model.history import Actor, Apply
from ...model.plan import Action, Change
from ...model.snapshot import Record
from ...model.spec import Address, Store
from ...stores import state
from ...stores.sql.commit import confirm_commit
from ...stores.sql.errors import DatabaseError
from ...stores.sql.store import SqlStore, writing
from ...stores.state import history, lock
from ..ledger import Ledger


@dataclass
class Journal:
    """The writer of one apply. `now_ms`: when it began, by the database's clock; MLflow's rows carry it."""

    ledger: Ledger
    lease: lock.Lease
    apply: Apply
    store_id: str = ""
    """The registry's own id."""
    outcome: str = ""
    """How it ended, for history; empty until then."""
    _counts: dict[str, int] = field(default_factory=dict)

    @classmethod
    def begin(
        cls, ledger: Ledger, lease: lock.Lease, actor: Actor, command: str, environment: str, plan_digest: str
    ) -> Journal:
        """Enter the apply in history."""
        apply = Apply(
            lease.lock_id, ledger.stack, environment, command, 0, None, "", actor, plan_digest=plan_digest
        )

        def there(db: Connection) -> bool:
            lease.await_own(db)
            return history.has_apply(db, apply.apply_id)

        with lease.mutex, confirm_commit(ledger.registry, apply.apply_id, there) as db:
            lease.check(db)
            apply = replace(apply, started_ms=state.clock_ms(db))
            history.begin(db, apply, ledger.workspace)
            store_id = state.store_id(db)
        return cls(ledger, lease, apply, store_id)

    @property
    def apply_id(self) -> str:
        """The id of the apply and of its lock."""
        return self.apply.apply_id

    @property
    def now_ms(self) -> int:
        """When the apply began, in ms since 1970."""
        return self.apply.started_ms

    @contextmanager
    def ending(self) -> Iterator[None]:
        """Enter in history how the apply ended; an apply that lost its lock enters nothing."""
        outcome = "stopped"
        try:
            yield
            outcome = self.outcome
        except LacError as error:
            unwritten = "failed" if isinstance(error, DatabaseError) else "refused"
            outcome = "partial" if any(self._counts.values()) else unwritten
            raise
        except Exception:
            outcome = "failed"
            raise
        finally:
            with suppress(LacError), self.lease.mutex, writing(self.ledger.registry) as db:
                self.lease.check(db)
                history.end(db, self.apply_id, self.outcome or outcome or "stopped")

    def take_over(
        self, db: Databases, former: Mapping[Address, str], records: Mapping[Address, Record]
    ) -> None:
        """Drop other stacks' records of these objects, with a line in their histories."""
        reason = f"taken over by stack {self.ledger.stack}"
        for stack in sorted({*former.values()}):
            mine = [records[address] for address, owner in former.items() if owner == stack]
            lines = [Change(r.address, r.store, Action.FORGET, reason, r.spec) for r in mine]
            self.record(db, (), [(r.address, r.store) for r in mine], lines, stack)

    @contextmanager
    def writing(self) -> Iterator[Databases]:
        """One transaction a store; the registry's commits first. LacError `lock-lost` before anything."""
        ledger = self.ledger
        with self.lease.mutex, ExitStack() as transactions:
            auth: Connection | None = None
            # contexts end in the opposite order: the last one commits first
            if ledger.auth is not None and not ledger.together:
                auth = transactions.enter_context(self._transaction(ledger.auth))
            registry = transactions.enter_context(self._transaction(ledger.registry))
            self.lease.check(registry)
            if auth is not None:
                state.install(auth)
                self.lease.fence_off(auth)
            elif ledger.together:
                auth = registry
            yield Databases(registry, auth, ledger.workspace, self.now_ms, ledger.artifact_root)

    def check(self) -> None:
        """LacError `lock-lost` where the apply no longer has its lock."""
        with (
            self.lease.mutex,
            confirm_commit(self.ledger.registry, self.apply_id, self.lease.await_own) as db,
        ):
            self.lease.check(db)

    def record(
        self,
        db: Databases,
        records: Sequence[Record],
        obsolete: Sequence[tuple[Address, Store]] = (),
        changes: Sequence[Change] = (),
        stack: str = "",
    ) -> None:
        """Write records, drop obsolete ones, and note changes in history, each in its object's database."""
        for connection, in_auth in ((db.registry, False), (db.auth, True)):
            keep = [r for r in records if (r.store is Store.AUTH) is in_auth]
            drop = [address for address, store in obsolete if (store is Store.AUTH) is in_auth]
            lines = [c for c in changes if (c.store is Store.AUTH) is in_auth]
            if connection is not None and (keep or drop or lines):
                place = (stack or self.ledger.stack, self.ledger.workspace)
                state.save(connection, *place, self.apply_id, self.now_ms, keep, drop)
                history.note(connection, self.apply_id, *place, lines)

    @contextmanager
    def _transaction(self, store: SqlStore) -> Iterator[Connection]:
        """One transaction, which counts itself; after a lost answer, the count says whether it committed."""
        number = self._counts.get(store.role, 0) + 1

        def there(db: Connection) -> bool:
            self.lease.await_own(db)
            return history.count_transactions(db, self.apply_id) >= number

        with confirm_commit(store, self.apply_id, there) as db:
            yield db
            if state.schema_version(db):
                history.note_transaction(db, self.apply, self.ledger.workspace, number)
        self._counts[store.role] = number
