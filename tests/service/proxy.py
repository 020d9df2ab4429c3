"""A TCP proxy in front of a Supabase, with faults at its socket to Realtime."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit


class FaultyProxy:
    """``realtime`` says whether connections to Realtime get through; a connection's first bytes tell its purpose."""

    def __init__(self, upstream: str, realtime: bool) -> None:
        parts = urlsplit(upstream)
        self._upstream = (parts.hostname, parts.port)
        self._sockets: set[asyncio.StreamWriter] = set()
        self.realtime = realtime
        self.url = ""

    def cut(self) -> None:
        """Breaks every connection to Realtime, as a network does: without a word."""
        for socket in self._sockets:
            socket.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            first = await reader.read(65536)
            is_realtime = first.startswith(b"GET /realtime/")
            if is_realtime and not self.realtime:
                writer.close()
                return
            upstream_reader, upstream_writer = await asyncio.open_connection(*self._upstream)
            upstream_writer.write(first)
            if is_realtime:
                self._sockets |= {writer, upstream_writer}
            try:
                await asyncio.gather(_copy(reader, upstream_writer), _copy(upstream_reader, writer))
            finally:
                self._sockets -= {writer, upstream_writer}
                upstream_writer.close()
                writer.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    with suppress(OSError):
        writer.write_eof()


@asynccontextmanager
async def faulty_proxy(upstream: str, *, realtime: bool) -> AsyncIterator[FaultyProxy]:
    proxy = FaultyProxy(upstream, realtime)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield proxy
    finally:
        proxy.cut()
        server.close()
