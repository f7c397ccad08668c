"""Plans, events, drift and problems as JSON, for programs. Pure.

Every document is an object with `format_version`. The minor number grows with an addition, the major one with
a change that breaks readers. Everything is ASCII, so that no text can repaint a terminal.

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
                  "protected": false,            `lifecycle: prevent_destroy`
                  "at": {"file": "models/fraud.yaml", "line": 9, "column": 5} | null}],
     "steps": [{"phase": "warm up", "store": "serve", "changes": ["serving_endpoint.fraud"]}],
     "diagnostics": [{"severity": "warning", "code": "…", "summary": "…", "detail": "…", "hint": "…",
                      "guard": "",               the guard that `--allow` would override
                      "at": {…} | null}],
     "guards": [{"guard": "mass-deletion", "detail": "…"}],      those that `--allow` overrode
     "review": {…},                              evidence, impacts and verdicts; below
     "summary": {"create": 0, "update": 1, "delete": 0, "move": 0, "record": 0, "forget": 0,
                 "difference": true}}

`record` and `forget` change only lac's own records. `before` has only the fields that the stack manages.

A review has five parts, all lists but the last; `address` is the change that an item belongs to:

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
    "rules":    the policies, waivers and directions of metrics behind the verdicts

A side has the fields of `lifecycle_as_code.model.evidence.Evidence`: `version`, `run`, `metrics`, `params`,
`datasets`, `tags`, `aliases`, `flavors`, `signature`, `artifact`, `missing` and so on.

Drift (`lac drift --json`):

    {"format_version": "1.2", "drift": true, "outside": <plan>, "pending": <plan> | null,
     "updated_ms": {"registered_model.fraud": 1790000000000}, "diagnostics": […]}

`outside` has the changes that would revert the drift; `pending` is null where the manifests can't be
planned, and `diagnostics` says why. `updated_ms`: when MLflow last wrote an object.

An apply (`lac apply --json`) is one document a line, each with a `type`: `plan` (with the plan in
`plan`), then `locked`, `step_started`, `progress`, `done`, `failed`, `held_back`, `warned`, and last
`finished` with `done`, `failed`, `held_back`, `stopped` and `complete`.

An explanation (`lac explain --json`): `address`, `why`, `change` (null for none), `at`, `last` (the last
apply that changed it), and `fields`, each with `name`, `declared`, `recorded`, `live`, `at` and `differs`.

A difference (`lac diff --json`): `from`, `to`, and `changes` as in a plan, without reasons and steps.

A promotion (`lac promote --json`): `address`, `version`, `before`, `live`, `file`, `at`, `written`,
`branch` and `commit` (null without `--branch`), and `plan` (null with `--no-plan` or `--dry-run`).

The results of policy tests (`lac policy test --json`): `tests`, each with `file`, `name`, `passed`, `wrong`
and `verdicts`, and `failed`, their number.

The usage of endpoints (`lac usage --json`):

    {"format_version": "1.2", "by": "endpoint", "endpoint": "", "since_ms": …, "until_ms": …,
     "rows": [{"key": "fraud", "requests": 9, "client_errors": 1, "server_errors": 0, "p50_ms": 1.5,
               "p95_ms": 9.1, "rows": 9, "prompt_tokens": 0, "completion_tokens": 0}],
     "losses": [{"endpoint": "fraud", "table": "lac_usage", "lost": 3, "first_ms": …, "last_ms": …}]}

A command that fails: `{"format_version": "1.2", "diagnostics": […]}`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from re import sub
from typing import TYPE_CHECKING, Any

from ..model.diagnostics import Diagnostic, in_file_order
from ..model.events import Event, Finished
from ..model.plan import Plan
from ..model.usage import Usage
from ..planning.drift import Drift
from ..planning.encoding import as_plain, change_data, fields_data, place_data, plan_data
from ..planning.explanation import Explanation

if TYPE_CHECKING:
    from ..review.policy.tests import Trial

FORMAT_VERSION = "1.2"


def document(body: Mapping[str, Any], *, indent: int | None = 2) -> str:
    """`body` after its format version. `indent` None puts it on one line."""
    return json.dumps({"format_version": FORMAT_VERSION, **body}, indent=indent, default=as_plain)


def plan(plan: Plan) -> str:
    """The whole plan; see the module's own description."""
    return document(plan_data(plan))


def drift(drift: Drift) -> str:
    """Both parts of a drift report."""
    return document(
        {
            "drift": drift.exists,
            "outside": plan_data(drift.outside),
            "updated_ms": {str(address): at for address, at in sorted(drift.updated.items())},
            "pending": None if drift.pending is None else plan_data(drift.pending),
            "diagnostics": in_file_order(drift.problems),
        }
    )


def problems(diagnostics: Iterable[Diagnostic], *, indent: int | None = 2) -> str:
    """The errors of a command that failed."""
    return document({"diagnostics": in_file_order(diagnostics)}, indent=indent)


def event(item: Event) -> str:
    """One event of an apply, on one line."""
    kind = sub(r"(?<!^)(?=[A-Z])", "_", type(item).__name__).lower()
    body = fields_data(item)
    if isinstance(item, Finished):
        body["complete"] = item.complete
    return document({"type": kind, **body}, indent=None)


def explanation(item: Explanation) -> str:
    """Why the plan changes an object; `change` is null where it doesn't."""
    last = None
    if item.last is not None:
        apply, line = item.last
        last = {
            "apply": apply.apply_id,
            "action": line.action,
            "at_ms": line.at_ms,
            "actor": str(apply.actor),
            "commit": apply.actor.commit,
        }
    return document(
        {
            "address": str(item.address),
            "why": item.why,
            "change": None if item.change is None else change_data(item.change),
            "fields": item.fields,
            "choices": item.choices,
            "at": place_data(item.at),
            "last": last,
        }
    )


def usage(item: Usage) -> str:
    """How much endpoints were used."""
    return document(fields_data(item))


def trials(results: Iterable[Trial]) -> str:
    """The results of policy tests."""
    tests = [
        {
            "file": trial.file,
            "name": trial.name,
            "passed": trial.passed,
            "wrong": trial.wrong,
            "verdicts": [
                {
                    "policy": verdict.policy,
                    "address": str(verdict.address),
                    "outcome": verdict.outcome,
                    "failed": verdict.failed,
                    "message": verdict.message,
                }
                for verdict in trial.verdicts
            ],
        }
        for trial in results
    ]
    return document({"tests": tests, "failed": sum(not test["passed"] for test in tests)})
