"""However and whenever a page goes away, its place is given back: real sockets against hypercorn, in this process."""

import asyncio
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from hypercorn.asyncio import serve
from quart import Quart

from service import http1
from service.app import create_app, drain
from service.feeds import hub as hubs
from service.pipeline import Pipeline
from service.server import configuration
from service.settings import Settings
from tests.conftest import StackFacts, unused_port
from tests.service.conftest import Project, service_environment
from tests.service.connections import Reader, address, request, stopped_reader
from tests.service.fakes import until
from tests.service.pages import opened
from tests.service.proxy import faulty_proxy
from tests.service.test_metrics import samples

OF_REALTIME = "AsyncPush.start_timeout.<locals>.timeout"
"""The client `realtime` lets the timer of its last word on a socket, 10 s, run out."""


def names_of_tasks() -> Counter[str]:
    """What runs in this event loop, beside the test itself."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    names = Counter(getattr(task.get_coro(), "__qualname__", "") for task in tasks)
    del names[OF_REALTIME]
    return names


@dataclass
class Service:
    """A service whose insides a test can see. ``before`` are the tasks there were before anybody came."""

    url: str
    app: Quart
    running: Pipeline
    before: Counter[str]

    @property
    def viewers(self) -> int:
        return self.running.services.hub.viewers

    def left_over(self) -> Counter[str]:
        return names_of_tasks() - self.before

    async def has_no_streams(self) -> None:
        """Returns once no viewer, topic or opening is left, and no place is taken."""
        hub, limits = self.running.services.hub, self.running.services.limits
        await until(lambda: hub.viewers == 0 and not hub._topics and not hub._opening)
        await until(lambda: not limits._taken)
        told = samples(self.running.metrics.exposition().decode())
        assert {value for name, value in told.items() if name.startswith("rowcast_streams_open{")} <= {0}

    async def has_nothing_left(self) -> None:
        """Returns once no task is left of any stream either."""
        await self.has_no_streams()
        await until(lambda: not self.left_over())


@asynccontextmanager
async def serving(stack: StackFacts, **variables: str) -> AsyncIterator[Service]:
    """In this process and event loop. What has no viewers is not followed, and nothing prunes."""
    here = {"ROWCAST_LINGER_SECONDS": "0", "ROWCAST_RETENTION_DAYS": "0"}
    app = create_app(Settings.from_environment({**service_environment(stack), **here, **variables}))
    url = f"http://127.0.0.1:{unused_port()}"
    stop = asyncio.Event()
    server_configuration = configuration(None, url.removeprefix("http://"), 30)
    server_configuration.keep_alive_timeout = 1.0  # for so long hypercorn keeps the tasks of a connection that has gone

    async def run() -> None:
        http1.install()
        await serve(app, server_configuration, shutdown_trigger=stop.wait)

    server = asyncio.create_task(run())
    try:
        await until_listening(url)
        await until(lambda: not any("_server_callback" in name for name in names_of_tasks()))
        yield Service(url, app, app.extensions["rowcast"][0], names_of_tasks())
    finally:
        stop.set()
        await server


async def until_listening(url: str) -> None:
    while True:
        try:
            reader, writer = await asyncio.open_connection(*address(url))
        except ConnectionRefusedError:
            await asyncio.sleep(0.01)
            continue
        writer.write(b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        await reader.read()
        writer.close()
        return


@pytest.fixture(autouse=True)
def impatient_topics(monkeypatch: pytest.MonkeyPatch) -> None:
    """A topic waits only a moment for those who asked for it."""
    monkeypatch.setattr(hubs, "CLAIM_SECONDS", 0.2)


@pytest.fixture
async def service(stack: StackFacts) -> AsyncIterator[Service]:
    async with serving(stack) as service:
        yield service


class Held:
    """Holds back every call of a method whose arguments are ``wanted``, from now on until ``go``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, owner: object, name: str, wanted: Callable[..., bool]) -> None:
        self.asked, self.go = asyncio.Event(), asyncio.Event()
        method: Callable[..., Awaitable[Any]] = getattr(owner, name)

        async def held(*arguments: Any, **named: Any) -> Any:
            if wanted(*arguments):
                self.asked.set()
                await self.go.wait()
            return await method(*arguments, **named)

        monkeypatch.setattr(owner, name, held)


def path(project: Project, query: str = "") -> str:
    return f"/api/projects/{project.id}/status{query}"


async def asking(service: Service, project: Project, query: str = "", *headers: str) -> asyncio.StreamWriter:
    """A connection that has asked for a stream."""
    _, writer = await asyncio.open_connection(*address(service.url))
    writer.write(request(path(project, query), project.token, *headers))
    return writer


def leave_in_order(writer: asyncio.StreamWriter) -> None:
    writer.close()


def leave_at_once(writer: asyncio.StreamWriter) -> None:
    """As a machine whose program has died: the connection is reset."""
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


LEAVES = pytest.mark.parametrize("leave", [leave_in_order, leave_at_once])
Leave = Callable[[asyncio.StreamWriter], None]


@LEAVES
async def test_right_after_asking(service: Service, project: Project, leave: Leave) -> None:
    for _ in range(20):
        leave(await asking(service, project))
    await service.has_nothing_left()


@LEAVES
async def test_while_its_access_is_asked(
    service: Service, project: Project, leave: Leave, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(monkeypatch, service.running.services.gate._members, "_ask", lambda *_: True)
    writer = await asking(service, project)
    await held.asked.wait()
    leave(writer)
    held.go.set()
    await service.has_nothing_left()


@LEAVES
@pytest.mark.parametrize(
    ("function", "query", "header"),
    [
        ("feed_heads", "", ""),  # the topic opens
        ("feed_since", "", "Last-Event-ID: {cursor}"),
        ("feed_since", "?since={cursor}", ""),
        ("project_snapshot", "?snapshot=1", ""),
        ("project_snapshot", "?since=0", ""),  # after a reset
    ],
)
async def test_while_the_database_is_asked(
    service: Service, project: Project, leave: Leave, function: str, query: str, header: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    cursor = (await service.running.log.heads("project", [project.id]))[project.id]
    project.source()
    of_listener = function == "feed_heads"  # it asks on connections of its own
    held = Held(
        monkeypatch, service.running.log if of_listener else service.running.services.database, "_call",
        lambda name, arguments: name == function and arguments.get("since", cursor) in (0, cursor),
    )  # fmt: skip
    headers = [header.format(cursor=cursor)] if header else []
    writer = await asking(service, project, query.format(cursor=cursor), *headers)
    await held.asked.wait()
    leave(writer)
    if function != "feed_heads":
        await until(lambda: service.viewers == 0)  # it does not take the answer to let go
    held.go.set()
    await service.has_nothing_left()


async def test_within_a_replay_of_many_pages(service: Service, project: Project) -> None:
    cursor = (await service.running.log.heads("project", [project.id]))[project.id]
    project.execute(
        "insert into proposed_nodes (project_id, title) select %s, repeat('x', 4000) from generate_series(1, 2500)",
        project.id,
    )
    reader = await Reader.connected(service.url, path(project), project.token, f"Last-Event-ID: {cursor}")
    while b"new_proposal" not in await reader.reader.readline():
        pass
    assert service.viewers == 1
    reader.close()
    await service.has_nothing_left()


@LEAVES
async def test_while_nothing_happens(service: Service, project: Project, leave: Leave) -> None:
    reader = await Reader.connected(service.url, path(project), project.token)
    assert service.viewers == 1
    leave(reader.writer)
    await service.has_nothing_left()


async def test_while_a_write_is_stuck(service: Service, project: Project) -> None:
    stopped = stopped_reader(service.url, path(project), project.token)
    async with opened(f"{service.url}{path(project)}", project.headers) as page:
        await page.until("connected")
        await until(lambda: service.viewers == 2)
        for number in range(16):
            project.proposal(f"{number} " + "x" * 800_000)
            await page.until("new_proposal")
        stopped.close()
        await until(lambda: service.viewers == 1)
    await service.has_nothing_left()


@LEAVES
async def test_from_a_large_answer_with_more_behind_it(service: Service, project: Project, leave: Leave) -> None:
    for number in range(5):
        project.proposal(f"{number} " + "x" * 800_000)
    reader, writer = await asyncio.open_connection(*address(service.url), limit=4096)
    writer.write(request(f"/api/projects/{project.id}/snapshot", project.token) * 2)
    await reader.readexactly(4096)
    leave(writer)
    await service.has_nothing_left()


@LEAVES
async def test_with_more_on_the_way(service: Service, project: Project, leave: Leave) -> None:
    _, writer = await asyncio.open_connection(*address(service.url))
    writer.write(request(path(project), project.token) * 3)
    await until(lambda: service.viewers == 1)
    leave(writer)
    await service.has_nothing_left()


async def test_while_the_service_stops(service: Service, project: Project) -> None:
    stopped = stopped_reader(service.url, path(project), project.token)
    async with opened(f"{service.url}{path(project)}", project.headers) as page:
        await page.until("connected")
        for number in range(16):
            project.proposal(f"{number} " + "x" * 800_000)
            await page.until("new_proposal")
        draining = asyncio.ensure_future(drain(service.app))
        await page.until("stream_end", reason="shutdown")
    await until(lambda: service.viewers == 1)
    stopped.close()
    await draining
    await service.has_nothing_left()


async def test_when_it_only_asks_for_the_head(service: Service, project: Project) -> None:
    """A HEAD is answered without a stream: nobody would read it, and its connection may live on."""
    reader, writer = await asyncio.open_connection(*address(service.url))
    writer.write(request(path(project), project.token).replace(b"GET", b"HEAD", 1))
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert b"text/event-stream" in head
    writer.write(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
    await service.has_no_streams()
    writer.close()
    await service.has_nothing_left()


# Where the database is down


async def test_from_a_service_that_never_reached_its_database(stack: StackFacts, project: Project) -> None:
    async with serving(stack, SUPABASE_URL=f"http://127.0.0.1:{unused_port()}") as service:
        for leave in (leave_in_order, leave_at_once):
            leave(await asking(service, project))
        writer = await asking(service, project)
        await until(lambda: "upstream_unavailable" in service.running.metrics.exposition().decode())
        writer.close()
        await service.has_nothing_left()


@LEAVES
async def test_from_a_service_whose_database_is_silent(stack: StackFacts, project: Project, leave: Leave) -> None:
    async with faulty_proxy(stack.supabase_url) as proxy, serving(stack, SUPABASE_URL=proxy.url) as service:
        reader = await Reader.connected(service.url, path(project), project.token)
        proxy.flowing.clear()
        asked = await asking(service, project.another())
        leave(asked)
        leave(reader.writer)
        await until(lambda: service.viewers == 0)
        proxy.flowing.set()
        await service.has_no_streams()


@LEAVES
async def test_while_it_waits_for_a_database_that_has_gone(
    stack: StackFacts, project: Project, leave: Leave, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reset has been told, and its snapshot can't be had."""
    async with faulty_proxy(stack.supabase_url) as proxy, serving(stack, SUPABASE_URL=proxy.url) as service:
        reader = await Reader.connected(service.url, path(project), project.token)
        proxy.refused.add("rest")
        proxy.cut("rest")
        [topic] = service.running.services.hub._topics.values()
        service.running.services.hub.lost(topic.key, topic.ring.head, "a test's")
        while b"reset" not in await reader.reader.readline():
            pass
        await until(lambda: not service.running.log.available)
        leave(reader.writer)
        await service.has_no_streams()
