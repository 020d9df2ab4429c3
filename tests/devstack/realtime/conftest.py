"""A stand-in on a real socket, over a database with the recorded tables."""

import contextlib
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import jwt
import psycopg
import pytest
from aiohttp import web

from devstack.realtime.server import StandIn, routes

JWT_SECRET = "a-secret-of-at-least-thirty-two-characters"
PUBLISHABLE = "sb_publishable_test"
SECRET = "sb_secret_test"


@dataclass
class Served:
    """A stand-in and where it listens."""

    stand_in: StandIn
    port: int

    publishable_key = PUBLISHABLE
    secret_key = SECRET

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/realtime/v1"

    def sign(self, role: str | None = "service_role", exp: float | None = 3600, **claims: Any) -> str:
        """A token that expires `exp` seconds from now."""
        if role is not None:
            claims["role"] = role
        if exp is not None:
            claims["exp"] = int(time.time() + exp)
        return jwt.encode(claims, JWT_SECRET, algorithm="HS256")


@contextlib.asynccontextmanager
async def serving(database_url: str, **settings: Any) -> AsyncIterator[Served]:
    """A stand-in over a database, on a free port."""
    settings = {"time_scale": 0.02} | settings
    async with StandIn(database_url, JWT_SECRET, PUBLISHABLE, SECRET, **settings) as stand_in:
        app = web.Application()
        app.add_routes(routes(stand_in))
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            yield Served(stand_in, runner.addresses[0][1])
        finally:
            await runner.cleanup()


@pytest.fixture
def sql(database: str) -> Iterator[psycopg.Connection]:
    """A connection to the test's database, in autocommit, with a published table `things`."""
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(
            "create table things (id int primary key, project uuid, title text);"
            " alter publication supabase_realtime add table things"
        )
        yield connection


@pytest.fixture
async def served(sql: psycopg.Connection, database: str) -> AsyncIterator[Served]:
    async with serving(database) as running:
        yield running
