"""Where an open model's files are: a registered model, a folder, or a repository of the Hugging Face hub.

Nothing in them is executed, and weights are read from safetensors alone, wherever they come from: a file that
torch pickles may run code when it is read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_HUB = "hf://"
_REPOSITORY = re.compile(r"(?P<name>[\w.-]+(?:/[\w.-]+)?)(?:@(?P<revision>[\w./-]+))?", re.ASCII)
_FILES = ("*.json", "*.safetensors", "*.txt", "*.model", "*.jinja", "*.tiktoken")
# the same weights once more, in another layout
_TWICE = ("consolidated*", "original/*", "onnx/*", "openvino/*")
_PICKLED = {".bin", ".pt", ".pth", ".ckpt", ".pkl"}
# such as `training_args.bin`: beside weights, and never read
_WEIGHTS = re.compile(r"(pytorch_model|model|consolidated|adapter_model|tf_model|flax_model)\b.*")


@dataclass(frozen=True, slots=True)
class Files:
    """Folders with a model and with its tokenizer (often the same), and what a caller calls the model."""

    model: Path
    tokenizer: Path
    name: str


def fetch(source: str) -> Files:
    """Bring a model's files here, and check that its weights are safetensors.

    `source` is `hf://org/name`, with `@revision` for another one than the newest; a folder; or anything
    that MLflow downloads: `models:/name/3`, `runs:/…`, `s3://…`. `HF_HUB_OFFLINE` and `HF_HOME` hold.
    ValueError for what isn't a language model, RuntimeError where the hub can't give it; MLflow's own errors.
    """
    files = _from_hub(source.removeprefix(_HUB)) if source.startswith(_HUB) else _from_mlflow(source)
    _check_weights(files.model)
    return files


def _from_mlflow(source: str) -> Files:
    import mlflow.artifacts

    is_folder = Path(source).is_dir()
    folder = Path(source if is_folder else mlflow.artifacts.download_artifacts(artifact_uri=source))
    name = _name(source)
    if (folder / "MLmodel").is_file():
        return _from_mlflow_model(folder, name)
    if (folder / "config.json").is_file() or (folder / "modules.json").is_file():
        return Files(folder, folder, name)
    raise ValueError(f"{source} holds neither an MLflow model nor a Hugging Face model (config.json).")


def _from_mlflow_model(folder: Path, name: str) -> Files:
    from mlflow.models import Model

    metadata = Model.load(str(folder))
    if flavor := metadata.flavors.get("sentence_transformers"):
        path = folder / (flavor.get("data") or "model.sentence_transformer")
        return Files(path, path, name)
    flavor = metadata.flavors.get("transformers")
    if flavor is None:
        flavors = ", ".join(sorted(metadata.flavors)) or "none"
        raise ValueError(
            "A language model needs the flavor transformers or sentence_transformers; "
            f"{name} has the flavors: {flavors}."
        )
    # what would change its answers, and isn't read here
    for key, what in (
        ("peft_adaptor", "a PEFT adapter"),
        ("local_base_model_path", "a base model elsewhere"),
    ):
        if flavor.get(key):
            raise ValueError(f"{name} was logged with {what}. Merge it into the model, and log that.")
    if (metadata.metadata or {}).get("prompt_template"):
        raise ValueError(
            f"{name} was logged with a prompt_template, which chats and completions don't use. "
            "Log it without, with a chat template in its tokenizer."
        )
    if binary := flavor.get("model_binary"):
        tokenizer = folder / "components" / "tokenizer"
        return Files(folder / binary, tokenizer if tokenizer.is_dir() else folder / binary, name)
    # logged with `save_pretrained=False`: a reference to the hub
    revision = flavor.get("source_model_revision")
    files = _from_hub(f"{flavor['source_model_name']}{f'@{revision}' if revision else ''}")
    return Files(files.model, files.tokenizer, name)


def _from_hub(repository: str) -> Files:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    match = _REPOSITORY.fullmatch(repository)
    if match is None:
        raise ValueError(f"{_HUB}{repository} isn't the name of a repository: {_HUB}org/name[@revision]")
    try:
        folder = Path(
            snapshot_download(
                match["name"],
                revision=match["revision"],
                allow_patterns=[*_FILES],
                ignore_patterns=[*_TWICE],
            )
        )
    except LocalEntryNotFoundError as e:
        raise RuntimeError(
            f"{_HUB}{repository} isn't on this node, and the Hugging Face hub can't be reached "
            "(or HF_HUB_OFFLINE is set). Register the model, or name a folder that has it."
        ) from e
    except (HfHubHTTPError, HFValidationError) as e:
        raise RuntimeError(f"The Hugging Face hub doesn't give {_HUB}{repository}: {_first_line(e)}") from e
    return Files(folder, folder, match["name"])


def _check_weights(folder: Path) -> None:
    """ValueError for a model without safetensors, and for parts of it that are pickled."""
    paths = sorted(folder.rglob("*"))
    safe = {path.parent for path in paths if path.suffix == ".safetensors"}
    pickled = [path for path in paths if path.suffix in _PICKLED and _WEIGHTS.match(path.name)]
    if unsafe := [str(path.relative_to(folder)) for path in pickled if path.parent not in safe]:
        raise ValueError(
            f"{folder} has weights as {unsafe[0]}: what torch pickled may run code when it is read. "
            "Save the model as safetensors, with `model.save_pretrained(folder)`."
        )
    if not safe:
        raise ValueError(f"{folder} has no weights as safetensors.")


def _name(source: str) -> str:
    """What a caller calls the model that comes from there."""
    scheme, _, path = source.partition(":")
    if scheme == "models":
        return path.strip("/").partition("/")[0].partition("@")[0]
    return source.rstrip("/").rpartition("/")[2]


def _first_line(e: Any) -> str:
    return next((line for line in str(e).splitlines() if line.strip()), type(e).__name__)
