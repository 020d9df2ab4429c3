"""Keys on Realtime sockets, a hundred to each; a socket lives in generations (``realtime``).

When a generation ends a new one starts after a jittered delay, for ever. Who follows a key is told when its channel is
ready, each time anew, what comes on it, and when it is lost.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Protocol

from service.backoff import delays
from service.changes.change import FeedKey
from service.changes.realtime import CHANNELS_PER_SOCKET, Generation, Hearing
from service.errors import in_words
from service.logs import fields
from service.metrics import Metrics
from service.tasks import spawn

logger = logging.getLogger(__name__)


class Ear(Protocol):
    """Who follows one key. None of its methods may raise or block."""

    def ready(self) -> None:
        """Subscribed, for the first time or anew: either way something may have been missed before."""

    def record(self, record: Mapping[str, Any] | None) -> None:
        """A row came; None for one that Realtime could not tell whole."""

    def deaf(self) -> None:
        """The channel is lost until the next readiness."""


class Channel:
    """A key's place on a socket."""

    def __init__(self, key: FeedKey, ear: Ear) -> None:
        self.key = key
        self.ear = ear
        self.live = asyncio.Event()
        self.socket: _Socket | None = None

    def distrust(self, reason: str) -> None:
        """Ends the generation that carries it."""
        if self.socket is not None and self.socket.generation is not None:
            self.socket.generation.end(reason)

    async def wait_live(self, seconds: float) -> None:
        """Returns when the channel is ready, at the latest after ``seconds``."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self.live.wait(), seconds)


class Sockets:
    """``new_generation`` makes a generation for a socket; ``random`` gives numbers from 0 to 1."""

    def __init__(
        self, new_generation: Callable[[Hearing], Generation], random: Callable[[], float], metrics: Metrics
    ) -> None:
        self.new_generation = new_generation
        self.random = random
        self.metrics = metrics
        self._sockets: list[_Socket] = []

    def join(self, key: FeedKey, ear: Ear) -> Channel:
        """Begins to listen to a key that nobody listens to here."""
        channel = Channel(key, ear)
        self._with_room().add(channel)
        return channel

    def leave(self, channel: Channel) -> None:
        socket = channel.socket
        if socket is None:
            return
        socket.remove(channel)
        if not socket.channels:
            socket.task.cancel()
            self._sockets.remove(socket)

    async def close(self) -> None:
        tasks = [socket.task for socket in self._sockets]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._sockets.clear()

    def _with_room(self) -> "_Socket":
        for socket in self._sockets:
            if len(socket.channels) < CHANNELS_PER_SOCKET:
                return socket
        socket = _Socket(self)
        self._sockets.append(socket)
        return socket


class _Socket(Hearing):
    """Up to a hundred keys, generation after generation."""

    def __init__(self, sockets: Sockets) -> None:
        self._sockets = sockets
        self.channels: dict[FeedKey, Channel] = {}
        self.generation: Generation | None = None
        self._started_at: float | None = None  # the generation's start, until its first channel is ready
        self.task = spawn(self._run())

    def add(self, channel: Channel) -> None:
        self.channels[channel.key] = channel
        channel.socket = self
        if self.generation is not None:
            self.generation.join(channel.key)

    def remove(self, channel: Channel) -> None:
        del self.channels[channel.key]
        channel.socket = None
        if self.generation is not None:
            self.generation.leave(channel.key)

    def ready(self, key: FeedKey) -> None:
        if self._started_at is not None:
            seconds = asyncio.get_running_loop().time() - self._started_at
            logger.info("Realtime is there", extra=fields(keys=len(self.channels), seconds=seconds))
            self._started_at = None
        if (channel := self.channels.get(key)) is not None:
            channel.live.set()
            channel.ear.ready()

    def record(self, key: FeedKey, record: Mapping[str, Any] | None) -> None:
        if (channel := self.channels.get(key)) is not None:
            channel.ear.record(record)

    async def _run(self) -> None:
        waits = delays(self._sockets.random)
        told: set[str] = set()
        while True:
            self._sockets.metrics.generations.inc()
            self._started_at = asyncio.get_running_loop().time()
            logger.debug("Realtime generation started", extra=fields(keys=len(self.channels)))
            generation: Generation | None = None
            was_live = False
            try:
                generation = self._sockets.new_generation(self)
                await generation.open()
                self.generation = generation
                for key in self.channels:
                    generation.join(key)
                reason = await generation.ended()
            except Exception as error:  # noqa: BLE001 - whatever stops a connection, the answer is another one
                reason = f"can't connect: {in_words(error)}"
            finally:
                self.generation = None
                for channel in self.channels.values():
                    if channel.live.is_set():
                        was_live = True
                        channel.live.clear()
                        channel.ear.deaf()
                if generation is not None:
                    await generation.close()
            # Each reason is told once in an outage: Realtime may be away for hours, and is tried all the time.
            if was_live:
                told.clear()
                waits = delays(self._sockets.random)
            level = logging.DEBUG if reason in told else logging.WARNING
            told.add(reason)
            logger.log(level, "Realtime generation ended", extra=fields(reason=reason, keys=len(self.channels)))
            await asyncio.sleep(next(waits))
