"""Take live objects over: their records, and the YAML that declares them. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..manifest.bind import appearance
from ..manifest.readback import list_undeclarable
from ..manifest.write import write
from ..model.diagnostics import Diagnostic, refuse
from ..model.diff import owned
from ..model.snapshot import Desired, Live, Observed, Record, Recorded
from ..model.spec import Address, OwnedKeys, Spec, fields_marked, parse_address
from ..planning.guards import is_protected

RESERVED = "mlflow."
"""MLflow keeps its own notes under tags with this prefix; they are never ours."""


@dataclass(frozen=True, slots=True)
class Adopted:
    """What was taken over. `yaml` declares those that no manifest declared yet. `skipped` says why, for each
    object, and for each tag of one, that can't be declared."""

    addresses: tuple[Address, ...]
    records: tuple[Record, ...]
    yaml: str
    skipped: tuple[Diagnostic, ...] = ()
    former: Mapping[Address, str] = field(default_factory=dict)
    """The stacks that owned them until now."""


def adopted(
    addresses: Sequence[Address] | None,
    desired: Desired,
    recorded: Recorded,
    live: Live,
    specs: Mapping[str, type[Spec]],
    *,
    take_over: bool = False,
) -> Adopted:
    """Records and YAML for `addresses`, or for everything that nobody owns (None).

    The YAML is read as `load` reads it: what would be refused is skipped, be it an object or one of its
    tags. LacError where an address names nothing, what can't be declared, or what another stack owns,
    unless `take_over`.
    """
    asked = addresses if addresses is not None else _everything(recorded, live)
    problems = [problem for a in asked if (problem := _obstacle(a, recorded, live, take_over=take_over))]
    refuse(problems)
    seen = {address: _ours(live.objects[address], desired.objects.get(address)) for address in asked}
    new = {address: spec for address, spec in seen.items() if address not in desired.objects}
    skipped = {a: why for a, spec in new.items() if (why := _out_of_reach(spec, desired, live, specs))}
    tags: dict[Address, list[Diagnostic]] = {}
    for address, reason in list_undeclarable([spec for a, spec in new.items() if a not in skipped], specs):
        new[address], tags[address] = _without_bad_tags(new[address], specs)
        if not tags[address] or any(list_undeclarable([new[address]], specs)):
            skipped[address] = _undeclarable(address, reason)
    skipped |= _unclear([spec for a, spec in new.items() if a not in skipped], desired, specs)
    if addresses is not None:
        # asked for by name: leaving it out is no success
        refuse(replace(why, severity="error") for why in skipped.values())
    taken = {a: spec for a, spec in {**seen, **new}.items() if a not in skipped}
    # a mark outlives its owner: taking an object over is no way to destroy it
    records = tuple(
        Record(
            address,
            spec.store,
            spec,
            protected=address in recorded.kept
            or is_protected(desired.lifecycles.get(address), recorded.ours.get(address)),
        )
        for address, spec in taken.items()
    )
    declared = [spec for address, spec in taken.items() if address in new]
    text = write(declared, specs) if declared else ""
    former = {address: recorded.others[address] for address in taken if address in recorded.others}
    told = [why for a in asked for why in ([skipped[a]] if a in skipped else tags.get(a, ()))]
    return Adopted(tuple(taken), records, text, tuple(told), former)


def refuse_taken(taken: Adopted, recorded: Recorded) -> None:
    """LacError where an object has another owner than it had when it was looked at."""
    refuse(
        _owned_elsewhere(r.address, owner or "this one")
        for r in taken.records
        if (owner := recorded.others.get(r.address)) != taken.former.get(r.address)
    )


def _everything(recorded: Recorded, live: Live) -> list[Address]:
    return [
        address
        for address, found in sorted(live.objects.items(), key=lambda item: str(item[0]))
        if not found.tombstone
        and not found.hidden
        and not found.builtin
        and address not in recorded.ours
        and address not in recorded.others
    ]


def _owned_elsewhere(address: Address, owner: str) -> Diagnostic:
    return Diagnostic(
        "owned-elsewhere",
        "the object belongs to another stack",
        f"{address} is managed by stack `{owner}`.",
        hint=f"`lac import --take-over {address.quoted}` makes it this one's;"
        " then take it out of that one's manifests",
    )


def _obstacle(address: Address, recorded: Recorded, live: Live, *, take_over: bool) -> Diagnostic | None:
    if (owner := recorded.others.get(address)) and not take_over:
        return _owned_elsewhere(address, owner)
    if live.present(address) is None:
        return Diagnostic(
            "nothing-to-import",
            "there is no such object",
            f"{address} is in none of the stores.",
            hint="`lac import --all` takes over whatever is there",
        )
    return None


def _ours(found: Observed, declared: Spec | None) -> Spec:
    """The spec without MLflow's own tags; of one that is declared already, with its declared keys only: the
    others are somebody else's, and no apply may remove them."""
    if declared is not None:
        return owned(found.spec, declared)
    cut: dict[str, Any] = {
        field: {k: v for k, v in getattr(found.spec, field).items() if not k.startswith(RESERVED)}
        for field in fields_marked(type(found.spec), OwnedKeys)
    }
    return found.spec.model_copy(update=cut)


def _out_of_reach(
    spec: Spec, desired: Desired, live: Live, specs: Mapping[str, type[Spec]]
) -> Diagnostic | None:
    """Why no manifest of this stack could declare the object, whatever its fields hold."""
    address = spec.address
    try:
        parse_address(str(address), specs)
    except ValueError as error:
        return _undeclarable(address, f"{error}.")
    if address in desired.removals:
        return Diagnostic(
            "contradiction",
            "two parts of the manifests say opposite things",
            f"{address} is to be removed from the stack.",
            hint="remove the `removed:` block to import the object",
            at=desired.removals[address],
            severity="warning",
        )
    for ref in spec.refs():
        # such as a deleted experiment that still has grants
        if live.present(ref) is None and ref not in live.referents:
            return Diagnostic(
                "dangling",
                "the object refers to what doesn't exist",
                f"{address}: {ref} is nowhere.",
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
    """The spec with those of its owned keys alone that a manifest can declare, and a warning for each other
    one: what nobody declares is left as it is. The same spec where something else is wrong with it."""
    fields = sorted(fields_marked(type(spec), OwnedKeys))
    bare = spec.model_copy(update={name: {} for name in fields})
    if any(list_undeclarable([bare], specs)):
        return spec, []
    kept: dict[str, dict[str, Any]] = {name: {} for name in fields}
    left: list[Diagnostic] = []
    for name in fields:
        for key, value in getattr(spec, name).items():
            found = next(list_undeclarable([bare.model_copy(update={name: {key: value}})], specs), None)
            if found is None:
                kept[name][key] = value
            else:
                left.append(_undeclarable(spec.address, found[1], f"{name}.{key}"))
    return bare.model_copy(update=kept), left


def _unclear(
    specs: Sequence[Spec], desired: Desired, classes: Mapping[str, type[Spec]]
) -> dict[Address, Diagnostic]:
    """Those whose names look like another's that is declared or imported, and what refers to them."""
    kinds = list(classes)
    first = {appearance(address): address for address in desired.objects}
    found: dict[Address, Diagnostic] = {}
    for spec in sorted(specs, key=lambda spec: (kinds.index(spec.kind), *map(str, spec.address.key))):
        address = spec.address
        other = first.setdefault(appearance(address), address)
        alike = next((ref for ref in spec.refs() if ref in found), None)
        if other == address and alike is None:
            continue
        detail = f"{address} looks like {other}." if alike is None else f"{address}: {alike} is skipped."
        found[address] = Diagnostic(
            "look-alike",
            "name can't be told from another by eye",
            detail,
            hint="rename one of the two with MLflow first, or leave it unmanaged",
            severity="warning",
        )
    return found
