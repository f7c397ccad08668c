"""What `lac apply` wrote is what MLflow's client and server read: there is no second registry."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from support.command import Directory, tracked_at
from support.mlflow_fixture import drop_postgres, fresh_postgres, fresh_sqlite, serving_mlflow

MANIFEST = """
registered_models:
  - name: fraud
    description: "Scores card payments → 0…1."
    tags: {team: risk, Größe: "1.10"}
    versions:
      - version: 1
        source: s3://bucket/fraud/1
        stage: Archived
      - version: 2
        source: runs:/RUN/model
        description: Trained on May.
        tags: {validation_status: approved}
        stage: Production
      - version: 3
        source: models:/LOGGED
      - version: 4
        source: models:/fraud/2
    aliases: {champion: 2, challenger: 3}
  - name: two words
    versions:
      - {version: 1, source: /srv/models/1}

experiments:
  - name: nightly
    description: Every night at two.
    tags: {team: risk}
"""


@dataclass(frozen=True, slots=True)
class Shop:
    """A registry where a team has a prompt, a run and a logged model, and `lac apply` did the rest."""

    uri: str
    store: str
    directory: Directory
    run: str
    logged: str

    @property
    def client(self) -> MlflowClient:
        return MlflowClient(self.uri, self.uri)


@pytest.fixture(scope="module", params=["sqlite", "postgresql", "server"])
def shop(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    directory = tmp_path_factory.mktemp("shop")
    if request.param == "server":
        with serving_mlflow(directory, fresh_sqlite(directory)) as server, tracked_at(server.url):
            yield _opened(directory, server.url, server.store)
        return
    store = fresh_sqlite(directory) if request.param == "sqlite" else fresh_postgres()
    with tracked_at(store):
        yield _opened(directory, store, store)
    if request.param == "postgresql":
        drop_postgres(store)


def _opened(directory: Path, uri: str, store: str) -> Shop:
    client = MlflowClient(uri, uri)
    client.register_prompt("greeting", "Say {{ what }}.", tags={"team": "chat"})
    client.set_prompt_alias("greeting", "live", 1)
    experiment = client.create_experiment("training", artifact_location=str(directory / "training"))
    run = client.create_run(experiment).info
    logged = client.create_logged_model(experiment, name="scorer", source_run_id=run.run_id)
    manifest = MANIFEST.replace("RUN", run.run_id).replace("LOGGED", logged.model_id)
    stack = Directory(directory / "stack").settings(store).declare(manifest)
    stack.lac("apply", "--auto-approve")
    return Shop(uri, store, stack, run.run_id, logged.model_id)


def test_models_are_read(shop: Shop) -> None:
    model = shop.client.get_registered_model("fraud")
    assert model.description == "Scores card payments → 0…1."
    assert model.tags == {"team": "risk", "Größe": "1.10"}
    assert {alias: int(number) for alias, number in model.aliases.items()} == {"champion": 2, "challenger": 3}
    assert [m.name for m in shop.client.search_registered_models()] == ["fraud", "two words"]
    assert [m.name for m in shop.client.search_registered_models("tags.team = 'risk'")] == ["fraud"]
    assert [m.name for m in shop.client.search_registered_models("name LIKE 'two%'")] == ["two words"]


def test_versions_are_read(shop: Shop) -> None:
    client = shop.client
    version = client.get_model_version("fraud", "2")
    assert (version.description, version.tags) == ("Trained on May.", {"validation_status": "approved"})
    assert (version.status, version.current_stage, version.aliases) == ("READY", "Production", ["champion"])
    assert version.run_id == shop.run
    found = client.search_model_versions("name = 'fraud'")
    assert sorted(int(v.version) for v in found) == [1, 2, 3, 4]
    assert [int(v.version) for v in client.search_model_versions(f"run_id = '{shop.run}'")]
    tagged = client.search_model_versions("tags.validation_status = 'approved'")
    assert [int(v.version) for v in tagged] == [2]
    assert client.get_model_version("fraud", "3").run_id == shop.run


def test_files_are_where_mlflow_would_look(shop: Shop) -> None:
    client = shop.client
    logged = client.get_logged_model(shop.logged)
    assert client.get_model_version_download_uri("fraud", "1") == "s3://bucket/fraud/1"
    assert client.get_model_version_download_uri("fraud", "3") == logged.artifact_location
    second = client.get_model_version_download_uri("fraud", "2")
    assert shop.run in second
    assert client.get_model_version_download_uri("fraud", "4") == second
    assert client.get_model_version_download_uri("two words", "1") == "/srv/models/1"


def test_aliases_resolve(shop: Shop) -> None:
    from mlflow.store.artifact.models_artifact_repo import ModelsArtifactRepository

    assert int(shop.client.get_model_version_by_alias("fraud", "champion").version) == 2
    found = ModelsArtifactRepository.get_underlying_uri("models:/fraud@challenger")
    assert found == shop.client.get_model_version_download_uri("fraud", "3")
    with pytest.raises(MlflowException, match="alias"):
        shop.client.get_model_version_by_alias("fraud", "gone")


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_stages_are_read(shop: Shop) -> None:
    latest = shop.client.get_latest_versions("fraud", ["None", "Production", "Archived"])
    assert {v.current_stage: int(v.version) for v in latest} == {"None": 4, "Production": 2, "Archived": 1}


def test_experiments_are_read(shop: Shop) -> None:
    found = shop.client.get_experiment_by_name("nightly")
    assert found is not None
    assert found.tags == {"team": "risk", "mlflow.note.content": "Every night at two."}
    assert found.artifact_location.endswith(f"/{found.experiment_id}")
    assert [e.name for e in shop.client.search_experiments(filter_string="tags.team = 'risk'")] == ["nightly"]
    # a run can be made in it, with files in a place of its own
    run = shop.client.create_run(found.experiment_id).info
    assert run.artifact_uri == f"{found.artifact_location}/{run.run_id}/artifacts"


def test_prompts_are_left_alone(shop: Shop) -> None:
    prompt = shop.client.get_prompt_version_by_alias("greeting", "live")
    assert prompt.template == "Say {{ what }}."
    assert "greeting" not in shop.directory.lac("plan", "--json").stdout
    names = {m.name for m in shop.client.search_registered_models()}
    assert "greeting" not in names


def test_mlflow_goes_on_where_we_stopped(shop: Shop) -> None:
    """It counts versions from ours, tags beside ours, and the plan doesn't mind."""
    client = shop.client
    assert int(client.create_model_version("two words", "s3://bucket/2").version) == 2
    client.set_model_version_tag("fraud", "2", "seen_by", "ann")
    client.set_registered_model_alias("two words", "theirs", "2")
    assert "No changes" in shop.directory.lac("plan", "--detailed-exitcode").stdout
    shop.directory.lac("drift")
    client.set_registered_model_alias("fraud", "champion", "1")
    assert "model_alias.fraud/champion" in shop.directory.lac("drift", expect=2).stdout
    shop.directory.lac("apply", "--auto-approve")
    assert int(client.get_model_version_by_alias("fraud", "champion").version) == 2
    assert client.get_model_version("fraud", "2").tags["seen_by"] == "ann"
