"""PostgreSQL's statistics of MLflow's tables, renewed after a bulk load."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import text

from ...model.diagnostics import Diagnostic, LacError
from .sql import SqlStore, writing

ANALYZE_FROM: Final = 200
"""Changes in one apply from which the statistics are renewed. Without that, MLflow's own search took 22 s
after a bulk load (observed), and 0.6 s with it."""

_REGISTRY_TABLES: Final = (
    "registered_models",
    "registered_model_tags",
    "registered_model_aliases",
    "model_versions",
    "model_version_tags",
)


def analyze_registry(store: SqlStore) -> Diagnostic | None:
    """Renew the statistics of the registry's tables; a warning where PostgreSQL refuses. SQLite needs
    none."""
    if store.dialect != "postgresql":
        return None
    refusals: list[str] = []
    try:
        with writing(store) as db:
            # PostgreSQL skips tables of other owners with no more than a notice
            session: Any = db.connection.driver_connection
            session.add_notice_handler(lambda notice: refusals.append(notice.message_primary or ""))
            db.execute(text(f"ANALYZE {', '.join(_REGISTRY_TABLES)}"))
    except LacError as error:
        refusals.append(error.diagnostics[0].detail.rstrip("."))
    if not refusals:
        return None
    return Diagnostic(
        "not-analyzed",
        "PostgreSQL's statistics could not be renewed",
        f"ANALYZE: {'; '.join(refusals)}.",
        hint="grant MAINTAIN on these tables, or run ANALYZE as their owner; until then MLflow's searches"
        " may be slow",
        severity="warning",
    )
