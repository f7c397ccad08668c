"""What `lac up` and `lac status` say of a local Ray."""

from __future__ import annotations

from dataclasses import replace

from lifecycle_as_code.cli.local_ray import as_data, as_text
from lifecycle_as_code.stores.ray.local import LocalRay


def test_where_others_reach_the_endpoints_is_told() -> None:
    ray = LocalRay("http://127.0.0.1:8265", 8000, 1, "1", "/private", "/private", listen="0.0.0.0:8443")
    assert "metrics" not in as_text(ray)
    assert "http://127.0.0.1:9480/metrics" in as_text(replace(ray, metrics_port=9480))
    assert as_data(replace(ray, metrics_port=9480))["metrics"] == "http://127.0.0.1:9480/metrics"
    assert "https://0.0.0.0:8443/serving-endpoints/<name>/invocations" in as_text(ray)
