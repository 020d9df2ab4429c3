"""One client's connection: its queue of frames, its timers, and the carrying out of the protocol's actions."""

from __future__ import annotations

import asyncio
import struct
from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from devstack.realtime.fault_spec import ABORTED, CHANGES
from devstack.realtime.faulty import FaultyWire
from devstack.realtime.protocol import (
    Action,
    Channel,
    CheckToken,
    Hold,
    Send,
    Socket,
    Subscribe,
    Unsubscribe,
    change_frame,
    encode,
)

if TYPE_CHECKING:
    from devstack.realtime.server import StandIn

MAX_QUEUED: Final = 32 * 1024 * 1024
"""Bytes queued for a client that does not read, before it is cut off."""
_TEXT: Final = 0x81
_MEDIUM: Final = struct.Struct(">BBH")
_LONG: Final = struct.Struct(">BBQ")
_CHUNK: Final = 64 * 1024
"""Bytes after which no further frame joins a write."""


class _Subscriber:
    """A channel as the dispatcher knows it."""

    def __init__(self, connection: Connection, channel: Channel) -> None:
        self._connection = connection
        self._channel = channel
        self._before, self._after = change_frame(connection.version, channel.topic)

    def deliver(self, data: str, ids: str) -> None:
        frame = f'{self._before}{{"data":{data},"ids":{ids}}}{self._after}'
        self._connection.emit(self._channel, self._channel.topic, CHANGES, frame)


class Connection:
    """One WebSocket. Frames leave in the order of `send`; none waits for another connection."""

    def __init__(
        self,
        stand_in: StandIn,
        websocket: web.WebSocketResponse,
        request: web.Request,
        version: str,
        key: str,
    ) -> None:
        self.version = version
        self.socket = Socket(stand_in.keyring, key)
        self._stand_in = stand_in
        self._websocket = websocket
        self._transport = request.transport
        self._drain = request.writer.drain
        self._queue: deque[bytes] = deque()
        self.queued = 0
        """Bytes that wait to be sent."""
        self._wake = asyncio.Event()
        self._open = asyncio.Event()
        self._open.set()
        self._subscribers: dict[Channel, _Subscriber] = {}
        self._subscribing: dict[Channel, asyncio.Task[None]] = {}
        self._checks: dict[Channel, asyncio.TimerHandle] = {}
        self._faulty = FaultyWire(stand_in.faults, self.send) if stand_in.faults is not None else None
        self._closing: asyncio.Task[Any] | None = None
        self._writer = asyncio.create_task(self._write())
        self._writer.add_done_callback(stand_in.check_ended)

    def subscriber(self, channel: Channel) -> _Subscriber:
        known = self._subscribers.get(channel)
        if known is None:
            known = self._subscribers[channel] = _Subscriber(self, channel)
        return known

    def emit(self, channel: Channel | None, topic: str, event: str, frame: str) -> None:
        """Queue a frame, unless a fault has other plans for it."""
        if self._faulty is None:
            self.send(frame)
        else:
            self._faulty.send(channel or topic, topic, event, frame)

    def send(self, frame: str) -> None:
        """Queue a frame; a client whose queue is full is cut off."""
        data = frame.encode()
        framed = _header(len(data)) + data
        self._queue.append(framed)
        self.queued += len(framed)
        self._wake.set()
        if self.queued > MAX_QUEUED:
            self.abort()

    def abort(self) -> None:
        """End the connection without waiting for the client."""
        self._queue.clear()
        self.queued = 0
        if self._transport is not None:
            self._transport.abort()

    def end(self, code: int) -> None:
        """Close the socket with a code; with ABORTED, cut the connection."""
        if code == ABORTED:
            self.abort()
        elif self._closing is None:
            self._closing = asyncio.create_task(self._websocket.close(code=code))
            self._closing.add_done_callback(self._stand_in.check_ended)

    async def answer(self, actions: Iterable[Action]) -> None:
        """Carry out actions, holding the whole connection where they say so."""
        for action in actions:
            if isinstance(action, Hold):
                self._open.clear()
                try:
                    await asyncio.sleep(action.seconds * self._stand_in.time_scale)
                finally:
                    self._open.set()
            else:
                self._carry_out(action)

    def carry_out(self, actions: Iterable[Action]) -> None:
        """Carry out actions none of which is a Hold."""
        for action in actions:
            self._carry_out(action)

    def _carry_out(self, action: Action) -> None:
        match action:
            case Send(message):
                channel = self.socket.channels.get(message.topic)
                self.emit(channel, message.topic, message.event, encode(self.version, message))
            case Subscribe(channel):
                self._cancel_subscribing(channel)
                task = asyncio.create_task(self._stand_in.subscribe(self, action))
                task.add_done_callback(self._stand_in.check_ended)
                self._subscribing[channel] = task
            case Unsubscribe(channel):
                self._forget(channel)
            case CheckToken(channel, seconds):
                self._cancel_check(channel)
                loop = asyncio.get_running_loop()
                self._checks[channel] = loop.call_later(
                    max(seconds, 0) * self._stand_in.time_scale, self._check, channel
                )
            case Hold():
                raise AssertionError("a Hold outside of an answer")

    def _check(self, channel: Channel) -> None:
        self.carry_out(self.socket.expire(channel, self._stand_in.clock()))

    def _cancel_check(self, channel: Channel) -> None:
        if timer := self._checks.pop(channel, None):
            timer.cancel()

    def _cancel_subscribing(self, channel: Channel) -> None:
        if task := self._subscribing.pop(channel, None):
            task.cancel()

    def _forget(self, channel: Channel) -> None:
        self._cancel_check(channel)
        self._cancel_subscribing(channel)
        self._stand_in.unsubscribe(self, channel)
        self._subscribers.pop(channel, None)
        if self._faulty is not None:
            self._faulty.forget(channel)

    async def _write(self) -> None:
        while True:
            await self._wake.wait()
            await self._open.wait()
            self._wake.clear()
            while self._queue and self._transport is not None and not self._has_ended():
                # Many frames in one write: a system call for each would cost more than all else.
                self._transport.write(self._next_chunk())
                try:
                    await self._drain()
                except ConnectionError:
                    return

    def _has_ended(self) -> bool:
        return self._websocket.closed or self._transport is None or self._transport.is_closing()

    def _next_chunk(self) -> bytes:
        chunk = bytearray()
        while self._queue and len(chunk) < _CHUNK:
            frame = self._queue.popleft()
            self.queued -= len(frame)
            chunk += frame
        return bytes(chunk)

    async def close(self) -> None:
        """Forget every channel and stop sending."""
        for channel in {*self._subscribers, *self._subscribing, *self._checks}:
            self._forget(channel)
        if self._faulty is not None:
            self._faulty.close()
        self._writer.cancel()
        ending = [self._writer] if self._closing is None else [self._writer, self._closing]
        await asyncio.wait(ending)


def _header(length: int) -> bytes:
    """What goes before the text of a frame from the server (RFC 6455, 5.2)."""
    if length < 126:
        return bytes((_TEXT, length))
    return _MEDIUM.pack(_TEXT, 126, length) if length < 65536 else _LONG.pack(_TEXT, 127, length)
