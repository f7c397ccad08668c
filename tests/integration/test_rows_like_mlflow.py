"""What we write is what MLflow's handlers write: the same action on equal databases, compared row by row.

Each test copies the database of a running server, lets MLflow's client act on the server and our kinds
on the copy, and compares every column of every table. Times are compared by whether they moved.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow import MlflowClient
from sqlalchemy import select, text
from support.mlflow_fixture import MlflowServer, fresh_postgres, fresh_sqlite

from lifecycle_as_code.kinds.base import Databases, Filter, SqlKind
from lifecycle_as_code.kinds.experiment import Experiment, Experiments
from lifecycle_as_code.kinds.model_alias import ModelAlias, ModelAliases
from lifecycle_as_code.kinds.model_version import ModelVersion, ModelVersions
from lifecycle_as_code.kinds.registered_model import RegisteredModel, RegisteredModels
from lifecycle_as_code.model.diagnostics import Diagnostic, LacError
from lifecycle_as_code.model.diff import diff, restrict_to_owned
from lifecycle_as_code.model.snapshot import Observed
from lifecycle_as_code.model.spec import Address, Spec
from lifecycle_as_code.stores.mlflow.tables import experiments, model_versions, registered_models
from lifecycle_as_code.stores.sql.store import open_store, writing

pytestmark = pytest.mark.filterwarnings("ignore")

KINDS: dict[str, SqlKind[Any]] = {
    kind.spec.kind: kind for kind in (RegisteredModels(), ModelVersions(), ModelAliases(), Experiments())
}
NOW = 4_000_000_000_000
TIMES = {"creation_time", "last_updated_time", "last_update_time", "deleted_time"}


def live(db: Databases) -> dict[Address, Observed]:
    return {a: seen for kind in KINDS.values() for a, seen in kind.observe(db, Filter()).objects.items()}


def settled(db: Databases, spec: Spec) -> Spec:
    """The spec as the store keeps it; AssertionError with the diagnostic where it can't be."""
    for _, found in KINDS[spec.kind].settle(db, {spec.address: spec}, live(db)):
        assert not isinstance(found, Diagnostic), str(found)
        return found
    return spec


def put(db: Databases, *specs: Spec) -> None:
    """Create or update, as an apply would."""
    for spec in specs:
        seen = live(db).get(spec.address)
        wanted = settled(db, spec)
        if seen is None or seen.tombstone:
            KINDS[spec.kind].create(db, [wanted])
        else:
            KINDS[spec.kind].update(db, [(seen.spec, wanted)])


def remove(db: Databases, *addresses: tuple[str, Any]) -> None:
    for kind, key in addresses:
        KINDS[kind].delete(db, [live(db)[Address(kind, key)].spec])


def move(db: Databases, kind: str, **names: str) -> None:
    """Rename, as `former=given`."""
    found = live(db)
    pairs = {Address(kind, (former,)): Address(kind, (given,)) for former, given in names.items()}
    KINDS[kind].move(db, [(found[a].spec, found[a].spec.renamed(a, b)) for a, b in pairs.items()])


@dataclass(frozen=True)
class World:
    """A server with a client, and what its database held before the test's action."""

    client: MlflowClient
    server: MlflowServer
    copy: Path

    @property
    def path(self) -> Path:
        return Path(self.server.store.removeprefix("sqlite:///"))


@pytest.fixture
def world(mlflow_server: MlflowServer, tmp_path: Path) -> Iterator[World]:
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(mlflow_server.url)
    yield World(MlflowClient(), mlflow_server, tmp_path / "copy.db")
    mlflow.set_tracking_uri(before)


def rows(path: Path) -> dict[str, list[dict[str, Any]]]:
    with closing(sqlite3.connect(path)) as db:
        db.row_factory = sqlite3.Row
        tables = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {table: [dict(row) for row in db.execute(f'SELECT * FROM "{table}"')] for table in tables}


def comparable(path: Path, times_before: set[Any]) -> dict[str, list[str]]:
    """All rows as text; a time says whether it is one from before. Registered twice is registered once:
    the client's `register_model` notes on the logged model what the handler has noted already."""
    found: dict[str, list[str]] = {}
    for table, held in rows(path).items():
        for row in held:
            for column in TIMES & row.keys():
                if row[column] is not None:
                    row[column] = "from before" if row[column] in times_before else "moved"
            if row.get("tag_key") == "mlflow.modelVersions":
                noted = json.loads(row["tag_value"])
                row["tag_value"] = json.dumps([v for v in noted if isinstance(v["version"], int)])
        found[table] = sorted(json.dumps(row, sort_keys=True) for row in held)
    return found


def same(world: World, by_client: Callable[[], Any], by_us: Callable[[Databases], Any]) -> None:
    """Do both and compare. The client goes second, so that a shared row can't be made twice."""
    with closing(sqlite3.connect(world.path)) as db, closing(sqlite3.connect(world.copy)) as copy:
        db.backup(copy)
    before = {
        row[column] for held in rows(world.path).values() for row in held for column in TIMES & row.keys()
    }
    store = open_store(f"sqlite:///{world.copy}", role="tracking", base=Path("/"))
    with writing(store) as connection:
        by_us(Databases(connection, now_ms=NOW, artifact_root=str(world.server.artifacts)))
    by_client()
    ours, theirs = comparable(world.copy, before), comparable(world.path, before)
    for table in theirs:
        assert ours[table] == theirs[table], table


def logged(client: MlflowClient, name: str = "model", *, with_run: bool = True) -> tuple[str, str]:
    """A run and a model that it logged: (run id, model id). No files are needed to register one."""
    run = client.create_run("0") if with_run else None
    model = client.create_logged_model("0", name=name, source_run_id=run.info.run_id if run else None)
    client.finalize_logged_model(model.model_id, "READY")
    return (run.info.run_id if run else ""), model.model_id


class TestModels:
    def test_create(self, world: World) -> None:
        same(
            world,
            lambda: (
                world.client.create_registered_model("made"),
                world.client.create_registered_model("made-full", {"a": "1", "b": ""}, "Scores."),
            ),
            lambda db: put(
                db,
                RegisteredModel(name="made"),
                RegisteredModel(name="made-full", tags={"a": "1", "b": ""}, description="Scores."),
            ),
        )

    def test_change_and_retag(self, world: World) -> None:
        client = world.client
        client.create_registered_model("changed", {"kept": "1", "gone": "2", "moved": "3"}, "Old.")
        same(
            world,
            lambda: (
                client.update_registered_model("changed", "New."),
                client.set_registered_model_tag("changed", "moved", "4"),
                client.set_registered_model_tag("changed", "added", "5"),
                client.delete_registered_model_tag("changed", "gone"),
            ),
            lambda db: put(
                db,
                RegisteredModel(
                    name="changed", description="New.", tags={"kept": "1", "moved": "4", "added": "5"}
                ),
            ),
        )

    def test_a_tag_alone_moves_no_time(self, world: World) -> None:
        world.client.create_registered_model("tagged")
        same(
            world,
            lambda: world.client.set_registered_model_tag("tagged", "a", "1"),
            lambda db: put(db, RegisteredModel(name="tagged", tags={"a": "1"})),
        )

    def test_delete_with_all_that_hangs_on_it(self, world: World) -> None:
        client = world.client
        client.create_registered_model("doomed", {"a": "1"})
        client.create_model_version("doomed", "s3://bucket/a", tags={"b": "2"})
        client.create_model_version("doomed", "s3://bucket/b")
        client.set_registered_model_alias("doomed", "champion", "2")
        client.delete_model_version("doomed", "1")
        same(
            world,
            lambda: client.delete_registered_model("doomed"),
            lambda db: remove(
                db,
                ("model_alias", ("doomed", "champion")),
                ("model_version", ("doomed", 2)),
                ("registered_model", ("doomed",)),
            ),
        )

    def test_rename_with_all_that_hangs_on_it(self, world: World) -> None:
        client = world.client
        _, model = logged(client)
        client.create_registered_model("former", {"a": "1"}, "Scores.")
        client.create_model_version("former", f"models:/{model}", model_id=model, tags={"b": "2"})
        for source in ("models:/former/1", "s3://bucket/b"):
            client.create_model_version("former", source)
        client.set_registered_model_alias("former", "champion", "2")
        client.delete_model_version("former", "3")
        client.create_registered_model("unmoved")
        client.create_model_version("unmoved", "models:/former/1")
        same(
            world,
            lambda: client.rename_registered_model("former", "given"),
            lambda db: move(db, "registered_model", former="given"),
        )
        assert client.get_model_version_by_alias("given", "champion").source == "models:/former/1"


def test_nothing_made_since_the_plan_is_deleted_along(tmp_path: Path) -> None:
    with writing(open_store(fresh_sqlite(tmp_path), role="tracking", base=tmp_path)) as connection:
        db = Databases(connection, now_ms=NOW)
        put(db, RegisteredModel(name="m"), ModelVersion(model="m", version=1, source="s3://b/x"))
        put(db, ModelAlias(model="m", alias="late", version=1))
        with pytest.raises(LacError, match=r"model_alias\.m/late"):
            remove(db, ("model_version", ("m", 1)))
        with pytest.raises(LacError, match=r"model_version\.m/1[^$]*model_alias\.m/late"):
            remove(db, ("registered_model", ("m",)))


def _version(model: str, version: int, source: str, **more: Any) -> Callable[[Databases], None]:
    return lambda db: put(db, ModelVersion(model=model, version=version, source=source, **more))


class TestVersions:
    @pytest.mark.parametrize("source", ["s3://bucket/x", "gs://bucket/y z", "dbfs:/models/a"])
    def test_create_from_an_address(self, world: World, source: str) -> None:
        name = f"of {source.split(':')[0]}"
        world.client.create_registered_model(name)
        same(
            world,
            lambda: world.client.create_model_version(name, source, tags={"a": "1"}, description="First."),
            _version(name, 1, source, tags={"a": "1"}, description="First."),
        )

    def test_create_from_an_address_with_a_run(self, world: World) -> None:
        run, _ = logged(world.client)
        world.client.create_registered_model("of-run")
        same(
            world,
            lambda: world.client.create_model_version("of-run", "s3://bucket/x", run_id=run),
            _version("of-run", 1, "s3://bucket/x", run_id=run),
        )

    def test_create_from_a_path_among_a_runs_files(self, world: World) -> None:
        run = world.client.create_run("0").info
        path = f"{run.artifact_uri}/model"
        world.client.create_registered_model("of-path")
        same(
            world,
            lambda: world.client.create_model_version("of-path", path, run_id=run.run_id),
            _version("of-path", 1, path, run_id=run.run_id),
        )

    def test_register_what_a_run_logged(self, world: World) -> None:
        run, _ = logged(world.client, "clf")
        world.client.create_registered_model("of-logged")
        same(
            world,
            lambda: mlflow.register_model(f"runs:/{run}/clf", "of-logged", tags={"a": "1"}),
            _version("of-logged", 1, f"runs:/{run}/clf", tags={"a": "1"}),
        )

    def test_register_the_last_of_several_that_a_run_logged(self, world: World) -> None:
        run, first = logged(world.client, "many")
        second = world.client.create_logged_model("0", name="many", source_run_id=run)
        steps = [
            mlflow.entities.LoggedModelOutput(second.model_id, 7),
            mlflow.entities.LoggedModelOutput(first, 3),
        ]
        world.client.log_outputs(run, steps)
        world.client.create_registered_model("of-many")
        same(
            world,
            lambda: mlflow.register_model(f"runs:/{run}/many", "of-many"),
            _version("of-many", 1, f"runs:/{run}/many"),
        )

    def test_register_the_files_of_a_run(self, world: World, tmp_path: Path) -> None:
        run = world.client.create_run("0").info.run_id
        (tmp_path / "MLmodel").write_text("flavors: {}")
        world.client.log_artifact(run, str(tmp_path / "MLmodel"), "old")
        world.client.create_registered_model("of-files")
        same(
            world,
            lambda: mlflow.register_model(f"runs:/{run}/old", "of-files"),
            _version("of-files", 1, f"runs:/{run}/old"),
        )

    def test_register_a_logged_model(self, world: World) -> None:
        _, model = logged(world.client)
        world.client.create_registered_model("of-model")
        same(
            world,
            lambda: mlflow.register_model(f"models:/{model}", "of-model"),
            _version("of-model", 1, f"models:/{model}"),
        )

    def test_a_logged_model_lists_its_versions(self, world: World) -> None:
        _, model = logged(world.client)
        world.client.create_registered_model("of-listed")
        source = f"models:/{model}"
        world.client.create_model_version("of-listed", source, model_id=model)
        same(
            world,
            lambda: world.client.create_model_version("of-listed", source, model_id=model),
            _version("of-listed", 2, source),
        )

    def test_register_a_logged_model_without_a_run_and_its_copy(self, world: World) -> None:
        _, model = logged(world.client, with_run=False)
        world.client.create_registered_model("of-runless")
        same(
            world,
            lambda: (
                mlflow.register_model(f"models:/{model}", "of-runless"),
                mlflow.register_model("models:/of-runless/1", "of-runless"),
            ),
            lambda db: (
                put(db, ModelVersion(model="of-runless", version=1, source=f"models:/{model}")),
                put(db, ModelVersion(model="of-runless", version=2, source="models:/of-runless/1")),
            ),
        )

    @pytest.mark.parametrize("origin", ["logged", "address"])
    def test_register_another_version(self, world: World, origin: str) -> None:
        world.client.create_registered_model(f"origin-{origin}")
        world.client.create_registered_model(f"copy-{origin}")
        source = f"models:/{logged(world.client)[1]}" if origin == "logged" else "s3://bucket/z"
        mlflow.register_model(source, f"origin-{origin}")
        same(
            world,
            lambda: mlflow.register_model(f"models:/origin-{origin}/1", f"copy-{origin}"),
            _version(f"copy-{origin}", 1, f"models:/origin-{origin}/1"),
        )

    def test_change_description_tags_and_stage(self, world: World) -> None:
        client = world.client
        client.create_registered_model("staged")
        for source in ("s3://bucket/a", "s3://bucket/b"):
            client.create_model_version("staged", source, tags={"gone": "1"})
        client.transition_model_version_stage("staged", "1", "Production")
        same(
            world,
            lambda: (
                client.update_model_version("staged", "2", "Better."),
                client.set_model_version_tag("staged", "2", "a", "1"),
                client.delete_model_version_tag("staged", "2", "gone"),
                client.transition_model_version_stage("staged", "2", "Production"),
            ),
            _version(
                "staged", 2, "s3://bucket/b", description="Better.", tags={"a": "1"}, stage="Production"
            ),
        )

    def test_a_description_alone_leaves_the_models_time(self, world: World) -> None:
        world.client.create_registered_model("described")
        world.client.create_model_version("described", "s3://bucket/a")
        same(
            world,
            lambda: world.client.update_model_version("described", "1", "Better."),
            _version("described", 1, "s3://bucket/a", description="Better."),
        )

    def test_delete(self, world: World) -> None:
        _, model = logged(world.client)
        world.client.create_registered_model("deleted")
        world.client.create_model_version("deleted", f"models:/{model}", model_id=model, tags={"a": "1"})
        world.client.set_registered_model_alias("deleted", "champion", "1")
        same(
            world,
            lambda: world.client.delete_model_version("deleted", "1"),
            lambda db: remove(
                db, ("model_alias", ("deleted", "champion")), ("model_version", ("deleted", 1))
            ),
        )


class TestAliases:
    def test_set_move_and_delete(self, world: World) -> None:
        client = world.client
        client.create_registered_model("aliased")
        for source in ("s3://bucket/a", "s3://bucket/b"):
            client.create_model_version("aliased", source)
        for alias in ("moved", "gone"):
            client.set_registered_model_alias("aliased", alias, "1")
        same(
            world,
            lambda: (
                client.set_registered_model_alias("aliased", "made", "2"),
                client.set_registered_model_alias("aliased", "moved", "2"),
                client.delete_registered_model_alias("aliased", "gone"),
            ),
            lambda db: (
                put(db, ModelAlias(model="aliased", alias="made", version=2)),
                put(db, ModelAlias(model="aliased", alias="moved", version=2)),
                remove(db, ("model_alias", ("aliased", "gone"))),
            ),
        )


class TestExperiments:
    def test_create(self, world: World) -> None:
        def by_client() -> None:
            world.client.create_experiment("exp")
            world.client.create_experiment(
                "exp-s3", "s3://bucket/x", {"a": "1", "mlflow.note.content": "Why."}
            )
            world.client.create_experiment("exp-file", "file:///srv/my files")

        same(
            world,
            by_client,
            lambda db: put(
                db,
                Experiment(name="exp"),
                Experiment(
                    name="exp-s3", artifact_location="s3://bucket/x", tags={"a": "1"}, description="Why."
                ),
                Experiment(name="exp-file", artifact_location="file:///srv/my files"),
            ),
        )

    def test_describe_and_retag(self, world: World) -> None:
        client = world.client
        number = client.create_experiment("exp-tags", tags={"gone": "1", "kept": "2"})
        same(
            world,
            lambda: (
                client.set_experiment_tag(number, "mlflow.note.content", "Why."),
                client.set_experiment_tag(number, "a", "1"),
                client.delete_experiment_tag(number, "gone"),
            ),
            lambda db: put(db, Experiment(name="exp-tags", description="Why.", tags={"kept": "2", "a": "1"})),
        )

    def test_rename(self, world: World) -> None:
        number = world.client.create_experiment("exp-former", tags={"a": "1"})
        world.client.create_run(number)
        same(
            world,
            lambda: world.client.rename_experiment(number, "exp-given"),
            lambda db: move(db, "experiment", **{"exp-former": "exp-given"}),
        )

    def test_delete_and_restore_with_the_runs(self, world: World) -> None:
        client = world.client
        number = client.create_experiment("exp-back")
        deleted_before = client.create_run(number).info.run_id
        client.create_run(number)
        client.delete_run(deleted_before)
        same(
            world,
            lambda: client.delete_experiment(number),
            lambda db: remove(db, ("experiment", ("exp-back",))),
        )
        same(
            world,
            lambda: client.restore_experiment(number),
            lambda db: put(db, Experiment(name="exp-back")),
        )


SOURCES: dict[str, Callable[[MlflowClient], str]] = {
    "run": lambda client: f"runs:/{logged(client)[0]}/model",
    "logged model": lambda client: f"models:/{logged(client)[1]}",
    "address": lambda _: "s3://bucket/x",
    "path": lambda _: "/srv/model",
}


@pytest.mark.parametrize("by", ["us", "mlflow"])
@pytest.mark.parametrize("form", [*SOURCES, "version"])
def test_an_unchanged_manifest_plans_as_empty(world: World, form: str, by: str) -> None:
    name = f"again {form} {by}"
    world.client.create_registered_model(name)
    source = SOURCES.get(form, SOURCES["address"])(world.client)
    store = open_store(world.server.store, role="tracking", base=Path("/"))
    wanted = ModelVersion(model=name, version=1, source=source)
    if form == "version":
        world.client.create_model_version(name, source)
        wanted = ModelVersion(model=name, version=2, source=f"models:/{name}/1")
    if by == "us" or form == "path":
        with writing(store) as connection:
            put(Databases(connection, now_ms=NOW), wanted)
    else:
        mlflow.register_model(wanted.source, name)
    with writing(store) as connection:
        db = Databases(connection, now_ms=NOW)
        seen = live(db)[wanted.address].spec
        assert diff(restrict_to_owned(seen, wanted), settled(db, wanted)) == ()


def test_a_source_that_only_a_database_client_takes_may_stay_as_it_is(tmp_path: Path) -> None:
    url = fresh_sqlite(tmp_path)
    client = MlflowClient(url)
    client.create_registered_model("odd")
    client.create_model_version("odd", "somewhere")
    with writing(open_store(url, role="tracking", base=tmp_path)) as connection:
        db = Databases(connection)
        there = ModelVersion(model="odd", version=1, source="somewhere")
        assert diff(live(db)[there.address].spec, settled(db, there)) == ()
        with pytest.raises(AssertionError, match="source-not-found"):
            settled(db, ModelVersion(model="odd", version=2, source="somewhere"))


@pytest.mark.parametrize(
    ("source", "run_id", "said"),
    [
        ("runs:/0123/model", None, "there is no run 0123"),
        ("runs:/0123/model", "4567", "the source is from run 0123"),
        ("models:/m-0123", None, "there is no logged model m-0123"),
        ("models:/nobody/1", None, "there is no version 1 of nobody"),
        ("/srv/x", "0123", "there is no run 0123"),
        ("https://elsewhere/model", None, "refuses to connect to https://elsewhere"),
        ("mlflow-artifacts:/0/model", None, "isn't among the files of the run"),
    ],
)
def test_a_source_that_mlflow_would_refuse_is_told(
    source: str, run_id: str | None, said: str, tmp_path: Path
) -> None:
    with writing(open_store(fresh_sqlite(tmp_path), role="tracking", base=tmp_path)) as connection:
        wanted = ModelVersion(model="m", version=1, source=source, run_id=run_id)
        with pytest.raises(AssertionError, match=said):
            settled(Databases(connection), wanted)


def test_an_artifact_location_on_a_host_that_mlflow_does_not_connect_to_is_warned_of(tmp_path: Path) -> None:
    root = "abfss://models@ours.dfs.core.windows.net/mlflow"
    locations = [
        root,
        "abfss://c@theirs.dfs.core.windows.net/x",
        "s3://b/x",
        "/srv/x",
        "mlflow-artifacts:/x",
        None,
    ]
    wanted = [Experiment(name=str(n), artifact_location=uri) for n, uri in enumerate(locations)]
    with writing(open_store(fresh_sqlite(tmp_path), role="tracking", base=tmp_path)) as connection:
        db = Databases(connection, artifact_root=root)
        found = list(Experiments().settle(db, {spec.address: spec for spec in wanted}, {}))
        there = {spec.address: Observed(spec) for spec in wanted}
        assert not list(Experiments().settle(db, {spec.address: spec for spec in wanted}, there))
    ((address, problem),) = found
    assert address == wanted[1].address
    assert isinstance(problem, Diagnostic)
    assert problem.severity == "warning"
    assert "theirs.dfs" in problem.detail


def test_mlflow_reads_what_we_wrote(world: World) -> None:
    run, model = logged(world.client, "ours")
    store = open_store(world.server.store, role="tracking", base=Path("/"))
    with writing(store) as connection:
        db = Databases(connection, now_ms=NOW, artifact_root=str(world.server.artifacts))
        put(
            db,
            RegisteredModel(name="read back", description="Ours.", tags={"a": "1"}),
            ModelVersion(model="read back", version=1, source=f"runs:/{run}/ours", tags={"b": "2"}),
            ModelAlias(model="read back", alias="champion", version=1),
            Experiment(name="read back", description="Why."),
        )
    found = world.client.get_registered_model("read back")
    assert (found.description, found.tags, found.aliases) == ("Ours.", {"a": "1"}, {"champion": "1"})
    version = world.client.get_model_version_by_alias("read back", "champion")
    assert (version.run_id, version.source, version.tags) == (run, f"models:/{model}", {"b": "2"})
    experiment = world.client.get_experiment_by_name("read back")
    assert experiment.tags == {"mlflow.note.content": "Why."}
    assert experiment.artifact_location == f"{world.server.artifacts}/{experiment.experiment_id}"


def test_prompts_are_left_out(world: World) -> None:
    world.client.register_prompt("a-prompt", "Say {{what}}")
    store = open_store(world.server.store, role="tracking", base=Path("/"))
    with writing(store) as connection:
        db = Databases(connection)
        assert not [address for address in live(db) if address.key[0] == "a-prompt"]
        assert Address("prompt", ("a-prompt",)) in KINDS["registered_model"].observe(db, Filter()).referents


def _everything(db: Databases) -> None:
    """A little of all that the kinds do, without a tracking store's runs."""
    put(db, RegisteredModel(name="m", description="d", tags={"a": "1", "b": "2"}))
    put(db, RegisteredModel(name="m", tags={"a": "3"}), RegisteredModel(name="n"))
    for number, source in enumerate(["s3://b/x", "models:/m/1", "s3://b/z"], 1):
        put(db, ModelVersion(model="m", version=number, source=source, tags={"t": "1"}))
    put(db, ModelVersion(model="m", version=1, source="s3://b/x", stage="Staging", description="d"))
    put(db, ModelAlias(model="m", alias="champion", version=1), ModelAlias(model="m", alias="old", version=1))
    put(db, ModelAlias(model="m", alias="champion", version=2))
    remove(db, ("model_alias", ("m", "old")), ("model_version", ("m", 3)), ("registered_model", ("n",)))
    put(db, Experiment(name="e", tags={"a": "1"}, description="d"), Experiment(name="f"))
    remove(db, ("experiment", ("e",)))
    put(db, Experiment(name="e", tags={"b": "2"}))
    put(db, RegisteredModel(name="o"), ModelVersion(model="o", version=1, source="s3://b/o"))
    move(db, "registered_model", m="k", o="p")
    move(db, "experiment", e="g", f="h")


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
def test_a_name_that_is_taken_is_given_to_nobody(tmp_path: Path, dialect: str) -> None:
    url = fresh_sqlite(tmp_path) if dialect == "sqlite" else fresh_postgres()
    with writing(open_store(url, role="tracking", base=tmp_path)) as connection:
        db = Databases(connection, now_ms=NOW)
        put(db, *(RegisteredModel(name=name) for name in "ab"))
        prompt = RegisteredModel.model_construct(name="ask", tags={"mlflow.prompt.is_prompt": "true"})
        KINDS["registered_model"].create(db, [prompt])
        put(db, *(Experiment(name=name) for name in "ab"))
        remove(db, ("experiment", ("b",)))
        for kind, names in (
            ("registered_model", {"a": "b"}),
            ("registered_model", {"a": "ask"}),
            ("registered_model", {"a": "b", "b": "c"}),
            ("experiment", {"a": "b"}),
        ):
            with pytest.raises(LacError, match=rf"name-taken[^$]*{kind}\.a can't be renamed"):
                move(db, kind, **names)
        assert {a for a, seen in live(db).items() if not seen.tombstone and a.key != ("Default",)} == {
            Address("registered_model", ("a",)),
            Address("registered_model", ("b",)),
            Address("experiment", ("a",)),
        }


def test_postgresql_holds_the_same_rows_as_sqlite(tmp_path: Path) -> None:
    tables = (registered_models, model_versions, experiments)
    tags = ("registered_model_tags", "model_version_tags", "registered_model_aliases", "experiment_tags")
    held: list[list[Sequence[Any]]] = []
    for url in (fresh_sqlite(tmp_path), fresh_postgres()):
        with writing(open_store(url, role="tracking", base=tmp_path)) as connection:
            _everything(Databases(connection, now_ms=NOW, artifact_root="/srv"))
            named = [connection.execute(select(table)).all() for table in tables]
            named += [connection.execute(text(f"SELECT * FROM {table}")).all() for table in tags]
            held.append([sorted(map(repr, (row for row in part if "Default" not in row))) for part in named])
    assert held[0] == held[1]
