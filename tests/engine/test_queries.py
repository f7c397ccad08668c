"""Drift on real stores: every reason that it tells, what is pending, and that it writes nothing."""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url
from support.bench import Bench, converge
from support.command import LAC, Directory, environment
from support.fake_cluster import Killed, Paper
from support.mlflow_fixture import drop_postgres, fresh_postgres, fresh_sqlite

from lifecycle_as_code.kinds import KINDS
from lifecycle_as_code.kinds.base import Databases, SqlKind
from lifecycle_as_code.kinds.model_alias import ModelAlias
from lifecycle_as_code.kinds.model_version import ModelVersion
from lifecycle_as_code.kinds.permission import Permission
from lifecycle_as_code.kinds.registered_model import RegisteredModel
from lifecycle_as_code.kinds.role import Role
from lifecycle_as_code.kinds.serving_endpoint import ServedEntity, ServingEndpoint
from lifecycle_as_code.model.snapshot import Claim
from lifecycle_as_code.model.spec import Address, Spec
from lifecycle_as_code.planning.drift import Drift
from lifecycle_as_code.stores.sql.store import open_store, writing

FRAUD = Address("registered_model", ("fraud",))
ENDPOINT = Address("serving_endpoint", ("fraud",))
GRANT = Permission(role="analysts", resource_type="registered_model", resource="fraud", level="READ")
PERMISSIONS = KINDS["permission"]
assert isinstance(PERMISSIONS, SqlKind)
SCOPES = {FRAUD: Claim(exclusive=False)}


def world(champion: int = 1, text: str = "Scores payments.") -> list[Spec]:
    return [
        RegisteredModel(name="fraud", description=text),
        *(ModelVersion(model="fraud", version=n, source=f"/good/{n}") for n in (1, 2)),
        ModelAlias(model="fraud", alias="champion", version=champion),
        Role(name="analysts"),
        GRANT,
    ]


def outside(found: Drift) -> dict[str, str]:
    return {str(c.address): c.reason for c in found.outside.changes}


def pending(found: Drift) -> dict[str, str]:
    assert found.pending is not None, found.problems
    return {str(c.address): c.reason for c in found.pending.changes}


def granted(bench: Bench, *grants: Permission) -> None:
    """As somebody else does it."""
    assert bench.auth_store is not None
    there = [found.spec for address, found in bench.live().items() if address.kind == "permission"]
    with writing(open_store(bench.auth_store, role="auth", base=bench.directory)) as db:
        PERMISSIONS.delete(Databases(db, db), there)
        PERMISSIONS.create(Databases(db, db), grants)


def test_what_changed_outside_is_told_from_what_the_manifests_change(bench: Bench) -> None:
    converge(bench.stack(world(), scopes=SCOPES))
    client = MlflowClient(bench.store, bench.store)
    client.update_registered_model("fraud", "Of the shop.")
    client.delete_model_version("fraud", "2")
    granted(bench, GRANT.model_copy(update={"level": "EDIT"}))
    before = time.time() * 1000
    found = bench.stack([*world(), RegisteredModel(name="churn")], scopes=SCOPES).drift()
    assert outside(found) == {
        "model_version.fraud/2": "deleted outside",
        "permission.analysts/registered_model/fraud": "changed outside",
        "registered_model.fraud": "changed outside",
    }
    assert abs(found.updated[FRAUD] - before) < 60_000
    # a version that is gone can't be made again, and the manifests still ask for it
    assert found.pending is None
    assert [d.code for d in found.problems] == ["cannot-be-made-again"]


def test_pending_changes_are_no_drift(bench: Bench) -> None:
    converge(bench.stack(world(), scopes=SCOPES))
    MlflowClient(bench.store, bench.store).set_registered_model_alias("fraud", "champion", "2")
    found = bench.stack([*world(text="Other."), RegisteredModel(name="churn")], scopes=SCOPES).drift()
    assert outside(found) == {"model_alias.fraud/champion": "changed outside"}
    assert pending(found) == {
        "registered_model.churn": "declared",
        "registered_model.fraud": "manifest changed",
    }


def test_what_changed_on_both_sides_is_told_on_both(bench: Bench) -> None:
    converge(bench.stack(world()))
    MlflowClient(bench.store, bench.store).set_registered_model_alias("fraud", "champion", "2")
    here = [*world(), ModelVersion(model="fraud", version=3, source="/good/3")]
    here[3] = ModelAlias(model="fraud", alias="champion", version=3)
    found = bench.stack(here).drift()
    assert outside(found) == {"model_alias.fraud/champion": "changed outside"}
    assert pending(found) == {
        "model_alias.fraud/champion": "manifest changed",
        "model_version.fraud/3": "declared",
    }


def test_a_grant_outside_is_drift_in_a_scope_that_is_claimed(bench: Bench) -> None:
    converge(bench.stack(world()[:-1]))
    granted(bench, GRANT)
    assert outside(bench.stack(world()[:-1], scopes=SCOPES).drift()) == {
        "permission.analysts/registered_model/fraud": "granted outside"
    }
    assert outside(bench.stack(world()[:-1]).drift()) == {}


IGNORED: dict[str, tuple[list[str], set[str]]] = {
    "nothing": ([], {"registered_model.fraud", "model_alias.fraud/champion"}),
    "an address": (["registered_model.fraud"], {"model_alias.fraud/champion"}),
    "a pattern": (["model_alias.*/champ*"], {"registered_model.fraud"}),
    "both": (["registered_model.*", "*champion"], set()),
    "another": (["role.*"], {"registered_model.fraud", "model_alias.fraud/champion"}),
}


@pytest.mark.parametrize(("ignore", "left"), IGNORED.values(), ids=IGNORED)
def test_what_is_ignored_is_passed_over(tmp_path: Path, ignore: list[str], left: set[str]) -> None:
    bench = Bench(tmp_path, fresh_sqlite(tmp_path), fresh_sqlite(tmp_path, "auth"))
    converge(bench.stack(world()))
    client = MlflowClient(bench.store, bench.store)
    client.update_registered_model("fraud", "Of the shop.")
    client.set_registered_model_alias("fraud", "champion", "2")
    assert set(outside(bench.stack(world()).drift(ignore))) == left


# --- endpoints


def endpoint(champion: int, text: str = "") -> list[Spec]:
    entity = ServedEntity(name="champion", entity_name="fraud", entity_version="@champion")
    here = ServingEndpoint(name="fraud", served_entities=(entity,), auth="none", description=text)
    return [*world(champion)[:4], here]


def replicas_lost(paper: Paper) -> None:
    paper.sick.add("lac.fraud")


def ingress_failed(paper: Paper) -> None:
    paper.broken.add("lac.fraud")


def silence(paper: Paper) -> None:
    paper.deaf.add("fraud")


@pytest.mark.parametrize("befalls", [replicas_lost, ingress_failed, silence])
def test_an_endpoint_that_fares_badly_is_degraded_whatever_the_manifest_asks(
    served: Bench, paper: Paper, befalls: Callable[[Paper], None]
) -> None:
    converge(served.stack(endpoint(1)))
    assert not served.stack(endpoint(1)).drift().exists
    befalls(paper)
    assert outside(served.stack(endpoint(1)).drift()) == {str(ENDPOINT): "endpoint degraded"}
    assert pending(served.stack(endpoint(1)).drift()) == {}
    both = served.stack(endpoint(2, "Other.")).drift()
    assert outside(both) == {str(ENDPOINT): "endpoint degraded"}
    assert pending(both)["model_alias.fraud/champion"] == "manifest changed"
    assert pending(both)[str(ENDPOINT)] == "manifest changed"


def test_an_endpoint_that_is_gone_was_deleted_outside(served: Bench, paper: Paper) -> None:
    converge(served.stack(endpoint(1)))
    paper.apps = {}
    assert outside(served.stack(endpoint(1)).drift()) == {str(ENDPOINT): "deleted outside"}


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_an_apply_that_was_killed_is_an_interrupted_one(served: Bench, paper: Paper, steps: int) -> None:
    converge(served.stack(endpoint(1)))
    paper.left = steps
    with suppress(Killed):
        converge(served.stack(endpoint(2)))
    paper.left = None
    for manifest in (endpoint(1), endpoint(2), endpoint(2, "Other.")):
        assert outside(served.stack(manifest).drift())[str(ENDPOINT)] == "interrupted apply"
        told = pending(served.stack(manifest).drift())
        assert told.get(str(ENDPOINT)) == ("manifest changed" if manifest[-1] != endpoint(1)[-1] else None)


# --- the command

MANIFEST = """
registered_models:
  - name: fraud
    description: Scores payments.
    versions: [{version: 1, source: s3://bucket/1}, {version: 2, source: s3://bucket/2}]
    aliases: {champion: 1}
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def applied(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Directory, str]]:
    store = fresh_sqlite(tmp_path) if request.param == "sqlite" else fresh_postgres()
    directory = Directory(tmp_path / "stack").settings(store).declare(MANIFEST)
    directory.lac("apply", "--auto-approve")
    yield directory, store
    if request.param == "postgresql":
        drop_postgres(store)


def test_the_command_says_drift_by_its_exit_code_and_when_it_came(applied: tuple[Directory, str]) -> None:
    directory, store = applied
    directory.lac("drift")
    directory.declare(MANIFEST.replace("payments", "card payments"))
    # pending changes alone are none
    assert "Pending: 0 to create, 1 to update" in directory.lac("drift").stdout
    client = MlflowClient(store, store)
    client.update_model_version("fraud", "1", "By hand.")
    client.set_registered_model_alias("fraud", "champion", "2")
    told = directory.lac("drift", expect=2).stdout
    at = time.strftime("%Y-%m-%d", time.gmtime())
    assert f"~ model_version.fraud/1  (changed outside)  last written {at}" in told

    found = json.loads(directory.lac("drift", "--json", expect=2).stdout)
    assert set(found) == {"format_version", "drift", "outside", "updated_ms", "pending", "diagnostics"}
    assert found["drift"] is True
    changed = {c["address"]: (c["action"], c["reason"]) for c in found["outside"]["changes"]}
    assert changed == {
        "model_alias.fraud/champion": ("update", "changed outside"),
        "model_version.fraud/1": ("update", "changed outside"),
    }
    assert found["outside"]["steps"] == []
    assert found["updated_ms"]["model_version.fraud/1"] == _written_ms(client)
    assert [c["address"] for c in found["pending"]["changes"]] == ["registered_model.fraud"]

    directory.lac("drift", "--ignore", "model_version.fraud/1", expect=2)
    directory.lac("drift", "--ignore", "model_version.fraud/1", "--ignore", "model_alias.*")
    with (directory.path / "lac.yaml").open("a") as settings:
        settings.write('drift: {ignore: ["model_alias.fraud/*"]}\n')
    assert "model_alias" not in directory.lac("drift", expect=2).stdout
    directory.lac("drift", "--ignore", "model_version.*")


def _written_ms(client: MlflowClient) -> int:
    found: int = client.get_model_version("fraud", "1").last_updated_timestamp
    return found


def test_what_cannot_be_looked_at_is_an_error_and_no_drift(tmp_path: Path) -> None:
    directory = Directory(tmp_path / "stack").settings("postgresql://nobody@127.0.0.1:1/nothing")
    directory.declare(MANIFEST)
    found = json.loads(directory.lac("drift", "--json", expect=1).stdout)
    assert [d["code"] for d in found["diagnostics"]] == ["store-unreachable"]
    directory.settings(fresh_sqlite(tmp_path)).declare("registered_models: [{nam: fraud}]")
    assert "unknown-field" in directory.lac("drift", expect=1).stderr


# --- nothing is written

LOOKS = (
    ("drift", 2),
    ("drift --json", 2),
    ("plan --detailed-exitcode", 2),
    ("show model_alias.fraud/champion", 0),
    ("show --at 2999-01-01", 0),
    ("history", 0),
    ("state list", 0),
)


def _as_others() -> None:
    """In the child: root without the right to pass over the modes of files. Nothing where it isn't root."""
    bound, capability = 24, 1  # PR_CAPBSET_DROP, CAP_DAC_OVERRIDE
    ctypes.CDLL(None).prctl(bound, capability, 0, 0, 0)


def looks(directory: Directory, **environ: str) -> None:
    for line, code in LOOKS:
        found = subprocess.run(
            [*LAC, "-C", str(directory.path), *line.split()],
            env={**environment(), **environ},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            preexec_fn=_as_others,
        )
        assert found.returncode == code, f"{line}\n{found.stdout}\n{found.stderr}"


def test_looking_works_on_a_file_that_can_only_be_read_and_leaves_it_as_it_is(tmp_path: Path) -> None:
    place = tmp_path / "store"
    place.mkdir()
    store = fresh_sqlite(place)
    directory = Directory(tmp_path / "stack").settings(store).declare(MANIFEST)
    directory.lac("apply", "--auto-approve")
    MlflowClient(store, store).set_registered_model_alias("fraud", "champion", "2")
    file = place / "tracking.db"
    file.chmod(0o444)
    place.chmod(0o555)

    def state() -> tuple[Any, ...]:
        return (
            hashlib.sha256(file.read_bytes()).hexdigest(),
            file.stat().st_mtime_ns,
            sorted(os.listdir(place)),
            place.stat().st_mtime_ns,
            sorted(os.listdir(directory.path)),
        )

    before = state()
    try:
        looks(directory)
        # it is really forbidden
        refused = subprocess.run(
            [*LAC, "-C", str(directory.path), "apply", "--auto-approve"],
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
            preexec_fn=_as_others,
        )
        assert "error[store-read-only]" in refused.stderr
        assert refused.returncode == 1
        assert state() == before
    finally:
        place.chmod(0o755)


def test_looking_needs_no_directory_that_can_be_written(tmp_path: Path) -> None:
    """In WAL mode, as MLflow's own tool for moving files into a database leaves it, SQLite wants to make two
    files beside the database."""
    store = fresh_sqlite(tmp_path)
    directory = Directory(tmp_path / "stack").settings(store).declare("registered_models: [{name: fraud}]")
    with (directory.path / "lac.yaml").open("a") as settings:
        settings.write("serve: local\n")
    (file,) = tmp_path.glob("*.db")
    with closing(sqlite3.connect(file)) as db:
        assert db.execute("PRAGMA journal_mode = WAL").fetchone() == ("wal",)
    before = {path: path.read_bytes() for path in sorted(tmp_path.rglob("*")) if path.is_file()}
    for path in (file, *directory.path.iterdir(), directory.path, tmp_path):
        path.chmod(path.stat().st_mode & 0o555)
    try:
        for line, code in (("plan --detailed-exitcode", 2), ("drift", 0), ("apply --auto-approve", 1)):
            found = subprocess.run(
                [*LAC, "-C", str(directory.path), *line.split()],
                env=environment(),
                capture_output=True,
                text=True,
                check=False,
                preexec_fn=_as_others,
            )
            assert found.returncode == code, found.stderr
        assert "error[" in found.stderr
        assert {path: path.read_bytes() for path in sorted(tmp_path.rglob("*")) if path.is_file()} == before
    finally:
        for path in (tmp_path, directory.path):
            path.chmod(0o755)


def test_looking_works_in_sessions_that_can_only_read(tmp_path: Path) -> None:
    store = fresh_postgres()
    directory = Directory(tmp_path / "stack").settings(store).declare(MANIFEST)
    directory.lac("apply", "--auto-approve")
    MlflowClient(store, store).set_registered_model_alias("fraud", "champion", "2")
    engine = create_engine(store, isolation_level="AUTOCOMMIT")
    database = make_url(store).database
    with engine.connect() as db:
        db.execute(text(f"ALTER DATABASE {database} SET default_transaction_read_only = on"))
        before = db.execute(text("SELECT pg_current_xact_id()::text")).scalar_one()
    engine.dispose()
    looks(directory)
    refused = directory.lac("apply", "--auto-approve", expect=1)
    assert "error[" in refused.stderr
    assert before
    drop_postgres(store)
