"""A change as its row's texts, and the `data` of its frames (pure).

`read` puts names to a decoded message's values, and `render` writes the JSON of `data` for one role and one choice
of columns, key order and spaces as the real server's. The rules are those of its `apply_rls`:

- old_record has the replica identity: the primary key alone, or with REPLICA IDENTITY FULL the whole old row.
- An out-of-line value that an UPDATE did not touch is logged only as part of a FULL identity: else its key is missing.
- Over MAX_BYTES of raw change, values whose JSON is longer than SMALL bytes, and nulls, are left out: error 413.
- A table without a primary key, or with one that the role can't select, sends an error and no values (not so DELETE).
- With row security an old_record of a DELETE is cut to the primary key, as nobody can check who might see the rest.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from devstack.realtime import values
from devstack.realtime.catalog import Table, Type
from devstack.realtime.pgoutput import Change, Delete, Insert, Relation, Unchanged, Update, Values

MAX_BYTES: Final = 1024 * 1024
SMALL: Final = 64
NO_PRIMARY_KEY: Final = "Error 400: Bad Request, no primary key"
UNAUTHORIZED: Final = "Error 401: Unauthorized"
TOO_LARGE: Final = "Error 413: Payload Too Large"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Row:
    """One change with its values by column name, as PostgreSQL's texts; a value not in the log has no key."""

    relation: Relation
    action: str
    committed_at: int
    """Microseconds since 1970."""
    xid: int
    new: Mapping[str, str | None] | None
    old: Mapping[str, str | None] | None
    """The identity: for an UPDATE that left it alone, as it still is."""


def read(relation: Relation, change: Change, committed_at: int, xid: int) -> Row:
    """Put column names to a change's values."""
    match change:
        case Insert(new=new):
            return Row(relation, "INSERT", committed_at, xid, _named(relation, new), None)
        case Update(old=old, new=new):
            named = _named(relation, new)
            return Row(relation, "UPDATE", committed_at, xid, named, _identity(relation, new if old is None else old))
        case Delete(old=old):
            return Row(relation, "DELETE", committed_at, xid, None, _identity(relation, old))


def _named(relation: Relation, tuple_: Values) -> dict[str, str | None]:
    return {
        column.name: value
        for column, value in zip(relation.columns, tuple_, strict=True)
        if not isinstance(value, Unchanged)
    }


def _identity(relation: Relation, tuple_: Values) -> dict[str, str | None]:
    return {
        column.name: value
        for column, value in zip(relation.columns, tuple_, strict=True)
        if column.identity and not isinstance(value, Unchanged)
    }


def odd_values(row: Row, table: Table) -> list[tuple[Type, str]]:
    """The values whose JSON only PostgreSQL knows."""
    return [
        (type_, text)
        for side in (row.new, row.old)
        for name, text in (side or {}).items()
        if text is not None and (type_ := table.types[name]) and values.to_json(type_.name, text) is None
    ]


def render(
    row: Row,
    table: Table,
    selectable: Collection[str],
    select: Collection[str] | None,
    casts: Mapping[tuple[Type, str], str],
) -> str:
    """The JSON of a frame's `data`.

    Args:
        selectable: the columns that the role may select.
        select: the columns the binding asked for beside the primary key, None for all.
        casts: the JSON of the row's odd values.
    """
    if row.action != "DELETE":
        if not table.primary_key:
            return _error(row, NO_PRIMARY_KEY)
        if not table.primary_key <= set(selectable):
            return _error(row, UNAUTHORIZED)
    chosen = set(selectable) if select is None else set(selectable) & (set(select) | table.primary_key)
    new, old = _json(row.new, table, casts), _json(row.old, table, casts)
    large = _raw_size(row, table, new, old) > MAX_BYTES

    def shown(side: Mapping[str, str | None], names: Collection[str]) -> str:
        return values.record(
            {
                name: value or "null"
                for name, value in side.items()
                if name in names and (not large or (value is not None and len(value.encode()) <= SMALL))
            }
        )

    columns = ", ".join(
        f'{{"name": {values.quote(name)}, "type": {values.quote(type_)}}}'
        for name, type_ in table.columns
        if name in chosen
    )
    head = f'{{"table":{values.quote(row.relation.table)},"type":"{row.action}",'
    if row.action != "DELETE":
        head += f'"record":{shown(old | new, chosen)},'
    errors = f'["{TOO_LARGE}"]' if large else "null"
    head += f'"columns":[{columns}],"errors":{errors},"schema":{values.quote(row.relation.schema)},'
    head += f'"commit_timestamp":"{timestamp(row.committed_at)}"'
    if row.action == "UPDATE":
        head += f',"old_record":{shown(old, chosen)}'
    elif row.action == "DELETE":
        head += f',"old_record":{shown(old, chosen & table.primary_key if table.rls else chosen)}'
    return head + "}"


def timestamp(microseconds: int) -> str:
    """A commit's time as frames show it, cut to milliseconds."""
    moment = _EPOCH + timedelta(milliseconds=microseconds // 1000)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def _error(row: Row, error: str) -> str:
    old = ',"old_record":{}' if row.action == "UPDATE" else ""
    return (
        f'{{"table":{values.quote(row.relation.table)},"type":"{row.action}","record":{{}},"columns":[],'
        f'"errors":["{error}"],"schema":{values.quote(row.relation.schema)},"commit_timestamp":null{old}}}'
    )


def _json(
    side: Mapping[str, str | None] | None, table: Table, casts: Mapping[tuple[Type, str], str]
) -> dict[str, str | None]:
    rendered: dict[str, str | None] = {}
    for name, text in (side or {}).items():
        if text is None:
            rendered[name] = None
        else:
            type_ = table.types[name]
            json = values.to_json(type_.name, text)
            rendered[name] = casts[type_, text] if json is None else json
    return rendered


def _raw_size(row: Row, table: Table, *sides: Mapping[str, str | None]) -> int:
    """About how long the change is in the JSON that the real server measures, wal2json's format 2 as jsonb."""
    size = 150 + len(row.relation.schema) + len(row.relation.table)
    for side in sides:
        for name, value in side.items():
            size += 50 + len(name) + len(table.types[name].sql) + (4 if value is None else len(value.encode()))
    return size
