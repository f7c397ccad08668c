"""Metrics of an endpoint: what is counted is what Ray is told, and a dashboard asks for nothing else."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from ray.util import metrics as ray_metrics

from lifecycle_as_code.serving import metrics
from lifecycle_as_code.serving.metrics import COUNTERS, LATENCY, LATENCY_LABELS, Metrics
from lifecycle_as_code.serving.usage import Record

DASHBOARD = Path(__file__).parents[2] / "examples" / "external-models" / "dashboard.json"


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Counter[tuple[str, ...]]:
    """What Ray's own metric classes were told: they check names and labels and need no running Ray."""
    sums: Counter[tuple[str, ...]] = Counter()

    def record(self: Any, value: float, tags: dict[str, str]) -> None:
        self._validate_tags(self._get_final_tags(tags))
        assert tags.keys() == {*self._tag_keys}
        sums[(self._name, *tags.values())] += value  # type: ignore[assignment]  # seconds, too

    monkeypatch.setattr(ray_metrics.Metric, "_record", record)
    return sums


def record(entity: str = "champion", version: int = 3, **values: Any) -> Record:
    return Record(1, endpoint="fraud", entity=entity, entity_version=version, **values)


def test_ray_is_told_of_every_request_once(told: Counter[tuple[str, ...]]) -> None:
    lost = [3, 3, 5, 0, 1]
    counting = Metrics("fraud", lambda: lost.pop(0) if len(lost) > 1 else lost[0])
    for _ in range(3):
        counting._flush()
    for _ in range(100):
        counting.count(record(latency_ms=500.0, rows=2))
    counting.count(record("gpt", 0, status=503, prompt_tokens=7, completion_tokens=9))
    counting.count_limited()
    acted = Counter({("input", "pii", "MASK"): 1})
    counting.set_guardrails(acted)
    acted["output", "pii", "MASK"] += 2
    counting.set_guardrails(acted)
    counting.set_guardrails(Counter({("input", "keywords", "BLOCK"): 1}))
    counting.close()
    counting._flush()
    assert told == {
        ("lac_requests_total", "fraud", "champion", "3", "200"): 100,
        ("lac_requests_total", "fraud", "gpt", "0", "503"): 1,
        ("lac_request_seconds", "fraud", "champion", "3"): 50.0,
        ("lac_request_seconds", "fraud", "gpt", "0"): 0.0,
        ("lac_rows_total", "fraud", "champion", "3"): 200,
        ("lac_tokens_total", "fraud", "gpt", "0", "prompt"): 7,
        ("lac_tokens_total", "fraud", "gpt", "0", "completion"): 9,
        ("lac_limited_total", "fraud"): 1,
        ("lac_guardrail_total", "fraud", "pii"): 3,
        ("lac_guardrail_total", "fraud", "keywords"): 1,
        ("lac_usage_lost_total", "fraud"): 6,
    }


def test_a_ray_that_takes_no_metrics_costs_no_request(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("no metrics here")

    monkeypatch.setattr(metrics.Metrics, "_flush", fail)
    counting = Metrics("fraud")
    counting.count(record())
    counting.close()
    assert "can't be exported" in caplog.text
    counting.count(record())


def queries(node: Any) -> list[str]:
    """The PromQL in a dashboard."""
    if isinstance(node, dict):
        own = [node[key] for key in ("expr", "query") if isinstance(node.get(key), str)]
        return own + [query for value in node.values() for query in queries(value)]
    return [query for item in node for query in queries(item)] if isinstance(node, list) else []


def labels_of(name: str) -> set[str]:
    """The labels of a metric under the name that Ray exports it by; KeyError where there is none."""
    if name in (f"{LATENCY}_bucket", f"{LATENCY}_sum", f"{LATENCY}_count"):
        return {*LATENCY_LABELS, "le"}
    return {*COUNTERS[name][1]}


def test_the_dashboard_asks_for_metrics_and_labels_that_exist() -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    asked = set()
    for query in queries(dashboard):
        names = re.findall(r"\bray_(lac_\w+)", query)
        if not names:
            assert query == "prometheus"
            continue
        asked.update(names)
        labels = set(re.findall(r"(\w+)=~?\"", query))
        for group in re.findall(r"by \(([^)]*)\)", query):
            labels.update(group.split(", "))
        labels.update(re.findall(r"label_values\(\w+, (\w+)\)", query))
        for name in names:
            assert labels <= labels_of(name), query
    assert {*COUNTERS, f"{LATENCY}_bucket"} == asked
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            used = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
            # of a ratio, both sides have the labels
            assert used <= set(re.findall(r"\w+", " ".join(re.findall(r"by \(([^)]*)\)", target["expr"]))))
