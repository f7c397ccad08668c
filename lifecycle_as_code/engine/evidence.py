"""Gather the evidence on a plan: which version takes which one's place, and what MLflow knows about both.

Reads only. All of SQL is read in one short transaction, which is over before any file is opened. Nothing in
here decides.

Which version takes which one's place is each kind's to say (`Kind.versions_put_in_place`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from ..kinds.base import Kind, Replacement
from ..model.evidence import NOTHING, Comparison, Direction, Evidence, compare
from ..model.history import Line, since
from ..model.plan import Action, Change, Plan
from ..model.redaction import without_credentials
from ..model.snapshot import Live
from ..model.spec import Address, Spec, Trait, construct, spec_with
from ..stores.mlflow import tracking
from ..stores.mlflow.artifact_root import artifact_root
from ..stores.mlflow.artifacts import read_files
from ..stores.mlflow.lineage import Number
from ..stores.mlflow.mlmodel import MlModel, read_mlmodel
from ..stores.mlflow.remote_artifacts import FILE, Unread
from ..stores.mlflow.sql import reading
from ..stores.mlflow.tracking import Registered
from ..stores.state import history
from .connections import Connections
from .refresh import Snapshots

NOWHERE: Mapping[Address, Address] = MappingProxyType({})


def gather(
    connections: Connections,
    kinds: Mapping[str, Kind[Any]],
    plan: Plan,
    seen: Snapshots,
    *,
    directions: tuple[Direction, ...] = (),
    seconds: float,
    environ: Mapping[str, str] | None = None,
) -> tuple[Comparison, ...]:
    """Both sides of every replacement that `plan` makes, in its order.

    `seen`: what the plan was made from. `seconds`: how long the models' files may take to be read, all
    together; what couldn't be read by then is named in `missing`. `environ`: stands for the process's
    environment, for the credentials of remote stores. LacError only where the database can't be read.
    """
    found = list(replacements(kinds, plan.changes, seen.live, seen.origins))
    numbers = {side: number_of(side, seen.origins) for each in found for side in each.sides}
    if not numbers:
        return ()
    made = {number_of(c.address, seen.origins): r for c in plan.changes if (r := _registered(c)) is not None}
    aliases = spec_with(Trait.ALIAS, {name: kind.spec for name, kind in kinds.items()})
    whole = _read(connections, aliases, {*numbers.values()}, made, seconds, environ)
    # one that is made is known by what it will be
    tagged = {c.address: c for c in plan.changes if c.before and c.before.trait is Trait.VERSION}

    def side(address: Address | None) -> Evidence | None:
        if address is None:
            return None
        known, model = whole[numbers[address]], str(address.key[0])
        return known if known.model == model else replace(known, model=model)

    def comparison(each: Replacement) -> Comparison:
        after = side(each.after)
        if after is not None and each.after in tagged:
            after = replace(after, tags=tags_after(after.tags, tagged[each.after]))
        model = str(each.sides[-1].key[0])
        return compare(each.address, model, side(each.before), after, directions, each.entity)

    return tuple(map(comparison, found))


# --- which


def replacements(
    kinds: Mapping[str, Kind[Any]],
    changes: Iterable[Change],
    live: Live,
    origins: Mapping[Address, Address] = NOWHERE,
) -> Iterator[Replacement]:
    """What takes what's place, in the order of `changes`. `origins`: the current address of what the plan
    renames; under another name a version is the same."""
    by_kind: defaultdict[str, list[Change]] = defaultdict(list)
    for change in changes:
        if change.action in (Action.CREATE, Action.UPDATE, Action.DELETE):
            by_kind[change.address.kind].append(change)
    by_change: defaultdict[Address, list[Replacement]] = defaultdict(list)
    for kind, mine in by_kind.items():
        for each in kinds[kind].versions_put_in_place(mine, live):
            if len({number_of(side, origins) for side in each.sides}) < len(each.sides):
                continue
            by_change[each.address].append(each)
    for change in changes:
        yield from by_change[change.address]


def number_of(version: Address, origins: Mapping[Address, Address]) -> Number:
    """The version as the database has it until the plan is applied."""
    model, number = origins.get(version, version).key
    return str(model), int(number)


def _registered(change: Change) -> Registered | None:
    """A version that the plan makes, as it will be registered."""
    made: Any = change.after
    if change.action is not Action.CREATE or made.trait is not Trait.VERSION:
        return None
    return Registered(made.source, made.storage_location or "", made.run_id, tags=dict(made.tags))


def tags_after(tags: Mapping[str, str], change: Change) -> Mapping[str, str]:
    """A version's tags once its change is made: keys that aren't ours stay."""
    was = getattr(change.before, "tags", NOTHING)
    will_be = getattr(change.after, "tags", NOTHING)
    kept = {key: value for key, value in tags.items() if key not in was}
    return {**kept, **will_be}


# --- what


def _read(
    connections: Connections,
    alias: type[Spec],
    numbers: set[Number],
    made: Mapping[Number, Registered],
    seconds: float,
    environ: Mapping[str, str] | None,
) -> dict[Number, Evidence]:
    with connections.reading() as (ledger, _), reading(ledger.registry) as db:
        workspace = ledger.workspace
        known = tracking.read(db, workspace, numbers, {n: made[n] for n in numbers if n in made})
        root = artifact_root(db, workspace, ledger.artifact_root)
        aliases = [a.address for n, t in known.items() for a in _aliases(alias, n, t.evidence)]
        told = history.of(db, workspace, {alias.kind: alias}, aliases)
    places = {tracked.location for tracked in known.values() if tracked.location}
    found: dict[str, MlModel | Unread] = {}
    # reading what they say takes time as well
    with closing(read_files(places, seconds=seconds, root=root, environ=environ)) as files:
        for place, file in files:
            found[place] = read_mlmodel(file) if isinstance(file, bytes) else file
    return {
        number: with_file(
            with_past(alias, number, tracked.evidence, told), tracked.location, found.get(tracked.location)
        )
        for number, tracked in known.items()
    }


def _aliases(alias: type[Spec], number: Number, evidence: Evidence) -> list[Any]:
    """The version's aliases, as specs of the class `alias`."""
    model, version = number
    return [construct(alias, {"model": model, "alias": a, "version": version}) for a in evidence.aliases]


def with_past(
    alias: type[Spec], number: Number, evidence: Evidence, told: Mapping[Address, Iterable[Line]]
) -> Evidence:
    """The evidence, and since when the version has held its aliases. `told`: what was done to those."""
    if not evidence.aliases:
        return evidence
    times = {
        spec.alias: at
        for spec in _aliases(alias, number, evidence)
        if (at := since(told.get(spec.address, ()), spec)) is not None
    }
    return replace(evidence, since_ms=times)


def with_file(evidence: Evidence, location: str, file: MlModel | Unread | None) -> Evidence:
    """The evidence, and what MLmodel says. `file` None: there was nowhere to look."""
    place = without_credentials(location)
    match file:
        case None if evidence.artifact is False:
            return evidence
        case None:
            return _without(evidence, None, "the artifact: MLflow doesn't say where it is")
        case Unread(_, absent=True):
            return _without(evidence, False, f"the artifact: no {FILE} at {place}")
        case Unread(why):
            return _without(evidence, None, f"the artifact: {FILE} at {place} wasn't read ({why})")
        case MlModel(problem=problem, flavors=flavors) if problem and not flavors:
            return _without(evidence, False, f"the artifact: at {place}, {problem}")
    missing = evidence.missing
    if file.signature is None:
        why = file.problem or "the model was logged without one"
        missing = (*missing, f"the signature: {why}")
    return replace(
        evidence,
        flavors=file.flavors,
        python=file.python,
        mlflow=file.mlflow,
        size=file.size,
        signature=file.signature,
        artifact=True,
        missing=missing,
    )


def _without(evidence: Evidence, artifact: bool | None, why: str) -> Evidence:
    return replace(evidence, artifact=artifact, missing=(*evidence.missing, why))
