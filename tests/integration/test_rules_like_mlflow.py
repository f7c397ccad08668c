"""Whatever our rules let through, MLflow's own validators let through: MLflow is the oracle."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from mlflow.exceptions import MlflowException
from mlflow.server.auth.permissions import (
    ALL_PERMISSIONS,
    VALID_RESOURCE_TYPES,
    _validate_permission_for_resource_type,
    _validate_resource_pattern,
)
from mlflow.server.auth.sqlalchemy_store import SqlAlchemyStore as AuthStore
from mlflow.server.handlers import (
    _is_mlflow_artifact_source,
    _validate_non_local_source_contains_relative_paths,
    _validate_storage_location_uri,
)
from mlflow.store.artifact.utils.models import _parse_model_uri
from mlflow.utils import uri as mlflow_uri
from mlflow.utils import validation

from lifecycle_as_code.model.access import ON_ALL_ONLY
from lifecycle_as_code.serving.levels import ResourceType
from lifecycle_as_code.stores.mlflow import rules, uris

pytestmark = pytest.mark.filterwarnings("ignore")

# letters that the rules are about stand out among all of Unicode
ODD = st.text(st.sampled_from("aZ09é_-. :/@\\$,;?#%+\x00\n２v") | st.characters(), max_size=12)
LONG = st.integers(240, 520).map(lambda length: "a" * length)
TEXTS = (
    ODD | LONG | st.sampled_from(["", ".", "..", "latest", "LATEST", "v1", "V２", "__user_1__", "a//b", "/a"])
)


def refuses(oracle: Callable[..., Any], *values: Any) -> str | None:
    """MLflow's message, or None where it takes the values."""
    try:
        oracle(*values)
    except MlflowException as error:
        return error.message
    return None


def _alias_to_be_set(name: str) -> None:
    validation._validate_model_alias_name(name)
    validation._validate_model_alias_name_reserved(name)


def _artifact_location_of_a_new_experiment(uri: str) -> None:
    _validate_storage_location_uri(uri, "artifact_location")
    assert mlflow_uri.resolve_uri_if_local(uri) == uri


TEXT_RULES = {
    "model name": (rules.model_name, validation._validate_model_name),
    "alias": (rules.alias, _alias_to_be_set),
    "model tag key": (rules.model_tag_key, lambda key: validation._validate_registered_model_tag(key, "")),
    "version tag key": (rules.model_tag_key, lambda key: validation._validate_model_version_tag(key, "")),
    "experiment tag key": (
        rules.experiment_tag_key,
        lambda key: validation._validate_experiment_tag(key, ""),
    ),
    "experiment name": (rules.experiment_name, validation._validate_experiment_name),
    "artifact location": (
        rules.artifact_location,
        _artifact_location_of_a_new_experiment,
    ),
    "role name": (rules.role_name, AuthStore._reject_synthetic_role_name),
    "run id": (rules.run_id, validation._validate_run_id),
}


@pytest.mark.parametrize("name", TEXT_RULES)
def test_a_text_that_we_take_is_taken_by_mlflow(name: str) -> None:
    ours, oracle = TEXT_RULES[name]

    @settings(max_examples=300, deadline=None)
    @given(TEXTS)
    @example("mlflow.note.content")
    @example("file://host/x")
    @example("FILE:///x")
    @example("FILE://host/x")
    @example("file://localhost/x")
    @example("file:x")
    def holds(text: str) -> None:
        # MLflow's server asks no host that it wasn't told of, which is a setting and no rule
        if ours(text) is None and uris.host(text) is None:
            assert refuses(oracle, text) is None

    holds()


VALUE_RULES = {
    "model": (rules.model_tag_value, validation._validate_registered_model_tag, 5000),
    "version": (rules.version_tag_value, validation._validate_model_version_tag, 100_000),
    "experiment": (rules.experiment_tag_value, validation._validate_experiment_tag, 20_000),
}


@pytest.mark.parametrize("name", VALUE_RULES)
def test_a_tag_value_may_be_as_long_as_column_and_mlflow_allow(name: str) -> None:
    ours, oracle, limit = VALUE_RULES[name]
    assert ours("x" * limit) is None
    assert refuses(oracle, "key", "x" * limit) is None
    assert ours("x" * (limit + 1)) is not None


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("runs:/0123/model", uris.RunPath("0123", "model")),
        ("runs:/0123/deep/model/", uris.RunPath("0123", "deep/model")),
        ("models:/m-12", uris.LoggedModel("m-12")),
        ("models:/a b/3", uris.Version("a b", 3)),
        ("/srv/model", uris.Location("/srv/model")),
        ("file:///srv/model", uris.Location("file:///srv/model")),
        ("s3://bucket/model", uris.Location("s3://bucket/model")),
    ],
)
def test_a_source_is_read_as_what_it_is(text: str, meant: uris.SourceAddress) -> None:
    assert uris.parse_source(text) == meant


@pytest.mark.parametrize(
    "text",
    [
        "",
        "model",
        "./model",
        "runs:/0123",
        "runs://databricks/0123/model",
        "models:/fraud@champion",
        "models:/fraud/latest",
        "models:/fraud/Production",
        "models://x/fraud/1",
        "s3://bucket",
        "s3://bucket/a/../b",
        "s3://bucket/%2e%2e/b",
        "file://elsewhere/model",
        "FILE://elsewhere/model",
        "FILE:///model",
        "/a\x00b",
    ],
)
def test_a_source_that_could_mean_something_else_later_is_refused(text: str) -> None:
    assert rules.new_source(text)
    # but MLflow may hold it already, and then it may be declared
    assert not rules.source(text) or text == "" or "\x00" in text or text.startswith("models:")


@settings(max_examples=500, deadline=None)
@given(
    st.builds(
        lambda scheme, steps: scheme + "/".join(steps),
        st.sampled_from(["s3://b/", "runs:/", "models:/", "dbfs:/", "gs://b/", "s3:", "wasbs://c@a/"]),
        st.lists(st.sampled_from(["a", "..", ".", "%2e%2e", "", "1", "x y", "+", "%00", "a;b"]), max_size=4),
    )
)
def test_a_uri_that_we_take_is_taken_by_mlflow(text: str) -> None:
    if rules.new_source(text) is None:
        assert refuses(_validate_non_local_source_contains_relative_paths, text) is None
        if text.startswith("models:"):
            parsed = _parse_model_uri(text)
            assert parsed.model_id or (parsed.name and parsed.version)


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("/srv/mlruns", "1"),
        ("file:///srv/my%20runs", "1"),
        ("file:relative", "1"),
        ("mlflow-artifacts:/", "1"),
        ("mlflow-artifacts://host/root", "1"),
        ("s3://bucket", "1"),
        ("s3://bucket/a/?region=b", "c/d"),
    ],
)
def test_addresses_are_joined_as_mlflow_joins_them(uri: str, path: str) -> None:
    assert uris.join(uri, path) == mlflow_uri.append_to_uri_path(uri, path)


@pytest.mark.parametrize(
    "uri",
    [
        "mlflow-artifacts:/1/x",
        "MLFLOW-ARTIFACTS://host/x",
        "https://host/api/2.0/mlflow-artifacts/artifacts/1",
        "http://host/prefix/api/2.0/mlflow%2Dartifacts/artifacts",
        "https://host/api/2.0/artifacts/1",
        "s3://api/2.0/mlflow-artifacts/artifacts/1",
        "/api/2.0/mlflow-artifacts/artifacts/1",
    ],
)
def test_what_mlflow_hands_out_itself_is_told_apart_as_mlflow_does(uri: str) -> None:
    assert uris.is_proxied(uri) is _is_mlflow_artifact_source(uri)


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "x",
        "/srv/x?y",
        "/srv/x#y",
        "s3://b/x;y",
        "runs:/0123/x",
        "s3://b/../x",
        "s3://b/%252e%252e/x",
        "dbfs:/..",
    ],
)
def test_an_artifact_location_whose_models_mlflow_would_refuse_is_refused(uri: str) -> None:
    assert rules.artifact_location(uri)


def test_a_grant_that_we_take_is_taken_by_mlflow() -> None:
    for resource_type in VALID_RESOURCE_TYPES:
        for pattern in ("*", "12"):
            for level in ALL_PERMISSIONS:
                mlflow_says = refuses(_validate_resource_pattern, pattern, resource_type) or refuses(
                    _validate_permission_for_resource_type, level, resource_type
                )
                # no stricter here either: the table is MLflow's
                assert (rules.grant(resource_type, pattern, level) is None) == (mlflow_says is None)
    assert {*ResourceType} == VALID_RESOURCE_TYPES | {ResourceType.SERVING_ENDPOINT}
    assert {*ResourceType} > ON_ALL_ONLY


def test_the_artifact_location_limit_is_no_looser_than_mlflows() -> None:
    assert (
        int(os.environ.get("MLFLOW_ARTIFACT_LOCATION_MAX_LENGTH", "2048")) >= rules.ARTIFACT_LOCATION_LENGTH
    )
