"""The order of a plan's changes, their steps, and which changes wait for others. Pure. Nobody writes
`depends_on`: the order follows from the references of specs, whatever the order of the manifests."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from graphlib import TopologicalSorter

from ..model.plan import Action, Change, Phase, Step
from ..model.spec import Address, Store


def link_changes(changes: Mapping[Address, Change]) -> list[Change]:
    """The changes with `waits_for`, and with the reason of those that only follow an alias.

    A change waits for those that create what it refers to; a deletion, for the changes of objects that still
    refer to it; an alias, for the warm-up of the endpoints that follow it; the parts of a rename, for each
    other, because the store makes them all at once.
    """
    parts = _parts(changes)
    new = {a for a, c in changes.items() if c.action is Action.CREATE or c.moved_from is not None}
    leavers: dict[Address, set[Address]] = defaultdict(set)
    followers: dict[Address, set[Address]] = defaultdict(set)
    for change in changes.values():
        if change.action.is_difference:
            for ref in change.before.refs() if change.before else ():
                leavers[ref].add(change.address)
            for ref in change.after.follows() if change.after else ():
                followers[ref].add(change.address)
    return [
        replace(
            change,
            reason=_reason(change, changes),
            waits_for=frozenset(
                {
                    *(({*change.after.refs()} & new) - {*change.after.follows()} if change.after else ()),
                    *followers[change.address],
                    *parts[change.address],
                    *(leavers[change.address] if change.action is Action.DELETE else ()),
                }
            ),
        )
        for change in changes.values()
    ]


def _parts(changes: Mapping[Address, Change]) -> dict[Address, set[Address]]:
    """For each change that takes part in a rename, the others that do."""
    parts: dict[Address, set[Address]] = defaultdict(set)
    for change in changes.values():
        if change.moved_from is None or change.side is None:
            continue
        for ref in change.side.refs():
            if ref in changes and changes[ref].moved_from is not None:
                parts[ref].add(change.address)
                parts[change.address].add(ref)
    return parts


def _reason(change: Change, changes: Mapping[Address, Change]) -> str:
    """The reason, with only those of the followed aliases that this plan changes, if it changes any."""
    if not change.reason.startswith("follows ") or change.after is None:
        return change.reason
    aliases = [r for r in change.after.follows() if r in changes and changes[r].action is Action.UPDATE]
    return f"follows {', '.join(map(str, aliases))}" if aliases else change.reason


def sort_changes(changes: Sequence[Change]) -> list[Change]:
    """Referenced objects first; deletions last, in the opposite order."""
    by_address = {change.address: change for change in changes}
    graph: TopologicalSorter[Address] = TopologicalSorter()
    for address, change in sorted(by_address.items(), key=lambda item: sort_key(item[0])):
        refs = sorted({*change.side.refs()} if change.side else (), key=sort_key)
        graph.add(address, *(ref for ref in refs if ref in by_address))
    order = [by_address[address] for address in graph.static_order()]
    others = [c for c in order if c.action is not Action.DELETE]
    return [*others, *(c for c in reversed(order) if c.action is Action.DELETE)]


def sort_key(address: Address) -> tuple[object, ...]:
    """The sort key of an address: kind, then key, with numbers as numbers."""
    return address.kind, *((isinstance(part, str), part) for part in address.key)


def build_steps(changes: Sequence[Change]) -> tuple[Step, ...]:
    """The changes by phase and store. If no endpoint changes, everything is one switch."""
    rollout = any(c.store is Store.SERVE and c.action.is_difference for c in changes)
    renames = {c.address for c in changes if c.moved_from is not None}
    batches: dict[tuple[Phase, Store], list[Change]] = {}
    for change in changes:
        for phase, store in _places(change, renames, rollout=rollout):
            batches.setdefault((phase, store), []).append(change)
    ranks = {phase: rank for rank, phase in enumerate(Phase)}
    stores = {Store.SERVE: 0, Store.REGISTRY: 1, Store.AUTH: 2}
    return tuple(
        Step(phase, store, tuple(batches[phase, store]))
        for phase, store in sorted(batches, key=lambda at: (ranks[at[0]], stores[at[1]]))
    )


def _places(change: Change, renames: set[Address], *, rollout: bool) -> list[tuple[Phase, Store]]:
    """The steps of one change. What refers to a renamed object is created after the rename, in the switch."""
    store = change.store
    match change.action, store:
        case ((Action.RECORD | Action.FORGET), Store.SERVE):
            return [(Phase.SWITCH, Store.REGISTRY)]
        case ((Action.RECORD | Action.FORGET), _):
            return [(Phase.SWITCH, store)]
        case Action.DELETE, Store.SERVE:
            return [(Phase.RETIRE, store)]
        case _, Store.SERVE:
            return [(Phase.WARM_UP, store), (Phase.CUT_OVER, store), (Phase.RETIRE, store)]
    if not rollout:
        return [(Phase.SWITCH, store)]
    if (
        change.action is Action.CREATE
        and change.after is not None
        and change.after.prepared
        and renames.isdisjoint(change.after.refs())
    ):
        return [(Phase.PREPARE, store)]
    if change.action is Action.DELETE and change.before is not None and change.before.retired:
        return [(Phase.RETIRE, store)]
    return [(Phase.SWITCH, store)]
