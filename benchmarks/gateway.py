"""A gateway of the benchmark's own before the devstack's, which counts what the service asks of Supabase.

    python -m benchmarks.gateway PORT UPSTREAM_PORT

It passes bytes on and reads along: requests by their path, WebSocket connections, and the frames they bring. So that
frames can be read, it takes the offer to compress them out of the opening request. A line on standard input is
answered with the counts since the last, as JSON.
"""

import asyncio
import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.processes import unused_port
from benchmarks.stack import ROOT

REQUEST = re.compile(rb"^(?:GET|POST|PATCH|DELETE) (?:/rest/v1)?(/[^ ?]*)\S* HTTP/1\.1\r$", re.MULTILINE)
COMPRESSION = re.compile(rb"Sec-WebSocket-Extensions: [^\r]*\r\n", re.IGNORECASE)


class Frames:
    """Reads a server's WebSocket frames (RFC 6455: not masked) out of its bytes, as they come."""

    def __init__(self) -> None:
        self._buffer = b""
        self._in_head = True

    def read(self, data: bytes) -> Iterator[bytes]:
        self._buffer += data
        if self._in_head:
            _, found, rest = self._buffer.partition(b"\r\n\r\n")
            if not found:
                return
            self._in_head, self._buffer = False, rest
        while len(self._buffer) >= 2:
            length, start = self._buffer[1], 2
            if length >= 126:
                start = 4 if length == 126 else 10
                length = int.from_bytes(self._buffer[2:start])
            if len(self._buffer) < start + length:
                return
            yield self._buffer[start : start + length]
            self._buffer = self._buffer[start + length :]


class Counting:
    def __init__(self, upstream: int) -> None:
        self._upstream = upstream
        self.counts: Counter[str] = Counter()
        self.sockets = 0
        self._connections: set[asyncio.Task[None]] = set()

    def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.create_task(self._pass_on(reader, writer))
        self._connections.add(connection)
        connection.add_done_callback(self._connections.discard)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        theirs, ours = await asyncio.open_connection("127.0.0.1", self._upstream)
        frames: list[Frames] = []
        directions = [
            asyncio.create_task(self._ask(reader, ours, frames)),
            asyncio.create_task(self._answer(theirs, writer, frames)),
        ]
        await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
        for direction in directions:
            direction.cancel()
        await asyncio.gather(*directions, return_exceptions=True)  # how a side has gone is its own affair
        self.sockets -= len(frames)
        writer.close()
        ours.close()

    async def _ask(self, reader: asyncio.StreamReader, ours: asyncio.StreamWriter, frames: list[Frames]) -> None:
        while data := await reader.read(1 << 18):
            if not frames and b"\r\nUpgrade: websocket\r\n" in data:
                frames.append(Frames())
                self.sockets += 1
                self.counts["websockets"] += 1
                data = COMPRESSION.sub(b"", data)
            elif not frames:
                for found in REQUEST.findall(data):
                    self.counts["requests"] += 1
                    self.counts[found.decode().removeprefix("/rpc/").removeprefix("/")] += 1
            ours.write(data)
            await ours.drain()

    async def _answer(self, theirs: asyncio.StreamReader, writer: asyncio.StreamWriter, frames: list[Frames]) -> None:
        while data := await theirs.read(1 << 18):
            self.counts["bytes"] += len(data)
            for frame in frames[0].read(data) if frames else ():
                self.counts["changes"] += b'"commit_timestamp"' in frame
                self.counts["subscribed"] += frame.count(b"Subscribed to PostgreSQL")
            writer.write(data)
            await writer.drain()


async def serve(port: int, upstream: int) -> None:
    counting = Counting(upstream)
    async with await asyncio.start_server(counting.connected, "127.0.0.1", port, backlog=1024):
        print(json.dumps({}), flush=True)
        while await asyncio.to_thread(sys.stdin.readline):
            print(json.dumps({**counting.counts, "open sockets": counting.sockets}), flush=True)
            counting.counts.clear()


class Gateway:
    """The running gateway."""

    def __init__(self, url: str, process: "subprocess.Popen[str]") -> None:
        self.url = url
        self._process = process

    def counted(self) -> Counter[str]:
        """What has passed since this was asked last."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        told: dict[str, Any] = json.loads(self._process.stdout.readline())
        return Counter(told)


@contextmanager
def counting(supabase_url: str) -> Iterator[Gateway]:
    port = unused_port()
    upstream = supabase_url.rpartition(":")[2]
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.gateway", str(port), upstream],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield Gateway(f"http://127.0.0.1:{port}", process)
        finally:
            process.kill()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), int(sys.argv[2])))
