"""A client of the stand-in that shows every frame: what the official ones would hide."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import aiohttp

THINGS = {"event": "*", "schema": "public", "table": "rowcast_test_things"}


class RawClient:
    """One WebSocket, protocol 2.0.0; frames are (topic, event, payload)."""

    def __init__(self, websocket: aiohttp.ClientWebSocketResponse) -> None:
        self.websocket = websocket
        self._refs = itertools.count(1)

    async def push(self, topic: str, event: str, payload: Any, join_ref: str | None = None) -> None:
        await self.websocket.send_json([join_ref, str(next(self._refs)), topic, event, payload])

    async def next(self) -> tuple[str, str, Any]:
        """The next frame; ConnectionError with the close code once the socket has closed."""
        message = await self.websocket.receive(20)
        if message.type is not aiohttp.WSMsgType.TEXT:
            raise ConnectionError(self.websocket.close_code)
        _, _, topic, event, payload = message.json()
        return topic.removeprefix("realtime:"), event, payload

    async def until(self, event: str) -> Any:
        """The payload of the next frame with that event; others are passed over."""
        while (frame := await self.next())[1] != event:
            pass
        return frame[2]

    async def join(self, name: str, binding: Any = THINGS) -> Any:
        """Join a channel; returns the reply's payload."""
        await self.push(f"realtime:{name}", "phx_join", {"config": {"postgres_changes": [binding]}}, name)
        return await self.until("phx_reply")

    async def ready(self, *names: str) -> None:
        """Join channels one after the other, and wait until changes flow."""
        for name in names:
            assert (await self.join(name))["status"] == "ok"
            assert (await self.until("system"))["message"] == "Subscribed to PostgreSQL"

    async def heartbeat(self) -> list[tuple[str, Any]]:
        """What came before the answer to a heartbeat: (channel, the changed row's id) of changes, else the event."""
        await self.push("phoenix", "heartbeat", {})
        frames: list[tuple[str, Any]] = []
        while (frame := await self.next())[0] != "phoenix":
            topic, event, payload = frame
            row = payload.get("data", {}).get("record") or payload.get("data", {}).get("old_record")
            frames.append((topic, row["id"] if row else event))
        return frames

    async def ids(self, count: int) -> list[int]:
        """The ids of the next changed rows, one for each frame."""
        return [(await self.until("postgres_changes"))["data"]["record"]["id"] for _ in range(count)]

    async def closed(self) -> int | None:
        """The code that the socket closes with."""
        async with asyncio.timeout(20):
            while (await self.websocket.receive()).type is aiohttp.WSMsgType.TEXT:
                pass
        return self.websocket.close_code
