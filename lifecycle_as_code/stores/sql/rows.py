"""Small statements that every kind needs, in both dialects. They commit nothing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, Table, and_, bindparam, delete, select, tuple_

from ...model.spec import Address

Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Keys:
    """How an object's key finds its row: the table, and the key's columns in order."""

    table: Table
    columns: tuple[str, ...]

    def share(self, db: Connection, workspace: str, addresses: Collection[Address]) -> None:
        """Lock these rows against changes and deletion until the transaction ends. Others can read them."""
        if db.dialect.name != "postgresql":
            return
        columns = [self.table.c[name] for name in self.columns]
        for chunk in portions([address.key for address in addresses]):
            query = select(*columns).where(self.table.c.workspace == workspace, tuple_(*columns).in_(chunk))
            db.execute(query.with_for_update(read=True)).all()


_CHUNK = 5000
_WHOLE = 2000


def among(
    db: Connection,
    query: Select[*tuple[Any, ...]],
    column: ColumnElement[Any],
    values: Collection[Any] | None,
) -> Iterator[Any]:
    """The rows of `query` whose `column` is one of `values`; None is all of them.

    For many values the whole table is read: one scan costs less than thousands of look-ups.
    `column` must be among what the query selects, under its own name.
    """
    if values is None:
        yield from db.execute(query)
    elif len(values) > _WHOLE:
        name = str(column.key)
        yield from (row for row in db.execute(query) if row._mapping[name] in values)
    else:
        yield from within(db, query, column, values)


def portions(values: Collection[Any]) -> Iterator[list[Any]]:
    """The values in order, thousands at a time: as many as one statement takes."""
    rest = iter(sorted(values))
    while chunk := list(islice(rest, _CHUNK)):
        yield chunk


def within(
    db: Connection, query: Select[*tuple[Any, ...]], column: ColumnElement[Any], values: Collection[Any]
) -> Iterator[Any]:
    """The rows of `query` whose `column` is one of `values`, thousands at a time; without values, none."""
    for portion in portions(values):
        yield from db.execute(query.where(column.in_(portion)))


def texts(triples: Iterable[Any]) -> defaultdict[Any, dict[str, str]]:
    """Texts by owner and key, from (owner, key, text). NULL becomes an empty text."""
    by_owner: defaultdict[Any, dict[str, str]] = defaultdict(dict)
    for owner, key, text in triples:
        by_owner[owner][key] = text or ""
    return by_owner


def add(db: Connection, table: Table, rows: Rows) -> None:
    """INSERT the rows, which all name the same columns. Other columns are NULL or their default."""
    if rows:
        db.execute(table.insert(), rows)


def put(db: Connection, table: Table, rows: Rows) -> None:
    """INSERT the rows, or UPDATE those that exist. Each key may occur once in `rows`."""
    if not rows:
        return
    if db.dialect.name == "postgresql":
        from sqlalchemy.dialects.postgresql import insert
    else:
        from sqlalchemy.dialects.sqlite import insert  # type: ignore[assignment]  # another class for the same clause
    statement = insert(table)
    keys = [column.name for column in table.primary_key]
    values = {name: statement.excluded[name] for name in rows[0] if name not in keys}
    db.execute(statement.on_conflict_do_update(index_elements=keys, set_=values), rows)


def change(db: Connection, table: Table, rows: Rows, keys: Sequence[str] = ()) -> None:
    """UPDATE by `keys`, the primary key by default; a row's other columns are the new values. All rows name
    the same columns."""
    if not rows:
        return
    keys = keys or [column.name for column in table.primary_key]
    matches = and_(*(table.c[key] == bindparam(f"key_{key}") for key in keys))
    values: dict[str, Any] = {name: bindparam(f"new_{name}") for name in rows[0] if name not in keys}
    db.execute(
        table.update().where(matches).values(values),
        [{f"key_{k}" if k in keys else f"new_{k}": v for k, v in row.items()} for row in rows],
    )


def drop(db: Connection, table: Table, rows: Rows) -> None:
    """DELETE the rows that match in every column. All `rows` name the same columns."""
    if rows:
        db.execute(
            delete(table).where(and_(*(table.c[name] == bindparam(f"key_{name}") for name in rows[0]))),
            [{f"key_{name}": value for name, value in row.items()} for row in rows],
        )


def retag(
    db: Connection,
    table: Table,
    tags: Iterable[tuple[Mapping[str, Any], Mapping[str, str], Mapping[str, str]]],
) -> None:
    """Change tags, given as (columns of the owner, tags before, tags after)."""
    tags = list(tags)
    values = [
        {**owner, "key": key, "value": value}
        for owner, before, after in tags
        for key, value in after.items()
        if before.get(key) != value
    ]
    put(db, table, values)
    drop(db, table, [{**o, "key": k} for o, before, after in tags for k in before if k not in after])
