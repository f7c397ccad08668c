"""Gather the evidence on a plan: which version takes which one's place, and what MLflow knows about both.

Reads only. All of SQL is read in one short transaction, which is over before any file is opened. Nothing in
here decides.

| change | before | after |
|---|---|---|
| an alias is made, moved, deleted | the version that it pointed at; none | the one that it will; none |
| a version is registered | the highest one below it that is there; none | itself |
| a served entity comes, changes, goes | the version behind it; none | the one that will be; none |

What changes about a version that is there (its tags, its description) puts nothing in anything's place.
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
from .connections import Connections
from .refresh import Snapshots

NOWHERE: Mapping[Address, Address] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Replacement:
    """One version in the place of another, at least one of which there is. `entity`: the part of the object
    where; empty for all of it."""

    address: Address
    entity: str
    before: Address | None
    after: Address | None

    @property
    def sides(self) -> tuple[Address, ...]:
        """Those that there are."""
        return tuple(side for side in (self.before, self.after) if side is not None)


def gather(
    connections: Connections,
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
    found = list(replacements(plan.changes, seen.live, seen.origins))
    numbers = {side: number_of(side, seen.origins) for each in found for side in each.sides}
    if not numbers:
        return ()
    made = {number_of(c.address, seen.origins): r for c in plan.changes if (r := _registered(c)) is not None}
    whole = _read(connections, {*numbers.values()}, made, seconds, environ)
    # one that is made is known by what it will be
    tagged = {c.address: c for c in plan.changes if c.address.kind == ModelVersion.kind and c.before}

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
    changes: Iterable[Change], live: Live, origins: Mapping[Address, Address] = NOWHERE
) -> Iterator[Replacement]:
    """What takes what's place, as the table above has it. `origins`: what is called otherwise until now;
    under another name a version is the same."""
    there: defaultdict[KeyPart, list[int]] | None = None
    for change in changes:
        if change.action not in (Action.CREATE, Action.UPDATE, Action.DELETE):
            continue
        if change.address.kind == ModelVersion.kind:
            if change.action is Action.CREATE:
                there = _there(live) if there is None else there
                yield Replacement(change.address, "", _below(change.address, there), change.address)
            continue
        before = change.before.stands_for() if change.before else {}
        after = change.after.stands_for() if change.after else {}
        for entity in dict.fromkeys((*after, *before)):
            was, will_be = before.get(entity), after.get(entity)
            if (entity in before and was is None) or (entity in after and will_be is None):
                # an alias that isn't resolved, in a plan that is about something else
                continue
            if was is None or will_be is None or number_of(was, origins) != number_of(will_be, origins):
                yield Replacement(change.address, entity, was, will_be)


def number_of(version: Address, origins: Mapping[Address, Address]) -> Number:
    """The version as the database has it until the plan is applied."""
    model, number = version.key
    former = origins.get(Address("registered_model", (model,)))
    return str(former.key[0] if former else model), int(number)


def _there(live: Live) -> defaultdict[KeyPart, list[int]]:
    """The numbers of each model's versions, but for deleted ones."""
    found: defaultdict[KeyPart, list[int]] = defaultdict(list)
    for address in live.objects:
        if address.kind == ModelVersion.kind and live.present(address):
            found[address.key[0]].append(int(address.key[1]))
    return found


def _below(version: Address, there: Mapping[KeyPart, Sequence[int]]) -> Address | None:
    model, number = version.key
    highest = max((n for n in there.get(model, ()) if n < int(number)), default=None)
    return None if highest is None else Address(ModelVersion.kind, (model, highest))


def _registered(change: Change) -> Registered | None:
    """A version that the plan makes, as it will be registered."""
    made = change.after
    if change.action is not Action.CREATE or not isinstance(made, ModelVersion):
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
    numbers: set[Number],
    made: Mapping[Number, Registered],
    seconds: float,
    environ: Mapping[str, str] | None,
) -> dict[Number, Evidence]:
    with connections.reading() as (ledger, _), reading(ledger.registry) as db:
        workspace = ledger.workspace
        known = tracking.read(db, workspace, numbers, {n: made[n] for n in numbers if n in made})
        root = artifact_root(db, workspace, ledger.artifact_root)
        aliases = [_alias(n, alias) for n, t in known.items() for alias in t.evidence.aliases]
        told = history.of(db, workspace, {ModelAlias.kind: ModelAlias}, aliases)
    places = {tracked.location for tracked in known.values() if tracked.location}
    found: dict[str, MlModel | Unread] = {}
    # reading what they say takes time as well
    with closing(read_files(places, seconds=seconds, root=root, environ=environ)) as files:
        for place, file in files:
            found[place] = read_mlmodel(file) if isinstance(file, bytes) else file
    return {
        number: with_file(
            with_past(number, tracked.evidence, told), tracked.location, found.get(tracked.location)
        )
        for number, tracked in known.items()
    }


def _alias(number: Number, alias: str) -> Address:
    return Address(ModelAlias.kind, (number[0], alias))


def with_past(number: Number, evidence: Evidence, told: Mapping[Address, Iterable[Line]]) -> Evidence:
    """The evidence, and since when the version has held its aliases. `told`: what was done to those."""
    if not evidence.aliases:
        return evidence
    model, version = number
    held = {}
    for alias in evidence.aliases:
        address = _alias(number, alias)
        spec = ModelAlias.model_construct(model=model, alias=alias, version=version)
        if (at := since(told.get(address, ()), spec)) is not None:
            held[alias] = at
    return replace(evidence, since_ms=held)


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
