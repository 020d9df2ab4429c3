"""A TCP proxy in front of a Supabase, with faults of the network: refused, cut, or silent."""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager, suppress
from typing import Literal
from urllib.parse import urlsplit

Purpose = Literal["realtime", "rest"]


class FaultyProxy:
    """``refused`` says which connections don't get through; a connection's first bytes tell its purpose.

    While ``flowing`` is clear nothing goes through, in either direction, and no connection ends: a cable was pulled.
    """

    def __init__(self, upstream: str, refused: Collection[Purpose]) -> None:
        parts = urlsplit(upstream)
        self._upstream = (parts.hostname, parts.port)
        self._connections: dict[asyncio.StreamWriter, Purpose] = {}
        self.refused = set(refused)
        self.flowing = asyncio.Event()
        self.flowing.set()
        self.url = ""

    def cut(self, purpose: Purpose) -> None:
        """Breaks every connection of that purpose, as a network does: without a word."""
        for writer, its in list(self._connections.items()):
            if its == purpose:
                writer.close()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(OSError):
                first = await reader.read(65536)
                purpose: Purpose = "realtime" if first.startswith(b"GET /realtime/") else "rest"
                await self.flowing.wait()
                if first and purpose not in self.refused:
                    await self._pass(first, purpose, reader, writer)
        finally:
            writer.close()

    async def _pass(
        self, first: bytes, purpose: Purpose, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        upstream_reader, upstream_writer = await asyncio.open_connection(*self._upstream)
        upstream_writer.write(first)
        ends = (writer, upstream_writer)
        self._connections |= dict.fromkeys(ends, purpose)
        try:
            await asyncio.gather(self._copy(reader, upstream_writer), self._copy(upstream_reader, writer))
        finally:
            for end in ends:
                del self._connections[end]
            upstream_writer.close()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                await self.flowing.wait()
                writer.write(data)
                await writer.drain()
        with suppress(OSError):
            writer.write_eof()


@asynccontextmanager
async def faulty_proxy(upstream: str, *refused: Purpose) -> AsyncIterator[FaultyProxy]:
    proxy = FaultyProxy(upstream, refused)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield proxy
    finally:
        proxy.cut("realtime")
        proxy.cut("rest")
        server.close()
