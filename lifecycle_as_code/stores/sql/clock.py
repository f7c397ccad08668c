"""The database's clock, which dates leases, records and history."""

from __future__ import annotations

from sqlalchemy import ColumnElement, Connection, literal_column, select

from ...serving.clock import milliseconds


def clock_s(db: Connection) -> ColumnElement[int]:
    """The database's clock in whole seconds since 1970, as part of a statement."""
    if db.dialect.name == "postgresql":
        return literal_column("CAST(extract(epoch FROM clock_timestamp()) AS BIGINT)")
    return literal_column("CAST(strftime('%s', 'now') AS INTEGER)")


def clock_ms(db: Connection) -> int:
    """Milliseconds since 1970 by the database's clock."""
    return int(db.execute(select(literal_column(milliseconds(db.dialect.name)))).scalar_one())
