"""Follows the keys that have viewers: Realtime for speed, the change log for truth.

Three things bring changes in, and a key's sequencer makes one order of them:

- Realtime: a channel for each key, ready or not (``sockets``).
- Catch-up, from the key's cursor: on every readiness message, after a hole that does not close by itself, and when the
  heads say so. One at a time for each key.
- The heads: every key's newest revision in the database, read in one call each HEADS seconds. A key that is behind it
  at two readings is deaf: it catches up and its generation ends. A key whose channel is not ready is fed by these
  readings alone, once a second, so an outage of Realtime makes changes later and loses none.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Protocol

from service.backoff import delays
from service.changes.change import Change, FeedKey, MalformedChange, from_record
from service.changes.log import Page
from service.changes.realtime import Generation, Hearing
from service.changes.sequence import Sequencer
from service.changes.sockets import Channel, Sockets
from service.errors import DatabaseRefused, DatabaseUnavailable
from service.logs import fields
from service.metrics import Metrics
from service.tables import STANDARD, Tables
from service.tasks import spawn

HOLE_SECONDS = 0.15
POLL_SECONDS = 1.0
KEYS_PER_CALL = 500

logger = logging.getLogger(__name__)


class Log(Protocol):
    """What is asked of the change log; see :class:`service.changes.log.ChangeLog`."""

    async def since(self, key: FeedKey, cursor: int) -> Page: ...
    async def heads(self, feed: str, keys: Iterable[str]) -> dict[str, int]: ...


class Sink(Protocol):
    """Who is told. None of these may raise or block."""

    def changes(self, key: FeedKey, changes: Sequence[Change]) -> None:
        """The key's next changes, in order, none missing."""

    def live(self, key: FeedKey, live: bool, reason: str) -> None:
        """Realtime carries the key's changes from now on, or does not."""

    def lost(self, key: FeedKey, head: int, reason: str) -> None:
        """What was before ``head`` can't be told one by one."""


class _Follow:
    """One followed key; what it hears of Realtime it tells the listener."""

    def __init__(self, key: FeedKey, listener: "LogListener") -> None:
        self.key = key
        self._listener = listener
        self.sequencer: Sequencer | None = None  # None until the first reading of its head
        self.channel: Channel | None = None
        self.catching_up: asyncio.Task[None] | None = None
        self.wanted_again = False
        self.hole: asyncio.TimerHandle | None = None
        self.expected: int | None = None  # a head that was ahead of us at the last reading
        self.ahead_at: int | None = None  # where we were when a head was behind us
        self.was_live = False  # as the sink has been told

    @property
    def is_live(self) -> bool:
        return self.channel is not None and self.channel.live.is_set()

    def ready(self) -> None:
        self._listener.on_ready(self)

    def record(self, record: Mapping[str, Any] | None) -> None:
        self._listener.on_record(self, record)

    def deaf(self) -> None:
        self._listener.on_deaf(self)


class LogListener:
    """See the module. ``new_generation`` makes a generation for a socket; ``random`` gives numbers from 0 to 1."""

    def __init__(
        self,
        log: Log,
        sink: Sink,
        new_generation: Callable[[Hearing], Generation],
        random: Callable[[], float],
        metrics: Metrics,
        heads_seconds: float = 5.0,
        tables: Tables = STANDARD,
    ) -> None:
        self.metrics = metrics
        self._tables = tables
        self._log = log
        self._sink = sink
        self.random = random
        self._heads_seconds = heads_seconds
        self._follows: dict[FeedKey, _Follow] = {}
        self._sockets = Sockets(new_generation, random, metrics)
        self._heads_task: asyncio.Task[None] | None = None
        self._look = asyncio.Event()  # something is wrong: read the heads sooner
        self.database_up = True

    def start(self) -> None:
        self._heads_task = spawn(self._watch_heads())

    @property
    def is_running(self) -> bool:
        return self._heads_task is not None and not self._heads_task.done()

    @property
    def keys(self) -> int:
        """How many keys are followed."""
        return len(self._follows)

    @property
    def live_keys(self) -> int:
        """How many of them Realtime carries."""
        return sum(follow.is_live for follow in self._follows.values())

    @property
    def is_live(self) -> bool:
        """True unless some followed key is without Realtime."""
        return self.live_keys == self.keys

    async def stop(self) -> None:
        tasks = [follow.catching_up for follow in self._follows.values() if follow.catching_up]
        if self._heads_task:
            tasks.append(self._heads_task)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._sockets.close()
        for follow in self._follows.values():
            self._forget_hole(follow)
        self._follows.clear()

    async def follow(self, key: FeedKey) -> int:
        """Begins to follow a key; returns the cursor after which every change will be told.

        Raises :class:`DatabaseUnavailable` or :class:`DatabaseRefused`; the key is not followed then.
        """
        follow = self._follows[key] = _Follow(key, self)
        # Joined before the head is read: what Realtime brings meanwhile waits for the sequencer's first position.
        follow.channel = self._sockets.join(key, follow)
        try:
            head = (await self._log.heads(key.feed, [key.key]))[key.key]
        except BaseException:
            self.unfollow(key)
            raise
        follow.sequencer = Sequencer(head)
        if follow.is_live:
            self._catch_up(follow)  # what came between the readiness message and now was not kept
        return head

    async def wait_live(self, key: FeedKey, seconds: float) -> None:
        """Returns when the key's channel is ready, at the latest after ``seconds``."""
        if (follow := self._follows.get(key)) is not None and follow.channel is not None:
            await follow.channel.wait_live(seconds)

    def is_key_live(self, key: FeedKey) -> bool:
        follow = self._follows.get(key)
        return follow is not None and follow.is_live

    def unfollow(self, key: FeedKey) -> None:
        if (follow := self._follows.pop(key, None)) is None:
            return  # closed meanwhile
        self._forget_hole(follow)
        if follow.catching_up:
            follow.catching_up.cancel()
        if follow.channel is not None:
            self._sockets.leave(follow.channel)

    # What a socket hears

    def on_ready(self, follow: _Follow) -> None:
        if follow.sequencer is not None:
            self._catch_up(follow)
            if not follow.was_live:
                self._sink.live(follow.key, True, "subscribed")
        follow.was_live = True

    def on_deaf(self, follow: _Follow) -> None:
        """Why is in the log: it may name somebody else's project."""
        follow.was_live = False
        self._look.set()
        self._sink.live(follow.key, False, "the connection to Realtime was lost")

    def on_record(self, follow: _Follow, record: Mapping[str, Any] | None) -> None:
        if follow.sequencer is None:
            return
        if record is None:
            self._catch_up(follow)
            return
        if record.get("feed") != follow.key.feed:
            return  # another feed that has the same key
        try:
            change = from_record(record, self._tables)
        except MalformedChange as error:
            logger.warning("a change from Realtime can't be read", extra=fields(**follow.key.named(), error=error))
            self._catch_up(follow)
            return
        self._emit(follow, follow.sequencer.admit(change))

    def _emit(self, follow: _Follow, changes: list[Change]) -> None:
        if changes:
            self._sink.changes(follow.key, changes)
        if follow.sequencer is not None and follow.sequencer.has_hole:
            if follow.hole is None:
                self.metrics.gaps.inc()
                loop = asyncio.get_running_loop()
                follow.hole = loop.call_later(HOLE_SECONDS, self._hole_stayed, follow)
        else:
            self._forget_hole(follow)

    def _hole_stayed(self, follow: _Follow) -> None:
        follow.hole = None
        last = follow.sequencer.last if follow.sequencer else None
        logger.info("a change is missing, catching up", extra=fields(**follow.key.named(), revision=last))
        self._catch_up(follow)

    def _forget_hole(self, follow: _Follow) -> None:
        if follow.hole is not None:
            follow.hole.cancel()
            follow.hole = None

    # Catching up

    def _catch_up(self, follow: _Follow) -> None:
        """Starts a catch-up, or has the running one followed by another: it may have read before what is wanted."""
        if follow.catching_up is not None:
            follow.wanted_again = True
            return
        follow.catching_up = spawn(self._catching_up(follow))

    async def _catching_up(self, follow: _Follow) -> None:
        try:
            while True:
                follow.wanted_again = False
                await self._read_rest(follow)
                if not follow.wanted_again:
                    return
        finally:
            follow.catching_up = None

    async def _read_rest(self, follow: _Follow) -> None:
        self.metrics.catch_ups.inc()
        sequencer = follow.sequencer
        assert sequencer is not None, "a catch-up needs a position"  # noqa: S101 - callers see to it
        waits = delays(self.random)
        more = True
        while more:
            try:
                page = await self._log.since(follow.key, sequencer.last)
            except (DatabaseUnavailable, DatabaseRefused):
                self._note_database(False)
                await asyncio.sleep(next(waits))
                continue
            except Exception:  # a bug, but the key must not be left behind
                logger.exception("the change log can't be read", extra=fields(**follow.key.named()))
                await asyncio.sleep(next(waits))
                continue
            self._note_database(True)
            if page.reset:
                logger.warning(
                    "the change log does not reach back, viewers are told a reset",
                    extra=fields(**follow.key.named(), revision=sequencer.last, head=page.head),
                )
                sequencer.restart(page.head)
                self._forget_hole(follow)
                self._sink.lost(follow.key, page.head, "the change log no longer reaches back far enough")
                return
            head = page.changes[-1].revision if page.more else page.head
            self._emit(follow, sequencer.catch_up(page.changes, head))
            more = page.more

    # Watching the heads

    async def _watch_heads(self) -> None:
        while True:
            await self._next_reading()
            try:
                for feed in {key.feed for key in self._follows}:
                    await self._compare_heads(feed)
            except Exception:
                # Without this watch a deaf Realtime would go unnoticed: it goes on, whatever happens.
                logger.exception("a reading of the heads failed")

    async def _next_reading(self) -> None:
        something_wrong = not self.is_live or not self.database_up or any(f.expected for f in self._follows.values())
        self._look.clear()
        base = POLL_SECONDS if something_wrong else self._heads_seconds
        with suppress(TimeoutError):
            await asyncio.wait_for(self._look.wait(), base * (0.9 + 0.2 * self.random()))

    async def _compare_heads(self, feed: str) -> None:
        followed = {key.key: f for key, f in self._follows.items() if key.feed == feed and f.sequencer is not None}
        keys = list(followed)
        for start in range(0, len(keys), KEYS_PER_CALL):
            try:
                heads = await self._log.heads(feed, keys[start : start + KEYS_PER_CALL])
            except (DatabaseUnavailable, DatabaseRefused):
                self._note_database(False)
                return
            self._note_database(True)
            for key, head in heads.items():
                self._compare(followed[key], head)

    def _compare(self, follow: _Follow, head: int) -> None:
        # The key may have been given up during the reading, and followed anew: the old position would tell all twice.
        if self._follows.get(follow.key) is not follow or follow.sequencer is None:
            return
        last = follow.sequencer.last
        if head < last:
            # Mostly Realtime was faster. Twice without a change, it is another database: the catch-up will tell.
            if follow.ahead_at == last:
                self._catch_up(follow)
            follow.ahead_at = last
            follow.expected = None
        elif head == last:
            follow.expected = None
        elif not follow.is_live:
            self._catch_up(follow)
        elif follow.expected is None or follow.expected <= last:
            follow.expected = head  # perhaps on its way: the next reading tells
            self._look.set()
        else:
            follow.expected = None
            self._catch_up(follow)
            if follow.channel is not None:
                follow.channel.distrust(f"{follow.key.feed} {follow.key.key} is deaf: the database is ahead of it")

    def _note_database(self, up: bool) -> None:
        if up != self.database_up:
            self.database_up = up
            self._look.set()
