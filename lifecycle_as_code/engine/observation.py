"""Read live: every kind's objects, in a fixed number of queries, and desired specs in the stores' form."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..kinds.base import Databases, Kind, ServeKind, SqlKind, Wanted
from ..model.diagnostics import Diagnostic
from ..model.diff import as_chosen
from ..model.selector import slots
from ..model.snapshot import Desired, Live, Observed, Recorded
from ..model.spec import Address, Spec

if TYPE_CHECKING:
    from ..stores.ray.client import Cluster

WHOLE = 400
"""Past so many names of a kind, reading the whole workspace is cheaper than naming them."""


def wanted(desired: Desired, recorded: Recorded) -> Wanted:
    """What the manifests and our records name and refer to."""
    addresses = {*desired.objects, *recorded.ours, *desired.scopes, *(move.before for move in desired.moves)}
    if (found := naming(addresses)).names is None:
        return found
    specs = [*desired.objects.values(), *(r.spec for r in recorded.ours.values() if r.spec is not None)]
    addresses |= {slot.owner for spec in desired.objects.values() for slot in slots(spec)}
    return naming({*addresses, *(ref for spec in specs for ref in spec.refs())})


def naming(addresses: Iterable[Address]) -> Wanted:
    """Just these addresses, and what hangs on their first key part."""
    names: dict[str, set[str]] = defaultdict(set)
    for address in addresses:
        names[address.kind].add(str(address.key[0]))
    if any(len(found) > WHOLE for found in names.values()):
        return Wanted()
    return Wanted({kind: frozenset(found) for kind, found in names.items()})


def observe(kinds: Sequence[Kind[Any]], db: Databases, wanted: Wanted) -> Live:
    """What the SQL stores hold, by every kind that lives there."""
    seen = [kind.observe(db, wanted) for kind in kinds if isinstance(kind, SqlKind)]
    return Live(
        objects={address: found for part in seen for address, found in part.objects.items()},
        referents=frozenset(address for part in seen for address in part.referents),
        diagnostics=tuple(problem for part in seen for problem in part.diagnostics),
        facts={name: fact for part in seen for name, fact in part.facts.items()},
    )


def settled(kinds: Sequence[Kind[Any]], db: Databases, desired: Desired, live: Live) -> Live:
    """`live` with the desired specs that the SQL stores would keep in another form."""
    forms: dict[Address, Spec] = {}
    problems: list[Diagnostic] = []
    by_kind: dict[str, dict[Address, Spec]] = defaultdict(dict)
    for address, spec in desired.objects.items():
        by_kind[address.kind][address] = spec
    for kind in kinds:
        if isinstance(kind, SqlKind):
            mine = by_kind[kind.spec.kind]
            for address, found in kind.settle(db, mine, live.objects) if mine else ():
                if isinstance(found, Diagnostic):
                    problems.append(replace(found, at=desired.places.get(address)))
                else:
                    forms[address] = found
    return replace(live, settled=forms, diagnostics=(*live.diagnostics, *problems))


def with_cluster(kinds: Sequence[Kind[Any]], cluster: Cluster, live: Live) -> Live:
    """`live` with what Ray Serve holds."""
    seen = [kind.observe(cluster) for kind in kinds if isinstance(kind, ServeKind)]
    return replace(
        live,
        objects={**live.objects, **{a: found for part in seen for a, found in part.objects.items()}},
        referents=live.referents | {a for part in seen for a in part.referents},
        diagnostics=(*live.diagnostics, *(problem for part in seen for problem in part.diagnostics)),
        facts={**live.facts, **{name: fact for part in seen for name, fact in part.facts.items()}},
    )


def as_recorded(recorded: Recorded, live: Live) -> Live:
    """`live`, but with what is ours as our records have it: a plan that doesn't look for drift."""
    believed: dict[Address, Observed] = {**live.objects}
    for address, record in recorded.ours.items():
        if record.spec is not None:
            found = live.objects.get(address)
            facts: Mapping[str, Any] = found.facts if found else {}
            believed[address] = Observed(as_chosen(record.spec, found.spec) if found else record.spec, facts)
    return replace(live, objects=believed)
