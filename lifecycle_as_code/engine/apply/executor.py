"""The executor of a plan: step by step, with an event for each change. It decides nothing. SQL steps are
transactions; Ray has none, so its steps are recorded before they begin, and undone by name on failure."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Any

from ...kinds.base import Kind, Report, Rollout, ServeKind, Site, SqlKind
from ...model.diagnostics import Diagnostic, LacError
from ...model.events import Done, Event, Failed, Finished, HeldBack, StepStarted, Warned
from ...model.plan import Change, Phase, Plan, Step
from ...model.snapshot import Live, Pending, Record, Recorded
from ...model.spec import Address, Store
from ...stores.mlflow.statistics import ANALYZE_FROM, analyze
from ..background import StopRequest, run_in_background
from ..refresh import with_cluster
from .journal import Journal
from .transaction import refuse_stale, refuse_stale_rows, verify_rows, write_rows

if TYPE_CHECKING:
    from ...stores.ray.client import Cluster

    Effect = Callable[[Cluster, Site, Sequence[Change], Report], list[Rollout] | None]
    """One phase of one serving kind; `undo` reports nothing."""


@dataclass
class Executor:
    """One apply in progress. `cluster` is None where the plan touches no endpoint. `remembered`: our records
    before the first Ray step. `blockers`: for each skipped change, the address that failed or was skipped
    before it. `warm`: the changes whose new replicas are up without traffic."""

    plan: Plan
    journal: Journal
    kinds: Sequence[Kind[Any]]
    site: Site
    cluster: Cluster | None
    stop: Callable[[], bool]
    recorded: Recorded = field(default_factory=Recorded)
    remembered: Recorded = field(default_factory=Recorded)
    failures: dict[Address, Diagnostic] = field(default_factory=dict)
    blockers: dict[Address, Address] = field(default_factory=dict)
    warm: list[Change] = field(default_factory=list)
    done: set[Address] = field(default_factory=set)
    is_checked: bool = False
    is_stopped: bool = False

    def events(self) -> Iterator[Event]:
        """Execute every step. LacError where a SQL step is refused or fails: that step wrote nothing."""
        for phase, group in groupby(self.plan.steps, key=lambda step: step.phase):
            steps = list(group)
            if self.stop() and phase in (Phase.PREPARE, Phase.WARM_UP, Phase.SWITCH):
                yield from self._give_up()
                break
            yield StepStarted(phase, len(self._left(steps)))
            match phase:
                case Phase.PREPARE:
                    yield from self._sql(steps)
                case Phase.WARM_UP:
                    yield from self._warm_up(steps)
                case Phase.SWITCH:
                    yield from self._switch(steps)
                case Phase.CUT_OVER:
                    yield from self._cut_over(steps)
                case Phase.RETIRE:
                    yield from self._retire([s for s in steps if s.store is Store.SERVE])
                    yield from self._sql([s for s in steps if s.store is not Store.SERVE])
            if self.is_stopped:
                break
        yield from self._statistics()
        yield Finished(
            self.journal.apply_id,
            len(self.done),
            len(self.failures),
            len(self.blockers),
            stopped=self.is_stopped,
        )

    def _left(self, steps: Sequence[Step]) -> list[Change]:
        """The steps' changes that neither failed nor are skipped."""
        out = {*self.failures, *self.blockers}
        return [change for step in steps for change in step.changes if change.address not in out]

    # --- SQL

    def _sql(self, steps: Sequence[Step]) -> Iterator[Event]:
        changes = self._left(steps)
        if not changes:
            return
        with self.journal.writing() as db:
            self._check(db, changes)
            rows = [c for c in changes if c.store is not Store.SERVE and c.action.is_difference]
            write_rows(self.kinds, db, rows)
            verify_rows(self.kinds, db, rows)
            former = [c for c in changes if c.after is None or c.moved_from is not None]
            obsolete = [(c.moved_from or c.address, c.store) for c in former]
            self.journal.record(db, _records(changes), obsolete, changes)
        for change in changes:
            yield self._finish(change)

    def _check(self, db: Any, changes: Sequence[Change]) -> None:
        """LacError `stale-plan`: the first transaction compares the whole plan, a later one its own part."""
        specs = {kind.spec.kind: kind.spec for kind in self.kinds}
        self.recorded = self.journal.ledger.read_records(db, specs)
        part = changes if self.is_checked else self.plan.changes
        refuse_stale_rows(self.kinds, db, part, self.recorded, self.plan.moves)
        self.is_checked = True

    def _switch(self, steps: Sequence[Step]) -> Iterator[Event]:
        try:
            yield from self._sql(steps)
        except Exception as error:
            if isinstance(error, LacError) and error.diagnostics[0].code in _LOCK_LOSSES:
                raise
            # nothing was written, so nothing that waited for it may stay up
            yield from self._undo(self.warm)
            raise

    def _finish(self, change: Change) -> Done:
        self.done.add(change.address)
        return Done(change.address, change.action)

    # --- Ray Serve

    def _warm_up(self, steps: Sequence[Step]) -> Iterator[Event]:
        changes = self._left(steps)
        refuse_stale(changes, with_cluster(self.kinds, self._at[0], Live()))
        with self.journal.writing() as db:
            self._check(db, [])
            self.remembered = self.recorded
            # record before making: a crash must not orphan new replicas
            self.journal.record(db, [self._pending_record(c) for c in changes])
        self.warm = changes
        try:
            results = yield from self._phase(changes, lambda kind: kind.warm_up, final=False)
        except StopRequest:
            yield from self._give_up()
            return
        self._forget_attempt((yield from self._report(results)))
        yield from self._skip_followers()

    @property
    def _at(self) -> tuple[Cluster, Site]:
        if self.cluster is None:
            raise RuntimeError("a plan with endpoints needs a cluster")
        return self.cluster, self.site

    def _pending_record(self, change: Change) -> Record:
        last = self.recorded.ours.get(change.address)
        names = next(k.names(self.site, change) for k in self._serving if k.spec.kind == change.address.kind)
        before = last.pending.names if last is not None and last.pending is not None else ()
        spec = last.spec if last is not None else None
        pending = Pending(self.journal.apply_id, tuple(sorted({*before, *names})))
        return Record(change.address, change.store, spec, pending, change.protected)

    @property
    def _serving(self) -> list[ServeKind[Any]]:
        return [kind for kind in self.kinds if isinstance(kind, ServeKind)]

    def _skip_followers(self) -> Iterator[Event]:
        """Skip every endpoint whose alias can't move, and what waits for it."""
        while True:
            yield from self._skip()
            stuck = [c for c in self.warm if c.after and self._block(c, c.after.follows())]
            if not stuck:
                return
            yield from (HeldBack(c.address, self.blockers[c.address]) for c in stuck)
            yield from self._undo(stuck)

    def _block(self, change: Change, needs: Iterable[Address]) -> bool:
        """Whether one of `needs` failed or is skipped, so that the change is skipped."""
        because = next((a for a in needs if a in self.failures or a in self.blockers), None)
        if because is not None:
            self.blockers[change.address] = because
        return because is not None

    def _skip(self) -> Iterator[Event]:
        """Skip the changes that wait for one that failed or is skipped."""
        again = True
        while again:
            again = False
            for change in self.plan.changes:
                address = change.address
                if address in self.failures or address in self.blockers or address in self.done:
                    continue
                if self._block(change, sorted(change.waits_for, key=str)):
                    again = True
                    yield HeldBack(address, self.blockers[address])
                    if change in self.warm:
                        yield from self._undo([change])

    def _cut_over(self, steps: Sequence[Step]) -> Iterator[Event]:
        changes = self._left(steps)
        results = yield from self._phase(changes, lambda kind: kind.cut_over)
        yield from self._undo((yield from self._report(results)))
        yield from self._skip()

    def _retire(self, steps: Sequence[Step]) -> Iterator[Event]:
        changes = self._left(steps)
        if not changes:
            return
        if deletions := [c for c in changes if c.after is None]:
            with self.journal.writing() as db:
                self._check(db, [])
                # record before unmaking: after a crash, half a deletion must not look like drift
                self.journal.record(db, [self._pending_record(c) for c in deletions])
        results = yield from self._phase(changes, lambda kind: kind.retire)
        yield from self._report(results)
        successes = [c for c in changes if c.address not in self.failures]
        with self.journal.writing() as db:
            # forget after unmaking
            obsolete = [(c.address, c.store) for c in successes if c.after is None]
            self.journal.record(db, _records(successes), obsolete, successes)
        for change in successes:
            yield self._finish(change)
        yield from self._skip()

    def _report(self, results: Sequence[Rollout]) -> Generator[Event, None, list[Change]]:
        """Report the failures; returns the changes that failed."""
        for result in results:
            if result.problem is not None:
                self.failures[result.address] = result.problem
                yield Failed(result.address, result.problem)
        return [c for c in self.plan.changes if c.address in {r.address for r in results if r.problem}]

    def _undo(self, changes: Sequence[Change]) -> Iterator[Event]:
        """Undo the warm-up of `changes`: new replicas go, traffic stays where it was."""
        if not changes:
            return
        yield from self._phase(changes, lambda kind: kind.undo)
        self._forget_attempt(changes)

    def _forget_attempt(self, changes: Sequence[Change]) -> None:
        """Restore our records from before the attempt. An object that an interrupted first apply may have
        made stays ours, though nothing is known to have been applied."""
        if not changes:
            return
        self.warm = [c for c in self.warm if c not in changes]
        records = [
            last if last.spec is None else replace(last, pending=None)
            for c in changes
            if (last := self.remembered.ours.get(c.address)) is not None
        ]
        known = {r.address for r in records}
        with self.journal.writing() as db:
            obsolete = [(c.address, c.store) for c in changes if c.address not in known]
            self.journal.record(db, records, obsolete)

    def _give_up(self) -> Iterator[Event]:
        self.is_stopped = True
        yield from self._undo(self.warm)

    def _phase(
        self, changes: Sequence[Change], effect: Callable[[ServeKind[Any]], Effect], *, final: bool = True
    ) -> Generator[Event, None, list[Rollout]]:
        """One phase of every serving kind. Unless `final`, Stopped once the caller asks to stop."""
        if not changes:
            return []
        # Ray knows nothing of our lock
        self.journal.check()
        results: list[Rollout] = []
        for kind in self._serving:
            mine = [c for c in changes if c.address.kind == kind.spec.kind]
            if mine:
                stop = (lambda: False) if final else self.stop
                work = partial(effect(kind), *self._at, mine)
                results += (yield from run_in_background(work, stop)) or []
        return results

    def _statistics(self) -> Iterator[Event]:
        if sum(c.address in self.done for c in self.plan.changes) < ANALYZE_FROM:
            return
        names = {c.address.kind for c in self.plan.changes if c.store is Store.REGISTRY}
        kinds = [kind for kind in self.kinds if isinstance(kind, SqlKind) and kind.spec.kind in names]
        tables = [table for kind in kinds for table in kind.tables]
        if warning := analyze(self.journal.ledger.registry, tables):
            yield Warned(warning)


_LOCK_LOSSES = frozenset({"lock-lost", "commit-unknown"})
"""After these errors the apply may touch nothing more, Ray's apps included."""


def _records(changes: Sequence[Change]) -> list[Record]:
    """The records of the objects that exist after these changes."""
    return [
        Record(c.address, c.store, c.after, protected=c.protected) for c in changes if c.after is not None
    ]
