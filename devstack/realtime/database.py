"""A connection for questions, opened again after PostgreSQL was away."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.pq import TransactionStatus

# What the replication stream and the questions must agree on: how values look as text.
SESSION = (
    "-c timezone=UTC -c datestyle=ISO -c intervalstyle=postgres -c extra_float_digits=1 -c bytea_output=hex"
    " -c standard_conforming_strings=on"
)
# A network that swallows packets must not hang the stand-in for the operating system's hour.
_KEEPALIVES = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "connect_timeout": 10}


def conninfo(url: str, **more: str) -> str:
    """Connection parameters for the stand-in's own connections."""
    return make_conninfo(url, options=SESSION, application_name="realtime_stand_in", **_KEEPALIVES, **more)


Parameters = Sequence[object] | Mapping[str, object] | None


class Database:
    """Runs one question at a time, in autocommit.

    After a lost connection one question is tried again on a new one; while PostgreSQL is down, questions raise
    psycopg.OperationalError.
    """

    def __init__(self, url: str) -> None:
        self._conninfo = conninfo(url)
        self._connection: psycopg.AsyncConnection[tuple[Any, ...]] | None = None
        self._lock = asyncio.Lock()

    async def rows(self, query: str, parameters: Parameters = None) -> list[tuple[Any, ...]]:
        """The rows of a query; of several statements (then without parameters) those of the last with rows.

        Raises:
            psycopg.Error: PostgreSQL's error, or OperationalError while it can't be reached.
        """
        async with self._lock:
            if self._connection is None:
                return await self._ask(query, parameters)
            try:
                return await self._ask(query, parameters)
            except psycopg.OperationalError:
                if not self._connection.closed:
                    raise
                self._connection = None
                return await self._ask(query, parameters)

    async def _ask(self, query: str, parameters: Parameters) -> list[tuple[Any, ...]]:
        if self._connection is None or self._connection.closed:
            self._connection = await psycopg.AsyncConnection.connect(self._conninfo, autocommit=True)
        try:
            cursor = await self._connection.execute(query.encode(), parameters)
        except psycopg.Error:
            if self._connection.pgconn.transaction_status == TransactionStatus.INERROR:
                await self._connection.rollback()
            raise
        rows: list[tuple[Any, ...]] = []
        while True:
            if cursor.description is not None:
                rows = await cursor.fetchall()
            if not cursor.nextset():
                return rows

    async def close(self) -> None:
        if self._connection is not None:
            await self._connection.close()
            self._connection = None
