"""The stream over a real PostgreSQL: it survives losing its connection, and can be held back."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest

from devstack.realtime.pgoutput import Begin, Commit, Delete, Insert, Message, Relation, Update
from devstack.realtime.replication import Stream


class Tap:
    """Everything a stream said."""

    def __init__(self, database_url: str) -> None:
        self.messages: list[Message] = []
        self.lost = 0
        self._arrived = asyncio.Event()
        self.stream = Stream(database_url, "supabase_realtime", self._take, self._lose)

    def _take(self, message: Message) -> None:
        self.messages.append(message)
        self._arrived.set()

    def _lose(self) -> None:
        self.lost += 1
        self._arrived.set()

    async def until(self, count: int, kind: type[Any] = Insert) -> list[Any]:
        async with asyncio.timeout(20):
            while len(found := [message for message in self.messages if isinstance(message, kind)]) < count:
                self._arrived.clear()
                await self._arrived.wait()
        return found


@pytest.fixture
async def tap(things: str) -> AsyncIterator[Tap]:
    tap = Tap(things)
    task = asyncio.create_task(tap.stream.run())
    async with asyncio.timeout(20):
        await tap.stream.live.wait()
    yield tap
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


@pytest.fixture
def writer(things: str) -> Any:
    with psycopg.connect(things, autocommit=True) as connection:
        yield connection


async def test_a_transaction_comes_whole_and_in_order_and_a_rollback_not_at_all(tap: Tap, writer: Any) -> None:
    with writer.transaction(force_rollback=True):
        writer.execute("insert into rowcast_test_things values (0)")
    with writer.transaction():
        writer.execute("insert into rowcast_test_things values (1), (2)")
        writer.execute("update rowcast_test_things set title = 'x' where id = 1")
        writer.execute("delete from rowcast_test_things where id = 2")
    await tap.until(1, Commit)
    assert [type(message) for message in tap.messages] == [Begin, Relation, Insert, Insert, Update, Delete, Commit]
    assert [message.new[0] for message in tap.messages if isinstance(message, Insert)] == ["1", "2"]


async def test_reads_nothing_while_paused(tap: Tap, writer: Any) -> None:
    tap.stream.pause()
    writer.execute("insert into rowcast_test_things values (1)")
    writer.execute("select pg_stat_force_next_flush()")
    assert tap.messages == []
    tap.stream.resume()
    await tap.until(1)


async def test_comes_back_after_its_connection_was_ended(tap: Tap, writer: Any) -> None:
    writer.execute("insert into rowcast_test_things values (1)")
    await tap.until(1)
    ended = writer.execute(
        "select count(*) from (select pg_terminate_backend(active_pid) from pg_replication_slots"
        " where database = current_database()) _"
    ).fetchone()
    assert ended == (1,)
    async with asyncio.timeout(20):
        while tap.lost == 0 or not tap.stream.live.is_set():
            await asyncio.sleep(0.01)
    writer.execute("insert into rowcast_test_things values (2)")
    assert [message.new[0] for message in await tap.until(2)] == ["1", "2"]


async def test_leaves_no_slot_behind(things: str, writer: Any) -> None:
    task = asyncio.create_task((tap := Tap(things)).stream.run())
    async with asyncio.timeout(20):
        await tap.stream.live.wait()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    slots = writer.execute("select count(*) from pg_replication_slots where database = current_database()").fetchone()
    assert slots == (0,)
