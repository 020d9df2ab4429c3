"""A page that reads a stream over a real socket, as EventSource does."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import httpx_sse


@dataclass
class Page:
    """``lives`` is what ``live`` said, ``messages`` all else, in order. ``ids`` are those of a stream of one key."""

    _events: AsyncIterator[httpx_sse.ServerSentEvent]
    response: httpx.Response
    messages: list[dict[str, Any]] = field(default_factory=list)
    lives: list[bool] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    last_id: str = ""

    async def next(self) -> dict[str, Any]:
        """The next message but ``live``, which comes whenever Realtime does."""
        while (message := await self._any()).get("type") == "live":
            pass
        return message

    async def until(self, type_: str, **fields: Any) -> dict[str, Any]:
        """The next message of this type with these fields."""
        while True:
            message = await self._any()
            if message.get("type") == type_ and all(message[name] == value for name, value in fields.items()):
                return message

    async def _any(self) -> dict[str, Any]:
        while True:
            event = await anext(self._events)
            self.last_id = event.id
            if event.id.isdigit() and (not self.ids or self.ids[-1] != int(event.id)):
                self.ids.append(int(event.id))
            if event.data:
                message: dict[str, Any] = json.loads(event.data)
                if message.get("type") == "live":
                    self.lives.append(message["live"])
                else:
                    self.messages.append(message)
                    self.names.append(event.event)
                return message

    @property
    def types(self) -> list[str]:
        return [message["type"] for message in self.messages]


@asynccontextmanager
async def opened(url: str, headers: dict[str, str] | None = None, **query: str) -> AsyncIterator[Page]:
    """An open stream; ``url`` with ``query``."""
    async with (
        httpx.AsyncClient(timeout=30) as client,
        httpx_sse.aconnect_sse(client, "GET", url, params=query, headers=headers or {}) as source,
    ):
        assert source.response.status_code == httpx.codes.OK, await source.response.aread()
        page = Page(aiter(source.aiter_sse()), source.response)  # a name: one that is let go closes its connection
        yield page
