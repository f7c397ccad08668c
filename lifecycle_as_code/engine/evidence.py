"""The evidence on a plan: which version takes which one's place, and MLflow's facts about both. Reads only:
all of SQL in one short transaction, which ends before any file is opened."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from ..kinds.base import Kind, Replacement
from ..model.evidence import NOTHING, Comparison, Direction, Evidence
from ..model.history import Line, since
from ..model.plan import Action, Change, Plan
from ..model.redaction import without_credentials
from ..model.snapshot import Live
from ..model.spec import Address, Spec, Trait, construct, spec_with
from ..review.evidence import compare
from ..stores.mlflow import tracking
from ..stores.mlflow.artifact_root import artifact_root
from ..stores.mlflow.artifacts import FILE, ReadFailure, read_files
from ..stores.mlflow.lineage import Number
from ..stores.mlflow.mlmodel import MlModel, read_mlmodel
from ..stores.mlflow.tracking import Registration
from ..stores.sql.store import reading
from ..stores.state import history
from .refresh import Snapshots
from .session import Session

NOWHERE: Mapping[Address, Address] = MappingProxyType({})


def gather_evidence(
    session: Session, plan: Plan, snapshots: Snapshots, directions: tuple[Direction, ...] = ()
) -> tuple[Comparison, ...]:
    """Both sides of every replacement that `plan` makes, in its order. `missing` names the models' files that
    can't be read in the time that lac.yaml allows. LacError only where the database can't be read."""
    origins = snapshots.origins
    every = list(replacements(session.kinds, plan.changes, snapshots.live, origins))
    numbers = {side: number_of(side, origins) for each in every for side in each.sides}
    if not numbers:
        return ()
    new = {number_of(c.address, origins): r for c in plan.changes if (r := _registration(c)) is not None}
    evidence = _read(session, {*numbers.values()}, new)
    # a new version's tags are its change's already
    updates = {c.address: c for c in plan.changes if c.before and c.before.trait is Trait.VERSION}

    def side(address: Address | None) -> Evidence | None:
        if address is None:
            return None
        version, model = evidence[numbers[address]], str(address.key[0])
        return version if version.model == model else replace(version, model=model)

    def comparison(each: Replacement) -> Comparison:
        after = side(each.after)
        if after is not None and each.after in updates:
            after = replace(after, tags=tags_after(after.tags, updates[each.after]))
        model = str(each.sides[-1].key[0])
        return compare(each.address, model, side(each.before), after, directions, each.entity)

    return tuple(map(comparison, every))


def replacements(
    kinds: Mapping[str, Kind[Any]],
    changes: Iterable[Change],
    live: Live,
    origins: Mapping[Address, Address] = NOWHERE,
) -> Iterator[Replacement]:
    """The replacements in the order of `changes`. `origins`: the present names of renamed objects."""
    by_kind: defaultdict[str, list[Change]] = defaultdict(list)
    for change in changes:
        if change.action in (Action.CREATE, Action.UPDATE, Action.DELETE):
            by_kind[change.address.kind].append(change)
    by_change: defaultdict[Address, list[Replacement]] = defaultdict(list)
    for kind, mine in by_kind.items():
        for each in kinds[kind].versions_put_in_place(mine, live):
            if len({number_of(side, origins) for side in each.sides}) == len(each.sides):
                by_change[each.address].append(each)
    for change in changes:
        yield from by_change[change.address]


def number_of(version: Address, origins: Mapping[Address, Address]) -> Number:
    """The version's name in the database until the plan is applied."""
    model, number = origins.get(version, version).key
    return str(model), int(number)


def _registration(change: Change) -> Registration | None:
    """A version that the plan creates, as MLflow will have it."""
    spec: Any = change.after
    if change.action is not Action.CREATE or spec.trait is not Trait.VERSION:
        return None
    return Registration(spec.source, spec.storage_location or "", spec.run_id, tags=dict(spec.tags))


def tags_after(tags: Mapping[str, str], change: Change) -> Mapping[str, str]:
    """A version's tags after its change: keys that aren't ours stay."""
    before = getattr(change.before, "tags", NOTHING)
    after = getattr(change.after, "tags", NOTHING)
    return {**{key: value for key, value in tags.items() if key not in before}, **after}


def _read(
    session: Session, numbers: set[Number], new: Mapping[Number, Registration]
) -> dict[Number, Evidence]:
    alias = spec_with(Trait.ALIAS, session.specs)
    with session.connections.reading() as (ledger, _), reading(ledger.registry) as db:
        workspace = ledger.workspace
        versions = tracking.read(db, workspace, numbers, {n: new[n] for n in numbers if n in new})
        root = artifact_root(db, workspace, ledger.artifact_root)
        aliases = [a.address for n, t in versions.items() for a in _aliases(alias, n, t.evidence)]
        lines = history.of(db, workspace, {alias.kind: alias}, aliases)
    places = {tracked.location for tracked in versions.values() if tracked.location}
    models: dict[str, MlModel | ReadFailure] = {}
    # parsing them takes time as well
    limit = session.settings.evidence_seconds
    with closing(read_files(places, seconds=limit, root=root, environ=session.environ)) as files:
        for place, file in files:
            models[place] = read_mlmodel(file) if isinstance(file, bytes) else file
    return {
        number: with_file(
            with_past(alias, number, tracked.evidence, lines), tracked.location, models.get(tracked.location)
        )
        for number, tracked in versions.items()
    }


def _aliases(alias: type[Spec], number: Number, evidence: Evidence) -> list[Any]:
    """The version's aliases, as specs of the class `alias`."""
    model, version = number
    return [construct(alias, {"model": model, "alias": a, "version": version}) for a in evidence.aliases]


def with_past(
    alias: type[Spec], number: Number, evidence: Evidence, lines: Mapping[Address, Iterable[Line]]
) -> Evidence:
    """The evidence, and since when the version has had its aliases. `lines`: the aliases' history."""
    times = {
        spec.alias: at
        for spec in _aliases(alias, number, evidence)
        if (at := since(lines.get(spec.address, ()), spec)) is not None
    }
    return replace(evidence, since_ms=times) if times else evidence


def with_file(evidence: Evidence, location: str, file: MlModel | ReadFailure | None) -> Evidence:
    """The evidence, and the facts of the MLmodel file. `file` None: its place is unknown."""
    place = without_credentials(location)
    match file:
        case None if evidence.artifact is False:
            return evidence
        case None:
            return _without(evidence, None, "the artifact: MLflow doesn't say where it is")
        case ReadFailure(_, absent=True):
            return _without(evidence, False, f"the artifact: no {FILE} at {place}")
        case ReadFailure(why):
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
