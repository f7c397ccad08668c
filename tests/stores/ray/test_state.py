"""What Ray reports about its apps."""

from __future__ import annotations

from typing import Any

import pytest
from support.ray_replies import app, instance

from lifecycle_as_code.stores.ray import state
from lifecycle_as_code.stores.ray.state import Application, is_settled, readable


@pytest.mark.parametrize(
    ("status", "deployment", "done"),
    [
        ("RUNNING", "HEALTHY", True),
        ("RUNNING", "UPDATING", False),
        ("DEPLOYING", "UPDATING", False),
        ("DEPLOY_FAILED", "DEPLOY_FAILED", True),
        ("UNHEALTHY", "UNHEALTHY", False),
        ("DELETING", "UPDATING", False),
        ("NOT_STARTED", "UPDATING", False),
    ],
)
def test_an_app_is_settled_when_ray_has_done_with_it(status: str, deployment: str, done: bool) -> None:
    told = app("a", status, deployments={"entity": {"status": deployment}})
    assert is_settled(_only(told)) is done


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
    assert _only(app("a", "DEPLOY_FAILED")).problem == "DEPLOY_FAILED"
    assert _only(app("a", "RUNNING", message="x")).problem is None


def test_an_app_that_lost_some_replicas_is_degraded_and_no_failure() -> None:
    def with_replicas(*states: str) -> Application:
        replicas = [{"replica_id": str(n), "state": s} for n, s in enumerate(states)]
        deployments = {"entity": {"status": "UNHEALTHY", "replicas": replicas}}
        return _only(app("a", "UNHEALTHY", message="lost", deployments=deployments))

    one = with_replicas("RUNNING", "STARTING")
    assert (one.problem, one.illness, one.is_degraded, is_settled(one)) == (None, "lost", True, True)
    none = with_replicas("STARTING")
    assert (none.illness, none.is_degraded, is_settled(none)) == ("lost", False, False)
    assert with_replicas("STOPPING").is_draining
    assert not one.is_draining
