"""Follows keys in a database that keeps no change log: reads their rows again and again, and tells what is different.

A key is read anew every REREAD seconds, on every readiness message of Realtime, and, soon, whenever Realtime tells that
a row of it was written. What Realtime tells is a nudge and no more: it loses rows, and tells no deletion of a filtered
table; the reading heals all of that. What happens between two readings can't be told one by one, so nothing here has a
number that a page may come back with: a stream begins with a snapshot, and so does each that comes back.

A key with a reader is read as that user: each sees what row level security shows them, no row and no column more.
Realtime's channels are the keys' alone, shared by all who read them: a nudge tells nobody anything.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

from realtime import RealtimePostgresChangesListenEvent

from service.backoff import delays
from service.changes.change import FeedKey
from service.changes.differ import Row, State, differ
from service.changes.listener import Sink
from service.changes.log import Page, Snapshot, Standing
from service.changes.realtime import Binding, Generation, Hearing
from service.changes.rows import Rows
from service.changes.sockets import Channel, Sockets
from service.errors import DatabaseRefused, DatabaseUnavailable
from service.logs import fields
from service.metrics import Metrics
from service.tables import Tables
from service.tasks import spawn

NUDGE_SECONDS = 0.2
"""How long a nudge waits for others; a key that takes longer to read waits as long as it takes."""

TOLD_LIMIT = 2000
"""So many changes of one reading are told one by one; of more, pages are told the outcome: a reset and a snapshot."""

logger = logging.getLogger(__name__)


def nudges(tables: Tables) -> list[Binding]:
    """What a key's channel tells of: everything that happens to its rows."""
    return [
        Binding(table.there, table.columns["project_id"], RealtimePostgresChangesListenEvent.All)
        for table in tables.ours.values()
    ]


class _Follow:
    """One followed key, as its reader sees it. ``state`` is what was told last, as of the change ``head``."""

    def __init__(self, key: FeedKey) -> None:
        self.key = key
        self.state: State | None = None
        self.head = 0
        self.reading = asyncio.Lock()
        self.read_at = float("-inf")  # when the newest reading began
        self.took = 0.0  # seconds
        self.nudged = asyncio.Event()
        self.task: asyncio.Task[None] | None = None
        self.is_refused = False


class _Nudges:
    """A key's channel, and all who follow the key, each as another reader. ``sink`` is told whether it is live."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self.follows: set[_Follow] = set()
        self.channel: Channel | None = None
        self.was_live = False

    @property
    def is_live(self) -> bool:
        return self.channel is not None and self.channel.live.is_set()

    def ready(self) -> None:
        if not self.was_live:
            self._tell(True, "subscribed")
        self.was_live = True
        self._nudge()

    def record(self, _record: Mapping[str, Any] | None) -> None:
        self._nudge()

    def deaf(self) -> None:
        self.was_live = False
        self._tell(False, "the connection to Realtime was lost")

    def _nudge(self) -> None:
        for follow in self.follows:
            follow.nudged.set()

    def _tell(self, live: bool, reason: str) -> None:
        for follow in self.follows:
            self._sink.live(follow.key, live, reason)


class DirectListener:
    """Both what the hub asks of a listener and what it asks of a log.

    ``rows`` are read for who follows, ``asked`` for who asks once, in a line of its own: who follows does not wait for
    however many ask. ``new_generation`` makes a generation that hears the tables; ``random`` gives numbers from 0 to 1.
    """

    def __init__(
        self,
        rows: Rows,
        asked: Rows,
        new_generation: Callable[[Hearing], Generation],
        random: Callable[[], float],
        metrics: Metrics,
        reread_seconds: float = 30.0,
    ) -> None:
        self._rows = rows
        self._asked = asked
        self._sink: Sink | None = None
        self._random = random
        self._metrics = metrics
        self._reread_seconds = reread_seconds
        self._sockets = Sockets(new_generation, random, metrics)
        self._follows: dict[FeedKey, _Follow] = {}
        self._nudges: dict[FeedKey, _Nudges] = {}  # by the key without a reader
        self._standing = Standing()
        self.is_running = True

    def bind(self, sink: Sink) -> None:
        """Names who is told, who needs the listener first."""
        self._sink = sink

    @property
    def available(self) -> bool:
        """Whether the database answered when it was last asked."""
        return self._standing.available

    # What the hub asks of a listener

    @property
    def keys(self) -> int:
        """How many keys are followed, one for each reader."""
        return len(self._follows)

    @property
    def live_keys(self) -> int:
        """How many of them Realtime nudges."""
        return sum(len(nudges.follows) for nudges in self._nudges.values() if nudges.is_live)

    @property
    def is_live(self) -> bool:
        """True unless some followed key is without Realtime."""
        return self.live_keys == self.keys

    async def follow(self, key: FeedKey) -> int:
        """Begins to follow a key; returns 0: every change from now on will be told, numbered from 1.

        Raises :class:`DatabaseUnavailable` or :class:`DatabaseRefused`; the key is not followed then.
        """
        follow = self._follows[key] = _Follow(key)
        shared = _shared(key)
        nudges = self._nudges.get(shared)
        if nudges is None:
            assert self._sink is not None, "bind() comes first"  # noqa: S101 - the composition root does
            nudges = self._nudges[shared] = _Nudges(self._sink)
            nudges.channel = self._sockets.join(shared, nudges)
        nudges.follows.add(follow)
        try:
            await self._refresh(follow)
        except BaseException:
            self.unfollow(key)
            raise
        follow.task = spawn(self._keep_reading(follow))
        return follow.head

    def unfollow(self, key: FeedKey) -> None:
        if (follow := self._follows.pop(key, None)) is None:
            return  # closed meanwhile
        if follow.task is not None:
            follow.task.cancel()
        nudges = self._nudges[_shared(key)]
        nudges.follows.discard(follow)
        if not nudges.follows:
            del self._nudges[_shared(key)]
            if nudges.channel is not None:
                self._sockets.leave(nudges.channel)

    def is_key_live(self, key: FeedKey) -> bool:
        nudges = self._nudges.get(_shared(key))
        return nudges is not None and nudges.is_live

    async def wait_live(self, key: FeedKey, seconds: float) -> None:
        """Returns when the key's channel is ready, at the latest after ``seconds``."""
        nudges = self._nudges.get(_shared(key))
        if nudges is not None and nudges.channel is not None:
            await nudges.channel.wait_live(seconds)

    async def stop(self) -> None:
        self.is_running = False
        tasks = [follow.task for follow in self._follows.values() if follow.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._sockets.close()
        self._follows.clear()
        self._nudges.clear()

    # What the hub asks of a log

    async def since(self, key: FeedKey, cursor: int) -> Page:  # noqa: ARG002 - what was is known of no key
        """Nothing is known of the past: a reset."""
        return Page(0, True, (), False)

    async def heads(self, feed: str, keys: Iterable[str]) -> dict[str, int]:  # noqa: ARG002 - there is one feed
        """Checks that the tables can be read. Raises :class:`DatabaseUnavailable` or :class:`DatabaseRefused`."""
        with self._asking():
            await self._asked.check()
        return dict.fromkeys(keys, 0)

    async def snapshot(self, key: FeedKey, function: str, argument: str) -> Snapshot:  # noqa: ARG002 - there is no function
        """The key's rows as they are now, and the change that a follower of it has been told last.

        Raises :class:`DatabaseUnavailable` or :class:`DatabaseRefused`.
        """
        if (follow := self._follows.get(key)) is None:
            with self._asking():
                return Snapshot(0, _listed(await self._asked.read(key)))
        await self._refresh(follow)
        assert follow.state is not None, "it has been read"  # noqa: S101 - _refresh() raises where it has not
        return Snapshot(follow.head, _listed(follow.state))

    async def catch_up(self, keys: Iterable[FeedKey]) -> set[FeedKey]:
        """Reads followed keys anew and tells what is different. Returns those for which that could be done.

        Raises :class:`DatabaseUnavailable`.
        """
        done = set()
        for key in keys:
            if (follow := self._follows.get(key)) is not None:
                with suppress(DatabaseRefused):
                    await self._refresh(follow)
                    done.add(key)
        return done

    # Reading

    async def _refresh(self, follow: _Follow) -> None:
        """Returns once a reading that began after this call has been told. Raises as :meth:`snapshot`."""
        asked_at = asyncio.get_running_loop().time()
        async with follow.reading:
            if follow.read_at < asked_at:  # else somebody else has had it read
                await self._read(follow)

    async def _read(self, follow: _Follow) -> None:
        began_at = asyncio.get_running_loop().time()
        self._metrics.catch_ups.inc()
        with self._asking():
            state = await self._rows.read(follow.key)
        follow.read_at = began_at
        follow.took = asyncio.get_running_loop().time() - began_at
        was, follow.state = follow.state, state
        if was is None or self._follows.get(follow.key) is not follow:
            return  # who follows the key since has read for itself, and counts for itself
        changes = differ(was, state, follow.head, datetime.now(UTC).isoformat())
        if changes and self._sink is not None:
            follow.head = changes[-1].revision
            if len(changes) > TOLD_LIMIT:
                self._sink.lost(follow.key, follow.head, "more has changed at once than is told one by one")
            else:
                self._sink.changes(follow.key, changes)

    @contextmanager
    def _asking(self) -> Iterator[None]:
        try:
            yield
        except DatabaseUnavailable as error:
            self._standing.does_not_answer(error)
            raise
        self._standing.accepts("rows")

    async def _keep_reading(self, follow: _Follow) -> None:
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(follow.nudged.wait(), self._reread_seconds * (0.9 + 0.2 * self._random()))
            if follow.nudged.is_set():
                await asyncio.sleep(max(NUDGE_SECONDS, follow.took))
            follow.nudged.clear()  # before the reading: what is written during it is another reason
            await self._read_somehow(follow)

    async def _read_somehow(self, follow: _Follow) -> None:
        """Tries until the database answers."""
        waits = delays(self._random)
        about = fields(**follow.key.named())
        while True:
            try:
                await self._refresh(follow)
            except DatabaseUnavailable:
                await asyncio.sleep(next(waits))
                continue
            except DatabaseRefused as error:
                if not follow.is_refused:
                    extra = fields(**follow.key.named(), error=error)
                    logger.warning("the database refuses to be read, it is tried again", extra=extra)
                follow.is_refused = True
            except Exception:  # a bug, but the key must not be left behind
                logger.exception("the rows can't be read", extra=about)
            else:
                follow.is_refused = False
            return


def _listed(state: State) -> dict[str, list[Row]]:
    return {table: list(rows.values()) for table, rows in state.items()}


def _shared(key: FeedKey) -> FeedKey:
    return FeedKey(key.feed, key.key)
