"""Plans and events as JSON."""

from __future__ import annotations

import json
from dataclasses import replace

from support.view_samples import (
    PARTLY,
    WARNING,
    Alias,
    Endpoint,
    Entity,
    Model,
    make_change,
    make_plan,
)

from lifecycle_as_code.model.diagnostics import Source
from lifecycle_as_code.model.events import (
    Warned,
)
from lifecycle_as_code.model.plan import Override
from lifecycle_as_code.model.snapshot import Pending, Record
from lifecycle_as_code.views import json as json_view


def test_a_plan_as_json_has_what_the_plan_has() -> None:
    change = replace(
        make_change(Alias(name="fraud", version=3), Alias(name="fraud", version=4)), at=Source("f.yaml", 9, 5)
    )
    verdict = Override("protected", "alias.gone is marked.")
    document = json.loads(json_view.plan(make_plan(change, diagnostics=(WARNING,), allowed=(verdict,))))
    assert document == {
        "format_version": "1.2",
        "stack": "payments",
        "environment": "prod",
        "mode": "normal",
        "changes": [
            {
                "address": "alias.fraud",
                "kind": "alias",
                "action": "update",
                "reason": "manifest changed",
                "before": {"name": "fraud", "version": 3},
                "after": {"name": "fraud", "version": 4},
                "fields": [{"path": ["version"], "before": 3, "after": 4}],
                "waits_for": [],
                "moved_from": None,
                "protected": False,
                "at": {"file": "f.yaml", "line": 9, "column": 5},
            }
        ],
        "steps": [{"phase": "switch", "store": "registry", "changes": ["alias.fraud"]}],
        "diagnostics": [
            {
                "severity": "warning",
                "code": "open-endpoint",
                "summary": "it answers everybody",
                "detail": "`fraud` has no permissions.",
                "hint": "list some",
                "guard": "",
                "at": {"file": "fraud.yaml", "line": 3, "column": 5},
            }
        ],
        "guards": [{"guard": "protected", "detail": "alias.gone is marked."}],
        "review": {
            "evidence": [],
            "impacts": [],
            "verdicts": [],
            "choices": [],
            "rules": {"policies": [], "waivers": [], "directions": [], "teams": []},
        },
        "summary": {
            "create": 0,
            "update": 1,
            "delete": 0,
            "move": 0,
            "record": 0,
            "forget": 0,
            "difference": True,
        },
    }


def test_every_event_is_one_line_with_type_and_version() -> None:
    lines = [json_view.event(event) for event in [*PARTLY, Warned(WARNING)]]
    documents = [json.loads(line) for line in lines]
    assert not any("\n" in line for line in lines)
    assert {document["format_version"] for document in documents} == {"1.2"}
    assert [document["type"] for document in documents] == [
        "locked",
        "step_started",
        "progress",
        "failed",
        "step_started",
        "held_back",
        "done",
        "done",
        "finished",
        "warned",
    ]
    assert documents[2]["address"] == "endpoint.fraud"
    assert documents[3]["diagnostic"]["code"] == "rollout-failed"
    assert documents[5] == {
        "format_version": "1.2",
        "type": "held_back",
        "address": "alias.fraud",
        "because": "endpoint.fraud",
    }
    assert documents[8]["complete"] is False


def test_what_is_nested_read_only_or_unvalidated_is_json_too() -> None:
    spec = Model.model_construct(name="m", description=None, tags={"a": 1})  # type: ignore[arg-type]  # as a store may hold it
    endpoint = Endpoint(name="e", entities=(Entity(name="c", version="1"),))
    documents = json.loads(json_view.plan(make_plan(make_change(None, spec), make_change(None, endpoint))))
    assert [change["after"] for change in documents["changes"]] == [
        {"name": "e", "entities": [{"name": "c", "version": "1", "replicas": 1}]},
        {"name": "m", "description": None, "tags": {"a": 1}},
    ]
    record = Record(endpoint.address, endpoint.store, endpoint, Pending("id", ("app",)))
    document = json.loads(json_view.document({"records": [record]}))
    assert document["records"][0]["address"] == "endpoint.e"
    assert document["records"][0]["pending"] == {"apply_id": "id", "names": ["app"]}
