"""A client that does not read is cut off, and nobody else notices."""

import asyncio
from typing import Any

import aiohttp
import psycopg
import pytest

from devstack.realtime import connection

BINDING = {"event": "*", "schema": "public", "table": "rowcast_test_things"}
JOIN = ["1", "1", "realtime:room", "phx_join", {"config": {"postgres_changes": [BINDING]}}]
ROWS = 40


async def ready(websocket: aiohttp.ClientWebSocketResponse) -> None:
    await websocket.send_json(JOIN)
    while (frame := await websocket.receive_json(timeout=20))[3] != "system":
        pass
    assert frame[4]["status"] == "ok"


async def test_a_client_that_does_not_read(things: str, serving: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "MAX_QUEUED", 2_000_000)
    async with serving(things) as server, aiohttp.ClientSession() as http:
        address = f"{server.url}/socket/websocket?apikey={server.secret_key}&vsn=2.0.0"
        reading = await http.ws_connect(address)
        await ready(reading)
        first = set(server.stand_in.connections)
        deaf = await http.ws_connect(address)
        await ready(deaf)
        [held] = server.stand_in.connections - first
        assert deaf._response.connection is not None
        deaf._response.connection.transport.pause_reading()
        with psycopg.connect(things, autocommit=True) as sql:
            for number in range(ROWS):
                sql.execute(
                    "insert into rowcast_test_things values (%s, null, repeat(md5(%s), 20000))", [number, str(number)]
                )
                frame = await reading.receive_json(timeout=20)
                assert frame[4]["data"]["record"]["id"] == number
                assert held.queued <= connection.MAX_QUEUED
        async with asyncio.timeout(20):
            while held in server.stand_in.connections:
                await asyncio.sleep(0.01)
        await reading.close()
        deaf._response.close()
