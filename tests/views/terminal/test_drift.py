"""Drift on a terminal."""

from __future__ import annotations

import json

from support.view_samples import (
    WARNING,
    Alias,
    Model,
    make_change,
    make_plan,
)

from lifecycle_as_code.planning.drift import Drift
from lifecycle_as_code.views import json as json_view
from lifecycle_as_code.views.terminal import drift as drift_view


def test_drift_is_told_apart_from_what_is_pending() -> None:
    outside = make_plan(
        make_change(Alias(name="fraud", version=4), Alias(name="fraud", version=3), "changed outside")
    )
    pending = make_plan(make_change(None, Model(name="new")))
    shown = drift_view.drift(Drift(outside, pending))
    assert shown == (
        """\
Changed outside lac: live → last applied

  ~ alias.fraud  (changed outside)
      ~ version  4 → 3

Pending: in the manifests, not applied yet
  + model.new  (declared)

Drift: 1 object changed outside lac. Run `lac apply` to revert it, or update the manifest to keep it.
Pending: 1 to create, 0 to update, 0 to delete."""
    )


def test_no_drift_says_so_even_when_the_manifests_cannot_be_planned() -> None:
    drift = Drift(make_plan(), None, (WARNING,))
    shown = drift_view.drift(drift)
    assert "No drift." in shown
    assert "warning[open-endpoint]" in shown
    assert shown.endswith("Pending: unknown, because the manifests can't be planned.")
    assert json.loads(json_view.drift(drift))["pending"] is None
