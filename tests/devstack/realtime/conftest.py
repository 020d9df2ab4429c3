"""A Supabase to test against: our stand-in, or any server that SUPABASE_URL names (docs/devstack.md says how)."""

import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

import jwt
import psycopg
import pytest
from aiohttp import web

from devstack.realtime.control import control_routes
from devstack.realtime.server import StandIn, routes

JWT_SECRET = "a-secret-of-at-least-thirty-two-characters"
PUBLISHABLE, SECRET = "sb_publishable_test", "sb_secret_test"
NAMED = os.environ.get("SUPABASE_URL", "")
THINGS = """
drop table if exists rowcast_test_things;
create table rowcast_test_things (id int primary key, project uuid, title text, amount numeric);
alter table rowcast_test_things enable row level security;
create policy mine on rowcast_test_things for select to authenticated using (project = (select auth.uid()));
grant all on rowcast_test_things to authenticated, service_role;
alter publication supabase_realtime add table rowcast_test_things;
"""


@dataclass(frozen=True)
class Server:
    """A Supabase and what opens it."""

    url: str
    database_url: str
    publishable_key: str
    secret_key: str
    jwt_secret: str
    stand_in: StandIn | None = None
    """Ours, if it is ours."""

    @property
    def realtime_url(self) -> str:
        return self.url.replace("http", "ws", 1) + "/realtime/v1"

    def sign(self, role: str = "service_role", exp: float = 3600, **claims: Any) -> str:
        """An access token that expires `exp` seconds from now."""
        claims |= {"role": role, "exp": int(time.time() + exp), "iat": int(time.time())}
        return jwt.encode(claims, self.jwt_secret, algorithm="HS256")


Serving = Callable[..., AbstractAsyncContextManager[Server]]


@contextlib.asynccontextmanager
async def _serving(database_url: str, **settings: Any) -> AsyncIterator[Server]:
    settings = {"time_scale": 0.02} | settings
    async with StandIn(database_url, JWT_SECRET, PUBLISHABLE, SECRET, **settings) as stand_in:
        app = web.Application()
        app.add_routes([*routes(stand_in), *control_routes(stand_in)])
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            address = f"http://127.0.0.1:{runner.addresses[0][1]}"
            yield Server(address, database_url, PUBLISHABLE, SECRET, JWT_SECRET, stand_in)
        finally:
            await stand_in.stop_serving()
            await runner.cleanup()


@pytest.fixture
def serving() -> Serving:
    """Runs a stand-in with other settings."""
    return _serving


@pytest.fixture
def things(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of the server's database, in which there is a table rowcast_test_things."""
    database_url = os.environ["DATABASE_URL"] if NAMED else request.getfixturevalue("database")
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(THINGS)
        yield database_url
        connection.execute("drop table rowcast_test_things")


@pytest.fixture
async def server(things: str) -> AsyncIterator[Server]:
    """The server under test."""
    if NAMED:
        names = ("SUPABASE_PUBLISHABLE_KEY", "SUPABASE_SECRET_KEY", "SUPABASE_JWT_SECRET")
        yield Server(NAMED, things, *(os.environ[name] for name in names))
    else:
        async with _serving(things) as server:
            yield server


@pytest.fixture
def sql(server: Server) -> Iterator[psycopg.Connection]:
    """A connection to the server's database, in autocommit."""
    with psycopg.connect(server.database_url, autocommit=True) as connection:
        yield connection
