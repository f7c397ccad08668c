"""A stack's past: what was applied, what was recorded at a time, and the plan that goes back there."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from ..model.diagnostics import refuse
from ..model.diff import diff
from ..model.history import Apply
from ..model.history import at as recorded_at
from ..model.plan import Mode, Plan
from ..model.snapshot import Desired, Record
from ..model.spec import Address, Spec
from ..planning.decision import not_ours
from ..planning.rollback import undone
from .apply.transaction import load, read_history
from .session import Core


@dataclass(frozen=True, slots=True)
class Rollback:
    """A plan that restores what was. `texts` gives the manifests that agree with it, whole, by file; only
    those that change. LacError where they can't be edited."""

    plan: Plan
    texts: Callable[[], Mapping[str, str]]


def records(core: Core) -> tuple[Record, ...]:
    """What the stack last applied, in the order of addresses."""
    with core.connections.reading() as (ledger, _), ledger.reading() as db:
        recorded = load(ledger, db, core.specs)
    return tuple(sorted(recorded.ours.values(), key=lambda r: str(r.address)))


def history(core: Core, address: Address | None = None) -> list[Apply]:
    """Every apply of this stack, the first one first; with `address`, those that did something to it."""
    with core.connections.reading() as (ledger, _), ledger.reading() as db:
        return read_history(ledger, db, core.specs, address)


def at(core: Core, moment_ms: int) -> dict[Address, Spec]:
    """What this stack had recorded at that time, in ms since 1970 by the database's clock."""
    return recorded_at([line for apply in history(core) for line in apply.lines], moment_ms)


def rollback(core: Core, what: str, *, allow: Collection[str] = ()) -> Rollback:
    """The plan that restores what was before an apply (its id or the beginning of it), or before the last
    change of one object (its address). LacError where that can't be done.

    Endpoints that follow a restored alias go back with it.
    """
    back = undone(what, history(core), core.address)
    recorded = {r.address: r.spec for r in records(core) if r.spec is not None}
    following = {
        address: spec
        for address, spec in recorded.items()
        if address not in back.wanted and any(alias in back.wanted for alias in spec.follows())
    }
    objects = {a: spec for a, spec in back.wanted.items() if spec is not None} | following
    seen = core.camera.take(Desired(objects))
    # what was made once and has another owner by now, or none, is nobody's to delete here
    gone = (a for a, spec in back.wanted.items() if spec is None and a not in seen.recorded.ours)
    refuse(not_ours(a, seen.recorded.others.get(a)) for a in gone if seen.live.present(a))
    options = core.options(
        mode=Mode.ROLLBACK,
        allow=frozenset(allow),
        only=frozenset({*back.wanted, *following}),
        because=back.because,
    )
    # imported here: the rest of the past is judged by nobody
    from .review import reviewed

    plan = reviewed(core, core.plan(seen, options), seen, core.manifest.desired.rules)
    return Rollback(plan, lambda: _texts(core, back.wanted))


def _texts(core: Core, wanted: Mapping[Address, Spec | None]) -> dict[str, str]:
    """The manifests with what is wanted of these objects; what already means the same stays as
    written."""
    from ..manifest.edit import rewrite

    now = core.camera.take(core.manifest.desired, resolved=False, refresh=False).live.settled
    changed: dict[Address, Spec | None] = {}
    for address, spec in wanted.items():
        declared = core.manifest.desired.objects.get(address)
        if spec is None or declared is None:
            if spec is not declared:
                changed[address] = spec
            continue
        differing = {str(f.path[0]) for f in diff(now.get(address, declared), spec)}
        if spec.written() != declared.written() and differing:
            changed[address] = declared.model_copy(update={n: getattr(spec, n) for n in differing})
    if not changed:
        return {}
    return rewrite(core.manifest, changed, core.specs)
