"""The floor: no framework, no HTTP library, only asyncio's streams. Each change is written to each stream as it comes.

    python -m benchmarks.rivals.floor PORT

``GET /publish`` makes its connection the publisher's: each line it sends from then on is a change's JSON.
"""

import asyncio
import sys

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\nConnection: close\r\n\r\n"


class Floor:
    def __init__(self) -> None:
        self._streams: set[asyncio.StreamWriter] = set()

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        writer.write(HEAD)
        if request.startswith(b"GET /publish "):
            await self._publish(reader)
        else:
            writer.write(b'data: {"type":"connected"}\n\n')
            self._streams.add(writer)
            await reader.read()
            self._streams.discard(writer)
        writer.close()

    async def _publish(self, reader: asyncio.StreamReader) -> None:
        number = 0
        while line := await reader.readline():
            number += 1
            frame = b"data: %s\nid: %d\n\n" % (line.rstrip(), number)
            for stream in self._streams:
                stream.write(frame)


async def main(port: int) -> None:
    floor = Floor()
    server = await asyncio.start_server(floor.connected, "127.0.0.1", port, backlog=4096)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
