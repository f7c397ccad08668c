"""The one decision table: what to do about one object, and why. Pure.

The action follows from desired and live; recorded says whether the object is ours, and therefore why it
differs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from ..model.diagnostics import Diagnostic, Source
from ..model.diff import FieldChange, carried, diff, owned
from ..model.plan import Action, Change
from ..model.snapshot import Desired, Lifecycle, Live, Observed, Record, Recorded
from ..model.spec import Address, Immutable, Spec, marked
from .guards import REMOVED, is_protected

MANIFEST = "manifest changed"
"""The reason of an update that nothing else explains."""
IMPORTED = "imported"
"""The reason of a change that an `import:` block asks for."""


def decide(address: Address, desired: Desired, recorded: Recorded, live: Live) -> Change | Diagnostic | None:
    """The decision table; `desired × recorded × live`, one arm a row."""
    at = desired.places.get(address)
    here = live.present(address)
    kept = is_protected(desired.lifecycles.get(address), recorded.ours.get(address))
    match desired.objects.get(address), recorded.ours.get(address), here:
        case None, Record() as last, None:
            return Change(address, last.store, Action.FORGET, "already gone", None, None)
        case None, Record() as last, Observed() as found if address in desired.removals:
            return Change(address, last.store, Action.FORGET, REMOVED, owned(found.spec, last.spec), None)
        case None, Record() as last, Observed() as found:
            before = owned(found.spec, last.spec)
            return Change(address, last.store, Action.DELETE, "no longer declared", before, None)
        case None, None, Observed() as found:
            return Change(address, found.spec.store, Action.DELETE, "granted outside", found.spec, None)
        case Spec() as wanted, last, None:
            if address in recorded.others:
                return _owned_elsewhere(address, recorded.others[address], at)
            if last is None and address in desired.imports:
                return _nothing_to_import(address, desired.imports[address])
            if wanted.made_once and address in live.objects:
                return _buried(wanted, at)
            reason = "declared" if last is None else "deleted outside"
            if last is not None and last.pending is not None:
                reason = "interrupted apply"
            return Change(address, wanted.store, Action.CREATE, reason, None, wanted, at=at, protected=kept)
        case Spec() as wanted, None, Observed() as found if (
            address in desired.imports and address not in recorded.others
        ):
            return _imported(wanted, found, desired, at, kept)
        case Spec(), None, Observed():
            return not_ours(address, recorded.others.get(address), at)
        case Spec() as wanted, Record() as last, Observed() as found:
            return _compare(wanted, last, found, desired.lifecycles.get(address), at, kept)
    return None


def _imported(
    wanted: Spec, found: Observed, desired: Desired, at: Source | None, kept: bool
) -> Change | Diagnostic:
    """An object that an `import:` block takes over; what differs from its declaration is updated at once."""
    seen = owned(found.spec, wanted)
    last = Record(wanted.address, wanted.store, seen)
    compared = _compare(wanted, last, found, desired.lifecycles.get(wanted.address), at, kept)
    if isinstance(compared, Diagnostic):
        return compared
    if compared is None:
        return Change(
            wanted.address, wanted.store, Action.RECORD, IMPORTED, seen, wanted, at=at, protected=kept
        )
    return replace(compared, reason=IMPORTED)


def _compare(
    wanted: Spec, last: Record, found: Observed, lifecycle: Lifecycle | None, at: Source | None, kept: bool
) -> Change | Diagnostic | None:
    if found.spec == wanted == last.spec and last.pending is None and last.protected is kept:
        return None
    ignored = lifecycle.ignore_changes if lifecycle else ()
    before = owned(found.spec, wanted, last.spec)
    wanted = carried(wanted, before, ignored)
    fields = diff(before, wanted)
    if not fields:
        # what is ignored may have moved on from what was recorded
        same = last.spec is not None and not diff(carried(last.spec, before, ignored), wanted)
        if same and last.pending is None and last.protected is kept:
            return None
        reason = "already so"
        if same and last.pending is None:
            reason = "protected from now on" if kept else "no longer protected"
        return Change(
            wanted.address, wanted.store, Action.RECORD, reason, before, wanted, at=at, protected=kept
        )
    frozen = dict(marked(type(wanted), Immutable))
    if stuck := [change for change in fields if change.path[0] in frozen]:
        return _immutable(wanted, stuck, frozen, at)
    if last.pending is not None:
        reason = "interrupted apply"
    elif last.spec is None or diff(owned(found.spec, last.spec), carried(last.spec, before, ignored)):
        reason = "changed outside"
    elif (followed := sorted(map(str, wanted.follows()))) and last.spec.written() == wanted.written():
        # the manifest says what it said: what an alias means has moved
        reason = f"follows {', '.join(followed)}"
    else:
        reason = MANIFEST
    return Change(
        wanted.address, wanted.store, Action.UPDATE, reason, before, wanted, fields, at=at, protected=kept
    )


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


def not_ours(address: Address, owner: str | None, at: Source | None = None) -> Diagnostic:
    """The object is there, and this stack has no record of it."""
    if owner:
        return _owned_elsewhere(address, owner, at)
    return Diagnostic(
        "not-ours",
        "the object exists but isn't managed here",
        f"{address} is already there and was not made from these manifests.",
        hint=f"take it over with `lac import {address.quoted}`, or give yours another name",
        at=at,
    )


def _owned_elsewhere(address: Address, owner: str, at: Source | None) -> Diagnostic:
    return Diagnostic(
        "owned-elsewhere",
        "the object belongs to another stack",
        f"{address} is managed by stack `{owner}`.",
        hint="declare it in one stack only; others may refer to it without declaring it"
        f" (to move it here: `lac import --take-over {address.quoted}`)",
        at=at,
    )


def _nothing_to_import(address: Address, at: Source | None) -> Diagnostic:
    return Diagnostic(
        "nothing-to-import",
        "there is no such object",
        f"{address} is in none of the stores.",
        hint="remove the `import:` block, and it will be created",
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
