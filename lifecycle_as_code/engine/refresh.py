"""Take all three snapshots of one moment. Reads every store, and writes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..kinds.base import Databases, Kind, ServeKind, Wanted
from ..model.selector import slots
from ..model.snapshot import Desired, Live, Recorded
from ..model.spec import Address, Spec, Trait
from ..planning.pinning import Pin, resolve
from ..planning.renames import moved
from ..planning.selection import chosen
from ..planning.targeting import Selection, asked, part_of
from .apply.transaction import load
from .connections import Connections
from .observation import as_recorded, observe, settled, wanted, with_cluster


@dataclass(frozen=True, slots=True)
class Snapshots:
    """Desired, recorded and live at one moment; `desired` is resolved, unless that was not asked for.

    What a `moved:` block renames has its new name in all three; `origins` holds the one until then.
    `store_ids`: the databases' own ids, by role; empty where they don't know us yet.
    """

    desired: Desired
    recorded: Recorded
    live: Live
    origins: Mapping[Address, Address] = field(default_factory=dict)
    store_ids: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Camera:
    """What takes them: a stack's connections and its kinds."""

    connections: Connections
    kinds: Mapping[str, Kind[Any]]

    @property
    def specs(self) -> dict[str, type[Spec]]:
        """Every kind's Spec class."""
        return {name: kind.spec for name, kind in self.kinds.items()}

    def take(
        self,
        desired: Desired,
        *,
        refresh: bool = True,
        resolved: bool = True,
        names: Wanted | None = None,
        selection: Selection = Selection(),
    ) -> Snapshots:
        """All three. The SQL snapshot is closed before Ray is asked.

        `names`: what to observe; by default what `desired` and our records name and refer to.
        `refresh=False`: believe our records of what is ours instead of looking. `selection`: what a plan in
        part is about; what can't be resolved elsewhere is left as written.
        """
        kinds = list(self.kinds.values())
        with self.connections.reading() as (ledger, warnings), ledger.reading() as db:
            recorded = load(ledger, db, self.specs)
            live = observe(kinds, db, names or wanted(desired, recorded))
            there = moved(desired, recorded, live, self.specs)
            seen = there.live if refresh else as_recorded(there.recorded, there.live)
            found = chosen(desired, there.recorded, with_runs(kinds, db, desired, seen))
            desired = found.desired
            part = part_of(desired, selection, there.recorded)
            live = settled(kinds, db, part, there.live)
            store_ids = ledger.ids(db)
        wrong = [
            problem
            for move, problem in there.problems
            if move.after in part.objects or asked(move.before, selection)
        ]
        wrong += [problem for address, problem in found.problems if address in part.objects]
        desired = replace(desired, choices=tuple(c for c in desired.choices if c.address in part.objects))
        live = replace(live, diagnostics=(*warnings, *dict.fromkeys(wrong), *live.diagnostics))
        if refresh:
            with self.connections.cluster() as cluster:
                if cluster is not None:
                    live = with_cluster(kinds, cluster, live)
        else:
            live = as_recorded(there.recorded, live)
        if resolved:
            objects = self.resolve(part, live, store_ids).objects
            desired = replace(desired, objects={**desired.objects, **objects})
        return Snapshots(desired, there.recorded, live, there.origins, store_ids)

    def resolved(self, seen: Snapshots) -> Snapshots:
        """The same with `desired` as a plan compares it. LacError with everything that can't be resolved."""
        return replace(seen, desired=self.resolve(seen.desired, seen.live, seen.store_ids))

    def resolve(self, desired: Desired, live: Live, store_ids: Mapping[str, str]) -> Desired:
        """`desired` as a plan compares it. LacError with everything that can't be resolved."""
        site = self.connections.site(store_ids["registry"])

        def pin(kind: ServeKind[Any]) -> Pin:
            return lambda mine, expected: kind.settle(site, mine, expected)

        return resolve(desired, live, {n: pin(k) for n, k in self.kinds.items() if isinstance(k, ServeKind)})


def with_runs(kinds: Sequence[Kind[Any]], db: Databases, desired: Desired, live: Live) -> Live:
    """`live` with the declared versions that are still to be made in MLflow's form, if selectors may look at
    them: a source tells which run it is from. What is wrong with them is told when all is settled."""
    if not any(True for spec in desired.objects.values() for _ in slots(spec)):
        return live
    declared = {a: s for a, s in desired.objects.items() if s.trait is Trait.VERSION}
    made = {a: s for a, s in declared.items() if a not in live.objects}
    return replace(live, settled=settled(kinds, db, Desired(made), live).settled)
