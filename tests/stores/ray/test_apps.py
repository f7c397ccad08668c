"""Endpoints as app configs: what a name's hash covers, what a GET tells, and what a PUT must carry."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from lifecycle_as_code.model.diagnostics import LacError
from lifecycle_as_code.stores.ray import merge, state
from lifecycle_as_code.stores.ray.apps import Mark, ServedEntity, entity_app, entity_name, ingress_app, mark
from lifecycle_as_code.stores.ray.state import Application, readable, settled

ENTITY = ServedEntity("champion", "fraud", 3, "/models/3", environment_vars={"A": "{{ env.A }}"})

FIXED: dict[str, dict[str, Any]] = {
    "name": {"name": "challenger"},
    "model": {"entity_name": "other"},
    "version": {"entity_version": 4},
    "place": {"model_uri": "/models/4"},
    "variables": {"environment_vars": {"A": "{{ env.B }}"}},
    "tracking": {"tracking_uri": "http://mlflow"},
    "runtime": {"runtime_env": {"pip": ["x"]}},
    "cpus": {"num_cpus": 2},
    "gpus": {"num_gpus": 1},
    "scaling as such": {"max_replicas": 3},
}
IN_PLACE: dict[str, dict[str, Any]] = {
    "replicas": {"min_replicas": 2, "max_replicas": 2},
    "requests": {"max_ongoing_requests": 50},
    "timeout": {"timeout": 5.0},
    "the same number written otherwise": {"num_cpus": 1},
}


@pytest.mark.parametrize("changed", FIXED.values(), ids=FIXED)
def test_what_needs_new_replicas_is_another_app(changed: dict[str, Any]) -> None:
    assert entity_name("s", "e", replace(ENTITY, **changed)) != entity_name("s", "e", ENTITY)


@pytest.mark.parametrize("changed", IN_PLACE.values(), ids=IN_PLACE)
def test_what_changes_in_place_is_the_same_app(changed: dict[str, Any]) -> None:
    assert entity_name("s", "e", replace(ENTITY, **changed)) == entity_name("s", "e", ENTITY)


def test_stacks_and_endpoints_dont_share_entities() -> None:
    names = {entity_name(stack, endpoint, ENTITY) for stack in ("s", "t") for endpoint in ("e", "f")}
    assert len(names) == 4


def test_a_config_tells_whose_it_is() -> None:
    ingress = ingress_app("s", "e", targets=[], auth={"mode": "none"}, spec={})
    assert mark(entity_app("s", "e", ENTITY)) == Mark("s", "e", "champion")
    assert mark(ingress) == Mark("s", "e", None)
    assert [mark(c) for c in (None, {}, {"args": {}}, {"args": {"stack": "s", "endpoint": "e"}})] == [
        None
    ] * 4


def app(name: str, status: str = "RUNNING", **told: Any) -> dict[str, Any]:
    return {"name": name, "status": status, "deployed_app_config": {"name": name, "args": {}}, **told}


def instance(*apps: dict[str, Any], **settings: Any) -> dict[str, Any]:
    return {"applications": {a["name"]: a for a in apps}, **settings}


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
    ours = ingress_app("s", "mine", targets=[], auth={}, spec={})
    foreign = ingress_app("t", "yours", targets=[], auth={}, spec={})
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


@pytest.mark.parametrize(
    ("status", "deployment", "done"),
    [
        ("RUNNING", "HEALTHY", True),
        ("RUNNING", "UPDATING", False),
        ("DEPLOYING", "UPDATING", False),
        ("DEPLOY_FAILED", "DEPLOY_FAILED", True),
        ("UNHEALTHY", "UNHEALTHY", True),
        ("DELETING", "UPDATING", False),
        ("NOT_STARTED", "UPDATING", False),
    ],
)
def test_an_app_is_settled_when_ray_has_done_with_it(status: str, deployment: str, done: bool) -> None:
    told = app("a", status, deployments={"entity": {"status": deployment}})
    assert settled(_only(told)) is done


def _only(told: dict[str, Any]) -> Application:
    return state.applications(instance(told))["a"]


# as Ray 2.60 tells it, paths shortened
FAILED = """\
Failed to update the deployments ['entity'].
The deployment failed to start 3 times in a row. See controller logs for details. Error:
\x1b[36mray::bbb5087b8c:entity.initialize_and_get_metadata()\x1b[39m (pid=6482, repr=<ServeReplica>)
  File "/python/concurrent/futures/_base.py", line 449, in result
    return self.__get_result()
           ^^^^^^^^^^^^^^^^^^^
RuntimeError: Traceback (most recent call last):
  File "/site-packages/ray/serve/_private/replica.py", line 1867, in initialize
    await self._user_callable_wrapper.initialize_callable()
  File "/site-packages/mlflow/pyfunc/__init__.py", line 1132, in load_model
    local_path = _download_artifact_from_uri(
                 ^^^^^^^^^^^^^^^^^^^^^^^^^^^^
mlflow.exceptions.MlflowException: No such artifact: 'model'
  look: it was here
"""


def test_rays_message_stays_and_the_frames_go() -> None:
    assert readable(FAILED).splitlines() == [
        "Failed to update the deployments ['entity'].",
        "The deployment failed to start 3 times in a row. See controller logs for details. Error:",
        "mlflow.exceptions.MlflowException: No such artifact: 'model'",
        "  look: it was here",
    ]


def test_a_problem_is_told_once_and_only_where_there_is_one() -> None:
    failed = app("a", "DEPLOY_FAILED", message="x", deployments={"entity": {"status": "U", "message": "x"}})
    assert _only(failed).problem == "x"
    assert _only(app("a", "UNHEALTHY")).problem == "UNHEALTHY"
    assert _only(app("a", "RUNNING", message="x")).problem is None
