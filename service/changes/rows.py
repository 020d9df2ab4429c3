"""Reads a key's rows out of the tables themselves, for a database that keeps no change log.

Rows are read page by page, each page after the last row of the one before it, so that no row that is there all the time
is missed, however many come and go. They come as ``tables`` has them, with no column that the feed does not tell of.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from service.changes.change import FeedKey, Reader
from service.changes.differ import Row, State
from service.errors import DatabaseRefused, DatabaseUnavailable, Refused
from service.tables import OPTIONAL, REQUIRED, Table, Tables

PAGE = 1000
NO_SUCH_COLUMN = ("42703", "PGRST204")
NO_SUCH_TABLE = ("42P01", "PGRST205")
NO_UUID = ("22P02", "42883")
"""What is said of a type that NOBODYS can't be, or can't be compared with."""
NOBODYS = "00000000-0000-4000-8000-000000000000"
"""A key that no row has."""


class Ask(Protocol):
    """Asks a table, as a reader or, for None, as the service.

    Raises :class:`DatabaseUnavailable` or :class:`Refused`.
    """

    async def __call__(self, table: str, parameters: Mapping[str, str], reader: Reader | None) -> Any: ...


class Rows:
    """``ask`` reaches the database; ``tables`` says what is called how there."""

    def __init__(self, ask: Ask, tables: Tables) -> None:
        self._ask = ask
        self._tables = tables
        self._columns: dict[str, Sequence[str]] = {}  # those of each table that are there, by our names
        self._largest = 0  # page that ever came: a server may give fewer rows than it is asked for, but always as many

    async def check(self) -> None:
        """Returns when every table can be read, and has what it must.

        Raises :class:`DatabaseRefused` saying what any of them has not, or :class:`DatabaseUnavailable`.
        """
        complaints = await asyncio.gather(*(self._complaint(table) for table in self._tables.ours.values()))
        if told := [complaint for complaint in complaints if complaint]:
            raise DatabaseRefused("; ".join(told))

    async def _complaint(self, table: Table) -> str:
        try:
            if table.name not in self._columns or not await self._has(table, "id"):
                await self._find_columns(table)
        except DatabaseRefused as error:
            return str(error)
        return ""

    async def read(self, key: FeedKey) -> State:
        """All rows of the key that its reader may see, oldest first. Raises as :meth:`check`."""
        tables = self._tables.ours.values()
        read = await asyncio.gather(*(self._read(table, key) for table in tables))
        return dict(zip((table.name for table in tables), read, strict=True))

    async def _read(self, table: Table, key: FeedKey) -> Mapping[str, Row]:
        if table.name not in self._columns:
            await self._find_columns(table)
        names = [table.columns[name] for name in self._columns[table.name]]
        id_ = table.columns["id"]
        parameters = {
            "select": ",".join(names),
            table.columns["project_id"]: f"eq.{key.key}",
            "order": f"{id_}.asc",
            "limit": str(PAGE),
        }
        rows: list[Row] = []
        try:
            while True:
                answer = _page(table, await self._ask(table.there, parameters, key.reader))
                page = [row for row in answer if row[id_] is not None]  # a view may have such, the last of all
                rows += [table.row(row) for row in page]
                if not page or len(page) < self._largest:
                    break
                self._largest = len(page)
                parameters = {**parameters, id_: f"gt.{page[-1][id_]}"}
        except Refused as error:
            if error.code in NO_SUCH_COLUMN:
                self._columns.pop(table.name, None)  # somebody has changed the table
            raise
        rows.sort(key=lambda row: (str(row["created_at"]), str(row["id"])))  # whatever types a table has there
        return {row["id"]: row for row in rows}

    async def _find_columns(self, table: Table) -> None:
        known = (*REQUIRED[table.name], *OPTIONAL[table.name])
        there = known if await self._has(table, *known) else [name for name in known if await self._has(table, name)]
        if missing := [table.columns[name] for name in REQUIRED[table.name] if name not in there]:
            raise DatabaseRefused(f"the table {table.there} has no column {', '.join(missing)} ({_renamed(table)})")
        self._columns[table.name] = there

    async def _has(self, table: Table, *names: str) -> bool:
        columns = ",".join(table.columns[name] for name in names)
        of_nobody = {"project_id": f"eq.{NOBODYS}"} if "project_id" in names else {}
        where = {table.columns[name]: value for name, value in of_nobody.items()}
        try:
            await self._ask(table.there, {"select": columns, **where, "limit": "0"}, None)
        except Refused as error:
            if error.code in NO_SUCH_COLUMN:
                return False
            if error.code in NO_SUCH_TABLE:
                raise DatabaseRefused(f"there is no table {table.there} ({_renamed(table)})") from None
            if error.code in NO_UUID:
                raise DatabaseRefused(f"{table.there}.{table.columns['project_id']} must be a uuid") from None
            raise
        return True


def _renamed(table: Table) -> str:
    return f"if it has another name, say so in ROWCAST_TABLES, under [{table.name}]"


def _page(table: Table, said: Any) -> Sequence[Row]:
    if not isinstance(said, list) or not all(isinstance(row, dict) for row in said):
        raise DatabaseUnavailable(f"{table.there}: not an answer of the database ({str(said)[:200]})")
    return said
