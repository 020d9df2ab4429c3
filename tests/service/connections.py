"""Connections to a stream, byte by byte: for pages that go away, or stop reading, when a test says so."""

import asyncio
import socket
from dataclasses import dataclass


def request(path: str, token: str, *headers: str) -> bytes:
    """A request for a stream; ``headers`` are whole lines."""
    lines = [f"GET {path} HTTP/1.1", "Host: x", f"Authorization: Bearer {token}", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def address(url: str) -> tuple[str, int]:
    host, port = url.removeprefix("http://").split(":")
    return host, int(port)


def stopped_reader(url: str, path: str, token: str) -> socket.socket:
    """A connection that has asked for a stream and takes nothing of it. The caller closes it."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect(address(url))
    connection.sendall(request(path, token))
    return connection


@dataclass
class Reader:
    """A connection that reads its stream. ``begun`` is all up to the first message."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    begun: str = ""

    @classmethod
    async def connected(cls, url: str, path: str, token: str, *headers: str) -> "Reader":
        """Once the stream's first message is there."""
        made = cls(*await asyncio.open_connection(*address(url)))
        made.writer.write(request(path, token, *headers))
        while '"type":"connected"' not in made.begun:
            made.begun += (await made.reader.readuntil(b"\n")).decode()
        return made

    async def rest(self) -> str:
        """What comes until the other side closes."""
        try:
            return (await self.reader.read()).decode()
        finally:
            self.close()

    def close(self) -> None:
        self.writer.close()
