"""A server with nothing of ours: an ASGI application, and one of Quart, that only holds streams and writes each change.

What they take is the server's part (and Quart's) of what rowcast takes on the same server. Changes come as lines of
JSON over a connection to PUBLISH_PORT.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from quart import Quart, Response

Send = Callable[[dict[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[dict[str, Any]]]
HELLO = b'data: {"type":"connected"}\n\n'


class Changes:
    """Frames from the publisher, given to every stream's queue."""

    def __init__(self) -> None:
        self._queues: set[asyncio.Queue[bytes]] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._publish, "127.0.0.1", int(os.environ["PUBLISH_PORT"]))

    async def _publish(self, reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        number = 0
        while line := await reader.readline():
            number += 1
            frame = b"data: %s\nid: %d\n\n" % (line.rstrip(), number)
            for queue in self._queues:
                queue.put_nowait(frame)

    async def frames(self) -> AsyncIterator[bytes]:
        queue: asyncio.Queue[bytes] = asyncio.Queue()
        self._queues.add(queue)
        try:
            yield HELLO
            while True:
                yield await queue.get()
        finally:
            self._queues.discard(queue)


changes = Changes()


async def asgi(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await receive()
        await changes.start()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    headers = [(b"content-type", b"text/event-stream")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    async for frame in changes.frames():
        await send({"type": "http.response.body", "body": frame, "more_body": True})


quart = Quart(__name__, static_folder=None)
quart.before_serving(changes.start)


@quart.get("/status/project")
async def status() -> Response:
    response = Response(changes.frames(), content_type="text/event-stream")
    response.timeout = None
    return response
