"""What a PUT changes, keeps and drops."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.ray_replies import app, instance

from lifecycle_as_code.model.diagnostics import LacError
from lifecycle_as_code.stores.ray import merge, state
from lifecycle_as_code.stores.ray.apps import ServedEntity, Settings, entity_app, ingress_app

ENTITY = ServedEntity("champion", "fraud", 3, "/models/3", environment_vars={"A": "{{ env.A }}"})


def test_a_put_repeats_what_isnt_ours_and_what_ray_would_forget() -> None:
    found = instance(
        app("theirs"),
        app("by-hand", source="imperative"),
        app("on-its-way-out", "DELETING"),
        app("ours-going"),
        app("of-nothing", deployed_app_config=None),
        target_capacity=50,
        http_options={"port": 8000},
        proxy_location=None,
    )
    ours = {"name": "ours", "import_path": "x:y"}
    body = merge.body(found, {"ours": ours}, frozenset({"ours-going"}), {}, {"port": 1})
    assert [a["name"] for a in body["applications"]] == ["ours", "theirs"]
    assert body["target_capacity"] == 50
    assert body["http_options"] == {"port": 8000}
    assert "proxy_location" not in body


def test_http_options_are_sent_where_serve_doesnt_run_yet() -> None:
    assert merge.body(instance(), {}, frozenset(), {}, {"port": 1})["http_options"] == {"port": 1}


def test_an_app_that_appeared_between_our_read_and_our_write_is_rescued() -> None:
    before = state.applications(instance(app("seen"), app("leaving", "DELETING")))
    after = state.applications(
        instance(
            app("seen", "DELETING"),
            app("leaving", "DELETING"),
            app("late", "DELETING"),
            app("ours-going", "DELETING"),
            app("late-by-hand", "DELETING", source="imperative"),
        )
    )
    sent = {"seen": {"name": "seen"}}
    lost = merge.find_lost_apps(before, after, sent, frozenset({"ours-going"}))
    # `seen` was in our body: whoever deletes it does so on purpose
    assert lost.keys() == {"late"}


def test_every_name_and_route_of_others_is_told_at_once() -> None:
    ours = ingress_app("s", "mine", targets=[], settings=Settings(), spec={})
    foreign = ingress_app("t", "yours", targets=[], settings=Settings(), spec={})
    found = state.applications(
        instance(
            app("lac.yours", deployed_app_config=foreign, route_prefix=foreign["route_prefix"]),
            app("plain", route_prefix="/serving-endpoints/mine"),
        )
    )
    with pytest.raises(LacError) as raised:
        merge.refuse_foreign(found, {"lac.mine": ours, "lac.yours": foreign}, frozenset({"plain"}), "s")
    assert [d.code for d in raised.value.diagnostics] == ["ray-not-ours", "ray-not-ours"]
    assert "stack `t`" in raised.value.diagnostics[0].detail


def test_defaults_that_ray_adds_are_no_difference() -> None:
    wanted = entity_app("s", "e", ENTITY)
    told = {**wanted, "extra": 1, "deployments": [{**wanted["deployments"][0], "max_queued_requests": -1}]}
    found = state.applications(instance(app(wanted["name"], deployed_app_config=told)))
    assert not merge.differs(found, {wanted["name"]: wanted}, frozenset())
    more = entity_app("s", "e", replace(ENTITY, min_replicas=2, max_replicas=2))
    assert merge.differs(found, {wanted["name"]: more}, frozenset())
