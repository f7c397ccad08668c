"""Open language models in the replica's own process: chats, completions and embeddings on CPU."""

from lifecycle_as_code.serving.language.model import LanguageModel

__all__ = ["LanguageModel"]
