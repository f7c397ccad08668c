"""A rollback: the plan that restores the objects of an earlier time, and the manifests that agree with it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from ..model.diagnostics import refuse
from ..model.diff import diff
from ..model.plan import Mode, Plan
from ..model.snapshot import Desired
from ..model.spec import Address, Spec
from ..planning.decision import refuse_unmanaged
from ..planning.planner import PlanOptions
from ..planning.rollback import find_rollback
from .plan import make_plan, review_plan
from .queries import read_history, read_records
from .refresh import resolve_snapshots, take_snapshots
from .session import Session


@dataclass(frozen=True, slots=True)
class Rollback:
    """A plan that restores earlier objects. `texts` returns the manifests that agree with it, whole, by file;
    only those that change. LacError where they can't be edited."""

    plan: Plan
    texts: Callable[[], Mapping[str, str]]


def plan_rollback(session: Session, what: str, *, allow: Collection[str] = ()) -> Rollback:
    """The plan that undoes an apply or one object's last change; `Stack.rollback` describes `what`."""
    back = find_rollback(what, read_history(session), session.parse_address)
    recorded = {r.address: r.spec for r in read_records(session) if r.spec is not None}
    # endpoints that follow a restored alias go back with it
    followers = {
        address: spec
        for address, spec in recorded.items()
        if address not in back.objects and any(alias in back.objects for alias in spec.follows())
    }
    objects = {a: spec for a, spec in back.objects.items() if spec is not None} | followers
    snapshots = resolve_snapshots(session, take_snapshots(session, Desired(objects)))
    # an object that has another owner by now, or none, isn't ours to delete
    absent = (a for a, spec in back.objects.items() if spec is None and a not in snapshots.recorded.ours)
    refuse(refuse_unmanaged(a, snapshots.recorded.others.get(a)) for a in absent if snapshots.live.present(a))
    options = PlanOptions(
        Mode.ROLLBACK,
        frozenset(allow),
        only=frozenset({*back.objects, *followers}),
        because=back.because,
    )
    plan = make_plan(session, snapshots, options)
    return Rollback(review_plan(session, plan, snapshots), lambda: _edit_manifests(session, back.objects))


def _edit_manifests(session: Session, specs: Mapping[Address, Spec | None]) -> dict[str, str]:
    """The manifests that declare `specs`, or don't where None; equal declarations stay as written."""
    from ..manifest.edit import rewrite

    forms = take_snapshots(session, session.desired, refresh=False).live.settled
    edits: dict[Address, Spec | None] = {}
    for address, spec in specs.items():
        declared = session.desired.objects.get(address)
        if spec is None or declared is None:
            if spec is not declared:
                edits[address] = spec
            continue
        fields = {str(f.path[0]) for f in diff(forms.get(address, declared), spec)}
        if spec.written() != declared.written() and fields:
            edits[address] = declared.model_copy(update={name: getattr(spec, name) for name in fields})
    return rewrite(session.manifest, edits, session.specs) if edits else {}
