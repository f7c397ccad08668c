"""Take live objects over: their records, and the YAML that declares them. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import ValidationError

from ..manifest.write import write
from ..model.diagnostics import Diagnostic, refuse
from ..model.diff import owned
from ..model.snapshot import Desired, Live, Observed, Record, Recorded
from ..model.spec import Address, OwnedKeys, Spec, fields_marked, parse_address, plain
from ..planning.guards import is_protected

RESERVED = "mlflow."
"""MLflow keeps its own notes under tags with this prefix; they are never ours."""


@dataclass(frozen=True, slots=True)
class Adopted:
    """What was taken over. `yaml` declares those that no manifest declared yet. `skipped` says, for
    each object that can't be declared, why."""

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

    LacError where an address names nothing, or what another stack owns, unless `take_over`.
    """
    asked = addresses if addresses is not None else _everything(recorded, live)
    problems = [problem for a in asked if (problem := _obstacle(a, recorded, live, take_over=take_over))]
    refuse(problems)
    records: list[Record] = []
    declared: list[Spec] = []
    skipped: list[Diagnostic] = []
    for address in asked:
        spec = _ours(live.objects[address], desired.objects.get(address))
        why = _undeclarable(spec, specs) or _dangling(spec, live)
        if why and address not in desired.objects:
            skipped.append(why)
            continue
        # a mark outlives its owner: taking an object over is no way to destroy it
        kept = address in recorded.kept or is_protected(
            desired.lifecycles.get(address), recorded.ours.get(address)
        )
        records.append(Record(address, spec.store, spec, protected=kept))
        if address not in desired.objects:
            declared.append(spec)
    if addresses is not None:
        # asked for by name: leaving it out is no success
        refuse(replace(why, severity="error") for why in skipped)
    text = write(declared, specs) if declared else ""
    former = {r.address: recorded.others[r.address] for r in records if r.address in recorded.others}
    return Adopted(tuple(r.address for r in records), tuple(records), text, tuple(skipped), former)


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


def _undeclarable(spec: Spec, specs: Mapping[str, type[Spec]]) -> Diagnostic | None:
    """Why a manifest couldn't hold this object, such as a name that is too long for us."""
    try:
        type(spec).model_validate(plain(spec), strict=False)
        parse_address(str(spec.address), specs)
    except (ValidationError, ValueError) as error:
        first = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        return Diagnostic(
            "cannot-be-declared",
            "the object can't be written as a manifest",
            f"{spec.address}: {first}",
            hint="rename it with MLflow first, or leave it unmanaged",
            severity="warning",
        )
    return None


def _dangling(spec: Spec, live: Live) -> Diagnostic | None:
    """What the object refers to and isn't there, such as a deleted experiment that still has grants."""
    for ref in spec.refs():
        if live.present(ref) is None and ref not in live.referents:
            return Diagnostic(
                "dangling",
                "the object refers to what doesn't exist",
                f"{spec.address}: {ref} is nowhere.",
                hint="remove it with MLflow's own tools, or leave it unmanaged",
                severity="warning",
            )
    return None
