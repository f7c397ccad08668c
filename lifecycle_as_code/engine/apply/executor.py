"""Carry a plan out, step by step, telling of each event as it happens.

SQL steps are transactions; Ray's can't be undone by anybody else, so they are remembered before they
are begun, and undone by name where they fail. Nothing here decides what to change.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Any

from ...kinds.base import Kind, Rollout, ServeKind, Site, SqlKind, Tell
from ...model.diagnostics import Diagnostic, LacError
from ...model.events import Done, Event, Failed, Finished, HeldBack, StepStarted, Warned
from ...model.plan import Change, Phase, Plan, Step
from ...model.snapshot import Live, Pending, Record, Recorded
from ...model.spec import Address, Store
from ..background import Stopped, in_background
from ..observation import with_cluster
from .journal import Journal
from .transaction import (
    ANALYZE_FROM,
    analyze,
    load,
    look_again,
    perform,
    read_back,
    refuse_stale,
)

if TYPE_CHECKING:
    from ...stores.ray.client import Cluster

Work = Callable[[ServeKind[Any], list[Change], Tell], list[Rollout]]
"""One phase of one serving kind."""


@dataclass
class Run:
    """One apply under way. `cluster` is None where the plan touches no endpoint."""

    plan: Plan
    journal: Journal
    kinds: Sequence[Kind[Any]]
    site: Site
    cluster: Cluster | None
    stop: Callable[[], bool]
    recorded: Recorded = field(default_factory=Recorded)
    remembered: Recorded = field(default_factory=Recorded)
    failed: dict[Address, Diagnostic] = field(default_factory=dict)
    held: dict[Address, Address] = field(default_factory=dict)
    warm: list[Change] = field(default_factory=list)
    done: set[Address] = field(default_factory=set)
    checked: bool = False
    stopped: bool = False

    def events(self) -> Iterator[Event]:
        """Do it all. LacError where a SQL step is refused or fails: then that step wrote nothing."""
        for phase, group in groupby(self.plan.steps, key=lambda step: step.phase):
            steps = list(group)
            if self.stop() and phase in (Phase.PREPARE, Phase.WARM_UP, Phase.SWITCH):
                yield from self._give_up()
                break
            yield StepStarted(phase, sum(len(self._left(step)) for step in steps))
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
            if self.stopped:
                break
        yield from self._statistics()
        yield Finished(
            self.journal.apply_id, len(self.done), len(self.failed), len(self.held), stopped=self.stopped
        )

    def _left(self, step: Step) -> list[Change]:
        """The step's changes that nothing holds back."""
        return [c for c in step.changes if c.address not in self.failed and c.address not in self.held]

    # --- SQL

    def _sql(self, steps: Sequence[Step]) -> Iterator[Event]:
        changes = [change for step in steps for change in self._left(step)]
        if not changes:
            return
        with self.journal.writing() as db:
            self._check(db, changes)
            made = [c for c in changes if c.store is not Store.SERVE and c.action.is_difference]
            perform(self.kinds, db, made)
            read_back(self.kinds, db, made)
            gone = [c for c in changes if c.after is None or c.moved_from is not None]
            forgotten = [(c.moved_from or c.address, c.store) for c in gone]
            self.journal.record(db, _kept(changes), forgotten, changes)
        for change in changes:
            yield self._finish(change)

    def _check(self, db: Any, changes: Sequence[Change]) -> None:
        """Everything that the plan saw, in the first transaction; a later one's own part again."""
        specs = {kind.spec.kind: kind.spec for kind in self.kinds}
        self.recorded = load(self.journal.ledger, db, specs)
        asked = changes if self.checked else self.plan.changes
        look_again(self.kinds, db, asked, self.recorded, self.plan.moves)
        self.checked = True

    def _switch(self, steps: Sequence[Step]) -> Iterator[Event]:
        try:
            yield from self._sql(steps)
        except Exception as error:
            if isinstance(error, LacError) and error.diagnostics[0].code in _NOT_OURS_ANY_MORE:
                raise
            # whatever it was, nothing was written: so nothing that waited for it may stay up
            yield from self._take_back(self.warm)
            raise

    def _finish(self, change: Change) -> Done:
        self.done.add(change.address)
        return Done(change.address, change.action)

    # --- Ray Serve

    def _warm_up(self, steps: Sequence[Step]) -> Iterator[Event]:
        changes = [change for step in steps for change in self._left(step)]
        refuse_stale(changes, with_cluster(self.kinds, self._at[0], Live()))
        with self.journal.writing() as db:
            self._check(db, [])
            self.remembered = self.recorded
            # remember before making: a crash must not orphan what comes up
            self.journal.record(db, [self._begun(c) for c in changes])
        self.warm = changes
        try:
            results = yield from self._phase(changes, self._warming, final=False)
        except Stopped:
            yield from self._give_up()
            return
        self._forget_attempt((yield from self._report(results)))
        yield from self._hold_followers()

    def _warming(self, kind: ServeKind[Any], changes: list[Change], tell: Tell) -> list[Rollout]:
        return kind.warm_up(*self._at, changes, tell)

    def _undoing(self, kind: ServeKind[Any], changes: list[Change], tell: Tell) -> list[Rollout]:
        kind.undo(*self._at, changes, tell)
        return []

    def _cutting(self, kind: ServeKind[Any], changes: list[Change], tell: Tell) -> list[Rollout]:
        return kind.cut_over(*self._at, changes, tell)

    def _retiring(self, kind: ServeKind[Any], changes: list[Change], tell: Tell) -> list[Rollout]:
        return kind.retire(*self._at, changes, tell)

    @property
    def _at(self) -> tuple[Cluster, Site]:
        if self.cluster is None:
            raise RuntimeError("a plan with endpoints needs a cluster")
        return self.cluster, self.site

    def _begun(self, change: Change) -> Record:
        last = self.recorded.ours.get(change.address)
        names = next(k.names(self.site, change) for k in self._serving if k.spec.kind == change.address.kind)
        before = last.pending.names if last is not None and last.pending is not None else ()
        spec = last.spec if last is not None else None
        pending = Pending(self.journal.apply_id, tuple(sorted({*before, *names})))
        return Record(change.address, change.store, spec, pending, change.protected)

    @property
    def _serving(self) -> list[ServeKind[Any]]:
        return [kind for kind in self.kinds if isinstance(kind, ServeKind)]

    def _hold_followers(self) -> Iterator[Event]:
        """Whatever follows an alias that can't move stays with it, and so on."""
        while True:
            yield from self._hold()
            stuck = [
                c for c in self.warm if c.after is not None and self._blocker(c.after.follows()) is not None
            ]
            if not stuck:
                return
            for change in stuck:
                assert change.after is not None
                because = self._blocker(change.after.follows())
                assert because is not None
                self.held[change.address] = because
                yield HeldBack(change.address, because)
            yield from self._take_back(stuck)

    def _blocker(self, addresses: Any) -> Address | None:
        return next((a for a in addresses if a in self.failed or a in self.held), None)

    def _hold(self) -> Iterator[Event]:
        """Hold back what waits for something that failed or is held back."""
        again = True
        while again:
            again = False
            for change in self.plan.changes:
                if (
                    change.address in self.failed
                    or change.address in self.held
                    or change.address in self.done
                ):
                    continue
                if (because := self._blocker(sorted(change.waits_for, key=str))) is not None:
                    self.held[change.address] = because
                    again = True
                    yield HeldBack(change.address, because)
                    if change in self.warm:
                        yield from self._take_back([change])

    def _cut_over(self, steps: Sequence[Step]) -> Iterator[Event]:
        changes = [change for step in steps for change in self._left(step)]
        results = yield from self._phase(changes, self._cutting)
        yield from self._take_back((yield from self._report(results)))
        yield from self._hold()

    def _retire(self, steps: Sequence[Step]) -> Iterator[Event]:
        changes = [change for step in steps for change in self._left(step)]
        if not changes:
            return
        if going := [c for c in changes if c.after is None]:
            with self.journal.writing() as db:
                self._check(db, [])
                # remember before unmaking: what is half gone after a crash was nobody else's doing
                self.journal.record(db, [self._begun(c) for c in going])
        results = yield from self._phase(changes, self._retiring)
        yield from self._report(results)
        good = [c for c in changes if c.address not in self.failed]
        with self.journal.writing() as db:
            # forget after unmaking
            gone = [(c.address, c.store) for c in good if c.after is None]
            self.journal.record(db, _kept(good), gone, good)
        for change in good:
            yield self._finish(change)
        yield from self._hold()

    def _report(self, results: Sequence[Rollout]) -> Generator[Event, None, list[Change]]:
        """Tell of what failed; those changes are returned."""
        for result in results:
            if result.problem is not None:
                self.failed[result.address] = result.problem
                yield Failed(result.address, result.problem)
        return [c for c in self.plan.changes if c.address in {r.address for r in results if r.problem}]

    def _take_back(self, changes: Sequence[Change]) -> Iterator[Event]:
        """Undo the warm-up of `changes`: what came up goes, traffic is where it was."""
        if not changes:
            return
        yield from self._phase(changes, self._undoing)
        self._forget_attempt(changes)

    def _forget_attempt(self, changes: Sequence[Change]) -> None:
        """Our records as they were before the attempt. What an interrupted first apply may have made stays
        ours, though nothing is known to have been applied."""
        if not changes:
            return
        self.warm = [c for c in self.warm if c not in changes]
        restored = [
            last if last.spec is None else replace(last, pending=None)
            for c in changes
            if (last := self.remembered.ours.get(c.address)) is not None
        ]
        known = {r.address for r in restored}
        with self.journal.writing() as db:
            gone = [(c.address, c.store) for c in changes if c.address not in known]
            self.journal.record(db, restored, gone)

    def _give_up(self) -> Iterator[Event]:
        self.stopped = True
        yield from self._take_back(self.warm)

    def _phase(
        self, changes: Sequence[Change], work: Work, *, final: bool = True
    ) -> Generator[Event, None, list[Rollout]]:
        """One phase of every serving kind. Unless `final`, Stopped once the caller asked to stop."""
        if not changes:
            return []
        # Ray can't tell a latecomer from the holder of the lock
        self.journal.check()
        results: list[Rollout] = []
        for kind in self._serving:
            mine = [c for c in changes if c.address.kind == kind.spec.kind]
            if mine:
                stop = _never if final else self.stop
                results += yield from in_background(partial(work, kind, mine), stop)
        return results

    def _statistics(self) -> Iterator[Event]:
        if sum(c.address in self.done for c in self.plan.changes) < ANALYZE_FROM:
            return
        names = {c.address.kind for c in self.plan.changes if c.store is Store.REGISTRY}
        kinds = [kind for kind in self.kinds if isinstance(kind, SqlKind) and kind.spec.kind in names]
        tables = [table.name for kind in kinds for table in kind.tables]
        if tables and (warning := analyze(self.journal.ledger.registry, tables)):
            yield Warned(warning)


_NOT_OURS_ANY_MORE = frozenset({"lock-lost", "commit-unknown"})
"""Whoever gets these may touch nothing more, Ray's apps neither."""


def _kept(changes: Sequence[Change]) -> list[Record]:
    """The records of what these changes leave there."""
    return [
        Record(c.address, c.store, c.after, protected=c.protected) for c in changes if c.after is not None
    ]


def _never() -> bool:
    return False
