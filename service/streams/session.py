"""One stream from its first byte to its last: connected, what was missed, what happens, and why it ended.

A session is an iterator of chunks, of whatever its writer makes, and knows nothing of HTTP. It takes its place among
the topic's viewers when it is first iterated and gives it back when it ends, however it ends.
"""

import asyncio
import logging
import math
import secrets
import time
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Generic

from service.backoff import delays
from service.changes.change import FeedKey
from service.errors import DatabaseRefused, DatabaseUnavailable
from service.events.endings import Ending
from service.events.model import Live, Message, Reauth, Reset, StreamError
from service.events.wire import encode
from service.feeds.batch import Written
from service.feeds.delivery import ending_of
from service.feeds.hub import Hub, Topic
from service.feeds.outbox import Budget, merge_range
from service.feeds.past import State
from service.feeds.viewer import Viewer
from service.logs import fields
from service.streams.frames import WRITE_BYTES, Chunk, StreamWriter

REPLAY_PIECE = 256
"""So many deliveries of a replay are written at once; the rest waits, shared by all, until the page has taken them."""
RETRY_MILLISECONDS = (1000, 3000)
REAUTH_SECONDS = 60.0
"""How long before its token expires a page is told so."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Request:
    """What a page asks for. ``cursor`` is where it was, None when it comes for the first time.

    ``expires_at`` is its token's exp, in s since the epoch; ``max_age`` is in s. ``budget`` is what may wait for it and
    those that share its connection, None for one alone.
    """

    cursor: int | None
    snapshot: bool
    expires_at: float
    max_age: float
    budget: Budget | None = None


def new_id() -> str:
    """A stream's name."""
    return secrets.token_hex(4)


def retry_milliseconds(random: Callable[[], float]) -> int:
    """How long a page is to wait before it reconnects; spread, so that those cut together don't come back together."""
    low, high = RETRY_MILLISECONDS
    return round(low + random() * (high - low))


class Session(Generic[Chunk]):
    """One stream of one key. Iterate :meth:`chunks` once. ``id`` names it in the log and to its page.

    ``writer`` makes its chunks. ``state`` is what a feed that opens with the state tells; without a cursor the stream
    begins there.
    """

    def __init__(
        self,
        hub: Hub,
        key: FeedKey,
        request: Request,
        writer: StreamWriter[Chunk],
        keepalive_seconds: float,
        random: Callable[[], float],
        state: State | None = None,
        id: str | None = None,  # noqa: A002 - what it is
    ) -> None:
        self._hub = hub
        self.key = key
        self._feed = hub.feeds[key.feed]
        self._request = request
        self._state = state
        self._keepalive_seconds = keepalive_seconds
        self._random = random
        self.id = id or new_id()
        self._deliveries = 0  # messages written
        self._error: Exception | None = None  # what it could not bear
        self._viewer: Viewer | None = None
        self._ending: Ending | None = None  # asked for before there was a viewer
        self._writer = writer
        self._passed_over: int | None = None  # the newest revision of which `types` left nothing

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
            logger.info("stream ended", extra=self._fields(reason="error", error=error))
            yield self._failure(error)
            return
        viewer = self._viewer = self._hub.attach(topic, self._request.cursor, self._request.budget)
        if self._ending is not None:
            viewer.end(self._ending)
        opened_at = asyncio.get_running_loop().time()
        logger.debug("stream opened", extra=self._fields(cursor=self._request.cursor, snapshot=self._request.snapshot))
        try:
            yield self._opening(topic, viewer)
            for part in (self._missed(topic, viewer), self._live(topic, viewer)):
                async with aclosing(part):
                    async for chunk in part:
                        if self._is_denied(viewer):  # looked at before each write: a slow reader's may take minutes
                            break
                        yield chunk
            if viewer.ending is Ending.ERROR:
                yield self._failure(DatabaseUnavailable("nobody can tell whether the page may still listen"))
            elif viewer.ending is not None:
                yield self._frame(viewer.ending.message, viewer.ending.cursor)
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

    def _is_denied(self, viewer: Viewer) -> bool:
        """Whether the right to what comes next is over."""
        if time.time() >= self._request.expires_at:
            viewer.end(Ending.TOKEN_EXPIRED)
        return viewer.ending is not None and viewer.ending.denies

    def _fields(self, **named: object) -> dict[str, dict[str, object]]:
        return fields(stream=self.id, **self.key.named(), **named)

    def _failure(self, error: Exception) -> Chunk:
        self._error = error
        if isinstance(error, DatabaseUnavailable | DatabaseRefused):  # who asks the database says what is wrong with it
            told = StreamError(code="upstream_unavailable", message="The database can't be asked.")
        else:
            logger.error("a stream failed", extra=self._fields(), exc_info=error)
            told = StreamError(code="internal_error", message="The service has failed.")
        return self._writer.join([self._frame(told), self._frame(Ending.ERROR.message)])

    def _opening(self, topic: Topic, viewer: Viewer) -> Chunk:
        cursor, state = self._request.cursor, self._state
        resumed = cursor is not None and self._feed.exact
        revision = cursor if cursor is not None and resumed else state.head if state is not None else topic.ring.head
        rows = {} if state is None else state.rows
        connected = self._feed.connected(self.key.key, revision, resumed=resumed, live=topic.live, rows=rows)
        viewer.live = None if "live" in type(connected).model_fields else lacking(topic)
        start = None if not self._feed.exact or (self._request.snapshot and not resumed) else revision
        return self._writer.opening(retry_milliseconds(self._random), encode(connected), start)

    async def _missed(self, topic: Topic, viewer: Viewer) -> AsyncGenerator[Chunk, None]:
        """What the page asks for before the present: a replay from its cursor, a snapshot, or nothing."""
        published = topic.ring.head
        since, state = self._request.cursor, self._state
        self._state = None  # streams are many and live long
        if not self._feed.exact and since is not None:
            viewer.tell_reset(Reset(reason="this database has no change log, what was missed is not known"))
            return
        if since is None and (self._request.snapshot or not self._feed.exact):
            state = state or await topic.past.state()
            for chunk in self._snapshot(viewer, state):
                yield chunk
        if since is None and state is not None:
            viewer.outbox.skip_to(state.head)
            if state.head >= published:
                for chunk in self._final(viewer, state):
                    yield chunk
                return
            since = state.head
        if since is None:
            return
        history = await topic.past.history(since, published)
        if history is None:
            viewer.tell_reset(Reset(reason="the cursor is too old, or not from this database"))
            return
        viewer.outbox.skip_to(history.head)
        missed = merge_range(history.deliveries)
        for start in range(0, len(missed), REPLAY_PIECE):
            for chunk in self._told(self._writer.write(missed[start : start + REPLAY_PIECE])):
                yield chunk
        if viewer.has_news:
            return
        if (ending := ending_of(history.deliveries)) is not None:
            viewer.end(ending)
        elif state is not None and not any(delivery.messages for delivery in history.deliveries):
            self._end_as(viewer, state)  # the page was there when the key ended

    async def _live(self, topic: Topic, viewer: Viewer) -> AsyncGenerator[Chunk, None]:
        """What happens, until there is an ending."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        retires = started + self._request.max_age
        keepalive = started + self._keepalive_seconds
        snapshot_due = math.inf  # after a reset: when the database is asked (again); until then nothing else is told
        waits = delays(self._random)
        is_warned = False
        while not self._is_denied(viewer):
            now = loop.time()
            if (reset := viewer.reset) is not None:
                viewer.reset = None
                self._hub.metrics.resets.inc()
                yield self._frame(reset)
                snapshot_due, waits = now, delays(self._random)
            elif now >= snapshot_due:
                try:
                    state = await topic.past.state()
                except DatabaseUnavailable:
                    snapshot_due = loop.time() + next(waits)
                    continue
                snapshot_due = math.inf
                for chunk in self._snapshot(viewer, state):
                    yield chunk
                for chunk in self._final(viewer, state):
                    yield chunk
            elif viewer.live is not None:
                live, viewer.live = viewer.live, None
                yield self._frame(live)
            elif snapshot_due == math.inf and viewer.has_news:
                written, committed_at = self._news(viewer)
                for chunk in self._told(written):
                    yield chunk
                self._hub.metrics.lag.observe(max(0.0, time.time() - committed_at))
            elif viewer.ending is not None:
                return
            else:
                expires = expiry(self._request.expires_at, time.time(), now)
                warns = expires if is_warned else expires - REAUTH_SECONDS
                if now >= warns and not is_warned:
                    is_warned = True
                    yield self._frame(Reauth.before(self._request.expires_at))
                elif now >= retires:
                    viewer.end(Ending.SHUTDOWN)
                    continue
                elif now >= keepalive:
                    yield self._writer.keepalive(self._passed_over)
                    self._passed_over = None
                else:
                    await viewer.wait(min(warns, retires, keepalive, snapshot_due))
                    continue
            keepalive = loop.time() + self._keepalive_seconds

    def _news(self, viewer: Viewer) -> tuple[Written[Chunk], float]:
        """What there is to send, and when the oldest of it was committed."""
        if (batch := viewer.batch) is not None:
            viewer.batch = None
            return batch.written(self._writer), batch.committed_at
        taken = viewer.outbox.take(WRITE_BYTES)
        return self._writer.write(taken), taken[0][0].committed_at

    def _snapshot(self, viewer: Viewer, state: State) -> Iterable[Chunk]:
        viewer.outbox.skip_to(state.head)
        self._passed_over = None  # the snapshot's id is newer
        last = state.parts[-1]
        for part in state.parts:
            yield self._writer.frame(part, state.head if part is last and self._feed.exact else None)

    def _final(self, viewer: Viewer, state: State) -> Iterable[Chunk]:
        """Where the key has ended: what was told at last, and the end."""
        final = self._feed.final(state.rows)
        if final is None or viewer.has_news:
            return
        for message in final.messages:
            yield self._frame(message, state.head if message is final.messages[-1] else None)
        viewer.end(final.ending)

    def _end_as(self, viewer: Viewer, state: State) -> None:
        if (final := self._feed.final(state.rows)) is not None:
            viewer.end(final.ending)

    def _told(self, written: Written[Chunk]) -> Iterable[Chunk]:
        self._passed_over = written.passed_over if written.messages else written.passed_over or self._passed_over
        self._deliveries += written.messages
        self._hub.metrics.deliveries.counts[self.key.feed] += written.messages
        return written.chunks

    def _frame(self, message: Message, revision: int | None = None) -> Chunk:
        return self._writer.frame(encode(message), revision)


def expiry(expires_at: float, wall: float, monotonic: float) -> float:
    """When a token expires on the monotonic clock, as far as the wall clock knows now; all in s.

    Asked again at every turn, at the latest at the next keepalive. So when the wall clock is set right, or the machine
    has slept, an open stream is good for exactly as long as a new one with its token would be.
    """
    return monotonic + expires_at - wall


def lacking(topic: Topic) -> Live | None:
    """What a stream whose first message does not say so tells next where Realtime is away."""
    return None if topic.live else Live(live=False, reason="Realtime is not there")
