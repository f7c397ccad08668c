"""MLflow's prompts, which it keeps as registered models with a mark. Reads only."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, func, select

from .tables import registered_model_tags

PROMPT_TAG: Final = "mlflow.prompt.is_prompt"
"""The tag of a registered model that is a prompt; its value is `true`."""


def prompt_names(db: Connection, workspace: str) -> frozenset[str]:
    """The names of registered models that are prompts. MLflow leaves them out of every search for models."""
    tags = registered_model_tags.c
    query = select(tags.name).where(
        tags.workspace == workspace, tags.key == PROMPT_TAG, func.lower(tags.value) == "true"
    )
    return frozenset(db.scalars(query))
