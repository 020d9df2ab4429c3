"""EventSource as others have written it: httpx-sse, and the npm packages eventsource and eventsource-client."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import httpx_sse

from tests.conftest import ROOT

SCRIPT = ROOT / "tests" / "node" / "eventsource.mjs"


@dataclass(frozen=True)
class Event:
    """``id`` is the last one so far, "" before any."""

    name: str
    data: str
    id: str

    @property
    def message(self) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(self.data)
        return told


Events = AsyncIterator[Event]
"""They end when the page does not come back."""
Open = Callable[..., AbstractAsyncContextManager[Events]]
"""Opens an address, listening for events of these names; ``retries`` gets the waits before coming back, in ms."""


@asynccontextmanager
async def in_python(url: str, *_: str, retries: list[int] | None = None) -> AsyncIterator[Events]:
    """httpx-sse, which leaves the coming back to its user: with the last id, after ``retry``, until there is a 204."""

    async def events(client: httpx.AsyncClient) -> Events:
        last, retry = "", 1.0
        while True:
            try:
                headers = {"Last-Event-ID": last} if last else {}
                async with httpx_sse.aconnect_sse(client, "GET", url, headers=headers) as source:
                    if source.response.status_code == httpx.codes.NO_CONTENT:
                        return
                    async for event in source.aiter_sse():
                        last = event.id or last
                        retry = retry if event.retry is None else event.retry / 1000
                        if event.data:
                            yield Event(event.event, event.data, last)
            except httpx.TransportError:
                pass  # a page comes back from that
            if retries is not None:
                retries.append(round(retry * 1000))
            await asyncio.sleep(retry)

    async with httpx.AsyncClient(timeout=30) as client:
        stream = events(client)
        try:
            yield stream
        finally:
            await stream.aclose()  # type: ignore[attr-defined]


def in_node(library: str) -> Open:
    @asynccontextmanager
    async def opened(url: str, *names: str, retries: list[int] | None = None) -> AsyncIterator[Events]:
        node = shutil.which("node")
        assert node, "Node.js is missing"
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            node, str(SCRIPT), library, url, *names, stdin=pipe, stdout=pipe, limit=1 << 20
        )
        assert process.stdin is not None

        async def events() -> Events:
            assert process.stdout is not None
            while line := await process.stdout.readline():
                told = json.loads(line)
                if told["what"] == "closed":
                    return
                if told["what"] == "event":
                    yield Event(told["event"], told["data"], told["id"])
                elif retries is not None:
                    retries.append(told["delay"])
            raise AssertionError("the script ended without a word")

        try:
            yield events()
        finally:
            process.stdin.close()
            assert await process.wait() == 0

    return opened


LIBRARIES: dict[str, Open] = {
    "httpx-sse": in_python,
    "eventsource": in_node("eventsource"),
    "eventsource-client": in_node("eventsource-client"),
}
