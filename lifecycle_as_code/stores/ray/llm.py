"""A language model on GPUs as a Ray Serve app around `ray.serve.llm` (vLLM): its config. Pure.

**Never run on a GPU.** The configs were checked against Ray 2.60's own schema classes (`LLMConfig`,
`ServeDeploySchema`), the engine's arguments against Ray's documentation and issues alone: whether vLLM starts
with them, nobody has seen.

An app has two deployments: `entity` (`serving.vllm`), which an ingress asks as it asks any entity, and
`engine`, Ray's `LLMServer`, whose workers have the GPUs. Its args are those of any entity, and in `llm` an
`LLMConfig`. Whatever changes in place is in the app's `deployments`: when an app's args change, Ray restarts
all replicas, and stops former ones before new ones have loaded the model.
"""

from __future__ import annotations

from typing import Any

from ...serving.llm import ENGINE
from .apps import AppConfig, ServedEntity, entity_app, forwarding_options

_HUB = "hf://"
_BUCKETS = ("s3://", "gs://", "abfss://", "azure://")
_DOWNLOADS = "/tmp/lac-tokenizers"
# vLLM's own share of a GPU's memory
_MEMORY = 0.9


def serves_on_gpu(entity: ServedEntity) -> bool:
    """Whether a served entity is one for `ray.serve.llm`: a language model of ours that wants GPUs."""
    return bool(entity.task) and entity.is_hosted and entity.num_gpus > 0


def hosting_app(owner: str, endpoint: str, entity: ServedEntity) -> AppConfig:
    """The config of a served entity's app, wherever its model runs."""
    make = llm_app if serves_on_gpu(entity) else entity_app
    return make(owner, endpoint, entity)


def llm_app(
    owner: str, endpoint: str, entity: ServedEntity, accelerator_type: str | None = None
) -> AppConfig:
    """The config of a served entity's app. `accelerator_type`: one of Ray's names, such as `L4` or `H100`.

    ValueError for a location that vLLM can't read, and for references in `environment_vars`: the replicas are
    vLLM's, and Ray's config would hold what they stand for.
    """
    config = entity_app(owner, endpoint, entity)
    # the GPUs belong to the engine's workers, and its health is vLLM's to check
    own = ("ray_actor_options", "health_check_period_s")
    (options,) = config["deployments"]
    engine = {**{name: value for name, value in options.items() if name not in own}, "name": ENGINE}
    if scaling := engine.get("autoscaling_config"):
        # by Ray's default a replica ought to have two requests, of those that vLLM answers together
        engine["autoscaling_config"] = {
            **scaling,
            "target_ongoing_requests": max(1, (entity.max_ongoing_requests or 0) // 2),
        }
    return {
        **config,
        "import_path": "lifecycle_as_code.serving.vllm:entity",
        "args": {**config["args"], "llm": _config(entity, accelerator_type)},
        "deployments": [{"name": "entity", **forwarding_options([entity])}, engine],
    }


def _config(entity: ServedEntity, accelerator_type: str | None) -> dict[str, Any]:
    """An `LLMConfig`."""
    loading, engine = _location(entity)
    # as on CPU: a caller learns the name of a folder or a repository, not where it is
    folder = entity.model_uri.rstrip("/")
    source = loading["model_source"] if folder.startswith(_HUB) else folder.rpartition("/")[2]
    model = entity.entity_name if entity.entity_version else source
    if entity.task == "llm/v1/embeddings":
        # vLLM no longer knows its former `task: embed` (ray-project/ray#64466)
        engine |= {"runner": "pooling", "convert": "embed"}
    config: dict[str, Any] = {
        "model_loading_config": {"model_id": model, **loading},
        "llm_engine": "vLLM",
        "engine_kwargs": {
            **engine,
            # as on CPU: no code of the model's, no pickled weights
            "trust_remote_code": False,
            "load_format": "safetensors",
            "tensor_parallel_size": max(1, int(entity.num_gpus)),
        },
        "deployment_config": {"num_replicas": 1, "ray_actor_options": {"num_cpus": entity.num_cpus}},
        "runtime_env": _runtime_env(entity),
    }
    if accelerator_type is not None:
        config["accelerator_type"] = accelerator_type
    if entity.num_gpus < 1:
        config["placement_group_config"] = {"bundle_per_worker": {"CPU": 1, "GPU": entity.num_gpus}}
        config["engine_kwargs"]["gpu_memory_utilization"] = round(_MEMORY * entity.num_gpus, 4)
    return config


def _location(entity: ServedEntity) -> tuple[dict[str, Any], dict[str, Any]]:
    """Where Ray and vLLM find the files: of `model_loading_config`, and of `engine_kwargs`."""
    uri = entity.model_uri.rstrip("/")
    if uri.startswith(_HUB):
        name, _, revision = uri.removeprefix(_HUB).partition("@")
        pin = {"revision": revision, "tokenizer_revision": revision} if revision else {}
        return {"model_source": name}, pin
    uri = uri.removeprefix("file://")
    if not uri.startswith(("/", *_BUCKETS)):
        raise ValueError(
            f"vLLM can't load {entity.name} from {entity.model_uri}: it reads hf://, paths on the nodes, and "
            f"{', '.join(_BUCKETS)}"
        )
    if not entity.entity_version:
        return {"model_source": uri}, {}
    # the folders of MLflow's flavors
    if entity.task == "llm/v1/embeddings":
        return {"model_source": f"{uri}/model.sentence_transformer"}, {}
    if uri.startswith("/"):
        return {"model_source": f"{uri}/model"}, {"tokenizer": f"{uri}/components/tokenizer"}
    folder = f"{_DOWNLOADS}/{entity.entity_name}/{entity.entity_version}"
    tokenizer = {"bucket_uri": f"{uri}/components/tokenizer", "destination_path": folder}
    return {"model_source": {"bucket_uri": f"{uri}/model", "extra_files": [tokenizer]}}, {"tokenizer": folder}


def _runtime_env(entity: ServedEntity) -> dict[str, Any]:
    variables = dict(entity.environment_vars)
    if references := sorted(name for name, value in variables.items() if "{{" in value):
        raise ValueError(
            f"{entity.name}: {references[0]} is a reference, which replicas of vLLM can't look up. Set the "
            "variable on the nodes themselves; HF_TOKEN is passed on"
        )
    return {**entity.runtime_env, "env_vars": {**entity.runtime_env.get("env_vars", {}), **variables}}
