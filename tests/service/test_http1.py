"""What hypercorn speaks here, over real sockets."""

import asyncio
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import httpx

from tests.conftest import StackFacts
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
