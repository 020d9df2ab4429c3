"""What has to be asked of PostgreSQL: tables, privileges, subscriptions' checks, row visibility, odd values.

Nothing here is polled. A table is asked about again after each Relation message: pgoutput repeats that message before
the next change once the table, its columns, grants, policies or row security were altered.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import psycopg

from devstack.realtime import filters, visibility
from devstack.realtime.bindings import Binding
from devstack.realtime.database import Database
from devstack.realtime.filters import Filter, Test
from devstack.realtime.pgoutput import Relation
from devstack.realtime.tokens import Claims

_MAX_IN = 100


class RefusedError(Exception):
    """A subscription was refused; the message is that of the system frame."""


@dataclass(frozen=True, slots=True)
class Type:
    name: str
    """pg_type.typname, as frames show it."""
    sql: str
    """As regtype prints it, for a cast."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table as PostgreSQL describes it now."""

    relation: Relation
    rls: bool
    primary_key: frozenset[str]
    columns: tuple[tuple[str, str], ...]
    """Name and typname, in order."""
    types: Mapping[str, Type]
    """Of the columns in the relation message."""
    selectable: dict[str, frozenset[str]] = field(default_factory=dict)
    """By role, the columns it may select; filled when first asked."""


@dataclass(frozen=True, slots=True)
class Condition:
    """A binding's filter, ready to be tested."""

    filter: Filter
    type: Type
    test: Test | None
    """None: only PostgreSQL can tell."""
    value: str | None
    """For an `eq` filter with a test, the text that passes."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """A binding on one of the tables it covers."""

    binding: Binding
    table_oid: int
    conditions: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Question:
    """One comparison for PostgreSQL: `expression` with its parameters."""

    expression: str
    parameters: tuple[str | None, ...]


class Catalog:
    """Asks PostgreSQL. Every method raises psycopg.OperationalError while it can't be reached."""

    def __init__(self, database: Database, publication: str) -> None:
        self._database = database
        self._publication = publication

    async def check_publication(self) -> bool:
        query = "select 1 from pg_publication where pubname = %s"
        return bool(await self._database.rows(query, [self._publication]))

    async def published(self) -> frozenset[int]:
        """The tables that can be subscribed to."""
        every = {"publication": self._publication, "schema": "*", "table": "*"}
        return frozenset(oid for (oid,) in await self._database.rows(_COVERED, every))

    async def table(self, relation: Relation) -> Table | None:
        """The table of a relation message, None if it is gone."""
        described = await self._database.rows(_TABLE, [relation.oid])
        if not described:
            return None
        rls, key, names, type_names = described[0]
        oids = [column.type_oid for column in relation.columns]
        rows = await self._database.rows(
            "select oid, typname, oid::regtype::text from pg_type where oid = any(%s)", [oids]
        )
        types = {oid: Type(name, cast) for oid, name, cast in rows}
        by_name = {column.name: types[column.type_oid] for column in relation.columns if column.type_oid in types}
        columns = tuple(zip(names, type_names, strict=True))
        return Table(relation, rls, frozenset(key), columns, by_name)

    async def selectable(self, table: Table, role: str) -> frozenset[str]:
        """The columns that a role may select."""
        known = table.selectable.get(role)
        if known is None:
            rows = await self._database.rows(_SELECTABLE, [role, table.relation.oid])
            known = table.selectable[role] = frozenset(name for (name,) in rows)
        return known

    async def resolve(self, bindings: Iterable[Binding], claims: Claims) -> list[Resolved]:
        """A channel's bindings on the tables they cover.

        Raises:
            RefusedError: one of them covers no table of the publication, or has a filter that does not fit.
        """
        resolved: list[Resolved] = []
        for binding in bindings:
            tables = await self._database.rows(
                _COVERED, {"publication": self._publication, "schema": binding.schema, "table": binding.table}
            )
            if not tables:
                raise RefusedError(
                    "Unable to subscribe to changes with given parameters. Please check Realtime is enabled for the"
                    f" given connect parameters: [{binding.describe()}]"
                )
            for (oid,) in tables:
                try:
                    conditions = await self._conditions(binding, oid, str(claims["role"]))
                except psycopg.OperationalError:
                    raise
                except psycopg.Error as error:
                    raise RefusedError(_exception(binding, error.sqlstate or "", _message(error))) from error
                except _CheckError as error:
                    raise RefusedError(_exception(binding, "P0001", str(error))) from error
                resolved.append(Resolved(binding, oid, conditions))
        return resolved

    async def _conditions(self, binding: Binding, oid: int, role: str) -> tuple[Condition, ...]:
        """The filters of a binding, checked as the real server's trigger on realtime.subscription does."""
        # Asked even without filters: it also finds a role that does not exist.
        rows = await self._database.rows(_COLUMN_TYPES, [role, oid])
        types = {name: Type(typname, cast) for name, typname, cast in rows}
        conditions: list[Condition] = []
        for filter_ in binding.filters:
            type_ = types.get(filter_.column)
            if type_ is None:
                raise _CheckError(f"invalid column for filter {filter_.column}")
            canonical = await self._check(filter_, type_)
            test = filters.compile_filter(filter_, type_.name, canonical)
            is_plain = filter_.op == "eq" and not filter_.negate and test is not None
            conditions.append(Condition(filter_, type_, test, canonical[0] if is_plain else None))
        for column in binding.select or ():
            if column not in types:
                raise _CheckError(f"invalid column for select {column}")
        return tuple(conditions)

    async def _check(self, filter_: Filter, type_: Type) -> list[str | None]:
        """The filter's value, or each of an `in`, as PostgreSQL writes it in the column's type."""
        op, value = filter_.op, filter_.value
        if op == "is":
            if value not in filters.IS_KEYWORDS:
                raise _CheckError("invalid value for is filter: must be null, true, false, or unknown")
            if value != "null" and type_.name != "bool":
                raise _CheckError(f"is {value} filter requires a boolean column, got {type_.sql}")
            return [value]
        if op == "in":
            query = _OUTPUT.format(f"unnest(%s::text::{type_.sql}[])")
            values = [text for (text,) in await self._database.rows(query, [value])]
            if len(values) > _MAX_IN:
                raise _CheckError("too many values for `in` filter. Maximum 100")
            return values
        if op in {"match", "imatch"}:
            try:
                await self._database.rows("select '' ~ %s::text", [value])
            except psycopg.DataError as error:
                raise _CheckError(f"invalid regular expression for {op} filter: {_message(error)}") from error
        if op in {"like", "ilike", "match", "imatch"}:
            [[fits]] = await self._database.rows(_HAS_OPERATOR, [_PATTERN_OPERATORS[op], type_.sql, type_.sql])
            if not fits:
                raise _CheckError(f"operator {op} requires a text-compatible column type, got {type_.sql}")
            return [value]
        [[text]] = await self._database.rows(_OUTPUT.format(f"%s::text::{type_.sql}"), [value])
        return [text]

    async def answers(self, questions: Sequence[Question]) -> list[bool]:
        """Which comparisons hold; NULL does not."""
        if not questions:
            return []
        query = "select " + ", ".join(question.expression for question in questions)
        parameters = [parameter for question in questions for parameter in question.parameters]
        [row] = await self._database.rows(query, parameters)
        return [answer is True for answer in row]

    async def casts(self, values: Sequence[tuple[Type, str]]) -> list[str]:
        """The JSON of values, by PostgreSQL's own cast."""
        if not values:
            return []
        query = "select " + ", ".join(f"to_jsonb(%s::text::{type_.sql})::text" for type_, _ in values)
        [row] = await self._database.rows(query, [text for _, text in values])
        return list(row)

    async def visible(
        self, table: Table, claims: Claims, keys: Sequence[tuple[str, ...]], key_columns: Sequence[str]
    ) -> tuple[set[int], str]:
        """Which rows a role with these claims sees now.

        Args:
            keys: primary keys as texts, in the order of `key_columns`.

        Returns:
            The indexes of the keys that are visible, and PostgreSQL's snapshot at that moment.
        """
        name = (table.relation.schema, table.relation.table)
        arrays = [
            (column, table.types[column].sql, [key[index] for key in keys]) for index, column in enumerate(key_columns)
        ]
        rows = await self._database.rows(visibility.question(name, arrays, json.dumps(dict(claims))))
        return {at - 1 for at, _ in rows if at}, rows[-1][1]


class _CheckError(Exception):
    """What the real server's check of a subscription raises."""


def _exception(binding: Binding, sqlstate: str, message: str) -> str:
    name = psycopg.errors.lookup(sqlstate).__name__
    condition = re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
    return (
        "Unable to subscribe to changes with given parameters. An exception happened so please check your connect"
        f" parameters: [{binding.describe()}]. Exception: ERROR {sqlstate} ({condition}) {message}"
    )


def _message(error: psycopg.Error) -> str:
    return error.diag.message_primary or str(error)


# A value's text as its output function writes it, which the stream has; a cast to text writes booleans otherwise.
_OUTPUT = "select case when value is not null then format('%%s', value) end from (select {} as value) _"
_PATTERN_OPERATORS = {"like": "~~", "ilike": "~~*", "match": "~", "imatch": "~*"}
_HAS_OPERATOR = """
select exists (
  select from pg_operator where oprname = %s and oprresult = 'bool'::regtype
    and oprleft in (%s::regtype, case when %s::regtype = 'varchar'::regtype then 'text'::regtype end)
)
"""
_TABLE = """
select c.relrowsecurity,
       coalesce((select array_agg(a.attname::text) from pg_constraint k
                 join pg_attribute a on a.attrelid = c.oid and a.attnum = any(k.conkey)
                 where k.conrelid = c.oid and k.contype = 'p'), '{}'),
       array_agg(a.attname::text order by a.attnum), array_agg(t.typname::text order by a.attnum)
from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 join pg_type t on t.oid = a.atttypid
where c.oid = %s group by c.oid
"""
_SELECTABLE = """
select attname::text from pg_attribute
where has_column_privilege(%s, attrelid, attnum, 'SELECT') and attrelid = %s and attnum > 0 and not attisdropped
"""
_COLUMN_TYPES = """
select a.attname::text, t.typname::text, t.oid::regtype::text from pg_attribute a join pg_type t on t.oid = a.atttypid
where has_column_privilege(%s::regrole, a.attrelid, a.attnum, 'SELECT') and a.attrelid = %s and a.attnum > 0
"""
_COVERED = """
select format('%%I.%%I', schemaname, tablename)::regclass::oid from pg_publication_tables
where pubname = %(publication)s
  and schemaname like (case %(schema)s when '*' then '%%' else %(schema)s end) escape ''
  and tablename like (case %(table)s when '*' then '%%' else %(table)s end) escape ''
order by 1
"""
