"""A feed told as it happens: connected, what was missed, what happens, and why it ended."""

import asyncio
import logging
import math
import time
from collections.abc import AsyncGenerator, Callable, Iterable
from dataclasses import dataclass

from service.backoff import delays
from service.changes.change import FeedKey
from service.errors import DatabaseUnavailable
from service.events.endings import Ending
from service.events.model import Reauth, Reset
from service.events.wire import encode
from service.feeds.batch import Batch, Written
from service.feeds.delivery import ending_of
from service.feeds.hub import Hub, Topic
from service.feeds.outbox import Budget, merge_range
from service.feeds.past import State
from service.feeds.viewer import Viewer
from service.streams.frames import WRITE_BYTES, Chunk, StreamWriter
from service.streams.lifetime import Lifetime
from service.streams.stream import Stream, lacking, retry_milliseconds

logger = logging.getLogger(__name__)

REPLAY_PIECE = 256
"""So many deliveries of a replay are written at once; the rest waits, shared by all, until the page has taken them."""


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


class Session(Stream[Chunk]):
    """One stream of one key.

    ``writer`` makes its chunks. ``state`` is what a feed that opens with the state tells; without a cursor the stream
    begins there. ``write_now`` writes a chunk at once, behind all that have been iterated, or says that it can't.
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
        write_now: Callable[[Chunk], bool] | None = None,
    ) -> None:
        lifetime = Lifetime(request.expires_at, request.max_age, keepalive_seconds)
        super().__init__(hub, key, writer, lifetime, random, cursor=request.cursor, budget=request.budget, id=id)
        self._feed = hub.feeds[key.feed]
        self._wants_snapshot = request.snapshot
        self._state = state
        self._write_now = write_now
        self._passed_over: int | None = None  # the newest revision of which `types` left nothing

    def _opening(self, topic: Topic, viewer: Viewer) -> Chunk:
        cursor, state = self._cursor, self._state
        resumed = cursor is not None and self._feed.exact
        revision = cursor if cursor is not None and resumed else state.head if state is not None else topic.ring.head
        rows = {} if state is None else state.rows
        connected = self._feed.connected(self.key.key, revision, resumed=resumed, live=topic.live, rows=rows)
        viewer.live = None if "live" in type(connected).model_fields else lacking(topic)
        start = None if not self._feed.exact or (self._wants_snapshot and not resumed) else revision
        return self._writer.opening(retry_milliseconds(self._random), encode(connected), start)

    def _parts(self, topic: Topic, viewer: Viewer) -> list[AsyncGenerator[Chunk, None]]:
        viewer.taker = self._take
        return [self._live(topic, viewer), self._missed(topic, viewer)]

    async def _missed(self, topic: Topic, viewer: Viewer) -> AsyncGenerator[Chunk, None]:
        """What the page asks for before the present: a replay from its cursor, a snapshot, or nothing."""
        published = topic.ring.head
        since, state = self._cursor, self._state
        self._state = None  # streams are many and live long
        if not self._feed.exact and since is not None:
            viewer.tell_reset(Reset(reason="this database has no change log, what was missed is not known"))
            return
        if since is None and (self._wants_snapshot or not self._feed.exact):
            state = state or await topic.past.state()
            for chunk in self._snapshot(viewer, state):
                yield chunk
        if since is None and state is not None:
            viewer.skip_to(state.head)
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
        viewer.skip_to(history.head)
        missed = merge_range(history.deliveries)
        for start in range(0, len(missed), REPLAY_PIECE):
            for chunk in self._told(self._writer.write(missed[start : start + REPLAY_PIECE])):
                yield chunk
        if viewer.will_be_told:
            return
        if (ending := ending_of(history.deliveries)) is not None:
            viewer.end(ending)
        elif state is not None and not any(delivery.messages for delivery in history.deliveries):
            self._end_as(viewer, state)  # the page was there when the key ended

    async def _live(self, topic: Topic, viewer: Viewer) -> AsyncGenerator[Chunk, None]:
        """What happens, until there is an ending."""
        loop = asyncio.get_running_loop()
        lifetime = self._lifetime
        snapshot_due = math.inf  # after a reset: when the database is asked (again); until then nothing else is told
        waits = delays(self._random)
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
                if not written.chunks:
                    continue
                self._observe_lag(committed_at)
            elif viewer.ending is not None:
                return
            else:
                due = lifetime.due()
                if isinstance(due, float):
                    await viewer.wait(min(due, snapshot_due))
                    continue
                if isinstance(due, Ending):
                    viewer.end(due)
                    continue
                if isinstance(due, Reauth):
                    yield self._frame(due)
                else:
                    yield self._writer.keepalive(self._passed_over)
                    self._passed_over = None
            lifetime.spoke()

    def _take(self, batch: Batch) -> bool:
        """Tells a batch in the topic's own step, while this stream waits, if its connection takes it.

        What is longer than one chunk goes its usual way: its page may fall behind, or lose its rights, in between.
        """
        try:
            return self._took(batch)
        except Exception:
            logger.exception("a stream can't be told at once, its task will try", extra=self._fields())
            return False  # the others are told all the same

    def _took(self, batch: Batch) -> bool:
        written = batch.written(self._writer)
        if written.chunks:
            if len(written.chunks) > 1 or self._write_now is None or self._lifetime.is_expired:
                return False
            committed_at = batch.committed_at
            if not self._write_now(written.chunks[0]):
                return False
            self._lifetime.spoke()
            self._observe_lag(committed_at)
        self._told(written)
        return True

    def _observe_lag(self, committed_at: float) -> None:
        self._hub.metrics.lag.observe(max(0.0, time.time() - committed_at))

    def _news(self, viewer: Viewer) -> tuple[Written[Chunk], float]:
        """What there is to send, and when the oldest of it was committed."""
        if (batch := viewer.batch) is not None:
            viewer.batch = None
            return batch.written(self._writer), batch.committed_at
        taken = viewer.outbox.take(WRITE_BYTES)
        return self._writer.write(taken), taken[0][0].committed_at

    def _snapshot(self, viewer: Viewer, state: State) -> Iterable[Chunk]:
        viewer.skip_to(state.head)
        self._passed_over = None  # the snapshot's id is newer
        last = state.parts[-1]
        for part in state.parts:
            yield self._writer.frame(part, state.head if part is last and self._feed.exact else None)

    def _final(self, viewer: Viewer, state: State) -> Iterable[Chunk]:
        """Where the key has ended: what was told at last, and the end. The id of all that has been carried before."""
        final = self._feed.final(state.rows)
        if final is None or viewer.will_be_told:
            return
        for message in final.messages:
            yield self._frame(message)
        viewer.end(final.ending)

    def _end_as(self, viewer: Viewer, state: State) -> None:
        if (final := self._feed.final(state.rows)) is not None:
            viewer.end(final.ending)

    def _told(self, written: Written[Chunk]) -> Iterable[Chunk]:
        self._passed_over = written.passed_over if written.messages else written.passed_over or self._passed_over
        self._count(written.messages)
        return written.chunks
