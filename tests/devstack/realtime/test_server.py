"""The official clients as judges: `realtime` from PyPI here, @supabase/supabase-js in test_javascript.py.

These run against any Supabase that SUPABASE_URL names; what needs the stand-in itself is in test_stand_in.py.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import psycopg
import pytest
from realtime import AsyncRealtimeChannel, AsyncRealtimeClient, RealtimeSubscribeStates

P1 = "11111111-1111-4111-8111-111111111111"
P2 = "22222222-2222-4222-8222-222222222222"


class Listener:
    """One channel of the client, its callbacks as queues."""

    def __init__(self, client: AsyncRealtimeClient, topic: str) -> None:
        self.channel: AsyncRealtimeChannel = client.channel(topic)
        self.changes: asyncio.Queue[Any] = asyncio.Queue()
        self.ready: asyncio.Queue[Any] = asyncio.Queue()
        self.states: asyncio.Queue[RealtimeSubscribeStates] = asyncio.Queue()
        self.channel.on_system(self.ready.put_nowait)

    async def subscribe(self, **binding: Any) -> None:
        """Subscribe, and wait until changes flow."""
        await self.join(**binding)
        await asyncio.wait_for(self.ready.get(), 15)

    async def join(self, event: Any = "*", **binding: Any) -> None:
        binding = {"schema": "public", "table": "rowcast_test_things"} | binding
        self.channel.on_postgres_changes(event, callback=self.changes.put_nowait, **binding)
        await self.channel.subscribe(lambda state, _: self.states.put_nowait(state))

    async def next(self) -> Any:
        change = await asyncio.wait_for(self.changes.get(), 15)
        return change["data"]


Connect = Callable[[str], Any]


@pytest.fixture
async def connect(server: Any) -> AsyncIterator[Connect]:
    clients: list[AsyncRealtimeClient] = []

    async def connect(key: str) -> AsyncRealtimeClient:
        client = AsyncRealtimeClient(server.realtime_url, key, max_retries=1)
        clients.append(client)
        await client.connect()
        return client

    yield connect
    for client in clients:
        await client.close()


async def test_a_filter_lets_its_rows_through_and_no_others(
    connect: Connect, server: Any, sql: psycopg.Connection
) -> None:
    listener = Listener(await connect(server.secret_key), "room")
    await listener.subscribe(filter=f"project=eq.{P1}")
    sql.execute("insert into rowcast_test_things values (1, %s, 'other', 1), (2, %s, 'mine', 1.50)", [P2, P1])
    first = await listener.next()
    sql.execute("update rowcast_test_things set title = 'still mine' where id = 2")
    second = await listener.next()
    sql.execute("delete from rowcast_test_things")
    sql.execute("insert into rowcast_test_things values (3, %s)", [P1])
    third = await listener.next()
    assert (first["type"], first["table"], first["schema"]) == ("INSERT", "rowcast_test_things", "public")
    assert first["record"] == {"id": 2, "project": P1, "title": "mine", "amount": 1.5}
    assert (second["record"]["title"], second["old_record"]) == ("still mine", {"id": 2})
    assert third["record"]["id"] == 3, "a DELETE whose identity lacks the column does not pass the filter"


async def test_every_channel_hears_a_change_once_with_all_its_bindings(
    connect: Connect, server: Any, sql: psycopg.Connection
) -> None:
    client = await connect(server.secret_key)
    one, two = Listener(client, "one"), Listener(client, "two")
    one.channel.on_postgres_changes("INSERT", one.changes.put_nowait, schema="public", table="rowcast_test_things")
    await one.subscribe()
    await two.subscribe(event="DELETE")
    sql.execute("insert into rowcast_test_things values (1)")
    # The client calls back for each binding that the frame's ids name.
    assert [(await one.next())["type"] for _ in range(2)] == ["INSERT", "INSERT"]
    sql.execute("delete from rowcast_test_things")
    assert (await one.next())["type"] == "DELETE"
    assert (await two.next())["type"] == "DELETE"
    assert one.changes.empty()
    assert two.changes.empty()


async def test_row_security_hides_the_rows_of_others(connect: Connect, server: Any, sql: psycopg.Connection) -> None:
    client = await connect(server.publishable_key)
    await client.set_auth(server.sign("authenticated", sub=P1))
    listener = Listener(client, "mine")
    await listener.subscribe()
    sql.execute("insert into rowcast_test_things values (1, %s), (2, %s)", [P2, P1])
    assert (await listener.next())["record"]["id"] == 2


async def test_without_a_token_the_api_key_counts(connect: Connect, server: Any, sql: psycopg.Connection) -> None:
    nobody = Listener(await connect(server.publishable_key), "nobody")
    service = Listener(await connect(server.secret_key), "service")
    await nobody.subscribe()
    await service.subscribe()
    sql.execute("insert into rowcast_test_things values (1)")
    assert (await service.next())["record"]["id"] == 1
    # A DELETE is not checked: it comes to everyone, and here tells that the INSERT did not.
    sql.execute("delete from rowcast_test_things")
    refused = await asyncio.wait_for(nobody.changes.get(), 15)
    assert refused["data"]["type"] == "DELETE"


async def test_a_new_token_is_answered_with_readiness_again(
    connect: Connect, server: Any, sql: psycopg.Connection
) -> None:
    client = await connect(server.publishable_key)
    await client.set_auth(server.sign("authenticated", sub=P2))
    listener = Listener(client, "refreshed")
    await listener.subscribe()
    await client.set_auth(server.sign("authenticated", sub=P1, exp=3000))
    await asyncio.wait_for(listener.ready.get(), 15)
    sql.execute("insert into rowcast_test_things values (1, %s), (2, %s)", [P2, P1])
    assert (await listener.next())["record"]["id"] == 2


async def test_a_token_that_expires_ends_the_channel(connect: Connect, server: Any) -> None:
    client = await connect(server.publishable_key)
    await client.set_auth(server.sign("authenticated", sub=P1, exp=2))
    listener = Listener(client, "short")
    await listener.join()
    states = [await asyncio.wait_for(listener.states.get(), 15) for _ in range(3)]
    assert states[0] == RealtimeSubscribeStates.SUBSCRIBED
    assert RealtimeSubscribeStates.CLOSED in states


async def test_an_unknown_table_is_joined_and_then_refused(connect: Connect, server: Any) -> None:
    listener = Listener(await connect(server.secret_key), "unknown")
    await listener.join(table="rowcast_no_such_table")
    states = [await asyncio.wait_for(listener.states.get(), 15) for _ in range(2)]
    assert states == [RealtimeSubscribeStates.SUBSCRIBED, RealtimeSubscribeStates.CHANNEL_ERROR]


async def test_a_bad_key_can_not_connect(connect: Connect, server: Any) -> None:
    with pytest.raises(Exception, match=r"HTTP 40[13]"):
        await connect("not-a-key")


async def test_a_channel_left_hears_nothing_and_can_be_joined_again(
    connect: Connect, server: Any, sql: psycopg.Connection
) -> None:
    client = await connect(server.secret_key)
    other, first = Listener(client, "other"), Listener(client, "room")
    await other.subscribe()
    await first.subscribe()
    await first.channel.unsubscribe()
    sql.execute("insert into rowcast_test_things values (1)")
    await other.next()
    again = Listener(client, "room")
    await again.subscribe()
    sql.execute("insert into rowcast_test_things values (2)")
    assert (await again.next())["record"]["id"] == 2
    assert first.changes.empty()
