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

REMOVED: Final = "removed, and kept as it is"
"""The reason of a change that a `removed:` block asks for."""

ALONG: Final = "goes with "
"""How the reason of a deletion begins that another one brings with it; the other's address follows."""

_LISTED: Final = 40


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
    def going(self) -> dict[Address, Change]:
        """The deletions."""
        return {a: c for a, c in self.changes.items() if c.action is Action.DELETE}


Check = Callable[[World], Iterable[Diagnostic]]
"""A rule of one kind over the whole plan, such as MLflow's counting of versions."""


REFERENTS = frozenset({"user", "prompt", "gateway_endpoint"})
"""What specs may name and manifests can't declare."""


def missing(world: World) -> Iterator[Diagnostic]:
    """References to what neither is there nor will be."""
    for address, spec in world.desired.items():
        if world.judged is not None and address not in world.judged:
            continue
        for ref in spec.refs():
            change = world.changes.get(ref)
            going = change is not None and change.action is Action.DELETE
            known = ref in world.desired or ref in world.live.referents or world.live.present(ref)
            if going or not known:
                gone = ref in world.live.objects
                state = "no longer declared" if going else "deleted" if gone else "nowhere"
                ours = "name one that exists" if gone else f"declare {ref}, or name one that exists"
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


def still_used(world: World) -> Iterator[Diagnostic]:
    """Deletions that would take along, or leave dangling, what isn't being deleted too. What goes along
    because its guard is let through is told as well: that verdict belongs to the plan."""
    going = world.going
    if not going:
        return
    for address, found in world.live.objects.items():
        if found.tombstone or found.hidden or address in world.desired:
            continue
        along = going.get(address)
        for ref in found.spec.refs():
            if ref in going and (
                along is None or (along.reason == _along(ref) and ref.kind in found.spec.holds)
            ):
                yield _held(world, address, found.spec, ref)


def _along(owner: Address) -> str:
    """The reason of a deletion that another one brings with it."""
    return f"{ALONG}{owner}"


def _held(world: World, address: Address, spec: Spec, ref: Address) -> Diagnostic:
    owner = world.recorded.others.get(address)
    whose = f"belongs to stack `{owner}`" if owner else "isn't managed here"
    hold = spec.holds.get(ref.kind)
    # what another stack owns is taken along by nobody
    guard = hold.guard if hold and not (owner and hold.taken_along) else ""
    way = "`lac import` takes over what can be declared"
    if owner:
        way = f"`lac import --take-over '{address}'` makes it this stack's"
    lost = f" {address} would be deleted with it." if hold and hold.taken_along else ""
    return Diagnostic(
        "still-used",
        "a deletion would touch something else",
        f"{ref} would be deleted, but {address}, which {whose}, depends on it.{lost if guard else ''}",
        hint=f"keep {ref} declared, or delete {address} first; {way}",
        guard=guard,
    )


def taken_along(
    changes: Mapping[Address, Change],
    desired: Mapping[Address, Spec],
    recorded: Recorded,
    live: Live,
    allow: frozenset[str],
) -> dict[Address, Change]:
    """The deletions that others bring with them: MLflow's own doing, and what a guard was let through for."""
    more: dict[Address, Change] = {}
    while True:
        going = {a for a, c in {**changes, **more}.items() if c.action is Action.DELETE}
        found = {
            address: Change(address, seen.spec.store, Action.DELETE, _along(owner), seen.spec, None)
            for address, seen in (live.objects.items() if going else ())
            if address not in going and address not in desired and not seen.tombstone
            if (owner := _owner(seen, going, address in recorded.others, allow)) is not None
        }
        if not found:
            return more
        more |= found


def _owner(seen: Observed, going: set[Address], others: bool, allow: frozenset[str]) -> Address | None:
    """What takes this object along when it goes; None where nothing does. A user's own grants stand in
    nobody's way, so no flag takes them along."""
    spec = seen.spec
    owner = spec.goes_with()
    if owner in going:
        return owner
    if seen.hidden:
        return None
    return next(
        (
            ref
            for ref in spec.refs()
            if ref in going
            and (hold := spec.holds.get(ref.kind)) is not None
            and hold.taken_along
            and hold.guard in allow
            and not others
        ),
        None,
    )


def emptied(world: World) -> Iterator[Diagnostic]:
    """A stack that owns objects and declares none: more likely a glob that matched nothing."""
    if world.desired:
        return
    lost = [a for a in world.recorded.ours if (c := world.changes.get(a)) is not None and c.reason != REMOVED]
    if lost:
        whole = len(lost) == len(world.recorded.ours)
        yield Diagnostic(
            "nothing-declared",
            "the manifests declare nothing, but this stack owns objects",
            f"{'Everything' if whole else 'These'} would be deleted: {listed([*{*lost, *world.going}])}.",
            hint="check `include:` in lac.yaml; to delete everything on purpose, run `lac destroy`",
            guard="nothing-declared",
        )


def mass_deletion(world: World) -> Iterator[Diagnostic]:
    """More of a kind than a plan may delete at once."""
    going = [address for address in world.going if address in world.recorded.ours]
    gone = Counter(address.kind for address in going)
    if not gone:
        return
    held = Counter(address.kind for address in world.recorded.ours)
    limits = world.limits
    for kind, count in sorted(gone.items()):
        # a share such as 0.29 has no exact binary form: 29 of 100 aren't more than it
        if count > max(limits.count, limits.share * held[kind] + 1e-9):
            lost = [address for address in going if address.kind == kind]
            yield Diagnostic(
                "mass-deletion",
                "too much would be deleted at once",
                f"{count} of {held[kind]} of kind {kind} would be deleted: {listed(lost)}.",
                hint="check `include:` and what the change removes; the limits are `guards:` in lac.yaml",
                guard="mass-deletion",
            )


def protected(world: World) -> Iterator[Diagnostic]:
    """Deletions of what was marked as not to be destroyed, whether or not it is still declared."""
    for address in world.going:
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


def listed(addresses: Iterable[Address]) -> str:
    """The addresses in order; of very many, the first and how many more."""
    names = sorted(map(str, addresses))
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more
