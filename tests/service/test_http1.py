"""What hypercorn speaks here, over real sockets."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypercorn.asyncio import serve

from service import http1
from service.server import configuration
from service.streams.asgi import CONNECTION, WriteNow
from tests.conftest import StackFacts, unused_port
from tests.service.conftest import Project
from tests.service.connections import address, request
from tests.service.sockets import socket as socket_of
from tests.service.test_metrics import samples
from tests.service.test_server import serving

UPGRADE = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__")
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


async def answer(url: str, sent: bytes) -> bytes:
    """The first line of what comes back."""
    reader, writer = await asyncio.open_connection(*address(url))
    try:
        writer.write(sent)
        return await reader.readline()
    finally:
        writer.close()


async def test_http_2_is_not_spoken(service: str, project: Project) -> None:
    """Where a client takes nothing, hypercorn would keep all that it is sent, without bound."""
    assert await answer(service, request("/livez", project.token, *UPGRADE)) == b"HTTP/1.1 200 \r\n"
    assert (await answer(service, PREFACE)).startswith(b"HTTP/1.1 4")


async def test_requests_behind_one_another_are_answered_in_order(service: str, project: Project) -> None:
    reader, writer = await asyncio.open_connection(*address(service))
    last = request("/nothing", project.token, "Connection: close")
    writer.write(request("/livez", project.token) * 2 + last)
    told = await reader.read()
    writer.close()
    assert [part[:3] for part in told.split(b"HTTP/1.1 ")[1:]] == [b"200", b"200", b"404"]


async def test_a_stream_is_the_last_answer_of_its_connection(service: str, project: Project) -> None:
    reader, writer = await asyncio.open_connection(*address(service))
    live, status = (request(path, project.token) for path in ("/livez", f"/api/projects/{project.id}/status"))
    writer.write(live + status + live)
    told = await reader.readuntil(b'"connected"')
    project.execute("delete from project_members where project_id = %s", project.id)
    told += await reader.read()
    writer.close()
    before, stream = told.split(b"HTTP/1.1 200")[1:]
    assert b"connection: close" not in before
    assert b"connection: close" in stream
    assert stream.endswith(b"0\r\n\r\n")


HANDSHAKE = (
    "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Protocol: rowcast.v1",
    "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits",
)  # fmt: skip
VERSION = "Sec-WebSocket-Version: 13"


@pytest.mark.parametrize(
    "headers",
    [
        HANDSHAKE[:2],
        (*(line for line in HANDSHAKE if line != VERSION), "Sec-WebSocket-Version: 8"),
        (*HANDSHAKE, "", "what comes before it is accepted"),
    ],
)
async def test_a_handshake_that_is_refused_ends_its_connection(
    service: str, project: Project, headers: tuple[str, ...]
) -> None:
    reader, writer = await asyncio.open_connection(*address(service))
    writer.write(request("/api/ws", project.token, *headers))
    told = await reader.read()
    writer.close()
    assert told.startswith(b"HTTP/1.1 400")
    assert b"connection: close" in told


FRAME = b"\x81\xff" + (1 << 40).to_bytes(8, "big") + b"\0\0\0\0"
"""The beginning of a text of a TiB."""


async def test_a_message_that_never_ends_is_not_collected(service: str, project: Project) -> None:
    """And none is unpacked: the service speaks no compression, whatever it is offered."""
    reader, writer = await asyncio.open_connection(*address(service))
    writer.write(request("/api/ws", project.token, *HANDSHAKE))
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101")
    assert b"xtensions" not in head
    writer.write(FRAME)
    with suppress(ConnectionResetError, BrokenPipeError):  # it closes, whoever still sends
        while not reader.at_eof():
            writer.write(b"x" * 4096)
            await writer.drain()
            await asyncio.sleep(0)
    writer.close()


async def test_pings_end_with_their_connection(stack: StackFacts, project: Project, tmp_path: Path) -> None:
    with serving(stack, tmp_path) as (url, _, _):
        async with httpx.AsyncClient() as client:

            async def tasks() -> float:
                return samples((await client.get(f"{url}/metrics")).text)["rowcast_tasks"]

            before = await tasks()
            async with AsyncExitStack() as open_:
                for _ in range(20):
                    await open_.enter_async_context(socket_of(url))
                assert await tasks() > before + 20
            while await tasks() > before + 5:
                await asyncio.sleep(0.05)


# What is written at once


Send = Callable[[Any], Awaitable[None]]
BEGIN = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]}


def part(body: bytes, *, more: bool = True) -> dict[str, Any]:
    return {"type": "http.response.body", "body": body, "more_body": more}


@asynccontextmanager
async def answering(answer: Callable[[WriteNow, Send], Awaitable[None]]) -> AsyncIterator[str]:
    """An application of its own on hypercorn, in this event loop; its URL."""

    async def app(scope: Any, receive: Any, send: Send) -> None:
        if scope["type"] == "lifespan":
            for done in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{done}.complete"})
        else:
            await answer(scope["state"][CONNECTION].write_now, send)

    http1.install()
    url, stop = f"http://127.0.0.1:{unused_port()}", asyncio.Event()
    config = configuration(None, url.removeprefix("http://"), 30)
    server = asyncio.create_task(serve(app, config, shutdown_trigger=stop.wait))  # type: ignore[arg-type] # an ASGI app
    try:
        yield url
    finally:
        stop.set()
        await server


async def connection(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    while True:
        try:
            return await asyncio.open_connection(*address(url))
        except ConnectionRefusedError:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("version", "body"),
    [
        (b"1.1", b"3\r\none\r\n3\r\ntwo\r\n5\r\nthree\r\n4\r\nfour\r\n0\r\n\r\n"),
        (b"1.0", b"onetwothreefour"),
        (b"0.9", b"onetwothreefour"),
    ],
)
async def test_what_is_written_at_once_stands_in_its_place(version: bytes, body: bytes) -> None:
    taken: list[bool] = []

    async def answer(write_now: WriteNow, send: Send) -> None:
        taken.append(write_now(b"too early"))
        await send(BEGIN)
        await send(part(b"one"))
        while not write_now(b"two"):  # until that is on its way
            await asyncio.sleep(0)
        assert write_now(b"three")
        await send(part(b"four", more=False))

    async with answering(answer) as url:
        reader, writer = await connection(url)
        writer.write(b"GET / HTTP/%b\r\nHost: x\r\n\r\n" % version)
        told = await reader.read()
        writer.close()
    assert told.partition(b"\r\n\r\n")[2] == body
    assert taken == [False]


async def test_nothing_is_written_at_once_where_something_waits_or_nobody_is_left() -> None:
    full, gone = asyncio.Event(), asyncio.Event()
    taken: list[bool] = []

    async def answer(write_now: WriteNow, send: Send) -> None:
        await send(BEGIN)
        piece = b"x" * 65536
        while write_now(piece):
            await asyncio.sleep(0.01)
        full.set()
        await gone.wait()
        while write_now(b"x"):
            await asyncio.sleep(0.01)
        taken.append(write_now(b"x"))

    async with answering(answer) as url:
        _, writer = await connection(url)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await full.wait()
        writer.transport.abort()
        gone.set()
        while not taken:
            await asyncio.sleep(0.01)
    assert taken == [False]
