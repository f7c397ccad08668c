"""Language models on GPUs: their configs are valid by Ray's own schema classes. vLLM itself isn't here."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from lifecycle_as_code.stores.ray.apps import Mark, ServedEntity, entity_app, mark
from lifecycle_as_code.stores.ray.llm import llm_app, serves_on_gpu

pytestmark = pytest.mark.filterwarnings("ignore")

ENTITY = ServedEntity(
    "champion", "llama", 3, "/models/llama/3", task="llm/v1/chat", num_gpus=1, num_cpus=4, timeout=120.0
)
SHAPES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "a registered model on a shared disk": (
        {},
        {"model_source": "/models/llama/3/model", "tokenizer": "/models/llama/3/components/tokenizer"},
    ),
    "a registered model at a file's address": (
        {"model_uri": "file:///models/llama/3"},
        {"model_source": "/models/llama/3/model", "model_id": "llama"},
    ),
    "a registered model in a bucket": (
        {"model_uri": "s3://models/llama/3/"},
        {
            "bucket_uri": "s3://models/llama/3/model",
            "extra_files": "s3://models/llama/3/components/tokenizer",
            "tokenizer": "/tmp/lac-tokenizers/llama/3",
        },
    ),
    "a name of the hub": (
        {"model_uri": "hf://acme/llama", "entity_name": "", "entity_version": 0},
        {"model_source": "acme/llama", "model_id": "acme/llama"},
    ),
    "a revision of the hub": (
        {"model_uri": "hf://acme/llama@v2", "entity_version": 0},
        {"model_source": "acme/llama", "revision": "v2", "tokenizer_revision": "v2"},
    ),
    "a folder": (
        {"model_uri": "/models/llama", "entity_name": "/models/llama", "entity_version": 0},
        {"model_source": "/models/llama", "model_id": "llama"},
    ),
    "embeddings": (
        {"task": "llm/v1/embeddings"},
        {
            "model_source": "/models/llama/3/model.sentence_transformer",
            "runner": "pooling",
            "convert": "embed",
        },
    ),
    "several GPUs": ({"num_gpus": 4}, {"tensor_parallel_size": 4}),
    "a part of a GPU": (
        {"num_gpus": 0.5},
        {"tensor_parallel_size": 1, "gpu_memory_utilization": 0.45, "GPU": 0.5},
    ),
    "scaling": (
        {"min_replicas": 0, "max_replicas": 4, "max_ongoing_requests": 8},
        {
            "autoscaling_config": {"min_replicas": 0, "max_replicas": 4, "target_ongoing_requests": 4},
            "max_ongoing_requests": 8,
        },
    ),
    "a fixed number": ({"min_replicas": 2, "max_replicas": 2}, {"num_replicas": 2}),
    "variables": (
        {"environment_vars": {"A": "b"}, "runtime_env": {"pip": ["x"], "env_vars": {"C": "d"}}},
        {"A": "b", "C": "d", "pip": ["x"]},
    ),
}


def find(config: Any, name: str) -> list[Any]:
    """Everything of that name, at whatever depth; of files, their addresses."""
    if isinstance(config, list):
        return [value for each in config for value in find(each, name)]
    if not isinstance(config, dict):
        return []
    here = [config[name]] if name in config else []
    if name == "extra_files":
        here = [file["bucket_uri"] for files in here for file in files]
    return here + [value for each in config.values() for value in find(each, name)]


@pytest.mark.parametrize(("changed", "expected"), SHAPES.values(), ids=SHAPES)
def test_rays_own_classes_accept_the_config(changed: dict[str, Any], expected: dict[str, Any]) -> None:
    # `ray.serve.llm` itself, which only adds its name to this class, can't be imported without vLLM
    from ray.llm._internal.serve.core.configs.llm_config import LLMConfig
    from ray.serve.schema import ServeDeploySchema

    app = llm_app("shop", "chat", replace(ENTITY, **changed), "L4")
    assert json.loads(json.dumps(app)) == app
    ServeDeploySchema.model_validate({"applications": [app]})
    config = app["args"]["llm"]
    _, engine = app["deployments"]
    accepted = LLMConfig.model_validate(config)
    assert accepted.accelerator_type == "L4"
    assert accepted.engine_kwargs["load_format"] == "safetensors"
    assert accepted.engine_kwargs["trust_remote_code"] is False
    for name, value in expected.items():
        assert value in find([config, engine], name), name


def test_numbers_change_in_place_and_everything_else_in_an_app_beside() -> None:
    """Ray restarts an app whose args change, and vLLM takes minutes to load a model."""
    app = llm_app("shop", "chat", ENTITY)
    for in_place in ({"min_replicas": 2, "max_replicas": 2}, {"max_ongoing_requests": 9}, {"timeout": 9.0}):
        after = llm_app("shop", "chat", replace(ENTITY, **in_place))
        assert (after["name"], after["args"]) == (app["name"], app["args"])
        assert after["deployments"] != app["deployments"]
    for anew in (
        {"num_gpus": 2},
        {"num_gpus": 0.5},
        {"num_cpus": 1},
        {"model_uri": "/m"},
        {"max_replicas": 3},
    ):
        assert llm_app("shop", "chat", replace(ENTITY, **anew))["name"] != app["name"]


def test_a_deployment_that_only_passes_on_is_no_narrower_than_the_engine() -> None:
    entity = replace(ENTITY, min_replicas=0, max_replicas=3, max_ongoing_requests=10)
    front, engine = llm_app("shop", "chat", entity)["deployments"]
    assert (front["num_replicas"], front["max_ongoing_requests"]) == (1, 30)
    assert front["graceful_shutdown_timeout_s"] == engine["graceful_shutdown_timeout_s"] == 120.0


def test_an_unknown_accelerator_is_rays_to_refuse() -> None:
    from ray.llm._internal.serve.core.configs.llm_config import LLMConfig

    config = llm_app("shop", "chat", ENTITY, "abacus")["args"]["llm"]
    with pytest.raises(ValueError, match="Unsupported accelerator type: abacus"):
        LLMConfig.model_validate(config)


def test_it_is_an_app_like_any_entity_s() -> None:
    app, plain = llm_app("shop@12345678", "chat", ENTITY), entity_app("shop@12345678", "chat", ENTITY)
    assert mark(app) == Mark("shop@12345678", "chat", "champion")
    assert {**app["args"], "llm": None} == {**plain["args"], "llm": None}
    assert (app["name"], app["route_prefix"]) == (plain["name"], None)
    # its workers have the GPUs
    assert app["deployments"][0]["ray_actor_options"] == {"num_cpus": 0, "num_gpus": 0}


@pytest.mark.parametrize("uri", ["models:/llama/3", "mlflow-artifacts:/1/m", "runs:/1/model", "dbfs:/models"])
def test_a_place_that_vllm_cant_read_is_refused(uri: str) -> None:
    with pytest.raises(ValueError, match="vLLM can't load champion"):
        llm_app("shop", "chat", replace(ENTITY, model_uri=uri))


def test_a_secret_never_gets_into_rays_config() -> None:
    with pytest.raises(ValueError, match="KEY is a reference"):
        llm_app("shop", "chat", replace(ENTITY, environment_vars={"KEY": "{{ env.KEY }}"}))


def test_only_our_own_language_models_with_gpus_are_for_vllm() -> None:
    assert serves_on_gpu(ENTITY)
    assert not any(
        serves_on_gpu(replace(ENTITY, **other))
        for other in ({"task": ""}, {"num_gpus": 0.0}, {"external_model": {"provider": "openai"}})
    )
