"""Fixtures that every test may use; the real parts come from `integration`."""

from __future__ import annotations

import gc
import os
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from support import failpoints
from support.bench import Bench
from support.browser import describe_browser, ensure_browser
from support.compiled import share_statements
from support.mlflow_fixture import (  # noqa: F401 - fixtures are found by name
    SERVICES,
    basic_auth_server,
    fresh_postgres,
    fresh_sqlite,
    mlflow_server,
    postgres,
)
from support.process_pool import Forks
from support.process_pool import forks as forks_
from support.ray_fixture import models, ray  # noqa: F401

from lifecycle_as_code.kinds.registered_model import RegisteredModel
from lifecycle_as_code.kinds.role import Role

# how long an example takes says more about the machine than about the code
settings.register_profile("lac", deadline=None)
settings.register_profile("everywhere", deadline=None, max_examples=1000)
settings.load_profile("lac")


# ends what the tests start
pytest_plugins = ["support.guardian"]


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
        running.here(failpoints.warm, failpoints.place(spare), some.save_plan(some.plan()))
        yield running


def pytest_configure(config: pytest.Config) -> None:
    share_statements()
    if config.getoption("--everywhere"):
        settings.load_profile("everywhere")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Whatever needs a Ray, or MLflow's server, runs in one process: a session starts one of each."""
    if not config.getoption("--everywhere"):
        again = {
            item
            for item in items
            if item.get_closest_marker("everywhere")
            or (item.get_closest_marker("any_store") and "postgresql" in item.name)
        }
        items[:] = [item for item in items if item not in again]
        config.hook.pytest_deselected(items=[*again])
    for item in items:
        if group := group_of(item):
            item.add_marker(pytest.mark.xdist_group(group))
    # what takes longest comes first, and last what waits for an installation
    places = {"ray": 0, "server": 1, "": 2, "browser": 3}
    items.sort(key=lambda item: places[group_of(item)])


def group_of(item: pytest.Item | None) -> str:
    """The tests that an item stays together with; nothing for those that may run anywhere."""
    needed = {*getattr(item, "fixturenames", ())}
    if item is not None and ("ray" in needed or item.get_closest_marker("own_ray")):
        return "ray"
    if needed & {"mlflow_server", "basic_auth_server"}:
        return "server"
    return "browser" if "browser" in needed else ""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    yield
    group = group_of(item)
    if group in SERVICES and "PYTEST_XDIST_WORKER" in os.environ and group_of(nextitem) != group:
        SERVICES[group].close()


def pytest_collection_finish(session: pytest.Session) -> None:
    """A browser is looked for, or installed, beside the first tests: those that need it come last. What is
    imported and collected by now stays: the garbage collector needn't look through it again."""
    gc.collect()
    gc.freeze()
    if any("browser" in getattr(item, "fixturenames", ()) for item in session.items):
        threading.Thread(target=ensure_browser, daemon=True).start()


def pytest_sessionfinish() -> None:
    for services in SERVICES.values():
        services.close()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if line := describe_browser():
        terminalreporter.write_line(line)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update", action="store_true", help="write down what the stories print now")
    parser.addoption(
        "--everywhere",
        action="store_true",
        help="each story on each store, more kills: what repeats for chance",
    )
    parser.addoption("--races", type=int, default=20, help="how many races of concurrent applies to run")
