"""One stream of one key, from its first byte to its last, whatever it tells.

A stream is an iterator of chunks, of whatever its writer makes, and knows nothing of HTTP. It takes its place among
the topic's viewers when it is first iterated and gives it back when it ends, however it ends.
"""

import asyncio
import logging
import secrets
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import ClassVar, Generic

from service.changes.change import FeedKey
from service.errors import DatabaseRefused, DatabaseUnavailable
from service.events.endings import Ending
from service.events.model import Live, Message, StreamError
from service.events.wire import encode
from service.feeds.hub import Hub, Topic
from service.feeds.outbox import Budget
from service.feeds.viewer import Viewer
from service.logs import fields
from service.streams.frames import Chunk, StreamWriter
from service.streams.lifetime import Lifetime

RETRY_MILLISECONDS = (1000, 3000)

logger = logging.getLogger(__name__)


def new_id() -> str:
    """A stream's name."""
    return secrets.token_hex(4)


def retry_milliseconds(random: Callable[[], float]) -> int:
    """How long a page is to wait before it reconnects; spread, so that those cut together don't come back together."""
    low, high = RETRY_MILLISECONDS
    return round(low + random() * (high - low))


class Stream(ABC, Generic[Chunk]):
    """Iterate :meth:`chunks` once. ``id`` names it in the log and to its page.

    ``cursor`` is where the page was, None when it comes for the first time. ``budget`` is what may wait for it and
    those that share its connection, None for one alone.
    """

    tells_errors: ClassVar[bool] = True
    """Whether an ``error`` says what it could not bear. Elsewhere that type means something else."""

    def __init__(
        self,
        hub: Hub,
        key: FeedKey,
        writer: StreamWriter[Chunk],
        lifetime: Lifetime,
        random: Callable[[], float],
        *,
        cursor: int | None = None,
        budget: Budget | None = None,
        id: str | None = None,  # noqa: A002 - what it is
    ) -> None:
        self.key = key
        self.id = id or new_id()
        self._hub = hub
        self._writer = writer
        self._lifetime = lifetime
        self._random = random
        self._cursor = cursor
        self._budget = budget
        self._deliveries = 0  # messages written
        self._error: Exception | None = None  # what it could not bear
        self._viewer: Viewer | None = None
        self._ending: Ending | None = None  # asked for before there was a viewer

    @property
    def ending(self) -> Ending | None:
        """How it ends, as soon as that is known."""
        return self._ending if self._viewer is None else self._viewer.ending

    def end(self, ending: Ending) -> None:
        """Ends the stream, or sees to it that it ends as soon as it begins."""
        self._ending = ending
        if self._viewer is not None:
            self._viewer.end(ending)

    async def chunks(self) -> AsyncGenerator[Chunk, None]:
        try:
            # Attached in the same step in which the topic is there, so that it can't have been given up in between.
            topic = await self._hub.topic(self.key)
        except (DatabaseUnavailable, DatabaseRefused) as error:
            self._ending = Ending.ERROR
            self._hub.metrics.streams_ended.labels(Ending.ERROR.reason).inc()  # the hub counts those that it has had
            logger.info("stream ended", extra=self._fields(reason=Ending.ERROR.reason, error=error))
            yield self._failure(error)
            return
        viewer = self._viewer = self._hub.attach(topic, self._cursor, self._budget)
        if self._ending is not None:
            viewer.end(self._ending)
        opened_at = asyncio.get_running_loop().time()
        logger.debug("stream opened", extra=self._fields(cursor=self._cursor))
        try:
            yield self._opening(topic, viewer)
            parts = self._parts(topic, viewer)
            while parts:
                async with aclosing(parts.pop()) as part:  # one that is over is not kept for the hours of the next
                    async for chunk in part:
                        if self._is_denied(viewer):  # looked at before each write: a slow reader's may take minutes
                            break
                        yield chunk
            if (end := self._end(viewer)) is not None:
                yield end
        except Exception as error:  # noqa: BLE001 - a page is told that its stream ends, whatever ends it
            viewer.end(Ending.ERROR)
            yield self._failure(error)
        finally:
            self._hub.detach(topic, viewer)
            logger.info(
                "stream ended",
                extra=self._fields(
                    reason=viewer.ending.reason if viewer.ending else "gone",
                    seconds=asyncio.get_running_loop().time() - opened_at,
                    deliveries=self._deliveries,
                    conflated=viewer.outbox.conflated,
                    error=self._error,
                ),
            )

    @abstractmethod
    def _opening(self, topic: Topic, viewer: Viewer) -> Chunk:
        """The first chunk."""

    @abstractmethod
    def _parts(self, topic: Topic, viewer: Viewer) -> list[AsyncGenerator[Chunk, None]]:
        """All that follows, one after the other from the list's end on, to the viewer's ending."""

    def _end(self, viewer: Viewer) -> Chunk | None:
        """The last chunk."""
        if viewer.ending is Ending.ERROR:
            return self._failure(DatabaseUnavailable("nobody can tell whether the page may still listen"))
        return None if viewer.ending is None else self._frame(viewer.ending.message, viewer.ending.cursor)

    def _is_denied(self, viewer: Viewer) -> bool:
        """Whether the right to what comes next is over."""
        if self._lifetime.is_expired:
            viewer.end(Ending.TOKEN_EXPIRED)
        return viewer.ending is not None and viewer.ending.denies

    def _failure(self, error: Exception) -> Chunk:
        self._error = error
        if isinstance(error, DatabaseUnavailable | DatabaseRefused):  # who asks the database says what is wrong with it
            told = StreamError(code="upstream_unavailable", message="The database can't be asked.")
        else:
            logger.error("a stream failed", extra=self._fields(), exc_info=error)
            told = StreamError(code="internal_error", message="The service has failed.")
        end = self._frame(Ending.ERROR.message)
        return self._writer.join([self._frame(told), end]) if self.tells_errors else end

    def _frame(self, message: Message, revision: int | None = None) -> Chunk:
        return self._writer.frame(encode(message), revision)

    def _count(self, messages: int) -> None:
        self._deliveries += messages
        self._hub.metrics.deliveries.counts[self.key.feed] += messages

    def _fields(self, **named: object) -> dict[str, dict[str, object]]:
        return fields(stream=self.id, **self.key.named(), **named)


def lacking(topic: Topic) -> Live | None:
    """What a stream whose first message does not say so tells next where Realtime is away."""
    return None if topic.live else Live(live=False, reason="Realtime is not there")
