"""A hub without a database, and pages in front of it that read their streams chunk by chunk."""

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from httpx_sse._decoders import SSEDecoder

from service.feeds.hub import Topic
from service.feeds.past import State as KeyState
from service.streams.frames import event_writer
from service.streams.session import Request, Session
from tests.service.fakes import KEY
from tests.service.feeds.test_hub import Bench

HOUR = 3600.0


@dataclass
class Page:
    """Reads a session chunk by chunk. ``frames`` are (type, id it carries or None, body).

    One that ``takes`` is told at once what happens while its session waits, as over a connection that is ready.
    """

    session: Session[bytes]
    frames: list[tuple[str, str | None, dict[str, Any]]] = field(default_factory=list)
    comments: int = 0
    last_id: str = ""
    ended: bool = False
    takes: bool = False

    def __post_init__(self) -> None:
        self._chunks = self.session.chunks()
        self._decoder = SSEDecoder()
        self._id_seen = False

    async def read(self) -> bool:
        """Takes one chunk; False when there are no more."""
        try:
            chunk = await anext(self._chunks)
        except StopAsyncIteration:
            self.ended = True
            return False
        self._hear(chunk)
        return True

    def write_now(self, chunk: bytes) -> bool:
        if self.takes:
            self._hear(chunk)
        return self.takes

    def _hear(self, chunk: bytes) -> None:
        for line in chunk.decode().split("\n")[:-1]:
            self._id_seen = self._id_seen or line.startswith("id:")
            self.comments += line.startswith(":")
            event = self._decoder.decode(line)
            if event is None:
                continue
            if self._id_seen:
                self.last_id = event.id
            if event.data:
                body = json.loads(event.data)
                self.frames.append((event.event, event.id if self._id_seen else None, body))
            self._id_seen = False

    async def read_until(self, type_: str) -> None:
        while not any(body["type"] == type_ for _, _, body in self.frames):
            assert await self.read(), f"ended without {type_}: {self.types}"

    async def read_all(self) -> None:
        while await self.read():
            pass

    async def close(self) -> None:
        await self._chunks.aclose()  # type: ignore[attr-defined]

    @property
    def types(self) -> list[str]:
        return [body["type"] for _, _, body in self.frames]

    @property
    def ids(self) -> list[tuple[str, str | None]]:
        return [(body["type"], id_) for _, id_, body in self.frames]


def asked(**wanted: Any) -> Request:
    defaults: dict[str, Any] = {
        "cursor": None, "snapshot": False, "expires_at": time.time() + HOUR, "max_age": HOUR,
    }  # fmt: skip
    return Request(**{**defaults, **wanted})


class Stage(Bench):
    """A hub with an open topic, and pages in front of it."""

    topic: Topic

    def page(
        self,
        keepalive: float = HOUR,
        state: KeyState | None = None,
        *,
        named: bool = False,
        types: frozenset[str] | None = None,
        takes: bool = False,
        **wanted: Any,
    ) -> Page:
        writer = event_writer(named or self.hub.feeds[KEY.feed].named, types)
        session = Session(
            self.hub, KEY, asked(**wanted), writer, keepalive, lambda: 0.0, state,
            write_now=lambda chunk: page.write_now(chunk),  # noqa: PLW0108 - the page is made of the session
        )  # fmt: skip
        page = Page(session, takes=takes)
        return page


@asynccontextmanager
async def opened(**asked: Any) -> AsyncIterator[Stage]:
    stage = Stage(**asked)
    stage.elsewhere(101, 102, 103)
    stage.log.rows = {"rows": [{"id": "a", "value": 1}]}
    stage.topic = await stage.hub.topic(KEY)
    yield stage
    await stage.hub.close()
