"""Decide what to do about the difference between desired, recorded and live. Pure.

The action follows from desired and live; recorded says whether the object is ours, and therefore
why it differs. `apply` executes the very list that is printed from a Plan.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from .change import Action, Change, Phase, Plan, Step
from .diagnostics import Diagnostic, Source, refuse
from .diff import FieldChange, diff, owned
from .guard import Check, World, emptied, missing, still_used
from .order import in_order, linked, steps
from .snapshot import Desired, Live, Observed, Record, Recorded
from .spec import Address, Immutable, Spec, marked

__all__ = ["Action", "Change", "Check", "Phase", "Plan", "Step", "World", "make_plan"]


def make_plan(
    desired: Desired,
    recorded: Recorded,
    live: Live,
    *,
    stack: str,
    environment: str = "",
    checks: Sequence[Check] = (),
    destroy: bool = False,
) -> Plan:
    """The plan from live to desired. LacError with every obstacle at once.

    `desired` is resolved: aliases pinned, sources in the store's form.
    """
    known = {*desired.objects, *recorded.ours, *in_scope(desired, recorded, live)}
    # most often nothing is to be done about most objects: only the rest is brought in order
    found = [(a, it) for a in known if (it := _decide(a, desired, recorded, live)) is not None]
    decided = [it for _, it in sorted(found, key=lambda pair: _by(pair[0]))]
    changes = {c.address: c for c in decided if isinstance(c, Change)}
    changes |= {c.address: c for c in _taken_along(changes, live)}
    if destroy:
        changes = {
            a: replace(c, reason="destroyed with its stack") if c.action is Action.DELETE else c
            for a, c in changes.items()
        }
    world = World(desired.objects, recorded, live, changes, desired.places)
    problems = [
        *(d for d in decided if isinstance(d, Diagnostic)),
        *missing(world),
        *still_used(world),
        *(() if destroy else emptied(world)),
        *(problem for check in checks for problem in check(world)),
    ]
    # a pattern that matched no file may be why everything would go
    refuse(problems, beside=(*desired.warnings, *live.diagnostics))
    notes = (*desired.warnings, *live.diagnostics, *_hidden_grants(desired, recorded, live), *problems)
    ordered = in_order(linked(changes))
    return Plan(stack, environment, tuple(ordered), steps(ordered), notes, destroy)


def _by(address: Address) -> tuple[str, tuple[tuple[bool, object], ...]]:
    return address.kind, tuple((isinstance(part, str), part) for part in address.key)


def _decide(address: Address, desired: Desired, recorded: Recorded, live: Live) -> Change | Diagnostic | None:
    """The decision table; `desired × recorded × live`, one arm a row."""
    at = desired.places.get(address)
    here = live.present(address)
    match desired.objects.get(address), recorded.ours.get(address), here:
        case None, Record() as last, None:
            return Change(address, last.store, Action.FORGET, "already gone", None, None)
        case None, Record() as last, Observed() as found:
            before = owned(found.spec, last.spec)
            return Change(address, last.store, Action.DELETE, "no longer declared", before, None)
        case None, None, Observed() as found:
            return Change(address, found.spec.store, Action.DELETE, "granted outside", found.spec, None)
        case Spec() as wanted, last, None:
            if address in recorded.others:
                return _owned_elsewhere(address, recorded.others[address], at)
            if wanted.made_once and address in live.objects:
                return _buried(wanted, at)
            reason = "declared" if last is None else "deleted outside"
            if last is not None and last.pending is not None:
                reason = "interrupted apply"
            return Change(address, wanted.store, Action.CREATE, reason, None, wanted, at=at)
        case Spec(), None, Observed():
            return _not_ours(address, recorded.others.get(address), at)
        case Spec() as wanted, Record() as last, Observed() as found:
            return _compare(wanted, last, found, at)
    return None


def _compare(wanted: Spec, last: Record, found: Observed, at: Source | None) -> Change | Diagnostic | None:
    if found.spec == wanted == last.spec and last.pending is None:
        return None
    before = owned(found.spec, wanted, last.spec)
    fields = diff(before, wanted)
    if not fields:
        if last.spec == wanted and last.pending is None:
            return None
        return Change(wanted.address, wanted.store, Action.RECORD, "already so", before, wanted, at=at)
    frozen = dict(marked(type(wanted), Immutable))
    if stuck := [change for change in fields if change.path[0] in frozen]:
        return _immutable(wanted, stuck, frozen, at)
    if last.pending is not None:
        reason = "interrupted apply"
    elif last.spec is None or diff(owned(found.spec, last.spec), last.spec):
        reason = "changed outside"
    elif (followed := sorted(map(str, wanted.follows()))) and last.spec.written() == wanted.written():
        # the manifest says what it said: what an alias means has moved
        reason = f"follows {', '.join(followed)}"
    else:
        reason = "manifest changed"
    return Change(wanted.address, wanted.store, Action.UPDATE, reason, before, wanted, fields, at=at)


def in_scope(desired: Desired, recorded: Recorded, live: Live) -> Iterator[Address]:
    """Grants in a claimed scope that nobody declared or recorded: drift. Hidden ones only if claimed too."""
    if not desired.scopes:
        return
    for address, found in live.objects.items():
        if address in desired.objects or address in recorded.ours or address in recorded.others:
            continue
        scope = found.spec.scope()
        claim = desired.scopes.get(scope) if scope else None
        if claim and (claim.exclusive or not found.hidden) and not found.tombstone:
            yield address


def _taken_along(changes: Mapping[Address, Change], live: Live) -> Iterator[Change]:
    """What MLflow itself removes together with an object that goes: users' own grants on a model."""
    going = {address for address, change in changes.items() if change.action is Action.DELETE}
    if not going:
        return
    for address, found in live.objects.items():
        owner = found.spec.goes_with()
        if owner in going and address not in changes:
            yield Change(address, found.spec.store, Action.DELETE, f"goes with {owner}", found.spec, None)


def _hidden_grants(desired: Desired, recorded: Recorded, live: Live) -> Iterator[Diagnostic]:
    for address, found in live.objects.items():
        scope = found.spec.scope() if found.hidden else None
        claim = desired.scopes.get(scope) if scope else None
        if claim and not claim.exclusive and address not in recorded.ours and address not in recorded.others:
            yield Diagnostic(
                "hidden-grant",
                "a user holds a grant of their own",
                f"{address} belongs to user `{found.hidden}`, granted through MLflow; it is left alone.",
                hint="write `exclusive: all` beside `permissions:` to have such grants removed",
                at=claim.at,
                severity="warning",
            )


def _not_ours(address: Address, owner: str | None, at: Source | None) -> Diagnostic:
    if owner:
        return _owned_elsewhere(address, owner, at)
    return Diagnostic(
        "not-ours",
        "the object exists but isn't managed here",
        f"{address} is already there and was not made from these manifests.",
        hint=f"take it over with `lac import '{address}'`, or give yours another name",
        at=at,
    )


def _owned_elsewhere(address: Address, owner: str, at: Source | None) -> Diagnostic:
    return Diagnostic(
        "owned-elsewhere",
        "the object belongs to another stack",
        f"{address} is managed by stack `{owner}`.",
        hint="declare it in one stack only; others may refer to it without declaring it",
        at=at,
    )


def _buried(wanted: Spec, at: Source | None) -> Diagnostic:
    return Diagnostic(
        "cannot-be-made-again",
        "the store can't make this object again",
        f"{wanted.address} was deleted, and its name stays taken.",
        hint=wanted.made_once,
        at=at,
    )


def _immutable(
    wanted: Spec, stuck: Sequence[FieldChange], frozen: Mapping[str, Immutable], at: Source | None
) -> Diagnostic:
    told = "; ".join(f"`{c.name}` is {c.before!r} and can't become {c.after!r}" for c in stuck)
    return Diagnostic(
        "immutable-field",
        "the store can't change this in place",
        f"{wanted.address}: {told}.",
        hint=frozen[str(stuck[0].path[0])].way_out,
        at=at,
    )
