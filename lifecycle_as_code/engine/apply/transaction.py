"""One SQL step: check live state again under the lock, make the changes, and read them back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ...kinds.base import Databases, Kind, SqlKind
from ...model.diagnostics import Diagnostic, LacError
from ...model.diff import diff, restrict_to_owned
from ...model.plan import Action, Change
from ...model.snapshot import Live, Recorded
from ...model.spec import Store
from ...planning.decision import IMPORTED
from ...planning.renames import Pair, rename_snapshots
from ..refresh import naming, observe


def write_rows(kinds: Sequence[Kind[Any]], db: Databases, changes: Sequence[Change]) -> None:
    """Make the changes by kind: renames, creations and updates, then deletions in the opposite order."""
    rows = [kind for kind in kinds if isinstance(kind, SqlKind)]
    for kind in rows:
        mine = [c for c in changes if c.address.kind == kind.spec.kind and kind.spec.movable]
        pairs = [
            (c.before.renamed(c.address, c.moved_from), c.before) for c in mine if c.before and c.moved_from
        ]
        if pairs:
            kind.move(db, pairs)
    for kind in rows:
        mine = [c for c in changes if c.address.kind == kind.spec.kind]
        if afters := [c.after for c in mine if c.action is Action.CREATE]:
            kind.create(db, afters)
        if updates := [(c.before, c.after) for c in mine if c.action is Action.UPDATE]:
            kind.update(db, updates)
    for kind in reversed(rows):
        mine = [c for c in changes if c.address.kind == kind.spec.kind]
        if befores := [c.before for c in mine if c.action is Action.DELETE]:
            kind.delete(db, befores)


def refuse_stale_rows(
    kinds: Sequence[Kind[Any]],
    db: Databases,
    changes: Sequence[Change],
    recorded: Recorded,
    moves: Sequence[Pair] = (),
) -> None:
    """`refuse_stale`, inside the transaction that makes the changes: what they refer to can't be changed or
    removed until it ends. `moves`: the plan's renames; the plan has everything under the new names."""
    sql = [c for c in changes if c.store is not Store.SERVE]
    _lock_referents(kinds, db, sql)
    names = naming({*(c.address for c in sql), *(c.moved_from for c in sql if c.moved_from)})
    now = rename_snapshots(moves, recorded, observe(kinds, db, names))
    rows = {c.address for c in sql}
    _refuse(
        _ownership_change(c, now.recorded) or (_live_change(c, now.live) if c.address in rows else "")
        for c in changes
    )


def _lock_referents(kinds: Sequence[Kind[Any]], db: Databases, changes: Sequence[Change]) -> None:
    """Keep other writers from what the changes refer to. SQLite has one writer anyway; on PostgreSQL nothing
    else ties an alias to its version."""
    if all(c is None or c.dialect.name == "sqlite" for c in (db.registry, db.auth)):
        return
    refs = {ref for c in changes if c.after is not None for ref in c.after.refs()}
    for kind in kinds:
        mine = [ref for ref in refs if ref.kind == kind.spec.kind]
        if isinstance(kind, SqlKind) and kind.keys is not None and mine:
            kind.keys.share(
                db.registry if kind.spec.store is Store.REGISTRY else db.grants, db.workspace, mine
            )


def refuse_stale(changes: Sequence[Change], live: Live, recorded: Recorded | None = None) -> None:
    """LacError `stale-plan` with one line for each object that changed since the plan was made, or has
    another owner. Without `recorded`, owners aren't compared."""
    _refuse((_ownership_change(c, recorded) if recorded else "") or _live_change(c, live) for c in changes)


def _refuse(differences: Iterable[str]) -> None:
    if lines := [line for line in differences if line]:
        raise LacError(
            Diagnostic(
                "stale-plan",
                "the plan is out of date",
                "These objects changed since it was made:\n" + "\n".join(lines),
                hint="nothing was written for it; run `lac plan` again and review the new plan",
            )
        )


def _ownership_change(change: Change, recorded: Recorded) -> str:
    """Why the object isn't this stack's any more, or nothing."""
    if owner := recorded.others.get(change.address):
        return f"{change.address}: stack `{owner}` owns it now"
    # a new or imported object has no record yet; a grant in a claimed scope is deleted without one
    ours = change.action not in (Action.CREATE, Action.DELETE) and change.reason != IMPORTED
    if ours and change.address not in recorded.ours:
        return f"{change.address}: this stack has no record of it any more"
    return ""


def _live_change(change: Change, live: Live) -> str:
    """How the object differs from the plan's `before`, or nothing."""
    observed = live.present(change.address)
    if observed is None:
        return f"{change.address}: it is gone" if change.before is not None else ""
    if change.before is None:
        return f"{change.address}: it exists now"
    fields = diff(change.before, restrict_to_owned(observed.spec, change.before, change.after))
    values = ", ".join(f"{f.name}: {f.before!r} → {f.after!r}" for f in fields)
    return f"{change.address}: {values}" if values else ""


def verify_rows(kinds: Sequence[Kind[Any]], db: Databases, changes: Sequence[Change]) -> None:
    """LacError `not-as-written` where the store doesn't hold what the changes say. Undoes nothing itself."""
    live = observe(kinds, db, naming({c.address for c in changes}))
    if lines := [line for change in changes if (line := _mismatch(change, live))]:
        raise LacError(
            Diagnostic(
                "not-as-written",
                "the store doesn't hold what was written",
                "\n".join(lines),
                hint="everything was rolled back; a trigger or a limit of the database changes these values",
            )
        )


def _mismatch(change: Change, live: Live) -> str:
    """How the store differs from the change's `after`, or nothing."""
    observed = live.present(change.address)
    if change.after is None:
        return f"{change.address} still exists" if observed is not None else ""
    if observed is None:
        return f"{change.address} does not exist"
    if observed.spec == change.after:
        return ""
    fields = diff(restrict_to_owned(observed.spec, change.before, change.after), change.after)
    values = ", ".join(f"{f.name} is {f.before!r} instead of {f.after!r}" for f in fields)
    return f"{change.address}: {values}" if values else ""
