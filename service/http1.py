"""HTTP/1.1 and WebSockets as hypercorn (0.18) speaks them, without its ways to be worn out.

- HTTP/2 without TLS is not spoken, whoever asks for it: hypercorn keeps all that a client does not take there in
  memory, without bound or time limit.
- A stream is the last answer of its connection, and what its client sends behind the request is passed over. Hypercorn
  would read nothing more before the stream's end, and so not see the client go; and never end if it did then.
- A WebSocket's messages are not compressed: some KiB would be unpacked to MiB before they are found too large, and each
  connection would keep the memory of a compressor.
- A WebSocket whose message is too large ends. Hypercorn would ask it to close, and go on collecting.
- Pings end with the connection. Hypercorn's would keep its tasks for as long as a ping is due, and a stop waiting.
"""

import asyncio
from contextlib import suppress
from dataclasses import replace
from typing import Any

import h11
import hypercorn.protocol
import hypercorn.protocol.h11
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.events import Request, Response, StreamClosed
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.protocol.ws_stream import WSStream
from wsproto.events import CloseConnection, Ping
from wsproto.events import Event as WebSocketEvent
from wsproto.frame_protocol import CloseReason

EXTENSIONS = b"sec-websocket-extensions"
STREAM = b"text/event-stream"


class _WriteOnly:
    """A connection from which nothing more is read, in the place of an ``h11.Connection``."""

    __slots__ = ("_connection",)
    they_are_waiting_for_100_continue = False
    our_state = their_state = h11.CLOSED

    def __init__(self, connection: h11.Connection) -> None:
        self._connection = connection

    def receive_data(self, data: bytes) -> None:
        pass

    def next_event(self) -> type[h11.NEED_DATA]:
        return h11.NEED_DATA

    def send(self, event: h11.Event) -> bytes | None:
        return self._connection.send(event)


class WebSocket(WSStream):
    """What every WebSocket speaks."""

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self._over = asyncio.Event()

    async def handle(self, event: StreamEvent) -> None:
        if isinstance(event, Request):
            event = replace(event, headers=[pair for pair in event.headers if pair[0].lower() != EXTENSIONS])
        elif isinstance(event, StreamClosed):
            self._over.set()
        await super().handle(event)

    async def _send_wsproto_event(self, event: WebSocketEvent) -> None:
        await super()._send_wsproto_event(event)
        if isinstance(event, CloseConnection) and event.code == CloseReason.MESSAGE_TOO_BIG:
            self.buffer.clear()
            await self.send(StreamClosed(stream_id=self.stream_id))

    async def _send_pings(self) -> None:
        while not self.closed:
            await self._send_wsproto_event(Ping())
            with suppress(TimeoutError):
                async with asyncio.timeout(self.config.websocket_ping_interval):
                    await self._over.wait()


class Http1(H11Protocol):
    """What every connection speaks."""

    async def stream_send(self, event: StreamEvent) -> None:
        if not isinstance(event, Response) or not _is_stream(event):
            await super().stream_send(event)
            return
        await super().stream_send(replace(event, headers=[*event.headers, (b"connection", b"close")]))
        self.connection = _WriteOnly(self.connection)  # type: ignore[assignment,arg-type] # all that is asked of it
        await self.can_read.set()  # who waits for the next request finds none

    async def _check_protocol(self, event: h11.Request) -> None:
        """Hypercorn's own would change to HTTP/2; a server may ignore that it is asked to."""


def _is_stream(event: Response) -> bool:
    """Not an answer of one piece that looks like one, nor its head alone: those have a length."""
    headers = {name.lower(): value for name, value in event.headers}
    return headers.get(b"content-type", b"").startswith(STREAM) and b"content-length" not in headers


def install() -> None:
    """Has hypercorn speak it, in the whole process."""
    hypercorn.protocol.H11Protocol = Http1  # type: ignore[attr-defined] # it has no setting for that
    hypercorn.protocol.h11.WSStream = WebSocket  # type: ignore[assignment,attr-defined] # nor for that
