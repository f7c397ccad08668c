"""Open language models in the replica's own process: chats, completions and embeddings on CPU."""
