"""An embedding model on CPU: sentence-transformers' pipeline, or mean pooling over a plain transformer."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from lifecycle_as_code.serving.language.generator import describe_missing, silence_libraries
from lifecycle_as_code.serving.language.source import Files

# texts that go through the model at once
_BATCH = 32


class Embedder:
    """A loaded model. One call at a time: its tokenizer changes its settings on the way."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self.context: int | None = model.max_seq_length
        # goes before each text, where the model was made so
        self._prompt: str = (model.prompts or {}).get(model.default_prompt_name) or ""

    @classmethod
    def load(cls, files: Files) -> Embedder:
        """Load safetensors. Runs no code of the model's.

        A folder without sentence-transformers' `modules.json` gets mean pooling. ValueError where weights are
        missing: transformers would make them up.
        """
        silence_libraries()
        from sentence_transformers import SentenceTransformer
        from sentence_transformers.base.modules import Transformer
        from sentence_transformers.sentence_transformer.modules import Pooling

        options = {"trust_remote_code": False, "local_files_only": True}
        weights = {"use_safetensors": True}
        if (files.model / "modules.json").is_file():
            pipeline = SentenceTransformer(str(files.model), device="cpu", model_kwargs=weights, **options)
            if isinstance(pipeline[0], Transformer):
                _check_complete(pipeline[0].model, {**options, **weights}, files.name)
            return cls(pipeline.eval())
        transformer = Transformer(
            str(files.model),
            model_kwargs={**options, **weights},
            config_kwargs=options,
            processor_kwargs=options,
            tokenizer_name_or_path=str(files.tokenizer),
        )
        _check_complete(transformer.model, {**options, **weights}, files.name)
        pooling = Pooling(transformer.get_embedding_dimension(), pooling_mode="mean")
        return cls(SentenceTransformer(modules=[transformer, pooling], device="cpu").eval())

    def count_tokens(self, texts: list[str]) -> list[int]:
        """How many tokens each text has, the model's own first and last included."""
        encoding = self._model.tokenizer(
            [self._prompt + text for text in texts], truncation=False, padding=False, verbose=False
        )
        return [len(tokens) for tokens in encoding["input_ids"]]

    def embed(self, texts: list[str], cancelled: threading.Event) -> Any:
        """An array of float32, a row for each text; without the rest once `cancelled` is set."""
        import numpy as np

        parts = []
        for start in range(0, len(texts), _BATCH):
            if cancelled.is_set():
                break
            batch = texts[start : start + _BATCH]
            parts.append(self._model.encode(batch, show_progress_bar=False, convert_to_numpy=True))
        return np.concatenate(parts).astype("<f4") if parts else np.empty((0, 0), "<f4")


def _check_complete(model: Any, options: Mapping[str, Any], name: str) -> None:
    """Refuse a model that its folder hasn't all weights of. Sentence-transformers keeps to itself which are
    missing, so that they are read once more; a pooler of the model's own isn't used."""
    again = type(model).from_pretrained(
        model.name_or_path, config=model.config, dtype="auto", output_loading_info=True, **options
    )
    if missing := sorted(key for key in again[1]["missing_keys"] if "pooler" not in key):
        raise ValueError(describe_missing(missing, model, name) + ".")
