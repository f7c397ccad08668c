"""Statements compiled once for all engines of a process.

SQLAlchemy keeps what it compiled by engine. A command has one or two; tests have thousands, each of which
would compile the same statements: a third of what an apply takes.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine import Dialect

SIZE = 3000
"""Statements; with more, it begins anew."""


class Statements(dict[Any, Any]):
    """By SQLAlchemy's key, with whatever decides how a dialect compiles in the place of the dialect."""

    def get(self, key: Any, default: Any = None) -> Any:
        return super().get(_without_engine(key), default)

    def __setitem__(self, key: Any, compiled: Any) -> None:
        if len(self) >= SIZE:
            self.clear()
        super().__setitem__(_without_engine(key), compiled)


def _without_engine(key: Any) -> Any:
    return tuple(_sort(part) if isinstance(part, Dialect) else part for part in key)


def _sort(dialect: Dialect) -> tuple[Any, ...]:
    known: Any = dialect
    return (
        type(known),
        known.server_version_info,
        known.paramstyle,
        known.use_insertmanyvalues,
        known._json_serializer,
        known._json_deserializer,
    )


STATEMENTS = Statements()


def share_statements() -> None:
    """Have every engine of this process use them."""

    def share(connection: Connection) -> None:
        connection.execution_options(compiled_cache=STATEMENTS)

    event.listen(Engine, "engine_connect", share)
