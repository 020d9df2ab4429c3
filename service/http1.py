"""HTTP/1.1 and WebSockets as hypercorn (0.18) speaks them, without its ways to be worn out.

- HTTP/2 without TLS is not spoken, whoever asks for it: hypercorn keeps all that a client does not take there in
  memory, without bound or time limit.
- A stream is the last answer of its connection, and what its client sends behind the request is passed over. Hypercorn
  would read nothing more before the stream's end, and so not see the client go; and never end if it did then.
- What many streams are told at once is written at once, see :class:`service.streams.asgi.Connection`, where it takes
  it: a task's turn and hypercorn's way from there to the socket would cost several times the write itself.
- A WebSocket's messages are not compressed: some KiB would be unpacked to MiB before they are found too large, and each
  connection would keep the memory of a compressor.
- A WebSocket whose message is too large ends. Hypercorn would ask it to close, and go on collecting.
- A WebSocket that is refused ends. Hypercorn would leave that to its client, however long it takes.
- Pings end with the connection. Hypercorn's would keep its tasks for as long as a ping is due, and a stop waiting.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from typing import Any

import h11
import hypercorn.asyncio.run
import hypercorn.protocol
import hypercorn.protocol.h11
from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.asyncio.worker_context import WorkerContext
from hypercorn.config import Config
from hypercorn.events import RawData
from hypercorn.protocol.events import Body, EndBody, Request, Response, StreamClosed
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.protocol.ws_stream import WSStream
from hypercorn.typing import AppWrapper, LifespanState
from wsproto.events import CloseConnection, Ping
from wsproto.events import Event as WebSocketEvent
from wsproto.frame_protocol import CloseReason

from service.streams.asgi import CONNECTION

TRANSPORT = "rowcast.transport"
EXTENSIONS = b"sec-websocket-extensions"
STREAM = b"text/event-stream"


class _Deaf:
    """A connection from which nothing more is read, in the place of an ``h11.Connection``."""

    __slots__ = ()
    they_are_waiting_for_100_continue = False
    our_state = their_state = h11.CLOSED

    def receive_data(self, data: bytes) -> None:
        pass

    def next_event(self) -> type[h11.NEED_DATA]:
        return h11.NEED_DATA


DEAF: Any = _Deaf()  # all that is asked of a connection whose last answer is under way


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
        was_closed = self.closed
        await super().handle(event)
        if self.closed and not was_closed and not isinstance(event, StreamClosed):
            self.closed = False  # or who answers on it would not hear of the end
            await self.send(StreamClosed(stream_id=self.stream_id))

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


class TcpConnection(TCPServer):
    """What every connection is served by. Its ``state`` tells :class:`Http1` what it writes to."""

    def __init__(
        self,
        app: AppWrapper,
        loop: asyncio.AbstractEventLoop,
        config: Config,
        context: WorkerContext,
        state: LifespanState,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        own = LifespanState({**state, TRANSPORT: writer.transport})
        super().__init__(app, loop, config, context, own, reader, writer)


class Http1(H11Protocol):
    """What every connection speaks."""

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self._transport: asyncio.WriteTransport = self.connection_state.pop(TRANSPORT)
        self._coding: Callable[[bytes], bytes] | None = None  # of the stream under way
        self._gone: asyncio.Future[None] | None = None
        self.connection_state[CONNECTION] = self

    async def stream_send(self, event: StreamEvent) -> None:
        if self._coding is not None and isinstance(event, Body):
            await self.send(RawData(self._coding(event.data)))
        elif self._coding is not None and isinstance(event, EndBody):
            await self.send(RawData(self._coding(b"")))
        elif isinstance(event, Response) and _is_stream(event):
            await super().stream_send(replace(event, headers=[*event.headers, (b"connection", b"close")]))
            version = self.connection.their_http_version if isinstance(self.connection, h11.Connection) else None
            self._coding = _as_it_is if version is None or version < b"1.1" else _chunk  # as h11 has just said
            self.connection = DEAF
            self.connection_state.clear()
            await self.can_read.set()  # who waits for the next request finds none
        else:
            await super().stream_send(event)

    def write_now(self, part: bytes) -> bool:
        """See :class:`service.streams.asgi.Connection`."""
        if self._coding is None or self._transport.is_closing() or self._transport.get_write_buffer_size() > 0:
            return False
        self._transport.write(_shared(self._coding, part))
        return True

    def gone(self) -> asyncio.Future[None]:
        """See :class:`service.streams.asgi.Connection`."""
        self._gone = asyncio.get_running_loop().create_future()
        if self.stream is None:
            self._gone.set_result(None)
        return self._gone

    async def _close_stream(self) -> None:
        if self._gone is not None and not self._gone.done():
            self._gone.set_result(None)
        await super()._close_stream()

    async def _check_protocol(self, event: h11.Request) -> None:
        """Hypercorn's own would change to HTTP/2; a server may ignore that it is asked to."""


def _is_stream(event: Response) -> bool:
    """Not an answer of one piece that looks like one, nor its head alone: those have a length."""
    headers = {name.lower(): value for name, value in event.headers}
    return headers.get(b"content-type", b"").startswith(STREAM) and b"content-length" not in headers


def _as_it_is(data: bytes) -> bytes:
    """A part of a body that ends with its connection, as HTTP/1.0 and older have it."""
    return data


def _chunk(data: bytes) -> bytes:
    """A part of a body (RFC 9112, 7.1); without data, its end."""
    return b"%x\r\n%b\r\n" % (len(data), data)


@lru_cache(maxsize=4)
def _shared(coding: Callable[[bytes], bytes], data: bytes) -> bytes:
    """What a thousand viewers are told in one step."""
    return coding(data)


def install() -> None:
    """Has hypercorn speak it, in the whole process."""
    hypercorn.asyncio.run.TCPServer = TcpConnection  # type: ignore[attr-defined] # it has no setting for that
    hypercorn.protocol.H11Protocol = Http1  # type: ignore[attr-defined,assignment] # nor for that
    hypercorn.protocol.h11.WSStream = WebSocket  # type: ignore[assignment,attr-defined] # nor for that
