"""The three snapshots of one moment: desired, recorded and live. Reads every store and writes nothing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from ..kinds.base import Databases, Filter, Kind, Observation, ServeKind, SqlKind
from ..model.diagnostics import Diagnostic
from ..model.diff import fill_computed
from ..model.selector import slots
from ..model.snapshot import Desired, Live, Observed, Recorded
from ..model.spec import Address, Spec, Trait
from ..planning.pinning import Pin, resolve
from ..planning.renames import apply_moves
from ..planning.selection import choose_versions
from ..planning.targeting import Selection, cut_desired, is_selected
from .session import Session

if TYPE_CHECKING:
    from ..stores.ray.client import Cluster

WHOLE = 400
"""Past so many names of a kind, reading the whole workspace is cheaper than naming them."""


@dataclass(frozen=True, slots=True)
class Snapshots:
    """Desired, recorded and live at one moment, with the new names of objects that `moved:` blocks rename.
    `origins`: their names until then. `store_ids`: the databases' own, by role; empty without our tables."""

    desired: Desired
    recorded: Recorded
    live: Live
    origins: Mapping[Address, Address] = field(default_factory=dict)
    store_ids: Mapping[str, str] = field(default_factory=dict)


def take_snapshots(
    session: Session,
    desired: Desired,
    *,
    refresh: bool = True,
    names: Filter | None = None,
    selection: Selection = Selection(),
) -> Snapshots:
    """All three, with `desired` as written but for its version selectors. The SQL stores are read in one
    transaction, which ends before Ray is read. `names`: the objects to observe; by default all that `desired`
    and our records refer to. `refresh=False`: use our records instead of live state. `selection`: the part
    that a plan is limited to; problems outside of it don't count."""
    kinds = list(session.kinds.values())
    with session.connections.reading() as (ledger, warnings), ledger.reading() as db:
        recorded = ledger.read_records(db, session.specs)
        live = observe(kinds, db, names or collect_names(desired, recorded))
        renames = apply_moves(desired, recorded, live, session.specs)
        recorded, live = renames.recorded, renames.live
        basis = live if refresh else as_recorded(recorded, live)
        selected = choose_versions(desired, recorded, with_runs(kinds, db, desired, basis))
        desired = selected.desired
        part = cut_desired(desired, selection, recorded)
        live = settle(kinds, db, part, live)
        store_ids = ledger.read_ids(db)
    problems = [
        problem
        for move, problem in renames.problems
        if move.after in part.objects or is_selected(move.before, selection)
    ]
    problems += [problem for address, problem in selected.problems if address in part.objects]
    desired = replace(desired, choices=tuple(c for c in desired.choices if c.address in part.objects))
    lacking = session.connections.warn_of_missing_secrets(part, session.environ)
    live = replace(live, diagnostics=(*warnings, *lacking, *dict.fromkeys(problems), *live.diagnostics))
    if not refresh:
        return Snapshots(desired, recorded, as_recorded(recorded, live), renames.origins, store_ids)
    with session.connections.cluster() as cluster:
        if cluster is not None:
            live = with_cluster(kinds, cluster, live)
    return Snapshots(desired, recorded, live, renames.origins, store_ids)


def resolve_snapshots(
    session: Session, snapshots: Snapshots, selection: Selection = Selection()
) -> Snapshots:
    """The same with `desired` as a plan compares it: aliases pinned, sources in the store's form. Outside of
    `selection` it stays as written. LacError with every object that can't be resolved."""
    site = session.connections.site(snapshots.store_ids["registry"])
    serving = {name: kind for name, kind in session.kinds.items() if isinstance(kind, ServeKind)}
    pins: dict[str, Pin] = {name: partial(kind.settle, site) for name, kind in serving.items()}
    desired = snapshots.desired
    part = resolve(cut_desired(desired, selection, snapshots.recorded), snapshots.live, pins)
    return replace(snapshots, desired=replace(desired, objects={**desired.objects, **part.objects}))


def collect_names(desired: Desired, recorded: Recorded) -> Filter:
    """All that the manifests and our records name and refer to."""
    addresses = {*desired.objects, *recorded.ours, *desired.scopes, *(move.before for move in desired.moves)}
    if (names := naming(addresses)).names is None:
        return names
    specs = [*desired.objects.values(), *(r.spec for r in recorded.ours.values() if r.spec is not None)]
    addresses |= {slot.owner for spec in desired.objects.values() for slot in slots(spec)}
    return naming({*addresses, *(ref for spec in specs for ref in spec.refs())})


def naming(addresses: Iterable[Address]) -> Filter:
    """These addresses alone, and the objects that share their first key part."""
    names: dict[str, set[str]] = defaultdict(set)
    for address in addresses:
        names[address.kind].add(str(address.key[0]))
    if any(len(of_kind) > WHOLE for of_kind in names.values()):
        return Filter()
    return Filter({kind: frozenset(of_kind) for kind, of_kind in names.items()})


def observe(kinds: Sequence[Kind[Any]], db: Databases, scope: Filter) -> Live:
    """Live state of the SQL stores, by every kind that lives there."""
    return _add(Live(), [kind.observe(db, scope) for kind in kinds if isinstance(kind, SqlKind)])


def _add(live: Live, parts: Sequence[Observation]) -> Live:
    return replace(
        live,
        objects={**live.objects, **{a: observed for part in parts for a, observed in part.objects.items()}},
        referents=live.referents | {a for part in parts for a in part.referents},
        diagnostics=(*live.diagnostics, *(problem for part in parts for problem in part.diagnostics)),
        facts={**live.facts, **{name: fact for part in parts for name, fact in part.facts.items()}},
    )


def settle(kinds: Sequence[Kind[Any]], db: Databases, desired: Desired, live: Live) -> Live:
    """`live` with the desired specs that the SQL stores would keep in another form."""
    forms: dict[Address, Spec] = {}
    problems: list[Diagnostic] = []
    by_kind: dict[str, dict[Address, Spec]] = defaultdict(dict)
    for address, spec in desired.objects.items():
        by_kind[address.kind][address] = spec
    for kind in kinds:
        if isinstance(kind, SqlKind):
            mine = by_kind[kind.spec.kind]
            for address, form in kind.settle(db, mine, live.objects) if mine else ():
                if isinstance(form, Diagnostic):
                    problems.append(replace(form, at=desired.places.get(address)))
                else:
                    forms[address] = form
    return replace(live, settled=forms, diagnostics=(*live.diagnostics, *problems))


def with_runs(kinds: Sequence[Kind[Any]], db: Databases, desired: Desired, live: Live) -> Live:
    """`live` with the declared versions that don't exist yet in MLflow's form, if version selectors may read
    them: a source says which run it is from. `settle` reports what is wrong with them."""
    if not any(True for spec in desired.objects.values() for _ in slots(spec)):
        return live
    versions = {a: spec for a, spec in desired.objects.items() if spec.trait is Trait.VERSION}
    missing = Desired({a: spec for a, spec in versions.items() if a not in live.objects})
    return replace(live, settled=settle(kinds, db, missing, live).settled)


def with_cluster(kinds: Sequence[Kind[Any]], cluster: Cluster, live: Live) -> Live:
    """`live` with the live state of Ray Serve."""
    return _add(live, [kind.observe(cluster) for kind in kinds if isinstance(kind, ServeKind)])


def as_recorded(recorded: Recorded, live: Live) -> Live:
    """`live` with this stack's objects as our records have them: the basis of a plan without a refresh."""
    objects: dict[Address, Observed] = {**live.objects}
    for address, record in recorded.ours.items():
        if record.spec is not None:
            observed = live.objects.get(address)
            facts: Mapping[str, Any] = observed.facts if observed else {}
            spec = fill_computed(record.spec, observed.spec) if observed else record.spec
            objects[address] = Observed(spec, facts)
    return replace(live, objects=objects)
