"""Questions about one stack: what changed outside, what an object is like from every side and why it is
planned as it is, and what all were like at some time."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from ..manifest.edit import places_of
from ..model.diagnostics import LacError, Source
from ..model.diff import Path as FieldPath
from ..model.diff import owned
from ..model.history import Line
from ..model.history import at as recorded_at
from ..model.snapshot import Desired, Live, Observed, Record
from ..model.spec import Address, Spec
from ..planning.comparison import Side, States
from ..planning.drift import Drift, make_drift, pending_only
from ..planning.explanation import Explanation, explained, paths
from ..planning.rollback import apply_of
from . import rollback
from .observation import naming, observe
from .session import Core


@dataclass(frozen=True, slots=True)
class Shown:
    """One object from every side: as declared, as recorded, as it is."""

    address: Address
    desired: Spec | None
    recorded: Record | None
    live: Observed | None


def shown(core: Core, address: Address) -> Shown:
    """One object from every side."""
    asked = Desired({address: spec} if (spec := core.manifest.desired.objects.get(address)) else {})
    core.connections.refuse_unreachable(asked)
    seen = core.camera.take(asked, resolved=False, names=naming({address}))
    return Shown(address, spec, seen.recorded.ours.get(address), seen.live.objects.get(address))


def drift(core: Core, ignore: Collection[str]) -> Drift:
    """What changed outside since the last apply, apart from what the manifests would change. `ignore`:
    addresses or patterns to pass over, beside those that lac.yaml names."""
    desired = core.manifest.desired
    core.connections.refuse_unreachable(desired)
    seen = core.camera.take(desired, resolved=False)
    outside = make_drift(
        seen.recorded,
        replace(seen.live, diagnostics=()),
        desired.scopes,
        desired.lifecycles,
        ignore=(*core.settings.drift_ignore, *ignore),
        stack=core.name,
        environment=core.environment,
    )
    updated = {c.address: at for c in outside.changes if (at := _updated(seen.live, c.address)) is not None}
    try:
        plan = core.plan(core.camera.resolved(seen), core.options())
    except LacError as error:
        return Drift(outside, None, error.diagnostics, updated)
    return Drift(outside, pending_only(plan, seen.recorded, desired.lifecycles), (), updated)


def _updated(live: Live, address: Address) -> int | None:
    """When MLflow says that the object was last written, in ms since 1970; it keeps no time for some
    kinds."""
    found = live.objects.get(address)
    at = found.facts.get("updated") if found else None
    return at if isinstance(at, int) else None


def explain(core: Core, address: Address) -> Explanation:
    """Why the plan changes an object, or doesn't. LacError where nothing can be planned."""
    core.connections.refuse_unreachable(core.manifest.desired)
    seen = core.camera.take(core.manifest.desired)
    plan = core.plan(seen, core.options())
    change = next((c for c in plan.changes if c.address == address), None)
    desired = seen.desired.objects.get(address)
    at = seen.desired.places.get(address)
    live, lifecycle = seen.live.objects.get(address), seen.desired.lifecycles.get(address)
    return explained(
        address,
        desired,
        seen.recorded.ours.get(address),
        live if live or desired else _look(core, address),
        change,
        rollback.history(core, address),
        at=at,
        places=_places(core, at, paths(change, desired), core.specs[address.kind]),
        owner=seen.recorded.others.get(address, ""),
        ignored=lifecycle.ignore_changes if lifecycle else (),
        choices=seen.desired.choices,
    )


def _look(core: Core, address: Address) -> Observed | None:
    """What a SQL store has under a name that neither manifests nor records have."""
    with core.connections.reading() as (ledger, _), ledger.reading() as db:
        return observe(list(core.kinds.values()), db, naming([address])).objects.get(address)


def states(core: Core, asked: Side, *, written: bool) -> States:
    """What a side of a comparison holds. `written`: manifests as people wrote them, `@champion` and all;
    otherwise as they are planned. LacError where there is no such apply."""
    match asked.what:
        case "manifests" if written:
            return core.manifest.desired.objects
        case "manifests":
            return core.camera.take(core.manifest.desired).desired.objects
        case "live":
            return _live(core)
        case "recorded":
            return {r.address: r.spec for r in rollback.records(core) if r.spec is not None}
        case "apply":
            return recorded_at([*_until(core, asked.name)], _END)
        case _:
            return rollback.at(core, asked.at_ms)


_END = 2**63


def _until(core: Core, apply_id: str) -> Iterator[Line]:
    """What history has, up to the end of an apply."""
    applies = rollback.history(core)
    last = apply_of(apply_id, applies)
    for apply in applies:
        yield from apply.lines
        if apply.apply_id == last.apply_id:
            return


def _live(core: Core) -> dict[Address, Spec]:
    """What is live of all that is declared or ours, cut down to what is ours to compare."""
    seen = core.camera.take(core.manifest.desired, resolved=False)
    recorded = {a: record.spec for a, record in seen.recorded.ours.items()}
    desired = seen.desired.objects
    return {
        address: owned(there.spec, desired.get(address), recorded.get(address))
        for address in {*desired, *recorded}
        if (there := seen.live.present(address)) is not None
    }


def _places(
    core: Core, at: Source | None, wanted: tuple[FieldPath, ...], spec: type[Spec]
) -> dict[FieldPath, Source]:
    if at is None:
        return {}
    try:
        text = Path(at.file).read_bytes().decode()
    except (OSError, UnicodeDecodeError):
        return {}
    return places_of(wanted, at, text, spec, core.specs)
