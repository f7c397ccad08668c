"""Apply `moved:` blocks to the snapshots, and expand `removed:` blocks. Pure. The snapshots get the new names
before anything is compared, so a rename appears as a move, beside other differences."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ..model.diagnostics import Diagnostic, Source
from ..model.snapshot import Desired, Live, Move, Observed, Record, Recorded
from ..model.spec import Address, Spec

Pair = tuple[Address, Address]
"""An address before a rename, and after."""


@dataclass(frozen=True, slots=True)
class Renaming:
    """Both snapshots under the new names. `origins`: by new address, the present address of each renamed
    object and of each object that refers to one."""

    recorded: Recorded
    live: Live
    pairs: tuple[Pair, ...] = ()
    origins: Mapping[Address, Address] = field(default_factory=dict)
    problems: tuple[tuple[Move, Diagnostic], ...] = ()


def apply_moves(
    desired: Desired, recorded: Recorded, live: Live, specs: Mapping[str, type[Spec]]
) -> Renaming:
    """Apply the `moved:` blocks that aren't carried out yet; a block whose object has moved is ignored."""
    if not desired.moves:
        return Renaming(recorded, live)
    onward = {move.before: move.after for move in desired.moves}
    problems: list[tuple[Move, Diagnostic]] = []
    claims: dict[Address, Move] = {}
    for move in desired.moves:
        after = _end(move.after, onward)
        obstacle = _find_obstacle(move, desired, specs) or _find_conflict(move, after, claims, recorded, live)
        if obstacle:
            problems.append((move, _refuse(move, *obstacle)))
        elif move.before in recorded.ours and live.present(move.before):
            claims[after] = move
    snapshots = rename_snapshots([(move.before, after) for after, move in claims.items()], recorded, live)
    for after, move in claims.items():
        problems += [(move, _refuse(move, *why)) for why in _others(after, snapshots, recorded)]
    return replace(snapshots, problems=tuple(problems))


def check_moves(desired: Desired, specs: Mapping[str, type[Spec]]) -> Iterator[Diagnostic]:
    """The `moved:` blocks that can't be carried out whatever the stores hold."""
    for move in desired.moves:
        if obstacle := _find_obstacle(move, desired, specs):
            yield _refuse(move, *obstacle)


def rename_snapshots(pairs: Sequence[Pair], recorded: Recorded, live: Live) -> Renaming:
    """The snapshots with the object of every pair, and all references to it, under the new name."""
    pairs = [pair for pair in pairs if pair[0] in live.objects and pair[1] not in live.objects]
    if not pairs:
        return Renaming(recorded, live)
    origins: dict[Address, Address] = {}
    objects: dict[Address, Observed] = {}
    for address, observed in live.objects.items():
        spec = rename_spec(observed.spec, pairs)
        objects[spec.address] = observed if spec is observed.spec else replace(observed, spec=spec)
        if spec.address != address:
            origins[spec.address] = address
    ours: dict[Address, Record] = {}
    for address, record in recorded.ours.items():
        if record.spec is None:
            ours[address] = record
            continue
        spec = rename_spec(record.spec, pairs)
        ours[spec.address] = replace(record, address=spec.address, spec=spec)
        if spec.address != address:
            origins[spec.address] = address
    back = {before: after for after, before in origins.items()}
    others = {back.get(address, address): owner for address, owner in recorded.others.items()}
    return Renaming(
        replace(recorded, ours=ours, others=others), replace(live, objects=objects), tuple(pairs), origins
    )


def rename_spec(spec: Spec, pairs: Iterable[Pair]) -> Spec:
    """A spec after all of these renames."""
    for before, after in pairs:
        spec = spec.renamed(before, after)
    return spec


def expand_removals(desired: Desired, recorded: Recorded) -> Mapping[Address, Source | None]:
    """The objects to forget, including those nested in them that aren't declared elsewhere."""
    if not desired.removals:
        return desired.removals
    sections = {a: r.spec.section for a in desired.removals if (r := recorded.ours.get(a)) and r.spec}
    parts = {
        address: desired.removals[ref]
        for address, record in recorded.ours.items()
        if record.spec is not None and address not in desired.objects
        for ref in record.spec.refs()
        if ref in sections and sections[ref] in {nest.section for nest in record.spec.nests}
    }
    return {**parts, **desired.removals}


def _end(address: Address, onward: Mapping[Address, Address]) -> Address:
    """The end of a chain of moves; of a cycle, one that moves on."""
    visits = {address}
    while (following := onward.get(address)) is not None and following not in visits:
        visits.add(following)
        address = following
    return address


def _find_obstacle(move: Move, desired: Desired, specs: Mapping[str, type[Spec]]) -> tuple[str, str] | None:
    """Why the move is impossible regardless of live state, and the way out."""
    kind = specs[move.before.kind]
    if move.before.kind != move.after.kind:
        return "the kind of an object can't change", "move it to an address of the same kind"
    if not kind.movable:
        movable = ", ".join(name for name, spec in specs.items() if spec.movable)
        return f"the store can't rename objects of this kind (only {movable})", ""
    if move.before == move.after:
        return "both addresses are the same", "remove the block"
    if move.before in desired.objects:
        return f"{move.before} is still declared", "declare it by its new name only"
    onward = {m.before: m.after for m in desired.moves}
    if move.after not in desired.objects and move.after not in onward:
        return f"{move.after} isn't declared", "declare the object by its new name"
    twice = [m for m in desired.moves if m is not move and (m.before == move.before or m.after == move.after)]
    if twice:
        return f"{twice[0].at} moves one of the two as well", "remove one of the blocks"
    if _end(move.after, onward) in onward:
        return "the blocks form a cycle", "remove one of them"
    return None


def _find_conflict(
    move: Move, after: Address, claims: Mapping[Address, Move], recorded: Recorded, live: Live
) -> tuple[str, str] | None:
    """Why the object can't be renamed now, and the way out. `after`: the end of its moves."""
    before = move.before
    if not live.present(before) or (before not in recorded.ours and after in recorded.ours):
        return None  # never created, or already moved
    if owner := recorded.others.get(before):
        return f"{before} is managed by stack `{owner}`", "move it there"
    if before not in recorded.ours:
        return f"{before} isn't managed here", f"take it over first: `lac import {before.shell_word}`"
    if after in live.objects:
        return f"{after} exists already", "choose another name, or remove that object"
    if after in claims:
        return f"{claims[after].before} would get the same name", "choose a different name for each"
    return None


def _others(after: Address, snapshots: Renaming, recorded: Recorded) -> Iterator[tuple[str, str]]:
    """Another stack's objects that would be renamed together with the object at `after`."""
    for address, origin in sorted(snapshots.origins.items(), key=str):
        owner, observed = recorded.others.get(origin), snapshots.live.objects.get(address)
        if owner and observed is not None and after in observed.spec.refs():
            yield (
                f"{origin}, which belongs to stack `{owner}`, would be renamed with it",
                f"take it over first (`lac import --take-over {origin.shell_word}`), or remove it there",
            )


def _refuse(move: Move, why: str, hint: str) -> Diagnostic:
    return Diagnostic(
        "cannot-move",
        "the object can't be moved",
        f"{move.before} to {move.after}: {why}.",
        hint=hint,
        at=move.at,
    )
