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
from functools import lru_cache
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


Odd = tuple[Type, str]
"""A value whose JSON only PostgreSQL knows: its type and text."""


@dataclass(frozen=True, slots=True)
class Sides:
    """A row's values as JSON by column name, None for NULL."""

    new: dict[str, str | None]
    old: dict[str, str | None]
    odd: list[tuple[dict[str, str | None], str, Odd]]
    """What is missing from them: the side, the column, the value."""

    def fill(self, casts: Mapping[Odd, str]) -> None:
        """Put in what was missing."""
        for side, name, value in self.odd:
            side[name] = casts[value]


def to_sides(row: Row, table: Table) -> Sides:
    """The JSON of a row's values, but of the odd ones."""
    odd: list[tuple[dict[str, str | None], str, Odd]] = []
    new, old = (_side(texts or {}, table, odd) for texts in (row.new, row.old))
    return Sides(new, old, odd)


def _side(
    texts: Mapping[str, str | None], table: Table, odd: list[tuple[dict[str, str | None], str, Odd]]
) -> dict[str, str | None]:
    side: dict[str, str | None] = {}
    for name, text in texts.items():
        json = None
        if text is not None:
            type_ = table.types[name]
            json = values.to_json(type_.name, text)
            if json is None:
                odd.append((side, name, (type_, text)))
        side[name] = json
    return side


def render(row: Row, table: Table, sides: Sides, selectable: frozenset[str], select: tuple[str, ...] | None) -> str:
    """The JSON of a frame's `data`.

    Args:
        sides: the row's values, none of them missing.
        selectable: the columns that the role may select.
        select: the columns the binding asked for beside the primary key, None for all.
    """
    if row.action != "DELETE":
        if not table.primary_key:
            return _error(row, NO_PRIMARY_KEY)
        if not table.primary_key <= selectable:
            return _error(row, UNAUTHORIZED)
    chosen = selectable if select is None else selectable & (table.primary_key | set(select))
    large = _is_large(row, table, sides)

    def shown(side: Mapping[str, str | None], names: Collection[str]) -> str:
        return values.record(
            {
                name: value or "null"
                for name, value in side.items()
                if name in names and (not large or (value is not None and len(value.encode()) <= SMALL))
            }
        )

    head = f'{{"table":{values.quote(row.relation.table)},"type":"{row.action}",'
    if row.action != "DELETE":
        head += f'"record":{shown(sides.old | sides.new, chosen)},'
    errors = f'["{TOO_LARGE}"]' if large else "null"
    columns = _columns(table.columns, chosen)
    head += f'"columns":[{columns}],"errors":{errors},"schema":{values.quote(row.relation.schema)},'
    head += f'"commit_timestamp":"{timestamp(row.committed_at)}"'
    if row.action == "UPDATE":
        head += f',"old_record":{shown(sides.old, chosen)}'
    elif row.action == "DELETE":
        head += f',"old_record":{shown(sides.old, chosen & table.primary_key if table.rls else chosen)}'
    return head + "}"


@lru_cache(maxsize=1024)
def _columns(columns: tuple[tuple[str, str], ...], chosen: frozenset[str]) -> str:
    return ", ".join(
        f'{{"name": {values.quote(name)}, "type": {values.quote(type_)}}}' for name, type_ in columns if name in chosen
    )


@lru_cache(maxsize=64)
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


def _is_large(row: Row, table: Table, sides: Sides) -> bool:
    """Whether the change is over the limit in the JSON that the real server measures, wal2json's format 2 as jsonb."""
    both = [*sides.new.items(), *sides.old.items()]
    fixed = 150 + len(row.relation.schema) + len(row.relation.table)
    fixed += sum(54 + len(name) + len(table.types[name].sql) for name, _ in both)
    characters = sum(len(value) for _, value in both if value)
    if fixed + 4 * characters <= MAX_BYTES:  # a character has at most four bytes
        return False
    return (
        fixed - 4 * sum(value is not None for _, value in both) + sum(len(value.encode()) for _, value in both if value)
        > MAX_BYTES
    )
