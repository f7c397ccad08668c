"""The one decision table: what to do about one object, and why. Pure. The action follows from desired and
live; recorded says whether the object is ours, and therefore why it differs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

from ..model.diagnostics import Diagnostic, Source
from ..model.diff import FieldChange, carry_fields, diff, restrict_to_owned
from ..model.plan import Action, Change
from ..model.snapshot import Desired, Lifecycle, Live, Observed, Record, Recorded
from ..model.spec import Address, Immutable, Spec, find_markers
from .guards import REMOVED, is_protected

MANIFEST = "manifest changed"
"""The reason of an update without another reason."""
IMPORTED = "imported"
"""The reason of a change that an `import:` block asks for."""


def decide(address: Address, desired: Desired, recorded: Recorded, live: Live) -> Change | Diagnostic | None:
    """The decision table `desired × recorded × live`, one arm per row."""
    at = desired.places.get(address)
    observed = live.present(address)
    protect = is_protected(desired.lifecycles.get(address), recorded.ours.get(address))
    match desired.objects.get(address), recorded.ours.get(address), observed:
        case None, Record() as record, None:
            return Change(address, record.store, Action.FORGET, "already gone")
        case None, Record() as record, Observed() as observed:
            before = restrict_to_owned(observed.spec, record.spec)
            if address in desired.removals:
                return Change(address, record.store, Action.FORGET, REMOVED, before)
            return Change(address, record.store, Action.DELETE, "no longer declared", before)
        case None, None, Observed() as observed:
            return Change(address, observed.spec.store, Action.DELETE, "granted outside", observed.spec)
        case Spec() as declared, record, None:
            if address in recorded.others:
                return _refuse_other_owner(address, recorded.others[address], at)
            if record is None and address in desired.imports:
                return _refuse_empty_import(address, desired.imports[address])
            if declared.made_once and address in live.objects:
                return _refuse_deleted_name(declared, at)
            reason = "declared" if record is None else "deleted outside"
            if record is not None and record.pending is not None:
                reason = "interrupted apply"
            return Change(
                address, declared.store, Action.CREATE, reason, None, declared, at=at, protected=protect
            )
        case Spec() as declared, None, Observed() as observed if (
            address in desired.imports and address not in recorded.others
        ):
            return _import(declared, observed, desired, at, protect)
        case Spec(), None, Observed():
            return refuse_unmanaged(address, recorded.others.get(address), at)
        case Spec() as declared, Record() as record, Observed() as observed:
            return _compare(declared, record, observed, desired.lifecycles.get(address), at, protect)
    return None


def _import(
    declared: Spec, observed: Observed, desired: Desired, at: Source | None, protect: bool
) -> Change | Diagnostic:
    """Take over an object by an `import:` block; differences from its declaration are updated at once."""
    record = Record(declared.address, declared.store, None)
    change = _compare(declared, record, observed, desired.lifecycles.get(declared.address), at, protect)
    # without a recorded spec there is something to record at least
    assert change is not None
    return change if isinstance(change, Diagnostic) else replace(change, reason=IMPORTED)


def _compare(
    declared: Spec,
    record: Record,
    observed: Observed,
    lifecycle: Lifecycle | None,
    at: Source | None,
    protect: bool,
) -> Change | Diagnostic | None:
    if observed.spec == declared == record.spec and record.pending is None and record.protected is protect:
        return None
    ignored = lifecycle.ignore_changes if lifecycle else ()
    before = restrict_to_owned(observed.spec, declared, record.spec)
    declared = carry_fields(declared, before, ignored)
    change = partial(
        Change, declared.address, declared.store, before=before, after=declared, at=at, protected=protect
    )
    fields = diff(before, declared)
    if not fields:
        # ignored fields may have changed since they were recorded
        same = record.spec is not None and not diff(carry_fields(record.spec, before, ignored), declared)
        if not same or record.pending is not None:
            return change(Action.RECORD, "already so")
        if record.protected is not protect:
            return change(Action.RECORD, "protected from now on" if protect else "no longer protected")
        return None
    frozen = dict(find_markers(type(declared), Immutable))
    if immutable := [field for field in fields if field.path[0] in frozen]:
        return _refuse_immutable(declared, immutable, frozen, at)
    applied = record.spec
    if record.pending is not None:
        reason = "interrupted apply"
    elif applied is None or diff(
        restrict_to_owned(observed.spec, applied), carry_fields(applied, before, ignored)
    ):
        reason = "changed outside"
    elif (aliases := sorted(map(str, declared.follows()))) and applied.written() == declared.written():
        # the manifest is unchanged: the alias points at another version
        reason = f"follows {', '.join(aliases)}"
    else:
        reason = MANIFEST
    return change(Action.UPDATE, reason, fields=fields)


def in_scope(desired: Desired, recorded: Recorded, live: Live) -> Iterator[Address]:
    """Undeclared, unrecorded grants in a claimed scope: drift. Hidden ones only by an exclusive claim."""
    if not desired.scopes:
        return
    for address, observed in live.objects.items():
        if address in desired.objects or address in recorded.ours or address in recorded.others:
            continue
        scope = observed.spec.scope()
        claim = desired.scopes.get(scope) if scope else None
        if claim and (claim.exclusive or not observed.hidden) and not observed.tombstone:
            yield address


def refuse_unmanaged(address: Address, owner: str | None, at: Source | None = None) -> Diagnostic:
    """The object exists, and this stack has no record of it."""
    if owner:
        return _refuse_other_owner(address, owner, at)
    return Diagnostic(
        "not-ours",
        "the object exists but isn't managed here",
        f"{address} already exists and was not created from these manifests.",
        hint=f"take it over with `lac import {address.shell_word}`, or choose another name",
        at=at,
    )


def _refuse_other_owner(address: Address, owner: str, at: Source | None) -> Diagnostic:
    return Diagnostic(
        "owned-elsewhere",
        "the object belongs to another stack",
        f"{address} is managed by stack `{owner}`.",
        hint="declare it in one stack only; other stacks may refer to it without declaring it"
        f" (to move it here: `lac import --take-over {address.shell_word}`)",
        at=at,
    )


def _refuse_empty_import(address: Address, at: Source | None) -> Diagnostic:
    return Diagnostic(
        "nothing-to-import",
        "there is no such object",
        f"{address} doesn't exist in any store.",
        hint="remove the `import:` block to create the object",
        at=at,
    )


def _refuse_deleted_name(declared: Spec, at: Source | None) -> Diagnostic:
    return Diagnostic(
        "cannot-be-made-again",
        "the store can't create this object again",
        f"{declared.address} was deleted, and its name is still taken.",
        hint=declared.made_once,
        at=at,
    )


def _refuse_immutable(
    declared: Spec, changes: Sequence[FieldChange], frozen: Mapping[str, Immutable], at: Source | None
) -> Diagnostic:
    details = "; ".join(f"`{c.name}` is {c.before!r} and can't become {c.after!r}" for c in changes)
    return Diagnostic(
        "immutable-field",
        "the store can't change this in place",
        f"{declared.address}: {details}.",
        hint=frozen[str(changes[0].path[0])].way_out,
        at=at,
    )
