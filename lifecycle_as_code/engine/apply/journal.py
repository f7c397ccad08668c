"""One apply's writing: fenced by its lock, told in history, and certain of its commits.

Rows, records and lines of history go into one transaction a store. A commit whose answer was lost is looked
up by the apply's id, so that what was written is never taken for what wasn't.
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
from ...stores.mlflow.errors import DatabaseError
from ...stores.mlflow.settling import certain
from ...stores.mlflow.sql import SqlStore, writing
from ...stores.state import history, lock
from .transaction import Ledger


@dataclass
class Journal:
    """The writer of one apply. `now_ms`: when it began, by the database's clock; MLflow's rows carry it."""

    ledger: Ledger
    grip: lock.Grip
    apply: Apply
    store_id: str = ""
    """The registry's own id."""
    outcome: str = ""
    """How it ended, for history; nothing as long as that isn't known."""
    _counts: dict[str, int] = field(default_factory=dict)

    @classmethod
    def begin(
        cls, ledger: Ledger, grip: lock.Grip, actor: Actor, command: str, environment: str, plan_digest: str
    ) -> Journal:
        """Note who begins what."""
        apply = Apply(
            grip.lock_id, ledger.stack, environment, command, 0, None, "", actor, plan_digest=plan_digest
        )

        def there(db: Connection) -> bool:
            grip.await_own(db)
            return history.begun(db, apply.apply_id)

        with grip.mutex, certain(ledger.registry, apply.apply_id, there) as db:
            grip.check(db)
            apply = replace(apply, started_ms=state.clock_ms(db))
            history.begin(db, apply, ledger.workspace)
            store_id = state.store_id(db)
        return cls(ledger, grip, apply, store_id)

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
        """Note how it ended, whatever that is; whoever lost the lock has nothing to say any more."""
        outcome = "stopped"
        try:
            yield
            outcome = self.outcome
        except LacError as error:
            nothing = "failed" if isinstance(error, DatabaseError) else "refused"
            outcome = "partial" if self._wrote else nothing
            raise
        except Exception:
            outcome = "failed"
            raise
        finally:
            with suppress(LacError), self.grip.mutex, writing(self.ledger.registry) as db:
                self.grip.check(db)
                history.end(db, self.apply_id, self.outcome or outcome or "stopped")

    @property
    def _wrote(self) -> bool:
        return any(self._counts.values())

    def take_over(
        self, db: Databases, former: Mapping[Address, str], records: Mapping[Address, Record]
    ) -> None:
        """Drop other stacks' records of these objects, and tell it in their histories."""
        for stack in sorted({*former.values()}):
            mine = [records[address] for address, owner in former.items() if owner == stack]
            for connection, in_auth in ((db.registry, False), (db.auth, True)):
                lost = [r for r in mine if (r.store is Store.AUTH) is in_auth]
                if connection is None or not lost:
                    continue
                gone = [r.address for r in lost]
                state.save(connection, stack, self.ledger.workspace, self.apply_id, self.now_ms, (), gone)
                reason = f"taken over by stack {self.ledger.stack}"
                told = [Change(r.address, r.store, Action.FORGET, reason, r.spec, None) for r in lost]
                history.note(connection, self.apply_id, stack, self.ledger.workspace, told)

    @contextmanager
    def writing(self) -> Iterator[Databases]:
        """One transaction a store; the registry's commits first. LacError `lock-lost` before anything."""
        ledger = self.ledger
        with self.grip.mutex, ExitStack() as opened:
            auth: Connection | None = None
            # contexts end in the opposite order: what is entered last commits first
            if ledger.auth is not None and not ledger.together:
                auth = opened.enter_context(self._transaction(ledger.auth))
            registry = opened.enter_context(self._transaction(ledger.registry))
            self.grip.check(registry)
            if auth is not None:
                state.install(auth)
                self.grip.fence_off(auth)
            elif ledger.together:
                auth = registry
            yield Databases(registry, auth, ledger.workspace, self.now_ms, ledger.artifact_root)

    def check(self) -> None:
        """LacError `lock-lost` where somebody else has the lock by now."""
        with self.grip.mutex, certain(self.ledger.registry, self.apply_id, self.grip.await_own) as db:
            self.grip.check(db)

    def record(
        self,
        db: Databases,
        kept: Sequence[Record],
        forgotten: Sequence[tuple[Address, Store]] = (),
        done: Sequence[Change] = (),
    ) -> None:
        """Write records, and drop those of `forgotten`, in the database of what they describe; SERVE's are
        the registry's. `done`: what history tells."""
        for connection, in_auth in ((db.registry, False), (db.auth, True)):
            keep = [r for r in kept if (r.store is Store.AUTH) is in_auth]
            drop = [address for address, store in forgotten if (store is Store.AUTH) is in_auth]
            told = [c for c in done if (c.store is Store.AUTH) is in_auth]
            if connection is not None and (keep or drop or told):
                place = (self.ledger.stack, self.ledger.workspace)
                state.save(connection, *place, self.apply_id, self.now_ms, keep, drop)
                history.note(connection, self.apply_id, *place, told)

    @contextmanager
    def _transaction(self, store: SqlStore) -> Iterator[Connection]:
        """One transaction, counted inside of itself; an unanswered commit is settled."""
        number = self._counts.get(store.role, 0) + 1

        def there(db: Connection) -> bool:
            self.grip.await_own(db)
            return history.counted(db, self.apply_id) >= number

        with certain(store, self.apply_id, there) as db:
            yield db
            if state.installed(db):
                history.count(db, self.apply, self.ledger.workspace, number)
        self._counts[store.role] = number
