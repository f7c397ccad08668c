"""Create MLflow's databases where they are missing, by MLflow's own migrations in a process of its own.

Only there is mlflow imported: importing it costs more than a whole plan. The result is that of MLflow's first
start: its tables at the latest revision, the workspace `default`, and experiment 0, `Default`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote_plus

from sqlalchemy import create_engine
from sqlalchemy.engine import URL
from sqlalchemy.pool import StaticPool

from ...model.diagnostics import Diagnostic, LacError
from ..sql.store import Role, SqlStore
from . import tables

NO_MLFLOW = 3
TIMEOUT_SECONDS = 600
SAME_BY_HAND = "`mlflow db upgrade <store>` runs the same migrations and prints their whole output"
OTHER_FILE = "name a file in a directory that you may write to, in `store:` or `auth_store:` in lac.yaml"

# the address is passed on stdin: it may hold a password, and every user can see arguments
_TRACKING = """
try:
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
except ModuleNotFoundError as error:
    sys.exit(f"{error}") if error.name != "mlflow" else sys.exit(3)
run(lambda: SqlAlchemyStore(request["uri"], request["artifact_root"]))
"""

_AUTH = """
try:
    import mlflow
    from mlflow.server.auth.db.utils import migrate
except ModuleNotFoundError as error:
    sys.exit(f"{error}") if error.name != "mlflow" else sys.exit(3)
import sqlalchemy
run(lambda: migrate(sqlalchemy.create_engine(request["uri"]), "head"))
"""

_RUN = """
import json, sys
request = json.load(sys.stdin)
from sqlalchemy import Engine, event
from sqlalchemy.exc import DBAPIError
def prepare_nothing(connection, _):
    # poolers such as PgBouncer; psycopg alone has this
    if hasattr(connection, "prepare_threshold"):
        connection.prepare_threshold = None
event.listen(Engine, "connect", prepare_nothing)
def run(migration):
    try:
        migration()
    except DBAPIError as error:
        # SQLAlchemy's own text ends with the statement and its parameters
        sys.exit(str(error.orig).splitlines()[0])
"""


def empty_store(role: Role) -> SqlStore:
    """MLflow's tables without rows, in memory, in place of a store that doesn't exist yet."""
    engine = create_engine("sqlite://", poolclass=StaticPool)
    tables.metadata.create_all(engine)
    return SqlStore(role, "sqlite", "(not made yet)", engine, URL.create("sqlite"))


def create_database(
    store: SqlStore, *, artifact_root: str | None = None, tell: Callable[[str], object] = str
) -> None:
    """Create `store`'s tables. Call it where `check_schema` finds the store empty, or its file is missing.

    `artifact_root` becomes the parent of experiments' files. By default it is `mlruns` beside a SQLite
    file (MLflow's client: beside the working directory's), and `mlflow-artifacts:/` on PostgreSQL (as
    `mlflow server` has it). A SQLite file appears whole or not at all.
    """
    tell(f"creating MLflow's {'auth ' if store.role == 'auth' else ''}database at {store.display_address}")
    if store.path is None:
        _migrate(store, store.uri, artifact_root or "mlflow-artifacts:/")
        return
    root = artifact_root or str(store.path.parent / "mlruns")
    if store.exists:
        _migrate(store, store.uri, root)
        return
    # a link stays a link: the file that it names is the one to make
    path = store.path.resolve()
    if path.exists() and not path.is_file():
        raise _creation_error(store, "this is a device, not a file", hint=OTHER_FILE)
    draft = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # MLflow would retry for two minutes where no file can be made
        draft.touch()
    except OSError as error:
        raise _creation_error(store, error.strerror or str(error), hint=OTHER_FILE) from None
    try:
        draft_uri = URL.create("sqlite", database=str(draft)).render_as_string()
        _migrate(store, draft_uri, root)
        _publish(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def _publish(draft: Path, path: Path) -> None:
    """Give the finished file its name, unless another process was faster: then its file stays."""
    if path.exists() and path.stat().st_size == 0:
        draft.replace(path)
        return
    try:
        os.link(draft, path)
    except FileExistsError:
        return
    except OSError:
        # a file system without hard links
        if not path.exists():
            draft.replace(path)


def _migrate(store: SqlStore, uri: str, artifact_root: str) -> None:
    script = _TRACKING if store.role == "tracking" else _AUTH
    # MLflow's own settings of the caller's shell don't belong here; a server's would be obeyed
    environment = {
        key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW_", "_MLFLOW_"))
    }
    try:
        process = subprocess.run(
            [sys.executable, "-c", _RUN + script],
            input=json.dumps({"uri": uri, "artifact_root": artifact_root}),
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            env=environment,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise _creation_error(store, f"MLflow's migrations took more than {TIMEOUT_SECONDS} s.") from None
    if process.returncode == NO_MLFLOW:
        raise LacError(
            Diagnostic(
                "mlflow-missing",
                "MLflow isn't installed, so its database can't be created",
                f"{store.display_address} is empty, and this Python ({sys.executable}) has no `mlflow`.",
                hint="pip install 'lifecycle-as-code[local]', or start `mlflow server` on that store once",
            )
        )
    if process.returncode:
        lines = [line for line in process.stderr.strip().splitlines() if line.strip()]
        reason = lines[-1] if lines else f"exit code {process.returncode}"
        for secret in filter(None, (store.url.password, store.url.query.get("password"))):
            reason = reason.replace(str(secret), "***").replace(quote_plus(str(secret)), "***")
        raise _creation_error(store, reason)


def _creation_error(store: SqlStore, reason: str, *, hint: str = SAME_BY_HAND) -> LacError:
    detail = f"{store.display_address}: {reason}"
    return LacError(
        Diagnostic("store-not-created", "MLflow's database couldn't be created", detail, hint=hint)
    )
