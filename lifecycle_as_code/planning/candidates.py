"""The versions of a model that a selector looks at: as they will be once the plan is applied. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from ..model.diff import carried, owned
from ..model.predicate import Facts
from ..model.snapshot import Desired, Lifecycle, Live, Observed, Record, Recorded
from ..model.spec import Spec, Trait
from .renames import removed

READY: Final = "READY"
"""MLflow's word for a version whose files are there."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A version, and why it can't be selected; empty where it can."""

    facts: Facts
    barred: str = ""


Candidates = Mapping[str, tuple[Candidate, ...]]
"""By model, the highest version first."""


def candidates(desired: Desired, recorded: Recorded, live: Live) -> Candidates:
    """Versions that are there and weren't deleted, and declared ones that are still to be made.

    Tags and descriptions are those that the plan leaves: the live ones, with what the manifests say of them.
    """
    found: defaultdict[str, list[Candidate]] = defaultdict(list)
    kept = removed(desired, recorded)
    for address, seen in live.objects.items():
        if seen.spec.trait is not Trait.VERSION or seen.tombstone:
            continue
        wanted, last = desired.objects.get(address), recorded.ours.get(address)
        going = wanted is None and last is not None and address not in kept
        facts = _facts(_as_planned(wanted, last, seen, desired.lifecycles.get(address)), seen.facts)
        barred = "it is no longer declared, and will be deleted" if going else ""
        if facts.status != READY:
            barred = f"its status is {facts.status or 'unknown'}"
        found[str(address.key[0])].append(Candidate(facts, barred))
    for address, spec in desired.objects.items():
        if spec.trait is Trait.VERSION and address not in live.objects:
            facts = _facts(live.settled.get(address, spec), {"status": READY})
            found[str(address.key[0])].append(Candidate(facts))
    return {model: tuple(sorted(every, key=_newest_first)) for model, every in found.items()}


def _newest_first(candidate: Candidate) -> int:
    return -candidate.facts.version


def _as_planned(wanted: Spec | None, last: Record | None, seen: Observed, lifecycle: Lifecycle | None) -> Any:
    """A live version as the plan leaves it: tags that nobody declares stay, those that were ours go."""
    there: Any = seen.spec
    if wanted is None:
        return there
    before = last.spec if last is not None else None
    after: Any = carried(wanted, owned(there, wanted, before), lifecycle.ignore_changes if lifecycle else ())
    ours: Any = owned(there, wanted, before)
    tags = {key: value for key, value in there.tags.items() if key not in ours.tags} | {**after.tags}
    return there.model_copy(update={"tags": tags, "description": after.description, "stage": after.stage})


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
