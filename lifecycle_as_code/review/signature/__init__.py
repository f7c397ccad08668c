"""How the signatures of two versions compare. Pure."""
