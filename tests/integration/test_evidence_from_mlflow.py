"""Evidence on a plan, read from a store that MLflow's own client has written."""

from __future__ import annotations

import os
import shutil
import socketserver
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Dataset as MlflowDataset
from mlflow.entities import DatasetInput, InputTag, LoggedModelOutput
from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, Schema
from sqlalchemy import Engine, column, event, insert, table
from support.bench import Bench, converge
from support.command import tracked_at
from support.mlflow_fixture import MlflowServer, fresh_sqlite

from lifecycle_as_code.engine.evidence import gather_evidence
from lifecycle_as_code.engine.plan import make_plan
from lifecycle_as_code.engine.refresh import Snapshots, resolve_snapshots, take_snapshots
from lifecycle_as_code.engine.session import Session
from lifecycle_as_code.kinds.model_alias import ModelAlias
from lifecycle_as_code.kinds.model_version import ModelVersion
from lifecycle_as_code.kinds.registered_model import RegisteredModel
from lifecycle_as_code.model.evidence import Better, Comparison, Dataset, Direction, Evidence, Metric
from lifecycle_as_code.model.plan import Plan
from lifecycle_as_code.model.signature import SignatureClass
from lifecycle_as_code.model.snapshot import Move
from lifecycle_as_code.model.spec import Address, Spec
from lifecycle_as_code.stores.mlflow import tables
from lifecycle_as_code.stores.mlflow.artifacts import ReadFailure, read_files
from lifecycle_as_code.stores.sql.store import writing

NOWHERE = "0" * 32
SECRET = "hunter2"


@dataclass(frozen=True)
class Shop:
    """What MLflow's client left: each version by a name for what is special about it."""

    directory: Path
    store: str
    versions: dict[str, int]
    runs: dict[str, str]

    @property
    def bench(self) -> Bench:
        return Bench(self.directory, self.store)

    def evidence(self, which: str) -> Evidence:
        """As the plan of an alias for it would have it."""
        alias = ModelAlias(model="fraud", alias="seen", version=self.versions[which])
        # of a stack that has nothing else to change
        (found,) = compared(self.bench, [alias], name="onlooker")
        assert found.after is not None
        return found.after


def compared(bench: Bench, specs: list[Spec], *directions: Direction, **more: Any) -> tuple[Comparison, ...]:
    session = bench.stack(specs, **more)._session
    return gather_evidence(session, *planned(session), directions)


def planned(session: Session) -> tuple[Plan, Snapshots]:
    """The plan without its review, and the snapshots that it was made from."""
    snapshots = resolve_snapshots(session, take_snapshots(session, session.desired))
    return make_plan(session, snapshots), snapshots


def fill(directory: Path, store: str) -> Shop:
    """A model with a version of each sort."""
    client = MlflowClient(store, store)
    client.create_registered_model("fraud")
    versions: dict[str, int] = {}
    runs: dict[str, str] = {}
    experiment = client.create_experiment("training", artifact_location=str(directory / "training"))

    def run(name: str, **tags: str) -> str:
        runs[name] = client.create_run(
            experiment,
            run_name=name,
            tags={"mlflow.user": "ann"} | {k.replace("_", "."): v for k, v in tags.items()},
        ).info.run_id
        return runs[name]

    def register(name: str, source: str, run_id: str | None = None) -> None:
        versions[name] = int(client.create_model_version("fraud", source, run_id).version)

    def files(place: Path, *columns: str) -> str:
        place.mkdir(parents=True)
        signature = None
        if columns:
            inputs = Schema([ColSpec("double", column) for column in columns])
            signature = ModelSignature(inputs, Schema([ColSpec("double", "score")]))
        Model(flavors={"sklearn": {"sklearn_version": "1.5.2"}}, signature=signature).save(place / "MLmodel")
        return str(place)

    def logged(run_id: str, *columns: str) -> str:
        made = client.create_logged_model(experiment, "scorer", run_id, params={"depth": "3"})
        client.log_outputs(run_id, [LoggedModelOutput(made.model_id, 0)])
        files(Path(made.artifact_location.removeprefix("file://")), *columns)
        return str(made.model_id)

    first = run(
        "first",
        mlflow_source_git_commit="4f0c1d2",
        mlflow_source_name=f"https://ann:{SECRET}@git.example/fraud",
    )
    client.log_param(first, "lr", "0.1")
    for name, value in {
        "auc": 0.9,
        "loss": float("nan"),
        "gain": float("inf"),
        "pain": float("-inf"),
        "system/cpu_utilization": 50.0,
    }.items():
        client.log_metric(first, name, value)
    used = MlflowDataset("cards", "c4rd5", "local", "x", profile=None, schema=None)
    client.log_inputs(first, [DatasetInput(used, [InputTag("mlflow.data.context", "training")])])
    model = logged(first, "age", "amount")
    measured = {"model_id": model, "dataset_name": "holdout", "dataset_digest": "h01d"}
    client.log_metric(first, "auc", 0.7, step=1, **measured)
    client.log_metric(first, "auc", 0.8, step=2, **measured)
    client.log_metric(first, "drift", float("nan"), step=1, **measured)
    client.log_metric(first, "zero", 0.0, step=1, **measured)
    client.set_terminated(first)
    register("first", f"models:/{model}", first)
    twins = run("twins")
    early, late = logged(twins, "age"), logged(twins, "age")
    client.log_metric(twins, "cost", 12.0)
    client.log_metric(twins, "auc", 0.6, step=1, model_id=early)
    client.log_metric(twins, "auc", 0.7, step=2, model_id=late)
    client.log_metric(twins, "f1", 0.5, step=2, model_id=late)
    client.log_metric(twins, "odd", float("nan"), step=2, model_id=late)
    client.set_terminated(twins)
    for name, made in {"early": early, "late": late}.items():
        register(name, f"models:/{made}", twins)
    register("either", files(directory / "either", "age"), twins)
    second = run("second")
    client.log_metric(second, "auc", 0.95)
    client.log_param(second, "lr", "0.01")
    client.set_terminated(second, "FAILED")
    register("second", f"models:/{logged(second, 'age')}", second)
    versions["copy"] = int(client.copy_model_version(f"models:/fraud/{versions['first']}", "fraud").version)
    register("unsigned", files(directory / "unsigned"))
    register("deleted run", files(directory / "deleted", "age"), run("deleted"))
    client.delete_run(runs["deleted"])
    register("no run", files(directory / "lost", "age"), NOWHERE)
    register("no files", str(directory / "nothing"))
    register("no model", f"models:/{model}", first)
    register("secret", f"s3://KEY:{SECRET}/x@bucket/m?token={SECRET}")
    for name, source in {"by run": "runs:/{}/model", "gone model": "models:/m-{}"}.items():
        register(name, f"/{name}")
        versions[name] = versions[name]
        _rewrite(store, directory, versions[name], source.format(second if name == "by run" else NOWHERE))
    files(Path(client.get_run(second).info.artifact_uri.removeprefix("file://")) / "model", "age")
    client.set_model_version_tag("fraud", str(versions["first"]), "validation_status", "approved")
    client.set_registered_model_alias("fraud", "champion", versions["first"])
    return Shop(directory, store, versions, runs)


def _rewrite(store: str, directory: Path, number: int, source: str) -> None:
    """As an MLflow from before storage locations, or before logged models, left it."""
    ledger = Bench(directory, store).stack()._session.connections.ledger()
    versions = tables.model_versions
    with writing(ledger.registry) as db:
        this = (versions.c.name == "fraud") & (versions.c.version == number)
        db.execute(versions.update().where(this).values(source=source, storage_location=None))


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    directory = tmp_path_factory.mktemp("shop")
    store = fresh_sqlite(directory)
    with tracked_at(store):
        return fill(directory, store)


@pytest.fixture
def shop(filled: Shop, tmp_path: Path) -> Shop:
    """A database of the test's own; the files are the same."""
    shutil.copy(filled.directory / "tracking.db", tmp_path / "tracking.db")
    return Shop(tmp_path, f"sqlite:///{tmp_path / 'tracking.db'}", filled.versions, filled.runs)


# --- one version


def test_a_version_of_a_logged_model(shop: Shop) -> None:
    seen = shop.evidence("first")
    run = seen.run
    assert run is not None
    assert (run.run_id, run.name, run.experiment, run.status) == (
        shop.runs["first"],
        "first",
        "training",
        "FINISHED",
    )
    assert (run.user, run.commit, run.source) == ("ann", "4f0c1d2", "https://git.example/fraud")
    assert run.link == f"#/experiments/1/runs/{run.run_id}"
    assert run.started_ms
    assert run.ended_ms
    assert not run.deleted
    assert seen.metrics == (
        Metric("auc", 0.8, "holdout", "h01d"),
        Metric("drift", None, "holdout", "h01d"),
        Metric("gain", 1.7976931348623157e308),
        Metric("loss", None),
        Metric("pain", -1.7976931348623157e308),
        Metric("zero", 0.0, "holdout", "h01d"),
    )
    assert seen.params == {"depth": "3", "lr": "0.1"}
    assert seen.datasets == (Dataset("cards", "c4rd5", "training"), Dataset("holdout", "h01d"))
    assert (seen.tags, seen.aliases) == ({"validation_status": "approved"}, ("champion",))
    assert (seen.flavors, seen.artifact, seen.missing) == ({"sklearn": "1.5.2"}, True, ())
    assert seen.signature is not None
    assert seen.signature.inputs is not None
    assert [column["name"] for column in seen.signature.inputs] == ["age", "amount"]


@pytest.mark.parametrize("which", ["copy", "no model"])
def test_what_was_made_from_the_same_has_the_same_evidence(shop: Shop, which: str) -> None:
    first, seen = shop.evidence("first"), shop.evidence(which)
    assert (seen.run, seen.metrics, seen.params, seen.datasets) == (
        first.run,
        first.metrics,
        first.params,
        first.datasets,
    )
    assert (seen.signature, seen.artifact, seen.missing) == (first.signature, True, ())
    # what was said of the version itself is its own
    assert (seen.tags, seen.aliases) == ({}, ())


@pytest.mark.parametrize(
    ("which", "artifact", "missing"),
    [
        (
            "unsigned",
            True,
            ["the run: the version doesn't name one", "the signature: the model was logged without one"],
        ),
        ("deleted run", True, ["the run: RUN was deleted in MLflow"]),
        ("no run", True, [f"the run: {NOWHERE} isn't in this MLflow workspace"]),
        ("no files", False, ["the run: the version doesn't name one", "the artifact: no MLmodel at FILES"]),
        (
            "gone model",
            None,
            [
                "the run: the version doesn't name one",
                f"the logged model: m-{NOWHERE} isn't in this MLflow workspace, or was deleted",
                "the artifact: MLflow doesn't say where it is",
            ],
        ),
    ],
)
def test_what_is_missing_is_told(
    shop: Shop, filled: Shop, which: str, artifact: bool | None, missing: list[str]
) -> None:
    seen = shop.evidence(which)
    told = {"RUN": shop.runs.get("deleted", ""), "FILES": str(filled.directory / "nothing")}
    for name, value in told.items():
        missing = [line.replace(name, value) for line in missing]
    assert (seen.artifact, list(seen.missing)) == (artifact, missing)
    assert (seen.run is not None and seen.run.deleted) is (which == "deleted run")


def test_what_was_measured_of_one_model_is_not_told_of_its_twin(shop: Shop) -> None:
    early, late = shop.evidence("early"), shop.evidence("late")
    assert early.run == late.run
    assert early.metrics == (Metric("auc", 0.6), Metric("cost", 12.0))
    assert late.metrics == (Metric("auc", 0.7), Metric("cost", 12.0), Metric("f1", 0.5), Metric("odd", None))


def test_where_nobody_knows_which_model_it_was_the_run_tells_all(shop: Shop) -> None:
    seen, late = shop.evidence("either"), shop.evidence("late")
    assert (seen.metrics, seen.missing) == (late.metrics, ())
    assert "depth" not in seen.params
    assert late.params["depth"] == "3"


def test_a_run_that_failed_is_told_as_it_is(shop: Shop) -> None:
    seen = shop.evidence("second")
    assert seen.run is not None
    assert (seen.run.status, seen.run.commit) == ("FAILED", "")
    assert seen.metrics == (Metric("auc", 0.95),)


def test_no_password_of_an_address_is_shown(shop: Shop) -> None:
    for which in ("secret", "first"):
        assert SECRET not in str(shop.evidence(which))
    seen = shop.evidence("secret")
    assert (seen.source, seen.artifact) == ("s3://bucket/m", None)
    assert "s3://bucket/m" in seen.missing[-1]


def test_nothing_is_told_of_another_workspaces_runs_and_models(shop: Shop) -> None:
    with writing(shop.bench.stack()._session.connections.ledger().registry) as db:
        db.execute(tables.experiments.update().values(workspace="theirs"))
    seen = shop.evidence("first")
    assert (seen.run, seen.metrics, seen.params, seen.datasets) == (None, (), {}, ())
    assert [line.partition(":")[0] for line in seen.missing] == ["the run", "the logged model"]
    # the registry says where its files are
    assert seen.artifact


def test_a_logged_model_that_was_deleted_is_told(shop: Shop) -> None:
    with writing(shop.bench.stack()._session.connections.ledger().registry) as db:
        db.execute(tables.logged_models.update().values(lifecycle_stage="deleted"))
    seen = shop.evidence("late")
    assert [line.partition(":")[0] for line in seen.missing] == ["the logged model"]
    assert (seen.metrics[0], seen.params) == (Metric("auc", 0.7), {})


def test_a_source_among_a_runs_files_is_found_without_a_storage_location(shop: Shop) -> None:
    seen = shop.evidence("by run")
    assert (seen.artifact, seen.flavors) == (True, {"sklearn": "1.5.2"})


def test_a_version_that_was_deleted_or_never_was(shop: Shop) -> None:
    converge(shop.bench.stack([ModelAlias(model="fraud", alias="mine", version=shop.versions["second"])]))
    client = MlflowClient(shop.store, shop.store)
    client.set_registered_model_alias("fraud", "mine", shop.versions["unsigned"])
    client.delete_model_version("fraud", str(shop.versions["unsigned"]))
    ledger = shop.bench.stack()._session.connections.ledger()
    for version, told in (
        (shop.versions["unsigned"], "was deleted in MLflow"),
        (99, "has no version with this number"),
    ):
        with writing(ledger.registry) as db:
            # a dangling alias, as others' SQL leaves it
            dangling = {"workspace": "default", "name": "fraud", "alias": "mine", "version": version}
            db.execute(
                tables.registered_model_aliases.delete().where(
                    tables.registered_model_aliases.c.alias == "mine"
                )
            )
            db.execute(insert(tables.registered_model_aliases), dangling)
        (found,) = compared(shop.bench, [ModelAlias(model="fraud", alias="mine", version=1)])
        assert found.before is not None
        assert (found.before.version, found.before.artifact) == (version, False)
        assert told in found.before.missing[0]


# --- a plan


def test_a_promotion_is_compared(shop: Shop) -> None:
    first, second = shop.versions["first"], shop.versions["second"]
    converge(shop.bench.stack([ModelAlias(model="fraud", alias="prod", version=first)]))
    (found,) = compared(
        shop.bench,
        [ModelAlias(model="fraud", alias="prod", version=second)],
        Direction("auc", Better.HIGHER),
    )
    assert found.address == Address("model_alias", ("fraud", "prod"))
    assert found.before is not None
    assert found.after is not None
    assert (found.before.version, found.after.version) == (first, second)
    assert list(found.params) == [("lr", "0.1", "0.01")]
    assert found.signature.verdict not in (SignatureClass.SAME, SignatureClass.UNKNOWN, SignatureClass.NONE)
    # our history tells since when; nobody knows about the alias that MLflow's client set
    assert set(found.before.since_ms) == {"prod"}
    assert abs(found.before.since_ms["prod"] - time.time() * 1000) < 600_000


def test_tags_are_those_after_the_plan_on_its_side(shop: Shop) -> None:
    number = shop.versions["first"]
    model, version = RegisteredModel(name="fraud"), Address("model_version", ("fraud", number))
    declared = ModelVersion(
        model="fraud",
        version=number,
        source=f"models:/{_model(shop)}",
        tags={"validation_status": "approved"},
    )
    shop.bench.stack().import_objects([model.address, version])
    moved = declared.model_copy(update={"tags": {"checked": "yes"}})
    alias = ModelAlias(model="fraud", alias="prod", version=number)
    (found,) = compared(shop.bench, [model, moved, alias])
    assert found.after is not None
    assert found.after.tags == {"checked": "yes"}
    assert found.after.aliases == ("champion",)
    assert shop.evidence("first").tags == {"validation_status": "approved"}


def _model(shop: Shop) -> str:
    run = shop.runs["first"]
    found = MlflowClient(shop.store, shop.store).get_run(run).outputs.model_outputs
    return str(found[0].model_id)


def test_a_version_that_the_plan_makes_is_known_from_its_source(shop: Shop) -> None:
    shop.bench.stack().import_objects([Address("registered_model", ("fraud",))])
    number = max(shop.versions.values()) + 1
    made = ModelVersion(
        model="fraud", version=number, source=f"runs:/{shop.runs['first']}/scorer", tags={"by": "lac"}
    )
    alias = ModelAlias(model="fraud", alias="next", version=number)
    found = {
        str(c.address.kind): c for c in compared(shop.bench, [RegisteredModel(name="fraud"), made, alias])
    }
    registered, pointed = found["model_version"], found["model_alias"]
    assert registered.before is not None
    assert registered.before.version == number - 1
    assert pointed.before is None
    assert registered.after == pointed.after
    assert registered.after is not None
    assert registered.after.metrics == shop.evidence("first").metrics
    assert (registered.after.tags, registered.after.aliases) == ({"by": "lac"}, ())
    assert registered.after.artifact


def test_a_renamed_model_is_read_under_its_name_until_now(shop: Shop) -> None:
    number = shop.versions["second"]
    alias = ModelAlias(model="fraud", alias="prod", version=shop.versions["first"])
    shop.bench.stack().import_objects([Address("registered_model", ("fraud",))])
    converge(shop.bench.stack([RegisteredModel(name="fraud"), alias]))
    model = RegisteredModel(name="scam")
    moves = (Move(Address("registered_model", ("fraud",)), model.address),)
    moved = ModelAlias(model="scam", alias="prod", version=number)
    (found,) = compared(shop.bench, [model, moved], moves=moves)
    assert found.before is not None
    assert found.after is not None
    assert (found.model, found.before.model, found.after.model) == ("scam", "scam", "scam")
    assert found.after.metrics == (Metric("auc", 0.95),)
    assert set(found.before.since_ms) == {"prod"}


def test_a_store_that_isnt_made_yet(tmp_path: Path) -> None:
    bench = Bench(tmp_path, f"sqlite:///{tmp_path}/none.db")
    version = ModelVersion(model="fraud", version=1, source="/models/1")
    (found,) = compared(bench, [RegisteredModel(name="fraud"), version])
    assert found.after is not None
    assert found.after.artifact is False
    assert not (tmp_path / "none.db").exists()


def test_nothing_is_read_where_nothing_takes_anythings_place(shop: Shop) -> None:
    with counted() as statements:
        session = shop.bench.stack([RegisteredModel(name="another")])._session
        made = planned(session)
        before = len(statements)
        assert gather_evidence(session, *made) == ()
    assert before
    assert len(statements) == before


@contextmanager
def counted() -> Iterator[list[str]]:
    statements: list[str] = []

    def note(*given: Any) -> None:
        statements.append(given[2])

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def test_fifty_versions_take_as_many_statements_as_one(shop: Shop) -> None:
    ids = [f"{number:032x}" for number in range(1, 51)]
    with writing(shop.bench.stack()._session.connections.ledger().registry) as db:
        row = {"status": "FINISHED", "lifecycle_stage": "active", "artifact_uri": "/x", "experiment_id": 1}
        db.execute(insert(tables.runs), [{"run_uuid": run_id, **row} for run_id in ids])
        # with the columns that MLflow wants besides
        latest_metrics = table(
            "latest_metrics", *map(column, ("key", "run_uuid", "value", "timestamp", "step", "is_nan"))
        )
        metric = {"key": "auc", "is_nan": False, "timestamp": 1, "step": 0}
        made = [{"run_uuid": r, "value": n / 50, **metric} for n, r in enumerate(ids)]
        db.execute(insert(latest_metrics), made)
    specs: list[Spec] = [RegisteredModel(name="many")]
    for n, run_id in enumerate(ids, 1):
        specs.append(ModelVersion(model="many", version=n, source=f"/x/{n}", run_id=run_id))
        specs.append(ModelAlias(model="many", alias=f"a{n}", version=n))
    converge(shop.bench.stack(specs))

    def statements_for(count: int) -> int:
        moved = [
            spec.model_copy(update={"version": spec.version % 50 + 1})
            if isinstance(spec, ModelAlias) and int(spec.alias[1:]) <= count
            else spec
            for spec in specs
        ]
        session = shop.bench.stack(moved)._session
        made = planned(session)
        with counted() as statements:
            found = gather_evidence(session, *made)
        assert len(found) == count
        assert all(c.before and c.after and c.metrics[0].delta for c in found)
        assert all(c.before and len(c.before.since_ms) == 1 for c in found)
        return len(statements)

    assert statements_for(1) == statements_for(50) <= 30


def test_postgresql_reads_the_same(filled: Shop, postgres: str, tmp_path: Path) -> None:
    with tracked_at(postgres):
        shop = fill(tmp_path, postgres)
    for which in ("first", "early", "second", "copy", "unsigned", "no run"):
        here, there = shop.evidence(which), filled.evidence(which)
        assert (here.metrics, here.params, here.datasets) == (there.metrics, there.params, there.datasets)
        assert (here.tags, here.aliases, here.signature) == (there.tags, there.aliases, there.signature)
        assert (here.artifact, here.missing) == (there.artifact, there.missing)
    converge(shop.bench.stack([ModelAlias(model="fraud", alias="prod", version=1)]))
    (found,) = compared(shop.bench, [ModelAlias(model="fraud", alias="prod", version=2)])
    assert found.before is not None
    assert set(found.before.since_ms) == {"prod"}


# --- files on other machines


class Files(BaseHTTPRequestHandler):
    """`/m/MLmodel` is there, `/slow` never answers, `/broken` has trouble."""

    server: Remote

    def do_GET(self) -> None:
        if self.path.startswith("/slow"):
            self.server.asked.set()
            self.server.over.wait(30)
            return
        status = 200 if self.path == "/m/MLmodel" else 500 if self.path.startswith("/broken") else 404
        body = b"flavors: {}" if status == 200 else SECRET.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


class Remote(ThreadingHTTPServer):
    """`asked` once somebody waits for `/slow`, until it is `over`."""

    def __init__(self) -> None:
        self.asked, self.over = threading.Event(), threading.Event()
        super().__init__(("127.0.0.1", 0), Files)


@pytest.fixture
def remote() -> Iterator[Remote]:
    with Remote() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.over.set()
        server.shutdown()
        thread.join()


def at(server: socketserver.TCPServer, path: str) -> str:
    return f"http://127.0.0.1:{server.server_address[1]}/{path}"


def children() -> set[int]:
    listed = subprocess.run(["ps", "-axo", "pid=,ppid=,comm="], capture_output=True, text=True, check=True)
    rows = [line.split(None, 2) for line in listed.stdout.splitlines()]
    return {int(pid) for pid, parent, name in rows if int(parent) == os.getpid() and name.strip() != "ps"}


def test_remote_files_are_read_by_fsspec(remote: Remote) -> None:
    there, absent, broken = (at(remote, name) for name in ("m", "none", f"broken?token={SECRET}"))
    found = dict(read_files([there, absent, broken], seconds=30, root=at(remote, "")))
    assert found[there] == b"flavors: {}"
    assert found[absent] == ReadFailure("no such file", absent=True)
    assert isinstance(found[broken], ReadFailure)
    assert not found[broken].absent
    assert SECRET not in str(found[broken])


def test_a_store_that_never_answers_is_given_up_in_time_and_leaves_no_process(
    remote: Remote, tmp_path: Path
) -> None:
    before = children()
    slow, there = at(remote, "slow"), at(remote, "m")
    (tmp_path / "MLmodel").write_bytes(b"here")
    started = time.monotonic()
    found = dict(read_files([slow, there, str(tmp_path)], seconds=3, root=at(remote, "")))
    # left alone, the process would end itself after seven seconds
    assert time.monotonic() - started < 6
    assert remote.asked.is_set()
    assert found == {
        slow: ReadFailure("there was no answer within 3 s"),
        there: b"flavors: {}",
        str(tmp_path): b"here",
    }
    assert children() <= before


def test_whoever_stops_reading_leaves_no_process(remote: Remote) -> None:
    before = children()
    with (
        suppress(KeyboardInterrupt),
        closing(read_files([at(remote, "slow"), at(remote, "m")], seconds=30, root=at(remote, ""))) as files,
    ):
        for _ in files:
            assert len(children() - before) == 1
            raise KeyboardInterrupt
    assert children() <= before


def test_a_reader_that_dies_is_no_error(remote: Remote) -> None:
    environ = {"PYTHONHOME": "/nowhere"}
    found = dict(read_files([at(remote, "m")], seconds=30, root=at(remote, ""), environ=environ))
    assert found == {at(remote, "m"): ReadFailure("the process that reads it ended early")}


def test_what_only_mlflow_reads_is_read_through_its_server(mlflow_server: MlflowServer) -> None:
    client = MlflowClient(mlflow_server.url, mlflow_server.url)
    experiment = client.create_experiment("evidence", artifact_location="mlflow-artifacts:/evidence")
    run = client.create_run(experiment).info
    client.log_text(run.run_id, "flavors: {}", "model/MLmodel")
    places = [f"{run.artifact_uri}/{name}" for name in ("model", "none")]
    environ = {**os.environ, "MLFLOW_TRACKING_URI": mlflow_server.url}
    found = dict(read_files(places, seconds=60, root="mlflow-artifacts:/", environ=environ))
    assert found == dict(zip(places, (b"flavors: {}", ReadFailure("no such file", absent=True)), strict=True))
