"""Faults asked for over HTTP, and what clients then see."""

import asyncio
import itertools
import json
import signal
import urllib.request
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import psycopg
import pytest

from devstack.realtime.faults import Faults
from tests.conftest import unused_port
from tests.devstack.programs import announced, devstack, ended, started
from tests.devstack.realtime.clients import RawClient


class Console:
    """The control endpoint, and clients of the stand-in it is of."""

    def __init__(self, server: Any, http: aiohttp.ClientSession, stack: AsyncExitStack) -> None:
        self.server = server
        self.url = f"{server.url}/realtime/v1/faults"
        self.http = http
        self._stack = stack

    async def fault(self, kind: str, **fields: Any) -> int:
        """Ask for a fault and return its id."""
        async with self.http.post(self.url, json={"fault": kind, **fields}) as answer:
            assert answer.status == 201, await answer.text()
            return int((await answer.json())["id"])

    async def show(self, id_: int) -> Any:
        async with self.http.get(f"{self.url}/{id_}") as answer:
            return await answer.json()

    async def struck(self, id_: int) -> int:
        return int((await self.show(id_))["struck"])

    async def end(self, id_: int | str = "") -> Any:
        async with self.http.delete(f"{self.url}/{id_}".rstrip("/")) as answer:
            assert answer.status == 200
            return await answer.json()

    async def connect(self) -> RawClient:
        address = f"{self.server.url}/realtime/v1/websocket?apikey={self.server.secret_key}&vsn=2.0.0"
        return RawClient(await self._stack.enter_async_context(self.http.ws_connect(address)))


@pytest.fixture
async def console(things: str, serving: Any) -> AsyncIterator[Console]:
    async with (
        serving(things, faults=Faults()) as server,
        aiohttp.ClientSession() as http,
        AsyncExitStack() as stack,
    ):
        yield Console(server, http, stack)


@pytest.fixture
def sql(things: str) -> Any:
    with psycopg.connect(things, autocommit=True) as connection:
        yield connection


def insert(sql: psycopg.Connection, *ids: int) -> None:
    """Each in a transaction of its own."""
    for id_ in ids:
        sql.execute("insert into rowcast_test_things values (%s)", [id_])


async def test_without_faults_there_is_no_endpoint(things: str, serving: Any) -> None:
    async with serving(things) as server, aiohttp.ClientSession() as http:
        for method in ("GET", "POST", "DELETE"):
            async with http.request(method, f"{server.url}/realtime/v1/faults", json={"fault": "drop"}) as answer:
                assert answer.status == 404


def test_a_devstack_has_the_endpoint_when_started_with_it(scratch: Path) -> None:
    ports = [f"--{name}-port={unused_port()}" for name in ("gateway", "database", "studio")]
    with started(devstack(scratch / "faults", "--faults", *ports)) as process:
        url = announced(process)["SUPABASE_URL"]
        with urllib.request.urlopen(f"{url}/realtime/v1/faults") as answer:
            assert json.load(answer) == {"faults": [], "struck": {}}
        assert ended(process, signal.SIGTERM) == (0, "")


async def test_faults_are_listed_with_how_often_they_struck(console: Console, sql: psycopg.Connection) -> None:
    client = await console.connect()
    await client.ready("room")
    first, second = await console.fault("drop", topic="room", count=1), await console.fault("mute", seconds=60)
    insert(sql, 1, 2)
    while await console.struck(second) < 1:
        await asyncio.sleep(0.01)
    async with console.http.get(console.url) as answer:
        listed = await answer.json()
    assert [(fault["id"], fault["struck"], fault["active"]) for fault in listed["faults"]] == [
        (first, 1, False),
        (second, 1, True),
    ]
    assert listed["struck"] == {"drop": 1, "mute": 1}
    assert await console.end(second) == listed["faults"][1] | {"active": False}
    assert [fault["id"] for fault in (await console.end())["faults"]] == [first]
    async with console.http.get(console.url) as answer:
        assert await answer.json() == {"faults": [], "struck": {"drop": 1, "mute": 1}}


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"json": {"fault": "drop", "probability": 2}}, 400, "probability"),
        ({"json": {"fault": "nothing"}}, 400, "fault"),
        ({"json": ["drop"]}, 400, "fault"),
        ({"data": b"{", "headers": {"Content-Type": "application/json"}}, 400, "body"),
        ({"data": b"\xff", "headers": {"Content-Type": "application/json"}}, 400, "body"),
        ({"data": b'{"fault": "drop"}'}, 415, "Content-Type"),
    ],
)
async def test_bad_requests_name_the_field(console: Console, body: Any, status: int, field: str) -> None:
    async with console.http.post(console.url, **body) as answer:
        told = await answer.json()
        assert (answer.status, told["field"]) == (status, field)
        assert told["error"].startswith(f"{field}: ")


async def test_no_such_fault(console: Console) -> None:
    for method in ("GET", "DELETE"):
        async with console.http.request(method, f"{console.url}/99") as answer:
            assert (answer.status, (await answer.json())["field"]) == (404, "id")


@pytest.mark.parametrize(
    ("kind", "fields", "frames"),
    [
        ("drop", {"count": 2}, [("two", 1), ("two", 2), ("one", 3), ("two", 3)]),
        ("delay", {"count": 1, "delay": 1}, [("two", 1), ("two", 2), ("two", 3), ("one", 1), ("one", 2), ("one", 3)]),
    ],
)
async def test_frames_of_one_channel_are_lost_or_late(
    console: Console, sql: psycopg.Connection, kind: str, fields: Any, frames: Any
) -> None:
    client = await console.connect()
    await client.ready("one", "two")
    await console.fault(kind, topic="one", **fields)
    insert(sql, 1, 2, 3)
    came = [await client.next() for _ in frames]
    assert [(topic, payload["data"]["record"]["id"]) for topic, _, payload in came] == frames


async def test_duplicated_and_reordered_frames(console: Console, sql: psycopg.Connection) -> None:
    client = await console.connect()
    await client.ready("room")
    await console.fault("duplicate", count=1, copies=3)
    insert(sql, 1)
    assert await client.ids(3) == [1, 1, 1]
    await console.fault("reorder", count=1, behind=2)
    insert(sql, 2, 3, 4, 5)
    assert await client.ids(4) == [3, 4, 2, 5]
    await console.fault("reorder", count=1, wait=0.05)
    insert(sql, 6)
    assert await client.ids(1) == [6]


async def test_what_is_held_back_of_a_channel_goes_with_it(console: Console, sql: psycopg.Connection) -> None:
    client = await console.connect()
    await client.ready("left", "other")
    held = await console.fault("delay", delay=0.2, count=2)
    insert(sql, 1)
    while await console.struck(held) < 2:
        await asyncio.sleep(0.01)
    await client.push("realtime:left", "phx_leave", {}, "left")
    await client.until("phx_close")
    assert (await client.next())[0] == "other"
    assert await client.heartbeat() == []


async def test_any_event_can_be_struck(console: Console) -> None:
    client = await console.connect()
    await console.fault("drop", event="system", count=1)
    await client.join("room")
    lost = await console.fault("drop", topic="phoenix", event="phx_reply", count=1)
    await client.push("phoenix", "heartbeat", {})
    while not await console.struck(lost):
        await asyncio.sleep(0.01)
    assert await client.heartbeat() == []


async def test_joins_are_refused_and_the_socket_stays(console: Console) -> None:
    client = await console.connect()
    await console.fault("refuse_joins", topic="ro*", reason="ChannelRateLimitReached: Too many channels", count=1)
    refused = await client.join("room")
    assert refused == {"status": "error", "response": {"reason": "ChannelRateLimitReached: Too many channels"}}
    await client.ready("room")


async def test_connections_are_refused(console: Console) -> None:
    await console.fault("refuse_connections", status=503, count=1)
    with pytest.raises(aiohttp.WSServerHandshakeError) as error:
        await console.connect()
    assert error.value.status == 503
    reset = await console.fault("refuse_connections")
    with pytest.raises(aiohttp.ClientConnectionError):
        await console.connect()
    await console.end(reset)
    await (await console.connect()).ready("room")


async def test_sockets_are_closed_with_a_code(console: Console) -> None:
    one, two, idle = [await console.connect() for _ in range(3)]
    await one.ready("one")
    await two.ready("two")
    closed = await console.fault("close", topic="o*", code=4001)
    assert await one.closed() == 4001
    assert (await console.show(closed))["struck"] == 1
    assert await two.heartbeat() == []
    await console.fault("close")
    assert [await two.closed(), await idle.closed()] == [1012, 1012]


async def test_sockets_are_cut(console: Console) -> None:
    client = await console.connect()
    await client.ready("room")
    await console.fault("close", code=1006)
    assert await client.closed() == 1006


async def test_deaf_channels_stay_joined_until_they_join_anew(console: Console, sql: psycopg.Connection) -> None:
    client = await console.connect()
    await client.ready("deaf", "hearing")
    assert await console.struck(await console.fault("deaf", topic="deaf")) == 1
    insert(sql, 1)
    assert (await client.next())[0] == "hearing"
    token = {"access_token": console.server.sign()}
    await client.push("realtime:deaf", "access_token", token, "deaf")
    assert (await client.until("system"))["status"] == "ok"
    insert(sql, 2)
    assert (await client.next())[0] == "hearing"
    assert await client.heartbeat() == []
    await client.join("deaf")
    await client.until("system")
    insert(sql, 3)
    assert {(await client.next())[0] for _ in range(2)} == {"deaf", "hearing"}


async def test_a_mute_tells_nobody(console: Console, sql: psycopg.Connection) -> None:
    client = await console.connect()
    await client.ready("room")
    mute = await console.fault("mute")
    insert(sql, 1, 2)
    while await console.struck(mute) < 2:
        await asyncio.sleep(0.01)
    assert await client.heartbeat() == []
    await console.end(mute)
    insert(sql, 3)
    assert await client.ids(1) == [3]


async def test_a_burst_is_delivered_and_mutes(console: Console, sql: psycopg.Connection) -> None:
    client = await console.connect()
    await client.ready("room")
    limited = await console.fault("rate_limit", per_second=10, window=2)
    sql.execute("insert into rowcast_test_things select generate_series(1, 50)")
    assert await client.ids(50) == list(range(1, 51))
    lost, heard = 0, [0]
    for id_ in itertools.count(51):
        if lost and heard[-1] > lost:
            break
        insert(sql, id_)
        heard += [row for _, row in await client.heartbeat()]
        lost = lost or (id_ if await console.struck(limited) else 0)
    assert lost not in heard
    assert heard == sorted(heard)


async def test_a_restart_loses_what_comes_meanwhile(console: Console, sql: psycopg.Connection) -> None:
    client = await console.connect()
    await client.ready("room")
    insert(sql, 1)
    assert await client.ids(1) == [1]
    await console.fault("restart", seconds=0.6)
    insert(sql, 2)
    await client.join("second")  # told to be ready when changes flow again
    await client.until("system")
    insert(sql, 3)
    frames = [await client.next() for _ in range(2)]
    assert [(topic, payload["data"]["record"]["id"]) for topic, _, payload in frames] == [("room", 3), ("second", 3)]


async def test_a_killed_server_comes_back_cold(console: Console, sql: psycopg.Connection) -> None:
    client = await console.connect()
    await client.ready("room")
    killed = await console.fault("kill", seconds=0.5, warm_up=1)
    assert await client.closed() == 1006
    with pytest.raises(aiohttp.ClientConnectionError):
        await console.connect()
    while (await console.show(killed))["active"]:
        await asyncio.sleep(0.01)
    back = await console.connect()
    assert (await back.join("room"))["status"] == "ok"
    insert(sql, 1)
    await back.until("system")
    insert(sql, 2)
    assert await back.ids(1) == [2]
    assert await console.struck(killed) == 1


async def test_a_server_told_to_stop_says_so(console: Console) -> None:
    client = await console.connect()
    await console.fault("kill", code=1012, seconds=0.1)
    assert await client.closed() == 1012
