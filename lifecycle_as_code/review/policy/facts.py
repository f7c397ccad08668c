"""What an expression of a policy may name: the table of names and types, and their values for one change.

A version that isn't there has empty maps, version 0 and `exists == false`. What isn't known has no value,
and an expression that reads it isn't met. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from ...model.evidence import NOTHING, Comparison, Evidence
from ...model.history import Actor
from ...model.plan import Change, Plan
from ...model.review import Access, Impact
from ...model.spec import Spec


class Name(NamedTuple):
    """A name, its type in CEL, and what it is. Names that begin with `*.` are there as `before.` and
    `after.`."""

    name: str
    type: str
    about: str


CONTEXT: Final[tuple[Name, ...]] = (
    Name("*.exists", "bool", "Whether there is such a version; for what is no version, such an object."),
    Name("*.version", "int", "Its number; 0 where there is none."),
    Name("*.model", "string", "The registered model."),
    Name("*.source", "string", "Where its files are."),
    Name(
        "*.tags",
        "map(string, string)",
        "Its tags, as they will be after the plan; those of a model too.",
    ),
    Name("*.params", "map(string, string)", "The run's parameters."),
    Name(
        "*.metrics",
        "map(string, double)",
        "Metrics. One that was measured on several data sets is there as `auc@DATASET` only.",
    ),
    Name("*.aliases", "list(string)", "Aliases that point at it before the plan."),
    Name("*.held_hours", "map(string, double)", "For how many hours it has held an alias, by our history."),
    Name("*.datasets", "list(string)", "The names of its data sets."),
    Name("*.flavors", "map(string, string)", "Each flavor and its library's version."),
    Name("*.python", "string", "The Python that it was logged with."),
    Name("*.mlflow", "string", "The MLflow that it was logged with."),
    Name("*.size", "int", "The size of its artifacts in bytes; no value where it isn't known."),
    Name("*.artifact", "string", "`present`, `missing`, or `unknown` where that can't be told."),
    Name("*.signature.present", "bool", "Whether it has a signature."),
    Name("*.run.exists", "bool", "Whether the run that made it is known."),
    Name("*.run.id", "string", "The run."),
    Name("*.run.name", "string", "Its name."),
    Name("*.run.status", "string", "MLflow's word, such as `FINISHED`."),
    Name("*.run.user", "string", "Who ran it."),
    Name("*.run.commit", "string", "The git commit that it ran from."),
    Name("*.run.experiment", "string", "Its experiment."),
    Name("*.run.deleted", "bool", "Whether it is in MLflow's trash."),
    Name("*.fields", "map(string, dyn)", "The object itself as manifests have it: `after.fields.level`."),
    Name("change.address", "string", "`model_alias.fraud/champion`."),
    Name("change.kind", "string", "`model_alias`."),
    Name("change.action", "string", "`create`, `update`, `delete` or `move`."),
    Name("change.reason", "string", "Why it is planned."),
    Name("change.fields", "list(string)", "What differs: `version`, `tags.team`."),
    Name("change.entity", "string", "The served entity that is looked at; empty for what is no endpoint."),
    Name("change.endpoints", "list(string)", "Endpoints whose traffic the change moves."),
    Name(
        "change.gains",
        "list(map(string, string))",
        "Who gains access: `user`, `resource`, `before`, `after`.",
    ),
    Name("change.losses", "list(map(string, string))", "Who loses access, likewise."),
    Name(
        "signature",
        "string",
        "`same`, `compatible`, `breaking`, `unknown`, or `none` without a version before.",
    ),
    Name("evidence.missing", "list(string)", "What should be known about the version after and isn't."),
    Name("evidence.findings", "list(string)", "How the signatures differ."),
    Name("evidence.breaking", "list(string)", "Those of the findings that break a caller."),
    Name("evidence.better", "list(string)", "Metrics that improved, as `metrics:` in manifests says."),
    Name("evidence.worse", "list(string)", "Metrics that got worse, likewise."),
    Name("evidence.params", "list(string)", "Parameters that differ."),
    Name("plan.stack", "string", "The stack's name."),
    Name("plan.mode", "string", "`normal`, `destroy` or `rollback`."),
    Name("plan.changes", "list(string)", "The addresses of all changes."),
    Name("plan.counts", "map(string, int)", "How many `create`, `update`, `delete` and `move`."),
    Name("plan.endpoints", "list(string)", "Endpoints whose traffic the plan moves."),
    Name("plan.gains", "list(map(string, string))", "Who gains access by the whole plan."),
    Name("plan.losses", "list(map(string, string))", "Who loses access by the whole plan."),
    Name("environment", "string", "The chosen environment; empty for none."),
    Name("actor.name", "string", "Who set off the CI job, otherwise the system's user."),
    Name("actor.user", "string", "The system's user."),
    Name("actor.ci", "string", "Who set off the CI job; empty elsewhere."),
    Name("actor.host", "string", "The machine."),
    Name("actor.run", "string", "The CI job's address."),
    Name("actor.commit", "string", "The commit that the manifests are at."),
    Name("actor.remote", "string", "Their git remote."),
    Name("actor.dirty", "bool", "Whether they have changes that aren't committed."),
)
"""All that may be named, in the order of the reference."""


def types() -> dict[str, str]:
    """Each name's type, with both sides spelled out."""
    return {
        name: entry.type
        for entry in CONTEXT
        for name in (
            [entry.name.replace("*", side, 1) for side in ("before", "after")]
            if entry.name.startswith("*.")
            else [entry.name]
        )
    }


def plan_facts(plan: Plan, actor: Actor) -> dict[str, Any]:
    """What is the same for every change of a plan."""
    counts = {str(action): count for action, count in plan.tally().items()}
    impacts = plan.review.impacts
    return {
        "plan.stack": plan.stack,
        "plan.mode": str(plan.mode),
        "plan.changes": [str(change.address) for change in plan.changes],
        "plan.counts": {"move": 0, **counts},
        "plan.endpoints": _endpoints(impacts),
        "plan.gains": _access(impacts, gains=True),
        "plan.losses": _access(impacts, gains=False),
        "environment": plan.environment,
        "actor.name": name_of(actor),
        "actor.user": actor.user,
        "actor.ci": actor.ci,
        "actor.host": actor.host,
        "actor.run": actor.run,
        "actor.commit": actor.commit,
        "actor.remote": actor.remote,
        "actor.dirty": actor.dirty,
    }


def change_facts(
    change: Change, comparison: Comparison | None, impacts: tuple[Impact, ...], now: datetime, *, known: bool
) -> dict[str, Any]:
    """What one change is about, or one served entity of it. `impacts`: its own. `known`: whether something is
    known about each version that it brings; otherwise nothing is said about the signature."""
    facts: dict[str, Any] = {
        "change.address": str(change.address),
        "change.kind": change.address.kind,
        "change.action": str(change.action),
        "change.reason": change.reason,
        "change.fields": [field.name for field in change.fields],
        "change.entity": comparison.entity if comparison else "",
        "change.endpoints": _endpoints(impacts),
        "change.gains": _access(impacts, gains=True),
        "change.losses": _access(impacts, gains=False),
        "evidence.missing": list(comparison.after.missing) if comparison and comparison.after else [],
        "evidence.findings": list(comparison.signature.findings) if comparison else [],
        "evidence.breaking": list(comparison.signature.breaking) if comparison else [],
        "evidence.better": _moved(comparison, better=True),
        "evidence.worse": _moved(comparison, better=False),
        "evidence.params": [name for name, _, _ in comparison.params] if comparison else [],
    }
    if known:
        facts["signature"] = str(comparison.signature.verdict) if comparison else "none"
    for side, spec, found in (
        ("before", change.before, comparison.before if comparison else None),
        ("after", change.after, comparison.after if comparison else None),
    ):
        there = (found if comparison else spec) is not None
        seen = found or (NOBODY if comparison else _written(spec))
        facts.update((f"{side}.{name}", value) for name, value in _side(spec, seen, there, now))
    return facts


def name_of(actor: Actor) -> str:
    """By what policies know somebody: in CI whoever set the job off."""
    return actor.ci or actor.user


def fields_of(spec: Spec) -> dict[str, Any]:
    """An object as plain JSON data."""
    held: dict[str, Any] = spec.model_dump(mode="json", warnings="none")
    return held


def hours_held(seen: Evidence, alias: str, now: datetime) -> float | None:
    """For how many hours a version has held an alias; None where it doesn't, as far as we know."""
    since = seen.since_ms.get(alias)
    return None if since is None else max(now.timestamp() - since / 1000, 0.0) / 3600


def aware(moment: datetime) -> datetime:
    """A moment in UTC; one without a zone is meant so."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


NOBODY: Final = Evidence("")


def _written(spec: Spec | None) -> Evidence:
    """What an object says of itself, where no version takes another one's place: a model has its tags, and a
    version whose description changes is still that version."""
    version = getattr(spec, "version", 0)
    return Evidence(
        getattr(spec, "model", ""),
        version if isinstance(version, int) else 0,
        getattr(spec, "source", ""),
        tags=getattr(spec, "tags", NOTHING),
    )


def _side(spec: Spec | None, seen: Evidence, there: bool, now: datetime) -> Iterator[tuple[str, Any]]:
    run = seen.run
    yield "exists", there
    yield "version", seen.version
    yield "model", seen.model
    yield "source", seen.source
    yield "tags", {str(key): str(value) for key, value in seen.tags.items()}
    yield "params", {str(key): str(value) for key, value in seen.params.items()}
    yield "metrics", _metrics(seen)
    yield "aliases", list(seen.aliases)
    yield "held_hours", {alias: hours_held(seen, alias, now) for alias in seen.since_ms}
    yield "datasets", [dataset.name for dataset in seen.datasets]
    yield "flavors", {str(key): str(value) for key, value in seen.flavors.items()}
    yield "python", seen.python
    yield "mlflow", seen.mlflow
    if seen.size is not None:
        yield "size", seen.size
    yield "artifact", {True: "present", False: "missing", None: "unknown"}[seen.artifact]
    yield "signature.present", seen.signature is not None
    yield "run.exists", run is not None
    yield "run.id", run.run_id if run else ""
    yield "run.name", run.name if run else ""
    yield "run.status", run.status if run else ""
    yield "run.user", run.user if run else ""
    yield "run.commit", run.commit if run else ""
    yield "run.experiment", run.experiment if run else ""
    yield "run.deleted", run.deleted if run else False
    yield "fields", fields_of(spec) if spec is not None else {}


def _metrics(seen: Evidence) -> dict[str, float]:
    """By name, and by name and data set. What was measured on several data sets has no name of its own: any
    choice among them would be ours."""
    found: dict[str, list[float]] = {}
    for metric in seen.metrics:
        if metric.value is None:
            continue
        names = [metric.name, f"{metric.name}@{metric.dataset}"] if metric.dataset else [metric.name]
        for name in names:
            found.setdefault(name, []).append(float(metric.value))
    # the run's own value goes before those that are linked to data
    own = {m.name: float(m.value) for m in seen.metrics if not m.dataset and m.value is not None}
    return {**{name: values[0] for name, values in found.items() if len(values) == 1}, **own}


def _moved(comparison: Comparison | None, *, better: bool) -> list[str]:
    if comparison is None:
        return []
    return sorted({metric.name for metric in comparison.metrics if metric.better is better})


def _endpoints(impacts: tuple[Impact, ...]) -> list[str]:
    return sorted({traffic.endpoint.name for it in impacts for traffic in it.traffic if traffic.moves})


def _access(impacts: tuple[Impact, ...], *, gains: bool) -> list[Mapping[str, str]]:
    return [_entry(access) for it in impacts for access in it.access if access.gains is gains]


def _entry(access: Access) -> Mapping[str, str]:
    return {
        "user": access.user,
        "resource": str(access.resource),
        "before": access.before,
        "after": access.after,
    }
