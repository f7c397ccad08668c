"""The evidence on a plan: which version takes which one's place, and MLflow's facts about both.

Reads only. All of SQL is read in one short transaction, which ends before any file is opened. Nothing in here
decides.

| change | before | after |
|---|---|---|
| an alias is created, moved, deleted | the version that it points at; none | the one that it will; none |
| a version is registered | the highest existing one below it; none | itself |
| a served entity is added, changed, removed | its version; none | its version afterwards; none |

A change of an existing version (its tags, its description) replaces nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from types import MappingProxyType

from ..kinds.model_alias import ModelAlias
from ..kinds.model_version import ModelVersion
from ..model.evidence import NOTHING, Comparison, Direction, Evidence
from ..model.history import Line, since
from ..model.plan import Action, Change, Plan
from ..model.redaction import without_credentials
from ..model.snapshot import Live
from ..model.spec import Address, KeyPart
from ..review.evidence import compare
from ..stores.mlflow import tracking
from ..stores.mlflow.artifact_root import artifact_root
from ..stores.mlflow.artifacts import read_files
from ..stores.mlflow.lineage import Number
from ..stores.mlflow.mlmodel import MlModel, read_mlmodel
from ..stores.mlflow.remote_artifacts import FILE, Unread
from ..stores.mlflow.sql import reading
from ..stores.mlflow.tracking import Registered
from ..stores.state import history
from .refresh import Snapshots
from .session import Session

NOWHERE: Mapping[Address, Address] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Replacement:
    """One version in the place of another; one of the two may be None. `entity`: the part of the object where
    it happens; empty for the whole."""

    address: Address
    entity: str
    before: Address | None
    after: Address | None

    @property
    def sides(self) -> tuple[Address, ...]:
        """The two versions, without None."""
        return tuple(side for side in (self.before, self.after) if side is not None)


def gather_evidence(
    session: Session, plan: Plan, snapshots: Snapshots, directions: tuple[Direction, ...] = ()
) -> tuple[Comparison, ...]:
    """Both sides of every replacement that `plan` makes, in its order.

    `snapshots`: those that the plan was made from. `missing` names the models' files that can't be read in
    the time that lac.yaml allows. LacError only where the database can't be read.
    """
    origins = snapshots.origins
    every = list(replacements(plan.changes, snapshots.live, origins))
    numbers = {side: number_of(side, origins) for each in every for side in each.sides}
    if not numbers:
        return ()
    new = {number_of(c.address, origins): r for c in plan.changes if (r := _registration(c)) is not None}
    evidence = _read(session, {*numbers.values()}, new)
    # a new version's tags are its change's already
    updates = {c.address: c for c in plan.changes if c.address.kind == ModelVersion.kind and c.before}

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


# --- which versions


def replacements(
    changes: Iterable[Change], live: Live, origins: Mapping[Address, Address] = NOWHERE
) -> Iterator[Replacement]:
    """The replacements of the table above. `origins`: the names of renamed objects until now; a rename
    replaces no version."""
    existing: defaultdict[KeyPart, list[int]] | None = None
    for change in changes:
        if change.action not in (Action.CREATE, Action.UPDATE, Action.DELETE):
            continue
        if change.address.kind == ModelVersion.kind:
            if change.action is Action.CREATE:
                existing = _list_numbers(live) if existing is None else existing
                yield Replacement(change.address, "", _below(change.address, existing), change.address)
            continue
        before = change.before.stands_for() if change.before else {}
        after = change.after.stands_for() if change.after else {}
        for entity in dict.fromkeys((*after, *before)):
            was, will_be = before.get(entity), after.get(entity)
            if (entity in before and was is None) or (entity in after and will_be is None):
                # an unresolved alias, outside of the part that the plan is limited to
                continue
            if was is None or will_be is None or number_of(was, origins) != number_of(will_be, origins):
                yield Replacement(change.address, entity, was, will_be)


def number_of(version: Address, origins: Mapping[Address, Address]) -> Number:
    """The version's name in the database until the plan is applied."""
    model, number = version.key
    former = origins.get(Address("registered_model", (model,)))
    return str(former.key[0] if former else model), int(number)


def _list_numbers(live: Live) -> defaultdict[KeyPart, list[int]]:
    """The numbers of each model's versions, but for deleted ones."""
    numbers: defaultdict[KeyPart, list[int]] = defaultdict(list)
    for address in live.objects:
        if address.kind == ModelVersion.kind and live.present(address):
            numbers[address.key[0]].append(int(address.key[1]))
    return numbers


def _below(version: Address, existing: Mapping[KeyPart, Sequence[int]]) -> Address | None:
    model, number = version.key
    highest = max((n for n in existing.get(model, ()) if n < int(number)), default=None)
    return None if highest is None else Address(ModelVersion.kind, (model, highest))


def _registration(change: Change) -> Registered | None:
    """A version that the plan creates, as MLflow will have it."""
    spec = change.after
    if change.action is not Action.CREATE or not isinstance(spec, ModelVersion):
        return None
    return Registered(spec.source, spec.storage_location or "", spec.run_id, tags=dict(spec.tags))


def tags_after(tags: Mapping[str, str], change: Change) -> Mapping[str, str]:
    """A version's tags after its change: keys that aren't ours stay."""
    before = getattr(change.before, "tags", NOTHING)
    after = getattr(change.after, "tags", NOTHING)
    return {**{key: value for key, value in tags.items() if key not in before}, **after}


# --- what MLflow knows


def _read(session: Session, numbers: set[Number], new: Mapping[Number, Registered]) -> dict[Number, Evidence]:
    with session.connections.reading() as (ledger, _), reading(ledger.registry) as db:
        workspace = ledger.workspace
        versions = tracking.read(db, workspace, numbers, {n: new[n] for n in numbers if n in new})
        root = artifact_root(db, workspace, ledger.artifact_root)
        aliases = [_alias(n, alias) for n, t in versions.items() for alias in t.evidence.aliases]
        lines = history.of(db, workspace, {ModelAlias.kind: ModelAlias}, aliases)
    places = {tracked.location for tracked in versions.values() if tracked.location}
    models: dict[str, MlModel | Unread] = {}
    # parsing them takes time as well
    limit = session.settings.evidence_seconds
    with closing(read_files(places, seconds=limit, root=root, environ=session.environ)) as files:
        for place, file in files:
            models[place] = read_mlmodel(file) if isinstance(file, bytes) else file
    return {
        number: with_file(
            with_past(number, tracked.evidence, lines), tracked.location, models.get(tracked.location)
        )
        for number, tracked in versions.items()
    }


def _alias(number: Number, alias: str) -> Address:
    return Address(ModelAlias.kind, (number[0], alias))


def with_past(number: Number, evidence: Evidence, lines: Mapping[Address, Iterable[Line]]) -> Evidence:
    """The evidence, and since when the version has had its aliases. `lines`: the aliases' history."""
    if not evidence.aliases:
        return evidence
    model, version = number
    times = {}
    for alias in evidence.aliases:
        address = _alias(number, alias)
        spec = ModelAlias.model_construct(model=model, alias=alias, version=version)
        if (at := since(lines.get(address, ()), spec)) is not None:
            times[alias] = at
    return replace(evidence, since_ms=times)


def with_file(evidence: Evidence, location: str, file: MlModel | Unread | None) -> Evidence:
    """The evidence, and the facts of the MLmodel file. `file` None: its place is unknown."""
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
