"""The names that a policy's expression may use: their types, and their values for one change. Pure. A missing
version has empty maps, version 0 and `exists == false`; an unknown fact has no value."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from ...model.evidence import NOTHING, Comparison, Evidence, Run
from ...model.history import Actor
from ...model.plan import Change, Plan
from ...model.review import Impact
from ...model.spec import Spec


class Name(NamedTuple):
    """A name, its type in CEL, and its description. `*.` stands for both `before.` and `after.`."""

    name: str
    type: str
    about: str


CONTEXT: Final[tuple[Name, ...]] = (
    Name("*.exists", "bool", "Whether the version exists; for other kinds, whether the object does."),
    Name("*.version", "int", "Its number; 0 if there is no version."),
    Name("*.model", "string", "The registered model."),
    Name("*.source", "string", "The URI of its files."),
    Name("*.tags", "map(string, string)", "Its tags after the plan; also a model's tags."),
    Name("*.params", "map(string, string)", "The run's parameters."),
    Name(
        "*.metrics",
        "map(string, double)",
        "Metrics. A metric measured on several datasets is available as `auc@DATASET` only.",
    ),
    Name("*.aliases", "list(string)", "Aliases that point at it before the plan."),
    Name("*.held_hours", "map(string, double)", "How many hours it has held each alias."),
    Name("*.datasets", "list(string)", "The names of its datasets."),
    Name("*.flavors", "map(string, string)", "Each flavor and its library's version."),
    Name("*.python", "string", "The Python version that logged it."),
    Name("*.mlflow", "string", "The MLflow version that logged it."),
    Name("*.size", "int", "The size of its artifacts in bytes; no value if unknown."),
    Name("*.artifact", "string", "`present`, `missing` or `unknown`."),
    Name("*.signature.present", "bool", "Whether it has a signature."),
    Name("*.run.exists", "bool", "Whether the run that created it is known."),
    Name("*.run.id", "string", "The run's ID."),
    Name("*.run.name", "string", "Its name."),
    Name("*.run.status", "string", "Its status, such as `FINISHED`."),
    Name("*.run.user", "string", "The user who ran it."),
    Name("*.run.commit", "string", "Its git commit."),
    Name("*.run.experiment", "string", "Its experiment."),
    Name("*.run.deleted", "bool", "Whether it is in MLflow's trash."),
    Name("*.fields", "map(string, dyn)", "The object's fields as in manifests: `after.fields.level`."),
    Name("change.address", "string", "`model_alias.fraud/champion`."),
    Name("change.kind", "string", "`model_alias`."),
    Name("change.action", "string", "`create`, `update`, `delete` or `move`."),
    Name("change.reason", "string", "The reason for the change."),
    Name("change.fields", "list(string)", "The fields that differ: `version`, `tags.team`."),
    Name("change.entity", "string", "The served entity that is judged; empty for other kinds."),
    Name("change.endpoints", "list(string)", "Endpoints whose traffic the change affects."),
    Name(
        "change.gains",
        "list(map(string, string))",
        "The users who gain access: `user`, `resource`, `before`, `after`.",
    ),
    Name("change.losses", "list(map(string, string))", "The users who lose access, likewise."),
    Name(
        "signature",
        "string",
        "`same`, `compatible`, `breaking`, `unknown`, or `none` without a version before.",
    ),
    Name("evidence.missing", "list(string)", "Missing evidence about the version after."),
    Name("evidence.findings", "list(string)", "The differences between the signatures."),
    Name("evidence.breaking", "list(string)", "The findings that break a caller."),
    Name("evidence.better", "list(string)", "Metrics that improved, by `metrics:` in manifests."),
    Name("evidence.worse", "list(string)", "Metrics that got worse."),
    Name("evidence.params", "list(string)", "Parameters that differ."),
    Name("plan.stack", "string", "The stack's name."),
    Name("plan.mode", "string", "`normal`, `destroy` or `rollback`."),
    Name("plan.changes", "list(string)", "The addresses of all changes."),
    Name(
        "plan.counts",
        "map(string, int)",
        "The number of changes to `create`, `update`, `delete` or `move`.",
    ),
    Name("plan.endpoints", "list(string)", "Endpoints whose traffic the plan affects."),
    Name("plan.gains", "list(map(string, string))", "All users who gain access by the plan."),
    Name("plan.losses", "list(map(string, string))", "All users who lose access by the plan."),
    Name("environment", "string", "The environment; empty if none is selected."),
    Name("actor.name", "string", "The user who triggered the CI job, otherwise the system's user."),
    Name("actor.user", "string", "The system's user."),
    Name("actor.ci", "string", "The user who triggered the CI job; empty elsewhere."),
    Name("actor.host", "string", "The host name."),
    Name("actor.run", "string", "The CI job's URL."),
    Name("actor.commit", "string", "The git commit of the manifests."),
    Name("actor.remote", "string", "Their git remote."),
    Name("actor.dirty", "bool", "Whether they have uncommitted changes."),
)
"""All names, in the order of the reference."""


def types() -> dict[str, str]:
    """Each name's type, with both `before.` and `after.`."""
    return {entry.name.replace("*", side): entry.type for entry in CONTEXT for side in ("before", "after")}


def plan_facts(plan: Plan, actor: Actor) -> dict[str, Any]:
    """The facts that all changes of a plan share."""
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
        **{f"actor.{name}": value for name, value in asdict(actor).items()},
    }


def change_facts(
    change: Change, comparison: Comparison | None, impacts: tuple[Impact, ...], now: datetime, *, known: bool
) -> dict[str, Any]:
    """The facts of one change, or of one served entity in it. `impacts`: the change's. `known`: whether there
    is evidence about each version that it adds; otherwise `signature` has no value."""
    it = comparison or Comparison(change.address, "", None, None)
    facts: dict[str, Any] = {
        "change.address": str(change.address),
        "change.kind": change.address.kind,
        "change.action": str(change.action),
        "change.reason": change.reason,
        "change.fields": [field.name for field in change.fields],
        "change.entity": it.entity,
        "change.endpoints": _endpoints(impacts),
        "change.gains": _access(impacts, gains=True),
        "change.losses": _access(impacts, gains=False),
        "evidence.missing": list(it.after.missing) if it.after else [],
        "evidence.findings": list(it.signature.findings),
        "evidence.breaking": list(it.signature.breaking),
        "evidence.better": sorted({metric.name for metric in it.metrics if metric.better is True}),
        "evidence.worse": sorted({metric.name for metric in it.metrics if metric.better is False}),
        "evidence.params": [name for name, _, _ in it.params],
    }
    if known:
        facts["signature"] = str(it.signature.verdict)
    for side, spec, version in (("before", change.before, it.before), ("after", change.after, it.after)):
        exists = (version if comparison else spec) is not None
        evidence = version or (NO_VERSION if comparison else _evidence_from(spec))
        facts.update((f"{side}.{name}", value) for name, value in _side(spec, evidence, exists, now))
    return facts


def name_of(actor: Actor) -> str:
    """The name that policies use: in CI the user who triggered the job."""
    return actor.ci or actor.user


def fields_of(spec: Spec) -> dict[str, Any]:
    """An object as plain JSON data."""
    data: dict[str, Any] = spec.model_dump(mode="json", warnings="none")
    return data


def hours_held(evidence: Evidence, alias: str, now: datetime) -> float | None:
    """For how many hours a version has held an alias; None if it doesn't or the time is unknown."""
    since = evidence.since_ms.get(alias)
    return None if since is None else max(now.timestamp() - since / 1000, 0.0) / 3600


MISSING: Final = object()
"""The result of `look_up` without a value."""


def look_up(value: Any, steps: Iterable[str]) -> Any:
    """The value at these keys of nested mappings, or MISSING."""
    for step in steps:
        value = value.get(step, MISSING) if isinstance(value, Mapping) else MISSING
    return value


def aware(moment: datetime) -> datetime:
    """A moment in UTC; one without a time zone is taken as UTC."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


NO_VERSION: Final = Evidence("")


def _evidence_from(spec: Spec | None) -> Evidence:
    """The evidence in an object's own fields, for a change that replaces no version."""
    version = getattr(spec, "version", 0)
    return Evidence(
        getattr(spec, "model", ""),
        version if isinstance(version, int) else 0,
        getattr(spec, "source", ""),
        tags=getattr(spec, "tags", NOTHING),
    )


def _side(spec: Spec | None, evidence: Evidence, exists: bool, now: datetime) -> Iterator[tuple[str, Any]]:
    yield "exists", exists
    for name in ("version", "model", "source", "python", "mlflow"):
        yield name, getattr(evidence, name)
    for name in ("tags", "params", "flavors"):
        yield name, {str(key): str(value) for key, value in getattr(evidence, name).items()}
    yield "metrics", _metrics(evidence)
    yield "aliases", list(evidence.aliases)
    yield "held_hours", {alias: hours_held(evidence, alias, now) for alias in evidence.since_ms}
    yield "datasets", [dataset.name for dataset in evidence.datasets]
    if evidence.size is not None:
        yield "size", evidence.size
    yield "artifact", {True: "present", False: "missing", None: "unknown"}[evidence.artifact]
    yield "signature.present", evidence.signature is not None
    run = evidence.run or Run("")
    yield "run.exists", evidence.run is not None
    yield "run.id", run.run_id
    yield "run.experiment", run.experiment
    for name in ("name", "status", "user", "commit", "deleted"):
        yield f"run.{name}", getattr(run, name)
    yield "fields", fields_of(spec) if spec is not None else {}


def _metrics(evidence: Evidence) -> dict[str, float]:
    """By name, and by name and dataset; no plain name for several datasets: a choice would be arbitrary."""
    values: dict[str, list[float]] = {}
    own: dict[str, float] = {}
    for metric in evidence.metrics:
        if metric.value is None:
            continue
        if not metric.dataset:
            own[metric.name] = float(metric.value)
            continue
        for name in (metric.name, f"{metric.name}@{metric.dataset}"):
            values.setdefault(name, []).append(float(metric.value))
    # the run's own value takes precedence over those of datasets
    return {**{name: several[0] for name, several in values.items() if len(several) == 1}, **own}


def _endpoints(impacts: tuple[Impact, ...]) -> list[str]:
    return sorted({traffic.endpoint.name for it in impacts for traffic in it.traffic if traffic.moves})


def _access(impacts: tuple[Impact, ...], *, gains: bool) -> list[Mapping[str, str]]:
    return [
        {"user": row.user, "resource": str(row.resource), "before": row.before, "after": row.after}
        for it in impacts
        for row in it.access
        if row.gains is gains
    ]
