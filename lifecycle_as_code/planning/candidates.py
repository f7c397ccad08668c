"""The versions of a model that a selector may choose, as they will be after the apply. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from ..model.diff import carry_fields, restrict_to_owned
from ..model.predicate import Facts
from ..model.snapshot import Desired, Lifecycle, Live, Observed, Record, Recorded
from ..model.spec import Spec, Trait
from .renames import expand_removals

READY: Final = "READY"
"""MLflow's status of a version whose files exist."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A version. `obstacle`: why it can't be selected; empty if it can."""

    facts: Facts
    obstacle: str = ""


Candidates = Mapping[str, tuple[Candidate, ...]]
"""By model, the highest version first."""


def list_candidates(desired: Desired, recorded: Recorded, live: Live) -> Candidates:
    """The live versions without deleted ones, and the declared ones that the plan creates, as after the
    apply."""
    by_model: defaultdict[str, list[Candidate]] = defaultdict(list)
    removals = expand_removals(desired, recorded)
    for address, observed in live.objects.items():
        if observed.spec.trait is not Trait.VERSION or observed.tombstone:
            continue
        declared, record = desired.objects.get(address), recorded.ours.get(address)
        is_deleted = declared is None and record is not None and address not in removals
        facts = _facts(
            _apply_plan(declared, record, observed, desired.lifecycles.get(address)), observed.facts
        )
        obstacle = "it is no longer declared, and will be deleted" if is_deleted else ""
        if facts.status != READY:
            obstacle = f"its status is {facts.status or 'unknown'}"
        by_model[str(address.key[0])].append(Candidate(facts, obstacle))
    for address, spec in desired.objects.items():
        if spec.trait is Trait.VERSION and address not in live.objects:
            facts = _facts(live.settled.get(address, spec), {"status": READY})
            by_model[str(address.key[0])].append(Candidate(facts))
    return {
        model: tuple(sorted(every, key=lambda candidate: -candidate.facts.version))
        for model, every in by_model.items()
    }


def _apply_plan(
    declared: Spec | None, record: Record | None, observed: Observed, lifecycle: Lifecycle | None
) -> Any:
    """A live version after the apply: undeclared tags stay, except those that lac applied before."""
    live: Any = observed.spec
    if declared is None:
        return live
    ours: Any = restrict_to_owned(live, declared, record.spec if record is not None else None)
    after: Any = carry_fields(declared, ours, lifecycle.ignore_changes if lifecycle else ())
    tags = {key: value for key, value in live.tags.items() if key not in ours.tags} | {**after.tags}
    return live.model_copy(update={"tags": tags, "description": after.description, "stage": after.stage})


def _facts(spec: Any, facts: Mapping[str, Any]) -> Facts:
    created = facts.get("created")
    return Facts(
        version=spec.version,
        run_id=spec.run_id or "",
        source=spec.source,
        description=spec.description,
        stage=spec.stage,
        status=str(facts.get("status") or ""),
        tags=spec.tags,
        created=created if isinstance(created, int) else None,
    )
