"""HTTP/1.1 and WebSockets as hypercorn (0.18) speaks them, without its ways to be worn out.

- HTTP/2 without TLS is not spoken, whoever asks for it: hypercorn keeps all that a client does not take there in
  memory, without bound or time limit.
- A connection whose client sent further requests and left while the first was answered ends. Hypercorn would wait for
  ever for that answer to be over, with the connection's task and all that had been read.
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
from hypercorn.events import Closed, Event
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.events import Request, StreamClosed
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.protocol.ws_stream import WSStream
from wsproto.events import CloseConnection, Ping
from wsproto.events import Event as WebSocketEvent
from wsproto.frame_protocol import CloseReason

EXTENSIONS = b"sec-websocket-extensions"


class _Over:
    """What is left to read, and to write to, of a connection that is over; in the place of an ``h11.Connection``."""

    they_are_waiting_for_100_continue = False
    our_state = their_state = h11.CLOSED

    def receive_data(self, data: bytes) -> None:
        pass

    def next_event(self) -> type[h11.NEED_DATA]:
        return h11.NEED_DATA

    def send(self, _: h11.Event) -> bytes:
        return b""


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

    async def handle(self, event: Event) -> None:
        await super().handle(event)
        if isinstance(event, Closed):
            self.connection = _Over()  # type: ignore[assignment] # all that is asked of it there
            await self.can_read.set()  # who waits for the next request finds none

    async def _check_protocol(self, event: h11.Request) -> None:
        """Hypercorn's own would change to HTTP/2; a server may ignore that it is asked to."""


def install() -> None:
    """Has hypercorn speak it, in the whole process."""
    hypercorn.protocol.H11Protocol = Http1  # type: ignore[attr-defined] # it has no setting for that
    hypercorn.protocol.h11.WSStream = WebSocket  # type: ignore[assignment,attr-defined] # nor for that
