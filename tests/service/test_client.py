"""Questions beyond those under way wait in line, not for ever, and leave nothing behind, whoever gives up on them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import httpx
import psutil
import pytest
from aiohttp import web

from service.client import Client, environment_proxy
from service.errors import SettingsError
from tests.conftest import unused_port

AT_ONCE = 3


class Database:
    """A server that answers once it is let to."""

    def __init__(self) -> None:
        self.url = ""
        self.asked = 0
        self.under_way = 0
        self.most = 0
        self.may_answer = asyncio.Event()

    async def answer(self, request: web.Request) -> web.Response:
        self.asked += 1
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            await self.may_answer.wait()
        finally:
            self.under_way -= 1
        response = web.Response()
        if "last" in request.query:
            response.force_close()
        return response

    async def has(self, under_way: int) -> None:
        async with asyncio.timeout(10):
            while self.under_way != under_way:
                await asyncio.sleep(0.001)

    def connections(self) -> int:
        """How many of this process lead to it, in whatever state."""
        port = httpx.URL(self.url).port
        return sum(bool(one.raddr) and one.raddr.port == port for one in psutil.Process().net_connections("tcp"))


@pytest.fixture
async def database() -> AsyncIterator[Database]:
    database = Database()
    app = web.Application()
    app.router.add_get("/", database.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0, handler_cancellation=True)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        database.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield database
    finally:
        await runner.cleanup()


@pytest.fixture
async def ask(database: Database) -> AsyncIterator[Callable[[], asyncio.Task[httpx.Response]]]:
    async with Client(AT_ONCE) as client:
        yield lambda: asyncio.create_task(client.get(database.url))


Ask = Callable[[], asyncio.Task[httpx.Response]]


async def test_no_more_than_so_many_are_under_way_and_all_are_answered(ask: Ask, database: Database) -> None:
    asked = [ask() for _ in range(20)]
    await database.has(under_way=AT_ONCE)
    database.may_answer.set()
    assert [answer.status_code for answer in await asyncio.gather(*asked)] == [200] * 20
    assert (database.asked, database.most) == (20, AT_ONCE)


async def test_a_question_that_is_given_up_gives_its_place_back_and_leaves_no_connection(
    ask: Ask, database: Database
) -> None:
    given_up = [ask() for _ in range(20)]
    await database.has(under_way=AT_ONCE)
    for task in given_up:
        task.cancel()
    await asyncio.wait(given_up)
    await database.has(under_way=0)
    asked = [ask() for _ in range(AT_ONCE)]
    await database.has(under_way=AT_ONCE)
    assert database.connections() == AT_ONCE
    database.may_answer.set()
    await asyncio.gather(*asked)


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_nothing_is_asked_twice(method: str) -> None:
    """A ticket that was spent by a question whose answer was lost would seem to have been spent by somebody else."""
    asked: list[bytes] = []

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append((await reader.readuntil(b"\r\n\r\n")).split()[0])
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server, Client(AT_ONCE) as client:
        host, port = server.sockets[0].getsockname()
        with pytest.raises(httpx.HTTPError):
            await client.request(method, f"http://{host}:{port}")
    assert asked == [method.encode()]


async def test_who_waits_too_long_is_told_so(database: Database) -> None:
    async with Client(1, seconds=0.1) as client:
        first = asyncio.create_task(client.get(database.url, timeout=30))
        await database.has(under_way=1)
        with pytest.raises(httpx.TimeoutException):
            await client.get(database.url)
        assert database.asked == 1
        database.may_answer.set()
        await first
        assert (await client.get(database.url)).status_code == 200


async def test_who_leaves_while_old_connections_are_closed_leaves_none_open(database: Database) -> None:
    database.may_answer.set()
    async with Client() as client:
        await asyncio.gather(*(client.get(database.url, params={"last": "1"}) for _ in range(10)))
        asking = asyncio.ensure_future(client.get(database.url))
        await asyncio.sleep(0)
        asking.cancel()
        await asyncio.wait([asking])
        await client.get(database.url)
        assert database.connections() == 1


async def test_the_end_leaves_no_question_and_no_connection(database: Database) -> None:
    before = asyncio.all_tasks()
    async with Client(AT_ONCE) as client:
        asking = [asyncio.create_task(client.get(database.url)) for _ in range(AT_ONCE + 1)]
        await database.has(under_way=AT_ONCE)
        for task in asking:
            task.cancel()
        await asyncio.wait(asking)
    await database.has(under_way=0)
    assert database.connections() == 0
    assert asyncio.all_tasks() <= before


Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def saying(what: bytes) -> AsyncIterator[str]:
    """The address of a server that says the same to everybody, and hangs up."""
    serving: set[asyncio.Task[None]] = set()

    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(what)
        writer.close()
        await writer.wait_closed()

    def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.add(asyncio.create_task(say(reader, writer)))

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    await asyncio.gather(*serving)


@pytest.mark.parametrize(
    "what",
    [
        b"",
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 999999 Odd\r\n\r\n",
        b"HTTP/1.1 200 \xff\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nnope",
    ],
)
async def test_an_answer_that_is_none_is_an_error_of_http(what: bytes) -> None:
    async with saying(what) as url, Client() as client:
        with pytest.raises(httpx.HTTPError):
            await client.get(url)


async def test_a_question_after_the_end_is_an_error_of_http(database: Database) -> None:
    database.may_answer.set()
    transport = Client()._transport
    request = httpx.Request("GET", database.url)
    assert (await transport.handle_async_request(request)).status_code == 200
    await transport.aclose()
    with pytest.raises(httpx.TransportError):
        await transport.handle_async_request(request)


async def test_nobody_there_is_an_error_of_http() -> None:
    async with Client() as client:
        with pytest.raises(httpx.HTTPError):
            await client.get(f"http://127.0.0.1:{unused_port()}")


@pytest.fixture
def proxies(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment without a word about proxies."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return monkeypatch


async def test_questions_take_the_way_that_the_environment_prescribes(proxies: pytest.MonkeyPatch) -> None:
    asked = []

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append((await reader.readuntil(b"\r\n\r\n")).splitlines()[0])
        writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(relay, "127.0.0.1", 0) as server:
        proxies.setenv("HTTP_PROXY", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        async with Client(proxy=environment_proxy("http://supabase.test:1234")) as client:
            assert (await client.get("http://supabase.test:1234/a?b=c")).status_code == 204
    assert asked == [b"GET http://supabase.test:1234/a?b=c HTTP/1.1"]


@pytest.mark.parametrize("exempt", ["supabase.test", ".test", "*", "supabase.test:1234"])
def test_or_the_straight_one(proxies: pytest.MonkeyPatch, exempt: str) -> None:
    assert environment_proxy("http://supabase.test:1234") is None
    proxies.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    assert environment_proxy("https://supabase.test:1234") is None
    assert environment_proxy("http://supabase.test:1234") is not None
    proxies.setenv("NO_PROXY", exempt)
    assert environment_proxy("http://supabase.test:1234") is None


@pytest.mark.parametrize("exempt", ["::1", "[::1]"])
def test_which_may_be_a_number(proxies: pytest.MonkeyPatch, exempt: str) -> None:
    proxies.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    proxies.setenv("NO_PROXY", exempt)
    assert environment_proxy("http://[::1]:54321") is None


@pytest.mark.parametrize(
    ("value", "way"),
    [
        ("proxy.test:3128", "http://proxy.test:3128"),
        ("127.0.0.1:3128", "http://127.0.0.1:3128"),
        ("https://proxy.test:1", "https://proxy.test:1"),
    ],
)
def test_a_proxys_address_may_lack_its_scheme(proxies: pytest.MonkeyPatch, value: str, way: str) -> None:
    proxies.setenv("HTTPS_PROXY", value)
    proxy = environment_proxy("https://supabase.test")
    assert proxy is not None
    assert proxy.url == way


@pytest.mark.parametrize("value", ["socks5://proxy.test:1", "http://", "http://user:geheim@proxy.test:x", "://"])
def test_what_is_no_proxy_is_said_and_not_shown(proxies: pytest.MonkeyPatch, value: str) -> None:
    proxies.setenv("HTTPS_PROXY", value)
    with pytest.raises(SettingsError, match=r"^HTTPS_PROXY .*like http://proxy\.example\.com:3128\.$") as told:
        environment_proxy("https://supabase.test")
    assert "geheim" not in str(told.value)
