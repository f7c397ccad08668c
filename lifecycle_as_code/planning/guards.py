"""What a plan must not do unless a flag allows it. Pure. A diagnostic that names a guard refuses the plan
unless `--allow=<guard>` overrides it; all others always do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from ..model.diagnostics import Diagnostic, Source
from ..model.plan import Action, Change, Limits
from ..model.snapshot import Lifecycle, Live, Observed, Record, Recorded
from ..model.spec import Address, Spec
from ..model.text import join_first

REMOVED: Final = "removed, and kept as it is"
"""The reason of a change by a `removed:` block."""

ALONG: Final = "goes with "
"""The beginning of the reason of a deletion that another one causes; the other's address follows."""

_MAX_ADDRESSES: Final = 40


@dataclass(frozen=True, slots=True)
class PlanContext:
    """What the guards and kinds' own rules may read. `principal`: the applier's MLflow user, if known.
    `scope`: the addresses that the plan is about; None for all."""

    desired: Mapping[Address, Spec]
    recorded: Recorded
    live: Live
    changes: Mapping[Address, Change]
    places: Mapping[Address, Source]
    lifecycles: Mapping[Address, Lifecycle] = field(default_factory=dict)
    limits: Limits = Limits()
    scope: frozenset[Address] | None = None
    principal: str = ""

    @property
    def deletions(self) -> dict[Address, Change]:
        """The changes that delete."""
        return {a: c for a, c in self.changes.items() if c.action is Action.DELETE}


Check = Callable[[PlanContext], Iterable[Diagnostic]]
"""A rule of one kind over the whole plan, such as MLflow's numbering of versions."""


REFERENTS = frozenset({"user", "prompt", "gateway_endpoint"})
"""Kinds that specs may refer to and manifests can't declare."""


def check_references(world: PlanContext) -> Iterator[Diagnostic]:
    """References to objects that neither exist nor will."""
    for address, spec in world.desired.items():
        if world.scope is not None and address not in world.scope:
            continue
        for ref in spec.refs():
            change = world.changes.get(ref)
            is_deleted = change is not None and change.action is Action.DELETE
            known = ref in world.desired or ref in world.live.referents or world.live.present(ref)
            if is_deleted or not known:
                tombstone = ref in world.live.objects
                gone = "was deleted" if tombstone else "doesn't exist"
                state = "is no longer declared" if is_deleted else gone
                ours = "name one that exists" if tombstone else f"declare {ref}, or name one that exists"
                theirs = f"create the {ref.kind.replace('_', ' ')} with MLflow, or name one that exists"
                yield Diagnostic(
                    "missing-reference",
                    "names something that doesn't exist",
                    f"{address} refers to {ref}, which {state}.",
                    hint=theirs if ref.kind in REFERENTS else ours,
                    at=world.places.get(address),
                )


def check_dependents(world: PlanContext) -> Iterator[Diagnostic]:
    """Deletions that would delete other objects as well, or leave their references dangling; reported even if
    the guard is overridden, because the plan lists overridden guards."""
    deletions = world.deletions
    if not deletions:
        return
    for address, observed in world.live.objects.items():
        if observed.tombstone or observed.hidden or address in world.desired:
            continue
        along = deletions.get(address)
        for ref in observed.spec.refs():
            if ref in deletions and (
                along is None or (along.reason == f"{ALONG}{ref}" and ref.kind in observed.spec.holds)
            ):
                yield _refuse_dependent(world, address, observed.spec, ref)


def _refuse_dependent(world: PlanContext, address: Address, spec: Spec, ref: Address) -> Diagnostic:
    owner = world.recorded.others.get(address)
    whose = f"belongs to stack `{owner}`" if owner else "isn't managed here"
    hold = spec.holds.get(ref.kind)
    # no flag deletes what another stack owns
    guard = hold.guard if hold and not (owner and hold.taken_along) else ""
    way = "`lac import` takes over objects that can be declared"
    if owner:
        way = f"`lac import --take-over '{address}'` makes it this stack's"
    loss = f" {address} would be deleted with it." if hold and hold.taken_along else ""
    return Diagnostic(
        "still-used",
        "a deletion would touch something else",
        f"{ref} would be deleted, but {address}, which {whose}, depends on it.{loss if guard else ''}",
        hint=f"keep {ref} declared, or delete {address} first; {way}",
        guard=guard,
    )


def expand_deletions(
    changes: Mapping[Address, Change],
    desired: Mapping[Address, Spec],
    recorded: Recorded,
    live: Live,
    allow: frozenset[str],
) -> dict[Address, Change]:
    """The deletions that other deletions cause: in MLflow itself, and those of overridden guards."""
    more: dict[Address, Change] = {}
    while True:
        deletions = {a for a, c in {**changes, **more}.items() if c.action is Action.DELETE}
        batch = {
            address: Change(address, observed.spec.store, Action.DELETE, f"{ALONG}{owner}", observed.spec)
            for address, observed in (live.objects.items() if deletions else ())
            if address not in deletions and address not in desired and not observed.tombstone
            if (owner := _owner(observed, deletions, address in recorded.others, allow)) is not None
        }
        if not batch:
            return more
        more |= batch


def _owner(
    observed: Observed, deletions: set[Address], others: bool, allow: frozenset[str]
) -> Address | None:
    """The object whose deletion deletes this one as well, if any. No flag deletes a user's own grants."""
    spec = observed.spec
    owner = spec.goes_with()
    if owner in deletions:
        return owner
    for ref in () if observed.hidden or others else spec.refs():
        hold = spec.holds.get(ref.kind)
        if ref in deletions and hold and hold.taken_along and hold.guard in allow:
            return ref
    return None


def check_nothing_declared(world: PlanContext) -> Iterator[Diagnostic]:
    """A stack that owns objects and declares none: probably a pattern in `include:` that matches nothing."""
    if world.desired:
        return
    losses = [
        a for a in world.recorded.ours if (c := world.changes.get(a)) is not None and c.reason != REMOVED
    ]
    if losses:
        whole = len(losses) == len(world.recorded.ours)
        yield Diagnostic(
            "nothing-declared",
            "the manifests declare nothing, but this stack owns objects",
            f"{'Everything' if whole else 'These'} would be deleted: {_join({*losses, *world.deletions})}.",
            hint="check `include:` in lac.yaml; to delete everything on purpose, run `lac destroy`",
            guard="nothing-declared",
        )


def check_mass_deletion(world: PlanContext) -> Iterator[Diagnostic]:
    """More deletions of a kind than one plan may make."""
    deletions = [address for address in world.deletions if address in world.recorded.ours]
    counts = Counter(address.kind for address in deletions)
    if not counts:
        return
    totals = Counter(address.kind for address in world.recorded.ours)
    limits = world.limits
    for kind, count in sorted(counts.items()):
        # a share such as 0.29 has no exact binary form: 29 of 100 don't exceed it
        if count > max(limits.count, limits.share * totals[kind] + 1e-9):
            losses = [address for address in deletions if address.kind == kind]
            yield Diagnostic(
                "mass-deletion",
                "too much would be deleted at once",
                f"{count} of {totals[kind]} of kind {kind} would be deleted: {_join(losses)}.",
                hint="check `include:` and the removed objects; the limits are `guards:` in lac.yaml",
                guard="mass-deletion",
            )


def check_protection(world: PlanContext) -> Iterator[Diagnostic]:
    """Deletions of objects marked `prevent_destroy`, whether or not they are still declared."""
    for address in world.deletions:
        record, lifecycle = world.recorded.ours.get(address), world.lifecycles.get(address)
        if (record and record.protected) or (lifecycle and lifecycle.prevent_destroy):
            yield Diagnostic(
                "protected",
                "a protected object would be deleted",
                f"{address} is marked `prevent_destroy`.",
                hint="apply `lifecycle: {prevent_destroy: false}` to it first",
                at=world.places.get(address),
                guard="protected",
            )


def is_protected(lifecycle: Lifecycle | None, record: Record | None) -> bool:
    """Whether the manifest protects the object; if it doesn't say, whether its record does."""
    if lifecycle is not None and lifecycle.prevent_destroy is not None:
        return lifecycle.prevent_destroy
    return record is not None and record.protected


def _join(addresses: Iterable[Address]) -> str:
    return join_first(sorted(map(str, addresses)), _MAX_ADDRESSES)
