"""Fixtures that every test may use; the real parts come from `integration`."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from support import failpoints
from support.bench import Bench
from support.mlflow_fixture import (  # noqa: F401 - fixtures are found by name
    MEMORY,
    SERVICES,
    SHARED,
    basic_auth_server,
    fresh_postgres,
    fresh_sqlite,
    mlflow_server,
    mlflow_templates,
    postgres,
)
from support.process_pool import Forks
from support.process_pool import forks as forks_
from support.ray_fixture import models, ray  # noqa: F401

from lifecycle_as_code.kinds.registered_model import RegisteredModel
from lifecycle_as_code.kinds.role import Role

# how long an example takes says more about the machine than about the code
settings.register_profile("lac", deadline=None)
settings.load_profile("lac")


TEMPORARY = "PYTEST_DEBUG_TEMPROOT"
"""pytest's own variable: where `tmp_path` is."""


@pytest.fixture(params=["sqlite", "postgresql"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Bench:
    """MLflow's databases, empty: two files on SQLite, one database on PostgreSQL."""
    if request.param == "postgresql":
        url = fresh_postgres()
        return Bench(tmp_path, url, url)
    return Bench(tmp_path, fresh_sqlite(tmp_path), fresh_sqlite(tmp_path, "auth"))


@pytest.fixture(scope="session")
def forks() -> Iterator[Forks]:
    """What cheap children are forked from."""
    with forks_() as running, tempfile.TemporaryDirectory() as path:
        directory = Path(path)
        spare = Bench(directory, fresh_sqlite(directory), fresh_sqlite(directory, "auth"))
        some = spare.stack([RegisteredModel(name="some", tags={"a": "b"}), Role(name="some")])
        running.here(failpoints.warm, failpoints.place(spare), some.saved(some.plan()))
        yield running


def pytest_configure(config: pytest.Config) -> None:
    """One directory for the templates of all processes, and one for what tests write; the first of them
    begins and ends."""
    if not hasattr(config, "workerinput") and SHARED not in os.environ:
        if MEMORY and TEMPORARY not in os.environ:
            os.environ[TEMPORARY] = tempfile.mkdtemp(prefix="lac-tests-", dir=MEMORY)
            # run as root, PostgreSQL and others change to users of their own, who have to get in
            os.chmod(os.environ[TEMPORARY], 0o755)
        os.environ[SHARED] = tempfile.mkdtemp(prefix="lac-templates-", dir=MEMORY)
        config.add_cleanup(lambda: shutil.rmtree(os.environ.pop(SHARED), ignore_errors=True))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Whatever needs a Ray, or MLflow's server, runs in one process: a session starts one of each."""
    if not config.getoption("--everywhere"):
        again = {item for item in items if item.get_closest_marker("any_store") and "postgresql" in item.name}
        items[:] = [item for item in items if item not in again]
        config.hook.pytest_deselected(items=[*again])
    for item in items:
        if group := group_of(item):
            item.add_marker(pytest.mark.xdist_group(group))


def group_of(item: pytest.Item | None) -> str:
    """The tests that an item stays together with; nothing for those that may run anywhere."""
    needed = {*getattr(item, "fixturenames", ())}
    if item is not None and ("ray" in needed or item.get_closest_marker("own_ray")):
        return "ray"
    return "server" if needed & {"mlflow_server", "basic_auth_server"} else ""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    yield
    group = group_of(item)
    if group and "PYTEST_XDIST_WORKER" in os.environ and group_of(nextitem) != group:
        SERVICES[group].close()


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    for services in SERVICES.values():
        services.close()
    made = os.environ.get(TEMPORARY, "")
    if MEMORY and made.startswith(f"{MEMORY}/lac-tests-") and not hasattr(session.config, "workerinput"):
        # what failing tests wrote is looked at; the rest is only in the way
        if exitstatus == pytest.ExitCode.OK:
            shutil.rmtree(made, ignore_errors=True)
        else:
            print(f"\nWhat the tests wrote is in {made}; remove it.")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update", action="store_true", help="write down what the stories print now")
    parser.addoption("--everywhere", action="store_true", help="every crash, and all else, on every store")
    parser.addoption("--races", type=int, default=20, help="how many races of concurrent applies to run")
