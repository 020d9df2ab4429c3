"""The PyPI client `realtime` as judge of the whole stand-in."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest
from realtime import AsyncRealtimeClient

P1 = "11111111-1111-4111-8111-111111111111"
P2 = "22222222-2222-4222-8222-222222222222"


class Listener:
    """One channel of the PyPI client, its callbacks as queues."""

    def __init__(self, client: AsyncRealtimeClient, topic: str) -> None:
        self.channel = client.channel(topic)
        self.changes: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.ready: asyncio.Queue[Any] = asyncio.Queue()
        self.channel.on_system(self.ready.put_nowait)

    async def subscribe(self, **binding: Any) -> None:
        self.channel.on_postgres_changes("*", callback=self.changes.put_nowait, schema="public", **binding)
        await self.channel.subscribe()
        await asyncio.wait_for(self.ready.get(), 5)

    async def next(self) -> dict[str, Any]:
        change = await asyncio.wait_for(self.changes.get(), 5)
        return change["data"]


@pytest.fixture
async def client(served) -> AsyncIterator[AsyncRealtimeClient]:
    client = AsyncRealtimeClient(served.url, served.secret_key)
    await client.connect()
    yield client
    await client.close()


async def test_a_change_that_matches_arrives_and_others_do_not(
    client: AsyncRealtimeClient, sql: psycopg.Connection
) -> None:
    listener = Listener(client, "room")
    await listener.subscribe(table="things", filter=f"project=eq.{P1}")
    sql.execute("insert into things values (1, %s, 'other'), (2, %s, 'mine')", [P2, P1])
    sql.execute("update things set title = 'still mine' where id = 2")
    first, second = await listener.next(), await listener.next()
    assert (first["type"], first["record"]) == ("INSERT", {"id": 2, "project": P1, "title": "mine"})
    assert (second["type"], second["record"]["title"], second["old_record"]) == ("UPDATE", "still mine", {"id": 2})
