"""The database's clock as SQL: it dates leases, records, history and tokens."""

from __future__ import annotations


def milliseconds(dialect: str) -> str:
    """The expression for milliseconds since 1970 by the clock of a database."""
    if dialect == "postgresql":
        return "CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)"
    return "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)"
