"""The routing table: weights, names, revisions."""

from collections import Counter

import pytest

from lifecycle_as_code.serving import routing
from lifecycle_as_code.stores.ray import apps


def config(*targets: tuple[str, str, int]) -> dict[str, object]:
    rows = [
        {
            "name": name,
            "app": app,
            "entity_name": "fraud",
            "entity_version": 3,
            "weight": weight,
            "timeout": None,
        }
        for name, app, weight in targets
    ]
    return {"lac": 1, "stack": "s", "spec": {}, "targets": rows, "auth": {"mode": "none"}}


def test_traffic_follows_the_weights_and_zero_gets_none() -> None:
    table = routing.read(config(("a", "app-a", 90), ("b", "app-b", 0), ("c", "app-c", 10)))
    picked = Counter(t.name for i in range(1000) if (t := table.pick(i / 1000)))
    assert picked == {"a": 900, "c": 100}


@pytest.mark.parametrize("targets", [(), (("a", "app-a", 0),)], ids=["none", "only zeros"])
def test_a_table_without_weight_serves_nothing(targets: tuple[tuple[str, str, int], ...]) -> None:
    table = routing.read(config(*targets))
    assert not table.serves
    assert table.pick() is None


def test_a_name_finds_the_heaviest_and_an_app_name_exactly_that_app() -> None:
    table = routing.read(config(("a", "app-1", 0), ("a", "app-2", 100)))
    found = [table.find(name) for name in ("a", "app-1", "app-2", "other")]
    assert [t and t.app for t in found] == ["app-2", "app-1", "app-2", None]


@pytest.mark.parametrize(
    "broken",
    [{"targets": [{"name": "a"}]}, {"targets": 3}, config(("a", "app", -1))],
    ids=["missing fields", "no list", "negative weight"],
)
def test_what_is_no_table_raises(broken: dict[str, object]) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        routing.read(broken)


def test_both_sides_of_the_wire_name_a_revision_alike() -> None:
    app = apps.ingress_app(
        "s", "é", targets=[], settings=apps.Settings({"mode": "none"}), spec={"ü": 1.5, "a": None}
    )
    assert apps.revision(app) == routing.revision(apps.user_config(app))
