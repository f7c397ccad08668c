"""Plans in part: `--target` and `--exclude`, by address or pattern, with what they need. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from .change import Change
from .diagnostics import Diagnostic, did_you_mean
from .spec import Address


@dataclass(frozen=True, slots=True)
class Selection:
    """What a plan is cut down to. Patterns are addresses, in which `*`, `?` and `[…]` stand for others."""

    targets: tuple[str, ...] = ()
    excludes: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.targets or self.excludes)


def matches(address: Address, patterns: Collection[str]) -> bool:
    """Whether one of the patterns means it."""
    text = str(address)
    return text in patterns or any(fnmatchcase(text, pattern) for pattern in patterns)


def unknown(selection: Selection, known: Collection[Address]) -> Iterator[Diagnostic]:
    """Patterns that mean nothing that is declared or recorded."""
    for option, patterns in (("--target", selection.targets), ("--exclude", selection.excludes)):
        for pattern in patterns:
            if not any(matches(address, (pattern,)) for address in known):
                yield Diagnostic(
                    "no-such-target",
                    "nothing has this address",
                    f"{option} {pattern}: nothing that is declared or recorded matches it.",
                    hint=did_you_mean(pattern, list(map(str, known))[:1000]) if len(known) <= 1000 else "",
                )


def kept(changes: Sequence[Change], selection: Selection) -> frozenset[Address]:
    """The addresses of the changes that stay: a target with all that it waits for, and nothing that waits for
    what is excluded."""
    waits = {change.address: change.waits_for for change in changes}
    chosen = {a for a in waits if not selection.targets or matches(a, selection.targets)}
    chosen = _closed(chosen, waits)
    waiting: dict[Address, set[Address]] = defaultdict(set)
    for address, others in waits.items():
        for other in others:
            waiting[other].add(address)
    dropped = _closed({a for a in waits if matches(a, selection.excludes)}, waiting)
    return frozenset(chosen - dropped)


def in_part(selection: Selection) -> Diagnostic:
    """Terraform warns of the same."""
    given = [*(f"--target={t}" for t in selection.targets), *(f"--exclude={e}" for e in selection.excludes)]
    return Diagnostic(
        "plan-in-part",
        "this is a part of the whole plan",
        f"{' '.join(given)}: what else differs is neither shown nor applied.",
        hint="for exceptional situations; plan again without it afterwards",
        severity="warning",
    )


def _closed(start: Iterable[Address], links: Mapping[Address, Collection[Address]]) -> set[Address]:
    found: set[Address] = set()
    left = list(start)
    while left:
        address = left.pop()
        if address not in found:
            found.add(address)
            left += links.get(address, ())
    return found
