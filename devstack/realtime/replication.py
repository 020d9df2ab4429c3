"""The replication stream: pgoutput from a temporary slot, read when its socket becomes readable (no polling).

Contract. `run` streams for ever: it connects, makes a slot, and hands each decoded message to `receive`, in the order
of the log. When PostgreSQL goes away it tries again with growing, jittered pauses, on a new slot: what was committed
meanwhile is lost, as in the real server. `live` is set exactly while every change committed from now on will be
received. Reading stops while `pause` is in force, so nobody's memory has to hold what nobody has handled yet.
"""

from __future__ import annotations

import asyncio
import logging
import random
import struct
import time
from collections.abc import Callable
from typing import Final
from uuid import uuid4

import psycopg
from psycopg import pq

from devstack.realtime.database import conninfo
from devstack.realtime.pgoutput import POSTGRES_EPOCH, Message, decode

logger = logging.getLogger(__name__)

_KEEPALIVE: Final = struct.Struct(">xQqB")
_STATUS: Final = struct.Struct(">cQQQqB")
_WAL_START: Final = struct.Struct(">xQ")
_WAL_HEADER: Final = 25
_SLICE: Final = 500
"""Messages handed on before other tasks get their turn."""
_RETRY_FIRST: Final = 0.1
_RETRY_LIMIT: Final = 2.0
_LEAVE_LIMIT: Final = 1.0
"""Seconds that PostgreSQL gets to say goodbye."""


class Stream:
    """One endless replication stream.

    Args:
        receive: called with each message; must not block.
        lost: called when a connection ends, before the next is tried.
    """

    def __init__(
        self, url: str, publication: str, receive: Callable[[Message], None], lost: Callable[[], None]
    ) -> None:
        self._conninfo = conninfo(url, replication="database")
        self._publication = publication
        self._receive = receive
        self._lost = lost
        self._copy: _Copy | None = None
        self._not_before = 0.0
        self._pause = _RETRY_FIRST
        self.live = asyncio.Event()

    def pause(self) -> None:
        """Stop reading until `resume`."""
        if self._copy:
            self._copy.pause()

    def resume(self) -> None:
        if self._copy:
            self._copy.resume()

    def interrupt(self, seconds: float) -> None:
        """End the connection as if PostgreSQL had, and be live again no sooner than in so many seconds."""
        self._not_before = max(self._not_before, time.monotonic() + seconds)
        self.live.clear()
        if self._copy:
            self._copy.end(psycopg.OperationalError("interrupted"))

    async def run(self) -> None:
        """Stream until cancelled."""
        while True:
            await asyncio.sleep(self._not_before - time.monotonic())
            try:
                await self._once()
            except psycopg.Error as error:
                logger.warning("replication stream ended: %s", str(error).strip())
            await asyncio.sleep(self._pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, no secret
            self._pause = min(self._pause * 2, _RETRY_LIMIT)

    def _started(self) -> None:
        self._pause = _RETRY_FIRST
        self.live.set()

    async def _once(self) -> None:
        connection = await psycopg.AsyncConnection.connect(self._conninfo, autocommit=True)
        try:
            slot = f"rowcast_realtime_{uuid4().hex}"
            await connection.execute(
                f"CREATE_REPLICATION_SLOT {slot} TEMPORARY LOGICAL pgoutput (SNAPSHOT 'nothing')".encode()
            )
            publication = pq.Escaping(connection.pgconn).escape_literal(
                pq.Escaping(connection.pgconn).escape_identifier(self._publication.encode())
            )
            start = f"START_REPLICATION SLOT {slot} LOGICAL 0/0 (proto_version '1', publication_names ".encode()
            if time.monotonic() < self._not_before:
                raise psycopg.OperationalError("interrupted while connecting")
            self._copy = _Copy(connection.pgconn, self._receive)
            await self._copy.run(start + bytes(publication) + b")", self._started)
        finally:
            self.live.clear()
            self._lost()
            if self._copy is not None:
                await self._copy.leave(f"DROP_REPLICATION_SLOT {slot}".encode())
            self._copy = None
            await connection.close()


class _Copy:
    """START_REPLICATION's two-way copy on one libpq connection."""

    def __init__(self, pgconn: pq.abc.PGconn, receive: Callable[[Message], None]) -> None:
        self._pgconn = pgconn
        self._receive = receive
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._copying = False
        self._paused = False
        self._received = 0
        self._told_at = time.monotonic()
        self._started: Callable[[], None] = lambda: None

    async def run(self, command: bytes, started: Callable[[], None]) -> None:
        """Send the command and stream until the connection ends, which raises psycopg.OperationalError."""
        self._started = started
        self._pgconn.nonblocking = 1
        self._pgconn.send_query(command)
        self._pgconn.flush()
        descriptor = self._pgconn.socket
        self._loop.add_reader(descriptor, self._readable)
        try:
            await self._ended
        finally:
            self._loop.remove_reader(descriptor)
            self._loop.remove_writer(descriptor)
            self._paused = True

    async def leave(self, command: bytes) -> None:
        """End a copy that still runs, and with this command drop its slot, which would outlive the connection a bit."""
        if not self._copying or self._pgconn.status != pq.ConnStatus.OK:
            return
        readable = asyncio.Event()
        self._loop.add_reader(self._pgconn.socket, readable.set)
        try:
            async with asyncio.timeout(_LEAVE_LIMIT):
                self._pgconn.put_copy_end()
                self._pgconn.flush()
                while (size := self._pgconn.get_copy_data(1)[0]) >= 0:
                    if size == 0:
                        await self._more(readable)
                await self._results(readable)
                self._pgconn.send_query(command)
                self._pgconn.flush()
                await self._results(readable)
        except (psycopg.Error, TimeoutError) as error:
            logger.info("replication slot left to PostgreSQL to drop: %s", str(error).strip() or "no answer")
        finally:
            self._loop.remove_reader(self._pgconn.socket)

    async def _more(self, readable: asyncio.Event) -> None:
        await readable.wait()
        readable.clear()
        self._pgconn.consume_input()

    async def _results(self, readable: asyncio.Event) -> None:
        """Read to the end of a command's results."""
        while True:
            while self._pgconn.is_busy():
                await self._more(readable)
            if self._pgconn.get_result() is None:
                return

    def pause(self) -> None:
        if not self._paused:
            self._paused = True
            self._loop.remove_reader(self._pgconn.socket)

    def resume(self) -> None:
        if self._paused and not self._ended.done():
            self._paused = False
            self._loop.add_reader(self._pgconn.socket, self._readable)
            self._loop.call_soon(self._drain)

    def _is_paused(self) -> bool:
        return self._paused

    def _readable(self) -> None:
        try:
            self._pgconn.consume_input()
        except psycopg.OperationalError as error:
            self.end(error)
            return
        self._drain()

    def _drain(self) -> None:
        """Hand on what libpq has buffered, a slice at a time."""
        if self._is_paused() or self._ended.done():
            return
        try:
            if not self._copying and not self._begun():
                return
            for _ in range(_SLICE):
                if self._is_paused():
                    return
                size, data = self._pgconn.get_copy_data(1)
                if size == 0:
                    return
                if size < 0:
                    self.end(psycopg.OperationalError("PostgreSQL ended the stream"))
                    return
                self._handle(bytes(data))
        except psycopg.Error as error:
            self.end(error)
        except Exception as error:  # noqa: BLE001 - handed to `run`, which raises it
            self.end(error)
        else:
            self._loop.call_soon(self._drain)

    def _begun(self) -> bool:
        if self._pgconn.is_busy():
            return False
        result = self._pgconn.get_result()
        if result is None or result.status != pq.ExecStatus.COPY_BOTH:
            text = result.get_error_message() if result else "no answer"
            self.end(psycopg.OperationalError(f"START_REPLICATION failed: {text}"))
            return False
        self._copying = True
        self._started()
        return True

    def _handle(self, data: bytes) -> None:
        if data[0] == 0x77:  # w: part of the log
            self._received = max(self._received, _WAL_START.unpack_from(data)[0])
            self._receive(decode(data[_WAL_HEADER:]))
            if time.monotonic() - self._told_at > 10:
                self._tell()
        elif data[0] == 0x6B:  # k: keepalive
            end, _, wants_answer = _KEEPALIVE.unpack(data)
            self._received = max(self._received, end)
            if wants_answer:
                self._tell()

    def _tell(self) -> None:
        """Tell PostgreSQL how far we are, so that it may forget the log before that and knows we live."""
        self._told_at = time.monotonic()
        now = int(time.time() * 1_000_000) - POSTGRES_EPOCH
        self._pgconn.put_copy_data(_STATUS.pack(b"r", *[self._received] * 3, now, 0))
        self._flush()

    def _flush(self) -> None:
        if self._pgconn.flush() == 1:
            self._loop.add_writer(self._pgconn.socket, self._flush)
        else:
            self._loop.remove_writer(self._pgconn.socket)

    def end(self, error: Exception) -> None:
        """Let `run` raise this."""
        self._copying = False
        if not self._ended.done():
            self._ended.set_exception(error)
