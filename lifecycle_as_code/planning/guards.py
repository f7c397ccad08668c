"""What a plan must never do unasked. Pure: a World in, diagnostics out.

A diagnostic that names a guard refuses the plan until `--allow=<guard>` lets it through; all others always
do.
"""

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
"""The reason of a change that a `removed:` block asks for."""

ALONG: Final = "goes with "
"""How the reason of a deletion begins that another one brings with it; the other's address follows."""

_MAX_ADDRESSES: Final = 40


@dataclass(frozen=True, slots=True)
class World:
    """What a kind's own rules may look at. `principal`: the user of MLflow's that the applier is, where
    known.

    `judged`: the addresses that the plan is about, None for all.
    """

    desired: Mapping[Address, Spec]
    recorded: Recorded
    live: Live
    changes: Mapping[Address, Change]
    places: Mapping[Address, Source]
    lifecycles: Mapping[Address, Lifecycle] = field(default_factory=dict)
    limits: Limits = Limits()
    judged: frozenset[Address] | None = None
    principal: str = ""

    @property
    def deletions(self) -> dict[Address, Change]:
        """The deletions."""
        return {a: c for a, c in self.changes.items() if c.action is Action.DELETE}


Check = Callable[[World], Iterable[Diagnostic]]
"""A rule of one kind over the whole plan, such as MLflow's counting of versions."""


REFERENTS = frozenset({"user", "prompt", "gateway_endpoint"})
"""What specs may name and manifests can't declare."""


def check_references(world: World) -> Iterator[Diagnostic]:
    """References to what neither is there nor will be."""
    for address, spec in world.desired.items():
        if world.judged is not None and address not in world.judged:
            continue
        for ref in spec.refs():
            change = world.changes.get(ref)
            is_deleted = change is not None and change.action is Action.DELETE
            known = ref in world.desired or ref in world.live.referents or world.live.present(ref)
            if is_deleted or not known:
                tombstone = ref in world.live.objects
                state = "no longer declared" if is_deleted else "deleted" if tombstone else "nowhere"
                ours = "name one that exists" if tombstone else f"declare {ref}, or name one that exists"
                theirs = (
                    f"make the {ref.kind.replace('_', ' ')} with MLflow's own tools, or name one that exists"
                )
                yield Diagnostic(
                    "missing-reference",
                    "names something that doesn't exist",
                    f"{address} refers to {ref}, which is {state}.",
                    hint=theirs if ref.kind in REFERENTS else ours,
                    at=world.places.get(address),
                )


def check_dependents(world: World) -> Iterator[Diagnostic]:
    """Deletions that would take along, or leave dangling, what isn't being deleted too. What goes along
    because its guard is let through is told as well: that verdict belongs to the plan."""
    deletions = world.deletions
    if not deletions:
        return
    for address, observed in world.live.objects.items():
        if observed.tombstone or observed.hidden or address in world.desired:
            continue
        along = deletions.get(address)
        for ref in observed.spec.refs():
            if ref in deletions and (
                along is None or (along.reason == _along(ref) and ref.kind in observed.spec.holds)
            ):
                yield _refuse_dependent(world, address, observed.spec, ref)


def _along(owner: Address) -> str:
    """The reason of a deletion that another one brings with it."""
    return f"{ALONG}{owner}"


def _refuse_dependent(world: World, address: Address, spec: Spec, ref: Address) -> Diagnostic:
    owner = world.recorded.others.get(address)
    whose = f"belongs to stack `{owner}`" if owner else "isn't managed here"
    hold = spec.holds.get(ref.kind)
    # what another stack owns is taken along by nobody
    guard = hold.guard if hold and not (owner and hold.taken_along) else ""
    way = "`lac import` takes over what can be declared"
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
    """The deletions that others bring with them: MLflow's own doing, and what a guard was let through for."""
    more: dict[Address, Change] = {}
    while True:
        deletions = {a for a, c in {**changes, **more}.items() if c.action is Action.DELETE}
        batch = {
            address: Change(address, observed.spec.store, Action.DELETE, _along(owner), observed.spec, None)
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
    """What takes this object along when it goes; None where nothing does. A user's own grants stand in
    nobody's way, so no flag takes them along."""
    spec = observed.spec
    owner = spec.goes_with()
    if owner in deletions:
        return owner
    if observed.hidden:
        return None
    return next(
        (
            ref
            for ref in spec.refs()
            if ref in deletions
            and (hold := spec.holds.get(ref.kind)) is not None
            and hold.taken_along
            and hold.guard in allow
            and not others
        ),
        None,
    )


def check_nothing_declared(world: World) -> Iterator[Diagnostic]:
    """A stack that owns objects and declares none: more likely a glob that matched nothing."""
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


def check_mass_deletion(world: World) -> Iterator[Diagnostic]:
    """More of a kind than a plan may delete at once."""
    deletions = [address for address in world.deletions if address in world.recorded.ours]
    counts = Counter(address.kind for address in deletions)
    if not counts:
        return
    totals = Counter(address.kind for address in world.recorded.ours)
    limits = world.limits
    for kind, count in sorted(counts.items()):
        # a share such as 0.29 has no exact binary form: 29 of 100 aren't more than it
        if count > max(limits.count, limits.share * totals[kind] + 1e-9):
            losses = [address for address in deletions if address.kind == kind]
            yield Diagnostic(
                "mass-deletion",
                "too much would be deleted at once",
                f"{count} of {totals[kind]} of kind {kind} would be deleted: {_join(losses)}.",
                hint="check `include:` and what the change removes; the limits are `guards:` in lac.yaml",
                guard="mass-deletion",
            )


def check_protection(world: World) -> Iterator[Diagnostic]:
    """Deletions of what was marked as not to be destroyed, whether or not it is still declared."""
    for address in world.deletions:
        record, lifecycle = world.recorded.ours.get(address), world.lifecycles.get(address)
        if (record and record.protected) or (lifecycle and lifecycle.prevent_destroy):
            yield Diagnostic(
                "protected",
                "a protected object would be deleted",
                f"{address} is marked `prevent_destroy`.",
                hint="apply `lifecycle: {prevent_destroy: false}` on it first",
                at=world.places.get(address),
                guard="protected",
            )


def is_protected(lifecycle: Lifecycle | None, record: Record | None) -> bool:
    """What the manifest says, and where it says nothing what was said last."""
    if lifecycle is not None and lifecycle.prevent_destroy is not None:
        return lifecycle.prevent_destroy
    return record is not None and record.protected


def _join(addresses: Iterable[Address]) -> str:
    return join_first(sorted(map(str, addresses)), _MAX_ADDRESSES)
