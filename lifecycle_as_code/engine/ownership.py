"""What a stack owns, changed without a plan: live objects imported, owned ones forgotten."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import uuid4

from ..kinds.base import Filter
from ..manifest.bind import visible_address
from ..manifest.readback import list_undeclarable
from ..manifest.write import write
from ..model.diagnostics import Diagnostic, refuse
from ..model.diff import restrict_to_owned
from ..model.plan import Action, Change
from ..model.snapshot import Desired, Live, Observed, Record, Recorded
from ..model.spec import Address, OwnedKeys, Spec, find_fields, parse_address
from ..planning.guards import is_protected
from ..stores.state import lock
from .apply.run import writing
from .ledger import Ledger
from .refresh import take_snapshots
from .session import Session

RESERVED = "mlflow."
"""The prefix of MLflow's own tags, which are never ours."""


@dataclass(frozen=True, slots=True)
class Import:
    """The imported objects. `yaml` declares those that no manifest declares. `skipped`: why objects, or tags
    of them, can't be declared. `former`: the stacks that owned the objects."""

    addresses: tuple[Address, ...]
    records: tuple[Record, ...]
    yaml: str
    skipped: tuple[Diagnostic, ...] = ()
    former: Mapping[Address, str] = field(default_factory=dict)


def import_objects(
    session: Session,
    addresses: Sequence[Address] | None,
    *,
    write: Callable[[str], None] | None,
    take_over: bool,
) -> Import:
    """Record live objects as they are; `Stack.import_objects` describes the rest."""
    snapshots = take_snapshots(session, Desired(), names=Filter())
    result = make_import(
        addresses, session.desired, snapshots.recorded, snapshots.live, session.specs, take_over=take_over
    )
    if result.yaml and write is not None:
        write(result.yaml)
    if not result.records:
        return result
    reasons = {address: f"taken over from stack {owner}" for address, owner in result.former.items()}
    registry = session.connections.ledger().registry
    with ExitStack() as locks:
        # no apply of a former owner may be in progress
        for owner in sorted({*result.former.values()}):
            locks.enter_context(lock.hold(registry, owner, str(uuid4()), what="import"))
        journal = locks.enter_context(writing(session, "import"))
        with journal.writing() as db:
            _refuse_other_owner(result, journal.ledger.read_records(db, session.specs))
            journal.take_over(db, result.former, {r.address: r for r in result.records})
            lines = [
                Change(r.address, r.store, Action.RECORD, reasons.get(r.address, "imported"), None, r.spec)
                for r in result.records
            ]
            journal.record(db, result.records, (), lines)
        journal.outcome = "complete"
    return result


def forget_objects(session: Session, addresses: Sequence[Address]) -> None:
    """Drop the records of `addresses`. LacError where there is none."""
    # before the lock, which needs a database: there may be none yet
    with session.connections.reading() as (ledger, _):
        _own_records(session, ledger, addresses)
    with writing(session, "state rm") as journal:
        ours = _own_records(session, journal.ledger, addresses)
        lines = [
            Change(a, ours[a].store, Action.FORGET, "forgotten on request", ours[a].spec, None)
            for a in addresses
        ]
        with journal.writing() as db:
            journal.record(db, (), [(line.address, line.store) for line in lines], lines)
        journal.outcome = "complete"


def _own_records(session: Session, ledger: Ledger, addresses: Sequence[Address]) -> Mapping[Address, Record]:
    """This stack's records. LacError where one of `addresses` has none."""
    with ledger.reading() as db:
        ours = ledger.read_records(db, session.specs).ours
    refuse(
        Diagnostic("not-recorded", "this stack doesn't own the object", f"{a} has no record.")
        for a in addresses
        if a not in ours
    )
    return ours


def make_import(
    addresses: Sequence[Address] | None,
    desired: Desired,
    recorded: Recorded,
    live: Live,
    specs: Mapping[str, type[Spec]],
    *,
    take_over: bool = False,
) -> Import:
    """Records and YAML for `addresses`, or for every object that no stack manages (None). What `load` would
    refuse to read back is skipped. LacError where an address names no object, one that can't be declared, or,
    unless `take_over`, one that another stack owns."""
    names = addresses if addresses is not None else _list_unmanaged(recorded, live)
    refuse(problem for a in names if (problem := _obstacle(a, recorded, live, take_over=take_over)))
    every = {address: _cut(live.objects[address], desired.objects.get(address)) for address in names}
    new = {address: spec for address, spec in every.items() if address not in desired.objects}
    skipped = {a: why for a, spec in new.items() if (why := _out_of_reach(spec, desired, live, specs))}
    tags: dict[Address, list[Diagnostic]] = {}
    for address, reason in list_undeclarable([spec for a, spec in new.items() if a not in skipped], specs):
        new[address], tags[address] = _without_bad_tags(new[address], specs)
        if not tags[address] or any(list_undeclarable([new[address]], specs)):
            skipped[address] = _undeclarable(address, reason)
    skipped |= _find_look_alikes([spec for a, spec in new.items() if a not in skipped], desired, specs)
    if addresses is not None:
        # named by the caller: to skip one is a failure
        refuse(replace(why, severity="error") for why in skipped.values())
    imports = {a: spec for a, spec in {**every, **new}.items() if a not in skipped}
    # protection outlives its owner: a take-over is no way around it
    records = tuple(
        Record(
            address,
            spec.store,
            spec,
            protected=address in recorded.protected_elsewhere
            or is_protected(desired.lifecycles.get(address), recorded.ours.get(address)),
        )
        for address, spec in imports.items()
    )
    undeclared = [spec for address, spec in imports.items() if address in new]
    text = write(undeclared, specs) if undeclared else ""
    former = {address: recorded.others[address] for address in imports if address in recorded.others}
    warnings = [why for a in names for why in ([skipped[a]] if a in skipped else tags.get(a, ()))]
    return Import(tuple(imports), records, text, tuple(warnings), former)


def _refuse_other_owner(result: Import, recorded: Recorded) -> None:
    """LacError where an object changed its owner since the snapshots."""
    refuse(
        _owner_error(r.address, owner or "this one")
        for r in result.records
        if (owner := recorded.others.get(r.address)) != result.former.get(r.address)
    )


def _list_unmanaged(recorded: Recorded, live: Live) -> list[Address]:
    return [
        address
        for address, observed in sorted(live.objects.items(), key=lambda item: str(item[0]))
        if not observed.tombstone
        and not observed.hidden
        and not observed.builtin
        and address not in recorded.ours
        and address not in recorded.others
    ]


def _owner_error(address: Address, owner: str) -> Diagnostic:
    return Diagnostic(
        "owned-elsewhere",
        "the object belongs to another stack",
        f"{address} is managed by stack `{owner}`.",
        hint=f"`lac import --take-over {address.shell_word}` moves it to this stack;"
        " then remove it from the other stack's manifests",
    )


def _obstacle(address: Address, recorded: Recorded, live: Live, *, take_over: bool) -> Diagnostic | None:
    if (owner := recorded.others.get(address)) and not take_over:
        return _owner_error(address, owner)
    if live.present(address) is None:
        return Diagnostic(
            "nothing-to-import",
            "there is no such object",
            f"{address} is in none of the stores.",
            hint="`lac import --all` imports every object that no stack manages",
        )
    return None


def _cut(observed: Observed, declared: Spec | None) -> Spec:
    """The spec without MLflow's tags; if declared, with its declared keys only: no apply may remove
    others."""
    spec = observed.spec
    if declared is not None:
        return restrict_to_owned(spec, declared)
    keys: dict[str, Any] = {
        name: {k: v for k, v in getattr(spec, name).items() if not k.startswith(RESERVED)}
        for name in find_fields(type(spec), OwnedKeys)
    }
    return spec.model_copy(update=keys)


def _out_of_reach(
    spec: Spec, desired: Desired, live: Live, specs: Mapping[str, type[Spec]]
) -> Diagnostic | None:
    """Why no manifest of this stack can declare the object, whatever its fields are."""
    address = spec.address
    try:
        parse_address(str(address), specs)
    except ValueError as error:
        return _undeclarable(address, f"{error}.")
    if address in desired.removals:
        return Diagnostic(
            "contradiction",
            "the manifests contradict each other",
            f"A `removed:` block removes {address} from the stack.",
            hint="remove the `removed:` block to import the object",
            at=desired.removals[address],
            severity="warning",
        )
    for ref in spec.refs():
        # such as a deleted experiment that still has grants
        if live.present(ref) is None and ref not in live.referents:
            return Diagnostic(
                "dangling",
                "the object refers to one that doesn't exist",
                f"{address}: there is no {ref}.",
                hint="remove it with MLflow's own tools, or leave it unmanaged",
                severity="warning",
            )
    return None


def _undeclarable(address: Address, reason: str, tag: str = "") -> Diagnostic:
    return Diagnostic(
        "cannot-be-declared",
        f"{'a tag of the object' if tag else 'the object'} can't be written as a manifest",
        f"{address}{f', {tag}' if tag else ''}: {reason}",
        hint="change it with MLflow first, or leave it unmanaged",
        severity="warning",
    )


def _without_bad_tags(spec: Spec, specs: Mapping[str, type[Spec]]) -> tuple[Spec, list[Diagnostic]]:
    """The spec without the owned keys that no manifest can declare, and a warning for each of those: an apply
    leaves undeclared keys alone. The same spec where something else is wrong with it."""
    fields = sorted(find_fields(type(spec), OwnedKeys))
    bare = spec.model_copy(update={name: {} for name in fields})
    if any(list_undeclarable([bare], specs)):
        return spec, []
    good: dict[str, dict[str, Any]] = {name: {} for name in fields}
    warnings: list[Diagnostic] = []
    for name in fields:
        for key, value in getattr(spec, name).items():
            problem = next(list_undeclarable([bare.model_copy(update={name: {key: value}})], specs), None)
            if problem is None:
                good[name][key] = value
            else:
                warnings.append(_undeclarable(spec.address, problem[1], f"{name}.{key}"))
    return bare.model_copy(update=good), warnings


def _find_look_alikes(
    specs: Sequence[Spec], desired: Desired, classes: Mapping[str, type[Spec]]
) -> dict[Address, Diagnostic]:
    """The objects whose names look identical to another's, and all that refer to them."""
    kinds = list(classes)
    first = {visible_address(address): address for address in desired.objects}
    warnings: dict[Address, Diagnostic] = {}
    for spec in sorted(specs, key=lambda spec: (kinds.index(spec.kind), *map(str, spec.address.key))):
        address = spec.address
        other = first.setdefault(visible_address(address), address)
        alike = next((ref for ref in spec.refs() if ref in warnings), None)
        if other == address and alike is None:
            continue
        detail = f"{address} looks like {other}." if alike is None else f"{address}: {alike} is skipped."
        warnings[address] = Diagnostic(
            "look-alike",
            "name looks identical to another",
            detail,
            hint="rename one of the two with MLflow first, or leave it unmanaged",
            severity="warning",
        )
    return warnings
