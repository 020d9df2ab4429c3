"""The stand-in's own life: how it stops, and how it dies."""

import asyncio
import logging
from pathlib import Path
from typing import Any

import aiohttp
import psycopg
import pytest

from devstack.errors import DevstackError
from devstack.realtime.pgoutput import Insert
from devstack.realtime.server import StandIn
from devstack.stack import Devstack
from tests.conftest import ROOT, unused_port
from tests.devstack.realtime.clients import RawClient


async def connect(http: aiohttp.ClientSession, server: Any) -> RawClient:
    address = f"{server.url}/realtime/v1/websocket?apikey={server.secret_key}&vsn=2.0.0"
    return RawClient(await http.ws_connect(address))


async def test_told_to_stop_it_closes_every_socket_and_takes_no_more(things: str, serving: Any) -> None:
    async with serving(things) as server, aiohttp.ClientSession() as http:
        answering, silent = await connect(http, server), await connect(http, server)
        assert silent.websocket._response.connection is not None
        silent.websocket._response.connection.transport.pause_reading()
        code, _ = await asyncio.gather(answering.closed(), server.stand_in.stop_serving())
        assert code == 1012
        async with asyncio.timeout(20):
            while server.stand_in.connections:
                await asyncio.sleep(0.005)
        with pytest.raises(aiohttp.ClientConnectionError):
            await connect(http, server)
        silent.websocket._response.close()


async def test_a_bug_is_told_to_all(things: str, serving: Any, caplog: pytest.LogCaptureFixture) -> None:
    async with serving(things) as server, aiohttp.ClientSession() as http:
        client = await connect(http, server)
        await client.ready("room")
        server.stand_in.dispatcher.receive(Insert(relation=0, new=()))  # of a table nobody listens to
        assert await client.heartbeat() == []
        server.stand_in.dispatcher._backlog.append(None)
        server.stand_in.dispatcher._arrived.set()
        with pytest.raises(RuntimeError, match="died of a bug: AttributeError"):
            await asyncio.wait_for(server.stand_in.died(), 20)
        assert await client.closed() == 1006
    assert [record.getMessage()[:20] for record in caplog.records if record.levelno == logging.CRITICAL] == [
        "the stand-in is dead"
    ]


async def test_a_bug_ends_the_devstack(scratch: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ports = {name: unused_port() for name in ("gateway", "database", "studio")}
    async with Devstack(scratch / "bug", ROOT, ports) as stack:
        watching = asyncio.create_task(stack.watch())
        stack.stand_in.dispatcher._backlog.append(None)  # type: ignore[arg-type]
        stack.stand_in.dispatcher._arrived.set()
        with pytest.raises(DevstackError, match="the Realtime stand-in died of a bug: AttributeError"):
            await asyncio.wait_for(watching, 20)


async def test_a_publication_that_is_missing_is_named(database: str) -> None:
    with pytest.raises(ValueError, match="publication: the database has none named 'other'"):
        async with StandIn(database, "s", "p", "k", publication="other"):
            pass


async def test_a_join_waits_for_postgresql(things: str, serving: Any) -> None:
    async with serving(things) as server, aiohttp.ClientSession() as http:
        client = await connect(http, server)
        server.stand_in.stream.interrupt(0.2)
        await client.join("room")
        with psycopg.connect(things, autocommit=True) as sql:
            assert (await client.until("system"))["status"] == "ok"
            sql.execute("insert into rowcast_test_things values (1)")
        assert await client.ids(1) == [1]
