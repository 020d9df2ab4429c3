"""Who hears what: one topic for each followed key, and the viewers of each.

Publishing and attaching are synchronous, so nothing falls between reading where a viewer stands and registering it:
from :meth:`Topic.attach` on, every change newer than its cursor reaches it, and what lies before is read apart
(``past``).
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Protocol

from service.changes.change import Change, FeedKey
from service.changes.log import Snapshot
from service.events.endings import Ending
from service.events.feed import Feed
from service.events.model import Live, Reset
from service.feeds.batch import Batch
from service.feeds.delivery import Delivery, ending_of
from service.feeds.outbox import Budget, Outbox
from service.feeds.past import History, Past, SnapshotLog
from service.feeds.ring import Ring
from service.feeds.viewer import Viewer
from service.logs import fields
from service.metrics import Metrics
from service.tasks import share

logger = logging.getLogger(__name__)

TICK_SECONDS = 0.02
TICK_LIMIT_SECONDS = 0.1
TICK_PER_VIEWER_SECONDS = 100e-6
"""A write takes about half of that, so that even a topic in constant flow leaves half of the processor to others."""
BATCH_BYTES = 1 << 20
"""More is not held back until the tick ends."""
OUTBOX_ROWS = 5000
CLAIM_SECONDS = 5.0
"""How long a topic just opened waits for those who asked for it, however short topics linger."""


class Listener(Protocol):
    """What the hub asks of the listener; see :class:`service.changes.listener.LogListener`."""

    async def follow(self, key: FeedKey) -> int: ...
    def unfollow(self, key: FeedKey) -> None: ...
    def is_key_live(self, key: FeedKey) -> bool: ...
    async def wait_live(self, key: FeedKey, seconds: float) -> None: ...
    @property
    def is_live(self) -> bool: ...


Farewell = Callable[[FeedKey], Ending]
"""How a key's streams end when all are to."""


def _shutdown(_: FeedKey) -> Ending:
    return Ending.SHUTDOWN


class Topic:
    """One followed key. ``feed`` says what its changes mean."""

    def __init__(
        self, key: FeedKey, feed: Feed, head: int, log: SnapshotLog, outbox_bytes: int, metrics: Metrics
    ) -> None:
        self.key = key
        self.feed = feed
        self.ring = Ring(head)
        self.past = Past(log, key, feed, self.ring, self.deliver, metrics)
        self.live = False
        self.viewers: set[Viewer] = set()
        self.linger: asyncio.TimerHandle | None = None
        self._outbox_bytes = outbox_bytes
        self._metrics = metrics
        self._told = head  # viewers have been offered all up to here
        self._pending: list[Delivery] = []
        self._pending_bytes = 0
        self._flushed_at = 0.0
        self._flush: asyncio.TimerHandle | None = None

    def attach(self, cursor: int | None, budget: Budget | None = None) -> Viewer:
        """Registers a viewer that has everything up to ``cursor`` (the topic's head when None); see :class:`Outbox`."""
        # What lies between an older cursor and the head is history: read apart, and put before the outbox.
        last = self.ring.head if cursor is None else max(cursor, self.ring.head)
        viewer = Viewer(Outbox(last, OUTBOX_ROWS, self._outbox_bytes, budget))
        self.viewers.add(viewer)
        return viewer

    def publish(self, changes: Sequence[Change]) -> None:
        for change in changes:
            delivery = self.deliver(change)
            for message in delivery.messages:
                self._metrics.events.labels(message.type).inc()
            self.ring.append(delivery)
            self._pending.append(delivery)
            self._pending_bytes += delivery.size
        self._schedule_flush()

    def deliver(self, change: Change) -> Delivery:
        """Translates a change. A translator that fails on one row must not take the others' changes with it."""
        delivery = Delivery(change, self.feed)
        try:
            delivery.messages  # noqa: B018 - translated and encoded here, once for everybody
        except Exception:
            about = fields(**self.key.named(), revision=change.revision)
            logger.exception("a change can't be translated, nothing is told", extra=about)
            return Delivery.silent(change, self.feed)
        return delivery

    def _schedule_flush(self) -> None:
        """Tells the viewers at once when it has been quiet, else together at the end of the tick."""
        loop = asyncio.get_running_loop()
        tick = min(max(TICK_SECONDS, len(self.viewers) * TICK_PER_VIEWER_SECONDS), TICK_LIMIT_SECONDS)
        due = self._flushed_at + tick
        if loop.time() >= due or self._pending_bytes > BATCH_BYTES:
            self.flush()
        elif self._flush is None:
            self._flush = loop.call_at(due, self.flush)

    def flush(self) -> None:
        """Tells the viewers what the tick has held back."""
        if not self._pending:
            return
        batch = Batch(self._told, self._pending)
        self._forget_pending(batch.upto)
        self._flushed_at = asyncio.get_running_loop().time()
        if conflated := sum(viewer.offer(batch) for viewer in self.viewers):
            self._metrics.conflated.inc(conflated)
        if (ending := ending_of(batch.deliveries)) is not None:
            for viewer in self.viewers:
                viewer.end(ending)

    def _forget_pending(self, told: int) -> None:
        self.close()
        self._told = told
        self._pending = []
        self._pending_bytes = 0

    def restart(self, head: int, reason: str) -> None:
        """What was before ``head`` can't be told: every viewer is reset."""
        self.ring.restart(head)
        self.past.restart()
        self._forget_pending(head)
        for viewer in self.viewers:
            viewer.tell_reset(Reset(reason=reason))

    def close(self) -> None:
        """Nothing is told any more until the next publication."""
        if self._flush is not None:
            self._flush.cancel()
            self._flush = None


class Hub:
    """All topics; the listener's sink."""

    def __init__(
        self, log: SnapshotLog, feeds: Mapping[str, Feed], linger_seconds: float, outbox_bytes: int, metrics: Metrics
    ) -> None:
        self.feeds = feeds
        self.metrics = metrics
        self._log = log
        self._linger_seconds = linger_seconds
        self._outbox_bytes = outbox_bytes
        self._topics: dict[FeedKey, Topic] = {}
        self._opening: dict[FeedKey, asyncio.Task[None]] = {}
        self._kept: Counter[FeedKey] = Counter()
        self._listener: Listener | None = None
        self._guests: set[Callable[[], None]] = set()
        self.draining = False
        self._farewell: Farewell = _shutdown
        self._empty = asyncio.Event()  # once draining: the last viewer and guest have gone
        for feed in feeds:
            metrics.streams_open.labels(feed)  # from the start: what was never there can't fall to nothing

    def bind(self, listener: Listener) -> None:
        """Names the listener, which needs the hub as its sink first."""
        self._listener = listener

    @property
    def viewers(self) -> int:
        return sum(len(topic.viewers) for topic in self._topics.values())

    def viewers_of(self, feed: str) -> int:
        """How many look at keys of one feed."""
        return sum(len(topic.viewers) for topic in self._topics.values() if topic.key.feed == feed)

    async def topic(self, key: FeedKey, patience: float = 0.0) -> Topic:
        """The key's topic, followed from now on for at least the linger time. One opening serves all who ask.

        A topic just opened is given ``patience`` seconds to become live.

        Raises :class:`DatabaseUnavailable` or :class:`DatabaseRefused`.
        """
        while (topic := self._topics.get(key)) is None:  # once opened, it may be given up before this task's turn
            if key not in self._opening:
                self._opening[key] = share(self._open(key, patience))
            await asyncio.shield(self._opening[key])
        self._linger(topic)
        return topic

    async def _open(self, key: FeedKey, patience: float) -> None:
        try:
            assert self._listener is not None, "bind() comes first"  # noqa: S101 - the composition root does
            head = await self._listener.follow(key)
            topic = self._topics[key] = self._apart(key, head)
            topic.live = self._listener.is_key_live(key)
            self._linger(topic)
            await self._listener.wait_live(key, patience)
        finally:
            del self._opening[key]

    def _apart(self, key: FeedKey, head: int) -> Topic:
        """A topic that nobody knows of yet."""
        return Topic(key, self.feeds[key.feed], head, self._log, self._outbox_bytes, self.metrics)

    def attach(self, topic: Topic, cursor: int | None, budget: Budget | None = None) -> Viewer:
        """Registers a viewer; whoever calls it calls :meth:`detach` in the end."""
        self.metrics.streams_open.labels(topic.feed.name).inc()
        viewer = topic.attach(cursor, budget)
        if self.draining:
            viewer.end(self._farewell(topic.key))  # it came in while the others were told
        return viewer

    def detach(self, topic: Topic, viewer: Viewer) -> None:
        if viewer not in topic.viewers:
            return
        topic.viewers.remove(viewer)
        viewer.close()
        viewer.taker = None  # it holds the session, which holds the viewer
        viewer.outbox.clear()
        self.metrics.streams_open.labels(topic.feed.name).dec()
        self.metrics.streams_ended.labels(viewer.ending.reason if viewer.ending else "gone").inc()
        self._linger(topic)
        self._note_empty()

    def keeping(self, key: FeedKey) -> "Keeping":
        """Follows a key that was followed before, viewers or not, for as long as the context is open."""
        return Keeping(self, key)

    def keep(self, key: FeedKey) -> None:
        """See :meth:`keeping`."""
        self._kept[key] += 1
        if key not in self._topics:
            share(self.topic(key))

    def let_go(self, key: FeedKey) -> None:
        """Ends one :meth:`keep`."""
        self._kept[key] -= 1
        if not self._kept[key]:
            del self._kept[key]
            if (topic := self._topics.get(key)) is not None:
                self._linger(topic)

    def _linger(self, topic: Topic) -> None:
        """(Re)starts the time after which a topic without viewers is given up."""
        if topic.linger is not None:
            topic.linger.cancel()
        seconds = max(self._linger_seconds, CLAIM_SECONDS if topic.key in self._opening else 0.0)
        topic.linger = asyncio.get_running_loop().call_later(seconds, self._give_up, topic)

    def _give_up(self, topic: Topic) -> None:
        topic.linger = None
        if not topic.viewers and topic.key not in self._kept and self._topics.get(topic.key) is topic:
            del self._topics[topic.key]
            topic.close()
            if self._listener is not None:
                self._listener.unfollow(topic.key)

    # What the listener tells

    def changes(self, key: FeedKey, changes: Sequence[Change]) -> None:
        if (topic := self._topics.get(key)) is not None:
            topic.publish(changes)

    def live(self, key: FeedKey, live: bool, reason: str) -> None:
        topic = self._topics.get(key)
        if topic is not None and topic.live != live:
            topic.live = live
            for viewer in topic.viewers:
                viewer.tell_live(Live(live=live, reason=reason))

    def lost(self, key: FeedKey, head: int, reason: str) -> None:
        if (topic := self._topics.get(key)) is not None:
            topic.restart(head, reason)

    # For those who poll

    def is_live(self, key: FeedKey) -> bool:
        """Whether a stream of this key would be live; for a key that nobody streams, whether the others are."""
        topic = self._topics.get(key)
        return topic.live if topic else self._listener is not None and self._listener.is_live

    async def head(self, key: FeedKey) -> int:
        """The key's newest revision in the database."""
        return (await self._log.heads(key.feed, [key.key]))[key.key]

    async def read_since(self, key: FeedKey, cursor: int) -> History | None:
        """All after ``cursor`` up to the database's head at the time of the call; None when a reset is due instead.

        Raises :class:`DatabaseUnavailable` or :class:`DatabaseRefused`.
        """
        return await self._apart(key, cursor).past.read_all(cursor)

    async def snapshot(self, key: FeedKey) -> Snapshot:
        """The key's rows. Raises :class:`DatabaseUnavailable` or :class:`DatabaseRefused`."""
        query = self.feeds[key.feed].snapshot_query
        return await self._log.snapshot(key, query.function, query.argument)

    # The end

    @contextmanager
    def guest(self, leave: Callable[[], None]) -> Iterator[None]:
        """A connection that may have no viewer: ``leave`` is called when all are to go, and waited for."""
        self._guests.add(leave)
        try:
            if self.draining:
                leave()  # it came in while the others were told
            yield
        finally:
            self._guests.remove(leave)
            self._note_empty()

    def keys(self) -> list[FeedKey]:
        """Those that are followed."""
        return list(self._topics)

    async def drain(self, seconds: float, farewell: Farewell | None = None) -> None:
        """Ends every stream, with ``shutdown`` unless told otherwise, and waits for them to go, at most ``seconds``."""
        self.draining = True
        self._farewell = farewell or self._farewell
        for topic in self._topics.values():
            topic.flush()  # a farewell may say that all up to its cursor has been told
            for viewer in topic.viewers:
                viewer.end(self._farewell(topic.key))
        for leave in self._guests:
            leave()
        self._note_empty()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._empty.wait(), seconds)

    def _note_empty(self) -> None:
        if self.draining and self.viewers == 0 and not self._guests:
            self._empty.set()

    async def close(self) -> None:
        for opening in self._opening.values():
            opening.cancel()
        for topic in self._topics.values():
            topic.close()
            if topic.linger is not None:
                topic.linger.cancel()
        self._topics.clear()


class Keeping:
    """A context in which the hub keeps a key. No generator: each open stream has one."""

    __slots__ = ("_hub", "_key")

    def __init__(self, hub: Hub, key: FeedKey) -> None:
        self._hub = hub
        self._key = key

    def __enter__(self) -> None:
        self._hub.keep(self._key)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._hub.let_go(self._key)
