"""Plans, events, drift and problems as JSON, for programs. Pure.

Every document is an object with `format_version`. A minor number grows when something is added; the
major one when a reader would break. Everything is ASCII: what could repaint a terminal is escaped.

A plan (`lac plan --json`):

    {"format_version": "1.2", "stack": "payments", "environment": "prod",
     "mode": "normal",                           normal | destroy | refresh-only | rollback
     "changes": [{"address": "model_alias.fraud/champion", "kind": "model_alias",
                  "action": "update",            create | update | delete | move | record | forget
                  "reason": "manifest changed",
                  "before": {…} | null, "after": {…} | null,
                  "fields": [{"path": ["version"], "before": 3, "after": 4}],
                  "waits_for": ["serving_endpoint.fraud"],
                  "moved_from": "model_alias.frauds/champion" | null,
                  "protected": false,            may it be destroyed
                  "at": {"file": "models/fraud.yaml", "line": 9, "column": 5} | null}],
     "steps": [{"phase": "warm up", "store": "serve", "changes": ["serving_endpoint.fraud"]}],
     "diagnostics": [{"severity": "warning", "code": "…", "summary": "…", "detail": "…", "hint": "…",
                      "guard": "",               what `--allow` would let through
                      "at": {…} | null}],
     "guards": [{"guard": "mass-deletion", "detail": "…"}],      those that `--allow` let through
     "review": {…},                              what to judge it by; below
     "summary": {"create": 0, "update": 1, "delete": 0, "move": 0, "record": 0, "forget": 0,
                 "difference": true}}

`record` and `forget` touch only our own records. `before` is cut down to what is ours to compare.

A review has five parts, each a list but for the last; `address` is the change that an item is about:

    "evidence": [{"address": "…", "model": "fraud", "entity": "",
                  "before": <side> | null, "after": <side> | null,
                  "metrics": [{"name": "auc", "dataset": "test", "digest": "…", "before": 0.91,
                               "after": 0.93, "better": true | false | null}],
                  "signature": {"verdict": "same | compatible | breaking | unknown | none",
                                "findings": ["…"], "breaking": ["…"]}}],
    "impacts":  [{"address": "…",
                  "traffic": [{"endpoint": "…", "entity": "…", "stack": "", "share": 90 | null,
                               "follows": "@champion", "version_before": 3, "version_after": 4,
                               "moves": true}],
                  "capacity": [{"endpoint": "…", "replicas_before": 1, "replicas_after": 1,
                                "cpus_before": 1, "cpus_after": 1, "gpus_before": 0, "gpus_after": 0,
                                "peak_cpus": 1, "peak_gpus": 0, "free_cpus": 2 | null,
                                "free_gpus": 0 | null, "fits": true | false | null}],
                  "access": [{"user": "alice", "resource": "registered_model.fraud", "before": "READ",
                              "after": "EDIT", "why": "…"}]}],
    "verdicts": [{"policy": "…", "address": "…", "outcome": "passed | warned | denied | waived",
                  "failed": ["…"], "message": "…", "at": <place> | null, "line": <place> | null,
                  "waiver": {"reason": "…", "expires": "2026-12-01", "at": <place> | null} | null}],
    "choices":  [{"address": "…", "field": "version", "selector": "{latest: true}", "version": 4,
                  "losers": [[3, "why"]]}],
    "rules":    the policies, waivers and metrics' directions that the verdicts were made with

A side is what `lifecycle_as_code.evidence.Evidence` has, under the same names: `version`, `run`, `metrics`,
`params`, `datasets`, `tags`, `aliases`, `flavors`, `signature`, `artifact`, `missing` and so on.

Drift (`lac drift --json`):

    {"format_version": "1.2", "drift": true, "outside": <plan>, "pending": <plan> | null,
     "updated_ms": {"registered_model.fraud": 1790000000000}, "diagnostics": […]}

`outside` holds the changes that would put back what changed outside; `pending` is null where the
manifests can't be planned, and `diagnostics` says why. `updated_ms`: when MLflow says that an object was
last written.

An apply (`lac apply --json`) is one document a line, each with a `type`: `plan` (with the plan in
`plan`), then `locked`, `step_started`, `progress`, `done`, `failed`, `held_back`, `warned`, and last
`finished` with `done`, `failed`, `held_back`, `stopped` and `complete`.

An explanation (`lac explain --json`): `address`, `why`, `change` (null for none), `at`, `last` (the apply
that touched it last), and `fields`, each with `name`, `declared`, `recorded`, `live`, `at` and `differs`.

A difference (`lac diff --json`): `from`, `to`, and `changes` as in a plan, without reasons and steps.

A promotion (`lac promote --json`): `address`, `version`, `before`, `live`, `file`, `at`, `written`,
`branch` and `commit` (null without `--branch`), and `plan` (null where it was not asked for).

A command that fails: `{"format_version": "1.2", "diagnostics": […]}`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from re import sub
from types import MappingProxyType
from typing import Any

from ..model.diagnostics import Diagnostic, in_file_order
from ..model.events import Event, Finished
from ..model.history import Apply
from ..model.plan import Change, Plan
from ..model.snapshot import Observed, Record
from ..model.spec import Address, Spec
from ..planning.encoding import as_plain, change_data, diagnostic_data, fields_data, place_data, plan_data
from ..planning.explanation import Explanation

FORMAT_VERSION = "1.2"


def document(body: Mapping[str, Any], *, indent: int | None = 2) -> str:
    """`body` with its version in front. `indent` None puts it on one line."""
    return json.dumps({"format_version": FORMAT_VERSION, **body}, indent=indent, default=as_plain)


def plan(shown: Plan) -> str:
    """The whole plan; see the module's own description."""
    return document(plan_data(shown))


def drift(
    outside: Plan,
    pending: Plan | None,
    obstacles: Iterable[Diagnostic] = (),
    updated: Mapping[Address, int] = MappingProxyType({}),
) -> str:
    """Both halves of a drift report."""
    return document(
        {
            "drift": bool(outside.changes),
            "outside": plan_data(outside),
            "updated_ms": {str(address): at for address, at in sorted(updated.items())},
            "pending": None if pending is None else plan_data(pending),
            "diagnostics": [diagnostic_data(d) for d in in_file_order(obstacles)],
        }
    )


def problems(found: Iterable[Diagnostic], *, indent: int | None = 2) -> str:
    """What a command that failed says."""
    return document({"diagnostics": [diagnostic_data(d) for d in in_file_order(found)]}, indent=indent)


def planned(shown: Plan) -> str:
    """The first line of an apply: what it will do."""
    return document({"type": "plan", "plan": plan_data(shown)}, indent=None)


def event(told: Event) -> str:
    """One line of an apply."""
    kind = sub(r"(?<!^)(?=[A-Z])", "_", type(told).__name__).lower()
    body = fields_data(told)
    if isinstance(told, Finished):
        body["complete"] = told.complete
    return document({"type": kind, **body}, indent=None)


def shown(address: Address, desired: Spec | None, recorded: Record | None, live: Observed | None) -> str:
    """One object in all three snapshots."""
    return document({"address": str(address), "desired": desired, "recorded": recorded, "live": live})


def explained(shown: Explanation) -> str:
    """Why an object is changed: `change` is null where it isn't."""
    apply, line = shown.last or (None, None)
    return document(
        {
            "address": str(shown.address),
            "why": shown.why,
            "change": None if shown.change is None else change_data(shown.change),
            "fields": list(shown.fields),
            "choices": list(shown.choices),
            "at": place_data(shown.at),
            "last": None
            if apply is None or line is None
            else {
                "apply": apply.apply_id,
                "action": line.action,
                "at_ms": line.at_ms,
                "actor": str(apply.actor),
                "commit": apply.actor.commit,
            },
        }
    )


def difference(before: str, after: str, changes: Iterable[Change]) -> str:
    """What differs from one state to another, as changes."""
    return document({"from": before, "to": after, "changes": [change_data(change) for change in changes]})


def history(found: Iterable[Apply]) -> str:
    """Applies with all that they did; times in ms since 1970."""
    return document({"applies": list(found)})


def recorded_at(at_ms: int, held: Mapping[Address, Spec]) -> str:
    """What was recorded at a time."""
    return document({"at_ms": at_ms, "objects": {str(address): spec for address, spec in held.items()}})


def records(found: Iterable[Record]) -> str:
    """What this stack recorded."""
    return document({"records": list(found)})
