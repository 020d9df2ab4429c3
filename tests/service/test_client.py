"""Questions beyond those under way wait in line, not inside httpcore, and not for ever."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import psutil
import pytest

from service.client import Client

AT_ONCE = 3


class Database:
    """Answers once it is let to."""

    def __init__(self) -> None:
        self.asked = 0
        self.under_way = 0
        self.most = 0
        self.may_answer = asyncio.Event()
        self.is_down = False

    async def answer(self, _: httpx.Request) -> httpx.Response:
        self.asked += 1
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            await self.may_answer.wait()
        finally:
            self.under_way -= 1
        if self.is_down:
            raise httpx.ConnectError("down")
        return httpx.Response(200)

    async def has(self, under_way: int) -> None:
        async with asyncio.timeout(10):
            while self.under_way != under_way:
                await asyncio.sleep(0)


@pytest.fixture
def database() -> Database:
    return Database()


@pytest.fixture
async def client(database: Database) -> AsyncIterator[Client]:
    async with Client(AT_ONCE, transport=httpx.MockTransport(database.answer)) as client:
        yield client


def ask(client: Client) -> asyncio.Task[httpx.Response]:
    return asyncio.create_task(client.get("http://database.test"))


async def test_no_more_than_so_many_are_under_way_and_all_are_answered(client: Client, database: Database) -> None:
    asked = [ask(client) for _ in range(20)]
    await database.has(under_way=AT_ONCE)
    database.may_answer.set()
    assert [answer.status_code for answer in await asyncio.gather(*asked)] == [200] * 20
    assert (database.asked, database.most) == (20, AT_ONCE)


async def test_a_question_that_fails_or_is_given_up_gives_its_place_back(client: Client, database: Database) -> None:
    given_up = [ask(client) for _ in range(AT_ONCE + 1)]
    await database.has(under_way=AT_ONCE)
    for task in given_up:
        task.cancel()
    await asyncio.gather(*given_up, return_exceptions=True)
    database.is_down = True
    database.may_answer.set()
    for _ in range(AT_ONCE + 1):
        with pytest.raises(httpx.ConnectError):
            await ask(client)
    database.is_down = False
    database.may_answer.clear()
    asked = [ask(client) for _ in range(AT_ONCE)]
    await database.has(under_way=AT_ONCE)
    database.may_answer.set()
    await asyncio.gather(*asked)


async def test_who_waits_too_long_is_told_so(database: Database) -> None:
    async with Client(1, seconds=0.01, transport=httpx.MockTransport(database.answer)) as client:
        first = ask(client)
        await database.has(under_way=1)
        with pytest.raises(httpx.PoolTimeout, match="too many questions are waiting"):
            await ask(client)
        assert database.asked == 1
        database.may_answer.set()
        await first
        assert (await ask(client)).status_code == 200


async def test_who_leaves_while_old_connections_are_closed_leaves_none_open() -> None:
    async def answer_and_leave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        await asyncio.sleep(0.01)  # so that the answers overlap, each on a connection of its own
        writer.close()
        await writer.wait_closed()

    serving: set[asyncio.Task[None]] = set()

    def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.add(asyncio.create_task(answer_and_leave(reader, writer)))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]

    def left_open() -> int:
        mine = (one for one in psutil.Process().net_connections("tcp") if one.raddr and one.raddr.port == port)
        return sum(one.status == psutil.CONN_CLOSE_WAIT for one in mine)

    async with server, Client() as client:
        url = f"http://127.0.0.1:{port}/"
        await asyncio.gather(*(client.get(url) for _ in range(10)))
        while left_open() < 10:
            await asyncio.sleep(0.01)
        asking = asyncio.ensure_future(client.get(url))
        await asyncio.sleep(0)
        asking.cancel()
        await asyncio.wait([asking])
        await client.get(url)
        assert left_open() == 0
    await asyncio.gather(*serving)


@pytest.mark.parametrize("answers", [True, False], ids=["answered", "never answered"])
async def test_no_question_outlives_the_client(database: Database, answers: bool) -> None:
    before = asyncio.all_tasks()
    async with Client(AT_ONCE, transport=httpx.MockTransport(database.answer)) as client:
        asking = ask(client)
        await database.has(under_way=1)
        asking.cancel()
        await asyncio.wait([asking])
        assert database.under_way == 1
        if answers:
            database.may_answer.set()
    assert database.under_way == 0
    assert asyncio.all_tasks() == before
