"""Partial plans: `--target` and `--exclude`, by address or pattern, with their dependencies. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from itertools import pairwise
from typing import Final

from ..model.diagnostics import Diagnostic, did_you_mean
from ..model.plan import Action, Change
from ..model.snapshot import Desired, Recorded
from ..model.spec import Address, Spec

IN_PART: Final = "plan-in-part"
"""The code of the warning that a plan is partial."""


@dataclass(frozen=True, slots=True)
class Selection:
    """What a plan is limited to. Patterns are addresses with the wildcards `*`, `?` and `[…]`."""

    targets: tuple[str, ...] = ()
    excludes: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.targets or self.excludes)


def matches(address: Address, patterns: Collection[str]) -> bool:
    """Whether one of the patterns matches the address."""
    text = str(address)
    return text in patterns or any(fnmatchcase(text, pattern) for pattern in patterns)


def check_patterns(selection: Selection, known: Collection[Address]) -> Iterator[Diagnostic]:
    """Patterns that match no declared or recorded object."""
    for option, patterns in (("--target", selection.targets), ("--exclude", selection.excludes)):
        for pattern in patterns:
            if not any(matches(address, (pattern,)) for address in known):
                yield Diagnostic(
                    "no-such-target",
                    "nothing has this address",
                    f"{option} {pattern}: no declared or recorded object matches it.",
                    hint=did_you_mean(pattern, list(map(str, known))[:1000]) if len(known) <= 1000 else "",
                )


def select_addresses(changes: Sequence[Change], selection: Selection) -> frozenset[Address]:
    """The addresses of the selected changes: targets with all that they wait for, without the excluded
    changes and all that wait for those. An endpoint includes the aliases that it follows."""
    needs: dict[Address, set[Address]] = {change.address: set(change.waits_for) for change in changes}
    for change in changes:
        needs[change.address] |= {*change.after.follows()} & needs.keys() if change.after else set()
    _queue(needs, [c.after for c in changes if c.action is Action.CREATE and c.after is not None])
    needed_by: dict[Address, set[Address]] = defaultdict(set)
    for address, others in needs.items():
        for other in others:
            needed_by[other].add(address)
    excluded = find_reachable({a for a in needs if matches(a, selection.excludes)}, needed_by)
    return frozenset(_find_targets(needs, selection) - excluded)


def _find_targets(needs: Mapping[Address, Collection[Address]], selection: Selection) -> set[Address]:
    targets = selection.targets
    return find_reachable({a for a in needs if not targets or matches(a, targets)}, needs)


def _queue(needs: dict[Address, set[Address]], specs: Iterable[Spec]) -> None:
    """Make each of `specs` depend on the one that is created right before it."""
    queues: dict[tuple[str, str], list[tuple[int, Address]]] = defaultdict(list)
    for spec in specs:
        if (place := spec.queued()) is not None:
            queues[spec.kind, place[0]].append((place[1], spec.address))
    for queue in queues.values():
        for (_, earlier), (_, address) in pairwise(sorted(queue)):
            needs[address].add(earlier)


def cut_desired(desired: Desired, selection: Selection, recorded: Recorded = Recorded()) -> Desired:
    """The part of `desired` that the selection can concern: targets with all their possible dependencies,
    without excluded objects. Problems of other objects don't matter then."""
    if not selection:
        return desired
    needs = {address: {*spec.refs()} & desired.objects.keys() for address, spec in desired.objects.items()}
    for address, spec in desired.objects.items():
        for alias in spec.follows():
            needs.setdefault(alias, set()).add(address)
        # a renamed object goes with everything that refers to it
        for after in (move.after for move in desired.moves if move.after in needs[address]):
            needs[after].add(address)
    # an object that is no longer declared goes with everything that still refers to it
    for address, record in recorded.ours.items():
        for ref in record.spec.refs() if record.spec is not None else ():
            if ref not in desired.objects:
                needs.setdefault(ref, set()).add(address)
    _queue(needs, desired.objects.values())
    about = {a for a in _find_targets(needs, selection) if not matches(a, selection.excludes)}
    return replace(desired, objects={a: spec for a, spec in desired.objects.items() if a in about})


def is_selected(address: Address, selection: Selection) -> bool:
    """Whether the selection names the address itself, not only as a dependency."""
    targeted = not selection.targets or matches(address, selection.targets)
    return targeted and not matches(address, selection.excludes)


def warn_of_part(selection: Selection) -> Diagnostic:
    """The warning that a plan is partial, as in Terraform."""
    flags = [*(f"--target={t}" for t in selection.targets), *(f"--exclude={e}" for e in selection.excludes)]
    return Diagnostic(
        IN_PART,
        "the plan is partial",
        f"{' '.join(flags)}: other differences are neither shown nor applied.",
        hint="for exceptional situations only; run `lac plan` without it afterwards",
        severity="warning",
    )


def find_reachable(start: Iterable[Address], links: Mapping[Address, Collection[Address]]) -> set[Address]:
    """`start`, and everything reachable from it."""
    reached: set[Address] = set()
    left = list(start)
    while left:
        address = left.pop()
        if address not in reached:
            reached.add(address)
            left += links.get(address, ())
    return reached
