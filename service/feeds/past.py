"""What one key's viewers ask of the past: the ring answers, else the database, one query for all who wait for the same.

A thousand pages that come back at once after a restart are a few queries, and as many snapshots as one page would need.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from service.changes.change import Change, FeedKey
from service.changes.listener import Log
from service.changes.log import Snapshot
from service.events.feed import Feed, Rows
from service.events.model import WireModel
from service.events.wire import Encoded, snapshot_parts
from service.feeds.delivery import Delivery
from service.feeds.ring import Ring
from service.logs import fields
from service.metrics import Metrics
from service.tasks import share

REPLAY_LIMIT = 5000
KEPT_SECONDS = 5.0
"""How long a reading waits for those who come behind the first, where the ring has no room for it: pages come back
after a restart each with an id of its own, spread over some seconds."""
KEPT_BYTES = 4 << 20
"""Larger ones are not kept."""

logger = logging.getLogger(__name__)


class SnapshotLog(Log, Protocol):
    async def snapshot(self, key: FeedKey, function: str, argument: str) -> Snapshot: ...


@dataclass(frozen=True)
class History:
    """All of a key's deliveries in the range (cursor, head]."""

    cursor: int
    head: int
    deliveries: Sequence[Delivery]

    def after(self, cursor: int) -> "History":
        """The part of it that lies after a cursor in its range."""
        return History(cursor, self.head, [one for one in self.deliveries if one.change.revision > cursor])


@dataclass(frozen=True)
class State:
    """A key's rows as they were at the revision ``head``, also as messages."""

    head: int
    rows: Rows
    parts: Sequence[Encoded]


class Past:
    """``ring`` is filled with what is read; ``deliver`` translates a change."""

    def __init__(
        self,
        log: SnapshotLog,
        key: FeedKey,
        feed: Feed,
        ring: Ring,
        deliver: Callable[[Change], Delivery],
        metrics: Metrics,
    ) -> None:
        self._log = log
        self._key = key
        self._feed = feed
        self._ring = ring
        self._deliver = deliver
        self._replays = metrics.replays
        self._reading: list[tuple[int, asyncio.Task[History | None]]] = []
        self._kept: History | None = None
        self._letting_go: asyncio.TimerHandle | None = None
        self._restarts = 0
        self._too_old = -1  # a cursor known to be: the log only grows at one end and is pruned at the other
        self._reading_state: asyncio.Task[State] | None = None

    def restart(self) -> None:
        """Forgets what is known of a database that may be another one now."""
        self._too_old = -1
        self._restarts += 1
        self._reading.clear()
        self._reading_state = None
        self._let_go()

    async def history(self, cursor: int, upto: int) -> History | None:
        """Everything of the key after ``cursor``, at least up to ``upto``; None when a reset is due instead.

        Raises :class:`DatabaseUnavailable` or :class:`DatabaseRefused`.
        """
        history = await self._read(cursor)
        # a reading that began for someone else may end before what this one has missed
        while history is not None and history.head < upto:
            rest = await self._read(history.head)
            if rest is None or rest.head <= history.head:
                return None  # the database is behind what was told: it is another one, or went back in time
            history = History(cursor, rest.head, [*history.deliveries, *rest.deliveries])
        return history

    async def _read(self, cursor: int) -> History | None:
        while True:
            recent = self._ring.since(cursor)
            if recent is not None:
                self._replays.labels("ring").inc()
                return History(cursor, self._ring.head, recent)
            if self._kept is not None and self._kept.cursor <= cursor < self._kept.head:
                self._replays.labels("shared").inc()
                return self._kept.after(cursor)
            if cursor <= self._too_old:
                self._replays.labels("shared").inc()
                return None
            start, reading = next((entry for entry in self._reading if entry[0] <= cursor), (cursor, None))
            if reading is None:
                self._replays.labels("database").inc()
                return await self._read_once(cursor)
            history = await asyncio.shield(reading)
            if start == cursor or (history is not None and cursor < history.head):
                self._replays.labels("shared").inc()
                return history and history.after(cursor)
            # too old a start says nothing of this cursor, and what that reading ends before is the database's to judge

    async def _read_once(self, cursor: int) -> History | None:
        async def read() -> History | None:
            restarts = self._restarts
            try:
                history = await self.read_all(cursor)
            finally:
                if entry in self._reading:  # here: nobody may find one that has ended, which does not make them wait
                    self._reading.remove(entry)
            if history is not None and restarts == self._restarts and self._ring.floor > cursor:
                self._keep(history)
            return history

        entry = (cursor, share(read()))
        self._reading.append(entry)
        return await asyncio.shield(entry[1])

    def _keep(self, history: History) -> None:
        """The one that goes back furthest."""
        if self._kept is not None and self._kept.cursor < history.cursor:
            return
        if sum(delivery.held for delivery in history.deliveries) <= KEPT_BYTES:
            self._let_go()
            self._kept = history
            self._letting_go = asyncio.get_running_loop().call_later(KEPT_SECONDS, self._let_go)

    def _let_go(self) -> None:
        self._kept = None
        if self._letting_go is not None:
            self._letting_go.cancel()
            self._letting_go = None

    async def read_all(self, cursor: int) -> History | None:
        """Everything after ``cursor`` that the database has; None when a reset is due. Raises as :meth:`history`."""
        restarts, ring_floor = self._restarts, self._ring.floor
        changes: list[Change] = []
        at = cursor
        while True:
            page = await self._log.since(self._key, at)
            changes.extend(page.changes)
            if page.reset or len(changes) > REPLAY_LIMIT:
                if cursor < page.head and restarts == self._restarts:
                    self._too_old = max(self._too_old, cursor)
                return None
            if not page.more:
                break
            at = changes[-1].revision
        deliveries = [self._deliver(change) for change in changes]
        if restarts == self._restarts and self._ring.floor == ring_floor <= page.head:
            self._ring.extend_back(cursor, [item for item in deliveries if item.change.revision <= ring_floor])
        return History(cursor, page.head, deliveries)

    async def state(self) -> State:
        """The key's rows, as new as all that was published when it was asked for.

        Raises :class:`DatabaseUnavailable` or :class:`DatabaseRefused`.
        """
        published = self._ring.head
        if self._reading_state is not None:
            state = await asyncio.shield(self._reading_state)
            if state.head >= published:
                return state
        # one that has begun since then will do, whatever its head: the database is what it is
        if self._reading_state is None:
            self._reading_state = share(self._read_state())
        return await asyncio.shield(self._reading_state)

    async def _read_state(self) -> State:
        query = self._feed.snapshot_query
        try:
            read = await self._log.snapshot(self._key, query.function, query.argument)
        finally:
            if self._reading_state is asyncio.current_task():
                self._reading_state = None
        return State(read.head, read.rows, snapshot_parts(read.head, present(self._feed, self._key, read.rows)))


def present(feed: Feed, key: FeedKey, rows: Rows) -> Mapping[str, WireModel | Sequence[WireModel]]:
    """A snapshot's objects and lists. Rows that can't be translated are left out and logged, as changes of them are."""
    try:
        return feed.snapshot(rows)
    except Exception:  # noqa: BLE001 - of whatever kind: raised again below unless it is the rows'
        return feed.snapshot({table: _fitting(feed, key, table, listed) for table, listed in rows.items()})


def _fitting(feed: Feed, key: FeedKey, table: str, rows: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    fitting, unfit, why = [], [], ""
    for row in rows:
        try:
            feed.translate(Change(1, 0, table, str(row.get("id")), "U", frozenset(row), row, ""))
        except Exception as error:  # noqa: BLE001 - a translator that fails on one row must not take the others with it
            unfit.append(row)
            why = why or str(error)
        else:
            fitting.append(row)
    if unfit:
        about = fields(**key.named(), table=table, rows=len(unfit), first=unfit[0].get("id"), error=why)
        logger.error("rows can't be translated, snapshots leave them out", extra=about)
    return fitting
