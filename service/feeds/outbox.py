"""What a viewer that has fallen behind has yet to be sent: deliveries in the order of what is oldest in each.

Changes of the same row merge, so what waits is bounded by the rows that changed and never grows with time. Rows of
append-only tables don't merge; for those, and for very many rows, there are two hard bounds.
"""

import sys
from collections.abc import Iterator, Sequence

from service.feeds.delivery import Delivery

Told = tuple[Delivery, int | None]
"""A delivery and the id it may carry."""


class Overflow(Exception):
    """The outbox is over its bounds; what it holds must be thrown away and the stream ended."""


class Budget:
    """What may wait, in bytes, in all outboxes of a reader who has several."""

    __slots__ = ("left",)

    def __init__(self, max_bytes: int) -> None:
        self.left = max_bytes


class Outbox:
    """``last`` is the newest revision put in, or known to the viewer: nothing that is not newer is put in.

    ``budget`` is shared with the reader's other outboxes, None when there is no other. Who drops an outbox clears it.
    """

    __slots__ = (
        "_budget",
        "_bytes",
        "_deliveries",
        "_known",
        "_max_bytes",
        "_max_rows",
        "_newest",
        "conflated",
        "last",
    )

    def __init__(self, last: int, max_rows: int = 5000, max_bytes: int = 1 << 20, budget: Budget | None = None) -> None:
        self.last = last
        self._budget = budget
        self._max_rows = max_rows
        self._max_bytes = max_bytes
        self._known = last  # all up to here has been told
        self._deliveries: dict[int, Delivery] = {}  # by the oldest revision in each, growing
        self._newest: dict[tuple[str, str], int] = {}  # of each row, the key of its newest delivery
        self._bytes = 0
        self.conflated = 0

    def __len__(self) -> int:
        return len(self._deliveries)

    def __iter__(self) -> Iterator[Delivery]:
        return iter(self._deliveries.values())

    def put(self, delivery: Delivery) -> None:
        """Adds a delivery newer than all before it, into one of the same row if that still waits.

        Raises :class:`Overflow` when that is more than fits.
        """
        change = delivery.change
        if change.revision <= self.last:
            return
        self.last = change.revision
        if delivery.merges:
            older = self._deliveries.get(self._newest.get(change.identity, -1))
            if older is not None:
                self._add(-older.size)
                delivery = older.merged(delivery)
                self.conflated += 1
            self._newest[change.identity] = delivery.first
        self._deliveries[delivery.first] = delivery  # a merged one keeps the older one's place
        self._add(delivery.size)
        if len(self._deliveries) > self._max_rows:
            raise Overflow
        if len(self._deliveries) > 1 and (
            self._bytes > self._max_bytes or (self._budget is not None and self._budget.left < 0)
        ):
            raise Overflow  # one alone is sent, however large

    def is_at(self, revision: int) -> bool:
        """Whether the viewer has been sent all up to ``revision`` and nothing later waits."""
        return self.last == revision and not self._deliveries

    def skip_to(self, revision: int) -> None:
        """Drops what is not newer than ``revision``, because the viewer has learnt it in another way."""
        self.last = max(self.last, revision)
        self._known = max(self._known, revision)
        if not self._deliveries:
            return
        for key in [key for key, waiting in self._deliveries.items() if waiting.change.revision <= revision]:
            self._add(-self._deliveries.pop(key).size)

    def take(self, max_bytes: int = sys.maxsize) -> list[Told]:
        """Takes out the oldest deliveries, up to about ``max_bytes`` and at least one, each with the id it may carry.

        A merged delivery stands where its oldest change stood, and carries that one's revision: all up to there is
        told then, and what it tells of later is told again to a viewer resumed from there. The last one that waits
        carries the newest revision of all. None: the viewer knows all up to there already.
        """
        taken: list[Delivery] = []
        size = 0
        for delivery in self:
            if taken and size + delivery.size > max_bytes:
                break
            taken.append(delivery)
            size += delivery.size
        ids: list[int | None] = [delivery.first if delivery.first > self._known else None for delivery in taken]
        if len(taken) == len(self._deliveries):
            self.clear()
            if taken:
                ids[-1] = self._known = self.last
        else:
            self._add(-size)
            for delivery in taken:
                del self._deliveries[delivery.first]
                if self._newest.get(delivery.change.identity) == delivery.first:
                    del self._newest[delivery.change.identity]
        return list(zip(taken, ids, strict=True))

    def clear(self) -> None:
        self._deliveries.clear()
        self._newest.clear()
        self._add(-self._bytes)

    def _add(self, size: int) -> None:
        self._bytes += size
        if self._budget is not None:
            self._budget.left -= size

    def restart(self) -> None:
        """Forgets what waits and what the viewer has: a snapshot will say anew where it stands."""
        self.clear()
        self.last = self._known = -1  # before everything, and where no viewer can be


def merge_range(deliveries: Sequence[Delivery]) -> list[Told]:
    """Merges all that a range of revisions has to tell, for a viewer who missed the whole of it; see Outbox.take."""
    unbounded = Outbox(last=-1, max_rows=len(deliveries) + 1, max_bytes=1 << 62)
    for delivery in deliveries:
        unbounded.put(delivery)
    return unbounded.take()
