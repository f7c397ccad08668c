"""What a stack owns, changed without a plan: live objects taken over, ours let go. Writes records alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from uuid import uuid4

from ..kinds.base import Wanted
from ..model.diagnostics import Diagnostic, refuse
from ..model.plan import Action, Change
from ..model.snapshot import Desired, Record
from ..model.spec import Address
from ..stores.state import lock
from .adoption import Adopted, adopted, refuse_taken
from .apply.run import writing
from .apply.transaction import load
from .session import Core


def adopt(
    core: Core, addresses: Sequence[Address] | None, *, write: Callable[[str], None] | None, take_over: bool
) -> Adopted:
    """Record live objects as they are, and give the YAML that declares them; `Stack.adopt` says the rest."""
    seen = core.camera.take(Desired(), resolved=False, names=Wanted())
    declared = core.manifest.desired
    taken = adopted(addresses, declared, seen.recorded, seen.live, core.specs, take_over=take_over)
    if taken.yaml and write is not None:
        write(taken.yaml)
    if taken.records:
        with ExitStack() as locks:
            for other in sorted({*taken.former.values()}):
                # whoever owns it now must not be at work on it
                held = lock.held(core.connections.ledger().registry, other, str(uuid4()), what="import")
                locks.enter_context(held)
            journal = locks.enter_context(writing(core, "import"))
            with journal.writing() as db:
                refuse_taken(taken, load(journal.ledger, db, core.specs))
                journal.take_over(db, taken.former, {r.address: r for r in taken.records})
                journal.record(db, taken.records, (), [_taken_over(r, taken) for r in taken.records])
            journal.outcome = "complete"
    return taken


def _taken_over(record: Record, taken: Adopted) -> Change:
    former = taken.former.get(record.address)
    reason = f"taken over from stack {former}" if former else "imported"
    return Change(record.address, record.store, Action.RECORD, reason, None, record.spec)


def forget(core: Core, addresses: Sequence[Address]) -> None:
    """Drop the records of `addresses`. LacError where there is none."""
    with writing(core, "state rm") as journal:
        with journal.ledger.reading() as db:
            ours = load(journal.ledger, db, core.specs).ours
        refuse(
            Diagnostic("not-recorded", "this stack doesn't own the object", f"{a} has no record.")
            for a in addresses
            if a not in ours
        )
        done = [
            Change(a, ours[a].store, Action.FORGET, "forgotten on request", ours[a].spec, None)
            for a in addresses
        ]
        with journal.writing() as db:
            journal.record(db, (), [(c.address, c.store) for c in done], done)
        journal.outcome = "complete"
